"""Parameters that nobody knows well, drawn anew for every episode (docs/model.md 5.9)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from numbers import Real

import numpy as np

from fleet_env import draws
from fleet_env.checks import require
from fleet_env.config import EnvConfig
from fleet_env.types import FloatArray, KeyArray

# name -> section of the card that holds it; the place in this table is part of the draw
UNCERTAIN = {
    "overhead_w": "serving",
    "chip_w_factor": "serving",
    "throughput_factor": "serving",
    "home_link_share": "fleet",
    "work_link_share": "fleet",
    "level1_share": "fleet",
    "closed_garage_share": "fleet",
    "load": "demand",
    "trusted_only_share": "demand",
    "batch_share": "demand",
    "usd_per_mtok_70b": "datacentre",
    "usd_per_mtok_8b": "datacentre",
    "pack_usd_per_kwh": "reward",
    "shortfall_usd": "reward",
}


def check_randomise(config: EnvConfig) -> None:
    """Refuse unknown names and ranges that a card cannot have.

    Raises
    ------
    ValueError
        Naming the key, with the nearest valid name.
    """
    for name, bounds in config.randomise.items():
        close = difflib.get_close_matches(name, UNCERTAIN, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        require(name in UNCERTAIN, "randomise", name, f"one of {', '.join(UNCERTAIN)}{hint}")
        pair = isinstance(bounds, list | tuple) and len(bounds) == 2
        pair = pair and all(isinstance(bound, Real) for bound in bounds) and bounds[0] <= bounds[1]
        require(pair, f"randomise.{name}", bounds, "[low, high] with low at most high")
        for bound in bounds:
            section = getattr(config, UNCERTAIN[name])
            replace(section, **{name: float(bound)})  # raises where the setting itself would


def draw_uncertain(config: EnvConfig, key: KeyArray) -> dict[str, FloatArray]:
    """Draw the uncertain parameters of every row.

    Parameters
    ----------
    key : KeyArray, shape (num_envs,)
        Scenario keys.

    Returns
    -------
    dict of str to FloatArray, shape (num_envs,)
        By name, in the order of `UNCERTAIN`; empty where the card randomises nothing. What a card
        has at 0 stays there: fleets that hold no 70B model get no batch work.
    """
    drawn = {}
    for number, (name, section) in enumerate(UNCERTAIN.items()):
        if name in config.randomise and getattr(getattr(config, section), name) != 0:
            low, high = (float(bound) for bound in config.randomise[name])
            keys = draws.unit_keys(key, draws.Stream.UNCERTAIN, np.array(number))
            u = draws.uniform(keys, np.array(0), 1)[0].astype(np.float64)
            drawn[name] = low + u * (high - low)
    return drawn


def cards_of_rows(
    config: EnvConfig, drawn: Mapping[str, FloatArray], num_envs: int
) -> tuple[EnvConfig, ...]:
    """Make the card of every row: that of the batch with what was drawn put in."""
    if not drawn:
        return (config,) * num_envs
    rows = range(num_envs)
    return tuple(_with(config, {name: float(v[row]) for name, v in drawn.items()}) for row in rows)


def _with(config: EnvConfig, values: Mapping[str, float]) -> EnvConfig:
    """Copy a card with some values changed, unchecked: their bounds were."""
    card = copy(config)
    for name, value in values.items():
        section = UNCERTAIN[name]
        if getattr(card, section) is getattr(config, section):
            setattr(card, section, copy(getattr(config, section)))
        setattr(getattr(card, section), name, value)
    return card

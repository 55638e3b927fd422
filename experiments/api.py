"""What notebooks call: one function for the common case each, DataFrames in and out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.base import Policy
from experiments.bound_settings import BoundSettings
from experiments.entries import Entry, entries, files_of
from experiments.gather import gather
from experiments.matrix import Matrix
from experiments.records import RunFolder
from experiments.results import Results
from experiments.runner import Days
from fleet_env.config import EnvConfig
from fleet_env.scenarios import scenario

SIDE_BY_SIDE = 20  # days played in one batch

Card = str | EnvConfig


def compare(
    policies: Sequence[str | Policy] | None = None,
    env: Card | Sequence[Card] = "suburb",
    *,
    num_episodes: int = 20,
    split: str = "test",
    seed: int = 0,
    bound: bool = True,
    out: str | Path | None = None,
    workers: int = 1,
    **overrides: Any,
) -> Results:
    """Play policies on the same days of one card or several.

    Parameters
    ----------
    policies : sequence of str or Policy, optional
        Names of the registry (also ``"tuned_index:file:release"``), folders of trainings, policy
        files, or policies of one's own. None named: all of the registry.
    env : str, EnvConfig or a sequence of them
        The card, by name or as `fleet_env.scenarios.scenario` made it.
    num_episodes : int
        Scenarios of the split.
    split : str
        train, validation or test.
    seed : int
        Of policies that draw and of the bootstrap.
    bound : bool
        Whether to solve the bound of every day (1-2 s each), for scores and headroom.
    out : str or Path, optional
        Folder for the records, where the same call goes on after an interruption.
    workers : int
        Processes; 0: one per core.
    **overrides
        Settings of cards that are given by name, as of `scenario`: ``num_cars=100``.

    Returns
    -------
    Results
        Its `table()` is a DataFrame, best policy first.

    Raises
    ------
    ValueError
        If a policy, card or setting is unknown or out of range.

    Examples
    --------
    >>> from experiments import compare
    >>> found = compare(["dc_only", "cheapest_first"], num_cars=20, num_episodes=1, bound=False)
    >>> list(found.table().index)
    ['cheapest_first', 'dc_only']
    """
    asked = [env] if isinstance(env, str | EnvConfig) else list(env)
    cards = {card.name: card for card in (_card(one, overrides) for one in asked)}
    played, days = entries(policies or []), Days(split, 0, num_episodes, SIDE_BY_SIDE)
    settings = BoundSettings(solve=bound, choose_episodes=num_episodes)
    with tempfile.TemporaryDirectory() as nowhere:
        content = _content(cards, days, seed) | files_of(played)
        folder = RunFolder.open(Path(out or nowhere), "compare", content)
        matrix = Matrix(cards, played, days, seed, folder, traced=True)
        return gather(matrix, settings, workers=workers)


def evaluate(policy: str | Policy, env: Card = "suburb", **settings: Any) -> Results:
    """Play one policy; settings as of `compare`."""
    return compare([policy], env, **settings)


def load_policy(policy: str) -> Policy:
    """Build a policy: by name, from the folder of a training, or from a policy file.

    Parameters
    ----------
    policy : str
        As in `compare`; ``"runs/train/ppo_index/suburb/TIME"`` means its best one.

    Raises
    ------
    ValueError
        If there is none, or a file does not fit this version.
    """
    return Entry.parse(policy, "policy").make()


def _card(card: Card, overrides: dict[str, Any]) -> EnvConfig:
    if isinstance(card, str):
        return scenario(card, **overrides)
    if overrides:
        names = ", ".join(overrides)
        raise ValueError(f"{names}: expected in the card that is given, or a card by name")
    return card


def _content(cards: dict[str, EnvConfig], days: Days, seed: int) -> dict[str, Any]:
    """List what the records depend on, as JSON data."""
    plain = {name: asdict(card) for name, card in cards.items()}
    return {"cards": plain, "days": asdict(days), "seed": seed}

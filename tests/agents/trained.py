"""Policies with random weights, as training would write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agents.learned.interface import num_inputs, num_outputs
from agents.learned.policy_file import PolicyFile, new_card
from fleet_env.observations import CAR_FIELDS, FLEET_FIELDS

NET, LSTM, SET = (8, 6), 5, 7  # hidden widths
# kind -> network, distribution: all that files may hold
SORTS: dict[str, tuple[str, str, str]] = {
    "index": ("index", "mlp", "gaussian"),
    "index_squashed": ("index", "mlp", "squashed"),
    "index_lstm": ("index", "lstm", "gaussian"),
    "tuned": ("tuned", "mlp", "gaussian"),
    "cohort": ("cohort", "mlp", "gaussian"),
    "cars": ("cars", "mlp", "categorical"),
    "set": ("set", "set", "bernoulli"),
    "binary": ("binary", "mlp", "bernoulli"),
}
ANY_SIZE = tuple(name for name in SORTS if name != "binary")
NUM_CARS = 20  # of fleets that `binary` plays


def policy(
    sort: str,
    seed: int = 0,
    *,
    norm: bool = True,
    net: tuple[int, ...] = NET,
    lstm: int = LSTM,
    **said: Any,
) -> PolicyFile:
    """Make a policy of a sort of `SORTS`; its actions vary from fleet to fleet."""
    card = card_of(sort, **said)
    rng = np.random.default_rng(seed)
    if card["network"] == "set":
        return PolicyFile(card, _set_weights(rng))
    return PolicyFile(card, _weights(rng, card, norm, net, lstm))


def card_of(sort: str, **said: Any) -> dict[str, Any]:
    kind, network, distribution = SORTS[sort]
    num_cars = NUM_CARS if kind == "binary" else None
    told = {"network": network, "distribution": distribution, "num_cars": num_cars, **said}
    return new_card(f"some_{sort}", kind, **told)


def saved(folder: Path, sort: str, seed: int = 0, **said: Any) -> str:
    """Write such a policy and return the path."""
    file = folder / f"{sort}_{seed}.policy"
    policy(sort, seed, **said).save(file)
    return str(file)


def _matrix(rng: np.random.Generator, out: int, width: int) -> Any:
    return (rng.normal(size=(out, width)) / np.sqrt(width)).astype(np.float32)


def _layer(rng: np.random.Generator, name: str, out: int, width: int) -> dict[str, Any]:
    bias = (0.3 * rng.normal(size=out)).astype(np.float32)
    return {f"{name}.weight": _matrix(rng, out, width), f"{name}.bias": bias}


def _weights(
    rng: np.random.Generator, card: dict[str, Any], norm: bool, net: tuple[int, ...], lstm: int
) -> dict[str, Any]:
    width, out = num_inputs(card), num_outputs(card)
    weights: dict[str, Any] = {}
    if norm:
        weights["obs_mean"] = rng.normal(size=width)
        weights["obs_var"] = rng.uniform(0.5, 4.0, size=width)
    if card["network"] == "lstm":
        weights["lstm.weight_ih"] = _matrix(rng, 4 * lstm, width)
        weights["lstm.weight_hh"] = _matrix(rng, 4 * lstm, lstm)
        weights["lstm.bias"] = rng.normal(size=4 * lstm).astype(np.float32)
        width = lstm
    for k, wide in enumerate((*net, out)):
        if k == len(net) and card["distribution"] == "squashed":
            weights |= _layer(rng, "log_std", out, width)
        weights |= _layer(rng, f"layers.{k}", wide, width)
        width = wide
    if card["distribution"] == "gaussian":
        weights["log_std"] = rng.normal(size=out).astype(np.float32)
    return weights


def _set_weights(rng: np.random.Generator) -> dict[str, Any]:
    layers = {
        "encoder.0": (SET, len(CAR_FIELDS)),
        "encoder.1": (SET, SET),
        "context": (SET, 2 * SET + len(FLEET_FIELDS)),
        "car": (SET, SET),
        "head": (1, SET),
    }
    weights = {"shift.weight": _matrix(rng, SET, SET)}
    for name, (out, width) in layers.items():
        weights |= _layer(rng, name, out, width)
    return weights

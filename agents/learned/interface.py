"""What trained policies see and say by kind, and whether a file fits the installed fleet_env."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

import fleet_env
from agents.index.parameters import NAMES
from agents.names import check_names
from fleet_env.observations import CAR_FIELDS, FLEET_FIELDS
from fleet_env.registration import COHORT_ID, FLEET_ID, INDEX_ID
from fleet_env.types import FloatArray
from fleet_env.views.cars import ROW_FIELDS
from fleet_env.views.cohort import COHORTS
from fleet_env.views.index import INDEX_FEATURES
from fleet_env.views.summary import SUMMARY_FIELDS

FORMAT = 1
KEYS = (
    "format", "name", "kind", "network", "activation", "distribution", "env_id", "env_version",
    "observation", "action", "margin_action", "num_cars", "config", "versions", "training",
)  # fmt: skip
ACTIVATIONS = ("tanh", "relu")
RETRAIN = "retrain it, or install the fleet_env it was trained with"


@dataclass(frozen=True, slots=True)
class Interface:
    """What the policies of a kind see and say."""

    env_id: str
    observation: tuple[str, ...]  # fields in the order the network sees them
    action: tuple[str, ...]
    networks: tuple[str, ...]
    distributions: tuple[str, ...]


_SUMMARY = tuple(field.name for field in SUMMARY_FIELDS)
_ROWS = tuple(field.name for field in ROW_FIELDS)  # of a car, its mask bit and its fleet
_NUMBERS = (("mlp", "lstm"), ("gaussian", "squashed"))
KINDS = {
    # weights of the index, then the share of the feasible cars to have on duty
    "index": Interface(INDEX_ID, _SUMMARY, (*(f.name for f in INDEX_FEATURES), "share"), *_NUMBERS),
    # parameters of a tuned index, scaled to [-1, 1]; the view has no id
    "tuned": Interface(FLEET_ID, _SUMMARY, NAMES, *_NUMBERS),
    # shares of the feasible cars of each cohort
    "cohort": Interface(COHORT_ID, _SUMMARY, COHORTS, *_NUMBERS),
    # every car by itself (`car_rows`, scaled): the logits of off and on duty; the view has no id
    "cars": Interface(FLEET_ID, _ROWS, ("off_duty", "on_duty"), ("mlp",), ("categorical",)),
    # all cars together, any number of them: a logit for each
    "set": Interface(FLEET_ID, _ROWS, ("on_duty",), ("set",), ("bernoulli",)),
    # `num_cars` cars, in a fixed order: cars one after the other, fleet, mask; a logit for each
    "binary": Interface(FLEET_ID, _ROWS, ("on_duty",), ("mlp",), ("bernoulli",)),
}
MARGIN = "margin_h"  # last number of the action of `index` with margin_action


def interface(kind: str, *, margin_action: bool = False) -> Interface:
    """Return what policies of a kind see and say in the installed fleet_env.

    Raises
    ------
    ValueError
        If there is no such kind, or it does not set the margin.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r}: expected one of {', '.join(KINDS)}")
    seen = KINDS[kind]
    if not margin_action:
        return seen
    if kind != "index":
        raise ValueError(f"margin_action: only kind index has it, not {kind}")
    action = (*seen.action, MARGIN)
    return Interface(seen.env_id, seen.observation, action, seen.networks, seen.distributions)


def check_card(card: Mapping[str, Any]) -> None:
    """Refuse a card that does not fit the installed fleet_env.

    What a policy sees and says must be the same, name by name, and so must environment and
    format. Of `env_version` major and minor count: what changes the days of an environment raises
    one of them (or the id); a patch changes none.

    Raises
    ------
    ValueError
        Naming the key, what it is and what was expected.
    """
    check_names("card", card, KEYS)
    if card["format"] != FORMAT:
        raise ValueError(f"format: {card['format']!r}, but this fleet_env reads {FORMAT}")
    if not isinstance(card["margin_action"], bool):
        raise ValueError(f"margin_action: {card['margin_action']!r}: expected true or false")
    seen = interface(str(card["kind"]), margin_action=card["margin_action"])
    for key, known in (
        ("network", seen.networks),
        ("distribution", seen.distributions),
        ("activation", ACTIVATIONS),
    ):
        if card[key] not in known:
            expected = f"expected {' or '.join(known)} for kind {card['kind']}"
            raise ValueError(f"{key}: {card[key]!r}: {expected}")
    if card["env_id"] != seen.env_id:
        raise ValueError(f"env_id: {card['env_id']}, but {seen.env_id} is installed; {RETRAIN}")
    _check_version(str(card["env_version"]))
    for key, now in (("observation", seen.observation), ("action", seen.action)):
        _check_fields(key, card[key], now)
    _check_num_cars(card)


def _check_version(version: str) -> None:
    installed = fleet_env.__version__
    if version.split(".")[:2] != installed.split(".")[:2]:
        raise ValueError(f"env_version: {version}, but {installed} is installed; {RETRAIN}")


def _check_fields(key: str, then: Any, now: Sequence[str]) -> None:
    if not isinstance(then, list) or not all(isinstance(name, str) for name in then):
        raise ValueError(f"{key}: {json.dumps(then)[:60]}: expected a list of names")
    if list(now) == then:
        return
    gone = [name for name in then if name not in now]
    new = [name for name in now if name not in then]
    told = [f"{len(then)} names, installed are {len(now)}"]
    told += [f"gone since: {_some(gone)}"] * bool(gone) + [f"new: {_some(new)}"] * bool(new)
    if not gone and not new:
        place = next(i for i, (a, b) in enumerate(zip(then, now, strict=False)) if a != b)
        told.append(f"place {place}: {then[place]} in the file, {now[place]} installed")
    raise ValueError(f"{key}: {'; '.join(told)}; {RETRAIN}")


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _check_num_cars(card: Mapping[str, Any]) -> None:
    num_cars, fixed = card["num_cars"], card["kind"] == "binary"
    whole = isinstance(num_cars, int) and not isinstance(num_cars, bool) and num_cars > 0
    if whole != fixed or (not fixed and num_cars is not None):
        expected = "a number of cars" if fixed else f"null for kind {card['kind']}"
        raise ValueError(f"num_cars: {num_cars!r}: expected {expected}")


def num_inputs(card: Mapping[str, Any]) -> int:
    """Numbers that the network sees at once."""
    if card["kind"] == "binary":
        return int(card["num_cars"]) * (len(CAR_FIELDS) + 1) + len(FLEET_FIELDS)
    return len(card["observation"])


def num_outputs(card: Mapping[str, Any]) -> int:
    """Numbers that the last layer gives."""
    return int(card["num_cars"]) if card["kind"] == "binary" else len(card["action"])


def check_weights(card: Mapping[str, Any], weights: Mapping[str, FloatArray]) -> None:
    """Refuse weights that are not those of a checked card.

    Raises
    ------
    ValueError
        Naming the array, what it is and what was expected.
    """
    for name, array in weights.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"weights: {name}: expected finite floats, got {array.dtype} {array}")
    if card["network"] == "set":
        return  # it is tried instead
    shapes = dict(_shapes(card, weights))
    for name, shape in shapes.items():
        if name not in weights:
            raise ValueError(f"weights: no {name}, of shape {shape}, for {_asked(card)}")
        if weights[name].shape != shape:
            raise ValueError(f"weights: {name} has shape {weights[name].shape}, expected {shape}")
    for name in weights:
        if name not in shapes:
            raise ValueError(f"weights: {name}: no such array for {_asked(card)}")


def _asked(card: Mapping[str, Any]) -> str:
    return f"network {card['network']}, distribution {card['distribution']}"


def _shapes(
    card: Mapping[str, Any], weights: Mapping[str, FloatArray]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield every array that belongs to the card, with its shape; hidden widths are as given."""
    width, out = num_inputs(card), num_outputs(card)
    if "obs_mean" in weights or "obs_var" in weights:
        yield from (("obs_mean", (width,)), ("obs_var", (width,)))
    if card["network"] == "lstm":
        hidden = _rows(weights, "lstm.weight_hh") // 4
        yield "lstm.weight_ih", (4 * hidden, width)
        yield "lstm.weight_hh", (4 * hidden, hidden)
        yield "lstm.bias", (4 * hidden,)
        width = hidden
    last = num_layers(weights) - 1
    for k in range(last):
        wide = _rows(weights, f"layers.{k}.weight")
        yield from _layer(f"layers.{k}", wide, width)
        width = wide
    yield from _layer(f"layers.{max(last, 0)}", out, width)
    if card["distribution"] == "gaussian":
        yield "log_std", (out,)
    if card["distribution"] == "squashed":
        yield from _layer("log_std", out, width)


def _layer(name: str, out: int, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (out, width)
    yield f"{name}.bias", (out,)


def _rows(weights: Mapping[str, FloatArray], name: str) -> int:
    array = weights.get(name)
    return 0 if array is None or array.ndim == 0 else len(array)


def num_layers(weights: Mapping[str, FloatArray]) -> int:
    """Layers ``layers.<k>`` of a network, counted up from 0."""
    return next(k for k in count() if f"layers.{k}.weight" not in weights)

"""Scenario cards by name, their disjoint splits, and overrides by keyword."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from numbers import Integral, Real
from typing import Any, TypeVar

from fleet_env.config import SPLITS, EnvConfig

T = TypeVar("T")

# card -> what it changes against the defaults of `EnvConfig`, which are the suburb
CARDS: dict[str, dict[str, Any]] = {"suburb": {"name": "suburb"}}

# scenarios (split, index) per split: index runs from 0 and wraps here
SPLIT_SIZE = {"train": 1_000_000, "validation": 1_000, "test": 1_000}


def scenario(name: str = "suburb", /, **overrides: Any) -> EnvConfig:
    """Build the configuration of a card.

    Parameters
    ----------
    name : str
        Card, one of `CARDS`.
    **overrides
        Fields of `EnvConfig`; a nested section takes a mapping, for instance ``demand={"load":
        0.3}``.

    Returns
    -------
    EnvConfig

    Raises
    ------
    ValueError
        If the card, a key or a value is not valid; the message names the nearest valid one.

    Examples
    --------
    >>> scenario("suburb", num_cars=256, demand={"load": 0.3}).demand.load
    0.3
    """
    if name not in CARDS:
        raise ValueError(
            f"scenario {name!r}: expected one of {sorted(CARDS)}{_hint(name, list(CARDS))}"
        )
    config = _apply(EnvConfig(), CARDS[name], "")
    return _apply(config, overrides, "")


def check_split(split: str) -> str:
    """Return `split` if it is one, else raise ValueError."""
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: expected one of {SPLITS}{_hint(split, list(SPLITS))}")
    return split


def _apply(config: T, overrides: Mapping[str, Any], prefix: str) -> T:
    valid = [f.name for f in fields(config)]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for key, value in overrides.items():
        if key not in valid:
            raise ValueError(f"unknown setting {prefix + key!r}{_hint(key, valid)}; valid: {valid}")
        current = getattr(config, key)
        if is_dataclass(current) and isinstance(value, Mapping):
            changes[key] = _apply(current, value, f"{prefix}{key}.")
        else:
            changes[key] = _of_kind(value, current, prefix + key)
    return replace(config, **changes)  # type: ignore[type-var]


def _of_kind(value: Any, current: object, key: str) -> Any:
    """Return `value` if it is of the kind of the setting it replaces, else raise ValueError."""
    kind, name = type(current), f"a mapping or {type(current).__name__}"
    for known, accepted, text in _KINDS:
        if isinstance(current, known):
            kind, name = accepted, text
            break
    if not isinstance(value, kind) or isinstance(value, bool) != isinstance(current, bool):
        raise ValueError(f"{key}={value!r}: expected {name}")
    return value


# type of a default -> what may replace it; NumPy's numbers count, a bool is no number
_KINDS: tuple[tuple[type, type, str], ...] = (
    (bool, bool, "True or False"),
    (int, Integral, "a whole number"),
    (float, Real, "a number"),
    (str, str, "a text"),
    (dict, Mapping, "a mapping of shares"),
)


def _hint(word: str, valid: list[str]) -> str:
    close = difflib.get_close_matches(word, valid, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""

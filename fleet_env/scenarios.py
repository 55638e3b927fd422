"""Scenario cards by name, their disjoint splits, and overrides by keyword."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, TypeVar

from fleet_env.config import SPLITS, EnvConfig
from fleet_env.config_world import RegionConfig

T = TypeVar("T")

# A Texan suburb: hub price of the day before plus an adder. The hub means 0.06 and households pay
# 0.15 USD/kWh (profiles of 2022-23; EIA 2024, mem), so the adder is 0.09; domain 6 has 0.08-0.25.
_TEXAS: dict[str, Any] = {
    "time_zone": "America/Chicago",
    "energy": {
        "region": "US-TEX-ERCO",
        "tariff": "day_ahead",
        "delivery_usd_per_kwh": 0.09,
    },
}

_US_WEST: dict[str, Any] = {
    "time_zone": "America/Los_Angeles",
    "grid": "US-CAL-CISO",
    "tariff": "california_ev_tou",
    "latitude_deg": 37.4,  # Silicon Valley
    "longitude_deg": -122.0,
}
_US_TEXAS: dict[str, Any] = {
    "time_zone": "America/Chicago",
    "grid": "US-TEX-ERCO",
    "tariff": "day_ahead",
    "delivery_usd_per_kwh": 0.09,  # as above
    "latitude_deg": 32.8,  # Dallas
    "longitude_deg": -96.8,
}
_GERMANY: dict[str, Any] = {
    "time_zone": "Europe/Berlin",
    "grid": "DE-LU",
    "tariff": "day_ahead",
    # with a mean price of 0.17 it makes 0.37 all in; domain 6: 0.40 (0.30-0.45)
    "delivery_usd_per_kwh": 0.20,
    "latitude_deg": 50.1,  # Frankfurt
    "longitude_deg": 8.7,
}
_NEW_SOUTH_WALES: dict[str, Any] = {
    "time_zone": "Australia/Sydney",
    "grid": "AU-NSW",
    "tariff": "day_ahead",
    # with a mean price of 0.08 it makes 0.22: the regulator's offer of 0.35 AUD/kWh (AER 2024, mem)
    "delivery_usd_per_kwh": 0.14,
    "latitude_deg": -33.9,  # Sydney
    "longitude_deg": 151.2,
}

# Card -> what it changes against the defaults of `EnvConfig`, which are the suburb. What each
# stands for is written in conf/env/<card>.yaml. A card named after a shock forces it in every
# episode (`on_day`): it shows what such a day costs, not how often it comes.
CARDS: dict[str, dict[str, Any]] = {
    "suburb": {},
    # memory holds the 8B tier only (domain 1c), so nobody asks it for the other
    "today": {
        "fleet": {"accelerators": {"ai4": 1.0}},
        "demand": {"batch_share": 0.0, "chat_70b_share": 0.0},
    },
    "mixed": {"fleet": {"accelerators": {"ai4": 0.5, "ai5": 0.5}}},
    "claim": {"fleet": {"accelerators": {"claim": 1.0}}},  # 1 kW a car, "let's say"; domain 1a
    "koopman": {"owners": {"allowed_from_h": 22.0, "allowed_to_h": 6.0}},
    "paid": {
        # domain 8: plug-ins and Wi-Fi of paid owners; 0.10 USD/h is 10 USD a month at 100 h, the
        # least that managed charging pays (domain 7: 120-300 USD a year)
        "fleet": {"paid_habits": True, "home_link_share": 0.80},
        "reward": {"pay_usd_per_on_duty_h": 0.10},
    },
    "world": {
        "regions": {
            "us_west": _US_WEST,
            "texas": _US_TEXAS,
            "germany": _GERMANY,
            "new_south_wales": _NEW_SOUTH_WALES,
        },
    },
    "heatwave": {
        **_TEXAS,
        "season": "JJA",
        "shocks": {
            # full heat (default: 8 K above the season for about 3 days) when the episode starts
            "heatwave": {"on_day": 0, "to_h": 6.0},
            # heat and scarcity come together: Texas in August 2023 (mem)
            "price_spike": {"on_day": 0},
        },
    },
    "coldsnap": {**_TEXAS, "season": "DJF", "shocks": {"coldsnap": {"on_day": 0, "to_h": 6.0}}},
    "storm": {
        "shocks": {
            "storm": {"on_day": 0, "from_h": 16.0, "to_h": 22.0},  # into the plugged-in night; est
            "isp": {"per_year": 6.0},  # domain 4
        },
    },
    "flash": {"shocks": {"flash": {"on_day": 0, "from_h": 17.0, "to_h": 21.0}}},  # evening; est
    "level1": {"fleet": {"level1_share": 0.50}},  # top of the range of domain 2a
    "peak": {"datacentre": {"dc_cost": "peak"}},
    "release": {"shocks": {"release": {"on_day": 0}}},
    "tiny": {"num_cars": 3},
    "nation": {
        "num_cars": 100_000_000,
        "observation": "fleet",
        # all tokens of Google and OpenAI in October 2025 would keep 2 % of the plugged and linked
        # cars busy with 70B work (domain 5, 10); the rest is left for others, est
        "demand": {"load": 0.05},
    },
    # Stands for nothing real: rates are such that each kind of shock hits every few episodes.
    "gauntlet": {
        "fleet": {
            "accelerators": {"ai4": 0.3, "ai5": 0.7},
            "unplugged_share": 0.2,
            "cellular_share": 0.1,
        },
        "serving": {
            "batch_loss": "checkpoint",
            "batch_job_min": 30.0,
            "hedge": True,
        },
        "datacentre": {
            "dc_cost": "peak",
            "price_decline_per_year": 0.3,
            "years_ahead": 1.0,
        },
        "reward": {"pay_usd_per_on_duty_h": 0.10, "noise_usd_per_quiet_h": 0.01},
        "owners": {
            "opt_in": "by_pay",
            "expected_duty_h_per_month": 700.0,
            "cap_h_per_month": 150.0,
            "quiet_share": 0.1,
            "allowed_from_h": 15.0,
            "allowed_to_h": 13.0,
        },
        "telemetry": {"age_s": 300.0, "silent_share": 0.02, "stuck_share": 0.02},
        "feeder": {"limit": True, "start_spread_min": 5.0},
        "shocks": {
            "storm": {"per_year": 6.0},
            "isp": {"per_year": 18.0},
            "heatwave": {"per_year": 9.0},
            "coldsnap": {"per_year": 6.0},
            "ota": {"every_days": 10},
            "price_spike": {"per_year": 30.0},
            "negative_noon": {"per_year": 90.0},
            "flash": {"per_year": 36.0},
            "release": {"every_days": 20},
            "holidays": ["01-01", "05-01", "07-04", "12-25"],
        },
        "regions": {
            "us_west": {"share": 2.0, **_US_WEST},
            "germany": _GERMANY,
        },
        "randomise": {
            "load": [0.25, 1.0],
            "overhead_w": [60.0, 250.0],
            "level1_share": [0.15, 0.5],
        },
    },
}

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
        0.3}``. Free mappings, such as the mix of accelerators and the regions, are replaced whole.

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
    config = _apply(EnvConfig(name=name), deepcopy(CARDS[name]), "")
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
        if key == "regions" and isinstance(value, Mapping):
            changes[key] = {name: _region(name, part) for name, part in value.items()}
        elif is_dataclass(current) and isinstance(value, Mapping):
            changes[key] = _apply(current, value, f"{prefix}{key}.")
        else:
            changes[key] = _of_kind(value, current, prefix + key)
    return replace(config, **changes)  # type: ignore[type-var]


def _region(name: str, value: object) -> RegionConfig:
    if isinstance(value, RegionConfig):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"regions.{name}={value!r}: expected a mapping or RegionConfig")
    return _apply(RegionConfig(), value, f"regions.{name}.")


def _of_kind(value: Any, current: object, key: str) -> Any:
    """Return `value` if it is of the kind of the setting it replaces, else raise ValueError."""
    kind: type | UnionType = type(current)
    name = f"a mapping or {type(current).__name__}"
    for known, accepted, text in _KINDS:
        if isinstance(current, known):
            kind, name = accepted, text
            break
    if not isinstance(value, kind) or isinstance(value, bool) != isinstance(current, bool):
        raise ValueError(f"{key}={value!r}: expected {name}")
    return value


# type of a default -> what may replace it; NumPy's numbers count, a bool is no number
_KINDS: tuple[tuple[type, type | UnionType, str], ...] = (
    (bool, bool, "True or False"),
    (int, Integral, "a whole number"),
    (float, Real, "a number"),
    (str, str, "a text"),
    (dict, Mapping, "a mapping"),
    (list, list, "a list"),
    (NoneType, Real | None, "a number or None"),
)


def _hint(word: str, valid: list[str]) -> str:
    close = difflib.get_close_matches(word, valid, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""

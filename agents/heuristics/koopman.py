"""What the first experts said: only plugged in, on the home Wi-Fi, at night."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import (
    ActionArray,
    Obs,
    Stateless,
    as_action,
    car_field,
    check_settings,
    feasible,
    fleet_field,
)
from fleet_env.types import BoolArray, FloatArray
from fleet_env.units import HOURS_PER_DAY

_CLOCK_SLACK_H = 1e-3  # 3.6 s: float32 sine and cosine of a full hour must still be that hour


@dataclass(frozen=True)
class Koopman(Stateless):
    """All cars at home, plugged and linked, in the night window; blind to prices and demand.

    The link at home is taken for Wi-Fi: the observation does not tell it from cellular.
    """

    from_h: float = 22.0  # local clock; the expert's night
    until_h: float = 6.0  # local clock; may lie after midnight

    name: ClassVar[str] = "koopman"

    def __post_init__(self) -> None:
        check_settings(self, from_h=(0.0, HOURS_PER_DAY), until_h=(0.0, HOURS_PER_DAY))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        asked = (car_field(obs, "at_home") > 0) & (car_field(obs, "plugged") > 0)
        asked &= (car_field(obs, "linked") > 0) & self._night(obs)[:, None]
        return as_action(asked & feasible(obs))

    def _night(self, obs: Obs) -> BoolArray:
        since_start_h = (local_hour(obs) - self.from_h + _CLOCK_SLACK_H) % HOURS_PER_DAY
        night: BoolArray = since_start_h < (self.until_h - self.from_h) % HOURS_PER_DAY
        return night


def local_hour(obs: Obs) -> FloatArray:
    """Local clock hour in [0, 24), shape (num_envs,), from its sine and cosine."""
    sine, cosine = (fleet_field(obs, f).astype(np.float64) for f in ("hour_sin", "hour_cos"))
    hour: FloatArray = np.arctan2(sine, cosine) * (HOURS_PER_DAY / (2 * np.pi)) % HOURS_PER_DAY
    return hour

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
)
from fleet_env.types import BoolArray
from fleet_env.units import HOURS_PER_DAY


@dataclass(frozen=True)
class Koopman(Stateless):
    """All cars at home, plugged and linked, in the night window; blind to prices and demand.

    The link at home is taken for Wi-Fi: the observation does not tell it from cellular.
    """

    from_h: float = 22.0  # clock where the car is; the expert's night
    until_h: float = 6.0  # local clock; may lie after midnight

    name: ClassVar[str] = "koopman"
    family: ClassVar[str] = "owner gates"
    source: ClassVar[str] = "the expert's first rule: at home, plugged, at night"

    def __post_init__(self) -> None:
        check_settings(self, from_h=(0.0, HOURS_PER_DAY), until_h=(0.0, HOURS_PER_DAY))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        asked = (car_field(obs, "at_home") > 0) & (car_field(obs, "plugged") > 0)
        asked &= (car_field(obs, "linked") > 0) & self._night(obs)
        return as_action(asked & feasible(obs))

    def _night(self, obs: Obs) -> BoolArray:
        since_start_h = (car_field(obs, "local_hour") - self.from_h) % HOURS_PER_DAY
        night: BoolArray = since_start_h < (self.until_h - self.from_h) % HOURS_PER_DAY
        return night

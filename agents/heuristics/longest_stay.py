"""The cars that say they stay longest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, Stateless, as_action, car_field, check_settings, feasible
from agents.heuristics.demand import DemandSettings, cars_needed, expected_work
from agents.heuristics.ranking import take_by_tier


@dataclass(frozen=True, kw_only=True)
class LongestStay(DemandSettings, Stateless):
    """As many cars as demand needs, longest stated stay first; blind to prices of energy."""

    min_stay_h: float = 1.0  # a quarter of the owners leave over 1 h early (ACN-Data)

    name: ClassVar[str] = "longest_stay"
    family: ClassVar[str] = "ranking"
    source: ClassVar[str] = "B8: SpotServe, Parcae"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, min_stay_h=(0.0, 48.0))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        need = cars_needed(obs, expected_work(obs, self), self)
        stay_h = car_field(obs, "stay_h")
        eligible = feasible(obs) & (stay_h > self.min_stay_h)
        return as_action(take_by_tier(obs, stay_h, need, eligible))

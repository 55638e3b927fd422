"""Cars that serve at once before cars that must wake or download (the score of BOINC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, Stateless, as_action, car_field, check_settings, feasible
from agents.heuristics.demand import cars_needed, expected_work
from agents.heuristics.merit import MeritSettings, margin_usd_per_h
from agents.heuristics.ranking import take_by_tier
from fleet_env.types import FloatArray

_IN_MEMORY = 10.0  # score of a car that already serves; BOINC
_ON_FLASH = 5.0  # score of a car that has the weights; BOINC


@dataclass(frozen=True, kw_only=True)
class WarmFirst(MeritSettings, Stateless):
    """As many cars as demand needs: on duty first, then quick to start, then highest margin."""

    quick_min: float = 15.0  # ready within one decision step counts as having the weights

    name: ClassVar[str] = "warm_first"
    family: ClassVar[str] = "ranking"
    source: ClassVar[str] = "B7: BOINC score"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, quick_min=(0.0, 1440.0))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        work = expected_work(obs, self)
        margin = margin_usd_per_h(obs, work, self)
        eligible = feasible(obs) & (margin > self.min_margin_usd_per_h)
        need = cars_needed(obs, work, self)
        return as_action(take_by_tier(obs, self._warmth(obs, margin), need, eligible))

    def _warmth(self, obs: Obs, margin: FloatArray) -> FloatArray:
        score = np.clip(margin, -1, 1)  # margins order cars of one warmth, never across
        score += np.float32(_IN_MEMORY) * (car_field(obs, "on_duty") > 0)
        score += np.float32(_ON_FLASH) * (car_field(obs, "ready_min") <= self.quick_min)
        return score

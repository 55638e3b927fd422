"""Merit order: the cars whose hour earns most, up to the demand, as long as they earn anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, Stateless, as_action, feasible
from agents.heuristics.demand import cars_needed, expected_work
from agents.heuristics.merit import MeritSettings, margin_usd_per_h
from agents.heuristics.ranking import take_by_tier


@dataclass(frozen=True, kw_only=True)
class CheapestFirst(MeritSettings, Stateless):
    """As many cars as demand needs, highest margin first; nobody at a loss (deferral allowed)."""

    name: ClassVar[str] = "cheapest_first"

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        work = expected_work(obs, self)
        margin = margin_usd_per_h(obs, work, self)
        eligible = feasible(obs) & (margin > self.min_margin_usd_per_h)
        return as_action(take_by_tier(obs, margin, cars_needed(obs, work, self), eligible))

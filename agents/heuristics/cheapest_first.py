"""Merit order: the cars whose hour earns most, up to the demand, as long as they earn anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, Stateless, as_action
from agents.heuristics.demand import expected_work
from agents.heuristics.merit import MeritSettings
from agents.heuristics.merit_order import take_in_merit_order


@dataclass(frozen=True, kw_only=True)
class CheapestFirst(MeritSettings, Stateless):
    """As many cars as demand needs, highest margin first; nobody at a loss (deferral allowed)."""

    name: ClassVar[str] = "cheapest_first"
    family: ClassVar[str] = "ranking"
    source: ClassVar[str] = "B21, B23: threshold of GAIA (batch), lowest price of SustainCluster"

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        return as_action(take_in_merit_order(obs, expected_work(obs, self), self))

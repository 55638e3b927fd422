"""Every car that may compute does (the cars-only end)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, Stateless, as_action, feasible


@dataclass(frozen=True)
class AlwaysOn(Stateless):
    """All feasible cars on duty at all hours, whatever there is to do and whatever it costs."""

    name: ClassVar[str] = "always_on"
    family: ClassVar[str] = "ends"
    source: ClassVar[str] = "B1: cars alone"

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return the mask, shape (num_envs, num_cars)."""
        return as_action(feasible(obs))

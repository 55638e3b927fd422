"""All work to the data centre: the zero of every score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, Stateless


@dataclass(frozen=True)
class DcOnly(Stateless):
    """No car is ever on duty; earns exactly 0.0 on every card."""

    name: ClassVar[str] = "dc_only"
    family: ClassVar[str] = "ends"
    source: ClassVar[str] = "B1: data centre alone"

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return zeros, shape (num_envs, num_cars)."""
        return np.zeros(obs["mask"].shape, np.int8)

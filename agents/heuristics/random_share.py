"""Each feasible car with the same probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, Stateless, as_action, check_settings, feasible


@dataclass(frozen=True)
class RandomShare(Stateless):
    """A fresh coin for every feasible car and step.

    The one rule whose row depends on its place in the batch: the coins come from the caller's
    `rng`, one per car in row order, feasible or not.
    """

    share: float = 0.5  # of the feasible cars

    name: ClassVar[str] = "random"
    family: ClassVar[str] = "ends"
    source: ClassVar[str] = "B2: random"

    def __post_init__(self) -> None:
        check_settings(self, share=(0.0, 1.0))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        coins = rng.random(obs["mask"].shape, dtype=np.float32)
        return as_action((coins < self.share) & feasible(obs))

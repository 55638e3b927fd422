"""The owner gates of opportunistic computing on desktops (example policy of HTCondor)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, Stateless, as_action, car_field, check_settings, feasible


@dataclass(frozen=True)
class IdleGate(Stateless):
    """All cars that have stood long enough, until the owner returns; blind to prices and demand.

    The owner's return (departure or call-back) ends duty in the environment itself, which knows no
    suspended work; so the rests after a return have nothing to act on.
    """

    idle_h: float = 0.25  # since arrival; HTCondor: 15 min

    name: ClassVar[str] = "idle_gate"
    family: ClassVar[str] = "owner gates"
    source: ClassVar[str] = "B10: HTCondor desktop policy"

    def __post_init__(self) -> None:
        check_settings(self, idle_h=(0.0, 96.0))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        return as_action(feasible(obs) & (car_field(obs, "parked_h") >= self.idle_h))

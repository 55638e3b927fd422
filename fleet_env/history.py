"""What the viewer draws of an episode: demand, cars on duty and work done, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.types import FloatArray


@dataclass(frozen=True, slots=True)
class History:
    """The episode so far, shape (num_envs, num_steps), in cars."""

    demand: FloatArray  # eligible work that arrived
    duty: FloatArray  # on duty
    busy: FloatArray  # work done

    @classmethod
    def zeros(cls, num_envs: int, num_steps: int) -> History:
        """Nothing played yet."""
        return cls(*(np.zeros((num_envs, num_steps), np.float32) for _ in range(3)))

    def note(self, step: int, demand: FloatArray, duty: FloatArray, busy: FloatArray) -> None:
        """Keep a step, each of shape (num_envs,)."""
        self.demand[:, step] = demand
        self.duty[:, step] = duty
        self.busy[:, step] = busy

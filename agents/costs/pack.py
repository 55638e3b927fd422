"""Pack temperatures that a planner keeps in mind from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agents.base import Obs
from fleet_env.observations import CAR
from fleet_env.types import BoolArray, FloatArray
from fleet_env.views.costs import PACK_TAU_H


@dataclass(eq=False)
class PackMemory:
    """Pack temperature of cars without compute: ambient through its lag, as seen so far [degC]."""

    step_h: float
    _pack_c: FloatArray | None = field(default=None, repr=False)

    def reset(self, env_mask: BoolArray) -> None:
        """Forget rows; a batch of another size forgets all."""
        if self._pack_c is not None and len(self._pack_c) == len(env_mask):
            self._pack_c[env_mask] = np.nan
        else:
            self._pack_c = None

    def look(self, obs: Obs) -> FloatArray:
        """Follow the ambient of the step, shape (num_envs, num_cars)."""
        ambient = obs["cars"][..., CAR["ambient"]]
        if self._pack_c is None or self._pack_c.shape != ambient.shape:
            self._pack_c = np.full(ambient.shape, np.nan, np.float32)
        new = np.isnan(self._pack_c[:, :1])[:, 0]
        self._pack_c[new] = ambient[new]
        self._pack_c += (ambient - self._pack_c) * np.float32(-np.expm1(-self.step_h / PACK_TAU_H))
        return self._pack_c

"""Some cars of an observation, gathered once for all that is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fleet_env.observations import CAR, FLEET
from fleet_env.types import BoolArray, FloatArray, IntArray

Obs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Seen:
    """Cars of all rows, one after the other, shape (m,): those that the mask allows, if not said.

    It is of one observation, which must not change while it is in use: columns are read once.
    """

    obs: Obs
    at: IntArray  # row * num_cars + car
    row: IntArray
    num: IntArray  # of each row, shape (num_envs,)
    _columns: dict[str, FloatArray] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, obs: Obs, flags: BoolArray | None = None) -> Self:
        """Look at the flagged cars of a batched observation of Fleet-v0 with cars.

        Parameters
        ----------
        obs : mapping
        flags : BoolArray, shape (num_envs, num_cars), optional
            Without it, the cars that the mask allows.
        """
        flags = obs["mask"] != 0 if flags is None else flags
        num = np.count_nonzero(flags, axis=1)
        return cls(obs, np.flatnonzero(flags), np.repeat(np.arange(len(num)), num), num)

    @classmethod
    def look(cls, obs: Obs | Seen) -> Self:
        """Return the cars of an observation, or those given if they are of this kind."""
        if isinstance(obs, cls):
            return obs
        return cls.of(obs.obs if isinstance(obs, Seen) else obs)

    @property
    def shape(self) -> tuple[int, int]:
        """(num_envs, num_cars) of the observation."""
        num_envs, num_cars = self.obs["mask"].shape
        return num_envs, num_cars

    def __call__(self, name: str) -> FloatArray:
        """Field of these cars; not to be changed."""
        if name not in self._columns:
            column: FloatArray = self.obs["cars"][..., CAR[name]].reshape(-1).take(self.at)
            self._columns[name] = column
        return self._columns[name]

    def fleet(self, name: str) -> FloatArray:
        """Field of their fleets."""
        column: FloatArray = self.obs["fleet"][:, FLEET[name]].take(self.row)
        return column

    def spread(self, values: NDArray[Any], elsewhere: float) -> NDArray[Any]:
        """Put values of these cars where they stand among all, shape (num_envs, num_cars)."""
        everyone: NDArray[Any] = np.full(self.shape, elsewhere, values.dtype)
        everyone.reshape(-1)[self.at] = values
        return everyone

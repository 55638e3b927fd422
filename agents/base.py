"""What every dispatcher is: a `Policy` that maps what it sees to one duty bit per car."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fleet_env.observations import CAR, FLEET
from fleet_env.types import BoolArray, FloatArray

Obs = Mapping[str, NDArray[Any]]
ActionArray = NDArray[np.int8]


@runtime_checkable
class Policy(Protocol):
    """Chooses the cars on duty, for a batch of fleets.

    A policy sees `obs` and nothing else: never `info`, never the simulation. It prefers to be
    stateless; what it must remember it keeps per row and forgets in `reset`.
    """

    @property
    def name(self) -> str:
        """Name in the registry and in every table."""
        ...

    def reset(self, env_mask: BoolArray) -> None:
        """Forget the episodes that just ended.

        Parameters
        ----------
        env_mask : BoolArray, shape (num_envs,)
            True for the rows that begin a new episode.
        """
        ...

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Choose the cars on duty in the coming step.

        Parameters
        ----------
        obs : mapping
            ``cars`` (num_envs, num_cars, F) float32, ``fleet`` (num_envs, G) float32 and ``mask``
            (num_envs, num_cars) int8; the fields stand in `fleet_env.observations`. Not changed.
        rng : numpy.random.Generator
            Consumed by policies that randomise: the caller sees it advanced.

        Returns
        -------
        NDArray[np.int8], shape (num_envs, num_cars)
            1 for a car on duty; never 1 where the mask is 0.
        """
        ...


class Stateless:
    """A policy without memory: there is nothing to forget."""

    def reset(self, env_mask: BoolArray) -> None:
        """Do nothing: no row carries anything over."""


def car_field(obs: Obs, field: str) -> FloatArray:
    """One field of every car, a view of shape (num_envs, num_cars)."""
    column: FloatArray = obs["cars"][..., CAR[field]]
    return column


def fleet_field(obs: Obs, field: str) -> FloatArray:
    """One field of every fleet, a view of shape (num_envs,)."""
    column: FloatArray = obs["fleet"][..., FLEET[field]]
    return column


def feasible(obs: Obs) -> BoolArray:
    """Cars the mask allows, shape (num_envs, num_cars)."""
    allowed: BoolArray = obs["mask"] != 0
    return allowed


def as_action(chosen: BoolArray) -> ActionArray:
    """Turn a choice of cars into duty bits, without a copy."""
    bits: ActionArray = chosen.view(np.int8)
    return bits


def check_settings(policy: object, **limits: tuple[float, float]) -> None:
    """Refuse settings outside their range.

    Raises
    ------
    ValueError
        Naming the policy, the setting, its value and its range.
    """
    for setting, (low, high) in limits.items():
        value = getattr(policy, setting)
        if not low <= value <= high:
            owner = type(policy).__name__
            expected = f"a number in [{low:g}, {high:g}]"
            raise ValueError(f"{owner}.{setting}={value!r}: expected {expected}")

"""The owner gates of volunteer computing on phones (phone defaults of BOINC)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agents.base import (
    ActionArray,
    Obs,
    as_action,
    car_field,
    check_settings,
    feasible,
)
from fleet_env.types import BoolArray


@dataclass(eq=False)
class _Memory:
    """Per car: steps still to rest, and whether it was sent on duty one step ago."""

    rest_steps: np.ndarray[tuple[int, ...], np.dtype[np.int32]]
    sent: BoolArray


@dataclass(frozen=True)
class PluggedFullFirst:
    """All cars that are plugged, full and in an off-peak step; after any stop they rest.

    Full means soc >= max(`full_soc`, target). A stop is a car that leaves duty, by this rule or
    because the world ended its stay; it stays off for `rest_steps` steps from then on.
    """

    full_soc: float = 0.90  # BOINC: 90 % or the owner's minimum
    rest_steps: int = 1  # BOINC: 5 min after any stop, rounded up to steps of 15 min

    name: ClassVar[str] = "plugged_full_first"
    family: ClassVar[str] = "owner gates"
    source: ClassVar[str] = "B9: BOINC phone defaults"
    _kept: list[_Memory] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_settings(self, full_soc=(0.0, 1.0), rest_steps=(0, 10_000))

    def reset(self, env_mask: BoolArray) -> None:
        """Forget the rests of the rows that begin anew; a batch of another size forgets all."""
        if self._kept and len(self._kept[0].sent) != len(env_mask):
            self._kept.clear()
        for memory in self._kept:
            memory.rest_steps[env_mask] = 0
            memory.sent[env_mask] = False

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        memory = self._memory(obs["mask"].shape)
        wanted = self._open_gates(obs)
        working = car_field(obs, "on_duty") > 0
        stopped = (memory.sent | working) & ~(wanted & working)
        memory.rest_steps[stopped] = self.rest_steps
        chosen: BoolArray = wanted & (memory.rest_steps == 0)
        memory.rest_steps[memory.rest_steps > 0] -= 1
        memory.sent[:] = chosen
        return as_action(chosen)

    def _open_gates(self, obs: Obs) -> BoolArray:
        full_soc = np.maximum(car_field(obs, "target_soc"), np.float32(self.full_soc))
        gates: BoolArray = (car_field(obs, "soc") >= full_soc) & (car_field(obs, "plugged") > 0)
        gates &= car_field(obs, "price") <= car_field(obs, "refill_price")
        gates &= feasible(obs)
        return gates

    def _memory(self, shape: tuple[int, ...]) -> _Memory:
        if not self._kept or self._kept[0].sent.shape != shape:
            self._kept[:] = [_Memory(np.zeros(shape, np.int32), np.zeros(shape, np.bool_))]
        return self._kept[0]

"""Small fleets and random play that contract, invariant and golden tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_env.vector_env import FleetVectorEnv

Bits = NDArray[np.int8]


def random_bits(seed: int, shape: tuple[int, ...], share: float = 0.5) -> Bits:
    """Duty bits of one step or of many, each 1 with chance `share`."""
    return (np.random.default_rng(seed).random(shape) < share).astype(np.int8)


def play(env: FleetVectorEnv, actions: Any) -> Iterator[tuple[Any, NDArray[Any], Any]]:
    """Play steps without the reset at the horizon and yield (obs, reward, info) of each."""
    for action in actions:
        obs, reward, _, info = env.play(action)
        yield obs, reward, info


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Two nested observations or infos are equal bit for bit, types of the leaves included."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
        return
    left, right = np.asarray(a), np.asarray(b)
    assert left.dtype == right.dtype, where
    np.testing.assert_array_equal(left, right, where)


# fields of FleetState that no action may change
TAPE = (
    "place",
    "plugged",
    "event_h",
    "event_no",
    "parked_h",
    "stated_h",
    "snooze_h",
    "next_place",
    "trip_kwh",
    "trip_h",
    "twin_ref",
    "ref_h",
    "dark",
    "fault",
)

"""Why a stay allows compute or not, by hand, on a world of one car."""

from __future__ import annotations

import numpy as np
import pytest

from fleet_env import FleetVectorEnv
from fleet_env.types import (
    DRIVING,
    HOME,
    LINK_CELLULAR,
    LINK_NONE,
    LINK_WIFI,
    OTHER,
    WORK,
)
from fleet_env.world import ALLOWED, AWAY, NO_LINK, UNPLUGGED, World


def world_of_one() -> World:
    env = FleetVectorEnv(num_envs=1, num_cars=1)
    env.reset(seed=0)
    return env.sim.world


@pytest.mark.parametrize(
    ("place", "plugged", "link", "unplugged_ok", "missing_gb", "expected"),
    [
        (HOME, True, LINK_WIFI, False, 0.0, ALLOWED),
        (WORK, True, LINK_CELLULAR, False, 0.0, ALLOWED),
        (HOME, True, LINK_NONE, True, 0.0, NO_LINK),
        (HOME, False, LINK_WIFI, False, 0.0, UNPLUGGED),
        (HOME, False, LINK_NONE, False, 0.0, UNPLUGGED),
        (HOME, False, LINK_WIFI, True, 0.0, ALLOWED),
        (OTHER, False, LINK_WIFI, True, 0.0, AWAY),
        (DRIVING, False, LINK_WIFI, True, 0.0, AWAY),
        (HOME, True, LINK_WIFI, False, 40.0, ALLOWED),
        (WORK, True, LINK_WIFI, False, 40.0, NO_LINK),  # weights come over the home link only
    ],
)
def test_first_reason_against_compute(
    place: int, plugged: bool, link: int, unplugged_ok: bool, missing_gb: float, expected: int
) -> None:
    world = world_of_one()
    world.params.home_link[:] = world.params.work_link[:] = link
    world.params.unplugged_ok[:] = unplugged_ok
    world.state.place[:], world.state.plugged[:] = place, plugged
    world.state.weights_gb[:] = missing_gb
    world.refresh(np.array([0]))
    assert world.derived.reason[0] == expected


def test_a_closed_garage_is_one_at_home() -> None:
    world = world_of_one()
    world.params.closed_garage[:] = True
    for place, closed in ((HOME, True), (WORK, False)):
        world.state.place[:] = place
        world.refresh(np.array([0]))
        assert world.derived.garage[0] == closed

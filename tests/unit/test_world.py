"""Why a stay allows compute or not, by hand, on a world of one car."""

from __future__ import annotations

import numpy as np
import pytest

from fleet_env import FleetVectorEnv
from fleet_env.types import (
    DRIVING,
    EVSE_L2_7,
    EVSE_NONE,
    HOME,
    LINK_CELLULAR,
    LINK_NONE,
    LINK_WIFI,
    OTHER,
    WORK,
)
from fleet_env.world import ALLOWED, AWAY, MEMORY, NO_LINK, OPTED_OUT, UNPLUGGED, World


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


@pytest.mark.parametrize("field", ["enrolled", "left"])
def test_who_takes_no_part_is_refused_before_memory_and_after_the_link(field: str) -> None:
    world = world_of_one()
    world.params.home_link[:] = LINK_WIFI
    world.state.place[:], world.state.plugged[:], world.state.weights_gb[:] = HOME, True, 0.0
    world.derived.fits[:] = False
    world.refresh(np.array([0]))
    assert world.derived.reason[0] == MEMORY
    if field == "left":
        world.state.left[:] = True
    else:
        world.params.enrolled[:] = False
    world.refresh(np.array([0]))
    assert world.derived.reason[0] == OPTED_OUT
    world.params.home_link[:] = LINK_NONE
    world.refresh(np.array([0]))
    assert world.derived.reason[0] == NO_LINK


def plugged_world() -> World:
    """A car on 7.7 kW at home: half full at 1 h, owing 0.1, on duty and ready."""
    world = world_of_one()
    state = world.state
    world.params.home_evse[:], world.params.pack_kwh[:] = EVSE_L2_7, 70.84
    world.params.home_link[:], world.params.charge_limit[:] = LINK_WIFI, 0.9
    state.place[:], state.plugged[:], state.weights_gb[:] = HOME, True, 0.0
    state.twin_ref[:], state.ref_h[:], state.gap[:] = 0.5, 1.0, 0.1
    state.duty[:], state.ready_min[:], state.falling[:] = True, 0.0, True
    world.refresh(np.array([0]))
    return world


def test_power_that_goes_and_returns_moves_the_anchor_of_the_twin_and_of_the_cycle() -> None:
    """7.7 kW times 0.92 into 70.84 kWh are 0.1 an hour; standby of 10 W takes 0.00014 an hour."""
    world, car = plugged_world(), np.array([0])
    world.set_dark(car, np.array([True]), 3.0)
    state, derived = world.state, world.derived
    assert state.twin_ref[0] == pytest.approx(0.7)
    assert state.anchor[0] == pytest.approx(0.6)
    assert (state.ref_h[0], state.falling[0]) == (3.0, False)
    assert (derived.evse[0], derived.reason[0]) == (EVSE_NONE, UNPLUGGED)
    assert world.twin_soc(car, 10.0)[0] == pytest.approx(0.7 - 7 * 0.01 / 70.84, abs=1e-6)
    world.set_dark(car, np.array([False]), 10.0)
    assert (derived.evse[0], derived.reason[0]) == (EVSE_L2_7, ALLOWED)
    assert world.twin_soc(car, 11.0)[0] == pytest.approx(0.7 - 7 * 0.01 / 70.84 + 0.1, abs=1e-6)
    assert world.twin_soc(car, 20.0)[0] == pytest.approx(0.9)


def test_a_car_that_is_not_plugged_goes_on_through_the_dark() -> None:
    world, car = plugged_world(), np.array([0])
    world.state.plugged[:] = False
    world.refresh(car)
    world.set_dark(car, np.array([True]), 3.0)
    assert (world.state.ref_h[0], world.state.twin_ref[0]) == (1.0, 0.5)
    assert world.state.dark[0]


def test_a_release_makes_a_car_on_duty_fetch_and_load_again() -> None:
    world, car = plugged_world(), np.array([0])
    world.params.down_mbps[:] = 40.0
    flash_gb = float(world.setup.flash_gb[0])
    assert world.release(car).tolist() == [0]  # it was serving
    assert world.state.weights_gb[0] == pytest.approx(flash_gb)
    load_min = flash_gb / 0.67 / 60
    download_min = flash_gb * 8000 / 40 / 60
    assert world.state.ready_min[0] == pytest.approx(load_min + download_min, rel=1e-5)
    assert world.derived.cold_min[0] == pytest.approx(0.5 + load_min + download_min, rel=1e-5)
    assert world.release(car).size == 0  # it no longer was


def test_a_release_at_work_strands_a_car_and_ends_its_tail() -> None:
    world, car = plugged_world(), np.array([0])
    world.params.work_link[:], world.params.work_evse[:] = LINK_WIFI, EVSE_L2_7
    world.state.place[:] = WORK
    world.state.duty[:], world.state.tail_min[:] = False, 3.0
    world.refresh(car)
    assert world.derived.reason[0] == ALLOWED
    assert world.release(car).size == 0
    assert world.derived.reason[0] == NO_LINK
    assert world.state.tail_min[0] == world.state.ready_min[0] == 0.0

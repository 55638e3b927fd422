"""Why duty bits are refused, by hand on one car, and the counts by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fleet_env import FleetVectorEnv
from fleet_env.blocks import Block
from fleet_env.metrics import REFUSALS
from fleet_env.refusals import Refused, refusals
from fleet_env.telemetry import duty_mask
from fleet_env.types import DRIVING, FAULT_SILENT, HOME, LINK_NONE, LINK_WIFI
from fleet_env.world import Gates, World

T_H = 3.0
TRUE = np.ones(1, np.bool_)


def world_of_one() -> World:
    """A car at home that may compute: plugged, linked, charged, nobody against it."""
    env = FleetVectorEnv(num_envs=1, num_cars=1, telemetry={"silent_share": 0.01})
    env.reset(seed=0)
    world = env.sim.world
    world.params.home_link[:] = world.params.work_link[:] = LINK_WIFI
    world.params.enrolled[:] = True
    world.params.unplugged_ok[:] = False
    state = world.state
    state.place[:], state.plugged[:], state.fault[:] = HOME, True, 0
    state.weights_gb[:], state.snooze_h[:], state.gap[:] = 0.0, np.inf, 0.0
    state.twin_ref[:], state.ref_h[:], state.event_h[:] = 0.8, 0.0, 20.0
    world.refresh(np.array([0]))
    return world


def prevent(world: World, reason: str) -> Gates:
    """Give a car one more reason against duty; returns the gates of those that gates close."""
    state, every = world.state, np.ones(8, np.bool_)
    if reason == "away":
        state.place[:] = DRIVING
    elif reason == "unplugged":
        state.plugged[:] = False
    elif reason == "no_link":
        world.params.home_link[:] = world.params.work_link[:] = LINK_NONE
    elif reason == "opted_out":
        world.params.enrolled[:] = False
    elif reason == "memory":
        world.derived.fits[:] = False
    elif reason == "silent":
        state.fault[:] = FAULT_SILENT
    elif reason == "snoozed":
        state.snooze_h[:] = T_H
    elif reason == "reserve":
        state.gap[:] = 0.79
    elif reason == "capped":
        state.duty_h[:] = 2.0
        return Gates(cap_h=2.0)
    elif reason == "quiet":
        return Gates(closed=every)
    elif reason == "hot":
        return Gates(hot=every)
    world.refresh(np.array([0]))
    return Gates()


def together(first: Gates, second: Gates) -> Gates:
    """Gates that close where either does."""
    return Gates(
        hot=second.hot if first.hot is None else first.hot,
        closed=second.closed if first.closed is None else first.closed,
        cap_h=min(first.cap_h, second.cap_h),
    )


def look(world: World, gates: Gates) -> tuple[bool, str]:
    """Whether the car may be on duty, and the reason that refuses its bit."""
    soc, mask = world.twin_soc(slice(None), T_H) - world.state.gap, np.empty(1, np.bool_)
    duty_mask(world, slice(None), soc, gates, T_H, out=mask)
    block = Block(0, 1, 0, 1)
    found = refusals(world, block, TRUE, gates, lambda cars: world.state.fault[cars] > 0, T_H)
    assert found.counts.sum() == 1
    assert found.counts[0, found.reason[0] - 1] == 1
    return bool(mask[0]), REFUSALS[found.reason[0] - 1]


def test_a_car_that_nothing_is_against_is_allowed() -> None:
    assert look(world_of_one(), Gates())[0]


@pytest.mark.parametrize("reason", REFUSALS)
def test_each_reason_alone_is_given(reason: str) -> None:
    world = world_of_one()
    assert look(world, prevent(world, reason)) == (False, reason)


@pytest.mark.parametrize("later", range(1, len(REFUSALS)))
def test_of_two_reasons_the_first_in_the_list_is_given(later: int) -> None:
    for first in range(later):
        world = world_of_one()
        gates = together(prevent(world, REFUSALS[first]), prevent(world, REFUSALS[later]))
        assert look(world, gates) == (False, REFUSALS[first])


def test_a_link_that_is_down_comes_before_owners_and_after_the_plug() -> None:
    world = world_of_one()
    assert look(world, Gates(cut=TRUE)) == (False, "no_link")
    for reason, given in (("opted_out", "no_link"), ("hot", "no_link"), ("unplugged", "unplugged")):
        world = world_of_one()
        gates = prevent(world, reason)
        assert look(world, replace(gates, cut=TRUE)) == (False, given)


def test_counts_are_by_row_and_reason_and_nothing_refused_is_nothing() -> None:
    env = FleetVectorEnv(num_envs=3, num_cars=4)
    env.reset(seed=0)
    world = env.sim.world
    world.state.place[:] = DRIVING
    world.state.place[8:] = HOME
    world.refresh(np.arange(12))
    refused = np.zeros(12, np.bool_)
    refused[[4, 5, 7, 9]] = True

    def count(block: Block) -> Refused:
        part = refused[block.lo : block.hi]
        return refusals(world, block, part, Gates(), lambda cars: cars < 0, 0.0)

    found = count(Block(4, 12, 1, 3))
    np.testing.assert_array_equal(found.cars, [4, 5, 7, 9])
    np.testing.assert_array_equal(found.counts.sum(axis=1), [3, 1])
    assert found.counts[0, REFUSALS.index("away")] == 3
    assert found.counts[1, REFUSALS.index("away")] == 0
    none = count(Block(0, 4, 0, 1))
    assert none.cars.size == none.reason.size == 0
    np.testing.assert_array_equal(none.counts, np.zeros((1, len(REFUSALS))))

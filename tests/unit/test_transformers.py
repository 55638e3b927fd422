"""Transformers of a small fleet by hand: who stands behind which, and what they leave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fleet_env import FleetVectorEnv, draws
from fleet_env.blocks import split_blocks
from fleet_env.dynamics.energy import load_evse
from fleet_env.generators.homes import draw_levels
from fleet_env.observations import CAR
from fleet_env.transformers import Transformers
from fleet_env.types import HOME, WORK

DT_H = 0.25
BASE_KW = 10 * 3.5 * 0.5  # ten homes at half their peak, level 1


def fleet(num_envs: int = 2, num_cars: int = 23, **settings: Any) -> FleetVectorEnv:
    """Rows of 23 cars on three transformers of ten homes each."""
    feeder = {"limit": True, "homes": 10, "kva": 25.0}
    env = FleetVectorEnv(num_envs=num_envs, num_cars=num_cars, feeder=feeder, **settings)
    env.reset(seed=0)
    return env


def transformers(env: FleetVectorEnv) -> Transformers:
    """At half of the peak load in all areas and steps, every neighbourhood at level 1."""
    key = draws.scenario_key("train", env.sim.scenario_index)
    home_load = env.sim.exo.home_load
    assert home_load is not None
    limits = Transformers(env.sim.world, key, np.full_like(home_load, 0.5))
    limits._level[:] = 1.0
    return limits


def park(env: FleetVectorEnv, charging: NDArray[np.intp]) -> None:
    """All cars full at home and staying, but for some that are empty."""
    world, everyone = env.sim.world, np.arange(env.num_envs * env.config.num_cars)
    state = world.state
    state.place[:], state.plugged[:], state.dark[:] = HOME, True, False
    world.params.home_evse[:] = 2  # 7.7 kW
    state.twin_ref[:], state.ref_h[:], state.event_h[:] = 1.0, 0.0, 20.0
    state.twin_ref[charging] = 0.2
    world.refresh(everyone)


def advance(env: FleetVectorEnv, limits: Transformers, step: int = 0) -> None:
    limits.advance(step, env.sim.blocks)


def test_homes_come_first_then_the_twins_of_the_cars_behind_it() -> None:
    env = fleet()
    park(env, np.array([0, 9, 10, 22, 23]))  # two in the first, one in each of the next three
    limits = transformers(env)
    limits._meter_kwh[:] = env.sim.world.params.pack_kwh / load_evse().eta[2]
    advance(env, limits)
    charging = np.array([2, 1, 1, 1, 0, 0]) * 7.7
    want = (0.9 * 25.0 - BASE_KW - charging) * DT_H
    np.testing.assert_allclose(limits.headroom_kwh, want, rtol=1e-5)
    np.testing.assert_allclose(limits.headroom_kw, np.maximum(want, 0) / DT_H, rtol=1e-5)
    np.testing.assert_allclose(limits.over_h, (want < 0).reshape(2, 3).sum(axis=1) * DT_H)
    assert (want < 0).any()


def test_cars_elsewhere_and_in_the_dark_ask_for_nothing() -> None:
    for away in (True, False):
        env = fleet()
        park(env, np.arange(46))
        world = env.sim.world
        if away:
            world.state.place[:] = WORK
            world.refresh(np.arange(46))
        else:
            world.set_dark(np.arange(46), np.ones(46, np.bool_), 0.0)
        limits = transformers(env)
        advance(env, limits)
        np.testing.assert_allclose(limits.headroom_kwh, (0.9 * 25 - BASE_KW) * DT_H, rtol=1e-6)


def test_a_car_that_leaves_charges_until_then() -> None:
    env = fleet(num_envs=1, num_cars=10)
    park(env, np.array([3]))
    env.sim.world.state.event_h[3] = 0.1
    limits = transformers(env)
    limits._meter_kwh[:] = env.sim.world.params.pack_kwh / load_evse().eta[2]
    advance(env, limits)
    want = (0.9 * 25.0 - BASE_KW) * DT_H - 7.7 * 0.1
    np.testing.assert_allclose(limits.headroom_kwh, [want], rtol=1e-5)


def test_levels_are_those_drawn_for_the_row_and_loads_those_of_its_region() -> None:
    regions = {"a": {"share": 2.0}, "b": {"share": 1.0, "time_zone": "Australia/Adelaide"}}
    env = fleet(num_cars=30, regions=regions)
    park(env, np.zeros(0, np.intp))
    key, exo = draws.scenario_key("train", env.sim.scenario_index), env.sim.exo
    assert exo.home_load is not None
    limits = Transformers(env.sim.world, key, exo.home_load)
    advance(env, limits, 5)
    area = np.array([0, 0, 1, 2, 2, 3])  # row * 2 + region: two of three neighbourhoods are in a
    base_kw = 35.0 * exo.home_load[area, 5] * draw_levels(key, 3)
    np.testing.assert_allclose(limits.headroom_kwh, (0.9 * 25 - base_kw) * DT_H, rtol=1e-5)
    assert exo.home_load[0, 5] != exo.home_load[1, 5]


@pytest.mark.parametrize("block_cars", [10, 20, 46])
def test_blocks_do_not_matter(block_cars: int) -> None:
    env = fleet()
    park(env, np.arange(0, 46, 3))
    limits, others = transformers(env), transformers(env)
    advance(env, limits)
    others.advance(0, split_blocks(2, 23, block_cars, together=10))
    np.testing.assert_array_equal(others.headroom_kwh, limits.headroom_kwh)


def test_what_is_left_is_shown_of_the_step_before_at_the_cars_own_transformer() -> None:
    env = fleet()
    obs, *_ = env.play(np.zeros((2, 23), np.int8))
    limits = env.sim.transformers
    assert limits is not None
    shown = obs["cars"][..., CAR["feeder_kw"]].ravel()
    want = limits.headroom_kw[np.repeat([0, 1, 2, 3, 4, 5], [10, 10, 3, 10, 10, 3])]
    np.testing.assert_allclose(shown, np.minimum(want, 100.0), rtol=1e-6)
    free = FleetVectorEnv(num_envs=1, num_cars=3)
    assert (free.reset(seed=0)[0]["cars"][..., CAR["feeder_kw"]] == 100.0).all()

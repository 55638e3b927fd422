"""Field tables, their spaces, and what stands in the columns."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fleet_env.car_sensors import CarSensors
from fleet_env.config import EnvConfig
from fleet_env.config_world import RegionConfig
from fleet_env.dynamics.energy import load_evse
from fleet_env.env import FleetEnv
from fleet_env.generators.published import PriceView
from fleet_env.observations import (
    CAR,
    CAR_FIELDS,
    FLEET,
    FLEET_FIELDS,
    field_docs,
    observation_space,
)
from fleet_env.sensors import FleetSensors
from fleet_env.types import DRIVING, HOME, WORK
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.world import World
from tests.contract.plays import play, random_bits
from tests.unit.test_telemetry import bare_world


def test_names_are_unique_and_limits_in_order() -> None:
    for fields in (CAR_FIELDS, FLEET_FIELDS):
        assert len({field.name for field in fields}) == len(fields)
        assert all(field.low < field.high for field in fields)
        assert all(field.unit and field.doc for field in fields)


def test_docs_have_one_line_per_field_in_order() -> None:
    lines = field_docs(CAR_FIELDS).splitlines()
    assert len(lines) == len(CAR_FIELDS)
    for i, (line, field) in enumerate(zip(lines, CAR_FIELDS, strict=True)):
        assert line.split()[:2] == [str(i), field.name]


def test_space_of_cars_has_a_row_per_car() -> None:
    space = observation_space("cars", 5)
    assert space["cars"].shape == (5, len(CAR_FIELDS))
    assert space["fleet"].shape == (len(FLEET_FIELDS),)
    assert space["mask"].n == 5
    assert observation_space("fleet", 5) == space["fleet"]


@pytest.fixture(scope="module")
def day() -> list[tuple[Any, FleetVectorEnv, float]]:
    """Observations of a day of random play, with copies of the truth behind them."""
    env = FleetVectorEnv(num_envs=2, num_cars=30, step_min=30)
    obs, _ = env.reset(seed=20)
    moments = [_truth(env, obs)]
    for obs, _, _ in play(env, random_bits(0, (48, 2, 30), 0.6)):
        moments.append(_truth(env, obs))
    return moments


def _truth(env: FleetVectorEnv, obs: Any) -> dict[str, Any]:
    state = env.sim.world.state
    now = {name: getattr(state, name).copy().reshape(2, 30) for name in state.__slots__}
    params = env.sim.world.params
    pack, closed = params.pack_kwh.reshape(2, 30), params.closed_garage.reshape(2, 30)
    soc = (env.sim.world.twin_soc(slice(None), env.sim.t_h) - state.gap).reshape(2, 30)
    exo, k = env.sim.exo, env.sim.step_index
    known = min(k, env.config.num_steps - 1)
    return {
        "obs": obs,
        "t_h": env.sim.t_h,
        "soc": soc,
        "pack": pack,
        "closed": closed,
        **now,
        "price": exo.price_usd_per_kwh[:, k : k + 48].copy(),
        "hour": exo.local_hour[:, k].copy(),
        "ref_price": exo.ref_price_usd_per_kwh[:, known].copy(),
        "refill_price": exo.threshold_usd_per_kwh[:, known].copy(),
        "carbon": exo.carbon_g_per_kwh[:, k] / 1000,
        "ambient": exo.ambient_c[:, k].copy(),
        "cheap_h": _cheap_h(env, state.stated_h.reshape(2, 30)),
    }


def _cheap_h(env: FleetVectorEnv, stated_h: Any) -> Any:
    """Cheap hours left as the energy manager counts: whole steps up to the stated departure."""
    cum_h, end = env.sim.exo.cheap_ahead(env.sim.step_index)
    dt_h = env.config.dt_h
    steps = np.maximum((stated_h - np.float32(env.sim.t_h + dt_h)) / np.float32(dt_h), 0)
    last = end + np.minimum(steps, cum_h.shape[1] - 1 - end).astype(int)
    return np.take_along_axis(cum_h, last, axis=1) - cum_h[:, [end]]


def test_columns_are_the_truth(day: list[dict[str, Any]]) -> None:
    for now in day:
        cars = now["obs"]["cars"]
        want = {
            "at_home": now["place"] == HOME,
            "at_work": now["place"] == WORK,
            "plugged": now["plugged"],
            "on_duty": now["duty"],
            "soc": now["soc"] * (now["place"] != DRIVING),
            "gap_kwh": now["gap"] * now["pack"],
            "stay_h": np.clip(now["stated_h"] - now["t_h"], 0, 48),
            "parked_h": np.clip(now["t_h"] - now["parked_h"], 0, 96),
            "snoozed": now["snooze_h"] <= now["t_h"],
            "pack_kwh": now["pack"],
            "price": now["price"][:, :1],
            "ref_price": now["ref_price"][:, None],
            "refill_price": now["refill_price"][:, None],
            "carbon": now["carbon"][:, None],
            "ambient": now["ambient"][:, None],
            "local_hour": now["hour"][:, None],
            "report_min": 0.0,
            "feeder_kw": 100.0,
            "region": 0.0,
            "garage": (now["place"] == HOME) & now["closed"],
        }
        for name, value in want.items():
            got, want_now = np.broadcast_arrays(cars[..., CAR[name]], value)
            np.testing.assert_allclose(got, want_now, rtol=1e-5, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(cars[..., CAR["cheap_h"]], now["cheap_h"])
        unplugged = cars[..., CAR["plugged"]] == 0
        assert (cars[..., CAR["evse_kw"]][unplugged] == 0).all()


def test_some_cars_come_to_a_closed_garage_and_leave_it(day: list[dict[str, Any]]) -> None:
    garage = np.array([now["obs"]["cars"][..., CAR["garage"]] for now in day])
    assert set(np.unique(garage)) == {0.0, 1.0}
    assert np.ptp(garage, axis=0).any()
    assert not garage[:, ~day[0]["closed"]].any()


def test_a_garage_is_where_a_car_is_said_to_be() -> None:
    """Home with and without a garage, at work, and on the road for all that is known."""
    sensors, world = CarSensors(TWO_REGIONS, num_envs=2), _world_of_two()
    world.params.closed_garage[:] = 1
    world.params.closed_garage[1] = 0
    world.state.place[:4] = [HOME, HOME, WORK, DRIVING]
    sensors.begin(world, _outside(96), np.zeros(1), np.zeros(1))
    cars = sensors.read(0, np.zeros(10, np.float32), 0.0).reshape(10, -1)
    assert cars[:4, CAR["garage"]].tolist() == [1, 0, 0, 0]
    world.state.place[3] = HOME
    sensors.moved(np.array([3]))
    cars = sensors.read(1, np.zeros(10, np.float32), 0.0).reshape(10, -1)
    assert cars[:4, CAR["garage"]].tolist() == [1, 0, 0, 1]


def test_fleet_columns_are_the_truth(day: list[dict[str, Any]]) -> None:
    for k, now in enumerate(day):
        fleet, mask = now["obs"]["fleet"], now["obs"]["mask"]
        want = {
            "hour_sin": np.sin(2 * np.pi * now["hour"] / 24),
            "hour_cos": np.cos(2 * np.pi * now["hour"] / 24),
            "left": 1 - k / 48,
            "price": now["price"][:, 0],
            "price_00h": now["price"][:, :2].mean(axis=1),
            "price_05h": now["price"][:, 10:12].mean(axis=1),
            "price_23h": now["price"][:, 46:48].mean(axis=1),
            "available": mask.mean(axis=1),
            "plugged": now["plugged"].mean(axis=1),
            "duty": now["duty"].mean(axis=1),
        }
        for name, value in want.items():
            got = fleet[:, FLEET[name]]
            np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-6, err_msg=f"{name} {k}")


def test_powers_quoted_are_those_of_the_survey() -> None:
    """AI5 at the wall: 497 W busy (domain 1b) and well below it awake."""
    cars = FleetEnv(num_cars=3).reset(seed=0)[0]["cars"]
    np.testing.assert_allclose(cars[:, CAR["busy_kw"]], 0.497, atol=0.001)
    assert (cars[:, CAR["awake_kw"]] < 0.35).all()


def test_value_of_an_hour_is_price_over_work() -> None:
    env = FleetVectorEnv(num_envs=1, num_cars=3)
    fleet = env.reset(seed=0)[0]["fleet"][0]
    per_h = env.sim.price_usd * 3600 / env.sim.setup.work_car_s
    names = ("value_8b_usd_per_h", "value_70b_usd_per_h", "value_batch_usd_per_h")
    np.testing.assert_allclose([fleet[FLEET[name]] for name in names], per_h, rtol=1e-6)
    assert fleet[FLEET["pay_usd_per_h"]] == np.float32(env.config.reward.pay_usd_per_on_duty_h)


def test_forecast_of_work_is_near_what_arrives_on_average() -> None:
    """Mean over 32 days: forecast of the first 6 h against what came, in cars' worth per car."""
    env = FleetVectorEnv(num_envs=32, num_cars=50, step_min=60)
    fleet = env.reset(seed=0)[0]["fleet"]
    first = FLEET["chat_00h"]
    forecast = fleet[:, first : first + 6].mean(dtype=float)
    came = []
    for obs, _, _ in play(env, np.zeros((6, 32, 50))):
        last = obs["fleet"][:, [FLEET["chat_8b_last"], FLEET["chat_70b_last"]]]
        came.append(last.sum(axis=1).mean(dtype=float))
    assert np.mean(came) == pytest.approx(forecast, rel=0.15)


# two fleets of five cars, three of which belong to region 0 and two to region 1 (areas 0 to 3)
TWO_REGIONS = EnvConfig(num_cars=5, regions={"a": RegionConfig(3.0), "b": RegionConfig(2.0)})
TWO_REGIONS.feeder.homes = 1


def _outside(num_steps: int) -> Any:
    """Four areas: prices, clocks and weather of their own, constant but for the cheap hours."""
    num = num_steps + 96

    def series(*values: float) -> Any:
        return np.repeat(np.array(values, np.float32)[:, None], num, axis=1)

    price = series(0.3, 0.1, 0.5, -0.1)
    cheap = np.zeros((4, num), np.bool_)
    cheap[1], cheap[2, 4:] = True, True
    cum_h = np.concatenate([np.zeros((4, 1)), np.cumsum(cheap, axis=1) * 0.25], axis=1)
    threshold = series(0.2, 0.1, 0.4, -0.2)
    view = PriceView(0, price, threshold, cheap, cum_h.astype(np.float32))
    return SimpleNamespace(
        price_usd_per_kwh=price,
        ref_price_usd_per_kwh=series(0.31, 0.11, 0.51, 0.21),
        threshold_usd_per_kwh=threshold,
        cheap=cheap,
        carbon_g_per_kwh=series(100, 200, 300, 400),
        ambient_c=series(10, 20, 30, 40),
        local_hour=series(12, 21, 12, 3),
        weekday=series(4, 5, 6, 0).astype(int),
        rate_forecast=np.stack([series(1, 2, 3, 4)] * 3),
        price_views=(view,),
        price_view=lambda step: view,
    )


def _world_of_two() -> World:
    setup = SimpleNamespace(tier_fits=np.ones((1, 2), np.bool_))
    world = replace(bare_world(10), config=TWO_REGIONS, setup=setup, evse_table=load_evse())
    world.derived.area[:] = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    world.derived.neighbourhood[:] = np.arange(10)
    world.derived.home_link[::2] = True
    world.params.home_link[:] = 1
    world.state.stated_h[:] = [3.0, 0.5, -np.inf, 1.3, 9.0, 1.25, 1.24, 3.0, 2.0, 2.0]
    return world


def test_cars_see_what_holds_in_their_own_region() -> None:
    sensors = CarSensors(TWO_REGIONS, num_envs=2)
    sensors.begin(_world_of_two(), _outside(96), np.zeros(1), np.zeros(1))
    cars = sensors.read(0, np.zeros(10, np.float32), 0.0)
    by_area = {
        "price": (0.3, 0.1, 0.5, -0.1),
        "ref_price": (0.31, 0.11, 0.51, 0.21),
        "refill_price": (0.2, 0.1, 0.4, -0.2),
        "carbon": (0.1, 0.2, 0.3, 0.4),
        "ambient": (10, 20, 30, 40),
        "local_hour": (12, 21, 12, 3),
        "region": (0, 1, 0, 1),
    }
    for name, (a, b, c, d) in by_area.items():
        want = np.array([[a, a, a, b, b], [c, c, c, d, d]], np.float32)
        np.testing.assert_array_equal(cars[..., CAR[name]], want, name)
    # whole steps after this one up to the stated departure; area 2 is cheap from step 4 on
    want = np.array([[0, 0, 0, 1.0, 8.75], [0.25, 0.0, 2.0, 0, 0]], np.float32)
    np.testing.assert_array_equal(cars[..., CAR["cheap_h"]], want)


def test_late_reports_links_that_are_down_and_transformers_are_shown() -> None:
    sensors = CarSensors(TWO_REGIONS, num_envs=2)
    world = _world_of_two()
    world.state.snooze_h[:] = 0.9
    sensors.begin(world, _outside(96), np.zeros(1), np.zeros(1))
    seen_h = np.full(10, 0.75, np.float32)
    seen_h[:2] = [0.95, -30.0]
    cut = np.zeros(10, np.bool_)
    cut[[0, 9]] = True
    kw = np.arange(10) * 30.0
    cars = sensors.read(4, np.zeros(10, np.float32), seen_h, cut, kw).reshape(10, -1)
    np.testing.assert_allclose(cars[:3, CAR["report_min"]], [3.0, 1440.0, 15.0], rtol=1e-5)
    assert cars[:, CAR["snoozed"]].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert cars[:, CAR["linked"]].tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 1, 0]
    assert cars[:5, CAR["feeder_kw"]].tolist() == [0, 30, 60, 90, 100]
    cars = sensors.read(5, np.zeros(10, np.float32), 1.25).reshape(10, -1)
    assert (cars[:, CAR["linked"]] == 1).all()
    assert (cars[:, CAR["report_min"]] == 0).all()


def test_the_fleet_sees_means_over_its_regions_and_the_clock_of_the_first() -> None:
    sensors = FleetSensors(
        TWO_REGIONS, np.ones(3) / 60, np.ones(3), np.ones(3), 3, 2, peak_charge_usd=20.0
    )
    sensors.begin(_outside(96))
    flows = SimpleNamespace(arrived=np.zeros((2, 3)))
    queue = SimpleNamespace(batch_due=np.zeros((2, 48)))
    dc = np.array([[5.0, 10.0], [15.0, 20.0]])
    fleet = sensors.read(4, flows, queue, np.zeros(2), np.zeros((3, 2)), dc)
    want = {
        "price": (0.6 * 0.3 + 0.4 * 0.1, 0.6 * 0.5 - 0.4 * 0.1),
        "ref_price": (0.23, 0.39),
        "refill_price": (0.16, 0.16),
        "cheap": (0.4, 0.6),
        "carbon": (0.14, 0.34),
        "ambient": (14.0, 34.0),
        "hour_cos": (-1.0, -1.0),
        "weekend": (0.0, 1.0),
        "price_07h": (0.22, 0.26),
        "chat_07h": (2 * 1.4, 2 * 3.4),
        "batch_07h": (1.4, 3.4),
        "dc_load": (1.0, 2.0),
        "dc_peak": (3.0, 4.0),
        "peak_usd_per_usd_h": (20.0, 20.0),
    }
    for name, value in want.items():
        np.testing.assert_allclose(fleet[:, FLEET[name]], value, rtol=1e-5, err_msg=name)

"""Field tables, their spaces, and what stands in the columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fleet_env.env import FleetEnv
from fleet_env.observations import (
    CAR,
    CAR_FIELDS,
    FLEET,
    FLEET_FIELDS,
    field_docs,
    observation_space,
)
from fleet_env.types import DRIVING, HOME, WORK
from fleet_env.vector_env import FleetVectorEnv
from tests.contract.plays import play, random_bits


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
    pack = params.pack_kwh.reshape(2, 30)
    soc = (env.sim.world.twin_soc(slice(None), env.sim.t_h) - state.gap).reshape(2, 30)
    exo, k = env.sim.exo, env.sim.step_index
    return {
        "obs": obs,
        "t_h": env.sim.t_h,
        "soc": soc,
        "pack": pack,
        **now,
        "price": exo.price_usd_per_kwh[:, k : k + 48].copy(),
        "hour": exo.local_hour[:, k].copy(),
    }


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
        }
        for name, value in want.items():
            np.testing.assert_allclose(
                cars[..., CAR[name]], value, rtol=1e-5, atol=1e-5, err_msg=name
            )
        unplugged = cars[..., CAR["plugged"]] == 0
        assert (cars[..., CAR["evse_kw"]][unplugged] == 0).all()


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

"""Rules for jobs with deadlines, by hand on backlogs of three windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agents
from agents.heuristics.backlog import changeover_h, due_car_h, fastest
from fleet_env.observations import CAR, FLEET

RNG = np.random.default_rng(0)
EXACT = {"over_provision": 1.0}
DUE = {"batch_due_1h": 0.1, "batch_due_4h": 0.2, "batch_due_12h": 0.6}
DEAR = {"price": 0.35, "cheap": 0, "price_00h": 0.35}  # cheap from the next hour on; still pays
SHAPE = (1, 1000)  # a thousand cars: cars on duty are thousandths of work


def _cars(policy: agents.Policy, obs: Any) -> int:
    return int(policy.act(obs, RNG).sum())


def test_due_work_is_the_running_sum(make_obs: Any) -> None:
    np.testing.assert_allclose(due_car_h(make_obs(fleet=DUE)), [[0.1, 0.2, 0.6]], rtol=1e-6)


@pytest.mark.parametrize(
    ("ready_min", "mask", "start_h"),
    [
        ([6, 60, 600], [1, 1, 1], 1.0),
        ([6, 60, 600], [1, 1, 0], 0.1),  # lower of the two middles
        ([6, 60, 600], [0, 0, 1], 10.0),
        ([6, 60, 600], [0, 0, 0], 0.0),
    ],
)
def test_changeover_is_the_median_start_of_the_feasible(
    make_obs: Any, ready_min: list[int], mask: list[int], start_h: float
) -> None:
    obs = make_obs({"ready_min": ready_min}, mask=mask)
    assert changeover_h(obs) == pytest.approx([start_h])


def test_fastest_takes_the_window_that_presses_most() -> None:
    due, hours = np.array([[0.1, 0.2, 0.6]]), np.array([1.0, 4.0, 2.0])
    every, none = np.ones((1, 3), bool), np.zeros((1, 3), bool)
    assert fastest(due, hours, every) == pytest.approx([0.3])
    assert fastest(due, hours, np.array([[True, True, False]])) == pytest.approx([0.1])
    assert fastest(due, hours, none) == pytest.approx([0.0])


def test_uniform_progress_stays_on_the_line_and_runs_ahead_when_cheap(make_obs: Any) -> None:
    # bands 0.1, 0.1, 0.4 with 1, 4, 12 h left, two starts of 3 min less: 0.9, 3.9, 11.9 h
    line = 0.1 / 0.9 + 0.1 / 3.9 + 0.4 / 11.9
    cars = {"ready_min": 3}
    policy = agents.make("uniform_progress", batch_haste=3.0, **EXACT)
    dear = make_obs(cars, DUE | DEAR, shape=SHAPE)
    assert _cars(policy, dear) == round(1000 * line) == 170
    assert _cars(policy, make_obs(cars, DUE, shape=SHAPE)) == round(3000 * line) == 511
    half = make_obs(
        cars, DUE | DEAR | {"cheap": 0.5}, shape=SHAPE
    )  # two regions, one of them cheap
    assert _cars(policy, half) == round(2000 * line)


def test_uniform_progress_gives_up_work_that_two_starts_would_miss(make_obs: Any) -> None:
    policy = agents.make("uniform_progress", batch_haste=1.0, start_spread_h=48.0, **EXACT)
    # starts of 48 min: 1.6 h are gone; the bands of 4 and 12 h have 2.4 and 10.4 h left
    obs = make_obs({"ready_min": 48, "stay_h": 48}, DUE, shape=SHAPE)
    assert _cars(policy, obs) == round(1000 * (0.1 / 2.4 + 0.4 / 10.4)) == 80
    late = make_obs({"ready_min": 48, "stay_h": 48}, {"batch_due_1h": 0.1}, shape=SHAPE)
    late["fleet"][:] = make_obs(fleet=dict.fromkeys(DUE, 0.1))["fleet"]
    assert _cars(policy, late) == 0


def test_safety_net_runs_the_backlog_at_any_price_that_pays(make_obs: Any) -> None:
    policy = agents.make("safety_net", finish_h=2.0, **EXACT)
    for fleet in (DUE, DUE | DEAR):  # cheapest_first would wait for the next hour
        obs = make_obs({"ready_min": 0}, fleet | {"available": 1.0}, shape=SHAPE)
        assert _cars(policy, obs) == 300  # 0.6 in 2 h
    ruinous = make_obs(fleet=DUE | {"price": 3.0, "available": 1.0, "ref_price": 3.0}, shape=SHAPE)
    ruinous["cars"][..., :] = make_obs({"stay_h": 0}, {"price": 3.0})["cars"][:, :1]
    assert _cars(policy, ruinous) == 0


def test_safety_net_lets_go_what_the_cars_cannot_finish(make_obs: Any) -> None:
    policy = agents.make("safety_net", finish_h=1.0, start_spread_h=48.0, **EXACT)
    # 2 % of the cars may work, two starts take 1 h: within 1, 4, 12 h at most 0, .06, .22 are done
    cars, fleet = {"ready_min": 30, "stay_h": 48}, DUE | {"available": 0.02}
    assert _cars(policy, make_obs(cars, fleet, shape=SHAPE)) == 220
    soon = fleet | {"batch_due_12h": 0.2}
    assert _cars(policy, make_obs(cars, soon, shape=SHAPE)) == 200
    only_now = fleet | dict.fromkeys(DUE, 0.1)
    assert _cars(policy, make_obs(cars, only_now, shape=SHAPE)) == 100  # by way of the long window


@pytest.mark.parametrize(
    ("fleet", "laxity_h", "cars"),
    [
        # all cars are there: laxities 0 - .1, 1 - .2, 4 - .6 h; rates .1, .05, .05
        ({"available": 1.0}, 0.0, 100),
        ({"available": 1.0, "batch_due_4h": 0.8, "batch_due_12h": 0.8}, 0.0, 100),
        ({"available": 1.0, "batch_due_4h": 0.8, "batch_due_12h": 0.8}, 0.2, 200),
        # a tenth of the cars: work of 1, 2, 6 h; all are late
        ({"available": 0.1, "batch_due_1h": 0.0}, 0.0, 50),
        ({"available": 0.15, "batch_due_1h": 0.0, "batch_due_4h": 0.0}, 0.0, 50),
        ({"available": 0.2, "batch_due_1h": 0.0, "batch_due_4h": 0.0}, 0.0, 0),
    ],
)
def test_least_laxity_runs_what_cannot_wait(
    make_obs: Any, fleet: dict[str, float], laxity_h: float, cars: int
) -> None:
    policy = agents.make("least_laxity", laxity_h=laxity_h, batch_haste=1.0, **EXACT)
    assert _cars(policy, make_obs(fleet=DUE | fleet, shape=SHAPE)) == cars


def test_least_laxity_spares_the_cars_that_must_charge(make_obs: Any) -> None:
    # charging 0.3 * 76 / 7.7 / 0.92 = 3.2 h: laxities 10 - 3.2, 8, 12 - 3.2
    cars = {"soc": [0.5, 0.9, 0.5], "stay_h": [10, 8, 12]}
    two = {"chat_00h": 0.6, "chat_8b_last": 0.3, "chat_70b_last": 0.3}
    policy = agents.make("least_laxity", shortfall_usd_per_h=0.0, **EXACT)
    assert policy.act(make_obs(cars, two), RNG).tolist() == [[0, 1, 1]]
    dear = {**cars, "busy_kw": [0.5, 5.0, 0.5]}  # at a loss
    assert policy.act(make_obs(dear, two), RNG).tolist() == [[1, 0, 1]]


@given(seed=st.integers(0, 10_000), haste=st.floats(1.0, 8.0))
def test_haste_never_wakes_fewer_cars(random_obs: Any, seed: int, haste: float) -> None:
    obs = random_obs(seed, 3, 30)
    obs["cars"][..., CAR["fits_70b"]] = 1  # one tier of one value: the margins do not change
    obs["fleet"][:, FLEET["value_8b_usd_per_h"]] = obs["fleet"][:, FLEET["value_70b_usd_per_h"]]
    slow = agents.make("uniform_progress", batch_haste=1.0).act(obs, RNG)
    fast = agents.make("uniform_progress", batch_haste=haste).act(obs, RNG)
    assert (fast >= slow).all()

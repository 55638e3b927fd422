"""Every rule on fleets of three cars, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import agents

RNG = np.random.default_rng(0)
# work for two of three cars, all of it interactive and as forecast
TWO_CARS = {"chat_00h": 0.6, "chat_8b_last": 0.3, "chat_70b_last": 0.3}
EXACT = {"over_provision": 1.0}


def _act(policy: agents.Policy, obs: Any) -> list[int]:
    action = policy.act(obs, RNG)
    assert action.dtype == np.int8
    row: list[int] = action[0].tolist()
    return row


def _clock(hour: float) -> dict[str, float]:
    angle = 2 * np.pi * hour / 24
    return {"hour_sin": np.sin(angle), "hour_cos": np.cos(angle)}


def test_dc_only_wakes_nobody(make_obs: Any) -> None:
    assert _act(agents.make("dc_only"), make_obs(fleet=TWO_CARS)) == [0, 0, 0]


def test_always_on_is_the_mask(make_obs: Any) -> None:
    assert _act(agents.make("always_on"), make_obs(mask=[1, 0, 1])) == [1, 0, 1]


def test_random_wakes_its_share_of_the_feasible(make_obs: Any) -> None:
    obs = make_obs(mask=np.arange(20_000) % 2, shape=(1, 20_000))
    action = agents.make("random", share=0.2).act(obs, np.random.default_rng(1))
    assert action.sum() == pytest.approx(2_000, abs=4 * np.sqrt(10_000 * 0.2 * 0.8))
    assert not (action & (obs["mask"] == 0)).any()
    again = agents.make("random", share=0.2).act(obs, np.random.default_rng(1))
    np.testing.assert_array_equal(action, again)


@pytest.mark.parametrize(
    ("hour", "on"), [(21.75, 0), (22.0, 1), (0.0, 1), (5.75, 1), (6.0, 0), (12.0, 0)]
)
def test_koopman_keeps_the_night(make_obs: Any, hour: float, on: int) -> None:
    assert _act(agents.make("koopman"), make_obs(fleet=_clock(hour))) == [on] * 3


def test_koopman_keeps_the_night_where_the_car_is(make_obs: Any) -> None:
    cars = {"region": [0, 1, 2], "local_hour": [12.0, 23.0, 5.75]}
    assert _act(agents.make("koopman"), make_obs(cars, _clock(12))) == [0, 1, 1]


def test_koopman_wants_home_plug_and_link(make_obs: Any) -> None:
    cars = {"at_home": [0, 1, 1, 1], "plugged": [1, 0, 1, 1], "linked": [1, 1, 0, 1]}
    assert _act(agents.make("koopman"), make_obs(cars, shape=(1, 4))) == [0, 0, 0, 1]


def test_koopman_window_may_lie_within_a_day(make_obs: Any) -> None:
    noon = agents.make("koopman", from_h=9.0, until_h=17.0)
    assert _act(noon, make_obs(fleet=_clock(12.0))) == [1, 1, 1]
    assert _act(noon, make_obs(fleet=_clock(17.0))) == [0, 0, 0]


def test_plugged_full_first_gates(make_obs: Any) -> None:
    cars = {"soc": [0.91, 0.89, 0.93, 0.95], "target_soc": [0.8, 0.8, 0.95, 0.95]}
    policy = agents.make("plugged_full_first")
    assert _act(policy, make_obs(cars, shape=(1, 4))) == [1, 0, 0, 1]
    unplugged = make_obs({**cars, "plugged": [0, 1, 1, 1]}, shape=(1, 4))
    assert _act(agents.make("plugged_full_first"), unplugged) == [0, 0, 0, 1]
    dear = make_obs(cars, {"price": 0.6, "cheap": 0}, shape=(1, 4))
    assert _act(agents.make("plugged_full_first"), dear) == [0, 0, 0, 0]


def test_plugged_full_first_is_off_peak_where_the_car_is(make_obs: Any) -> None:
    cars = {"soc": 0.95, "region": [0, 1, 1], "price": [0.6, 0.2, 0.21], "refill_price": 0.2}
    assert _act(agents.make("plugged_full_first"), make_obs(cars)) == [0, 1, 0]


def test_plugged_full_first_rests_after_a_stop(make_obs: Any) -> None:
    policy = agents.make("plugged_full_first", rest_steps=2)
    soc = [0.95, 0.95, 0.95]
    assert _act(policy, make_obs({"soc": soc})) == [1, 1, 1]
    # car 1 fell under the gate: a stop; car 2 was sent but the world ended its stay: a stop
    soc[1] = 0.85
    working = {"on_duty": [1, 1, 0]}
    assert _act(policy, make_obs({"soc": soc, **working})) == [1, 0, 0]
    soc[1] = 0.95
    assert _act(policy, make_obs({"soc": soc, "on_duty": [1, 0, 0]})) == [1, 0, 0]
    assert _act(policy, make_obs({"soc": soc, "on_duty": [1, 0, 0]})) == [1, 1, 1]


def test_plugged_full_first_forgets_only_the_rows_that_begin_anew(make_obs: Any) -> None:
    policy = agents.make("plugged_full_first")
    shape = (2, 3)
    assert policy.act(make_obs({"soc": 0.95}, shape=shape), RNG).all()
    policy.reset(np.array([True, False]))
    # row 1 was sent and is not working: it rests; row 0 knows of nothing
    action = policy.act(make_obs({"soc": 0.95, "on_duty": 0}, shape=shape), RNG)
    np.testing.assert_array_equal(action, [[1, 1, 1], [0, 0, 0]])


def test_idle_gate_waits_for_a_quarter_of_an_hour(make_obs: Any) -> None:
    cars = {"parked_h": [0.2, 0.25, 9.0]}
    assert _act(agents.make("idle_gate"), make_obs(cars)) == [0, 1, 1]
    assert _act(agents.make("idle_gate"), make_obs(cars, mask=[1, 1, 0])) == [0, 1, 0]
    assert _act(agents.make("idle_gate", idle_h=1.0), make_obs(cars)) == [0, 0, 1]


def test_longest_stay_takes_the_longest_up_to_the_demand(make_obs: Any) -> None:
    policy = agents.make("longest_stay", **EXACT)
    assert _act(policy, make_obs({"stay_h": [3, 9, 5]}, TWO_CARS)) == [0, 1, 1]
    assert _act(policy, make_obs({"stay_h": [3, 9, 1]}, TWO_CARS)) == [1, 1, 0]
    assert _act(policy, make_obs({"stay_h": [1, 9, 0]}, TWO_CARS)) == [0, 1, 0]
    assert _act(policy, make_obs({"stay_h": [3, 9, 5]}, TWO_CARS, mask=[1, 0, 1])) == [1, 0, 1]


def test_cheapest_first_takes_the_least_power(make_obs: Any) -> None:
    policy = agents.make("cheapest_first", **EXACT)
    assert _act(policy, make_obs({"busy_kw": [0.50, 0.45, 0.40]}, TWO_CARS)) == [0, 1, 1]


def test_cheapest_first_goes_where_energy_is_cheap(make_obs: Any) -> None:
    policy = agents.make("cheapest_first", **EXACT)
    far = {"region": [0, 1, 1], "price": [0.50, 0.20, -0.05], "refill_price": -0.05}
    far["cheap_h"] = 0
    assert _act(policy, make_obs(far, TWO_CARS)) == [0, 1, 1]


def test_cheapest_first_takes_nobody_at_a_loss(make_obs: Any) -> None:
    # margins in USD/h: .288 - .497 * .76 * .346 - .03 = .127; at 1.2 kW -.057
    policy = agents.make("cheapest_first", **EXACT)
    busy_kw = {"busy_kw": [1.2, 0.497, 1.2]}
    assert _act(policy, make_obs(busy_kw, TWO_CARS)) == [0, 1, 0]
    choosy = agents.make("cheapest_first", min_margin_usd_per_h=0.14, **EXACT)
    assert _act(choosy, make_obs(busy_kw, TWO_CARS)) == [0, 0, 0]


def test_cheapest_first_defers_batch_to_cheap_hours(make_obs: Any) -> None:
    due = {"batch_due_4h": 1.0, "batch_due_12h": 1.0}
    dear = {"price": 0.35, "cheap": 0, "price_00h": 0.35}
    policy = agents.make("cheapest_first", batch_haste=4.0, **EXACT)
    assert _act(policy, make_obs(fleet={**due, **dear})) == [0, 0, 0]
    assert _act(policy, make_obs(fleet=due)) == [1, 1, 1]


def test_equal_cars_go_by_index(make_obs: Any) -> None:
    for name in ("longest_stay", "cheapest_first", "warm_first", "consolidate"):
        assert _act(agents.make(name, **EXACT), make_obs(fleet=TWO_CARS)) == [1, 1, 0]


def test_warm_first_prefers_the_ready_to_the_cheap(make_obs: Any) -> None:
    # car 0 downloads for an hour, car 1 works already, car 2 must only wake; car 0 is cheapest
    cars = {"busy_kw": [0.3, 0.5, 0.4], "on_duty": [0, 1, 0], "ready_min": [60, 0, 1.5]}
    one = {"chat_00h": 0.3, "chat_8b_last": 0.15, "chat_70b_last": 0.15}
    policy = agents.make("warm_first", **EXACT)
    assert _act(policy, make_obs(cars, one)) == [0, 1, 0]
    assert _act(policy, make_obs(cars, TWO_CARS)) == [0, 1, 1]
    assert _act(agents.make("cheapest_first", **EXACT), make_obs(cars, one)) == [0, 0, 1]


def test_consolidate_keeps_adds_and_drops(make_obs: Any) -> None:
    busy_kw = [0.40, 0.42, 0.44, 0.46, 0.48]
    policy = agents.make("consolidate", band=0.5, **EXACT)

    def act(on_duty: list[int], cars_of_work: float) -> list[int]:
        half = cars_of_work / 5 / 2
        work = {"chat_00h": 2 * half, "chat_8b_last": half, "chat_70b_last": half}
        cars = {"busy_kw": busy_kw, "on_duty": on_duty}
        return _act(policy, make_obs(cars, work, shape=(1, 5)))

    assert act([0, 0, 0, 1, 1], 2.0) == [0, 0, 0, 1, 1]  # enough: kept, though dearest
    assert act([0, 0, 0, 1, 1], 3.0) == [1, 0, 0, 1, 1]  # too few: the best one joins
    assert act([0, 0, 1, 1, 1], 2.0) == [0, 0, 1, 1, 1]  # 3 <= 1.5 * 2: tolerated
    assert act([0, 1, 1, 1, 1], 2.0) == [0, 1, 1, 1, 0]  # 4 > 3: the worst leaves
    assert act([0, 1, 1, 1, 1], 0.0) == [0, 0, 0, 0, 0]


def test_deliberately_bad_wakes_cold_dear_slow_cars_and_too_many(make_obs: Any) -> None:
    cars = {"busy_kw": [0.4, 0.5, 0.6], "on_duty": [0, 0, 1]}
    one = {"chat_00h": 1 / 3, "chat_8b_last": 1 / 6, "chat_70b_last": 1 / 6}
    dear = {"price": 0.6, "cheap": 0, "price_00h": 0.6}
    policy = agents.make("deliberately_bad", excess=2.0, **EXACT)
    assert _act(policy, make_obs(cars, {**one, **dear})) == [1, 1, 0]  # 2 for 1, rested ones
    assert _act(policy, make_obs(cars, one)) == [0, 1, 0]  # cheap: 1 at the least, costliest cold
    assert _act(policy, make_obs({"busy_kw": [0.4, 2.0, 2.0]}, one)) == [0, 1, 1]  # losers
    assert _act(policy, make_obs()) == [1, 1, 1]  # no work: nobody could earn
    level1 = {"soc": 0.5, "evse_kw": [7.7, 1.44, 7.7], "stay_h": 12}
    assert _act(policy, make_obs(level1, one)) == [0, 1, 0]


def test_mixed_fleet_gets_cars_that_fit_the_work(make_obs: Any) -> None:
    # 70B batch for two of three cars, due within the hour; car 0 holds 8B alone and is cheapest
    obs = make_obs({"fits_70b": [0, 1, 1], "busy_kw": [0.3, 0.5, 0.5]}, {"batch_due_1h": 2 / 3})
    for name in ("longest_stay", "cheapest_first", "warm_first", "consolidate"):
        assert _act(agents.make(name, batch_haste=1.0, **EXACT), obs) == [0, 1, 1]

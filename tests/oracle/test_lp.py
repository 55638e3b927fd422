"""The programme and the price bound: answers by hand, brute force, and each against the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.oracle.bound import Case, bound_usd, plan_of
from agents.oracle.economics import CarSteps
from agents.oracle.limits import Limits
from agents.oracle.lp import Plan as LPPlan
from agents.oracle.lp import Prices, foresight
from agents.oracle.market import Market
from agents.oracle.price_bound import price_bound
from agents.oracle.programme import INFINITY, Programme
from agents.oracle.stays import Stays, some_stays
from fleet_env.config import EnvConfig
from fleet_env.types import BoolArray, FloatArray
from tests.oracle.plays import play, small, tapes_of

Record = Callable[[str, object], None]


def car_steps(num: int, **columns: Any) -> CarSteps:
    """One car in one stay of so many steps of an hour; 1 kW awake, 1 kW more at work."""
    ones = np.ones(num)
    first = np.arange(num) > 0
    plain: dict[str, Any] = {
        "car": np.zeros(num, int), "step": np.arange(num), "accelerator": np.zeros(num, int),
        "stay": np.zeros(num, np.intp), "may": ones > 0, "lifted": ones < 0, "same": first,
        "runs_on": first, "on_h": ones, "start_h": 0.25 * ones, "start_on_h": 0 * ones,
        "speed": ones, "duty_usd": 0.1 * ones, "duty_kwh": ones, "busy_kwh": ones,
        "most_kwh": 2 * ones, "tail_kwh": 0 * ones, "refill_kwh": 10 * ones,
        "refill_usd": 0.2 * ones, "ref_usd": 0.5 * ones, "forced": 0 * ones, "heat_usd": 0 * ones,
        "gap_usd": 0 * ones, "start_usd": 0 * ones,
    }  # fmt: skip
    given = {name: np.broadcast_to(value, num).copy() for name, value in columns.items()}
    return CarSteps(**{field.name: {**plain, **given}[field.name] for field in fields(CarSteps)})


def one_stay(num: int, **columns: Any) -> Stays:
    """A stay that goes on beyond the horizon."""
    plain: dict[str, Any] = {
        "car": [0], "last": [num - 1], "leaves": [False], "free_kwh": [np.inf], "carry_usd": [0.0],
        "shortfall_usd": [10.0], "shortfall_usd_per_kwh": 1.0,
    }  # fmt: skip
    values = {**plain, **columns}
    return Stays(**{k: np.array(v) if isinstance(v, list) else v for k, v in values.items()})


def shop_of(chat: FloatArray, **values: Any) -> Market:
    """Chat of the second class only, a lot takes a car an hour and pays 2 USD."""
    num = len(chat)
    lots = np.column_stack([np.zeros(num), chat])
    plain: dict[str, Any] = {
        "price_usd": np.array([0.0, 2.0, 2.0]), "per_h": np.array([[0.0, 1.0, 1.0]]), "chat": lots,
        "batch": np.zeros((num, 1)), "due_steps": (1,), "chat_share": np.ones(num), "dt_h": 1.0,
        "charge_h": 0.0, "chat_usd": np.array([0.0, 2.0]), "chat_all": lots,
    }  # fmt: skip
    return Market(**{**plain, **values})


def test_one_hour_of_work_by_hand() -> None:
    # a start leaves 0.75 h: 0.75 lots; awake 1 kWh, at work 0.75 kWh more, all at 0.2; pay 0.1
    plan = foresight(car_steps(1), one_stay(1), shop_of(np.ones(1)))
    assert plan.bound_usd == pytest.approx(0.75 * 2.0 - 1.75 * 0.2 - 0.1, abs=1e-6)
    assert plan.duty[0] == pytest.approx(1.0, abs=1e-6)


def test_going_on_is_cheaper_than_a_second_start() -> None:
    # three hours, nothing to do in the second: on through it (awake, 0.3 USD) or a second start
    # (0.25 lots less: 0.5 USD, and their energy 0.05)
    chat = np.array([1.0, 0.0, 1.0])
    plan = foresight(car_steps(3), one_stay(3), shop_of(chat), whole=True)
    on_through = 2.0 * 1.75 - 0.2 * (3 + 1.75) - 0.3
    assert plan.bound_usd == pytest.approx(on_through, abs=1e-6)
    assert plan.duty == pytest.approx([1.0, 1.0, 1.0])
    lazy = car_steps(3, start_h=0.05)
    plan = foresight(lazy, one_stay(3), shop_of(chat), whole=True)
    twice = 2 * (0.95 * 2.0 - 1.95 * 0.2 - 0.1)
    assert plan.bound_usd == pytest.approx(twice, abs=1e-6)
    assert plan.duty == pytest.approx([1.0, 0.0, 1.0])


def test_a_tail_is_paid_where_duty_ends_in_a_stay() -> None:
    tail = car_steps(2, tail_kwh=np.array([0.0, 0.5]))
    with_tail = foresight(tail, one_stay(2), shop_of(np.array([1.0, 0.0])))
    without = foresight(car_steps(2), one_stay(2), shop_of(np.array([1.0, 0.0])))
    assert without.bound_usd - with_tail.bound_usd == pytest.approx(0.5 * 0.2, abs=1e-6)


def test_forced_energy_is_bought_at_once() -> None:
    dear = {"refill_usd": np.array([0.5, 0.1]), "may": np.array([True, False])}
    shop = shop_of(np.array([1.0, 0.0]))
    later = foresight(car_steps(2, **dear), one_stay(2), shop)
    half = foresight(car_steps(2, **dear, forced=np.array([0.5, 0.0])), one_stay(2), shop)
    now = foresight(car_steps(2, **dear, forced=np.array([1.0, 0.0])), one_stay(2), shop)
    assert later.bound_usd == pytest.approx(1.5 - 0.1 - 1.75 * 0.1, abs=1e-6)
    assert half.bound_usd == pytest.approx(1.5 - 0.1 - 1.75 * 0.3, abs=1e-6)
    assert now.bound_usd == pytest.approx(1.5 - 0.1 - 1.75 * 0.5, abs=1e-6)


def test_batch_work_waits_for_its_deadline_and_no_longer() -> None:
    # work of the first hour, due two steps later; energy is free in the third hour, and in the
    # fourth too, when it is too late
    cars = car_steps(4, refill_usd=np.array([0.4, 0.4, 0.0, 0.0]), forced=1.0, start_h=0.0)
    batch = np.array([[1.0], [0.0], [0.0], [0.0]])
    shop = shop_of(np.zeros(4), batch=batch, due_steps=(2,))
    plan = foresight(cars, one_stay(4), shop)
    assert plan.bound_usd == pytest.approx(2.0 - 0.1, abs=1e-6)
    assert plan.busy_h == pytest.approx([0.0, 0.0, 1.0, 0.0], abs=1e-5)
    shop = replace(shop, due_steps=(1,))
    assert foresight(cars, one_stay(4), shop).bound_usd == pytest.approx(1.9 - 0.8, abs=1e-6)


def test_waiting_keeps_a_share_of_the_cars_from_chat_but_not_from_batch_work() -> None:
    cars, stay = car_steps(1, start_h=0.0), one_stay(1)
    half = {"chat_share": np.array([0.5])}
    chat = foresight(cars, stay, shop_of(np.ones(1), **half))
    assert chat.bound_usd == pytest.approx(0.5 * 2.0 - 1.5 * 0.2 - 0.1, abs=1e-6)
    both = foresight(cars, stay, shop_of(np.ones(1), **half, batch=np.ones((1, 1))))
    assert both.bound_usd == pytest.approx(2.0 - 2 * 0.2 - 0.1, abs=1e-6)


def test_a_peak_is_that_of_the_hour_and_its_charge_is_spared() -> None:
    # two hours of load 2 and 1 USD/h; one car takes half of the first: the peak falls from 2 to 1
    cars = car_steps(2, start_h=0.0)
    shop = shop_of(np.array([1.0, 0.5]), charge_h=10.0)
    plan = foresight(cars, one_stay(2), shop, whole=True)
    # both hours at work: all load gone, 20 USD of charge, 3 USD of credit
    assert plan.bound_usd == pytest.approx(20.0 + 3.0 - 0.2 - 0.2 * 3.5, abs=1e-5)
    relaxed = foresight(cars, one_stay(2), shop)  # half on duty in the second hour
    assert relaxed.bound_usd == pytest.approx(20.0 + 3.0 - 0.15 - 0.2 * 3.0, abs=1e-5)


def no_limits(num: int, **values: Any) -> Limits:
    plain: dict[str, Any] = {
        "cap_h": np.inf, "car": np.zeros(0, int), "step": np.zeros(0, int), "hours": np.zeros(0),
        "home": np.full(num, -1), "headroom_kwh": None, "eta": np.ones(num),
    }  # fmt: skip
    return Limits(**{**plain, **values})


def test_a_cap_of_owners_limits_hours_on_duty() -> None:
    # two hours of work, each worth 2 - 0.1 - 2 x 0.2; 1.5 h allowed
    cars, shop = car_steps(2, start_h=0.0), shop_of(np.ones(2))
    capped = foresight(cars, one_stay(2), shop, limits=no_limits(2, cap_h=1.5))
    assert capped.bound_usd == pytest.approx(1.5 * 1.5, abs=1e-6)


def test_a_download_has_to_be_sat_out_before_work() -> None:
    # after 2 h on duty of a download of 2 h all of the second hour may be work, of 4 h half of it;
    # an hour awake costs 0.1 + 0.2, an hour of work 0.2 more, and earns 2
    cars, shop = car_steps(2, start_h=0.0), shop_of(np.array([0.0, 1.0]))
    down = {"car": np.array([0]), "step": np.array([0])}
    two = no_limits(2, **down, hours=np.array([2.0]))
    plan = foresight(cars, one_stay(2), shop, limits=two)
    assert plan.bound_usd == pytest.approx(1.8 - 0.6, abs=1e-6)  # on duty in both hours
    four = no_limits(2, **down, hours=np.array([4.0]))
    plan = foresight(cars, one_stay(2), shop, limits=four)
    assert plan.bound_usd == pytest.approx(0.5 * 1.8 - 0.6, abs=1e-6)  # 2 h of 4: half a lot


def test_a_transformer_limits_what_is_refilled() -> None:
    # 2 kWh of work, of which 1 kWh at the meter (0.8 in the pack) at 0.2, and the rest owed at 0.5
    cars, shop = car_steps(1, start_h=0.0), shop_of(np.ones(1))
    room = no_limits(1, home=np.array([0]), headroom_kwh=np.array([[1.0]]), eta=np.array([0.8]))
    plan = foresight(cars, one_stay(1), shop, limits=room)
    assert plan.bound_usd == pytest.approx(2.0 - 0.1 - 0.8 * 0.2 - 1.2 * 0.5, abs=1e-6)


def test_the_dual_objective_is_a_bound_by_hand() -> None:
    # max 3 x + 2 y with x + y <= 4, x <= 1, y >= 0: duals 2 of the row and 1 of x
    model = Programme()
    at = model.columns(2, np.array([3.0, 2.0]), np.array([1.0, INFINITY]))
    model.put(model.rows(1, upper=4.0).repeat(2), at, 1.0)
    assert model.dual_objective(np.array([2.0]), np.array([1.0, 0.0])) == 9.0
    assert model.dual_objective(np.array([2.5]), np.array([0.5, -0.5])) == 10.5  # worse duals
    found = model.solve()
    assert found.bound == pytest.approx(9.0, rel=1e-6)
    assert found.bound >= max(9.0 - 1e-9, found.objective)


# three cars of a quiet day in steps of an hour: all on/off plans can be played
@pytest.fixture(scope="module", params=[2, 3, 6])
def tiny(request: pytest.FixtureRequest) -> tuple[EnvConfig, int, Case]:
    everybody = {"home_charger_share": 1.0, "home_link_share": 1.0, "level1_share": 0.0}
    config = small("tiny", 3, step_min=60, fleet=everybody, demand={"load": 3.0})
    _, cases = tapes_of(config, [request.param])
    return config, request.param, cases[0]


MOST_BITS = 9  # 512 plans in one batch


def _chosen(case: Case) -> np.ndarray:
    """Car-steps that the best plan of the programme may use first; all others stay off."""
    plan = plan_of(case, 3, 3)
    order = np.argsort(-plan.duty, kind="stable")
    chosen: np.ndarray = np.sort(order[case.cars.may[order]][:MOST_BITS])
    return chosen


def _brute_force(config: EnvConfig, seed: int, case: Case, chosen: np.ndarray) -> FloatArray:
    plans = (np.arange(1 << chosen.size)[:, None] >> np.arange(chosen.size)) & 1 > 0
    table = np.zeros((config.num_steps, len(plans), config.num_cars), np.bool_)
    table[case.cars.step[chosen], :, case.cars.car[chosen]] = plans.T
    returns: FloatArray = play(config, [seed] * len(plans), lambda k, sim: table[k]).returns
    return returns


def test_on_tiny_the_bound_is_above_all_plans_and_near_the_best(
    tiny: tuple[EnvConfig, int, Case], record_property: Record
) -> None:
    config, seed, case = tiny
    chosen = _chosen(case)
    best = float(_brute_force(config, seed, case, chosen).max())
    may: BoolArray = np.zeros(case.cars.may.size, np.bool_)
    may[chosen] = case.cars.may[chosen]
    only = replace(case, cars=replace(case.cars, may=may))
    milp = foresight(only.cars, case.stays, case.shop, whole=True).bound_usd + case.gain_usd
    lp = bound_usd(only, 3)
    record_property("usd", f"best plan {best:.4f}, MILP {milp:.4f}, bound {lp:.4f}")
    assert best > 0.0
    assert lp >= milp * (1 - 1e-6) >= best * (1 - 2e-6)
    assert milp <= 1.3 * best  # what envelopes leave in a fleet of three: 9 to 24 % measured


@pytest.fixture(scope="module", params=["suburb", pytest.param("coldsnap", marks=pytest.mark.slow)])
def case(request: pytest.FixtureRequest) -> Case:
    return tapes_of(small(request.param, 10), [3])[1][0]


@pytest.fixture(scope="module")
def relaxed(case: Case) -> LPPlan:
    return foresight(case.cars, case.stays, case.shop, limits=case.limits)


def test_relaxed_is_above_whole_and_so_are_its_prices(case: Case, relaxed: LPPlan) -> None:
    limits, lp = case.limits, relaxed
    milp = foresight(case.cars, case.stays, case.shop, limits=limits, whole=True, time_limit_s=3.0)
    priced = price_bound(case.cars, case.stays, case.shop, lp.prices, limits)
    reached = (1 - 2e-4) * milp.bound_usd  # HiGHS stops at a gap of 1e-4
    assert lp.bound_usd >= reached
    assert reached <= priced <= 1.05 * lp.bound_usd


@given(seed=st.integers(0, 2**31), level=st.floats(0.0, 3.0))
@settings(max_examples=3)
def test_any_prices_give_a_bound(case: Case, relaxed: LPPlan, seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    steps, chips = case.shop.num_steps, len(case.shop.per_h)
    work = level * rng.random((steps, chips)) * rng.integers(0, 2, (steps, 1))
    ready = 0.1 * level * rng.random(steps) * rng.integers(0, 2, steps)
    # below the LP by what integers cost at the most
    priced = price_bound(case.cars, case.stays, case.shop, Prices(work, ready), case.limits)
    assert priced >= 0.97 * relaxed.bound_usd


def test_more_demand_or_more_cars_never_lower_the_optimum(case: Case) -> None:
    def worth(cars: CarSteps, stays: Stays, scale: float) -> float:
        return foresight(cars, stays, case.shop, scale=scale).bound_usd

    all_cars = worth(case.cars, case.stays, 1.0)
    assert worth(case.cars, case.stays, 0.5) <= all_cars + 1e-6
    assert worth(case.cars, case.stays, 2.0) >= all_cars - 1e-6
    some = some_stays(case.cars, case.stays, case.stays.car % 2 == 0)
    assert 0.0 <= worth(*some, 1.0) <= all_cars + 1e-6


@pytest.mark.long
@pytest.mark.parametrize("card", ["suburb", "paid", "mixed", "claim", "peak", "world", "storm"])
def test_price_bound_of_64_cars_is_near_the_programme(card: str, record_property: Record) -> None:
    _, cases = tapes_of(small(card, 64), [0, 1, 2])
    ratios = []
    for own in cases:
        plan = plan_of(own, 64, 64)
        priced = price_bound(own.cars, own.stays, own.shop, plan.prices, own.limits)
        ratios.append(priced / plan.bound_usd)
    record_property("price bound over LP", np.round(ratios, 4).tolist())
    assert np.mean(ratios) <= 1.01

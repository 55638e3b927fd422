"""The receding horizon: its programme by hand, its sight of cars and demand, its play."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agents import registry
from agents.base import Obs, Policy
from agents.costs.forecast import DemandMemory, expect
from agents.costs.usual import usual_day
from agents.oracle.cohorts import HOLDS_70B, NUM_COHORTS, Cohorts, expect_supply
from agents.oracle.mpc import MPC
from agents.oracle.outlook import Outlook
from agents.oracle.plan import (
    NUM_INTERVALS,
    SCALE,
    Grid,
    Peak,
    Planner,
    Wanted,
    _hour_windows,
)
from fleet_env.config import EnvConfig, ThermalConfig
from fleet_env.dynamics import ageing, thermal
from fleet_env.scenarios import scenario
from fleet_env.types import LFP, NCA
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.views.costs import CostSettings, heat_usd_per_kwh, price_cars
from fleet_env.views.leaving import WITHIN_H, chance_of_leaving, leaving
from fleet_env.views.seen import Seen

RNG = np.random.default_rng(0)
MakeObs = Callable[..., dict[str, NDArray[Any]]]
BIG = int(np.flatnonzero(HOLDS_70B)[0])  # some cohort of cars that hold both tiers
SMALL = 0  # some cohort of cars that hold 8B only
ONES = np.ones(NUM_INTERVALS)


def cohorts(cohort: int, num: float, usd_per_h: Any, **given: Any) -> Cohorts:
    """One cohort of `num` cars per car of the fleet that all stay."""
    cars = np.zeros((NUM_COHORTS, NUM_INTERVALS))
    cars[cohort] = num
    usd = np.zeros((NUM_COHORTS, NUM_INTERVALS))
    usd[cohort] = usd_per_h
    zeros = np.zeros(NUM_COHORTS)
    rest = {"on_duty": zeros, "start_h": zeros, "start_usd": zeros, "idle_usd_per_h": 0 * ONES}
    return Cohorts(num=cars, usd_per_h=usd, stays=np.ones_like(cars), **(rest | given))


def wanted(**given: Any) -> Wanted:
    """No work, which pays 0.3 USD/h."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("chat_8b", "chat_70b", "chat_sd", "due_car_h", "released_car_h"), 0 * ONES
    )
    pays = {"value_8b": 0.3, "value_70b": 0.3, "value_batch": 0.3, "speed_8b": np.ones(2)}
    return Wanted(**(nothing | pays | given))


def day() -> Grid:
    return Grid.until(24.0, 0.25)


def test_grid_ends_with_the_episode() -> None:
    assert day().length_h.tolist() == [0.25] * 8 + [1.0] * 22
    assert Grid.until(3.5, 0.25).length_h.tolist() == [0.25] * 8 + [1.0, 0.5] + [0.0] * 20
    assert Grid.until(0.0, 0.25).length_h.sum() == 0.25  # the step to come at the least


def test_chat_is_served_where_it_pays() -> None:
    # 0.1 cars' worth for 24 h at 0.3 USD/h, less 0.2 for duty; the first slice counts for 0.97
    plan = Planner().solve(cohorts(BIG, 0.5, 0.2), wanted(chat_70b=0.1 * ONES), day(), None)
    assert plan.duty[BIG].tolist() == pytest.approx([0.1] * NUM_INTERVALS)
    assert plan.objective_usd == pytest.approx(SCALE * 24 * 0.1 * (0.97 * 0.3 - 0.2))
    dear = Planner().solve(cohorts(BIG, 0.5, 0.295), wanted(chat_70b=0.1 * ONES), day(), None)
    assert dear.duty.sum() == 0.0


def test_capacity_is_worth_what_its_next_hour_earns() -> None:
    scarce = Planner().solve(cohorts(BIG, 0.05, 0.2), wanted(chat_70b=0.1 * ONES), day(), None)
    assert scarce.value_usd_per_h[1].tolist() == pytest.approx([0.97 * 0.3] * NUM_INTERVALS)
    plenty = Planner().solve(cohorts(BIG, 0.5, 0.2), wanted(chat_70b=0.1 * ONES), day(), None)
    assert plenty.value_usd_per_h[1].tolist() == pytest.approx([0.2] * NUM_INTERVALS)


def test_capacity_for_chat_is_that_of_a_news_vendor() -> None:
    # hours are kept up to the slice whose chance to be needed is above cost over price
    chances = {-1.28: 0.97, -0.52: 0.8, 0.0: 0.6, 0.52: 0.4, 1.28: 0.2}
    for cost in (0.07, 0.10, 0.15, 0.20):
        work = wanted(chat_70b=0.1 * ONES, chat_sd=0.2 * ONES)
        plan = Planner().solve(cohorts(BIG, 0.5, cost), work, day(), None)
        best = max(z for z, chance in chances.items() if chance * 0.3 > cost)
        assert plan.duty[BIG, 0] == pytest.approx(0.1 * (1 + 0.2 * best)), cost


def test_tiers_are_nested_and_each_pool_has_its_speed() -> None:
    both = cohorts(SMALL, 0.1, 0.02)
    both.num[BIG], both.usd_per_h[BIG] = 0.1, 0.1
    slow = wanted(chat_8b=0.05 * ONES, chat_70b=0.05 * ONES, speed_8b=np.array([0.25, 2.0]))
    plan = Planner().solve(both, slow, day(), None)
    # 8B work costs 0.02 / 0.25 = 0.08 in small cars and 0.1 / 2 = 0.05 in the others
    assert plan.duty[BIG, 0] == pytest.approx(0.05 + 0.05 / 2.0)
    assert plan.duty[SMALL].sum() == 0.0
    assert (plan.small_8b == 0.0).all()
    only_small = Planner().solve(cohorts(SMALL, 0.1, 0.02), slow, day(), None)
    assert only_small.duty[SMALL, 0] == pytest.approx(0.1)  # 0.025 of 0.05, and no 70B work
    assert only_small.duty[BIG].sum() == 0.0
    assert only_small.small_8b[0] == pytest.approx(1.0)


def test_batch_work_waits_for_cheap_hours_but_not_past_its_deadline() -> None:
    usd = np.where(day().middle_h < 5.0, 0.25, 0.1)
    there = 0.2 * ONES  # car-h per car, there from the start
    late = Planner().solve(
        cohorts(BIG, 0.5, usd), wanted(released_car_h=there, due_car_h=0 * ONES), day(), None
    )
    assert late.batch_car_h[day().middle_h < 5.0].sum() == pytest.approx(0.0)
    assert late.objective_usd == pytest.approx(SCALE * 0.2 * (0.3 - 0.1))
    due = np.where(np.cumsum(day().length_h) >= 1.0, 0.2, 0.0)
    soon = Planner().solve(
        cohorts(BIG, 0.5, usd), wanted(released_car_h=there, due_car_h=due), day(), None
    )
    assert soon.batch_car_h[np.cumsum(day().length_h) <= 1.0].sum() == pytest.approx(0.2)
    assert soon.objective_usd == pytest.approx(SCALE * 0.2 * (0.3 - 0.25))


def test_batch_work_cannot_run_before_it_arrives() -> None:
    usd = np.where(day().middle_h < 1.0, 0.1, 0.2)
    released = np.where(np.cumsum(day().length_h) > 1.0, 0.1, 0.0)
    plan = Planner().solve(cohorts(BIG, 0.5, usd), wanted(released_car_h=released), day(), None)
    assert plan.batch_car_h[:4].sum() == pytest.approx(0.0)
    assert plan.batch_car_h.sum() == pytest.approx(0.1)


def test_starts_are_paid_once_and_again_for_cars_that_left() -> None:
    start_usd = np.full(NUM_COHORTS, 0.02)
    work = wanted(chat_70b=0.1 * ONES)
    fresh = Planner().solve(cohorts(BIG, 0.5, 0.2, start_usd=start_usd), work, day(), None)
    earned = SCALE * 24 * 0.1 * (0.97 * 0.3 - 0.2)
    assert fresh.objective_usd == pytest.approx(earned - SCALE * 0.1 * 0.02)
    on_duty = np.zeros(NUM_COHORTS)
    on_duty[BIG] = 0.1
    warm = cohorts(BIG, 0.5, 0.2, start_usd=start_usd, on_duty=on_duty)
    assert Planner().solve(warm, work, day(), None).objective_usd == pytest.approx(earned)
    warm.stays[:, 5] = 0.5  # half of them leave once
    replaced = Planner().solve(warm, work, day(), None)
    assert replaced.objective_usd == pytest.approx(earned - SCALE * 0.05 * 0.02)


def test_growth_of_the_peak_is_worth_a_loss() -> None:
    hour = np.where((day().middle_h > 10) & (day().middle_h < 11), 1.0, 0.0)
    work = wanted(chat_70b=0.1 * hour)
    peak = Peak(
        charge_h=10.0, paid=0.04, last_hour=0.0, all_chat=0.1 * hour, usd_8b=1.0, usd_70b=1.0
    )
    dear = cohorts(BIG, 0.5, 2.0)  # a loss of 1.709 USD per hour of chat, and 10 USD saved
    plan = Planner().solve(dear, work, day(), peak)
    assert (plan.duty[BIG] * day().length_h).sum() == pytest.approx(0.06)  # down to what is paid
    assert plan.objective_usd == pytest.approx(SCALE * 0.06 * (0.97 * 0.3 - 2.0))
    free = replace(peak, paid=0.1)
    assert Planner().solve(dear, work, day(), free).duty.sum() == pytest.approx(0.0)


def test_windows_of_an_hour_begin_with_what_is_past() -> None:
    share, past = _hour_windows(day())
    assert past.tolist() == pytest.approx([0.75, 0.5, 0.25, 0.0] + [0.0] * 26)
    assert (share.sum(axis=1) + past).tolist() == pytest.approx([1.0] * NUM_INTERVALS)
    assert share[5, 2:6].tolist() == pytest.approx([0.25] * 4)
    assert share[8, 8] == pytest.approx(1.0)


@given(st.integers(0, 10_000))
@settings(max_examples=6, derandomize=True, deadline=None)
def test_a_basis_does_not_change_the_optimum(seed: int) -> None:
    rng, planner = np.random.default_rng(seed), Planner()
    for _ in range(4):
        cars = rng.random((NUM_COHORTS, NUM_INTERVALS)) * 0.05
        cars[rng.random(NUM_COHORTS) < 0.9] = 0.0  # cohorts come and go
        zeros = np.zeros(NUM_COHORTS)
        now = Cohorts(
            num=cars,
            on_duty=cars[:, 0] * 0.3,
            usd_per_h=rng.uniform(0.1, 0.35, cars.shape),
            stays=rng.uniform(0.5, 1.0, cars.shape),
            start_h=zeros + 0.025,
            start_usd=zeros + 0.006,
            idle_usd_per_h=0.05 * ONES,
        )
        released = np.cumsum(rng.random(NUM_INTERVALS)) * 0.02
        work = wanted(
            chat_8b=rng.random(NUM_INTERVALS) * 0.1,
            chat_70b=rng.random(NUM_INTERVALS) * 0.1,
            chat_sd=0.1 * ONES,
            released_car_h=released,
            due_car_h=0.6 * released,
        )
        grid = Grid.until(float(rng.uniform(0.25, 24.0)), 0.25)
        warm = planner.solve(now, work, grid, None)
        cold = Planner().solve(now, work, grid, None)
        assert warm.objective_usd == pytest.approx(cold.objective_usd, rel=1e-7, abs=1e-6)
        assert (warm.duty <= now.num + 1e-9).all()


def test_cars_leave_as_the_table_says() -> None:
    table = leaving()
    assert table.shape == (24, 11, 9)
    assert (np.diff(table, axis=2) >= 0).all()
    assert ((table > 0) & (table <= 1)).all()
    hour, stay = np.array([20, 20, 20]), np.array([13.0, 2.0, 2.0], np.float32)
    within = np.array([6.0, 1.0, 1.1], np.float32)
    got = chance_of_leaving(hour, stay, within)
    assert got.tolist() == [table[20, 9, 5], table[20, 3, 1], table[20, 3, 2]]
    assert got[0] < 0.02 < got[1] < got[2]
    assert chance_of_leaving(hour[:1], stay[:1], np.array([12.0]))[0] == table[20, 9, -1]
    assert chance_of_leaving(hour[:1], stay[:1] + 9, np.array([13.0]))[0] == table[20, 10, -1]
    assert chance_of_leaving(hour[:1], stay[:1] + 9, np.array([21.0]))[0] == 0.5
    assert WITHIN_H[-1] == 12.0
    assert usual_day()[0].min() > 0.05
    assert usual_day()[1].mean() == pytest.approx(1.0, abs=0.01)


def seen_costs(obs: Obs, **given: Any) -> Any:
    cars = Seen.of(obs)
    pack_c = cars("ambient")
    return price_cars(cars, pack_c, CostSettings(**given), 0.25)


@pytest.mark.parametrize("lfp", [False, True])
def test_heat_of_a_kilowatt_hour_against_the_simulation(make_obs: MakeObs, lfp: bool) -> None:
    """One kWh in an hour in a garage at 25 degC: float64 sum of the laws themselves."""
    car = {"garage": 1, "lfp": lfp, "soc": 0.6, "stay_h": 48, "ambient": 25}
    got = heat_usd_per_kwh(Seen.of(make_obs(car, shape=(1, 1))), np.array([25.0]))
    law, config = ageing.LAWS[LFP if lfp else NCA], ThermalConfig()
    gain = ageing.gains(np.array([LFP if lfp else NCA]), np.array([4 * 365.25]))[0][0]
    excess, fade, dt_h = np.zeros(1), 0.0, 0.25
    for step in range(round(48 / dt_h)):
        watts = np.array([1000.0 if step < 4 else 0.0])
        excess = thermal.excess_k(excess, watts, np.array([True]), np.array([25.0]), dt_h, config)
        warm, cool = (
            ageing.calendar_rate(law, np.array([0.6]), 25.0 + k) ** (1 / law.cal_p)
            for k in (excess, 0.0)
        )
        fade += float(gain * (warm - cool)[0] * dt_h / 24)
    assert got[0] == pytest.approx(fade * 76 * 150 / 0.2, rel=0.1)


def test_heat_counts_in_garages_and_in_the_cold_only(make_obs: MakeObs) -> None:
    obs = make_obs({"garage": [0, 1, 0], "ambient": [20, 20, 5]}, shape=(1, 3))
    heat = heat_usd_per_kwh(Seen.of(obs), np.full(3, 20.0))
    assert heat[0] == 0.0
    assert heat[1] > 0.0
    assert heat[2] > heat[1]  # half of the heat, into the pack itself


def test_a_car_at_rest_on_its_charge_limit_risks_nothing(make_obs: MakeObs) -> None:
    charging = {"soc": [0.85, 0.8512, 0.6], "gap_kwh": 0.7, "stay_h": 1.0, "pack_kwh": 76.0}
    charging["soc"] = [0.85 - 0.7 / 76, 0.8512 - 0.7 / 76, 0.6]
    costs = seen_costs(make_obs(charging))
    assert costs.risk_usd_per_h[0] == 0.0
    assert (costs.risk_usd_per_h[1:] > 0).all()


def test_within_the_deadband_compute_risks_nothing(make_obs: MakeObs) -> None:
    # 1 % of 76 kWh, of which 0.7 may be used: 0.532 kWh; a step takes 0.0945 kWh
    obs = make_obs({"soc": 0.5, "gap_kwh": [0.0, 0.43, 0.45], "stay_h": 1.0})
    risk = seen_costs(obs, guard=0.7).risk_usd_per_h
    assert (risk[:2] == 0.0).all()
    assert risk[2] > 0.1
    crossed = seen_costs(make_obs({"soc": 0.5, "gap_kwh": 2.0, "stay_h": 1.0})).risk_usd_per_h
    assert crossed[0] < 0.1 * risk[2]  # its event is no longer this hour's doing


def test_what_just_arrived_corrects_the_forecast(make_obs: MakeObs) -> None:
    memory, fleet = DemandMemory(), {"chat_00h": 0.10, "batch_00h": 0.02, "left": 1.0}
    chat, batch, left = memory.look(make_obs(fleet=fleet))
    assert (chat[0], batch[0], left[0]) == (0.0, 0.0, np.inf)
    seen = {"chat_8b_last": 0.06, "chat_70b_last": 0.06, "batch_70b_last": 0.01}
    obs = make_obs(fleet=fleet | seen | {"left": 1 - 1 / 96, "chat_01h": 0.10})
    chat, batch, left = memory.look(obs)
    assert chat[0] == pytest.approx(0.2, rel=1e-5)
    assert batch[0] == pytest.approx(-0.5, rel=1e-5)
    assert left[0] == pytest.approx(95.0, rel=1e-3)
    middle = day().middle_h
    model = expect(obs, 0, "model", middle, float(chat[0]), float(batch[0]))
    assert model.chat[0] == pytest.approx(0.10 * (1 + 0.2 * 0.74), rel=1e-3)
    assert model.share_70b == pytest.approx(0.5)
    exact = expect(obs, 0, "exact", middle, float(chat[0]), float(batch[0]))
    assert exact.chat[0] == pytest.approx(0.10, rel=1e-5)
    memory.reset(np.array([True]))
    assert memory.look(obs)[0][0] == 0.0


def test_an_unknown_forecast_is_refused() -> None:
    with pytest.raises(ValueError, match=r"MPC\.forecast='perfect'.*model"):
        MPC(forecast="perfect")
    with pytest.raises(ValueError, match=r"MPC\.start_spread_h"):
        MPC(start_spread_h=0.0)


def test_nobody_works_without_work(make_obs: MakeObs) -> None:
    assert MPC().act(make_obs(shape=(2, 20)), RNG).sum() == 0


def test_the_cheapest_cars_do_the_work(make_obs: MakeObs) -> None:
    # 0.3 of 10 cars, the 4th to 6th take the least power; one that works stays for its start
    busy = np.full(10, 0.55)
    busy[3:6] = 0.40
    chat = {f"chat_{h:02d}h": 0.29 for h in range(24)}
    obs = make_obs({"busy_kw": busy}, chat, shape=(1, 10))
    assert np.flatnonzero(MPC().act(obs, RNG)[0]).tolist() == [3, 4, 5]
    on_duty = np.zeros(10)
    on_duty[0] = 1
    near = np.where(busy < 0.5, 0.545, 0.55)
    kept = make_obs(
        {"busy_kw": near, "on_duty": on_duty, "ready_min": 1.5 * (on_duty == 0)},
        chat,
        shape=(1, 10),
    )
    assert MPC().act(kept, RNG)[0, 0] == 1


def test_a_cheaper_hour_later_is_waited_for(make_obs: MakeObs) -> None:
    dear_now = {"price": 0.50, "cheap": 0, "refill_price": 0.30}
    dear_now |= {f"price_{h:02d}h": 0.50 if h < 3 else 0.30 for h in range(24)}
    stuck = {"cheap_h": 0.0, "stay_h": 20.0}  # cars that may not put their refill off
    waits = make_obs(stuck, {**dear_now, "batch_due_12h": 0.3}, shape=(1, 50))
    assert MPC().act(waits, RNG).sum() == 0
    due = {"batch_due_1h": 0.3, "batch_due_4h": 0.3, "batch_due_12h": 0.3}
    assert MPC().act(make_obs(stuck, {**dear_now, **due}, shape=(1, 50)), RNG).sum() > 5


def test_at_prices_below_zero_nobody_starts_a_car_for_its_tail(make_obs: MakeObs) -> None:
    # a start that pays would be made without number in intervals of no length, after the end
    below = {"price": -2.0, "ref_price": -2.0, "refill_price": -2.0}
    obs = make_obs(below, {**below, "cheap": 1}, shape=(1, 50))
    settings = MPC()
    outlook = Outlook.of(obs, settings, settings._memory)
    assert outlook.costs.late_usd_per_kwh.max() < 0
    grid = Grid.until(2.0, settings.step_h)
    supply = expect_supply(obs, 0, outlook.sums, grid.middle_h, 5 / 60, "usual")
    assert supply.start_usd.min() == 0.0
    plan = Planner().solve(supply, wanted(), grid, None)
    assert np.isfinite(plan.objective_usd)


def test_the_plan_does_not_see_the_size_of_the_fleet(make_obs: MakeObs) -> None:
    fleet = {f"chat_{h:02d}h": 0.1 for h in range(24)} | {"batch_due_12h": 0.4}
    small, large = (MPC().act(make_obs({}, fleet, shape=(1, n)), RNG).sum() for n in (200, 2000))
    assert large == pytest.approx(10 * small, abs=10)


@given(st.integers(0, 10_000))
@settings(max_examples=6, derandomize=True, deadline=None)
def test_never_outside_the_mask(random_obs: MakeObs, seed: int) -> None:
    policy, again = MPC(), MPC()
    for step in range(3):
        obs = random_obs(seed + step, 2, 30)
        action = policy.act(obs, RNG)
        assert (action <= obs["mask"]).all()
        assert (action == again.act(obs, RNG)).all()


def recorded(card: str, num_envs: int, num_cars: int, steps: int) -> list[Obs]:
    """What a fleet shows in its first steps under a rule."""
    env = FleetVectorEnv(card, num_envs=num_envs, num_cars=num_cars, split="train")
    rule, looks = registry.make("cheapest_first"), []
    obs, _ = env.reset(options={"scenario_seeds": list(range(num_envs))})
    for _ in range(steps):
        looks.append(cast("Obs", obs))
        obs, _, _, _, _ = env.step(rule.act(cast("Obs", obs), RNG))
    return looks


def alone_as_in_a_batch(make: Callable[[], Policy], looks: list[Obs]) -> None:
    together = make()
    everyone = [together.act(obs, RNG) for obs in looks]
    for row in range(len(looks[0]["mask"])):
        alone, one = make(), slice(row, row + 1)
        for obs, action in zip(looks, everyone, strict=True):
            single = {name: values[one] for name, values in obs.items()}
            assert (alone.act(single, RNG) == action[one]).all()


def test_a_row_is_played_alone_as_in_a_batch() -> None:
    alone_as_in_a_batch(MPC, recorded("suburb", 3, 40, 12))


def test_a_new_episode_forgets_its_row_alone() -> None:
    looks = recorded("suburb", 2, 40, 6)
    policy = MPC()
    first = [policy.act(obs, RNG) for obs in looks]
    policy.reset(np.array([True, False]))
    again = policy.act(looks[0], RNG)
    assert (again[0] == first[0][0]).all()
    policy.reset(np.array([True, True]))
    assert (policy.act(looks[0], RNG) == first[0]).all()


def played(
    config: EnvConfig, policy: Policy, days: int, split: str = "train"
) -> tuple[NDArray[Any], float]:
    """Returns [USD per car-month] of some days, and starts per car-day."""
    env = FleetVectorEnv(num_envs=days, split=split, config=config)
    obs, _ = env.reset(options={"scenario_seeds": list(range(days))})
    policy.reset(np.ones(days, np.bool_))
    starts, before = 0, np.zeros((days, config.num_cars), np.bool_)
    total = np.zeros(days)
    for _ in range(config.num_steps):
        action = policy.act(cast("Obs", obs), RNG)
        assert (action <= obs["mask"]).all()  # type: ignore[index]
        starts += np.count_nonzero((action > 0) & ~before)
        before = action > 0
        obs, reward, _, _ = env.play(action)
        total += reward
    return total / (config.num_cars / 30.4375), starts / days / config.num_cars


@pytest.mark.slow
@pytest.mark.parametrize("card", ["world", "gauntlet", "peak", "tiny", "mixed"])
def test_it_plays_every_kind_of_card(card: str) -> None:
    config = scenario(card, num_cars=3 if card == "tiny" else 60)
    assert np.isfinite(played(config, MPC(), 2)[0]).all()


@pytest.mark.slow
def test_without_the_cost_of_starts_it_starts_more_and_earns_less() -> None:
    """A trap of the study of headroom (section 4): a plan that starts for nothing is incomplete."""
    config = scenario("suburb", num_cars=150)
    whole, starts = played(config, MPC(), 6)
    blind, more_starts = played(config, MPC(start_cost=False), 6)
    assert more_starts > 1.2 * starts
    assert whole.mean() > blind.mean()


@pytest.mark.slow
def test_with_exact_forecasts_it_earns_more_than_the_best_rule() -> None:
    config = scenario(
        "suburb",
        num_cars=250,
        demand={"forecast": "exact"},
        fleet={"stated_error_scale": 0.0},
    )
    planned, _ = played(config, MPC(forecast="exact", departures="stated"), 20, "test")
    rules = {
        name: played(config, registry.make(name), 20, "test")[0].mean()
        for name in registry.names()
        if name not in ("mpc", "price_index", "tuned_index")
    }
    assert planned.mean() > max(rules.values()), rules

"""Laws of what is known when: causality, no peeking, determinism, spaces, masks, clock, memory."""

from __future__ import annotations

import copy
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings

from fleet_env import settle as settle_module
from fleet_env import sim as sim_module
from fleet_env.blocks import split_blocks
from fleet_env.dynamics.mobility import LOW_SOC
from fleet_env.env import FleetEnv
from fleet_env.generators import exogenous
from fleet_env.generators.demand import DemandTrace, make_trace
from fleet_env.metrics import REFUSALS
from fleet_env.regions import region_of_cars, regions_of
from fleet_env.types import DRIVING, FAULT_SILENT, HOME, LINK_NONE, OTHER
from fleet_env.vector_env import FleetVectorEnv
from tests.contract.plays import assert_same, play, random_bits
from tests.contract.records import (
    Day,
    Step,
    cases,
    law_tests,
    light_card,
    random_actions,
)
from tests.property.test_invariants import (
    cap_h,
    hours_forbid,
    inlet_c,
    link_down,
    link_of,
    neighbourhood,
    powered,
)


def invariant_13(day: Day) -> None:
    """Weights: a model is served once its bytes are there; they come, and are booked, at home."""
    params, setup = day.env.sim.world.params, day.env.sim.setup
    flash_gb = setup.flash_gb[params.accelerator]
    for k, step in enumerate(day.steps):
        now = step.before
        fetched = now["weights_gb"] - step.after["weights_gb"]
        assert fetched.min() >= 0
        np.testing.assert_allclose(step.info["metric/downloaded_gb"], day.rows(fetched), atol=1e-4)
        moving = fetched > 0
        assert (now["place"][moving] == HOME).all()
        assert not link_down(day, step)[moving].any()
        most = params.down_mbps * day.config.step_min * 60 / 8000
        assert (fetched <= most * (1 + 1e-4) + 1e-5).all()
        assert (now["weights_gb"] <= flash_gb * (1 + 1e-6)).all()
        if k:  # nothing but a release makes weights missing
            more = now["weights_gb"] > day.steps[k - 1].after["weights_gb"]
            fresh = np.isin(day.area, day.env.sim.outages.releases(k))
            np.testing.assert_array_equal(more & ~fresh, False)
            np.testing.assert_allclose(now["weights_gb"][fresh], flash_gb[fresh], rtol=1e-6)
        serving = step.duty.cars[step.duty.flows.serve_min > 0]
        chip, held = params.accelerator[serving], step.after["resident"][serving]
        allowed = {
            (int(a), int(r))
            for a, r in zip(setup.group_accelerator, setup.group_resident, strict=True)
        }
        assert {(int(a), int(r)) for a, r in zip(chip, held, strict=True)} <= allowed
        assert (step.duty.flows.serve_from >= 0).all()


def invariant_22(day: Day) -> None:
    """Observations lie in their space; bits outside the mask are refused, all others accepted."""
    env = day.env
    space = env.single_observation_space
    for obs in (day.first_obs, *(step.obs for step in day.steps)):
        for row in range(env.num_envs):
            one = {key: value[row] for key, value in obs.items()}
            for key, part in space.items():
                if not part.contains(one[key]):
                    low, high = getattr(part, "low", 0), getattr(part, "high", 1)
                    where = np.argwhere(
                        (one[key] < low) | (one[key] > high) | ~np.isfinite(one[key])
                    )
                    raise AssertionError(
                        f"{key} {where[:3]} {one[key].dtype} {one[key][tuple(where[0])]}"
                    )
    for step in day.steps:
        on = np.zeros(len(step.before["mask"]), bool)
        on[step.duty.cars[step.duty.flows.on]] = True
        np.testing.assert_array_equal(on, step.before["mask"] & (step.action.ravel() != 0))


def refusal_reason(day: Day, k: int) -> Any:
    """First reason against every car at the start of step k, in the order of model.md 5.5."""
    now, params, world = day.steps[k].before, day.env.sim.world.params, day.env.sim.world
    place, t_h, link = now["place"], np.float32(now["t_h"]), link_of(day, now)
    no_link = (link == LINK_NONE) | ((now["weights_gb"] > 0) & (place != HOME))
    against = {
        "away": (place == DRIVING) | (place == OTHER),
        "unplugged": ~(powered(now) | params.unplugged_ok),
        "no_link": no_link | link_down(day, day.steps[k]),
        "opted_out": ~params.enrolled | now["left"],
        "memory": ~world.setup.tier_fits.any(axis=1)[params.accelerator],
        "silent": now["fault"] == FAULT_SILENT,
        "capped": now["duty_h"] >= cap_h(day),
        "quiet": hours_forbid(day, k),
        "snoozed": now["snooze_h"] <= t_h,
        "reserve": now["soc"] <= params.reserve_soc,
        "hot": inlet_c(day, k, place) >= day.config.thermal.off_from_c,
    }
    assert tuple(against) == REFUSALS
    reason = np.full(len(place), "none", dtype="<U9")
    for name in reversed(against):
        reason[against[name]] = name
    return reason


def refusals(day: Day) -> None:
    """The true mask is the list of reasons, and refused bits are counted by the first of them."""
    for k, step in enumerate(day.steps):
        reason = refusal_reason(day, k)
        np.testing.assert_array_equal(step.before["mask"], reason == "none")
        asked = step.action.ravel() != 0
        for name in REFUSALS:
            counted = step.info[f"metric/refused_{name}"]
            np.testing.assert_array_equal(counted, day.rows(asked & (reason == name)), name)


def invariant_3(day: Day) -> None:
    """Cars: every one has one status, in its region; who left is gone; hours on duty add up."""
    config, world = day.config, day.env.sim.world
    np.testing.assert_array_equal(
        day.area.reshape(day.env.num_envs, -1) % len(regions_of(config)),
        np.broadcast_to(region_of_cars(config), (day.env.num_envs, config.num_cars)),
    )
    duty_h = np.zeros(len(day.area))
    for k, step in enumerate(day.steps):
        now, after, cars = step.before, step.after, step.duty.cars
        reason = refusal_reason(day, k)
        on = np.zeros(len(reason), bool)
        on[cars[step.duty.flows.on]] = True
        idle = (reason == "none") & ~on
        refused = sum(day.rows(reason == name) for name in REFUSALS)
        np.testing.assert_array_equal(refused + day.rows(on) + day.rows(idle), config.num_cars)
        assert not (now["left"] & ~after["left"]).any()
        dropouts = day.rows(after["left"] & ~now["left"])
        np.testing.assert_array_equal(step.info["metric/dropouts"], dropouts)
        assert (dropouts <= step.info["metric/broken_promises"]).all()
        duty_h[cars] += step.duty.flows.on_min / 60
        if config.owners.cap_h_per_month > 0:
            np.testing.assert_allclose(after["duty_h"], duty_h, rtol=1e-5, atol=1e-5)
            assert (duty_h <= cap_h(day) + config.dt_h).all()
        assert not (now["dark"] & ((now["place"] != HOME) | (out_of(step, day) == 0))).any()
        assert (now["dark"] == ((now["place"] == HOME) & (out_of(step, day) != 0))).all()
    assert world.params.enrolled.all() or config.owners.opt_in == "by_pay"


def out_of(step: Step, day: Day) -> Any:
    """Whether there is no power at the home of every car."""
    dark = step.outages.dark
    return np.zeros(len(day.area), bool) if dark is None else dark[neighbourhood(day)]


def invariant_23(day: Day) -> None:
    """Clock: events lie ahead, the past behind; each car has one place."""
    dt_h = day.config.dt_h
    for step in day.steps:
        after, t_h = step.after, np.float32(step.after["t_h"])
        assert (after["event_h"] >= t_h - 1e-4).all()
        assert (after["ref_h"] <= t_h + 1e-4).all()
        assert np.isin(after["place"], (0, 1, OTHER, DRIVING)).all()
        assert not (after["plugged"] & (after["place"] >= OTHER)).any()
        assert (after["event_no"] >= step.before["event_no"]).all()
        assert (after["t_h"] - step.before["t_h"]) == pytest.approx(dt_h)
        assert (after["twin_ref"] >= -1e-6).all()
        driving = after["place"] == DRIVING
        assert (after["twin_ref"][driving] >= LOW_SOC - 1e-5).all()
        assert (after["soc"][driving] >= LOW_SOC - 1e-5).all()


def local_clock(day: Day) -> None:
    """UTC steps on, all areas at once; local hours and weekdays are those of the tz database."""
    exo, config = day.env.sim.exo, day.config
    regions, holidays = regions_of(config), set(config.shocks.holidays)
    for area in range(day.env.num_envs * len(regions)):
        row, region = divmod(area, len(regions))
        zone = ZoneInfo(regions[region].time_zone)
        start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=int(exo.utc_start_min[row]))
        if region == 0:
            local = start.astimezone(zone)
            assert local.hour + local.minute / 60 == config.start_hour
        times_h = np.arange(0, 24 * config.days + 24, 0.5)
        of_week = exo.local.hour_of_week(np.full(len(times_h), area), times_h)
        for t_h, hour_of_week in zip(times_h, of_week, strict=True):
            then = (start + timedelta(hours=t_h)).astimezone(zone)
            weekday = 6 if then.strftime("%m-%d") in holidays else then.weekday()
            assert hour_of_week == weekday * 24 + then.hour
            step = t_h / config.dt_h
            if step == int(step):
                assert exo.local_hour[area, int(step)] == pytest.approx(
                    then.hour + then.minute / 60
                )
                assert exo.weekday[area, int(step)] == weekday


def invariant_24(day: Day) -> None:
    """The horizon truncates, nothing terminates."""
    for k, step in enumerate(day.steps):
        assert (step.truncated == (k == day.config.num_steps - 1)).all()
    assert len(day.steps) == day.config.num_steps


INVARIANTS: dict[str, Callable[[Day], None]] = {
    "3 cars": invariant_3,
    "13 weights": invariant_13,
    "22 spaces and masks": invariant_22,
    "refusals": refusals,
    "23 clock": local_clock,
    "23 places": invariant_23,
    "24 horizon": invariant_24,
}

test_invariant, test_invariant_on_many_cards = law_tests(INVARIANTS)


def _begin(case: int, steps: int) -> tuple[FleetVectorEnv, Any]:
    """A fleet of a case after some steps, and the actions to come."""
    env = FleetVectorEnv(num_envs=2, config=light_card(case), car_reward=True)
    obs, _ = env.reset(seed=case)
    actions = random_actions(case, (env.config.num_steps, 2, env.config.num_cars))
    for action in actions[:steps]:
        obs, *_ = env.play(action)
    return env, (obs, actions[steps:])


def _with_future(env: FleetVectorEnv, cut: int, *, reverse: bool, region: int = 0) -> DemandTrace:
    """The trace of a region of row 0, with the minutes of the episode from `cut` on reversed."""
    trace, config = env.sim._traces[region], env.config
    start = env.sim.exo.start_minute[region : region + 1]
    minutes = np.arange(cut * config.step_min, config.num_steps * config.step_min)
    later = trace._minutes(start, minutes)[0]
    rate = np.round(trace.rate.astype(float) * 2**12) / 2**12  # sums are exact in any order
    if reverse:
        rate[:, later] = rate[:, later[::-1]]
    return make_trace(
        trace.name,
        trace.clock,
        rate,
        start_weekday=trace.start_weekday,
        non_working=trace.non_working,
        split_day=trace.split_day,
    )


def _with_futures(env: FleetVectorEnv, cut: int, *, reverse: bool) -> tuple[DemandTrace, ...]:
    regions = range(len(env.sim._traces))
    return tuple(_with_future(env, cut, reverse=reverse, region=r) for r in regions)


def _told(env: FleetVectorEnv, case: int) -> list[Any]:
    """All that row 0 of a case is told from the reset on, and what its energy managers did."""
    config = env.config
    obs, _ = env.reset(seed=case)
    told: list[Any] = [(obs, None, None, None)]
    actions = random_actions(case, (config.num_steps, 1, config.num_cars))
    with pytest.MonkeyPatch.context() as patch:
        modes: list[Any] = []
        meter = settle_module.meter

        def listen(plug: Any, mode: Any) -> Any:
            modes.append(np.array(mode))
            return meter(plug, mode)

        patch.setattr(settle_module, "meter", listen)
        for obs, reward, info in play(env, actions):
            step = {key: value for key, value in info.items() if key != "episode_sums"}
            told.append((obs, reward, step, list(modes)))
            modes.clear()
    return told


def _same_until(told: list[list[Any]], cut: int) -> bool:
    """Assert that two accounts agree up to the observation at step `cut`; tell if they do after."""
    for k, (a, b) in enumerate(zip(told[0][: cut + 1], told[1][: cut + 1], strict=True)):
        assert_same(a[0], b[0], f"observation at step {k}")
        if k:
            assert_same(a[1], b[1], f"reward of step {k - 1}")
            assert_same(a[2], b[2], f"info of step {k - 1}")
            for x, y in zip(a[3], b[3], strict=True):
                assert_same(x, y, f"modes of step {k - 1}")
    later = (t[cut + 1 :] for t in told)
    return all(
        _fleet(a[0]).tobytes() == _fleet(b[0]).tobytes() for a, b in zip(*later, strict=True)
    )


def _fleet(obs: Any) -> Any:
    return obs["fleet"] if isinstance(obs, dict) else obs


@pytest.mark.parametrize("split", ["train", "test"])
@given(case=cases)
@settings(max_examples=3)
def test_10_nothing_told_depends_on_demand_to_come(split: str, case: int) -> None:
    """The trace is made anew, mean days included: all is alike until `cut`, and not for ever."""
    config = light_card(case)
    config = replace(config, demand=replace(config.demand, load=2.0, source="servegen"))
    cut = config.num_steps // 2
    told = []
    for reverse in (False, True):
        env = FleetVectorEnv(num_envs=1, config=config, split=split)
        env.reset(seed=case)
        env.sim._traces = _with_futures(env, cut, reverse=reverse)
        told.append(_told(env, case))
    assert not _same_until(told, cut)


@pytest.mark.parametrize("start", range(7))
def test_10_mean_days_of_training_hold_nothing_of_the_episode(start: int) -> None:
    """Whichever day of the training part an episode of 24 h starts on, at noon."""
    env = FleetVectorEnv(num_envs=1, num_cars=1, split="train")
    env.reset(seed=0)
    noon = np.array([start * 24 * 60 + 12 * 60])
    env.sim.exo = replace(env.sim.exo, start_minute=noon)
    for cut in (0, 30, 60):
        a, b = (_with_future(env, cut, reverse=reverse) for reverse in (False, True))
        np.testing.assert_array_equal(
            a.forecast(noon, cut, 96, 15), b.forecast(noon, cut, 96, 15), f"from step {cut}"
        )
        ahead = slice(0, cut + 96)
        x, y = (t.forecast_day_ahead(noon, 192, 15)[:, :, ahead] for t in (a, b))
        np.testing.assert_array_equal(x, y)


def _unpublished(clock: Any, step: int) -> Any:
    """Prices that are not out at a step, by row and column of a clock.

    Out are those of the local day of the step and, from 13:00 on, of the next day.
    """
    now = clock.before + step
    last = clock.day[:, now] + (clock.minute[:, now] >= 13 * 60)
    return clock.day > last[:, None]


@pytest.mark.parametrize("days", [1, pytest.param(2, marks=pytest.mark.slow)])
@given(case=cases)
@settings(max_examples=3)
def test_10_nothing_told_depends_on_prices_not_yet_published(days: int, case: int) -> None:
    """Prices that are not out at step k are changed: k and all before it stay, the rest moves."""
    config = light_card(case)
    energy = replace(config.energy, tariff="day_ahead", source="managed")
    regions = {name: replace(region, tariff="day_ahead") for name, region in config.regions.items()}
    config = replace(config, energy=energy, days=days, num_cars=17, regions=regions)
    per_day = config.num_steps // days
    for k in (0, per_day // 3, config.num_steps - per_day // 4):
        told, news = zip(
            *(_told_with_prices(config, case, k, factor) for factor in (1.0, 3.0)), strict=True
        )
        same_after = _same_until(list(told), min(news[0] - 1, config.num_steps))
        assert same_after == (news[0] > config.num_steps)


def _told_with_prices(config: Any, case: int, step: int, factor: float) -> tuple[list[Any], int]:
    """All that is told where the prices not out at a step are multiplied, and when that is seen."""
    draw = exogenous.draw_grid
    news = []

    def dearer(energy: Any, clock: Any, key: Any) -> Any:
        price, carbon, ambient = draw(energy, clock, key)
        price[_unpublished(clock, step)] *= factor
        later = (_unpublished(clock, k).sum() for k in range(step, config.num_steps + 1))
        hidden = _unpublished(clock, step).sum()
        news.append(step + next((k for k, n in enumerate(later) if n < hidden), 10**6))
        return price, carbon, ambient

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exogenous, "draw_grid", dearer)
        env = FleetVectorEnv(num_envs=1, config=config)
        return _told(env, case), min(news)


@given(case=cases)
@settings(max_examples=6)
def test_11_nothing_seen_or_earned_before_an_event_depends_on_its_hidden_draws(case: int) -> None:
    """True departures, trips and call-backs to come are moved: the next step stays as it was."""
    env, (_, actions) = _begin(case, 7)
    other = copy.deepcopy(env)
    state, t_h, dt_h = other.sim.world.state, env.sim.t_h, env.config.dt_h
    later = state.event_h > t_h + dt_h + 0.01
    assert later.any()
    state.event_h[later] += 5.0
    state.trip_kwh[later] *= 0.5
    state.trip_h[later] += 1.0
    state.next_place[later] = 0
    state.snooze_h[later & (state.snooze_h > t_h + dt_h + 0.01)] += 3.0
    assert_same(other.sim.observe(), env.sim.observe())
    a, b = env.play(actions[0]), other.play(actions[0])
    for name, x, y in zip(("obs", "reward", "truncated", "info"), a, b, strict=True):
        assert_same(x, y, name)


def _hash(env: FleetVectorEnv, actions: Any, seed: int) -> str:
    digest = hashlib.sha256()
    obs, _ = env.reset(seed=seed)
    for key in sorted(obs):
        digest.update(np.ascontiguousarray(obs[key]).tobytes())
    for obs, reward, info in play(env, actions):
        for key in sorted(obs):
            digest.update(np.ascontiguousarray(obs[key]).tobytes())
        digest.update(reward.tobytes())
        for key in sorted(info):
            if key != "episode_sums":
                digest.update(np.ascontiguousarray(info[key]).tobytes())
    return digest.hexdigest()


def hash_of_a_day(case: int) -> str:
    """Hash of all that a day of a case tells; also run in other processes."""
    env = FleetVectorEnv(num_envs=2, config=light_card(case))
    actions = random_actions(case, (env.config.num_steps, 2, env.config.num_cars))
    return _hash(env, actions, seed=4)


@given(case=cases)
@settings(max_examples=3)
def test_19_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(case: int) -> None:
    env = FleetVectorEnv(num_envs=2, config=light_card(case))
    actions = random_actions(case, (env.config.num_steps, 2, env.config.num_cars))
    hashes = {seed: _hash(env, actions, seed) for seed in (4, 5)}
    assert hash_of_a_day(case) == hashes[4] != hashes[5]


def test_19_one_worker_gives_the_bytes_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim_module, "split_blocks", partial(split_blocks, block_cars=8))
    many = hash_of_a_day(4)
    monkeypatch.setattr(sim_module, "for_each", lambda jobs, work: [work(job) for job in jobs])
    assert hash_of_a_day(4) == many


@pytest.mark.slow
def test_19_other_processes_give_the_same_bytes() -> None:
    """Another hash seed of Python, another process."""
    code = (
        "from tests.property.test_invariants_information import hash_of_a_day;"
        "print(hash_of_a_day(5))"
    )
    for hash_seed in ("0", "77"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-1] == hash_of_a_day(5)


@given(case=cases)
@settings(max_examples=3)
def test_20_reset_restores_all_and_no_global_randomness_is_used(case: int) -> None:
    config = light_card(case)
    actions = random_actions(case, (config.num_steps, 2, config.num_cars))
    used, fresh = (FleetVectorEnv(num_envs=2, config=config) for _ in range(2))
    np.random.seed(3)  # noqa: NPY002 -- it is the global generator that must not move
    random.seed(3)
    before = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    _hash(used, actions, seed=9)
    used.reset(seed=1)
    used.play(actions[0])  # a day broken off
    assert _hash(used, actions, seed=2) == _hash(fresh, actions, seed=2)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert random.getstate() == before[1]


@given(case=cases)
@settings(max_examples=3)
def test_21_a_copy_goes_on_as_the_original_and_a_batch_is_its_rows(case: int) -> None:
    env, (_, actions) = _begin(case, 9)
    other = copy.deepcopy(env)
    singles = [FleetEnv(config=light_card(case), car_reward=True) for _ in range(2)]
    past = random_actions(case, (env.config.num_steps, 2, env.config.num_cars))[:9]
    for row, single in enumerate(singles):
        single.reset(seed=case + row)
        for action in past:
            single.step(action[row])
    for action in actions[:6]:
        want = env.play(action)
        for x, y in zip(other.play(action), want, strict=True):
            assert_same(x, y)
        for row, single in enumerate(singles):
            obs, reward, *_ = single.step(action[row])
            assert_same(obs, {key: value[row] for key, value in want[0].items()})
            assert reward == want[1][row]


def test_an_accelerator_that_holds_no_model_is_refused_for_memory() -> None:
    """With 140 requests at a time nothing fits an AI4, whichever accelerator is named first."""
    for mix in ({"ai5": 0.5, "ai4": 0.5}, {"ai4": 0.5, "ai5": 0.5}):
        env = FleetVectorEnv(
            num_envs=1, num_cars=60, fleet={"accelerators": mix}, serving={"batch_slots": 140}
        )
        obs, _ = env.reset(seed=0)
        small = env.sim.world.params.accelerator == list(mix).index("ai4")
        assert 0 < small.sum() < 60
        assert not obs["mask"][0][small].any()
        assert obs["mask"][0][~small].any()
        *_, info = env.play(np.ones((1, 60)))
        assert info["metric/refused_memory"][0] > 0


@pytest.mark.parametrize("split", ["train", "test"])
def test_daily_means_do_not_drift_from_day_1_to_day_7(split: str) -> None:
    """Places, plugs, charge, what may compute: 96 weeks of 30 cars, slope within 4 se."""
    env = FleetVectorEnv(num_envs=96, num_cars=30, days=7, step_min=60, split=split)
    env.reset(seed=0)
    names = ("home", "work", "driving", "plugged", "soc", "available", "arrivals")
    daily = np.zeros((len(names), 7, 96))
    off = np.zeros((96, 30), np.int8)
    for k in range(7 * 24):
        state = env.sim.world.state
        before = state.event_no.copy()
        place = state.place
        soc, mask = env.sim.soc, env.sim.mask
        now = [place == HOME, place == 1, place == DRIVING, state.plugged, soc, mask]
        means = [np.asarray(x, float).reshape(96, 30).mean(axis=1) for x in now]
        env.play(off)
        arrivals = (env.sim.world.state.event_no - before).reshape(96, 30).mean(axis=1)
        daily[:, k // 24] += np.array([*means, arrivals * 24]) / 24
    days = np.arange(7) - 3.0
    slope = np.einsum("d,xdr->xr", days, daily) / (days @ days)
    mean, se = slope.mean(axis=1), slope.std(axis=1, ddof=1) / np.sqrt(96)
    for name, m, s in zip(names, mean, se, strict=True):
        assert abs(m) < 4 * s, f"{name}: {m:+.5f} +- {s:.5f} a day"
    change = daily[:, 6].mean(axis=1) - daily[:, 0].mean(axis=1)
    np.testing.assert_allclose(change[:6], 0.0, atol=0.03)


def test_random_bits_are_what_the_tests_think() -> None:
    assert random_bits(0, (100, 100), 0.25).mean() == pytest.approx(0.25, abs=0.02)

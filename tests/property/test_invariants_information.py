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
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from fleet_env import settle as settle_module
from fleet_env import sim as sim_module
from fleet_env.dynamics.mobility import LOW_SOC
from fleet_env.env import FleetEnv
from fleet_env.generators import exogenous
from fleet_env.generators.demand import DemandTrace, make_trace
from fleet_env.metrics import REFUSALS
from fleet_env.types import DRIVING, HOME, LINK_NONE, OTHER
from fleet_env.vector_env import FleetVectorEnv
from tests.contract.plays import assert_same, play, random_bits
from tests.contract.records import (
    Day,
    cases,
    law_tests,
    light_card,
    random_actions,
)
from tests.property.test_invariants import inlet_c


def invariant_13(day: Day) -> None:
    """Weights: a model is served once its bytes are there; they come, and are booked, at home."""
    params, setup = day.env.sim.world.params, day.env.sim.setup
    for step in day.steps:
        fetched = step.before["weights_gb"] - step.after["weights_gb"]
        assert fetched.min() >= 0
        np.testing.assert_allclose(step.info["metric/downloaded_gb"], day.rows(fetched), atol=1e-4)
        moving = fetched > 0
        assert (step.before["place"][moving] == HOME).all()
        most = params.down_mbps * day.config.step_min * 60 / 8000
        assert (fetched <= most * (1 + 1e-4) + 1e-5).all()
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
    """First reason against every car at the start of step k, in the order of model.md 2.1."""
    now, params, world = day.steps[k].before, day.env.sim.world.params, day.env.sim.world
    place, t_h = now["place"], np.float32(now["t_h"])
    link = np.where(place == HOME, params.home_link, params.work_link)
    against = {
        "away": (place == DRIVING) | (place == OTHER),
        "unplugged": ~(now["plugged"] | params.unplugged_ok),
        "no_link": (link == LINK_NONE) | ((now["weights_gb"] > 0) & (place != HOME)),
        "memory": ~world.setup.tier_fits.any(axis=1)[params.accelerator],
        "snoozed": now["snooze_h"] <= t_h,
        "reserve": now["soc"] <= params.reserve_soc,
        "hot": inlet_c(day, k, place) >= day.config.thermal.off_from_c,
    }
    assert set(against) == set(REFUSALS)
    reason = np.full(len(place), "none", dtype="<U9")
    for name in reversed(against):
        reason[against[name]] = name
    return reason


def refusals(day: Day) -> None:
    """The mask is the list of reasons, and refused bits are counted by the first that applies."""
    for k, step in enumerate(day.steps):
        reason = refusal_reason(day, k)
        np.testing.assert_array_equal(step.before["mask"], reason == "none")
        asked = step.action.ravel() != 0
        for name in REFUSALS:
            counted = step.info[f"metric/refused_{name}"]
            np.testing.assert_array_equal(counted, day.rows(asked & (reason == name)), name)


def invariant_23(day: Day) -> None:
    """Clock: events lie ahead, the past behind; each car has one place; local hours step on."""
    env, dt_h = day.env, day.config.dt_h
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
    hours = env.sim.exo.local_hour
    step_h = np.diff(hours, axis=1) % 24
    regular = np.isclose(step_h, dt_h, atol=1e-4)
    assert (~regular).sum(axis=1).max() <= 1  # the one change of the clock


def invariant_24(day: Day) -> None:
    """The horizon truncates, nothing terminates."""
    for k, step in enumerate(day.steps):
        assert (step.truncated == (k == day.config.num_steps - 1)).all()
    assert len(day.steps) == day.config.num_steps


INVARIANTS: dict[str, Callable[[Day], None]] = {
    "13 weights": invariant_13,
    "22 spaces and masks": invariant_22,
    "refusals": refusals,
    "3 and 23 clock and places": invariant_23,
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


def _with_future(env: FleetVectorEnv, cut: int, *, reverse: bool) -> DemandTrace:
    """The trace of row 0, made anew with the minutes of the episode from step `cut` on reversed."""
    trace, config = env.sim._trace, env.config
    start = env.sim.exo.start_minute[:1]
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
        env.sim._trace = _with_future(env, cut, reverse=reverse)
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


@pytest.mark.parametrize("days", [1, 2])
@given(case=cases)
@settings(max_examples=3)
def test_10_nothing_told_depends_on_prices_not_yet_published(days: int, case: int) -> None:
    """Prices that are not out at step k are changed: k and all before it stay, the rest moves.

    Out are those of the local day of step k and, from 13:00 on, of the next day.
    """
    config = light_card(case)
    energy = replace(config.energy, tariff="day_ahead", source="managed")
    config = replace(config, energy=energy, days=days, num_cars=17)
    env = FleetVectorEnv(num_envs=1, config=config)
    env.reset(seed=case)
    hour = env.sim.exo.local_hour[0]
    day = np.cumsum(np.diff(hour, prepend=hour[0]) < 0)
    per_day = config.num_steps // days
    for k in (0, per_day // 3, config.num_steps - per_day // 4):
        last = day[k] + (hour[k] >= 13.0)
        first = int(np.searchsorted(day, last, side="right"))  # step without a published price
        told = [_told_with_prices(config, case, first, factor) for factor in (1.0, 3.0)]
        news = int(np.searchsorted(day + (hour >= 13.0), last, side="right"))
        same_after = _same_until(told, min(news - 1, config.num_steps))
        assert same_after == (news > config.num_steps)


def _told_with_prices(config: Any, case: int, first: int, factor: float) -> list[Any]:
    """All that is told where the prices from step `first` on are multiplied."""
    draw = exogenous.draw_grid

    def dearer(energy: Any, clock: Any, key: Any) -> Any:
        price, carbon, ambient = draw(energy, clock, key)
        price[:, clock.elapsed_min >= first * config.step_min] *= factor
        return price, carbon, ambient

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exogenous, "draw_grid", dearer)
        env = FleetVectorEnv(num_envs=1, config=config)
        return _told(env, case)


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
    def cut(num_envs: int, num_cars: int) -> Any:
        return split(num_envs, num_cars, 8)

    split = sim_module.split_blocks
    monkeypatch.setattr(sim_module, "split_blocks", cut)
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

"""Laws of the ledger on random fleets under random play: energy, money, neutral cases, sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from fleet_env import rewards
from fleet_env.config import EnvConfig, RewardConfig
from fleet_env.dynamics.energy import GRID
from fleet_env.dynamics.roofline import datacentre_price
from fleet_env.metrics import COSTS, METRICS, REWARD_TERMS
from fleet_env.scenarios import CARDS, scenario
from fleet_env.types import BATCH_70B, CLASSES, HOME
from fleet_env.vector_env import FleetVectorEnv
from tests.contract.plays import play, random_bits
from tests.contract.records import (
    Day,
    Step,
    cases,
    law_tests,
    light_card,
)

KWH = 2e-5  # rounding of a step in float32 (model.md 2.7)


def energy_identity(day: Day) -> None:
    """Metered difference + growth of the gap = wall energy of compute; by car and step."""
    params, world = day.env.sim.world.params, day.env.sim.world
    for step in day.steps:
        if step.meter is None:
            assert (step.info["metric/metered_kwh"] == 0).all()
            continue
        cars, plug = step.duty.cars, step.plug
        pack = params.pack_kwh[cars].astype(np.float64)
        dm = step.meter.meter_kwh.astype(np.float64) - step.meter.twin_meter_kwh
        metered = day.per_row(cars, dm)
        np.testing.assert_allclose(step.info["metric/metered_kwh"], metered, atol=KWH * len(cars))
        grown_kwh = (step.meter.gap.astype(np.float64) - plug.gap) * pack
        cost_kwh = dm + grown_kwh / plug.eta
        compute_kwh = plug.compute_kwh.astype(np.float64)
        least = compute_kwh / plug.eta
        beyond = np.maximum(compute_kwh - plug.dc_kw * plug.awake_h, 0) / plug.eta
        alone = np.minimum(plug.wall_kwh, plug.ac_kw * plug.awake_h) + beyond
        most = np.where(step.mode == GRID, np.maximum(least, alone), least)
        rounding = KWH + 3e-7 * pack
        assert (cost_kwh >= least - rounding).all()
        assert (cost_kwh <= most + rounding).all()
        # booked at the efficiency of the owner's own charger: both lie within 0.87 and 0.92
        booked = dm + grown_kwh / world.derived.eta_nominal[cars]
        spread = np.abs(grown_kwh) * (1 / 0.87 - 1 / 0.92)
        assert (np.abs(booked - cost_kwh) <= spread + rounding).all()


def nothing_unbooked(day: Day) -> None:
    """All compute energy of a day is metered, still owed, or was settled by public charging."""
    params, world = day.env.sim.world.params, day.env.sim.world
    booked = sum(
        step.info["metric/wall_kwh"] - step.info["metric/metered_kwh"] for step in day.steps
    )
    owed = day.rows(day.steps[-1].after["gap"] * params.pack_kwh / world.derived.eta_nominal)
    np.testing.assert_allclose(booked, owed, atol=1e-3)
    overhead_kw = np.array([card.serving.overhead_w for card in day.cards]) / 1000  # may be drawn
    for step in day.steps:
        on_h = step.info["metric/on_duty_h"]
        if step.plug is None:
            assert (on_h == 0).all()
            continue
        # every minute on duty takes at least the power of an awake car: none is free
        idle_kwh = overhead_kw * on_h
        compute_kwh = day.per_row(step.duty.cars, step.plug.compute_kwh.astype(np.float64))
        assert (compute_kwh >= idle_kwh * (1 - 1e-5) - 1e-9).all()
        free = (step.plug.compute_kwh > 0) & (step.plug.awake_h <= 0)
        assert not free.any()


def _sums(day: Day) -> dict[str, NDArray[Any]]:
    keys = [*(f"reward/{t}" for t in REWARD_TERMS), *(f"metric/{m}" for m in METRICS)]
    return {key: sum(step.info[key] for step in day.steps) for key in keys}


def _by_area(day: Day, step: Step) -> tuple[NDArray[Any], NDArray[Any]]:
    """Metered kWh and growth of the gap in kWh of every area, departures included."""
    world = day.env.sim.world
    per_soc = world.params.pack_kwh.astype(np.float64) / world.derived.eta_nominal
    metered = np.zeros(len(day.area))
    if step.meter is not None:
        metered[step.duty.cars] = step.meter.meter_kwh - step.meter.twin_meter_kwh
    grown = (step.after["gap"].astype(np.float64) - step.before["gap"]) * per_soc
    num = day.env.num_envs * max(1, len(day.config.regions))
    return tuple(np.bincount(day.area, x, num) for x in (metered, grown))  # type: ignore[return-value]


def invariant_15(day: Day) -> None:
    """Money: every term is price times quantity, all of them in `info`; carbon likewise."""
    exo, cards, rows = day.env.sim.exo, day.cards, day.env.num_envs
    price = np.array(
        [rewards.request_prices(card, datacentre_price(card.datacentre)) for card in cards]
    )
    shortfall_usd = np.array([card.reward.shortfall_usd for card in cards])
    reward, first_day = day.config.reward, round(24 / day.config.dt_h)
    mean_carbon = exo.carbon_g_per_kwh[:, :first_day].mean(axis=1, dtype=np.float64)
    for k, step in enumerate(day.steps):
        info = step.info
        metered, grown = _by_area(day, step)
        for kwh, name in ((metered, "metered_kwh"), (metered + grown, "wall_kwh")):
            by_row = kwh.reshape(rows, -1).sum(axis=1)
            np.testing.assert_allclose(info[f"metric/{name}"], by_row, rtol=1e-5, atol=1e-3)
        energy = exo.price_usd_per_kwh[:, k] * metered + exo.ref_price_usd_per_kwh[:, k] * grown
        energy = energy.reshape(rows, -1).sum(axis=1)
        np.testing.assert_allclose(info["reward/energy"], -energy, rtol=1e-4, atol=3e-4)
        carbon = (exo.carbon_g_per_kwh[:, k] * metered + mean_carbon * grown) / 1000
        carbon = carbon.reshape(rows, -1).sum(axis=1)
        np.testing.assert_allclose(info["metric/carbon_kg"], carbon, rtol=1e-4, atol=3e-4)
        done = np.stack([info[f"metric/on_time_{name}"] for name in CLASSES], axis=1)
        np.testing.assert_allclose(info["reward/avoided"], (done * price).sum(axis=1), rtol=1e-12)
        missed = sum(
            (info[f"metric/late_{name}"] + info[f"metric/lost_{name}"]) * price[:, i]
            for i, name in enumerate(CLASSES[:BATCH_70B])
        )
        np.testing.assert_allclose(
            info["reward/slo"], -reward.slo_penalty * missed, rtol=1e-9, atol=1e-15
        )
        owner = (
            shortfall_usd * info["metric/shortfalls"]
            + reward.shortfall_usd_per_kwh * info["metric/shortfall_kwh"]
            + day.config.energy.public_usd_per_kwh * info["metric/public_kwh"]
            + reward.pay_usd_per_on_duty_h * info["metric/on_duty_h"]
            + reward.noise_usd_per_quiet_h * info["metric/quiet_h"]
            + reward.dropout_usd * info["metric/dropouts"]
        )
        np.testing.assert_allclose(info["reward/owner"], -owner, rtol=1e-5, atol=1e-6)
        data = reward.cellular_usd_per_gb * info["metric/cellular_gb"]
        np.testing.assert_allclose(info["reward/data"], -data, rtol=1e-12)
        assert (info["reward/wear"] <= 0).all()
        floored = -np.minimum(-info["metric/signed_wear_usd"], 0)
        assert (-info["reward/wear"] >= floored - 1e-9).all()


def quiet_hours(day: Day) -> None:
    """Noise is counted where it costs anything: hours on duty at home in quiet hours."""
    owners, paid = day.config.owners, day.config.reward.noise_usd_per_quiet_h > 0
    for k, step in enumerate(day.steps):
        hour = day.env.sim.exo.local_hour[day.area, k]
        loud = (hour - owners.quiet_from_h) % 24 < (owners.quiet_to_h - owners.quiet_from_h) % 24
        loud &= (step.before["place"] == HOME) & paid
        on_h = step.duty.flows.on_min / 60 * loud[step.duty.cars]
        want = day.per_row(step.duty.cars, on_h)
        np.testing.assert_allclose(step.info["metric/quiet_h"], want, rtol=1e-5, atol=1e-6)


def capacity(day: Day) -> None:
    """What cars spare of the peak of the data centre: steps add up to the difference of peaks."""
    config, charge_h = day.config, day.env.sim.ledger.capacity.charge_h
    if config.datacentre.dc_cost != "peak":
        assert charge_h == 0
        assert all((step.info["reward/capacity"] == 0).all() for step in day.steps)
        return
    # the load is counted at the prices of the card, drawn ones aside
    price = rewards.average_prices(config, datacentre_price(config.datacentre))[:BATCH_70B]
    eligible = np.array([1 - card.demand.trusted_only_share for card in day.cards])[:, None]
    flows = [step.flows for step in day.steps]
    asked = np.array([f.arrived[:, :BATCH_70B] / eligible for f in flows])
    left = asked + np.array([(f.lost - f.dispatched)[:, :BATCH_70B] for f in flows])
    of_hour = round(1 / config.dt_h)
    peaks = []
    for requests in (asked, left):
        usd_per_h = (requests * price).sum(axis=2) / config.dt_h
        means = [usd_per_h[max(0, k + 1 - of_hour) : k + 1].mean(axis=0) for k in range(len(flows))]
        peaks.append(np.maximum.accumulate(means, axis=0))
    spared = charge_h * (peaks[0] - peaks[1])
    told = np.cumsum([step.info["reward/capacity"] for step in day.steps], axis=0)
    np.testing.assert_allclose(told, spared, rtol=1e-9, atol=1e-9)
    assert charge_h > 0


def invariant_16(day: Day) -> None:
    """The reward is the sum of its terms, and all numbers are finite."""
    for step in day.steps:
        terms = sum(step.info[f"reward/{name}"] for name in REWARD_TERMS)
        np.testing.assert_allclose(step.reward, terms, rtol=1e-12, atol=1e-15)
        for key, value in step.info.items():
            if key != "episode_sums":
                assert np.isfinite(value).all(), key
        for name, value in step.after.items():
            if name not in ("parked_h", "stated_h", "snooze_h"):
                assert np.isfinite(value).all(), name


def car_reward(day: Day) -> None:
    """The cars' own shares add up to the reward of their row."""
    for k, step in enumerate(day.steps):
        shares = step.info["car_reward"].sum(axis=1, dtype=np.float64)
        np.testing.assert_allclose(shares, step.reward, rtol=1e-6, atol=1e-6, err_msg=f"step {k}")


def invariant_25(day: Day) -> None:
    """Sums of the steps equal the totals of the episode."""
    episode = day.steps[-1].info["episode_sums"]
    for key, total in _sums(day).items():
        np.testing.assert_allclose(episode[key], total, rtol=1e-9, atol=1e-12, err_msg=key)
    returns = sum(step.reward for step in day.steps)
    np.testing.assert_allclose(episode["return"], returns, rtol=1e-12, atol=1e-12)
    assert (episode["length"] == len(day.steps)).all()
    for step in day.steps:
        refused = sum(step.info[key] for key in step.info if key.startswith("metric/refused_"))
        asked = step.action.reshape(len(refused), -1) != 0
        allowed = step.before["mask"].reshape(asked.shape)
        np.testing.assert_array_equal(refused, (asked & ~allowed).sum(axis=1))
        cost = step.info["cost/slo"]
        chat = [f"metric/{kind}_{name}" for kind in ("late", "lost") for name in CLASSES[:2]]
        np.testing.assert_allclose(cost, sum(step.info[key] for key in chat), rtol=1e-12)
        np.testing.assert_array_equal(step.info["cost/shortfall"], step.info["metric/shortfalls"])
        cut_kwh = step.info["metric/feeder_cut_kwh"]
        np.testing.assert_array_equal(step.info["cost/feeder"], cut_kwh)


INVARIANTS: dict[str, Callable[[Day], None]] = {
    "energy identity": energy_identity,
    "nothing unbooked": nothing_unbooked,
    "15 money": invariant_15,
    "quiet hours": quiet_hours,
    "capacity": capacity,
    "16 reward": invariant_16,
    "car reward": car_reward,
    "25 metrics": invariant_25,
}

test_invariant, test_invariant_on_many_cards = law_tests(INVARIANTS)


def _day(config: EnvConfig, share: float = 0.6, seed: int = 0, **kwargs: Any) -> list[Any]:
    env = FleetVectorEnv(num_envs=2, config=config, **kwargs)
    env.reset(seed=seed)
    shape = (config.num_steps, 2, config.num_cars)
    return [(reward, info) for _, reward, info in play(env, random_bits(1, shape, share))]


# what happens without a car on duty: requests go to the data centre, homes overload transformers
WITHOUT_CARS = ("arrived", "diverted", "expired", "feeder_over_h")


def _assert_nothing(env: FleetVectorEnv) -> None:
    """No car is ever put on duty: all money is exactly 0 in every step, and so is all else."""
    env.reset(seed=1)
    off = np.zeros((env.config.num_steps, env.num_envs, env.config.num_cars), np.int8)
    for _, reward, info in play(env, off):
        assert (reward == 0.0).all()
        for name in REWARD_TERMS:
            assert (info[f"reward/{name}"] == 0.0).all(), name
        for name in COSTS:
            assert (info[f"cost/{name}"] == 0.0).all(), name
        for name in METRICS:
            if not name.startswith(WITHOUT_CARS):
                assert (info[f"metric/{name}"] == 0.0).all(), name
        assert not info.get("car_reward", reward).any()


@given(case=cases)
@settings(max_examples=9)
def test_18_without_a_car_on_duty_every_term_is_zero_every_step(case: int) -> None:
    _assert_nothing(FleetVectorEnv(num_envs=2, config=light_card(case), car_reward=True))


@pytest.mark.parametrize("card", CARDS)
def test_18_never_using_a_car_scores_exactly_zero_on_every_card(card: str) -> None:
    _assert_nothing(FleetVectorEnv(card, num_envs=2, num_cars=12, step_min=60))


@given(case=cases)
@settings(max_examples=6)
def test_18_without_demand_there_is_no_service_and_no_money_for_it(case: int) -> None:
    config = light_card(case)
    config = replace(config, demand=replace(config.demand, load=0.0))
    for _, info in _day(config):
        for key, value in info.items():
            if key.startswith(("metric/arrived", "metric/on_time", "metric/late", "metric/lost")):
                assert (value == 0).all(), key
        assert (info["metric/busy_h"] == 0).all()
        assert (info["reward/avoided"] == 0).all()
        assert (info["reward/slo"] == 0).all()


def _flat(usd_per_kwh: float, **energy: Any) -> EnvConfig:
    return scenario(
        num_cars=20,
        step_min=60,
        energy={"tariff": "flat", "flat_usd_per_kwh": usd_per_kwh, "source": "grid", **energy},
    )


def test_18_prices_scaled_by_k_scale_costs_by_k() -> None:
    one, three = _day(_flat(0.1)), _day(_flat(0.3, public_usd_per_kwh=1.35))
    for (_, a), (_, b) in zip(one, three, strict=True):
        np.testing.assert_allclose(b["reward/energy"], 3 * a["reward/energy"], rtol=1e-5, atol=1e-9)
        np.testing.assert_array_equal(a["metric/wall_kwh"], b["metric/wall_kwh"])
        np.testing.assert_array_equal(a["reward/avoided"], b["reward/avoided"])
    assert sum(a["reward/energy"].sum() for _, a in one) < 0


# setting of the reward at 0 -> the term it removes
REMOVED = {
    "pack_usd_per_kwh": "wear",
    "slo_penalty": "slo",
    "cellular_usd_per_gb": "data",
}


@pytest.mark.parametrize("setting", REMOVED)
def test_16_a_price_of_zero_removes_its_term_exactly_and_no_other(setting: str) -> None:
    config = scenario(
        "gauntlet",
        num_cars=30,
        step_min=60,
        fleet={"cellular_share": 1.0, "home_link_share": 0.5},
        demand={"load": 2.0},
        reward=asdict(RewardConfig()),
    )
    free = replace(config, reward=replace(config.reward, **{setting: 0.0}))
    before = dict.fromkeys(REWARD_TERMS, 0.0)
    for (_, a), (_, b) in zip(_day(config), _day(free), strict=True):
        for name in REWARD_TERMS:
            before[name] += np.abs(a[f"reward/{name}"]).sum()
            if name == REMOVED[setting]:
                assert (b[f"reward/{name}"] == 0).all()
            else:
                np.testing.assert_array_equal(b[f"reward/{name}"], a[f"reward/{name}"])
    assert before[REMOVED[setting]] > 0


def test_16_an_unpaid_owner_who_is_never_short_costs_nothing() -> None:
    free = ("pay_usd_per_on_duty_h", "shortfall_usd", "shortfall_usd_per_kwh", "dropout_usd")
    config = scenario(
        num_cars=40,
        step_min=60,
        energy={"source": "pack", "public_usd_per_kwh": 0.0},
        reward=dict.fromkeys(free, 0.0),
    )
    days = _day(config)
    assert sum(info["metric/broken_promises"].sum() for _, info in days) > 0
    for _, info in days:
        assert (info["reward/owner"] == 0).all()


def _play_pattern(pattern: NDArray[np.bool_], load: float) -> tuple[float, float]:
    """Mean return and duty hours over 6 days of 100 cars, from bits (steps, cars)."""
    env = FleetVectorEnv(num_envs=6, num_cars=100, demand={"load": load})
    env.reset(seed=50)
    total, hours = 0.0, 0.0
    for bits in pattern:
        _, reward, _, info = env.play(np.broadcast_to(bits, (6, 100)))
        total += reward.mean()
        hours += info["metric/on_duty_h"].mean()
    return total, hours


@pytest.mark.parametrize("load", [0.3, 2.0])
def test_toggling_earns_less_than_holding_at_equal_duty_time(load: float) -> None:
    """One half of the cars holds, then the other; or the halves take turns, in both orders.

    Over both plays every car is on in each step exactly once, either way.
    """
    even = np.repeat((np.arange(100) % 2 == 0)[None], 96, axis=0)
    odd_step = (np.arange(96) % 2 == 1)[:, None]
    held = np.sum([_play_pattern(even ^ flip, load) for flip in (False, True)], axis=0)
    toggled = np.sum(
        [_play_pattern(even ^ odd_step ^ flip, load) for flip in (False, True)], axis=0
    )
    assert toggled[1] == pytest.approx(held[1], rel=0.01)
    assert toggled[0] < held[0]

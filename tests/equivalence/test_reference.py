"""The simulation against the float64 reference: random small fleets, random actions, every step.

Both sides start every step from the simulation's state, so a difference is one step's; and since
all of the state afterwards is compared, whole days are equal by induction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest

from fleet_env.config import EnvConfig, FleetConfig, ServingConfig
from fleet_env.metrics import METRICS
from fleet_env.types import CLASSES, BoolArray
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.world import ALLOWED
from tests.reference import physics, queueing
from tests.reference import sim as reference
from tests.reference.cars import Car, CarState, session_allows
from tests.reference.side_by_side import (
    Recorder,
    draw_actions,
    draw_config,
    known_prices,
    read_cars,
    read_states,
    read_weather,
)
from tests.reference.step import Outcome

# besides the first ones, fleets that meet call-backs by the owner in a tail or while waking
NUM_FLEETS, PLAIN = 50, (*range(10), 28, 30, 42, 43)

# (atol, rtol). The simulation keeps cars in float32: one number is good to 6e-8, a soc or an hour
# of the day to 2e-6 after a few of them were added and subtracted; times a pack of 76 kWh that is
# 1e-4 kWh at most. What is left is rounding to 1e-4 of the amount.
TOLERANCE = {
    "exact": (0.0, 0.0),
    "soc": (2e-6, 1e-4),
    "kelvin": (1e-4, 1e-4),
    "minutes": (1e-3, 1e-4),  # 1.4e-4 min is one float32 step of a time of day
    "gb": (1e-3, 1e-4),  # of such minutes at the fastest link
    "usd": (2e-5, 1e-4),  # kWh at the dearest price
    "kwh": (3e-5, 1e-4),
    "hours": (2e-5, 1e-4),
    "fade": (1e-11, 2e-3),  # law B reads its potential from a table: 1e-3 (specification, 2.8)
    "wear": (1e-5, 2e-3),
    "share": (1e-5, 1e-4),
}
# The simulation reads waiting from tables: shares of late requests to 3e-4 and, in minutes in which
# a car or part of it is full, the admission limit to 6e-4 of the slots (measured: `rho_max`).
LATE_SHARE, LIMIT_SHARE = 3e-4, 6e-4

STATE_KIND = {
    "twin_ref": "soc",
    "gap": "soc",
    "anchor": "soc",
    "excess_k": "kelvin",
    "ready_min": "minutes",
    "tail_min": "minutes",
    "weights_gb": "gb",
}
METRIC_KIND = {
    "on_duty_h": "hours",
    "serving_h": "hours",
    "wall_kwh": "kwh",
    "metered_kwh": "kwh",
    "pack_kwh": "kwh",
    "carbon_kg": "kwh",
    "signed_wear_usd": "wear",
    "extra_fade": "fade",
    "shortfall_kwh": "kwh",
    "public_kwh": "kwh",
    "downloaded_gb": "gb",
    "cellular_gb": "gb",
}
TERM_KIND = {"wear": "wear", "owner": "usd", "energy": "usd"}


@dataclass
class Gaps:
    """Differences beyond tolerance: how many, and the worst of each name."""

    where: str = ""
    worst: dict[str, tuple[float, str]] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)

    def look(self, name: str, mine: float, its: float, tolerance: tuple[float, float]) -> None:
        """Compare one number of the reference with the simulation's."""
        if mine == its:
            return
        excess = abs(mine - its) - tolerance[0] - tolerance[1] * abs(mine)
        if excess <= 0.0:  # a nan goes on
            return
        self.count[name] = self.count.get(name, 0) + 1
        if name not in self.worst or not excess <= self.worst[name][0]:
            self.worst[name] = (excess, f"{self.where}: {mine!r}, simulation {its!r}")

    def report(self) -> str:
        """List every name with its count and its worst case."""
        lines = [f"{n}: {self.count[n]} x, worst at {w}" for n, (_, w) in self.worst.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Step:
    """Both sides of a step."""

    env: FleetVectorEnv
    info: dict[str, Any]
    out: Outcome
    states: list[CarState]
    queues: queueing.Queues
    volume: list[float]  # requests of each class that the step had to do with


def compare_requests(gaps: Gaps, step: Step) -> None:
    """Compare all counts of requests, and the money that hangs on them."""
    service = step.out.service
    assert service is not None
    share = LIMIT_SHARE if service.crowded else 0.0
    prices, usd = reference.request_usd(step.env.config), 2e-5
    sim = step.env.sim
    for c, name in enumerate(CLASSES):
        exact = (1e-4 + share * step.volume[c], 1e-4)
        split = (exact[0] + LATE_SHARE * service.dispatched[c], 1e-4)
        usd += split[0] * prices[c]
        for kind in ("arrived", "on_time", "late", "lost", "diverted", "expired"):
            mine, its = step.out.metric[f"{kind}_{name}"], step.info[f"metric/{kind}_{name}"][0]
            gaps.look(f"{kind}_{name}", mine, its, split if kind in ("on_time", "late") else exact)
        gaps.look(f"running_{name}", step.queues.running[c], sim.queue.running[0, c], exact)
        completed = service.on_time[c] + service.late[c]
        gaps.look(f"done_{name}", completed, (sim.flows.on_time + sim.flows.late)[0, c], exact)
    for mine, its in zip(step.queues.batch_due, sim.queue.batch_due[0], strict=True):
        gaps.look("batch_due", mine, its, exact)
    for term in ("avoided", "slo", "data"):
        mine, its = step.out.reward[term], step.info[f"reward/{term}"][0]
        gaps.look(f"reward/{term}", mine, its, (usd, 1e-4))
    tolerance = TOLERANCE["share"][0] + share, TOLERANCE["share"][1]
    for g, a in enumerate(sim.setup.group_accelerator):
        mine = service.util[list(step.env.config.fleet.accelerators)[a]]
        gaps.look("util", mine, sim.flows.util[0, g], tolerance)
    busy_h = step.out.metric["busy_h"]
    gaps.look("busy_h", busy_h, step.info["metric/busy_h"][0], (tolerance[0] * 6.0, 1e-4))


def compare_money_and_counts(gaps: Gaps, step: Step) -> None:
    """Compare the other terms of the ledger and the other metrics."""
    for term, kind in TERM_KIND.items():
        mine, its = step.out.reward[term], step.info[f"reward/{term}"][0]
        gaps.look(f"reward/{term}", mine, its, TOLERANCE[kind])
    for name in set(METRICS) - {
        "ttft_request_s"
    }:  # mean waits have tests of their own (test_serving)
        if name.endswith(CLASSES) or name == "busy_h":
            continue
        mine, its = step.out.metric.get(name, 0.0), step.info[f"metric/{name}"][0]
        gaps.look(name, mine, its, TOLERANCE[METRIC_KIND.get(name, "exact")])


def compare_cars(gaps: Gaps, step: Step, cars: list[Car], mask: BoolArray) -> None:
    """Compare the mask before the step, and all that it left behind in the cars."""
    stays = step.env.sim.world.derived.reason == ALLOWED
    pairs = zip(cars, step.states, read_states(step.env), step.out.shifts, mask, stays, strict=True)
    for car, mine, its, shift, allowed, stay in pairs:
        gaps.look("mask", shift.allowed, allowed, TOLERANCE["exact"])
        stay_ok = session_allows(car, its, step.env.config)
        gaps.look("stay allows compute", stay_ok, bool(stay), TOLERANCE["exact"])
        if shift.twin_after_trip is not None:
            gaps.look("twin", shift.twin_after_trip, its.twin_ref, TOLERANCE["soc"])
        for name in (f.name for f in fields(CarState)):
            if name == "ready_min" and not mine.duty and not mine.tail_min:
                continue  # asleep: it means nothing until the next cold start
            kind = STATE_KIND.get(name, "exact")
            gaps.look(name, getattr(mine, name), getattr(its, name), TOLERANCE[kind])


def compare_given(
    gaps: Gaps, env: FleetVectorEnv, pack_c: float | None, ref_price: float
) -> tuple[float, float]:
    """Compare what follows from price and weather; return the next pack temperature and price."""
    exo, step, per_day = env.sim.exo, env.sim.step_index, round(24 / env.config.dt_h)
    known = known_prices(env, step)
    dearest = sorted(known[:per_day])[round(env.config.energy.cheap_hours / env.config.dt_h) - 1]
    gaps.look("threshold", dearest, exo.threshold_usd_per_kwh[0, step], (0.0, 1e-6))
    gaps.look("cheap", known[0] <= dearest, exo.cheap[0, step], TOLERANCE["exact"])
    gaps.look("price", known[0], exo.price_usd_per_kwh[0, step], TOLERANCE["exact"])
    mean = math.fsum(known[:per_day]) / per_day if step == 0 else ref_price
    gaps.look("ref_price", mean, exo.ref_price_usd_per_kwh[0, step], (0.0, 1e-6))
    ambient_c = float(exo.ambient_c[0, step])
    pack_c = ambient_c if pack_c is None else pack_c
    gaps.look("pack_c", pack_c, env.sim._pack_c[0], (1e-4, 1e-5))
    next_c = physics.lag(pack_c, ambient_c, env.config.dt_h, env.config.thermal.pack_tau_h)
    return next_c, mean


def play_day(number: int, monkeypatch: pytest.MonkeyPatch, config: EnvConfig | None = None) -> Gaps:
    """Play one fleet through its day on both sides."""
    gaps, config = Gaps(), config or draw_config(number)
    env = FleetVectorEnv(config=config)
    env.reset(seed=number)  # departures before the episode are not of interest
    ear = Recorder(monkeypatch, config.num_cars)
    cars, actions = read_cars(env), draw_actions(config, number)
    serving, pack_c, ref_price = 0.0, None, math.nan
    for k in range(config.num_steps):
        gaps.where = f"fleet {number} step {k}"
        pack_c, ref_price = compare_given(gaps, env, pack_c, ref_price)
        states, before, weather = read_states(env), read_states(env), read_weather(env)
        waiting, running = env.sim.queue.batch_due[0].tolist(), env.sim.queue.running[0].tolist()
        queues = queueing.Queues(waiting, running, serving)
        volume = [*running[:2], running[2] + sum(waiting)]
        mask, wanted = env.sim.mask.copy(), next(actions)
        info = env.play(wanted)[3]
        tape, bits = ear.tape(env, before), [bool(bit) for bit in wanted[0]]
        out = reference.play_step(
            config, cars, states, queues, weather, ear.demand(), bits, tape, k
        )
        serving = queues.serving
        assert out.service is not None
        volume = [a + b for a, b in zip(volume, out.service.arrived, strict=True)]
        step = Step(env, info, out, states, queues, volume)
        compare_requests(gaps, step)
        compare_money_and_counts(gaps, step)
        compare_cars(gaps, step, cars, mask)
    return gaps


FLEETS = [
    number if number in PLAIN else pytest.param(number, marks=pytest.mark.slow)
    for number in range(NUM_FLEETS)
]


@pytest.mark.parametrize("number", FLEETS)
def test_every_step_of_a_day_is_the_reference_step(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps = play_day(number, monkeypatch)
    assert not gaps.worst, gaps.report()


@pytest.mark.parametrize("tail_min", [5.0, 12.0])
def test_toggling_cars_that_download_is_the_reference_step(
    tail_min: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tail longer than a step, a waking car is on duty again before it slept."""
    fleet = FleetConfig(
        paid_habits=True,
        home_charger_share=1.0,
        home_link_share=1.0,
        weights_missing_share=1.0,
        override_per_month=20.0,
    )
    serving = ServingConfig(tail_min=tail_min)
    gaps = play_day(3, monkeypatch, EnvConfig(num_cars=6, step_min=5, fleet=fleet, serving=serving))
    assert not gaps.worst, gaps.report()


@pytest.mark.parametrize("tariff", ["day_ahead", "sce_tou_ev_8_2019"])
@pytest.mark.parametrize("always_on", [False, True])
def test_owed_charge_is_worth_in_the_end_what_is_still_owed(
    tariff: str, *, always_on: bool
) -> None:
    """In USD over three days: what is booked for gaps that grow and close is their sum at the end.

    Prices differ from day to day, so a reference that moved would leave money behind.
    """
    env = FleetVectorEnv(
        num_envs=3, num_cars=40, days=3, step_min=30, energy={"tariff": tariff, "source": "pack"}
    )
    env.reset(seed=5)
    exo, world, rng = env.sim.exo, env.sim.world, np.random.default_rng(1)
    booked, owed_kwh = np.zeros(3), np.zeros(3)
    for k in range(env.config.num_steps):
        bits = np.ones((3, 40)) if always_on else rng.random((3, 40)) < 0.5
        info = env.play(bits.astype(np.int8))[3]
        booked -= info["reward/energy"]
        booked -= exo.price_usd_per_kwh[:, k].astype(float) * info["metric/metered_kwh"]
        owed_kwh += np.abs(info["metric/wall_kwh"] - info["metric/metered_kwh"])
    gap_kwh = world.state.gap.astype(float) * world.params.pack_kwh / world.derived.eta_nominal
    left_kwh = gap_kwh.reshape(3, 40).sum(axis=1)
    ref_usd = exo.ref_price_usd_per_kwh.astype(float)
    assert (owed_kwh > 2.0 * np.abs(left_kwh)).all()  # much was owed and paid back meanwhile
    assert (np.ptp(ref_usd, axis=1) == 0.0).all()
    np.testing.assert_allclose(booked, ref_usd[:, 0] * left_kwh, rtol=1e-4, atol=1e-4)


def test_the_comparison_notices_a_wrong_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of the test: with a pack 1 % slower on one side, the sides part."""
    lag = physics.lag
    monkeypatch.setattr(
        physics, "lag", lambda now, to, dt_h, tau_h: lag(now, to, dt_h, 1.01 * tau_h)
    )
    assert "excess_k" in play_day(1, monkeypatch).worst

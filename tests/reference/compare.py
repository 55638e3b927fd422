"""One step of both sides: what may differ by how much, and what does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from fleet_env.config import EnvConfig
from fleet_env.metrics import METRICS
from fleet_env.types import CLASSES, HOME, BoolArray
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.world import ALLOWED
from tests.reference import datacentre, physics, queueing
from tests.reference.cars import Car, CarState, session_allows, twin_soc
from tests.reference.prices import known_prices
from tests.reference.shocks import Event
from tests.reference.side_by_side import read_states
from tests.reference.sim import Row
from tests.reference.step import Outcome

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
    "kwh": (5e-5, 1e-4),
    "hours": (2e-5, 1e-4),
    "fade": (1e-11, 2e-3),  # law B reads its potential from a table: 1e-3 (specification, 2.8)
    "wear": (1e-5, 2e-3),
    "share": (1e-5, 1e-4),
}
# The simulation reads waiting from tables: shares of late requests to 3e-4 and, in minutes in which
# a car or part of it is full, the admission limit to 6e-4 of the slots (measured: `rho_max`).
LATE_SHARE, LIMIT_SHARE = 3e-4, 6e-4

STATE_KIND = {
    "gap": "soc",
    "anchor": "soc",
    "excess_k": "kelvin",
    "ready_min": "minutes",
    "tail_min": "minutes",
    "weights_gb": "gb",
    "duty_h": "hours",
}
APART = ("dark", "twin_ref", "ref_h", "duty_h")  # compared in another way
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
    "feeder_cut_kwh": "kwh",
    "feeder_over_h": "hours",
    "quiet_h": "hours",
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
    row: Row
    volume: list[float]  # requests of each class that the step had to do with


def compare_requests(gaps: Gaps, step: Step) -> float:
    """Compare all counts of requests, and the money that hangs on them.

    Returns what the chat of the step may differ by, in USD at average prices.
    """
    service, queues, config = step.out.service, step.row.queues, step.env.config
    assert service is not None
    share = LIMIT_SHARE if service.crowded else 0.0
    usd, chat_usd = 2e-5, 0.0
    sim = step.env.sim
    for c, name in enumerate(CLASSES):
        exact = (1e-4 + share * step.volume[c], 2e-4)
        split = (exact[0] + LATE_SHARE * service.dispatched[c], 1e-4)
        usd += split[0] * datacentre.credited_usd(config, c)
        if c in datacentre.CHATS:
            chat_usd += exact[0] * datacentre.average_usd(config, c)
        for kind in ("arrived", "on_time", "late", "lost", "diverted", "expired"):
            mine, its = step.out.metric[f"{kind}_{name}"], step.info[f"metric/{kind}_{name}"][0]
            gaps.look(f"{kind}_{name}", mine, its, split if kind in ("on_time", "late") else exact)
        gaps.look(f"running_{name}", queues.running[c], sim.queue.running[0, c], exact)
        completed = service.on_time[c] + service.late[c]
        gaps.look(f"done_{name}", completed, (sim.flows.on_time + sim.flows.late)[0, c], exact)
    for mine, its in zip(queues.batch_due, sim.queue.batch_due[0], strict=True):
        gaps.look("batch_due", mine, its, exact)
    for term in ("avoided", "slo", "data"):
        mine, its = step.out.reward[term], step.info[f"reward/{term}"][0]
        gaps.look(f"reward/{term}", mine, its, (usd, 1e-4))
    compare_util(gaps, step, service, share)
    return chat_usd


def compare_util(gaps: Gaps, step: Step, service: queueing.Service, share: float) -> None:
    """Compare how busy the cars of each region and accelerator are.

    The tables are coarse for less than a slot: a tolerance is a share of a car at least.
    """
    sim, names = step.env.sim, list(step.env.config.fleet.accelerators)
    tolerance = TOLERANCE["share"][0] + share, TOLERANCE["share"][1]
    for region, by_group in enumerate(sim.flows.util[0]):
        here = zip(step.row.cars, step.out.shifts, strict=True)
        served_min = sum(shift.serve_min for car, shift in here if car.region == region)
        part = min(1.0, max(1e-9, served_min / step.env.config.step_min))  # of a car
        for g, a in enumerate(sim.setup.group_accelerator):
            within = tolerance[0] / part, tolerance[1]
            gaps.look("util", service.util[region, names[a]], by_group[g], within)
    busy_h, cars = step.out.metric["busy_h"], max(6.0, step.env.config.num_cars)
    gaps.look("busy_h", busy_h, step.info["metric/busy_h"][0], (tolerance[0] * cars, 1e-4))


def compare_money_and_counts(gaps: Gaps, step: Step, capacity_usd: float) -> None:
    """Compare the other terms of the ledger and the other metrics."""
    for term, kind in TERM_KIND.items():
        mine, its = step.out.reward[term], step.info[f"reward/{term}"][0]
        gaps.look(f"reward/{term}", mine, its, TOLERANCE[kind])
    mine, its = step.out.reward["capacity"], step.info["reward/capacity"][0]
    gaps.look("reward/capacity", mine, its, (capacity_usd, 1e-4))
    apart = {"ttft_request_s"}  # mean waits have tests of their own (test_serving)
    if step.env.config.reward.noise_usd_per_quiet_h == 0.0:
        apart.add("quiet_h")  # not counted where it costs nothing
    for name in set(METRICS) - apart:
        if name.endswith(CLASSES) or name == "busy_h":
            continue
        mine, its = step.out.metric.get(name, 0.0), step.info[f"metric/{name}"][0]
        gaps.look(name, mine, its, TOLERANCE[METRIC_KIND.get(name, "exact")])


def compare_cars(gaps: Gaps, step: Step, mask: BoolArray) -> None:
    """Compare the mask before the step, and all that it left behind in the cars."""
    row, config, t_h = step.row, step.env.config, step.env.sim.t_h
    stays = step.env.sim.world.derived.reason == ALLOWED
    told_all = config.telemetry == type(config.telemetry)()  # else the mask is what reports allow
    now, shifts = read_states(step.env), step.out.shifts
    pairs = zip(row.cars, row.states, now, shifts, mask, stays, strict=True)
    for car, mine, its, shift, allowed, stay in pairs:
        if told_all:
            gaps.look("mask", shift.allowed, allowed, TOLERANCE["exact"])
        gaps.look("stay", session_allows(car, its, config), bool(stay), TOLERANCE["exact"])
        compare_twins(gaps, config, car, mine, its, t_h)
        for name in (f.name for f in fields(CarState) if f.name not in APART):
            if name == "ready_min" and not mine.duty and not mine.tail_min:
                continue  # asleep: it means nothing until the next cold start
            kind = STATE_KIND.get(name, "exact")
            gaps.look(name, getattr(mine, name), getattr(its, name), TOLERANCE[kind])
        if config.owners.cap_h_per_month > 0.0:
            gaps.look("duty_h", mine.duty_h, its.duty_h, TOLERANCE["hours"])


def compare_twins(
    gaps: Gaps, config: EnvConfig, car: Car, mine: CarState, its: CarState, t_h: float
) -> None:
    """Compare what a twin has and how it goes on, however it is anchored."""
    standby_w = config.fleet.standby_w
    twins = [twin_soc(car, state, t_h, standby_w) for state in (mine, its)]
    gaps.look("twin", twins[0], twins[1], TOLERANCE["soc"])
    if mine.plugged:  # the depth of a twin's cycle counts from its anchor
        gaps.look("twin_ref", mine.twin_ref, its.twin_ref, TOLERANCE["soc"])
    dark = [state.dark and state.place == HOME and state.plugged for state in (mine, its)]
    gaps.look("dark", dark[0], dark[1], TOLERANCE["exact"])


@dataclass
class Outside:
    """What follows from price and weather of a region, step by step."""

    region: int
    pack_c: float | None = None
    ref_price: float = math.nan

    def compare(self, gaps: Gaps, env: FleetVectorEnv, events: list[Event]) -> None:
        """Compare this step's, and go on to the next."""
        exo, step, per_day = env.sim.exo, env.sim.step_index, round(24 / env.config.dt_h)
        known, r = known_prices(env, self.region, step, events), self.region
        cheapest = sorted(known[:per_day])
        dearest = cheapest[round(env.config.energy.cheap_hours / env.config.dt_h) - 1]
        gaps.look("threshold", dearest, exo.threshold_usd_per_kwh[r, step], (0.0, 1e-6))
        gaps.look("cheap", known[0] <= dearest, exo.cheap[r, step], TOLERANCE["exact"])
        gaps.look("price", known[0], exo.price_usd_per_kwh[r, step], TOLERANCE["exact"])
        if step == 0:
            self.ref_price = math.fsum(known[:per_day]) / per_day
        gaps.look("ref_price", self.ref_price, exo.ref_price_usd_per_kwh[r, step], (0.0, 1e-6))
        ambient_c = float(exo.ambient_c[r, step])
        pack_c = ambient_c if self.pack_c is None else self.pack_c
        gaps.look("pack_c", pack_c, env.sim.pack_c[r], (1e-4, 1e-5))
        tau_h = env.config.thermal.pack_tau_h
        self.pack_c = physics.lag(pack_c, ambient_c, env.config.dt_h, tau_h)

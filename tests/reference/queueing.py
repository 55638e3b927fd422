"""Requests to cars, minute by minute (section 2.4 of the specification)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache

from fleet_env.config import EnvConfig
from fleet_env.types import BATCH_70B, CHAT_8B, CHAT_70B, CLASS_TIER, TIER_8B, TIER_70B
from tests.reference import roofline, waiting
from tests.reference.constants import ACCELERATORS, MODELS

CHATS = (CHAT_8B, CHAT_70B)


@dataclass(frozen=True)
class Demand:
    """Requests that may run in cars, given."""

    chat: tuple[tuple[float, ...], tuple[float, ...]]  # 8B and 70B, per minute
    batch: tuple[float, ...]  # of the step, by deadline in the order of the settings


@dataclass
class Queues:
    """What serving carries from step to step."""

    batch_due: list[float]  # requests waiting, by steps until due
    running: list[float]  # requests in flight, by class
    serving: float = 0.0  # cars that hold 70B and served in the last minute, derated


@dataclass(frozen=True)
class Member:
    """What the queue sees of one car."""

    chip: str
    serve_from: float  # minutes of the step
    serve_until: float
    derate: float
    cut: bool  # its serving ends by a departure or a call-back
    stopped: bool  # served in the step before, now switched off by the agent

    def minutes_in(self, minute: int) -> float:
        """Part of one minute in which this car serves, as full-speed minutes."""
        overlap = min(self.serve_until, minute + 1.0) - max(self.serve_from, float(minute))
        return max(0.0, overlap) * self.derate


@dataclass
class Pool:
    """Cars that hold the same tiers, in minutes of its first accelerator's car."""

    speed: dict[str, float]  # of a car of each accelerator
    need_min: dict[int, float]  # per request of each class it can serve
    slot_s: float
    slack_s: float
    cars: list[float] = field(default_factory=list)  # by minute
    load: list[float] = field(default_factory=list)  # chat work admitted, by minute
    started: list[list[float]] = field(default_factory=list)  # by class and minute

    def busy(self, c: int) -> float:
        """Share of the step's serving time that goes to a class."""
        total = sum(self.cars)
        return sum(self.started[c]) * self.need_min[c] / total if self.serves(c) and total else 0.0

    def serves(self, c: int) -> bool:
        """Whether the tier of a class is in memory."""
        return c in self.need_min


@dataclass
class Service:
    """Requests of one step by class, and the busy share of the serving cars by accelerator."""

    arrived: list[float]
    dispatched: list[float]
    on_time: list[float]
    late: list[float]
    lost: list[float]
    diverted: list[float]
    expired: list[float]
    util: dict[str, float]
    busy_min: float = 0.0  # car-minutes of work
    crowded: bool = False  # the admission limit was met


def make_pools(config: EnvConfig) -> list[Pool]:
    """Sort the accelerators by what they hold: only 8B, only 70B, both."""
    pools = []
    for tiers in ((TIER_8B,), (TIER_70B,), (TIER_8B, TIER_70B)):
        names = config.fleet.accelerators
        chips = [n for n in names if roofline.resident_tiers(ACCELERATORS[n], config) == tiers]
        if chips:
            pools.append(_make_pool(config, chips, tiers))
    return pools


def _make_pool(config: EnvConfig, chips: list[str], tiers: tuple[int, ...]) -> Pool:
    serving, demand = config.serving, config.demand
    nominal = {TIER_8B: 1.0 - demand.chat_70b_share, TIER_70B: demand.chat_70b_share}
    share = nominal if len(tiers) == 2 else {tiers[0]: 1.0}

    def rate(chip: str, tier: int) -> float:
        tokens = roofline.tokens_per_s(
            ACCELERATORS[chip], MODELS[tier], demand, serving.batch_slots
        )
        return tokens / demand.output_tokens / serving.redundancy

    mixed = {chip: sum(share[t] * rate(chip, t) for t in tiers) for chip in chips}
    first_token_s = [
        serving.rtt_s + roofline.prefill_s(ACCELERATORS[chip], MODELS[t], demand)
        for chip in chips
        for t in tiers
        if share[t] > 0.0
    ]
    reference = chips[0]
    return Pool(
        speed={chip: mixed[chip] / mixed[reference] for chip in chips},
        need_min={
            c: 1.0 / (60.0 * rate(reference, tier))
            for c, tier in enumerate(CLASS_TIER)
            if tier in tiers
        },
        slot_s=serving.batch_slots / mixed[reference],
        slack_s=serving.ttft_slo_s - max(first_token_s),
    )


@cache
def p_late(slots: float, rho: float, slack_slots: float) -> float:
    """Probability that a request waits longer than `slack_slots` mean slot times."""
    if rho <= 0.0 or slots <= 0.0:
        return 0.0
    load = rho * slots
    return waiting.p_wait(slots, load) * math.exp(-(slots - load) * slack_slots)


@cache
def rho_max(slots: float, slack_slots: float, quantile: float) -> float:
    """Largest load per slot at which at most `1 - quantile` of the requests wait too long."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        if p_late(slots, middle, slack_slots) <= 1.0 - quantile:
            low = middle
        else:
            high = middle
    return low


def play(config: EnvConfig, members: list[Member], queues: Queues, demand: Demand) -> Service:
    """Serve the requests of one step; `queues` is changed in place."""
    minutes = config.step_min
    pools = make_pools(config)
    _switch_off(config, members, queues)
    for pool in pools:
        mine = [m for m in members if m.chip in pool.speed]
        for j in range(minutes):
            pool.cars.append(sum(pool.speed[m.chip] * m.minutes_in(j) for m in mine))
        pool.load = [0.0] * minutes
        pool.started = [[0.0] * minutes for _ in CLASS_TIER]
    late = [0.0, 0.0, 0.0]
    crowded = False
    for j in range(minutes):
        crowded |= _chat_minute(config, pools, demand, late, j)
    _batch(config, pools, queues, demand)
    queues.serving = sum(m.minutes_in(minutes - 1) for m in members if _holds_batch(m.chip, config))
    service = _tally(config, pools, members, queues, demand, late)
    service.crowded = crowded
    return service


def _holds_batch(chip: str, config: EnvConfig) -> bool:
    return TIER_70B in roofline.resident_tiers(ACCELERATORS[chip], config)


def _switch_off(config: EnvConfig, members: list[Member], queues: Queues) -> None:
    """Batch work in cars that the agent stops returns to the queue."""
    stopped = sum(m.derate for m in members if m.stopped and _holds_batch(m.chip, config))
    if not config.serving.lose_work or stopped == 0.0:
        return
    share = min(1.0, stopped / max(queues.serving, 1e-12))
    back = share * queues.running[BATCH_70B]
    queues.running[BATCH_70B] -= back
    queues.batch_due[1] += back


def _chat_minute(
    config: EnvConfig, pools: list[Pool], demand: Demand, late: list[float], j: int
) -> bool:
    """Admit the chat of one minute, pool after pool; what is left over is nobody's."""
    slots_per_car = config.serving.batch_slots
    rest = {c: demand.chat[c][j] for c in CHATS}
    crowded = False
    for pool in pools:
        mine = [c for c in CHATS if pool.serves(c)]
        work = sum(rest[c] * pool.need_min[c] for c in mine)
        cars = pool.cars[j]
        if work == 0.0 or cars == 0.0:
            continue
        slots, slack = slots_per_car * cars, pool.slack_s / pool.slot_s
        limit = rho_max(slots, slack, config.serving.slo_quantile) * cars
        crowded |= work > limit
        pool.load[j] = min(work, limit)
        missing = p_late(slots, pool.load[j] / cars, slack)
        for c in mine:
            served = rest[c] * min(1.0, limit / work)
            pool.started[c][j] = served
            late[c] += served * missing
            rest[c] -= served
    return crowded


def _batch(config: EnvConfig, pools: list[Pool], queues: Queues, demand: Demand) -> None:
    """Batch work takes what chat leaves, minute by minute, the earliest deadline first."""
    minutes = config.step_min
    new = sum(demand.batch) / minutes
    takers = [pool for pool in pools if pool.serves(BATCH_70B)]
    backlog, total, last = sum(queues.batch_due), 0.0, 0.0
    rooms = [
        [(p.cars[j] - p.load[j]) / p.need_min[BATCH_70B] for j in range(minutes)] for p in takers
    ]
    for hours, requests in zip(config.demand.batch_deadline_shares, demand.batch, strict=True):
        queues.batch_due[math.ceil(float(hours) / config.dt_h - 1e-9)] += requests
    for j in range(minutes):
        last = min(backlog + new, sum(room[j] for room in rooms))
        backlog += new - last
        total += last
        for pool, room in zip(takers, rooms, strict=True):
            share = sum(room) / max(sum(map(sum, rooms)), 1e-300)
            pool.started[BATCH_70B][j] = last * share
    for d in range(len(queues.batch_due)):
        taken = min(total, queues.batch_due[d])
        queues.batch_due[d] -= taken
        total -= taken


def _tally(
    config: EnvConfig,
    pools: list[Pool],
    members: list[Member],
    queues: Queues,
    demand: Demand,
    late: list[float],
) -> Service:
    """What completed, what died with its car, and what the data centre gets."""
    slots = config.serving.batch_slots
    arrived = [sum(demand.chat[0]), sum(demand.chat[1]), sum(demand.batch)]
    dispatched = [sum(sum(pool.started[c]) for pool in pools) for c in range(3)]
    on_time, lost = [0.0] * 3, [0.0] * 3
    for c in range(3):
        there = queues.running[c] + dispatched[c]
        if config.serving.lose_work:
            held = sum(
                m.derate * slots * pool.busy(c)
                for m in members
                for pool in pools
                if m.cut and m.chip in pool.speed
            )
            lost[c] = min(there, held)
        serving = [pool for pool in pools if pool.serves(c)]
        in_flight = sum(slots * pool.need_min[c] * pool.started[c][-1] for pool in serving)
        queues.running[c] = min(there - lost[c], in_flight)
        completed = there - lost[c] - queues.running[c]
        late[c] = min(late[c], completed)
        on_time[c] = completed - late[c]
    expired = queues.batch_due.pop(0)
    queues.batch_due.append(0.0)
    queues.batch_due[0] += lost[BATCH_70B]  # due at the end of the next step
    return Service(
        arrived=arrived,
        dispatched=dispatched,
        on_time=on_time,
        late=late,
        lost=[lost[0], lost[1], 0.0],
        diverted=[arrived[0] - dispatched[0], arrived[1] - dispatched[1], 0.0],
        expired=[0.0, 0.0, expired],
        util={chip: sum(map(pool.busy, range(3))) for pool in pools for chip in pool.speed},
        busy_min=_busy_min(pools, members, config.step_min),
    )


def _busy_min(pools: list[Pool], members: list[Member], minutes: int) -> float:
    """Car-minutes of work, each car at its own speed."""
    busy_min = 0.0
    for m in members:
        util = sum(sum(map(pool.busy, range(3))) for pool in pools if m.chip in pool.speed)
        busy_min += util * sum(m.minutes_in(j) for j in range(minutes))
    return busy_min

"""Requests to cars, minute by minute (section 2.4 of the specification, 5.1 and 5.7)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fleet_env.config import EnvConfig
from fleet_env.types import BATCH_70B, TIER_70B
from tests.reference import chat, losses, roofline
from tests.reference.constants import ACCELERATORS
from tests.reference.pools import Member, Pool, make_pools


@dataclass(frozen=True)
class Demand:
    """Requests that may run in cars, given."""

    chat: tuple[tuple[tuple[float, ...], ...], ...]  # by region: 8B and 70B, per minute
    batch: tuple[float, ...]  # of the step, by deadline in the order of the settings

    def chat_of_class(self, c: int) -> float:
        """Requests of a class in the step, from everywhere."""
        return sum(sum(people[c]) for people in self.chat)


@dataclass
class Queues:
    """What serving carries from step to step."""

    batch_due: list[float]  # requests waiting, by steps until due
    running: list[float]  # requests in flight, by class
    serving: float = 0.0  # cars that hold 70B and served in the last minute, derated


@dataclass
class Service:
    """Requests of one step by class, and the busy share of the serving cars."""

    arrived: list[float]
    dispatched: list[float]
    on_time: list[float]
    late: list[float]
    lost: list[float]
    diverted: list[float]
    expired: list[float]
    util: dict[tuple[int, str], float]  # by region and accelerator
    busy_min: float = 0.0  # car-minutes of work
    crowded: bool = False  # the admission limit was met


def play(config: EnvConfig, members: list[Member], queues: Queues, demand: Demand) -> Service:
    """Serve the requests of one step; `queues` is changed in place."""
    minutes = config.step_min
    pools = make_pools(config)
    _switch_off(config, pools, members, queues)
    for pool in pools:
        mine = [m for m in members if pool.has(m)]
        pool.cars = [
            sum(pool.speed[m.chip] * m.minutes_in(j) for m in mine) for j in range(minutes)
        ]
    late = [0.0, 0.0, 0.0]
    crowded = False
    for j in range(minutes):
        rest = {(o, c): people[c][j] for o, people in enumerate(demand.chat) for c in chat.CHATS}
        crowded |= chat.play_minute(config, pools, rest, late, j)
    _batch(config, pools, queues, demand)
    queues.serving = sum(m.minutes_in(minutes - 1) for m in members if holds_batch(m.chip, config))
    service = _tally(config, pools, members, queues, demand, late)
    service.crowded = crowded
    return service


def holds_batch(chip: str, config: EnvConfig) -> bool:
    """Whether batch work can run on an accelerator."""
    return TIER_70B in roofline.resident_tiers(ACCELERATORS[chip], config)


def _switch_off(
    config: EnvConfig, pools: list[Pool], members: list[Member], queues: Queues
) -> None:
    """Batch work in cars that the agent stops returns to the queue, as far as it is not saved."""
    stopped = sum(m.speed for m in members if m.stopped and holds_batch(m.chip, config))
    if stopped == 0.0:
        return
    slot_s = next(_slot_s(config, p, BATCH_70B) for p in pools if p.serves(BATCH_70B))
    unsaved = losses.lost_per_slot(config, BATCH_70B, slot_s)
    unsaved /= losses.held_per_slot(config, BATCH_70B, slot_s)
    share = min(1.0, stopped / max(queues.serving, 1e-12))
    back = share * queues.running[BATCH_70B] * unsaved
    queues.running[BATCH_70B] -= back
    queues.batch_due[1] += back


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
    arrived = [demand.chat_of_class(0), demand.chat_of_class(1), sum(demand.batch)]
    dispatched = [sum(sum(pool.started[c]) for pool in pools) for c in range(3)]
    on_time, lost = [0.0] * 3, [0.0] * 3
    for c in range(3):
        there = queues.running[c] + dispatched[c]
        lost[c] = min(there, _dies(config, pools, members, c))
        queues.running[c] = min(there - lost[c], _in_flight(config, pools, c))
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
        util={(p.region, chip): sum(map(p.busy, range(3))) for p in pools for chip in p.speed},
        busy_min=_busy_min(pools, members, config.step_min),
    )


def _slot_s(config: EnvConfig, pool: Pool, c: int) -> float:
    return 60.0 * config.serving.batch_slots * pool.need_min[c]


def _in_flight(config: EnvConfig, pools: list[Pool], c: int) -> float:
    """Requests that the busy slots of the last minute hold."""
    held = 0.0
    for pool in pools:
        if pool.serves(c):
            slots = config.serving.batch_slots * pool.need_min[c] * pool.started[c][-1]
            held += slots * losses.held_per_slot(config, c, _slot_s(config, pool, c))
    return held


def _dies(config: EnvConfig, pools: list[Pool], members: list[Member], c: int) -> float:
    """Requests that the busy slots of leaving cars take with them."""
    dying = 0.0
    for pool in pools:
        if pool.serves(c):
            gone = sum(m.speed for m in members if m.cut and pool.has(m))
            per_slot = losses.lost_per_slot(config, c, _slot_s(config, pool, c))
            dying += gone * config.serving.batch_slots * pool.busy(c) * per_slot
    if config.serving.hedge and c != BATCH_70B:  # only what loses both of its cars
        dying *= _gone_share(members, config.step_min)
    return dying


def _gone_share(members: list[Member], minutes: int) -> float:
    """Cars that leave while they serve, over the cars that serve in the mean of the step."""
    gone = sum(m.speed for m in members if m.cut)
    mean = sum(m.minutes_in(j) for m in members for j in range(minutes)) / minutes
    return min(1.0, gone / mean) if mean > 0.0 else 0.0


def _busy_min(pools: list[Pool], members: list[Member], minutes: int) -> float:
    """Car-minutes of work, each car at its own speed."""
    busy_min = 0.0
    for m in members:
        util = sum(sum(map(pool.busy, range(3))) for pool in pools if pool.has(m))
        busy_min += util * sum(m.minutes_in(j) for j in range(minutes))
    return busy_min

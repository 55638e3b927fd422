"""Which cars take whose chat: pools in turn, the nearest region first (docs/model.md 2.4, 5.1).

Arrays begin with the regions and end with the rows: what moves between regions is contiguous.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fleet_env.dynamics.queueing import Place
from fleet_env.dynamics.routes import Leg
from fleet_env.dynamics.serving_setup import NUM_CLASSES, Pool, ServingSetup
from fleet_env.sums import total
from fleet_env.types import BATCH_70B, FloatArray

NUM_INTERACTIVE = BATCH_70B  # the chat classes come first
TINY = 1e-30  # keeps 0 / 0 at 0


@dataclass
class Part:
    """What one pool does in a step."""

    pool: Pool
    need: FloatArray  # (3, 1) reference cars per request in a sub-step
    capacity: FloatArray  # (R, 1, num_envs) reference cars, summed over the sub-steps; > 0
    spare: FloatArray  # (R, num_sub, num_envs) reference cars that chat leaves to batch work
    # (R, 3, 3, num_envs) started, late, started in the last sub-step; by class, batch work later
    counts: FloatArray
    ttft_sum_s: FloatArray  # (num_envs,)
    busy: FloatArray  # (R, 3, num_envs) share of the capacity by class; comes with batch work
    place: Place  # of its slots in the table of waits, (R, num_sub, num_envs)


@dataclass(frozen=True)
class Visit:
    """A round in which people asked for room in a pool."""

    part: int  # number of the pool
    leg: Leg | None  # None: they asked next door
    offered: FloatArray  # (R, num_sub, K, num_envs) requests, by where people are
    room: FloatArray  # (R, num_sub, num_envs) reference cars that chat could still have, by car


@dataclass
class Tape:
    """What serving takes down of a step, so that the worth of capacity can be worked out."""

    visits: list[Visit] = field(default_factory=list)  # in their order
    parts: list[Part] = field(default_factory=list)
    # (num_sub, num_envs) batch work that had come by the end of each sub-step, less the room there
    # had been for it (`y` of docs/model.md 2.4); None: no pool takes batch work
    backlog: FloatArray | None = None


def by_region(values: FloatArray) -> FloatArray:
    """Turn (num_envs, R, groups or classes, num_sub) into (R, num_sub, ..., num_envs)."""
    return np.ascontiguousarray(values.transpose(1, 3, 2, 0))


def admit_chat(
    setup: ServingSetup,
    cars: FloatArray,
    arriving: FloatArray,
    dt_min: float,
    tape: Tape | None = None,
) -> list[Part]:
    """Offer the chat requests to the pools in turn, round by round.

    Parameters
    ----------
    setup : ServingSetup
    cars : FloatArray, shape (R, num_sub, num_groups, num_envs)
    arriving : FloatArray, shape (R, num_sub, 2, num_envs)
        By where people are.
    dt_min : float
    tape : Tape, optional
        Takes down who asked where.

    Returns
    -------
    list of Part
        One per pool; batch work has not been given out yet.
    """
    desks = [_Desk(setup, pool, cars, dt_min) for pool in setup.pools]
    rest = arriving
    for i, desk in enumerate(desks):
        own = rest[:, :, desk.pool.classes]
        _note(tape, i, desk, None, own)
        served = desk.admit(own)
        if setup.num_regions > 1 or desk is not desks[-1]:
            rest = rest.copy() if rest is arriving else rest
            rest[:, :, desk.pool.classes] -= served
    for number in range(setup.num_regions - 1):
        if not rest.any():
            break  # nobody is left to ask
        for i, desk in enumerate(desks):
            if number < len(desk.pool.legs):
                own, leg = rest[:, :, desk.pool.classes], desk.pool.legs[number]
                _note(tape, i, desk, leg, own)
                own -= desk.admit_guests(leg, own)
    parts = [desk.close() for desk in desks]
    if tape is not None:
        tape.parts = parts
    return parts


def _note(
    tape: Tape | None, number: int, desk: _Desk, leg: Leg | None, offered: FloatArray
) -> None:
    if tape is not None:
        tape.visits.append(Visit(number, leg, offered.copy(), desk.room()))


class _Desk:
    """Admits the chat of a step to one pool, in all areas."""

    def __init__(self, setup: ServingSetup, pool: Pool, cars: FloatArray, dt_min: float) -> None:
        self.pool = pool
        self._need = pool.need_min / dt_min
        self._chat_need = self._need[pool.classes, 0].tolist()
        capacity = cars[:, :, pool.groups[0]]
        for group, speed in zip(pool.groups[1:], pool.speed[1:], strict=True):
            capacity = capacity + speed * cars[:, :, group]
        self._capacity, self._some = capacity, np.maximum(capacity, TINY)
        self._place = pool.table.locate(self._some * setup.batch_slots)
        self._limit = pool.table.rho_max(self._place)
        self._limit *= capacity
        # What is summed over the sub-steps: served and late by class, times to the first token,
        # capacity. One buffer, because the order in which numpy adds depends on the length of the
        # axis after the summed one, but not once that exceeds 1: so a row gives the same bits alone
        # and among others.
        num_regions, num_sub, num_envs = capacity.shape
        self._num = len(self._chat_need)
        self._buffer = np.empty((num_regions, num_sub, 2 * self._num + 2, num_envs))
        self._served = self._buffer[:, :, : self._num]
        self._load: FloatArray = np.zeros(())
        self._away: FloatArray | None = None  # round trips of guests, in mean slot times

    def admit(self, offered: FloatArray) -> FloatArray:
        """Take from next door what comes in time of `offered`, (R, num_sub, K, num_envs)."""
        self._load = self._work(offered)
        share = share_that_fits(self._load, self._limit)
        self._load *= share
        return np.multiply(offered, share[:, :, None], out=self._served)

    def room(self) -> FloatArray:
        """Say how many reference cars chat may still load, shape (R, num_sub, num_envs)."""
        room: FloatArray = self._limit - self._load
        return np.maximum(room, 0.0, out=room)

    def admit_guests(self, leg: Leg, offered: FloatArray) -> FloatArray:
        """Take what still fits of the requests from further away; return that, too."""
        if leg.open is not None:
            offered = offered * leg.open
        room = self.room()
        work: FloatArray = np.zeros(room.shape)
        add_at_cars(leg, self._work(offered), work)
        share = share_that_fits(work, room)
        work *= share
        self._load += work
        served = offered * share.take(leg.target, axis=0)[:, :, None]
        add_at_cars(leg, served, self._served)
        away = self._all_classes(served) * leg.away
        self._away = away if self._away is None else self._away + away
        return served

    def close(self) -> Part:
        """Sum up the step, with the waits at the load that all rounds have left behind."""
        pool, num, buffer = self.pool, self._num, self._buffer
        late, wait = pool.table.wait(self._place, self._load / self._some)
        np.multiply(self._served, late[:, :, None], out=buffer[:, :, num:-2])
        np.multiply(self._all_classes(self._served), wait, out=buffer[:, :, -2])
        if self._away is not None:
            buffer[:, :, -2] += self._away
        buffer[:, :, -1] = self._some
        sums: FloatArray = np.add.reduce(buffer, axis=1)
        counts = np.zeros((len(sums), 3, NUM_CLASSES, sums.shape[2]))
        counts[:, :2, pool.classes] = sums[:, :-2].reshape(len(sums), 2, num, -1)
        counts[:, 2, pool.classes] = self._served[:, -1]
        ttft_s = sums[:, -2] * pool.slot_s
        for k, first_token_s in enumerate(pool.first_token_s):
            ttft_s += sums[:, k] * first_token_s
        spare = np.subtract(self._capacity, self._load, out=self._load)
        capacity, busy = sums[:, -1:], counts[:, 0]
        ttft_sum_s = total(ttft_s)
        return Part(pool, self._need, capacity, spare, counts, ttft_sum_s, busy, self._place)

    def _work(self, requests: FloatArray) -> FloatArray:
        return total([requests[:, :, k] * need for k, need in enumerate(self._chat_need)])

    def _all_classes(self, requests: FloatArray) -> FloatArray:
        return total([requests[:, :, k] for k in range(self._num)])


def share_that_fits(work: FloatArray, room: FloatArray) -> FloatArray:
    """Share of the work that fits: all of it, or what fills the room."""
    share = np.maximum(work, TINY)
    np.maximum(share, room, out=share)
    return np.divide(room, share, out=share)


def add_at_cars(leg: Leg, values: FloatArray, cars: FloatArray) -> None:
    """Add what people ask for, by their region, to the region they ask."""
    for people, region in enumerate(leg.target):
        here = cars[region]
        np.add(here, values[people], out=here)

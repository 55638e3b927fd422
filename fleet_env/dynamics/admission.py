"""Which cars take whose chat: pools in turn, the nearest region first (docs/model.md 2.4, 5.1).

Areas are columns, region by region: column `region * num_envs + row`. So a region is a slice, and a
batch with one region has a column per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleet_env.dynamics.routes import Leg
from fleet_env.dynamics.serving_setup import NUM_CLASSES, Pool, ServingSetup
from fleet_env.types import BATCH_70B, FloatArray

NUM_INTERACTIVE = BATCH_70B  # the chat classes come first
TINY = 1e-30  # keeps 0 / 0 at 0


@dataclass
class Part:
    """What one pool does in a step; `areas` = regions times num_envs, region by region."""

    pool: Pool
    need: FloatArray  # (3, 1) reference cars per request in a sub-step
    capacity: FloatArray  # (areas,) reference cars, summed over the sub-steps; > 0
    spare: FloatArray  # (num_sub, areas) reference cars that chat leaves to batch work
    counts: FloatArray  # (3, 3, num_envs) dispatched, late, dispatched at the end; by class
    ttft_sum_s: FloatArray  # (num_envs,)
    started: FloatArray  # (3, areas) requests started here by class; batch work comes last
    busy: FloatArray  # (3, areas) share of the capacity by class; batch work comes last


def columns(values: FloatArray) -> FloatArray:
    """Put areas into columns: (num_envs, R, ...) becomes contiguous (..., R * num_envs)."""
    if values.shape[1] == 1:
        return np.ascontiguousarray(values[:, 0].transpose())
    turned = np.ascontiguousarray(values.transpose())
    return turned.reshape(*turned.shape[:-2], -1)


def total(parts: Sequence[FloatArray]) -> FloatArray:
    """Add arrays in their order, whatever their shape."""
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result


def over_regions(values: FloatArray, num_regions: int) -> FloatArray:
    """Add up the columns of a row: (..., R * num_envs) becomes (..., num_envs)."""
    if num_regions == 1:
        return values
    return total(by_region(values, num_regions))


def by_region(values: FloatArray, num_regions: int) -> list[FloatArray]:
    """Slice the columns by region."""
    num = values.shape[-1] // num_regions
    return [values[..., start : start + num] for start in range(0, num * num_regions, num)]


def admit_chat(
    setup: ServingSetup, cars: FloatArray, arriving: FloatArray, dt_min: float
) -> list[Part]:
    """Offer the chat requests to the pools in turn, round by round.

    Parameters
    ----------
    setup : ServingSetup
    cars : FloatArray, shape (num_sub, num_groups, areas)
    arriving : FloatArray, shape (num_sub, 2, areas)
        By where people are.
    dt_min : float

    Returns
    -------
    list of Part
        One per pool; batch work has not been given out yet.
    """
    desks = [_Desk(setup, pool, cars, dt_min) for pool in setup.pools]
    rest = arriving
    for number in range(setup.num_regions):
        for desk in desks:
            leg, offered = desk.pool.legs[number], rest[:, desk.pool.classes]
            if leg is None or (number and not offered.any()):
                continue  # nobody is left to ask: nothing would change
            served = desk.admit(leg, offered)
            if number + 1 < setup.num_regions or desk is not desks[-1]:
                rest = rest.copy() if rest is arriving else rest
                rest[:, desk.pool.classes] -= served
    return [desk.close() for desk in desks]


class _Desk:
    """Admits the chat of a step to one pool, in all areas."""

    def __init__(self, setup: ServingSetup, pool: Pool, cars: FloatArray, dt_min: float) -> None:
        self.pool, self._num_regions = pool, setup.num_regions
        self._need = pool.need_min / dt_min
        self._capacity = cars[:, pool.groups[0]]
        for group, speed in zip(pool.groups[1:], pool.speed[1:], strict=True):
            self._capacity = self._capacity + speed * cars[:, group]
        self._some = np.maximum(self._capacity, TINY)
        self._place = pool.table.locate(self._some * setup.batch_slots)
        shape = (len(self._some), 2 * pool.num_chat + 2, self._some.shape[1])
        self._buffer = np.empty(shape)  # what is summed over the sub-steps, see `_sum_up`
        self._load: FloatArray = np.zeros(())
        self._admitted: list[tuple[Leg, FloatArray]] = []  # what each round serves

    def admit(self, leg: Leg, offered: FloatArray) -> FloatArray:
        """Take what comes in time of `offered`, shape (num_sub, K, areas), and return that."""
        if leg.open is not None:
            offered = offered * self._columns(leg.open)
        need = self._need[self.pool.classes, 0].tolist()
        work = self._at_cars(leg, total([offered[:, k] * n for k, n in enumerate(need)]))
        limit = leg.table.rho_max(self._place)
        limit *= self._capacity
        if self._admitted:
            limit -= self._load
            np.maximum(limit, 0.0, out=limit)
        share = np.maximum(work, TINY)
        np.maximum(share, limit, out=share)
        np.divide(limit, share, out=share)
        work *= share
        self._load = self._load + work if self._admitted else work
        out = None if self._admitted else self._buffer[:, : len(need)]
        served: FloatArray = np.multiply(offered, self._at_people(leg, share)[:, None], out=out)
        self._admitted.append((leg, served))
        return served

    def close(self) -> Part:
        """Sum up the step, with the waits at the load that all rounds have left behind."""
        pool, num, num_regions = self.pool, self.pool.num_chat, self._num_regions
        # before the buffer, which holds what the first round serves, is used for others
        last = over_regions(total([served[-1] for _, served in self._admitted]), num_regions)
        waits, free = pool.table.waits(self._place, self._load / self._some)
        sums = [self._sum_up(leg, served, waits, free) for leg, served in self._admitted]
        by_row = over_regions(total(sums), num_regions)
        counts = np.zeros((3, NUM_CLASSES, by_row.shape[1]))
        counts[:2, pool.classes] = by_row[: 2 * num].reshape(2, num, -1)
        counts[2, pool.classes] = last
        started = counts[0]
        if num_regions > 1:
            started = np.zeros((NUM_CLASSES, sums[0].shape[1]))
            started[pool.classes] = total(
                [
                    self._at_cars(leg, own[:num])
                    for (leg, _), own in zip(self._admitted, sums, strict=True)
                ]
            )
        spare = np.subtract(self._capacity, self._load, out=self._load)
        return Part(pool, self._need, sums[0][-1], spare, counts, by_row[-2], started, started)

    def _sum_up(
        self, leg: Leg, served: FloatArray, waits: FloatArray, free: FloatArray
    ) -> FloatArray:
        """Sum a round over the sub-steps, by where people are.

        One buffer holds all that is summed, because the order in which numpy adds depends on the
        length of the axis after the summed one, but not once that exceeds 1: so a row gives the
        same bits alone and among others.

        Parameters
        ----------
        served : FloatArray, shape (num_sub, K, areas)
            By where people are.
        waits, free : FloatArray, shape (num_sub, areas)
            See `WaitTable.waits`; by where the cars are.

        Returns
        -------
        FloatArray, shape (2 K + 2, areas)
            Served and late by class, times to the first token, capacity of the cars here.
        """
        num, buffer = served.shape[1], self._buffer
        if leg.target is not None:
            buffer[:, :num] = served
        late = self._at_people(leg, leg.table.late(waits, free))
        np.multiply(served, late[:, None], out=buffer[:, num:-2])
        wait = self._at_people(leg, waits / free)
        np.multiply(total([served[:, k] for k in range(num)]), wait, out=buffer[:, -2])
        buffer[:, -1] = self._some
        sums: FloatArray = np.add.reduce(buffer, axis=0)
        ttft_s = sums[-2]
        ttft_s *= self.pool.slot_s
        # next door it takes the same time everywhere
        away = self._columns(leg.first_token_s) if leg.target else leg.first_token_s[:, 0].tolist()
        for own, first_token_s in zip(sums[:num], away, strict=True):
            ttft_s += own * first_token_s
        return sums

    def _columns(self, by_region: FloatArray) -> FloatArray:
        """Give every column the value of its region: (..., R) becomes (..., areas)."""
        if self._num_regions == 1:
            return by_region
        return by_region.repeat(self._some.shape[1] // self._num_regions, axis=-1)

    def _at_cars(self, leg: Leg, values: FloatArray) -> FloatArray:
        """Move columns from where people are to where they ask for cars; add up who meets."""
        if leg.target is None:
            return values
        own = by_region(values, self._num_regions)
        return np.concatenate(
            [
                total([own[people] for people in askers]) if askers else np.zeros(own[0].shape)
                for askers in leg.askers
            ],
            axis=-1,
        )

    def _at_people(self, leg: Leg, values: FloatArray) -> FloatArray:
        """Look up columns of cars for the people who ask there."""
        if leg.target is None:
            return values
        there = by_region(values, self._num_regions)
        return np.concatenate([there[region] for region in leg.target], axis=-1)

"""What cars can serve, and the fluid queue of one decision step (docs/model.md 2.4).

Work is measured in minutes of a *reference car* of a pool; a faster car of the same pool counts as
several reference cars. Interactive work is admitted up to the load at which its first token still
comes in time and goes to the data centre beyond it; batch work takes every slot that is left and
gives it back at once (a batch request pauses between two decode steps).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from fleet_env.dynamics.serving_setup import NUM_CLASSES, Pool, ServingSetup
from fleet_env.types import BATCH_70B, FloatArray

NUM_INTERACTIVE = BATCH_70B  # the chat classes come first
TINY = 1e-30  # keeps 0 / 0 at 0


@dataclass(frozen=True)
class QueueState:
    """What serving carries from step to step, float64, rewritten in place."""

    batch_due: FloatArray  # (num_envs, max_due + 1) requests waiting, by steps until due
    running: FloatArray  # (num_envs, 3) requests in flight

    @classmethod
    def zeros(cls, num_envs: int, setup: ServingSetup) -> QueueState:
        """Nothing queued, nothing in flight."""
        return cls(np.zeros((num_envs, setup.max_due + 1)), np.zeros((num_envs, NUM_CLASSES)))


@dataclass(frozen=True)
class ServiceFlows:
    """Requests of one step by class, shape (num_envs, 3) unless said.

    ``arrived + queued_before + running_before = on_time + late + lost + diverted + expired +
    queued_after + running_after`` for every class; only batch work queues.
    """

    arrived: FloatArray
    dispatched: FloatArray  # started in a car
    on_time: FloatArray  # completed in a car within the limit
    late: FloatArray  # completed in a car, first token after the limit; interactive only
    lost: FloatArray  # died with a leaving car, redone by the data centre; interactive only
    diverted: FloatArray  # sent to the data centre on arrival; interactive only
    expired: FloatArray  # sent to the data centre at the deadline; batch only
    # (num_envs,) batch requests that fell back into the queue from cars that stopped
    requeued: FloatArray
    # (num_envs,) request-seconds: mean TTFT times the interactive requests dispatched
    ttft_sum_s: FloatArray
    # (num_envs, num_groups) busy share of the serving car-minutes; 0 where there are none
    util: FloatArray


def serve(
    setup: ServingSetup,
    cars: FloatArray,
    chat: FloatArray,
    batch_due: FloatArray,
    batch_new: FloatArray,
    running: FloatArray,
    lost_cars: FloatArray,
    off_share: FloatArray,
    dt_min: float = 1.0,
) -> ServiceFlows:
    """Serve the requests of one decision step.

    Every sub-step is in equilibrium on its own: chat is admitted up to the load that keeps its
    first token in time, batch work takes the rest of the capacity, earliest deadline first.
    Equations: docs/model.md 2.4.

    Parameters
    ----------
    setup : ServingSetup
    cars : FloatArray, shape (num_envs, num_groups, num_sub)
        Serving cars times derating factor, mean of each sub-step.
    chat : FloatArray, shape (num_envs, 2, num_sub)
        Chat requests that may go to cars, arriving in each sub-step (8B, 70B).
    batch_due : FloatArray, shape (num_envs, max_due + 1)
        Batch requests waiting, by steps until due; rewritten in place.
    batch_new : FloatArray, shape (num_envs, len(due_steps))
        Batch requests arriving evenly over the step, by deadline bucket.
    running : FloatArray, shape (num_envs, 3)
        Requests in flight by class; rewritten in place.
    lost_cars : FloatArray, shape (num_envs, num_groups)
        Cars that left while serving in this step.
    off_share : FloatArray, shape (num_envs,)
        Share of the previous step's serving cars that were switched off on purpose.
    dt_min : float
        Length of a sub-step [min].

    Returns
    -------
    ServiceFlows

    Notes
    -----
    All float64. A row's result does not depend on the other rows, bit for bit.
    """
    stopped = _stop_on_purpose(setup, batch_due, running, off_share)
    arriving = np.ascontiguousarray(chat.transpose(2, 1, 0))
    parts = _serve_chat(setup, cars, arriving, dt_min)
    arrived = np.empty((NUM_CLASSES, len(chat)))
    np.add.reduce(arriving, axis=0, out=arrived[:NUM_INTERACTIVE])
    np.add.reduce(batch_new, axis=1, out=arrived[BATCH_70B])
    for k, due in enumerate(setup.due_steps):
        batch_due[:, due] += batch_new[:, k]
    queued = np.add.accumulate(batch_due, axis=1)
    _serve_batch(parts, queued[:, -1], arrived[BATCH_70B])
    dispatched, late, in_flight, lost = _tally(setup, parts, lost_cars)
    left = running.T + dispatched
    np.minimum(lost, left, out=lost)
    left -= lost
    np.minimum(in_flight, left, out=in_flight)
    running[:] = in_flight.T
    left -= in_flight  # has completed
    np.minimum(late, left, out=late)
    left -= late
    diverted = np.maximum(arrived - dispatched, 0.0)
    diverted[BATCH_70B] = 0.0
    expired = np.zeros(arrived.shape)
    expired[BATCH_70B] = _move_queue(batch_due, queued, dispatched[BATCH_70B], lost[BATCH_70B])
    stopped += lost[BATCH_70B]
    lost[BATCH_70B] = 0.0
    return ServiceFlows(
        arrived=arrived.T,
        dispatched=dispatched.T,
        on_time=left.T,
        late=late.T,
        lost=lost.T,
        diverted=diverted.T,
        expired=expired.T,
        requeued=stopped,
        ttft_sum_s=_total([part.ttft_sum_s for part in parts]),
        util=_util(setup, parts),
    )


def _stop_on_purpose(
    setup: ServingSetup, batch_due: FloatArray, running: FloatArray, off_share: FloatArray
) -> FloatArray:
    """Put the batch work of cars switched off back into the queue (chat drains in their tail)."""
    if not setup.lose_work:
        return np.zeros(len(running))
    back = off_share * running[:, BATCH_70B]
    running[:, BATCH_70B] -= back
    batch_due[:, 1] += back
    return back


@dataclass
class _Part:
    """What one pool does in a step."""

    pool: Pool
    need: FloatArray  # (3, 1) reference cars per request in a sub-step
    capacity: FloatArray  # (num_envs,) reference cars, summed over the sub-steps; > 0
    spare: FloatArray  # (num_sub, num_envs) reference cars that chat leaves to batch work
    counts: FloatArray  # (3, 3, num_envs) dispatched, late, dispatched at the end; by class
    ttft_sum_s: FloatArray  # (num_envs,)
    busy: FloatArray  # (3, num_envs) share of the capacity by class; batch work comes last


def _serve_chat(
    setup: ServingSetup, cars: FloatArray, arriving: FloatArray, dt_min: float
) -> list[_Part]:
    """Offer the chat requests, shape (num_sub, 2, num_envs), to the pools in turn."""
    parts = []
    for pool in setup.pools:
        capacity = np.ascontiguousarray(cars[:, pool.groups[0]].T)
        for group, speed in zip(pool.groups[1:], pool.speed[1:], strict=True):
            capacity = capacity + speed * cars[:, group].T
        offered = arriving[:, pool.classes]
        part, share = _admit(pool, setup.batch_slots, capacity, offered, dt_min)
        parts.append(part)
        if pool is not setup.pools[-1]:
            arriving = arriving.copy()
            arriving[:, pool.classes] -= offered * share[:, None]
    return parts


def _admit(
    pool: Pool, batch_slots: int, capacity: FloatArray, offered: FloatArray, dt_min: float
) -> tuple[_Part, FloatArray]:
    """Admit what a pool serves in time and sum it up; return also its share of `offered`."""
    need = pool.need_min / dt_min
    some = np.maximum(capacity, TINY)
    place = pool.table.locate(some * batch_slots)
    limit = pool.table.rho_max(place)
    limit *= capacity
    load = _total([offered[:, k] * n for k, n in enumerate(need[pool.classes, 0].tolist())])
    share = np.maximum(load, TINY)
    np.maximum(share, limit, out=share)
    np.divide(limit, share, out=share)
    load *= share
    late, wait = pool.table.wait(place, np.divide(load, some, out=limit))
    sums, last = _sum_up(offered, share, late, wait, some)
    num = offered.shape[1]
    counts = np.zeros((3, NUM_CLASSES, load.shape[1]))
    counts[:2, pool.classes] = sums[: 2 * num].reshape(2, num, -1)
    counts[2, pool.classes] = last
    ttft_sum_s = sums[-2] * pool.slot_s
    for k in range(num):
        ttft_sum_s += sums[k] * pool.first_token_s[k]
    spare = np.subtract(capacity, load, out=load)
    return _Part(pool, need, sums[-1], spare, counts, ttft_sum_s, counts[0]), share


def _sum_up(
    offered: FloatArray, share: FloatArray, late: FloatArray, wait: FloatArray, capacity: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Sum served and late by class, waits and capacity; and say what the last sub-step serves.

    They share one buffer because the order in which numpy adds depends on the length of the axis
    after the summed one, but not once that exceeds 1: so a row gives the same bits alone and among
    others.
    """
    num_sub, num, num_envs = offered.shape
    buffer = np.empty((num_sub, 2 * num + 2, num_envs))
    served = np.multiply(offered, share[:, None], out=buffer[:, :num])
    np.multiply(served, late[:, None], out=buffer[:, num:-2])
    np.multiply(_total([served[:, k] for k in range(num)]), wait, out=buffer[:, -2])
    buffer[:, -1] = capacity
    return np.add.reduce(buffer, axis=0), served[-1]


def _serve_batch(parts: list[_Part], queued: FloatArray, new: FloatArray) -> None:
    """Give the spare capacity to batch work and note in each part what it started.

    With ``y_j`` = backlog at the start + arrivals - room up to sub-step j, the room left unused
    until then is ``-min(0, min over i <= j of y_i)``; what is started is the room less that,
    exactly 0 without a car. Arrivals are spread evenly.
    """
    hosts = [part for part in parts if part.need[BATCH_70B, 0] > 0.0]
    if hosts:
        rooms = [part.spare / part.need[BATCH_70B, 0] for part in hosts]
        room = _total(rooms)
        sum_room = np.add.accumulate(room, axis=0)
        y = np.multiply(_ramp(len(room)), new)
        y += queued - new
        y -= sum_room
        low = np.minimum.reduce(y[:-1], axis=0, initial=0.0)
        last = np.minimum(y[-2] - low + new / len(room), room[-1])
        started = sum_room[-1] + np.minimum(low, y[-1])
        np.minimum(started, queued, out=started)
        for part, own in zip(hosts, rooms, strict=True):
            share = _share(own, sum_room[-1]) if len(hosts) > 1 else 1.0
            np.multiply(share, started, out=part.counts[0, BATCH_70B])
            np.multiply(share, last, out=part.counts[2, BATCH_70B])
    for part in parts:
        part.busy = part.counts[0] * part.need
        part.busy /= part.capacity


@cache
def _ramp(num_sub: int) -> FloatArray:
    """Share of the step that has passed at the end of each sub-step, shape (num_sub, 1)."""
    return np.arange(1.0, num_sub + 1.0)[:, None] / num_sub


def _share(own: FloatArray, total: FloatArray) -> FloatArray:
    """Work out the share of one pool in the room of all.

    A running sum adds in the same order for any number of rows.
    """
    share: FloatArray = np.add.accumulate(own, axis=0)[-1] / np.maximum(total, TINY)
    return share


def _total(parts: Sequence[FloatArray]) -> FloatArray:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _tally(
    setup: ServingSetup, parts: list[_Part], lost_cars: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Count requests dispatched, late, in flight at the end and held by lost cars: (3, num_envs).

    A car holds as many requests as slots are busy: in flight are those of the last sub-step, lost
    those of the mean car.
    """
    dispatched, late, _ = _total([part.counts for part in parts])
    in_flight = _total([part.counts[2] * part.need for part in parts])
    in_flight *= setup.batch_slots
    lost = np.zeros(in_flight.shape)
    if setup.lose_work:
        for part in parts:
            gone = _total([lost_cars[:, group] for group in part.pool.groups])
            lost += part.busy * gone
        lost *= setup.batch_slots
    return dispatched, late, in_flight, lost


def _move_queue(
    batch_due: FloatArray, queued: FloatArray, started: FloatArray, lost: FloatArray
) -> FloatArray:
    """Take `started` requests from the front of the queue and move the rest one step nearer.

    `queued` holds the running sums of `batch_due` and is overwritten. Lost requests come back due
    one step later.
    """
    queued -= started[:, None]
    np.maximum(queued, 0.0, out=queued)
    np.subtract(queued[:, 1:], queued[:, :-1], out=batch_due[:, :-1])
    batch_due[:, -1] = 0.0
    batch_due[:, 0] += lost
    return queued[:, 0]


def _util(setup: ServingSetup, parts: list[_Part]) -> FloatArray:
    util = np.zeros((parts[0].busy.shape[1], setup.num_groups))
    for part in parts:
        share = np.minimum(np.add.reduce(part.busy, axis=0), 1.0)
        for group in part.pool.groups:
            util[:, group] = share
    return util

"""What cars can serve, and the fluid queue of one decision step (docs/model.md 2.4, 5.1, 5.7).

Work is measured in minutes of a *reference car* of a pool; a faster car of the same pool counts as
several reference cars. Interactive work is admitted up to the load at which its first token still
comes in time and goes to the data centre beyond it; batch work takes every slot that is left and
gives it back at once (a batch request pauses between two decode steps).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from fleet_env.dynamics.admission import (
    NUM_INTERACTIVE,
    TINY,
    Part,
    Tape,
    admit_chat,
    by_region,
)
from fleet_env.dynamics.serving_setup import NUM_CLASSES, ServingSetup
from fleet_env.sums import total
from fleet_env.types import BATCH_70B, FloatArray


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
    # (num_envs, R, num_groups) busy share of the serving car-minutes; 0 where there are none
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
    tape: Tape | None = None,
) -> ServiceFlows:
    """Serve the requests of one decision step.

    Every sub-step is in equilibrium on its own: chat is admitted up to the load that keeps its
    first token in time, batch work takes the rest of the capacity, earliest deadline first. `R` is
    the number of regions. Equations: docs/model.md 2.4, 5.1, 5.7.

    Parameters
    ----------
    setup : ServingSetup
    cars : FloatArray, shape (num_envs, R, num_groups, num_sub)
        Serving cars times derating factor, mean of each sub-step.
    chat : FloatArray, shape (num_envs, R, 2, num_sub)
        Chat requests that may go to cars, arriving in each sub-step (8B, 70B), by where people are.
    batch_due : FloatArray, shape (num_envs, max_due + 1)
        Batch requests waiting, by steps until due; rewritten in place.
    batch_new : FloatArray, shape (num_envs, len(due_steps))
        Batch requests arriving evenly over the step, by deadline bucket.
    running : FloatArray, shape (num_envs, 3)
        Requests in flight by class; rewritten in place.
    lost_cars : FloatArray, shape (num_envs, R, num_groups)
        Cars that left while serving in this step.
    off_share : FloatArray, shape (num_envs,)
        Share of the previous step's serving cars that were switched off on purpose.
    dt_min : float
        Length of a sub-step [min].
    tape : Tape, optional
        Takes down what `marginal.capacity_worth` asks for.

    Returns
    -------
    ServiceFlows

    Notes
    -----
    All float64. A row's result does not depend on the other rows, bit for bit.
    """
    requeued = _stop_on_purpose(setup, batch_due, running, off_share)
    arriving = by_region(chat)
    parts = admit_chat(setup, by_region(cars), arriving, dt_min, tape)
    arrived = _count_arrived(arriving, batch_new)
    queued = _take_in(setup, batch_due, batch_new)
    _serve_batch(parts, queued[:, -1], arrived[BATCH_70B], tape)
    dispatched, late, in_flight = _tally(setup, parts)
    lost = _lost(setup, parts, lost_cars, cars)
    on_time = _complete(running, dispatched, in_flight, late, lost)
    diverted = np.maximum(arrived - dispatched, 0.0)
    diverted[BATCH_70B] = 0.0
    expired = np.zeros(arrived.shape)
    expired[BATCH_70B] = _move_queue(batch_due, queued, dispatched[BATCH_70B], lost[BATCH_70B])
    requeued += lost[BATCH_70B]
    lost[BATCH_70B] = 0.0
    return ServiceFlows(
        arrived=arrived.T,
        dispatched=dispatched.T,
        on_time=on_time.T,
        late=late.T,
        lost=lost.T,
        diverted=diverted.T,
        expired=expired.T,
        requeued=requeued,
        ttft_sum_s=total([part.ttft_sum_s for part in parts]),
        util=_util(setup, parts, len(chat)),
    )


def _count_arrived(arriving: FloatArray, batch_new: FloatArray) -> FloatArray:
    """Count the requests of the step by class, shape (3, num_envs)."""
    arrived = np.empty((NUM_CLASSES, len(batch_new)))
    arrived[:NUM_INTERACTIVE] = total(np.add.reduce(arriving, axis=1))
    np.add.reduce(batch_new, axis=1, out=arrived[BATCH_70B])
    return arrived


def _take_in(setup: ServingSetup, batch_due: FloatArray, batch_new: FloatArray) -> FloatArray:
    """Queue the batch work that arrives; return the running sums of the queue."""
    for k, due in enumerate(setup.due_steps):
        batch_due[:, due] += batch_new[:, k]
    queued: FloatArray = np.add.accumulate(batch_due, axis=1)
    return queued


def _complete(
    running: FloatArray,
    dispatched: FloatArray,
    in_flight: FloatArray,
    late: FloatArray,
    lost: FloatArray,
) -> FloatArray:
    """Work out what completes in time; cuts the others to what there is, and moves `running`."""
    left: FloatArray = running.T + dispatched
    np.minimum(lost, left, out=lost)
    left -= lost
    np.minimum(in_flight, left, out=in_flight)
    running[:] = in_flight.T
    left -= in_flight  # has completed
    np.minimum(late, left, out=late)
    left -= late
    return left


def _stop_on_purpose(
    setup: ServingSetup, batch_due: FloatArray, running: FloatArray, off_share: FloatArray
) -> FloatArray:
    """Put the batch work of cars switched off back into the queue (chat drains in their tail)."""
    back: FloatArray = off_share * running[:, BATCH_70B]
    back *= setup.back_share
    running[:, BATCH_70B] -= back
    batch_due[:, 1] += back
    return back


def _serve_batch(parts: list[Part], queued: FloatArray, new: FloatArray, tape: Tape | None) -> None:
    """Give the spare capacity to batch work and note in each part what it started.

    With ``y_j`` = backlog at the start + arrivals - room up to sub-step j, the room left unused
    until then is ``-min(0, min over i <= j of y_i)``; what is started is the room less that,
    exactly 0 without a car. Arrivals are spread evenly.
    """
    hosts = [part for part in parts if part.need[BATCH_70B, 0] > 0.0]
    if hosts:
        rooms = [part.spare / part.need[BATCH_70B, 0] for part in hosts]
        room = total(total(rooms))
        sum_room = np.add.accumulate(room, axis=0)
        y = np.multiply(_ramp(len(room)), new)
        y += queued - new
        y -= sum_room
        if tape is not None:
            tape.backlog = y
        low = np.minimum.reduce(y[:-1], axis=0, initial=0.0)
        last = np.minimum(y[-2] - low + new / len(room), room[-1])
        started = sum_room[-1] + np.minimum(low, y[-1])
        np.minimum(started, queued, out=started)
        alone = len(hosts) * len(rooms[0]) == 1
        for part, own in zip(hosts, rooms, strict=True):
            share = 1.0 if alone else _share(own, sum_room[-1])
            np.multiply(share, started, out=part.counts[:, 0, BATCH_70B])
            np.multiply(share, last, out=part.counts[:, 2, BATCH_70B])
    for part in parts:
        part.busy = part.counts[:, 0] * part.need
        part.busy /= part.capacity


@cache
def _ramp(num_sub: int) -> FloatArray:
    """Share of the step that has passed at the end of each sub-step, shape (num_sub, 1)."""
    return np.arange(1.0, num_sub + 1.0)[:, None] / num_sub


def _share(own: FloatArray, room: FloatArray) -> FloatArray:
    """Work out the share of the areas of one pool in the room of their row.

    A running sum adds in the same order for any number of rows.
    """
    share: FloatArray = np.add.accumulate(own, axis=1)[:, -1] / np.maximum(room, TINY)
    return share


def _tally(setup: ServingSetup, parts: list[Part]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Count requests dispatched, late and in flight at the end, shape (3, num_envs) each.

    A car holds as many requests (of batch work: jobs) as slots are busy in the last sub-step.
    """
    counts = [total(part.counts) for part in parts]
    dispatched, late, _ = total(counts)
    in_flight = total(
        [
            own[2] * part.need * part.pool.losses.held
            for part, own in zip(parts, counts, strict=True)
        ]
    )
    in_flight *= setup.batch_slots
    return dispatched, late, in_flight


def _lost(
    setup: ServingSetup, parts: list[Part], lost_cars: FloatArray, cars: FloatArray
) -> FloatArray:
    """Count requests lost with cars that left, shape (3, num_envs): those of the mean car."""
    left = lost_cars.transpose(2, 1, 0)[:, :, None]
    lost = total(
        [
            total(part.busy * total([left[group] for group in part.pool.groups]))
            * part.pool.losses.lost
            for part in parts
        ]
    )
    lost *= setup.batch_slots
    if setup.hedge:
        serving = cars.reshape(len(cars), -1).sum(axis=1) / cars.shape[-1]
        both = lost_cars.reshape(len(cars), -1).sum(axis=1) / np.maximum(serving, TINY)
        lost[:NUM_INTERACTIVE] *= np.minimum(both, 1.0)
    return lost


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


def _util(setup: ServingSetup, parts: list[Part], num_envs: int) -> FloatArray:
    util = np.zeros((num_envs, setup.num_regions, setup.num_groups))
    for part in parts:
        share = np.minimum(np.add.reduce(part.busy, axis=1), 1.0)
        for group in part.pool.groups:
            util[:, :, group] = share.T
    return util

"""What one more car would have added to a step of serving (docs/model.md 6).

The worth of a step is what its dispatched requests are credited. Serving is piecewise smooth in the
cars of each pool and sub-step, so its slope follows from the chain rule, backwards through the
rounds in which people asked for room: one pass over pools and sub-steps, none over cars. Arrays
begin with the regions and end with the rows, as in `admission`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.dynamics.admission import (
    NUM_INTERACTIVE,
    TINY,
    Part,
    Tape,
    Visit,
    add_at_cars,
    share_that_fits,
)
from fleet_env.dynamics.queueing import Place, WaitTable
from fleet_env.dynamics.routes import Leg
from fleet_env.dynamics.serving_setup import ServingSetup
from fleet_env.sums import total
from fleet_env.types import BATCH_70B, BoolArray, FloatArray


@dataclass(frozen=True)
class Worth:
    """What more capacity would have added to a step, float64."""

    # (num_envs, R, num_groups, num_sub) of one more car of a group in a sub-step [USD]
    car_usd: FloatArray
    # (num_envs,) of room for one more batch request in the last sub-step [USD]: its price where
    # work is left waiting at the end of the step, else 0
    batch_usd: FloatArray


def capacity_worth(setup: ServingSetup, tape: Tape, price_usd: FloatArray) -> Worth:
    """Work out the slope of the credit of a step along the cars of each group and sub-step.

    Parameters
    ----------
    setup : ServingSetup
    tape : Tape
        What `serve` took down.
    price_usd : FloatArray, shape (3,) or (num_envs, 3)
        Credit of a request by class.

    Returns
    -------
    Worth
        Exactly 0 where chat is all admitted and batch work finds room left. At a kink it is the
        slope towards more cars, but where a load meets its limit to the bit.
    """
    num_regions, num_sub, num_envs = tape.visits[0].room.shape
    price = np.broadcast_to(price_usd, (num_envs, price_usd.shape[-1])).T
    waits = _batch_waits(tape.backlog, (num_sub, num_envs))
    spare_usd = [_spare_worth(part, waits * price[BATCH_70B]) for part in tape.parts]
    admitted_usd = _admission_worth(tape, price[:NUM_INTERACTIVE], spare_usd)
    by_group = np.zeros((num_envs, num_regions, setup.num_groups, num_sub))
    for part, spare, admitted in zip(tape.parts, spare_usd, admitted_usd, strict=True):
        reference_usd = admitted * limit_slope(part.pool.table, part.place) + spare
        for group, speed in zip(part.pool.groups, part.pool.speed, strict=True):
            by_group[:, :, group] = speed * reference_usd.transpose(2, 0, 1)
    return Worth(by_group, waits[-1] * price[BATCH_70B])


def limit_slope(table: WaitTable, place: Place) -> FloatArray:
    """Load that a pool admits for one more car, shape as `place`.

    The slope of ``c rho_max(c)`` along the servers c: above `rho_max` because a larger pool may run
    closer to full. The headroom of the table is ``base + slope u`` in ``u = scaled / sqrt(1 + c)``.
    """
    u, share = place.scaled_u, place.servers / (1.0 + place.servers)
    base, slope = table.headroom_base.take(place.cell), table.headroom_slope.take(place.cell)
    rho_max = 1.0 - u * (base + slope * u)
    result: FloatArray = rho_max + 0.5 * share * u * (base + 2.0 * slope * u)
    return result


def _batch_waits(backlog: FloatArray | None, shape: tuple[int, int]) -> FloatArray:
    """Say where more room would start more batch work, 1 or 0, (num_sub, num_envs).

    Room helps after the last sub-step in which most of it had been left unused; where none was,
    throughout. With ``y`` = `backlog` what starts is ``sum room + min(0, min_j y_j)``.
    """
    if backlog is None:
        return np.zeros(shape)
    last = len(backlog) - 1 - np.argmin(backlog[::-1], axis=0)
    after: BoolArray = np.arange(len(backlog))[:, None] > last
    after |= np.minimum.reduce(backlog, axis=0) > 0.0  # none was left unused
    return after.astype(np.float64)


def _spare_worth(part: Part, batch_usd: FloatArray) -> FloatArray:
    """Worth of a reference car left to batch work, (num_sub, num_envs) [USD per sub-step]."""
    need = part.need[BATCH_70B, 0]
    return batch_usd / need if need > 0.0 else np.zeros(batch_usd.shape)


def _admission_worth(
    tape: Tape, chat_usd: FloatArray, spare_usd: list[FloatArray]
) -> list[FloatArray]:
    """Worth of one more reference car of load that a pool may admit, by pool, (R, num_sub, E).

    `d_` is the slope of the credit of the step: along the requests that are left when a round has
    been played (whoever is left after the last round earns nothing), and along the load of a pool
    (which takes room from batch work).
    """
    shape = tape.visits[0].room.shape
    d_rest = np.empty((*shape[:2], *chat_usd.shape))
    d_rest[:] = -chat_usd
    d_load = [np.broadcast_to(-spare, shape) for spare in spare_usd]
    d_limit: list[FloatArray] = [np.zeros(shape) for _ in tape.parts]
    for visit in reversed(tape.visits):
        i, part = visit.part, tape.parts[visit.part]
        d_own = d_rest[:, :, part.pool.classes]
        d_room = _play_back(visit, part, d_own, d_load[i])
        d_load[i] = d_load[i] - d_room
        d_limit[i] += d_room
    return d_limit


def _play_back(visit: Visit, part: Part, d_own: FloatArray, d_load: FloatArray) -> FloatArray:
    """Carry slopes back over a round; returns the one along its room, rewrites `d_own`.

    A round with room for all moves the requests into the load. In a full one the share
    ``room / work`` of everybody is served: the load is the limit, whoever asks.
    """
    leg, need = visit.leg, part.need[part.pool.classes]
    doors = 1.0 if leg is None or leg.open is None else leg.open
    offered = visit.offered * doors
    work = _at_cars(leg, _all_classes(offered * need))
    full, some = work > visit.room, np.maximum(work, TINY)
    share = share_that_fits(work, visit.room)
    d_share = _at_cars(leg, _all_classes(d_own * -offered))
    d_room = np.where(full, d_share / some + d_load, 0.0)
    d_work = np.where(full, -d_share * share / some, d_load)
    if leg is not None:
        share, d_work = share.take(leg.target, axis=0), d_work.take(leg.target, axis=0)
    d_own *= 1.0 - doors * share[:, :, None]
    d_own += doors * d_work[:, :, None] * need
    return d_room


def _at_cars(leg: Leg | None, by_people: FloatArray) -> FloatArray:
    """Add up what people ask for by the region that they ask, (R, num_sub, num_envs)."""
    if leg is None:
        return by_people
    by_cars: FloatArray = np.zeros(by_people.shape)
    add_at_cars(leg, by_people, by_cars)
    return by_cars


def _all_classes(values: FloatArray) -> FloatArray:
    return total([values[:, :, k] for k in range(values.shape[2])])

"""The perfect-foresight programme of a fleet-day, relaxed (LP) or whole (MILP) (docs/bounds.md).

Every piece of it is at least as good for the fleet as the simulation, so that its optimum bounds
the return of every policy from above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.oracle.economics import CarSteps
from agents.oracle.limits import Limits
from agents.oracle.market import Market, Shared, shared_rows
from agents.oracle.programme import INFINITY, Programme, Solution
from agents.oracle.stays import Stays, most_kwh
from fleet_env.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Plan:
    """Optimum of the programme."""

    bound_usd: float  # nobody earns more in the episode
    duty: FloatArray  # (car-steps,) share on duty
    busy_h: FloatArray  # (car-steps,)
    owed_kwh: FloatArray  # (car-steps,) at the end of the step
    prices: Prices


@dataclass(frozen=True, slots=True)
class Prices:
    """What capacity is worth at the margin, by step: the duals of the shared rows."""

    work_usd: FloatArray  # (T, a) per hour of work of an undisturbed car
    ready_usd: FloatArray  # (T,) per hour that such a car is ready, for what waiting costs


@dataclass(frozen=True, slots=True)
class Columns:
    """Numbers of the columns of the cars, one per car-step; -1 where there is none."""

    duty: IntArray
    start: IntArray
    stop: IntArray
    busy: IntArray
    refill: IntArray
    owed: IntArray


def foresight(
    cars: CarSteps,
    stays: Stays,
    shop: Market,
    *,
    whole: bool = False,
    scale: float = 1.0,
    limits: Limits | None = None,
    duty: BoolArray | None = None,
    time_limit_s: float = 600.0,
) -> Plan:
    """Solve the programme.

    Parameters
    ----------
    cars, stays, shop
        Pieces of one tape, or of some of its cars.
    whole : bool
        Cars are on duty or not (MILP), not in part (LP).
    scale : float
        Share of the demand that falls to these cars: below 1 for a sample of a fleet.
    limits : Limits, optional
        Of the same car-steps; None: they are left out, which only raises the bound.
    duty : BoolArray, shape (car-steps,), optional
        Hold the cars to these duties: what they can be worth at most. None: the best ones.
    time_limit_s : float

    Returns
    -------
    Plan
    """
    model = Programme()
    columns = _car_columns(model, cars, stays, duty, whole=whole)
    _car_rows(model, columns, cars, stays, whole=whole)
    shared = shared_rows(model, shop, scale)
    some = np.flatnonzero(columns.busy >= 0)
    model.put(
        shared.capacity[cars.step[some], cars.accelerator[some]],
        columns.busy[some],
        cars.speed[some],
    )
    _ready(model, shared.ready, columns, cars, shop)
    if limits is not None:
        _limit_rows(model, columns, cars, limits)
    found = model.solve(whole=whole, time_limit_s=time_limit_s)
    return Plan(
        found.bound,
        _read(found.value, columns.duty),
        _read(found.value, columns.busy),
        _read(found.value, columns.owed),
        _prices(found, shared),
    )


def _prices(found: Solution, shared: Shared) -> Prices:
    """Read the prices, each at the least that the requests' side of the duals allows.

    Where a sample has no car of an accelerator nothing holds its price down; but no class would pay
    more than brings the reduced cost of its work to 0.
    """
    lost_usd = np.abs(found.column_dual[np.maximum(shared.work, 0)])
    lost_usd[shared.work < 0] = np.inf
    work_usd = np.abs(found.row_dual[shared.capacity]) - lost_usd.min(axis=2)
    return Prices(np.maximum(work_usd, 0.0), np.abs(found.row_dual[shared.ready]))


def _car_columns(
    model: Programme, cars: CarSteps, stays: Stays, held: BoolArray | None, *, whole: bool
) -> Columns:
    """Columns of the cars and what they cost by themselves."""
    num = cars.may.size
    kwh_usd = cars.ref_usd + cars.heat_usd
    late = np.divide(cars.start_on_h, cars.on_h, out=np.zeros(num), where=cars.on_h > 0)
    duty_usd = cars.duty_usd + kwh_usd * cars.duty_kwh
    stops = np.zeros(num, np.bool_)
    stops[1:] = cars.runs_on[1:] & cars.may[:-1]

    def some(which: BoolArray, cost: FloatArray, upper: FloatArray | float) -> IntArray:
        number = np.full(num, -1)
        upper = np.broadcast_to(upper, num)
        number[which] = model.columns(int(which.sum()), cost[which], upper[which])
        return number

    all_duty = np.ones(num) if held is None else held.astype(np.float64)
    most = all_duty[cars.may]
    least = np.zeros(most.shape) if held is None else most
    number = int(cars.may.sum())
    duty = np.full(num, -1)
    duty[cars.may] = model.columns(number, -duty_usd[cars.may], most, lower=least, whole=whole)
    return Columns(
        duty=duty,
        start=some(cars.may, late * duty_usd - cars.start_usd, 1.0),
        stop=some(stops, -kwh_usd * cars.tail_kwh, 1.0),
        busy=some(cars.may, -kwh_usd * cars.busy_kwh, INFINITY),
        refill=some(cars.refill_kwh > 0, cars.ref_usd - cars.refill_usd, cars.refill_kwh),
        owed=some(np.ones(num, np.bool_), _owed_value(cars, stays), INFINITY),
    )


def _owed_value(cars: CarSteps, stays: Stays) -> FloatArray:
    """Worth of a kWh owed at the end of each car-step: wear saved, or carried on cheaply."""
    value = cars.gap_usd / 2.0
    value[:-1] += cars.gap_usd[1:] / 2.0 * cars.same[1:]
    value[stays.last] -= stays.carry_usd
    return value


def _car_rows(model: Programme, at: Columns, cars: CarSteps, stays: Stays, *, whole: bool) -> None:
    """Rows of the cars: starts and stops, work while ready, charge owed, departures."""
    _duty_rows(model, at, cars)
    everyone = np.arange(cars.may.size)
    owed = model.rows(everyone.size, 0.0, 0.0)
    model.put(owed, at.owed, 1.0)
    again = everyone[cars.same]
    model.put(owed[again], at.owed[again - 1], -1.0)
    _put(model, owed, at.refill, 1.0)
    for column, kwh in _compute_kwh(at, cars):
        _put(model, owed, column, -kwh)
    forced = np.flatnonzero((cars.forced > 0) & ((at.duty >= 0) | (at.stop >= 0)))
    row = np.full(everyone.size, -1)
    row[forced] = model.rows(forced.size, 0.0)
    _put(model, row, at.refill, 1.0)
    for column, kwh in _compute_kwh(at, cars):
        _put(model, row, column, -kwh * cars.forced)
    _departure_rows(model, at, cars, stays, whole=whole)


def _compute_kwh(at: Columns, cars: CarSteps) -> list[tuple[IntArray, FloatArray]]:
    """Energy of compute of a car-step by column."""
    late = np.divide(cars.start_on_h, cars.on_h, out=np.zeros(cars.may.size), where=cars.on_h > 0)
    return [
        (at.duty, cars.duty_kwh),
        (at.start, -late * cars.duty_kwh),
        (at.busy, cars.busy_kwh),
        (at.stop, cars.tail_kwh),
    ]


def _put(model: Programme, row: IntArray, column: IntArray, value: FloatArray | float) -> None:
    """Add one entry per car-step that has both row and column."""
    some = np.flatnonzero((row >= 0) & (column >= 0))
    model.put(row[some], column[some], np.broadcast_to(value, row.shape)[some])


def _duty_rows(model: Programme, at: Columns, cars: CarSteps) -> None:
    """Duty changes by starts and stops; a start takes time off the work of its step."""
    some = np.flatnonzero((at.duty >= 0) | (at.stop >= 0))
    change = np.full(cars.may.size, -1)
    change[some] = model.rows(some.size, 0.0, 0.0)
    _put(model, change, at.duty, 1.0)
    _put(model, change, at.start, -1.0)
    _put(model, change, at.stop, 1.0)
    before = np.concatenate([[-1], np.where(cars.runs_on[1:], at.duty[:-1], -1)])
    _put(model, change, before, -1.0)
    work = np.full(cars.may.size, -1)
    work[cars.may] = model.rows(int(cars.may.sum()), upper=0.0)
    _put(model, work, at.busy, 1.0)
    _put(model, work, at.duty, -cars.on_h)
    _put(model, work, at.start, cars.start_h)
    tempting = (cars.start_usd < 0) & (before >= 0) & cars.may  # nothing is given back for going on
    once = np.full(cars.may.size, -1)
    once[tempting] = model.rows(int(tempting.sum()), upper=1.0)
    _put(model, once, at.start, 1.0)
    _put(model, once, before, 1.0)


def _departure_rows(
    model: Programme, at: Columns, cars: CarSteps, stays: Stays, *, whole: bool
) -> None:
    """Who owes too much at the departure pays: by event and by kWh (an LP: by their chord)."""
    spent_kwh = most_kwh(cars, len(stays.car))
    some = np.flatnonzero(spent_kwh > stays.free_kwh)
    over_kwh = spent_kwh[some] - stays.free_kwh[some]
    per_event = stays.shortfall_usd[some]
    event = model.columns(some.size, -per_event, 1.0, whole=whole)
    over = model.columns(some.size, -stays.shortfall_usd_per_kwh, over_kwh)
    row = model.rows(some.size, upper=stays.free_kwh[some])
    model.put(row, at.owed[stays.last[some]], 1.0)
    model.put(row, over, -1.0)
    chord = model.rows(some.size, upper=0.0)
    model.put(chord, over, 1.0)
    model.put(chord, event, -over_kwh)


def _ready(model: Programme, row: IntArray, at: Columns, cars: CarSteps, shop: Market) -> None:
    """Chat may load only a share of the cars that are ready."""
    share = shop.chat_share[cars.step] * cars.speed
    for column, hours in ((at.duty, cars.on_h), (at.start, -cars.start_h)):
        some = np.flatnonzero(column >= 0)
        model.put(row[cars.step[some]], column[some], (share * hours)[some])


def _limit_rows(model: Programme, at: Columns, cars: CarSteps, limits: Limits) -> None:
    """Owners' caps, downloads and transformers."""
    if np.isfinite(limits.cap_h):
        row = model.rows(int(cars.car.max(initial=0)) + 1, upper=limits.cap_h)
        some = np.flatnonzero(cars.may)
        model.put(row[cars.car[some]], at.duty[some], cars.on_h[some])
        model.put(row[cars.car[some]], at.start[some], -cars.start_on_h[some])
    for car, step, hours in zip(limits.car, limits.step, limits.hours, strict=True):
        low, high = np.searchsorted(cars.car, (car, car + 1))
        some = np.arange(low, high)[(cars.step[low:high] >= step) & cars.may[low:high]]
        if some.size:
            _download_rows(model, at, cars, some, float(hours))
    if limits.headroom_kwh is not None:
        transformers = limits.headroom_kwh.shape[1]
        place = cars.step * transformers + limits.home
        some = np.flatnonzero((limits.home >= 0) & (at.refill >= 0))
        used, where = np.unique(place[some], return_inverse=True)
        row = model.rows(used.size, upper=limits.headroom_kwh.ravel()[used])
        model.put(row[where], at.refill[some], 1.0 / limits.eta[some])


def _download_rows(
    model: Programme, at: Columns, cars: CarSteps, some: IntArray, hours: float
) -> None:
    """Let a car serve at most the share of a step that its hours on duty are of the download."""
    so_far = model.columns(some.size)
    total = model.rows(some.size, 0.0, 0.0)
    model.put(total, so_far, 1.0)
    model.put(total[1:], so_far[:-1], -1.0)
    model.put(total, at.duty[some], -cars.on_h[some])
    serves = model.rows(some.size, upper=0.0)
    model.put(serves, at.busy[some], 1.0)
    model.put(serves, so_far, -cars.on_h[some] / hours)


def _read(value: FloatArray, column: IntArray) -> FloatArray:
    """Values of columns, 0 where there is none."""
    return np.where(column >= 0, value[np.maximum(column, 0)], 0.0)

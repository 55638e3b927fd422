"""The forecast programme: how much capacity to run in each interval ahead, and what it is worth.

For one fleet, with cohorts `c` and intervals `t` of length `len_t` (quarters for two hours, then
hours), all in cars' worth per `SCALE` cars::

    max  sum_t len_t (value of work - cost of duty + what idle hours save) - starts - peak
    s.t. duty_ct <= cars_ct                    start_ct >= duty_ct - stays_ct duty_c(t-1)
         hours of work and idle hours <= sum_c len_t duty_ct - start_h_c start_ct   by pool
         chat in slices of falling chance that it comes (news vendor), batch by deadline

There are two pools: cars that hold the 8B tier only, and cars that hold both; these do 70B work
one for one, and each pool does 8B work at a speed of its own. Batch work leaves the queue by
deadline, so cumulated work done or lost lies between what is due and what has arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np

from agents.oracle.cohorts import HOLDS_70B, NUM_COHORTS, Cohorts
from agents.oracle.programme import INFINITY, Programme, quiet_solver
from fleet_env.types import FloatArray, IntArray

SCALE = 1000.0  # cars in the programme, whatever the size of the fleet
QUARTERS, HOURS = 8, 22  # intervals: 2 h in quarters, 22 h in hours
NUM_INTERVALS = QUARTERS + HOURS
_EDGES_H = np.concatenate([np.arange(QUARTERS) / 4, np.arange(HOURS + 1) + QUARTERS / 4])
# slices of chat: from the level of one z (in sd from the mean) to the next, with the chance that
# demand is above its middle; a normal law
_SLICE_Z = np.array([-1.28, -0.52, 0.0, 0.52, 1.28, 2.0])
_SLICE_CHANCE = np.array([0.97, 0.80, 0.60, 0.40, 0.20, 0.06])
_AT_LOWER, _BASIC = highspy.HighsBasisStatus.kLower, highspy.HighsBasisStatus.kBasic


@dataclass(frozen=True)
class Grid:
    """Intervals from now to the end of the episode, at most a day."""

    length_h: FloatArray  # (T,) 0 beyond the end
    middle_h: FloatArray  # (T,)

    @classmethod
    def until(cls, end_h: float, step_h: float) -> Grid:
        """Cut the grid at the end of the episode; the first interval is a step at least."""
        edges = np.minimum(_EDGES_H, max(end_h, step_h))
        return cls(np.diff(edges), (_EDGES_H[1:] + _EDGES_H[:-1]) / 2)


@dataclass(frozen=True)
class Wanted:
    """Work of one fleet [cars' worth per car] and what it pays [USD/h of a busy car]."""

    chat_8b: FloatArray  # (T,)
    chat_70b: FloatArray  # (T,)
    chat_sd: FloatArray  # (T,) relative
    due_car_h: FloatArray  # (T,) cumulated batch work due by the end of each interval
    released_car_h: FloatArray  # (T,) cumulated batch work there by the end of each interval
    value_8b: float
    value_70b: float
    value_batch: float
    speed_8b: FloatArray  # (2,) work of an hour of 8B chat: of cars that hold 8B only, of others


@dataclass(frozen=True)
class Peak:
    """What the data centre's peak costs, at average prices [USD/h per car of the fleet]."""

    charge_h: float  # USD per USD/h
    paid: float  # largest hour so far
    last_hour: float  # mean load of the hour that ends now
    all_chat: FloatArray  # (T,) load if no car serves
    usd_8b: float  # load that an hour of a car's 8B chat takes away
    usd_70b: float


@dataclass(frozen=True)
class Plan:
    """What to do, per car of the fleet."""

    duty: FloatArray  # (k, T) cars on duty
    batch_car_h: FloatArray  # (T,) batch work done
    value_usd_per_h: FloatArray  # (2, T) of an hour of a car that holds 8B only, of the others
    small_8b: FloatArray  # (T,) share of the 8B chat served that is done by cars without 70B
    objective_usd: float  # per SCALE cars


class Planner:
    """Solves one programme after the other, each from the basis of the one before.

    Cohorts without cars are left out, so the basis is kept by cohort: what a cohort had when it was
    last there. A basis that does not fit any more is repaired by HiGHS.
    """

    def __init__(self) -> None:
        self._cars = np.empty((3, NUM_COHORTS, NUM_INTERVALS), np.object_)  # duty, start, row
        self._cars[:2], self._cars[2] = _AT_LOWER, _BASIC
        self._shared: tuple[list[Any], list[Any]] | None = None  # statuses of columns, of rows
        self._solver = quiet_solver(solver="simplex")
        self.iterations = 0  # of the last solution

    def solve(self, cohorts: Cohorts, wanted: Wanted, grid: Grid, peak: Peak | None) -> Plan:
        """Plan the hours ahead.

        Raises
        ------
        RuntimeError
            If HiGHS finds no optimum.
        """
        model, some = Programme(), np.flatnonzero(cohorts.num.max(axis=1) > 0)
        duty, rows = _capacity(model, cohorts, some, grid)
        chat, hours_8b = _chat(model, rows, wanted, cohorts, grid)
        batch = _batch(model, rows[1], wanted)
        if peak is not None:
            _peak(model, peak, chat, grid)
        value, dual, objective = self._run(model, some)
        on_duty = np.zeros((NUM_COHORTS, NUM_INTERVALS))
        on_duty[some] = value[duty] / SCALE
        done_8b = wanted.speed_8b[:, None] * value[hours_8b]
        return Plan(
            duty=on_duty,
            batch_car_h=value[batch] / SCALE,
            value_usd_per_h=dual[rows],
            small_8b=done_8b[0] / np.maximum(done_8b.sum(axis=0), 1e-9),
            objective_usd=objective,
        )

    def _run(self, model: Programme, some: IntArray) -> tuple[FloatArray, FloatArray, float]:
        solver = self._solver
        solver.passModel(model.model())
        self._begin(model, some)
        solver.run()
        for presolve in ("choose", "off"):  # anew, where numbers defeat it
            if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
                solver.clearSolver()
                solver.setOptionValue("presolve", presolve)
                solver.run()
        solver.setOptionValue("presolve", "choose")
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise RuntimeError(f"HiGHS: {solver.modelStatusToString(solver.getModelStatus())}")
        self._keep(some)
        info, found = solver.getInfo(), solver.getSolution()
        self.iterations = info.simplex_iteration_count
        dual = np.abs(np.array(found.row_dual))
        return np.array(found.col_value), dual, float(info.objective_function_value)

    def _begin(self, model: Programme, some: IntArray) -> None:
        """Hand the basis of the last programme over, as far as there is one."""
        if self._shared is None:
            return
        columns, rows = self._shared
        duty, start, begun = self._cars[:, some].reshape(3, some.size * NUM_INTERVALS).tolist()
        basis = highspy.HighsBasis()
        basis.col_status, basis.row_status = duty + start + columns, begun + rows
        if (len(basis.col_status), len(basis.row_status)) == (model.num_columns, model.num_rows):
            basis.valid = basis.alien = True
            self._solver.setBasis(basis)

    def _keep(self, some: IntArray) -> None:
        basis, num = self._solver.getBasis(), some.size * NUM_INTERVALS
        columns, rows = list(basis.col_status), list(basis.row_status)
        for part, statuses in enumerate((columns[:num], columns[num : 2 * num], rows[:num])):
            self._cars[part, some] = np.array(statuses, np.object_).reshape(-1, NUM_INTERVALS)
        self._shared = columns[2 * num :], rows[num:]


def _capacity(
    model: Programme, cohorts: Cohorts, some: IntArray, grid: Grid
) -> tuple[IntArray, IntArray]:
    """Cars on duty and their starts; rows of capacity, (2, T), by pool [car-h]."""
    shape = (some.size, NUM_INTERVALS)
    length = np.broadcast_to(grid.length_h, shape)
    most = cohorts.num[some] * SCALE * (length > 0)
    cost = cohorts.usd_per_h[some] * length
    duty = model.columns(most.size, -cost.ravel(), most.ravel()).reshape(shape)
    start_usd = np.repeat(cohorts.start_usd[some], NUM_INTERVALS)
    start = model.columns(most.size, -start_usd).reshape(shape)
    first = np.zeros(shape)
    first[:, 0] = -cohorts.on_duty[some] * SCALE
    begun = model.rows(most.size, first.ravel()).reshape(shape)
    model.put(begun, start, 1.0)
    model.put(begun, duty, -1.0)
    model.put(begun[:, 1:], duty[:, :-1], cohorts.stays[some, 1:])
    lost_h = np.minimum(cohorts.start_h[some][:, None], length)
    rows = model.rows(2 * NUM_INTERVALS, 0.0).reshape(2, NUM_INTERVALS)
    pool = rows[HOLDS_70B[some].astype(np.intp)]
    model.put(pool, duty, length)
    model.put(pool, start, -lost_h)
    return duty, rows


def _chat(
    model: Programme, rows: IntArray, wanted: Wanted, cohorts: Cohorts, grid: Grid
) -> tuple[tuple[IntArray, IntArray], IntArray]:
    """Chat in slices, columns (slices, T) of 8B and of 70B, and the hours of 8B chat, (2, T)."""
    idle_usd = cohorts.idle_usd_per_h
    for row in rows:
        model.put(row, model.columns(NUM_INTERVALS, idle_usd), -1.0)
    served = []
    for chat, value in ((wanted.chat_8b, wanted.value_8b), (wanted.chat_70b, wanted.value_70b)):
        levels = np.maximum(1.0 + _SLICE_Z[:, None] * wanted.chat_sd, 0.0) * chat
        width = np.diff(levels, axis=0, prepend=0.0) * (SCALE * grid.length_h)
        # an hour held for work that does not come is an hour without work
        worth = _SLICE_CHANCE[:, None] * value + (1.0 - _SLICE_CHANCE[:, None]) * idle_usd
        served.append(model.columns(width.size, worth.ravel(), width.ravel()).reshape(width.shape))
    hours_8b = model.columns(2 * NUM_INTERVALS).reshape(rows.shape)
    model.put(rows, hours_8b, -1.0)
    done = model.rows(NUM_INTERVALS, 0.0)
    model.put(np.broadcast_to(done, rows.shape), hours_8b, wanted.speed_8b[:, None])
    shape = served[0].shape
    model.put(np.broadcast_to(done, shape), served[0], -1.0)
    model.put(np.broadcast_to(rows[1], shape), served[1], -1.0)
    return (served[0], served[1]), hours_8b


def _batch(model: Programme, row: IntArray, wanted: Wanted) -> IntArray:
    """Batch work done, by interval."""
    done = model.columns(NUM_INTERVALS, wanted.value_batch)
    lost = model.columns(NUM_INTERVALS)
    total = model.columns(NUM_INTERVALS)
    model.put(row, done, -1.0)
    sums = model.rows(NUM_INTERVALS, 0.0, 0.0)
    model.put(sums, total, 1.0)
    model.put(sums[1:], total[:-1], -1.0)
    model.put(sums, done, -1.0)
    model.put(sums, lost, -1.0)
    due = np.minimum(wanted.due_car_h, wanted.released_car_h)
    between = model.rows(NUM_INTERVALS, due * SCALE, wanted.released_car_h * SCALE)
    model.put(between, total, 1.0)
    return done


def _peak(model: Programme, peak: Peak, chat: tuple[IntArray, IntArray], grid: Grid) -> None:
    """Price the growth of the peak, of hour-means; in the first hour the last one fades out."""
    grows = model.columns(1, -peak.charge_h * SCALE)
    share, past = _hour_windows(grid)
    bounds = share @ peak.all_chat + past * peak.last_hour - peak.paid
    bounds[grid.length_h <= 0] = -INFINITY
    row = model.rows(NUM_INTERVALS, bounds)
    model.put(row, np.broadcast_to(grows, row.shape), 1.0)
    at, source = np.nonzero(share)
    for columns, usd in zip(chat, (peak.usd_8b, peak.usd_70b), strict=True):
        less = usd * share[at, source] / grid.length_h[source] / SCALE
        column = columns[:, source]
        model.put(np.broadcast_to(row[at], column.shape), column, less)


def _hour_windows(grid: Grid) -> tuple[FloatArray, FloatArray]:
    """Mean of the hour that ends with each interval: weights, (T, T), and that of the last hour."""
    length, end = grid.length_h, np.cumsum(grid.length_h)
    from_h = np.maximum(end - 1.0, 0.0)[:, None]
    inside = np.minimum(end, end[:, None]) - np.maximum(end - length, from_h)
    share = np.maximum(inside, 0.0)
    share[length <= 0] = 0.0
    past = np.maximum(1.0 - share.sum(axis=1), 0.0) * (length > 0)
    return share, past

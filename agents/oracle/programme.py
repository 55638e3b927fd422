"""A linear programme put together block by block, and HiGHS that solves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from scipy import sparse

from fleet_env.types import FloatArray, IntArray

INFINITY = highspy.kHighsInf
# how a programme without whole columns is solved, one after the other where numbers defeat HiGHS;
# the vertex is not needed: a point inside gives bound and prices
_INSIDE = {"solver": "ipm", "run_crossover": "off"}
_ATTEMPTS: tuple[dict[str, str], ...] = (
    _INSIDE,
    {"solver": "simplex"},
    _INSIDE | {"presolve": "off"},
    {"solver": "simplex", "presolve": "off"},
)
# what HiGHS ends with then
_IMPRECISE = (
    highspy.HighsModelStatus.kUnknown,
    highspy.HighsModelStatus.kSolveError,
    highspy.HighsModelStatus.kNotset,
)


def quiet_solver(**options: str | float) -> Any:
    """HiGHS on one thread that prints nothing.

    The bare solver: `highspy.Highs` greets on the console as it is made, before it takes options.
    """
    solver = highspy._Highs()  # type: ignore[attr-defined]
    silent = {"log_to_console": False, "output_flag": False, "threads": 1}
    for name, value in {**silent, **options}.items():
        solver.setOptionValue(name, value)
    return solver


@dataclass(frozen=True, slots=True)
class Solution:
    """What HiGHS found."""

    value: FloatArray  # (columns,)
    row_dual: FloatArray  # (rows,) change of the maximum per unit of a row's bound
    column_dual: FloatArray  # (columns,) the same of a column's bound
    objective: float  # of the point found
    bound: float  # no point has more: the objective of the dual, of a MILP the best bound


class Programme:
    """Columns, rows and entries of ``max cost x`` with ``lower <= A x <= upper``."""

    def __init__(self) -> None:
        self._cost: list[FloatArray] = []
        self._upper: list[FloatArray] = []
        self._lower: list[FloatArray] = []
        self._whole: list[FloatArray] = []
        self._rows: list[tuple[FloatArray, FloatArray]] = []
        self._entries: list[tuple[IntArray, IntArray, FloatArray]] = []
        self.num_columns = self.num_rows = 0

    def columns(
        self,
        num: int,
        cost: FloatArray | float = 0.0,
        upper: FloatArray | float = INFINITY,
        *,
        lower: FloatArray | float = 0.0,
        whole: bool = False,
    ) -> IntArray:
        """Add columns, not negative unless said; return their numbers."""
        self._cost.append(np.broadcast_to(np.asarray(cost, np.float64), num))
        self._upper.append(np.broadcast_to(np.asarray(upper, np.float64), num))
        self._lower.append(np.broadcast_to(np.asarray(lower, np.float64), num))
        self._whole.append(np.full(num, float(whole)))
        first, self.num_columns = self.num_columns, self.num_columns + num
        return np.arange(first, first + num)

    def rows(
        self, num: int, lower: FloatArray | float = -INFINITY, upper: FloatArray | float = INFINITY
    ) -> IntArray:
        """Add rows; return their numbers."""
        low = np.broadcast_to(np.asarray(lower, np.float64), num)
        self._rows.append((low, np.broadcast_to(np.asarray(upper, np.float64), num)))
        first, self.num_rows = self.num_rows, self.num_rows + num
        return np.arange(first, first + num)

    def put(self, row: IntArray, column: IntArray, value: FloatArray | float) -> None:
        """Add entries; those that fall together add up."""
        row, column, value = np.broadcast_arrays(row, column, np.asarray(value, np.float64))
        self._entries.append((row.ravel(), column.ravel(), value.ravel()))

    def solve(self, *, whole: bool = False, time_limit_s: float = 600.0) -> Solution:
        """Solve it.

        Parameters
        ----------
        whole : bool
            Hold columns that are declared whole to whole numbers (a MILP).
        time_limit_s : float

        Returns
        -------
        Solution

        Raises
        ------
        RuntimeError
            If HiGHS finds no optimum in time; a MILP may stop early, its `bound` holds.
        """
        model = self.model(whole=whole)
        for options in ({},) if whole else _ATTEMPTS:
            solver = quiet_solver(time_limit=time_limit_s, **options)
            solver.passModel(model)
            solver.run()
            if solver.getModelStatus() not in _IMPRECISE:
                break
        status, info = solver.getModelStatus(), solver.getInfo()
        done = highspy.HighsModelStatus.kOptimal
        if status != done and not (whole and np.isfinite(info.mip_dual_bound)):
            raise RuntimeError(f"HiGHS: {solver.modelStatusToString(status)}")
        found = solver.getSolution()
        row_dual, column_dual = np.array(found.row_dual), np.array(found.col_dual)
        objective = info.objective_function_value
        if whole:
            bound = info.mip_dual_bound
        else:
            bound = max(objective, self.dual_objective(row_dual, column_dual))
        value = np.array(found.col_value)
        return Solution(value, row_dual, column_dual, objective, float(bound))

    def dual_objective(self, row_dual: FloatArray, column_dual: FloatArray) -> float:
        """Objective of the dual of the LP: no point has more, but for what duals are rounded.

        A point inside, as the interior point method leaves it, may lie below the optimum; this lies
        above. `highspy` 1.16 does not hand out HiGHS's own (`getDualObjectiveValue` fills in a
        reference).

        Parameters
        ----------
        row_dual, column_dual : FloatArray, shape (rows,), (columns,)
            Change of the maximum per unit of a bound.

        Returns
        -------
        float
            The sum of duals times the bounds they press on; a dual of the wrong sign where there is
            no bound is a rounding of HiGHS (1e-7 each) and is left out.
        """
        lower = np.concatenate([*(low for low, _ in self._rows), *self._lower])
        upper = np.concatenate([*(high for _, high in self._rows), *self._upper])
        dual = np.concatenate([row_dual, column_dual])
        pressed = np.where(dual > 0, upper, lower)
        some = np.isfinite(pressed)
        return float(dual[some] @ pressed[some])

    def model(self, *, whole: bool = False) -> highspy.HighsLp:
        """Put the blocks together for HiGHS; with `whole` as a MILP."""
        row, column, value = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        shape = (self.num_rows, self.num_columns)
        matrix = sparse.csc_matrix((value, (row, column)), shape=shape)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.num_columns, self.num_rows
        lp.sense_ = highspy.ObjSense.kMaximize
        lp.col_cost_ = np.concatenate(self._cost)
        lp.col_lower_ = np.concatenate(self._lower)
        lp.col_upper_ = np.concatenate(self._upper)
        lp.row_lower_ = np.concatenate([low for low, _ in self._rows])
        lp.row_upper_ = np.concatenate([high for _, high in self._rows])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
        lp.a_matrix_.value_ = matrix.data
        if whole:
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            lp.integrality_ = [kinds[int(flag)] for flag in np.concatenate(self._whole)]
        return lp

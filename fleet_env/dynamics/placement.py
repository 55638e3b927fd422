"""Which model a car loads where its memory does not hold all that fit (kernel 4)."""

from __future__ import annotations

import numpy as np

from fleet_env.types import BoolArray, FloatArray, IntArray


def choose_cars(row: IntArray, candidate: BoolArray, num_wanted: FloatArray) -> BoolArray:
    """Pick the first candidates of every row, as many as wanted.

    Parameters
    ----------
    row : IntArray, shape (n,)
        Row of each car, ascending.
    candidate : BoolArray, shape (n,)
    num_wanted : FloatArray, shape (num_rows,)
        Cars wanted per row; the whole part counts.

    Returns
    -------
    BoolArray, shape (n,)
    """
    before = np.cumsum(candidate)
    counts = np.bincount(row, weights=candidate, minlength=len(num_wanted))
    start = np.concatenate([[0.0], np.cumsum(counts)[:-1]])
    rank = before - start[row]  # 1 for the first candidate of a row
    chosen: BoolArray = candidate & (rank <= num_wanted[row])
    return chosen


def cars_to_reload(short_cars: FloatArray, idle_cars: FloatArray) -> FloatArray:
    """Cars that should change their model: as many as the other tier is short of, if they idle.

    Parameters
    ----------
    short_cars : FloatArray, shape (num_rows,)
        Work of the other tier that cars could not take in the step before, in cars.
    idle_cars : FloatArray, shape (num_rows,)
        Idle share times cars of this group in the step before.
    """
    wanted: FloatArray = np.floor(np.minimum(np.ceil(short_cars), idle_cars))
    return wanted

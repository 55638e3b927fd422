"""The one selection kernel: the best cars of each fleet, with ties in the order of the cars."""

from __future__ import annotations

import numpy as np

from fleet_env.types import BoolArray, FloatArray, IntArray

_SORT_UP_TO_CARS = 4096  # below, sorting a batch of rows at once beats selecting row by row


def take_best(score: FloatArray, num: IntArray, eligible: BoolArray) -> BoolArray:
    """Mark the `num` eligible cars of the highest score in each row.

    Parameters
    ----------
    score : FloatArray, shape (num_envs, num_cars)
        Higher is better; not NaN. Equal scores go by car index, lowest first.
    num : IntArray, shape (num_envs,)
        Cars to take; fewer where fewer are eligible, none where it is not positive.
    eligible : BoolArray, shape (num_envs, num_cars)

    Returns
    -------
    BoolArray, shape (num_envs, num_cars)

    Notes
    -----
    Only the value of the `num`-th best car is looked for, O(num_cars) on average in large
    fleets. A row's answer does not depend on the other rows.
    """
    masked = np.where(eligible, score, -np.inf)
    num = np.clip(num, 0, np.count_nonzero(eligible, axis=1))
    limit = _num_th_best(masked, num)[:, None]
    chosen = masked > limit
    level = (masked == limit) & eligible
    spare = num - np.count_nonzero(chosen, axis=1)
    chosen |= level & (np.cumsum(level, axis=1, dtype=np.int32) <= spare[:, None])
    return chosen


def _num_th_best(score: FloatArray, num: IntArray) -> FloatArray:
    num_cars = score.shape[1]
    place = np.minimum(num_cars - num, num_cars - 1)
    if num_cars <= _SORT_UP_TO_CARS:
        best = np.sort(score, axis=1)[np.arange(len(num)), place]
    else:
        pairs = zip(score, place.tolist(), strict=True)
        best = np.array([np.partition(row, k)[k] for row, k in pairs], score.dtype)
    limit: FloatArray = np.where(num > 0, best, np.inf)
    return limit


def take_best_by_group(
    score: FloatArray, group: IntArray, num: IntArray, eligible: BoolArray
) -> BoolArray:
    """Mark the `num` eligible cars of the highest score in each group of each row.

    Parameters
    ----------
    score : FloatArray, shape (num_envs, num_cars)
        As in `take_best`, which this is where a row is one group.
    group : IntArray, shape (num_envs, num_cars)
        Group of each car, from 0.
    num : IntArray, shape (num_envs, num_groups)
        Cars to take; fewer where fewer are eligible, none where it is not positive.
    eligible : BoolArray, shape (num_envs, num_cars)

    Returns
    -------
    BoolArray, shape (num_envs, num_cars)

    Notes
    -----
    One stable sort of the eligible cars of all rows.
    """
    cars = np.flatnonzero(eligible)
    row = cars // eligible.shape[1]
    key = row * num.shape[1] + group.ravel()[cars]
    order = np.lexsort((-score.ravel()[cars], key))
    cars, key = cars[order], key[order]
    size = np.bincount(key, minlength=num.size)
    first = np.cumsum(size) - size
    place = np.arange(cars.size) - first[key]
    chosen = np.zeros(eligible.shape, np.bool_)
    chosen.ravel()[cars[place < num.ravel()[key]]] = True
    return chosen


def num_of_share(share: FloatArray, num_eligible: IntArray) -> IntArray:
    """Cars that a share stands for, rounded half up; a share outside 0..1 counts as the nearer end.

    Parameters
    ----------
    share : FloatArray, shape (...)
    num_eligible : IntArray, shape (...)

    Returns
    -------
    IntArray, shape (...)
    """
    exact = np.clip(share, 0.0, 1.0).astype(np.float64) * num_eligible
    whole: IntArray = np.floor(exact + 0.5).astype(np.int64)
    return whole

"""Take the best cars of each fleet, with ties in the order of the cars."""

from __future__ import annotations

import numpy as np

from agents.base import Obs, car_field
from agents.heuristics.demand import CarsNeeded
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


def take_by_tier(obs: Obs, score: FloatArray, need: CarsNeeded, eligible: BoolArray) -> BoolArray:
    """Mark the best cars that can do the work: first for the 70B tier, then the rest.

    The classes are nested (what holds 70B also serves 8B), so the best `need_70b` cars that hold
    70B and then the best of all others have the highest total score. Work that too few cars can
    hold is not handed to cars that cannot.

    Returns
    -------
    BoolArray, shape (num_envs, num_cars)
    """
    holds_70b = car_field(obs, "fits_70b") > 0
    if holds_70b.all() or not (eligible & ~holds_70b).any():
        return take_best(score, need.total, eligible)
    first = take_best(score, need.need_70b, eligible & holds_70b)
    return first | take_best(score, need.total - need.need_70b, eligible & ~first)

"""Batch work by deadline, as rules for jobs with deadlines see it: three windows per fleet.

No job is seen on its own: the fleet shows the work that is due within 1, 4 and 12 h. A job whose
class has a deadline of 12 h passes through all three windows as it ages.
"""

from __future__ import annotations

import numpy as np

from agents.base import Obs, car_field, feasible, fleet_field
from agents.heuristics.demand import WINDOWS_H
from fleet_env.types import BoolArray, FloatArray
from fleet_env.units import MIN_PER_H


def due_car_h(obs: Obs) -> FloatArray:
    """Work due within each window [car-h per car], shape (num_envs, 3), running sums."""
    return np.stack([fleet_field(obs, f"batch_due_{hours}h") for hours in WINDOWS_H], axis=1)


def changeover_h(obs: Obs) -> FloatArray:
    """Hours that a start takes [h], shape (num_envs,): lower median over the feasible cars.

    Minutes where the weights lie in flash, hours after a model release; 0 without feasible cars.
    """
    allowed = feasible(obs)
    ready_min = np.sort(np.where(allowed, car_field(obs, "ready_min"), np.inf), axis=1)
    middle = np.maximum(np.count_nonzero(allowed, axis=1) - 1, 0) // 2
    median_min = ready_min[np.arange(len(middle)), middle]
    start_h: FloatArray = np.where(allowed.any(axis=1), median_min / MIN_PER_H, 0.0)
    return start_h


def fastest(due: FloatArray, hours: FloatArray, wanted: BoolArray) -> FloatArray:
    """Rate at which the window that presses most is worked off [cars' worth per car].

    Parameters
    ----------
    due : FloatArray, shape (num_envs, 3)
        Work of the windows [car-h per car].
    hours : FloatArray, shape (3,) or (num_envs, 3)
        Time in which to finish it [h].
    wanted : BoolArray, shape (num_envs, 3)
        Windows whose work runs in this step.

    Returns
    -------
    FloatArray, shape (num_envs,)
        0 where no window runs.
    """
    rate: FloatArray = np.where(wanted, due / hours, 0.0).max(axis=1)
    return rate

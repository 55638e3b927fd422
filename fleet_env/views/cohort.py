"""Cohorts of cars that are alike to a dispatcher, and a quota of duty for each."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from fleet_env.observations import CAR, CAR_FIELDS
from fleet_env.selection import num_of_share, take_best_by_group
from fleet_env.types import TIERS, FloatArray, IntArray
from fleet_env.views.costs import LEVEL1_MAX_KW
from fleet_env.views.index import check_numbers
from fleet_env.views.seen import Obs, Seen

PLUGS = ("unplugged", "level1", "level2")
SOC_BANDS, SOC_EDGES = ("low", "mid", "high"), (0.55, 0.75)  # thirds of the suburb's feasible cars
STAY_BANDS, STAY_EDGES_H = ("short", "medium", "long"), (3.0, 10.0)  # the same
_KEEP = 2 * CAR_FIELDS[CAR["stay_h"]].high  # above any stay: who works goes before the others
# plug x charge x stated stay x largest tier; the link is no part of it: a feasible car has one
COHORTS = tuple("_".join(parts) for parts in product(PLUGS, SOC_BANDS, STAY_BANDS, TIERS))


def cohort_of_cars(cars: Seen) -> IntArray:
    """Cohort of every car, an index of `COHORTS`, shape (m,), uint8.

    plug: none, Level 1 (below 2 kW), Level 2; charge: below 0.55, 0.75, above; stated stay: below
    3 h, 10 h, above; tier: whether memory holds the 70B tier.
    """
    level2 = (cars("evse_kw") >= LEVEL1_MAX_KW).view(np.uint8)
    cohort: IntArray = ((cars("plugged") > 0) * (1 + level2)).astype(np.uint8)
    for band in (_band(cars("soc"), SOC_EDGES), _band(cars("stay_h"), STAY_EDGES_H)):
        cohort *= np.uint8(3)
        cohort += band
    cohort *= np.uint8(len(TIERS))
    cohort += cars("fits_70b") > 0
    return cohort


def _band(value: FloatArray, edges: tuple[float, float]) -> IntArray:
    """0 below the first edge, 1 below the second, else 2."""
    low, high = edges
    band: IntArray = (value >= np.float32(low)).view(np.uint8) + (value >= np.float32(high))
    return band


def cohort_sizes(cars: Seen, cohort: IntArray) -> IntArray:
    """Cars of each cohort, all and those on duty, shape (2, num_envs, len(COHORTS))."""
    shape = (2, len(cars.num), len(COHORTS))
    on_duty = cars("on_duty") > 0
    cell = (on_duty * shape[1] + cars.row) * shape[2] + cohort
    off, on = np.bincount(cell, minlength=np.prod(shape)).reshape(shape)
    return np.stack([off + on, on])


def cohort_duty(obs: Obs | Seen, shares: FloatArray) -> NDArray[np.int8]:
    """Put a share of the feasible cars of each cohort on duty.

    Of the ``m`` cars of a cohort that the mask allows ``floor(share m + 0.5)`` are on duty: those
    that were in the step before, then the longest stated stays, ties by car index. The share of an
    empty cohort does nothing.

    Parameters
    ----------
    obs : mapping or Seen
        A batched observation of Fleet-v0 with cars; not changed.
    shares : FloatArray, shape (num_envs, len(COHORTS))
        Outside 0..1 a share counts as the nearer end.

    Returns
    -------
    NDArray[np.int8], shape (num_envs, num_cars)
        1 for a car on duty; never 1 where the mask is 0.

    Raises
    ------
    ValueError
        If the shape is wrong or a number not finite.
    """
    cars = Seen.look(obs)
    shares = check_numbers("shares", shares, (len(cars.num), len(COHORTS)))
    cohort = cohort_of_cars(cars)
    num = num_of_share(shares, cohort_sizes(cars, cohort)[0])
    # float64, so that the sum is exact
    score = cars.spread(cars("stay_h") + _KEEP * (cars("on_duty") > 0).astype(np.float64), -np.inf)
    chosen = take_best_by_group(score, cars.spread(cohort, 0), num, cars.obs["mask"] != 0)
    bits: NDArray[np.int8] = chosen.view(np.int8)
    return bits

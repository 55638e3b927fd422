"""Cohorts of cars that are alike to a dispatcher, and a quota of duty for each."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from fleet_env.observations import CAR, CAR_FIELDS
from fleet_env.selection import num_of_share, take_best_by_group
from fleet_env.types import TIERS, BoolArray, FloatArray, IntArray
from fleet_env.views.index import LEVEL1_MAX_KW, Obs, check_numbers

PLUGS = ("unplugged", "level1", "level2")
SOC_BANDS, SOC_EDGES = ("low", "mid", "high"), (0.55, 0.75)  # thirds of the suburb's feasible cars
STAY_BANDS, STAY_EDGES_H = ("short", "medium", "long"), (3.0, 10.0)  # the same
_KEEP = 2 * CAR_FIELDS[CAR["stay_h"]].high  # above any stay: who works goes before the others
# plug x charge x stated stay x largest tier; the link is no part of it: a feasible car has one
COHORTS = tuple("_".join(parts) for parts in product(PLUGS, SOC_BANDS, STAY_BANDS, TIERS))


def cohort_of_cars(obs: Obs) -> IntArray:
    """Cohort of every car, an index of `COHORTS`, shape (num_envs, num_cars), uint8.

    plug: none, Level 1 (below 2 kW), Level 2; charge: below 0.55, 0.75, above; stated stay: below
    3 h, 10 h, above; tier: whether memory holds the 70B tier.
    """
    cars = obs["cars"]
    soc, stay_h, evse_kw = (cars[..., CAR[name]] for name in ("soc", "stay_h", "evse_kw"))
    plug = (cars[..., CAR["plugged"]] > 0) * (1 + (evse_kw >= LEVEL1_MAX_KW).view(np.uint8))
    cohort: IntArray = plug.astype(np.uint8)
    for band in (_band(soc, SOC_EDGES), _band(stay_h, STAY_EDGES_H)):
        cohort *= np.uint8(3)
        cohort += band
    cohort *= np.uint8(len(TIERS))
    cohort += cars[..., CAR["fits_70b"]] > 0
    return cohort


def _band(value: FloatArray, edges: tuple[float, float]) -> IntArray:
    """0 below the first edge, 1 below the second, else 2."""
    low, high = edges
    band: IntArray = (value >= np.float32(low)).view(np.uint8) + (value >= np.float32(high))
    return band


def cohort_sizes(cohort: IntArray, flags: BoolArray) -> IntArray:
    """Cars of each cohort that are flagged, shape (num_envs, len(COHORTS))."""
    num_envs, num = len(cohort), len(COHORTS)
    row, _ = np.nonzero(flags)
    sizes = np.bincount(row * num + cohort[flags], minlength=num_envs * num)
    return sizes.reshape(num_envs, num)


def cohort_duty(obs: Obs, shares: FloatArray) -> NDArray[np.int8]:
    """Put a share of the feasible cars of each cohort on duty.

    Of the ``m`` cars of a cohort that the mask allows ``floor(share m + 0.5)`` are on duty: those
    that were in the step before, then the longest stated stays, ties by car index. The share of an
    empty cohort does nothing.

    Parameters
    ----------
    obs : mapping
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
    feasible = obs["mask"] != 0
    shares = check_numbers("shares", shares, (len(feasible), len(COHORTS)))
    cohort = cohort_of_cars(obs)
    num = num_of_share(shares, cohort_sizes(cohort, feasible))
    stay_h = obs["cars"][..., CAR["stay_h"]].astype(np.float64)  # so that the sum is exact
    score = stay_h + _KEEP * (obs["cars"][..., CAR["on_duty"]] > 0)
    bits: NDArray[np.int8] = take_best_by_group(score, cohort, num, feasible).view(np.int8)
    return bits

"""What a learner sees of a fleet of any size: the fleet vector and shares of the cars."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from fleet_env.observations import CAR, CAR_FIELDS, FLEET_FIELDS, Field
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.views.cohort import COHORTS, cohort_of_cars, cohort_sizes
from fleet_env.views.index import INDEX_FEATURES, Obs, feature_values

SOC_BINS = tuple(k / 10 for k in range(10))  # where each bin begins
STAY_BINS_H = (0.0, 0.25, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0)  # the first: gone within a step


def _share(name: str, doc: str) -> Field:
    return Field(name, "1", 0, 1, doc)


def _bins(field: str, starts: tuple[float, ...], doc: str) -> tuple[Field, ...]:
    ends = (*starts[1:], CAR_FIELDS[CAR[field]].high)
    return tuple(
        _share(f"{field}_from_{start:g}", f"share of the cars: plugged, {doc} {start:g} to {end:g}")
        for start, end in zip(starts, ends, strict=True)
    )


SUMMARY_FIELDS = (
    *FLEET_FIELDS,
    *(
        _share(f"feasible_{name}", "share of the cars: feasible, of this cohort")
        for name in COHORTS
    ),
    *(_share(f"duty_{name}", "the same: on duty in the step before") for name in COHORTS),
    *_bins("soc", SOC_BINS, "charge"),
    *_bins("stay_h", STAY_BINS_H, "stated stay in h"),
    Field("gap_kwh", "kWh", -200, 200, "charge owed, mean of all cars"),
    *(
        Field(f"mean_{f.name}", "1", min(f.low, 0), f.high, "mean of the feasible cars, 0 if none")
        for f in INDEX_FEATURES
    ),
)
SUMMARY = {field.name: i for i, field in enumerate(SUMMARY_FIELDS)}


def summary_space() -> spaces.Box:
    """Space of `summary` for one row: the same at any number of cars."""
    low = np.array([field.low for field in SUMMARY_FIELDS], np.float32)
    high = np.array([field.high for field in SUMMARY_FIELDS], np.float32)
    return spaces.Box(low, high, dtype=np.float32)


def summary(obs: Obs) -> FloatArray:
    """Sum up a batched observation of Fleet-v0 with cars.

    Returns
    -------
    FloatArray, shape (num_envs, len(SUMMARY_FIELDS))
        float32, freshly allocated; the order of the cars does not matter, up to rounding of means.
    """
    cars, feasible = obs["cars"], obs["mask"] != 0
    num_cars = feasible.shape[1]
    plugged = cars[..., CAR["plugged"]] > 0
    counts = (
        *_by_cohort(obs, feasible),
        _histogram(cars[..., CAR["soc"]], SOC_BINS, plugged),
        _histogram(cars[..., CAR["stay_h"]], STAY_BINS_H, plugged),
        cars[..., CAR["gap_kwh"]].sum(axis=1, dtype=np.float64)[:, None],
    )
    parts = (obs["fleet"], *(count / num_cars for count in counts), _feature_means(obs, feasible))
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _by_cohort(obs: Obs, feasible: BoolArray) -> tuple[IntArray, ...]:
    cohort = cohort_of_cars(obs)
    on_duty = obs["cars"][..., CAR["on_duty"]] > 0
    return cohort_sizes(cohort, feasible), cohort_sizes(cohort, feasible & on_duty)


def _histogram(value: FloatArray, starts: tuple[float, ...], flags: BoolArray) -> IntArray:
    """Cars that are flagged by bin of a value, shape (num_envs, len(starts))."""
    num_envs, num = len(value), len(starts)
    place = np.searchsorted(np.array(starts[1:], np.float32), value[flags], side="right")
    row, _ = np.nonzero(flags)
    return np.bincount(row * num + place, minlength=num_envs * num).reshape(num_envs, num)


def _feature_means(obs: Obs, feasible: BoolArray) -> FloatArray:
    """Mean of each index feature over the feasible cars, shape (num_envs, D)."""
    num_envs = len(feasible)
    row, _ = np.nonzero(feasible)
    # the feasible cars alone, field by field: most cars are not
    feasible_cars = np.moveaxis(obs["cars"], -1, 0)[:, feasible].T
    values = feature_values({"cars": feasible_cars})
    sums = np.stack([np.bincount(row, value, num_envs) for value in values], axis=1)
    means: FloatArray = sums / np.maximum(np.bincount(row, minlength=num_envs), 1)[:, None]
    return means

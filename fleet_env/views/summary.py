"""What a learner sees of a fleet of any size: the fleet vector and shares of the cars."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from fleet_env.observations import CAR, CAR_FIELDS, FLEET, FLEET_FIELDS, Field
from fleet_env.types import FloatArray, IntArray
from fleet_env.views.cohort import COHORTS, cohort_of_cars, cohort_sizes
from fleet_env.views.index import INDEX_FEATURES, Candidates
from fleet_env.views.seen import Obs, Seen

SOC_BINS = tuple(k / 10 for k in range(10))  # where each bin begins
# work to be done at once, as a share of the feasible cars: field of the fleet, hours, what it is
NEEDS = {
    "chat_00h": ("chat_00h", 1.0, "chat expected this hour"),
    "chat_01h": ("chat_01h", 1.0, "chat expected next hour"),
    "batch_1h": ("batch_due_1h", 1.0, "batch work due within 1 h, spread over it"),
    "batch_4h": ("batch_due_4h", 4.0, "batch work due within 4 h, spread over them"),
    "batch_12h": ("batch_due_12h", 12.0, "batch work due within 12 h, spread over them"),
}
MOST_NEED = 4.0  # beyond that all cars are wanted anyway
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
        Field(f"need_{name}", "1", 0, MOST_NEED, f"{doc}, in cars per feasible car: a share to try")
        for name, (_, _, doc) in NEEDS.items()
    ),
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


def summary(obs: Obs | Seen) -> FloatArray:
    """Sum up a batched observation of Fleet-v0 with cars.

    Parameters
    ----------
    obs : mapping or Seen
        Not changed.

    Returns
    -------
    FloatArray, shape (num_envs, len(SUMMARY_FIELDS))
        float32, freshly allocated; the order of the cars does not matter, up to rounding of means.
    """
    feasible = Candidates.look(obs)
    seen, num_cars = feasible.obs, feasible.shape[1]
    plugged = Seen.of(seen, seen["cars"][..., CAR["plugged"]] > 0)
    counts = (
        *cohort_sizes(feasible, cohort_of_cars(feasible)),
        _histogram(plugged, "soc", SOC_BINS),
        _histogram(plugged, "stay_h", STAY_BINS_H),
        seen["cars"][..., CAR["gap_kwh"]].sum(axis=1, dtype=np.float64)[:, None],
    )
    shares = (count / num_cars for count in counts)
    parts = (seen["fleet"], *shares, _needs(feasible), _feature_means(feasible))
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _needs(cars: Candidates) -> FloatArray:
    """Work of each of `NEEDS` over the feasible cars, shape (num_envs, len(NEEDS))."""
    columns = [FLEET[field] for field, _, _ in NEEDS.values()]
    work = cars.obs["fleet"][:, columns] / [hours for _, hours, _ in NEEDS.values()]
    share = np.maximum(cars.num, 1) / cars.shape[1]
    need: FloatArray = np.clip(work / share[:, None], 0.0, MOST_NEED)
    return need


def _histogram(cars: Seen, field: str, starts: tuple[float, ...]) -> IntArray:
    """Cars by bin of a field, shape (num_envs, len(starts))."""
    shape = len(cars.num), len(starts)
    place = np.searchsorted(np.array(starts[1:], np.float32), cars(field), side="right")
    return np.bincount(cars.row * shape[1] + place, minlength=shape[0] * shape[1]).reshape(shape)


def _feature_means(cars: Candidates) -> FloatArray:
    """Mean of each index feature over the feasible cars, shape (num_envs, D)."""
    num_envs = len(cars.num)
    sums = np.stack([np.bincount(cars.row, of, num_envs) for of in cars.features], axis=1)
    means: FloatArray = sums / np.maximum(cars.num, 1)[:, None]
    return means

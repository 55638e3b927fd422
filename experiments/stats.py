"""Point and interval estimates over test days: interquartile mean and its bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fleet_env.types import FloatArray, IntArray

TRIM = 0.25  # cut from each end: the interquartile mean of Agarwal et al. 2021
LEVEL = 0.95
NUM_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A point estimate between the ends of its confidence interval."""

    low: float
    point: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0 or self.high < 0


def iqm(values: FloatArray) -> FloatArray:
    """Mean of the middle half along the last axis.

    `floor(n / 4)` values are cut from each end, as in `scipy.stats.trim_mean` and rliable
    (Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice").

    Parameters
    ----------
    values : FloatArray, shape (..., n)

    Returns
    -------
    FloatArray, shape (...)
    """
    cut = int(TRIM * values.shape[-1])
    middle = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut]
    return np.asarray(middle.mean(axis=-1))


def middle_days(values: FloatArray) -> IntArray:
    """Positions of the values that enter `iqm`, shape (n - 2 floor(n / 4),).

    The parts of a sum, averaged over these days, add up to its interquartile mean.
    """
    cut = int(TRIM * len(values))
    return np.argsort(values, kind="stable")[cut : len(values) - cut]


def bootstrap(
    values: FloatArray,
    rng: np.random.Generator,
    *,
    strata: IntArray | None = None,
    statistic: Callable[[FloatArray], FloatArray] = iqm,
) -> Interval:
    """Percentile bootstrap of a statistic, drawn anew within each stratum.

    Parameters
    ----------
    values : FloatArray, shape (n,)
        One value per day; a missing (NaN) value is an error of the caller.
    rng : numpy.random.Generator
        Consumed.
    strata : IntArray, shape (n,), optional
        Group of each value, for instance the card; every resample keeps the size of each group.
    statistic : callable
        Maps (..., n) to (...).

    Returns
    -------
    Interval
        95 % interval from 2,000 resamples round the statistic of the values themselves.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"values of shape {values.shape}: expected a list of finite numbers")
    groups = np.zeros(len(values), np.int64) if strata is None else np.asarray(strata)
    picks = [_resample(np.flatnonzero(groups == group), rng) for group in np.unique(groups)]
    estimates = statistic(values[np.concatenate(picks, axis=1)])
    low, high = np.quantile(estimates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(statistic(values)), float(high))


def _resample(members: IntArray, rng: np.random.Generator) -> IntArray:
    picks = rng.integers(len(members), size=(NUM_RESAMPLES, len(members)))
    return np.asarray(members[picks])


def mean(values: FloatArray) -> FloatArray:
    """Mean along the last axis: unlike `iqm` it counts rare days, such as those of a shortfall."""
    return np.asarray(values.mean(axis=-1))


def paired(
    a: FloatArray,
    b: FloatArray,
    rng: np.random.Generator,
    *,
    statistic: Callable[[FloatArray], FloatArray] = iqm,
) -> Interval:
    """Interval of the difference `a - b` of two policies (or settings) on the same days.

    Differences are taken day by day before anything is resampled, so what the days have in
    common cancels.

    Parameters
    ----------
    a, b : FloatArray, shape (n,)
        Results in the same order of days.
    rng : numpy.random.Generator
        Consumed.
    statistic : callable
        Maps (..., n) to (...).

    Returns
    -------
    Interval
    """
    if np.shape(a) != np.shape(b):
        raise ValueError(f"shapes {np.shape(a)} and {np.shape(b)}: a pair needs the same days")
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return bootstrap(difference, rng, statistic=statistic)


def worst_decile(values: FloatArray) -> float:
    """Mean of the lowest tenth of the values, of one value at the least."""
    count = max(1, len(values) // 10)
    return float(np.sort(values)[:count].mean())

"""Estimates over the days of one card, bootstrapped by demand day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from fleet_env.types import FloatArray, IntArray

TRIM = 0.25  # cut from each end: the interquartile mean of Agarwal et al. 2021
LEVEL = 0.95
NUM_RESAMPLES = 10_000  # few clusters: 0.2 % of them lie beyond each end


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


def bootstrap(
    values: FloatArray, rng: np.random.Generator, clusters: IntArray | None = None
) -> Interval:
    """Bootstrap of the mean over days, for days that are alike in clusters.

    Whole clusters are drawn anew: days that replay the same demand are not independent. The
    percentile interval of few clusters is too narrow, so it is taken further out, until for
    normal clusters it is as wide as Student's (Hesterberg 2015, "What teachers should know about
    the bootstrap", expanded percentile interval).

    Parameters
    ----------
    values : FloatArray, shape (n,)
        One value per day; a missing (NaN) value is an error of the caller.
    rng : numpy.random.Generator
        Consumed.
    clusters : IntArray, shape (n,), optional
        Cluster of each value. Without it, and where there is only one, every day stands alone.

    Returns
    -------
    Interval
        95 % interval from 10,000 resamples round the mean of the values themselves.
    """
    values = _finite(values)
    point = float(values.mean())
    draws = _Draws.of(len(values), rng, clusters)
    # of the deviations, so that what all days share is not lost in rounding
    deviations = draws.sums(values - point) / draws.sums(np.ones(len(values)))
    return draws.interval(point, point + deviations)


def ratio(
    part: FloatArray,
    whole: FloatArray,
    rng: np.random.Generator,
    clusters: IntArray | None = None,
) -> Interval:
    """Bootstrap of a ratio of means, `mean(part) / mean(whole)` over the same days.

    Both are resampled together: a day that is good for all weighs on both ends of the scale.

    Parameters
    ----------
    part, whole : FloatArray, shape (n,)
        In the same order of days; `whole` is 0 or more, and not 0 on all days.
    rng : numpy.random.Generator
        Consumed.
    clusters : IntArray, shape (n,), optional
        As in `bootstrap`.

    Returns
    -------
    Interval
        Resamples without any `whole` have no ratio and are left out.
    """
    part, whole = _same_days(part, whole)
    draws = _Draws.of(len(part), rng, clusters)
    point, estimates = _ratio(part, whole, draws)
    return draws.interval(point, estimates)


def ratio_change(
    now: tuple[FloatArray, FloatArray],
    before: tuple[FloatArray, FloatArray],
    rng: np.random.Generator,
    clusters: IntArray | None = None,
) -> Interval:
    """Bootstrap of the difference of two ratios of means over the same days, drawn together.

    Parameters
    ----------
    now, before : tuple of FloatArray, each of shape (n,)
        Part and whole, as in `ratio`; all four in the same order of days.
    rng : numpy.random.Generator
        Consumed.
    clusters : IntArray, shape (n,), optional
        As in `bootstrap`.

    Returns
    -------
    Interval
        Of `ratio(*now) - ratio(*before)`.
    """
    now, before = _same_days(*now), _same_days(*before)
    if now[0].shape != before[0].shape:
        raise ValueError(f"shapes {now[0].shape} and {before[0].shape}: expected the same days")
    draws = _Draws.of(len(now[0]), rng, clusters)
    (a, of_a), (b, of_b) = _ratio(*now, draws), _ratio(*before, draws)
    return draws.interval(a - b, of_a - of_b)


def _ratio(part: FloatArray, whole: FloatArray, draws: _Draws) -> tuple[float, FloatArray]:
    """Return the ratio, and that of each resample: NaN where it has no `whole`."""
    total = float(whole.sum())
    if total <= 0:
        raise ValueError(f"whole={total}: expected a positive sum")
    point = float(part.sum()) / total
    sums = draws.sums(whole)
    sums = np.where(sums > 0, sums, np.nan)
    return point, point + draws.sums(part - point * whole) / sums


def _same_days(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    if np.shape(a) != np.shape(b):
        raise ValueError(f"shapes {np.shape(a)} and {np.shape(b)}: expected the same days")
    return _finite(a), _finite(b)


def _finite(values: FloatArray) -> FloatArray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"values of shape {values.shape}: expected a list of finite numbers")
    return values


@dataclass(frozen=True, slots=True)
class _Draws:
    """Clusters of days drawn anew, with replacement."""

    member: IntArray  # (n,) cluster of each day
    picks: IntArray  # (NUM_RESAMPLES, number of clusters)

    @classmethod
    def of(cls, num_days: int, rng: np.random.Generator, clusters: IntArray | None) -> _Draws:
        """Draw; every day stands alone without clusters, and where there is only one."""
        member = np.arange(num_days)
        if clusters is not None and np.ptp(clusters) > 0:
            member = np.unique(clusters, return_inverse=True)[1]
        size = int(member.max()) + 1
        return cls(member, rng.integers(size, size=(NUM_RESAMPLES, size)))

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum the values of the days of each resample, shape (NUM_RESAMPLES,)."""
        total: FloatArray = np.bincount(self.member, values)[self.picks].sum(axis=1)
        return total

    def interval(self, point: float, estimates: FloatArray) -> Interval:
        """Cut the tails off the estimates of all resamples."""
        cut = tail(self.picks.shape[1])
        low, high = np.nanquantile(estimates, [cut, 1 - cut])
        return Interval(float(low), point, float(high))


def tail(num_clusters: int) -> float:
    """Share of resamples to leave out at each end, less than 2.5 % for few clusters."""
    if num_clusters == 1:
        return 0.0
    spread = np.sqrt(num_clusters / (num_clusters - 1))  # the bootstrap divides by n, not n - 1
    return float(ndtr(-spread * stdtrit(num_clusters - 1, (1 + LEVEL) / 2)))


def paired(
    a: FloatArray, b: FloatArray, rng: np.random.Generator, clusters: IntArray | None = None
) -> Interval:
    """Interval of the mean difference `a - b` of two policies (or settings) on the same days.

    Differences are taken day by day before anything is resampled, so what the days have in
    common cancels.

    Parameters
    ----------
    a, b : FloatArray, shape (n,)
        Results in the same order of days.
    rng : numpy.random.Generator
        Consumed.
    clusters : IntArray, shape (n,), optional
        As in `bootstrap`.

    Returns
    -------
    Interval
    """
    if np.shape(a) != np.shape(b):
        raise ValueError(f"shapes {np.shape(a)} and {np.shape(b)}: a pair needs the same days")
    return bootstrap(np.asarray(a, np.float64) - np.asarray(b, np.float64), rng, clusters)


def worst_decile(values: FloatArray) -> float:
    """Mean of the lowest tenth of the values, of one value at the least."""
    count = max(1, len(values) // 10)
    return float(np.sort(values)[:count].mean())

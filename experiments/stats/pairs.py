"""Who is better than whom: differences of pairs of policies, corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import stdtr

from experiments.stats.bootstrap import Interval, paired
from fleet_env.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Reversal:
    """Two policies in the opposite order on two cards, beyond doubt on both."""

    higher: str  # earns more on the card
    lower: str
    here: Interval  # higher minus lower on the card, above 0
    there: Interval  # the same on the other card, below 0


def pairs(
    money: Mapping[str, FloatArray], seed: int, clusters: IntArray | None = None
) -> dict[tuple[str, str], Interval]:
    """Interval of the mean difference of every ordered pair of policies on the same days.

    Parameters
    ----------
    money : mapping
        Policy -> one value per day, in the same order of days.
    seed : int
        Every pair meets the same resamples.
    clusters : IntArray, shape (n,), optional
        As in `bootstrap`.

    Returns
    -------
    dict
        (a, b) -> a minus b.
    """
    found = {}
    for a, b in combinations(money, 2):
        gap = paired(money[a], money[b], np.random.default_rng(seed), clusters)
        found[a, b] = gap
        found[b, a] = Interval(-gap.high, -gap.point, -gap.low)
    return found


def reversals(
    here: Mapping[tuple[str, str], Interval], there: Mapping[tuple[str, str], Interval]
) -> list[Reversal]:
    """Pairs of policies whose order differs, with intervals that exclude 0 on both cards.

    Parameters
    ----------
    here, there : mapping
        Pairs of policies on either card, from `pairs`.

    Returns
    -------
    list of Reversal
        The clearest first: by the smaller of the two differences.
    """
    found = [
        Reversal(*pair, gap, there[pair])
        for pair, gap in here.items()
        if pair in there and gap.low > 0 and there[pair].high < 0
    ]
    return sorted(found, key=lambda r: -min(r.here.point, -r.there.point))


def p_value(a: FloatArray, b: FloatArray, clusters: IntArray | None = None) -> float:
    """Two-sided p-value of "a and b earn the same in the mean", paired by day.

    Student's t of the mean difference with its variance between clusters (demand days), on one
    degree of freedom less than there are clusters (Cameron & Miller 2015, "A practitioner's guide
    to cluster-robust inference", eq. 11 with the correction G/(G - 1)). It is what the interval of
    `paired` is widened to, so that both tell the same.

    Parameters
    ----------
    a, b : FloatArray, shape (n,)
        Results in the same order of days.
    clusters : IntArray, shape (n,), optional
        Without it, and where there is only one, every day stands alone.

    Returns
    -------
    float
        1 where nothing differs; 0 where all differences are alike; NaN for a single day.
    """
    gap = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    member = np.arange(len(gap))
    if clusters is not None and np.ptp(clusters) > 0:
        member = np.unique(clusters, return_inverse=True)[1]
    num = int(member.max()) + 1
    if num == 1:
        return float("nan")
    mean = gap.mean()
    off = np.bincount(member, gap - mean)
    error = np.sqrt(num / (num - 1) * (off**2).sum()) / len(gap)
    if error <= np.finfo(np.float64).eps * np.abs(gap).max(initial=0.0):
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(num - 1, -abs(mean) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number: Holm's step-down procedure (Holm 1979).

    Of all true hypotheses one is rejected at most with the probability at which the corrected
    values are held, however they depend on each other.

    Parameters
    ----------
    p_values : sequence of float
        NaN counts as 1.

    Returns
    -------
    list of float
        In the same order; never below the uncorrected ones.
    """
    p = np.nan_to_num(np.asarray(p_values, np.float64), nan=1.0)
    order = np.argsort(p, kind="stable")
    factor = len(p) - np.arange(len(p))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(factor * p[order]), 1.0)
    return [float(value) for value in corrected]

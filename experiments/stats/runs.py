"""Many runs at once: statistics over days of several cards, resampled card by card.

A run is one day of one card. As in rliable (Agarwal et al. 2021, "Deep reinforcement learning at
the edge of the statistical precipice") the bootstrap is stratified: every resample has the cards
that were played, with demand days drawn anew within each. A resample is the number of times that
each run is in it, so that every statistic is one of weighted runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.stats.bootstrap import TRIM, Interval, tail
from fleet_env.types import FloatArray, IntArray

NUM_RESAMPLES = 2_000  # as in rliable; many clusters, so that no far tail is asked for


@dataclass(frozen=True, slots=True)
class Strata:
    """Where each run belongs: its card, and its demand day within the card."""

    card: IntArray  # (n,) from 0, none left out
    cluster: IntArray  # (n,) from 0, none left out; never in two cards

    @classmethod
    def of(cls, card: FloatArray | IntArray, day: IntArray) -> Strata:
        """Give cards and their demand days numbers.

        Parameters
        ----------
        card, day : array, shape (n,)
            Labels of the card and of the demand day of each run.
        """
        of_card = np.unique(card, return_inverse=True)[1]
        both = of_card * (int(np.max(day)) + 1) + day
        return cls(of_card, np.unique(both, return_inverse=True)[1])

    def weights(self, rng: np.random.Generator, num: int = NUM_RESAMPLES) -> FloatArray:
        """Draw how often each run is in each resample, shape (num, n)."""
        times = np.zeros((num, int(self.cluster.max()) + 1))
        rows = np.arange(num)[:, None]
        for card in range(int(self.card.max()) + 1):
            mine = np.unique(self.cluster[self.card == card])
            picks = mine[rng.integers(len(mine), size=(num, len(mine)))]
            np.add.at(times, (rows, picks), 1.0)
        return times[:, self.cluster]

    def interval(self, point: float, estimates: FloatArray) -> Interval:
        """Cut the tails off; further out where clusters are few, as in `bootstrap`."""
        free = int(self.cluster.max()) + 1 - int(self.card.max())
        cut = tail(free)
        low, high = np.quantile(estimates, [cut, 1 - cut])
        return Interval(float(low), point, float(high))

    def by_card(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """Mean over cards of the weighted mean of each, shape (num,).

        Parameters
        ----------
        values : FloatArray, shape (n,)
        weights : FloatArray, shape (num, n)
        """
        num_cards = int(self.card.max()) + 1
        member = np.eye(num_cards)[self.card]  # (n, cards)
        mean: FloatArray = ((weights * values) @ member / (weights @ member)).mean(axis=1)
        return mean


def weighted_iqm(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Interquartile mean of runs that count several times.

    Parameters
    ----------
    values : FloatArray, shape (n,)
    weights : FloatArray, shape (num, n)
        Whole numbers: `bootstrap.iqm` of the values repeated so often.

    Returns
    -------
    FloatArray, shape (num,)
    """
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(weights[:, order], axis=1)
    total = upto[:, -1:]
    cut = np.floor(TRIM * total)
    below = upto - weights[:, order]
    kept = np.clip(np.minimum(upto, total - cut) - np.maximum(below, cut), 0.0, None)
    mean: FloatArray = kept @ values[order] / kept.sum(axis=1)
    return mean


def iqm_over_cards(values: FloatArray, strata: Strata, rng: np.random.Generator) -> Interval:
    """Interquartile mean over all runs of all cards, with its stratified interval.

    Parameters
    ----------
    values : FloatArray, shape (n,)
        Comparable over cards: scores, not money.
    strata : Strata
    rng : numpy.random.Generator
        Consumed.
    """
    point = float(weighted_iqm(values, np.ones((1, len(values))))[0])
    return strata.interval(point, weighted_iqm(values, strata.weights(rng)))


def improvement(a: FloatArray, b: FloatArray, strata: Strata, rng: np.random.Generator) -> Interval:
    """Probability that `a` earns more than `b` on a random day of a random card.

    Both play the same days, so they are compared day by day: the share of days on which `a` earns
    more, equal days by half, in the mean over cards. `unpaired_improvement` is rliable's, for runs
    that have no day in common.

    Parameters
    ----------
    a, b : FloatArray, shape (n,)
        In the same order of runs.
    strata : Strata
    rng : numpy.random.Generator
        Consumed.
    """
    wins = np.where(a == b, 0.5, a > b)
    point = float(strata.by_card(wins, np.ones((1, len(wins))))[0])
    return strata.interval(point, strata.by_card(wins, strata.weights(rng)))


def unpaired_improvement(a: FloatArray, b: FloatArray) -> float:
    """Probability that a run of `a` is above a run of `b` on one card, ties by half.

    The Mann-Whitney statistic over the number of pairs (Agarwal et al. 2021, section 4.3).

    Parameters
    ----------
    a : FloatArray, shape (n,)
    b : FloatArray, shape (m,)
    """
    gap = np.asarray(a)[:, None] - np.asarray(b)[None, :]
    return float(np.where(gap == 0, 0.5, gap > 0).mean())


@dataclass(frozen=True, slots=True)
class Profile:
    """Share of runs with a score above each threshold, and the band of its pointwise intervals."""

    threshold: FloatArray  # (k,)
    low: FloatArray  # (k,)
    share: FloatArray  # (k,)
    high: FloatArray  # (k,)


def profile(
    values: FloatArray, threshold: FloatArray, strata: Strata, rng: np.random.Generator
) -> Profile:
    """Draw the run-score distribution of Agarwal et al. 2021, section 4.2: a performance profile.

    Parameters
    ----------
    values : FloatArray, shape (n,)
        Scores of runs.
    threshold : FloatArray, shape (k,)
    strata : Strata
        Every card counts alike.
    rng : numpy.random.Generator
        Consumed.
    """
    once, weights = np.ones((1, len(values))), strata.weights(rng)
    above = [(values > at).astype(np.float64) for at in threshold]
    share = [float(strata.by_card(one, once)[0]) for one in above]
    bands = [
        strata.interval(point, strata.by_card(one, weights))
        for point, one in zip(share, above, strict=True)
    ]
    low, high = ([getattr(band, end) for band in bands] for end in ("low", "high"))
    return Profile(np.asarray(threshold), np.array(low), np.array(share), np.array(high))

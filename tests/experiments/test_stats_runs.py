from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, trim_mean

from experiments.stats import (
    Strata,
    improvement,
    iqm_over_cards,
    profile,
    unpaired_improvement,
)
from experiments.stats.runs import weighted_iqm


def deck(num_cards: int, num_clusters: int, num_each: int) -> Strata:
    card = np.repeat(np.arange(num_cards), num_clusters * num_each)
    day = np.tile(np.repeat(np.arange(num_clusters), num_each), num_cards)
    return Strata.of(card, day)


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 4)), min_size=1, max_size=30))
def test_iqm_of_weights_is_that_of_repeated_runs(runs):
    values = np.array([value for value, _ in runs])
    times = np.array([count for _, count in runs])
    times[0] += 1
    wanted = trim_mean(np.repeat(values, times), 0.25)
    assert weighted_iqm(values, times[None].astype(float))[0] == pytest.approx(wanted, abs=1e-9)


def test_every_resample_has_whole_clusters_of_every_card(rng):
    strata = deck(3, 4, 5)
    weights = strata.weights(rng, 50)
    assert weights.shape == (50, 60)
    by_card = weights.reshape(50, 3, 20).sum(axis=2)
    assert (by_card == 20).all()  # as many runs of each card as were played
    by_cluster = weights.reshape(50, 3, 4, 5)
    assert (by_cluster == by_cluster[..., :1]).all()
    assert by_cluster.max() > 1


def test_same_demand_days_of_two_cards_are_drawn_apart(rng):
    weights = deck(2, 6, 1).weights(rng, 200).reshape(200, 2, 6)
    assert (weights[:, 0] != weights[:, 1]).any()


def test_iqm_over_cards_holds_the_truth(rng):
    """Normal runs round the mean of their card: the middle half lies about 0 by symmetry."""
    held = 0
    for _ in range(200):
        strata = deck(2, 12, 2)
        shift = np.where(strata.card == 0, -1.0, 1.0)
        values = shift + rng.normal(size=24)[strata.cluster] + 0.5 * rng.normal(size=48)
        found = iqm_over_cards(values, strata, rng)
        held += found.low <= 0 <= found.high
    assert 180 <= held <= 198


def test_improvement_by_hand(rng):
    strata = deck(2, 2, 1)
    a, b = np.array([1.0, 2, 3, 4]), np.array([0.0, 2, 5, 1])
    # card 1: a win and a tie, card 2: a loss and a win
    found = improvement(a, b, strata, rng)
    assert found.point == pytest.approx((0.75 + 0.5) / 2)
    assert 0 <= found.low <= found.point <= found.high <= 1
    there_and_back = improvement(b, a, strata, rng)
    assert found.point + there_and_back.point == pytest.approx(1)


def test_cards_count_alike_however_many_days_they_have(rng):
    strata = Strata.of(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 2]))
    wins = improvement(np.array([1.0, 0, 0, 0]), np.array([0.0, 1, 1, 1]), strata, rng)
    assert wins.point == pytest.approx(0.5)


def test_unpaired_improvement_is_mann_whitney(rng):
    a, b = rng.integers(5, size=12).astype(float), rng.integers(5, size=9).astype(float)
    wanted = mannwhitneyu(a, b).statistic / (12 * 9)
    assert unpaired_improvement(a, b) == pytest.approx(wanted)


def test_profile_counts_runs_above_each_threshold(rng):
    strata = deck(2, 5, 2)
    values, taus = rng.normal(size=20), np.linspace(-2, 2, 9)
    found = profile(values, taus, strata, rng)
    by_card = values.reshape(2, 10)
    wanted = [(by_card > tau).mean() for tau in taus]
    np.testing.assert_allclose(found.share, wanted)
    assert (np.diff(found.share) <= 0).all()
    assert (found.low <= found.share).all()
    assert (found.share <= found.high).all()

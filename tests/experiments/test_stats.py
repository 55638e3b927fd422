from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, trim_mean

from experiments.stats import Interval, bootstrap, iqm, middle_days, paired, worst_decile


def test_iqm_by_hand():
    # 8 values: 2 are cut at each end, (3 + 4 + 5 + 6) / 4 stays
    assert iqm(np.array([100.0, 4, 3, 6, 5, -50, 2, 7])) == pytest.approx(4.5)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 20, 21])
def test_iqm_is_scipys_trimmed_mean(n, rng):
    values = rng.normal(size=(6, n))
    np.testing.assert_allclose(iqm(values), trim_mean(values, 0.25, axis=-1), rtol=1e-12)


def test_parts_over_the_middle_days_add_up_to_the_iqm(rng):
    parts = rng.normal(size=(4, 21)) ** 3
    total = parts.sum(axis=0)
    assert parts[:, middle_days(total)].mean(axis=1).sum() == pytest.approx(float(iqm(total)))


def test_bootstrap_of_the_mean_matches_the_normal_interval(rng):
    values = rng.normal(3.0, 2.0, size=400)
    got = bootstrap(values, np.random.default_rng(1), statistic=lambda x: x.mean(axis=-1))
    half = norm.ppf(0.975) * values.std() / np.sqrt(400)
    assert got.point == pytest.approx(values.mean())
    assert got.low == pytest.approx(values.mean() - half, abs=0.03)
    assert got.high == pytest.approx(values.mean() + half, abs=0.03)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    days = np.random.default_rng(7).normal(size=(300, 20))
    hits = 0
    for i, sample in enumerate(days):
        interval = bootstrap(sample, np.random.default_rng(i))
        hits += interval.low <= 0.0 <= interval.high
    # the percentile interval of 20 values is known to be a little narrow
    assert 0.88 <= hits / 300 <= 0.98


def test_a_seed_repeats_the_interval():
    values = np.arange(20.0)
    assert bootstrap(values, np.random.default_rng(3)) == bootstrap(
        values, np.random.default_rng(3)
    )
    assert bootstrap(values, np.random.default_rng(3)) != bootstrap(
        values, np.random.default_rng(4)
    )


def test_strata_keep_their_sizes(rng):
    strata = np.repeat([0, 1], [5, 15])
    values = np.where(strata == 0, 0.0, 10.0)  # no spread inside a stratum: nothing left to vary
    got = bootstrap(values, rng, strata=strata, statistic=lambda x: x.mean(axis=-1))
    assert got == Interval(7.5, 7.5, 7.5)
    mixed = bootstrap(values, rng, statistic=lambda x: x.mean(axis=-1))
    assert mixed.low < 7.5 < mixed.high


def test_pairing_cancels_what_the_days_share(rng):
    day = rng.normal(0.0, 100.0, size=20)
    got = paired(day + 1.0, day, rng)
    assert got.low == pytest.approx(1.0)
    assert got.high == pytest.approx(1.0)
    assert got.excludes_zero
    assert not paired(day, day, rng).excludes_zero


@pytest.mark.parametrize("values", [[], [[1.0]], [1.0, np.nan]])
def test_bootstrap_refuses_what_it_cannot_resample(values, rng):
    with pytest.raises(ValueError, match="expected a list of finite numbers"):
        bootstrap(np.array(values), rng)


def test_pairs_need_the_same_days(rng):
    with pytest.raises(ValueError, match="same days"):
        paired(np.zeros(3), np.zeros(4), rng)


def test_worst_decile_by_hand():
    assert worst_decile(np.arange(30.0)) == pytest.approx(1.0)  # mean of 0, 1, 2
    assert worst_decile(np.array([5.0, 2.0, 9.0])) == 2.0

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from experiments.stats import holm, p_value, paired

SHIFT = np.array([[0.3], [0.0]])  # of the first of two


def test_p_value_is_students_where_days_stand_alone(rng):
    a, b = rng.normal(size=(2, 30)) + SHIFT
    assert p_value(a, b) == pytest.approx(ttest_rel(a, b).pvalue, rel=1e-9)


def test_p_value_takes_like_days_as_one(rng):
    a, b = rng.normal(size=(2, 8)) + SHIFT
    of_means = ttest_rel(a, b).pvalue
    thrice = p_value(np.repeat(a, 3), np.repeat(b, 3), np.repeat(np.arange(8), 3))
    assert thrice == pytest.approx(of_means, rel=1e-9)  # three days alike tell no more than one
    assert p_value(np.repeat(a, 3), np.repeat(b, 3)) < of_means


def test_p_value_of_nothing_and_of_certainty():
    days = np.arange(5.0)
    assert p_value(days, days) == 1.0
    assert p_value(days + 1, days) == 0.0
    assert np.isnan(p_value(np.array([1.0]), np.array([2.0])))


def test_p_value_tells_what_the_interval_tells():
    rng = np.random.default_rng(3)
    agree = 0
    for _ in range(60):
        day = np.repeat(np.arange(6), 4)
        gap = rng.normal(size=6)[day] + rng.normal(size=24) + 0.8
        zero = np.zeros(24)
        beyond = paired(gap, zero, np.random.default_rng(0), day).excludes_zero
        agree += beyond == (p_value(gap, zero, day) < 0.05)
    assert agree >= 50  # the bootstrap's tails are not quite Student's


def test_p_values_of_equal_policies_are_level(rng):
    """5 % of them, give or take, are below 5 %, though days of a cluster share most of it."""
    day = np.repeat(np.arange(12), 4)
    below = sum(
        p_value(rng.normal(size=12)[day] + 0.3 * rng.normal(size=48), np.zeros(48), day) < 0.05
        for _ in range(2000)
    )
    assert 70 <= below <= 135


def test_holm_by_hand():
    # in order .005 .01 .03 .04 times 4 3 2 1, never falling: .02 .03 .06 .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, float("nan")]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_rejects_no_true_hypothesis_more_often_than_it_says(rng):
    """Ten policies equal to the best: uncorrected, 40 % of comparisons would find a difference."""
    p = rng.uniform(size=(4000, 10))
    corrected = np.array([min(holm(list(row))) for row in p]) < 0.05
    assert 0.035 < corrected.mean() < 0.065
    assert (p.min(axis=1) < 0.05).mean() > 0.35


def test_holm_finds_more_than_bonferroni_and_keeps_the_order(rng):
    p = [0.001, 0.012, 0.02, 0.5]
    corrected = holm(p)
    assert sorted(corrected) == corrected
    assert corrected[1] < len(p) * p[1]
    assert all(after >= before for before, after in zip(p, corrected, strict=True))

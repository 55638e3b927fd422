from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t, trim_mean

from experiments.stats import (
    Interval,
    bootstrap,
    iqm,
    paired,
    pairs,
    reversals,
    worst_decile,
)


def test_iqm_by_hand():
    # 8 values: 2 are cut at each end, (3 + 4 + 5 + 6) / 4 stays
    assert iqm(np.array([100.0, 4, 3, 6, 5, -50, 2, 7])) == pytest.approx(4.5)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 20, 21])
def test_iqm_is_scipys_trimmed_mean(n, rng):
    values = rng.normal(size=(6, n))
    np.testing.assert_allclose(iqm(values), trim_mean(values, 0.25, axis=-1), rtol=1e-12)


@pytest.mark.parametrize("n", [12, 400])
def test_bootstrap_of_the_mean_matches_students_interval(n, rng):
    values = rng.normal(3.0, 2.0, size=n)
    got = bootstrap(values, np.random.default_rng(1))
    half = t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
    assert got.point == pytest.approx(values.mean())
    assert got.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert got.high == pytest.approx(values.mean() + half, abs=0.15 * half)


# days per cluster: those of the 20 test days of the suburb
SIZES = np.array([2, 2, 4, 6, 3, 3])


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_intervals_cover_the_truth_where_days_share_a_demand_day(share):
    # `share`: of the variance that days of one cluster have in common
    rng = np.random.default_rng(7)
    clusters = np.repeat(np.arange(len(SIZES)), SIZES)
    hits = {"clusters": 0, "days": 0}
    for i in range(400):
        common = rng.normal(size=len(SIZES))[clusters]
        days = np.sqrt(share) * common + np.sqrt(1 - share) * rng.normal(size=20)
        for name, groups in (("clusters", clusters), ("days", None)):
            interval = bootstrap(days, np.random.default_rng(i), groups)
            hits[name] += interval.low <= 0.0 <= interval.high
    assert 0.90 <= hits["clusters"] / 400 <= 0.98
    if share == 0.0:
        assert 0.92 <= hits["days"] / 400 <= 0.98
    else:  # to take the days for independent would claim far too much
        assert hits["days"] / 400 < 0.85


def test_clusters_are_resampled_whole():
    values, clusters = np.repeat([0.0, 1.0, 6.0], 4), np.repeat([7, 8, 9], 4)
    # one draw of three clusters in 27 holds only the first: more than what is left out at an end
    assert bootstrap(values, np.random.default_rng(0), clusters).low == 0.0
    assert bootstrap(values, np.random.default_rng(0)).low > 0.0


def test_labels_and_order_of_the_days_do_not_matter(rng):
    values, clusters = rng.normal(size=20), np.repeat(np.arange(6), SIZES)
    order = rng.permutation(20)
    got = bootstrap(values, np.random.default_rng(1), clusters)
    again = bootstrap(values[order], np.random.default_rng(1), clusters[order] * 3 + 5)
    assert (again.low, again.high) == pytest.approx((got.low, got.high))


def test_days_stand_alone_where_all_share_one_cluster():
    values = np.arange(9.0)
    alone = bootstrap(values, np.random.default_rng(2))
    assert bootstrap(values, np.random.default_rng(2), np.full(9, 4)) == alone
    assert alone.low < 4.0 < alone.high
    assert bootstrap(values[:1], np.random.default_rng(2)) == Interval(0.0, 0.0, 0.0)


def test_a_seed_repeats_the_interval():
    values = np.sqrt(np.arange(20.0))  # no two resamples have the same mean
    assert bootstrap(values, np.random.default_rng(3)) == bootstrap(
        values, np.random.default_rng(3)
    )
    assert bootstrap(values, np.random.default_rng(3)) != bootstrap(
        values, np.random.default_rng(4)
    )


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


def test_pairs_hold_both_directions_of_every_difference(rng):
    day = rng.normal(0.0, 10.0, size=20)
    money = {"a": day + 2.0, "b": day, "c": day + rng.normal(size=20)}
    found = pairs(money, seed=3)
    assert len(found) == 6
    assert found["a", "b"] == paired(money["a"], money["b"], np.random.default_rng(3))
    assert found["a", "b"].point == pytest.approx(2.0)
    forth, back = found["a", "c"], found["c", "a"]
    assert (back.low, back.point, back.high) == (-forth.high, -forth.point, -forth.low)


def test_pairs_resample_whole_clusters():
    values, clusters = np.repeat([0.5, 1.0, 6.0], 4), np.repeat([7, 8, 9], 4)
    alone = pairs({"a": values, "b": np.zeros(12)}, 0)["a", "b"]
    together = pairs({"a": values, "b": np.zeros(12)}, 0, clusters)["a", "b"]
    assert together.low == 0.5 < alone.low


def test_a_reversal_needs_both_orders_beyond_doubt():
    def both(a: float, b: float, spread: float) -> dict[tuple[str, str], Interval]:
        gap = a - b
        return {
            ("a", "b"): Interval(gap - spread, gap, gap + spread),
            ("b", "a"): Interval(-gap - spread, -gap, -gap + spread),
        }

    there = both(3.0, 1.0, 0.5)
    [found] = reversals(both(1.0, 2.0, 0.5), there)
    assert (found.higher, found.lower) == ("b", "a")
    assert found.here == Interval(0.5, 1.0, 1.5)
    assert found.there == Interval(-2.5, -2.0, -1.5)
    assert reversals(both(1.0, 2.0, 1.5), there) == []  # not clear here
    assert reversals(both(1.0, 2.0, 0.5), both(3.0, 1.0, 2.5)) == []  # not clear there
    assert reversals(both(2.0, 1.0, 0.5), there) == []  # the same order
    assert reversals(both(1.0, 2.0, 0.5), {}) == []  # not played there


def test_the_clearest_reversal_comes_first():
    def order(**gaps: float) -> dict[tuple[str, str], Interval]:
        return {("x", name): Interval(gap, gap, gap) for name, gap in gaps.items()}

    found = reversals(order(a=5.0, b=2.0, c=1.0), order(a=-0.5, b=-3.0, c=-1.0))
    assert [reversal.lower for reversal in found] == ["b", "c", "a"]

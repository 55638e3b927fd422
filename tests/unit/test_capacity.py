"""Capital by the peak: hours by hand, sums that telescope, nothing without cars."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fleet_env.dynamics.capacity import CapacityCharge, HourPeak, peak_to_mean
from fleet_env.types import FloatArray

LOADS = arrays(np.float64, (2, 30, 3), elements=st.floats(0.0, 1e6, allow_subnormal=False))
PER_HOUR = st.sampled_from([1, 2, 4, 6, 12])


def hour_means(load: FloatArray, per_hour: int) -> FloatArray:
    """Means of the last hour of every step, the long way, shape as `load` (steps, rows)."""
    first = np.maximum(np.arange(len(load)) + 1 - per_hour, 0)
    return np.array([load[start : k + 1].mean(axis=0) for k, start in enumerate(first)])


def play(charge_h: float, load: FloatArray, load0: FloatArray, per_hour: int) -> FloatArray:
    charge = CapacityCharge(charge_h, load.shape[1], 1.0 / per_hour)
    return np.array([charge.advance(*step) for step in zip(load, load0, strict=True)])


def test_hour_means_and_peaks_by_hand() -> None:
    """Quarter hours: 4, 8 | then 0, 0, 0 and 40, the hour of which is 10."""
    running = HourPeak(1, 0.25)
    seen = []
    for load in (4.0, 8.0, 0.0, 0.0, 0.0, 40.0):
        growth = running.advance(np.array([load]))
        seen.append((growth[0], running.mean[0], running.peak[0]))
    assert seen == [(4, 4, 4), (2, 6, 6), (0, 4, 6), (0, 3, 6), (0, 2, 6), (4, 10, 10)]


def test_a_day_by_hand() -> None:
    """Steps of an hour at 10 USD per USD/h: cars take 3 of the first 5 and none of the 6."""
    saved = play(10.0, np.array([[2.0], [1.0], [6.0]]), np.array([[5.0], [4.0], [6.0]]), 1)
    # peaks 5, 5, 6 without cars and 2, 2, 6 with them: what was saved at first is paid later
    assert saved[:, 0].tolist() == [30, 0, -30]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(LOADS, PER_HOUR)
def test_steps_add_up_to_the_peak_that_was_moved(loads: FloatArray, per_hour: int) -> None:
    load, load0 = loads
    total = play(2.5, load, load0, per_hour).sum(axis=0)
    peak, peak0 = (hour_means(part, per_hour).max(axis=0) for part in (load, load0))
    np.testing.assert_allclose(total, 2.5 * (peak0 - peak), rtol=1e-9, atol=1e-6)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(LOADS, PER_HOUR)
def test_it_never_pays_more_than_the_peak_without_cars(loads: FloatArray, per_hour: int) -> None:
    """At no time, and cars that only take work away never lose anything."""
    load, load0 = loads
    so_far = np.cumsum(play(2.5, load, load0, per_hour), axis=0)
    worth = 2.5 * np.maximum.accumulate(hour_means(load0, per_hour), axis=0)
    assert (so_far <= worth * (1 + 1e-9) + 1e-6).all()
    less = np.minimum(load, load0)
    assert (np.cumsum(play(2.5, less, load0, per_hour), axis=0) >= -1e-6 * (1 + worth)).all()


@settings(derandomize=True, deadline=None, max_examples=200)
@given(LOADS, PER_HOUR)
def test_without_cars_every_step_is_nothing_to_the_bit(loads: FloatArray, per_hour: int) -> None:
    assert (play(10.1, loads[0], loads[0].copy(), per_hour) == 0.0).all()


@pytest.mark.parametrize("per_hour", [1, 4, 12])
def test_a_row_has_the_same_bits_alone_and_among_others(per_hour: int) -> None:
    load, load0 = np.random.default_rng(0).random((2, 50, 17))
    among = play(3.0, load, load0, per_hour)
    for row in (0, 5, 16):
        alone = play(3.0, load[:, [row]], load0[:, [row]], per_hour)
        assert (alone[:, 0] == among[:, row]).all()


def test_the_noise_of_a_step_counts_for_its_share_of_the_hour_only() -> None:
    steady = np.ones((8, 1))
    spike = steady.copy()
    spike[6] = 5.0
    assert play(1.0, spike, steady, 4).sum() == -1.0  # (5 - 1) / 4, not 4


def test_a_new_episode_has_paid_for_nothing() -> None:
    charge = CapacityCharge(2.0, 1, 0.25)
    first = [charge.advance(np.array([1.0]), np.array([2.0]))[0] for _ in range(2)]
    assert (charge.hour_usd_per_h.tolist(), charge.peak_usd_per_h.tolist()) == ([1.0], [1.0])
    charge.begin()
    assert charge.peak_usd_per_h.tolist() == charge.hour_usd_per_h.tolist() == [0.0]
    again = [charge.advance(np.array([1.0]), np.array([2.0]))[0] for _ in range(2)]
    assert first == again == [2.0, 0.0]


def test_what_the_caller_does_with_its_arrays_later_changes_nothing() -> None:
    charge, load = CapacityCharge(1.0, 1, 0.5), np.array([4.0])
    charge.advance(load, load)
    load[:] = 0.0
    charge.advance(load, load)
    assert charge.hour_usd_per_h.tolist() == [2.0]


def test_peak_to_mean_by_hand() -> None:
    """Half hours: a peak of (6 + 2) / 2 and of 3 over a mean of 2.25; flat load; none."""
    load = np.array([[0.0, 6.0, 2.0, 0.0], [2.0, 2.0, 3.0, 3.0]])
    assert peak_to_mean(load, 0.5) == pytest.approx((4.0 + 3.0) / 2 / 2.25)
    assert peak_to_mean(np.full((3, 8), 7.0), 0.25) == 1.0
    assert peak_to_mean(np.zeros((3, 8)), 0.25) == 1.0

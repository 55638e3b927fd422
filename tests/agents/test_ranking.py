"""The best k of each row, against sorting and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.heuristics import ranking
from agents.heuristics.demand import CarsNeeded
from agents.heuristics.ranking import take_best, take_by_tier


def _slow(score: Any, num: Any, eligible: Any) -> Any:
    """Sort the eligible cars of each row by (-score, index) and mark the first `num`."""
    chosen = np.zeros(score.shape, np.bool_)
    for row in range(len(score)):
        cars = np.flatnonzero(eligible[row])
        order = sorted(cars, key=lambda car: (-score[row, car], car))
        chosen[row, order[: max(0, num[row])]] = True
    return chosen


@given(seed=st.integers(0, 10_000), num_envs=st.integers(1, 6), num_cars=st.integers(1, 40))
def test_take_best_equals_sorting_with_ties_by_index(
    seed: int, num_envs: int, num_cars: int
) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(-3, 4, (num_envs, num_cars)).astype(np.float32)  # many ties
    num = rng.integers(-1, num_cars + 3, num_envs)
    eligible = rng.random(score.shape) < 0.7
    np.testing.assert_array_equal(take_best(score, num, eligible), _slow(score, num, eligible))


@given(seed=st.integers(0, 1_000))
def test_selecting_equals_sorting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 9, (3, 50)).astype(np.float32)
    num = rng.integers(0, 51, 3)
    eligible = rng.random(score.shape) < 0.7
    sorting = take_best(score, num, eligible)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_SORT_UP_TO_CARS", 0)
        np.testing.assert_array_equal(take_best(score, num, eligible), sorting)


def test_take_best_takes_minus_infinity_but_never_the_ineligible() -> None:
    score = np.array([[-np.inf, 1.0, -np.inf]], np.float32)
    eligible = np.array([[False, True, True]])
    np.testing.assert_array_equal(take_best(score, np.array([3]), eligible), [[False, True, True]])


def test_tiers_are_filled_from_the_scarce_one(make_obs: Any) -> None:
    # cars 0 and 1 hold 8B alone and score best; 2 of 3 cars must hold 70B
    obs = make_obs({"fits_70b": [0, 0, 1, 1, 1]}, shape=(1, 5))
    score = np.array([[9.0, 8.0, 3.0, 5.0, 4.0]], np.float32)
    need = CarsNeeded(total=np.array([3]), need_70b=np.array([2]))
    chosen = take_by_tier(obs, score, need, np.ones((1, 5), np.bool_))
    np.testing.assert_array_equal(chosen, [[True, False, False, True, True]])


def test_70b_work_is_not_handed_to_cars_that_cannot_hold_it(make_obs: Any) -> None:
    obs = make_obs({"fits_70b": [0, 0, 1]})
    need = CarsNeeded(total=np.array([3]), need_70b=np.array([2]))
    chosen = take_by_tier(obs, np.ones((1, 3), np.float32), need, np.ones((1, 3), np.bool_))
    np.testing.assert_array_equal(chosen, [[True, False, True]])

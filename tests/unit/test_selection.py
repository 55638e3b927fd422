"""The best k of each row and of each group, against sorting and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_env import selection
from fleet_env.selection import num_of_share, take_best, take_best_by_group


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
        patch.setattr(selection, "_SORT_UP_TO_CARS", 0)
        np.testing.assert_array_equal(take_best(score, num, eligible), sorting)


def test_take_best_takes_minus_infinity_but_never_the_ineligible() -> None:
    score = np.array([[-np.inf, 1.0, -np.inf]], np.float32)
    eligible = np.array([[False, True, True]])
    np.testing.assert_array_equal(take_best(score, np.array([3]), eligible), [[False, True, True]])


def test_a_million_cars_by_hand() -> None:
    # every tenth car is eligible; the best of them are the last ones, scores come in pairs
    num_cars = 1_000_000
    score = (np.arange(num_cars, dtype=np.float32) // 20)[None]
    eligible = (np.arange(num_cars) % 10 == 0)[None]
    (chosen,) = np.nonzero(take_best(score, np.array([3]), eligible)[0])
    np.testing.assert_array_equal(chosen, [999_960, 999_980, 999_990])


@given(
    seed=st.integers(0, 10_000),
    num_envs=st.integers(1, 4),
    num_cars=st.integers(1, 40),
    num_groups=st.integers(1, 5),
)
def test_groups_are_rows_of_their_own(
    seed: int, num_envs: int, num_cars: int, num_groups: int
) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(-3, 4, (num_envs, num_cars)).astype(np.float64)
    group = rng.integers(0, num_groups, score.shape).astype(np.uint8)
    num = rng.integers(-1, num_cars + 3, (num_envs, num_groups))
    eligible = rng.random(score.shape) < 0.7
    expected = np.zeros(score.shape, np.bool_)
    for g in range(num_groups):
        expected |= _slow(score, num[:, g], eligible & (group == g))
    np.testing.assert_array_equal(take_best_by_group(score, group, num, eligible), expected)
    one_group = take_best_by_group(score, 0 * group, num[:, :1], eligible)
    np.testing.assert_array_equal(one_group, take_best(score, num[:, 0], eligible))


def test_nobody_eligible_is_nobody_taken() -> None:
    none = np.zeros((2, 3), np.bool_)
    group, score = np.zeros((2, 3), np.uint8), np.ones((2, 3))
    assert not take_best_by_group(score, group, np.full((2, 1), 3), none).any()
    assert not take_best(score, np.full(2, 3), none).any()


@pytest.mark.parametrize(
    ("share", "num_eligible", "cars"),
    [
        (0.5, 3, 2),  # 1.5 rounds up
        (0.5, 1, 1),
        (0.5, 5, 3),  # half up, not to even
        (0.49, 1, 0),
        (0.1, 1000, 100),
        (1.0, 7, 7),
        (0.0, 7, 0),
        (-0.2, 7, 0),
        (1.2, 7, 7),
        (0.9, 0, 0),
    ],
)
def test_a_share_stands_for_the_nearest_number_of_cars(
    share: float, num_eligible: int, cars: int
) -> None:
    for dtype in (np.float32, np.float64):
        num = num_of_share(np.array([share], dtype), np.array([num_eligible]))
        np.testing.assert_array_equal(num, [cars])

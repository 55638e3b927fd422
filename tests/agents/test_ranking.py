"""The best cars for work of two tiers, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.heuristics.demand import CarsNeeded
from agents.heuristics.ranking import take_by_tier


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

"""Which cars change their model, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_env.dynamics.placement import cars_to_reload, choose_cars


@pytest.mark.parametrize(
    ("short", "idle", "cars"),
    [(0, 9, 0), (0.2, 9, 1), (2.0, 9, 2), (2.1, 9, 3), (5, 2.9, 2), (5, 0.9, 0), (5, 0, 0)],
)
def test_number_of_cars_by_hand(short: float, idle: float, cars: int) -> None:
    assert cars_to_reload(np.array([short]), np.array([idle]))[0] == cars


def test_first_candidates_of_each_row_are_taken() -> None:
    row = np.array([0, 0, 0, 1, 1, 2])
    candidate = np.array([False, True, True, True, True, True])
    chosen = choose_cars(row, candidate, np.array([1.0, 9.0, 0.0]))
    assert chosen.tolist() == [False, True, False, True, True, False]


@given(seed=st.integers(0, 9999), num_rows=st.integers(1, 6), num=st.integers(0, 40))
def test_choice_is_that_of_a_loop(seed: int, num_rows: int, num: int) -> None:
    rng = np.random.default_rng(seed)
    row = np.sort(rng.integers(0, num_rows, num))
    candidate = rng.random(num) < 0.6
    wanted = rng.integers(0, 8, num_rows).astype(float)
    left, want = wanted.copy(), []
    for r, ok in zip(row, candidate, strict=True):
        want.append(bool(ok and left[r] > 0))
        left[r] -= want[-1]
    assert choose_cars(row, candidate, wanted).tolist() == want

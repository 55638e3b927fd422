"""Blocks of cars and the loop over them."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_env.blocks import BLOCK_CARS, Block, for_each, split_blocks


@given(num_envs=st.integers(1, 40), num_cars=st.integers(1, 300), block_cars=st.integers(1, 200))
def test_blocks_cover_every_car_once_in_order(
    num_envs: int, num_cars: int, block_cars: int
) -> None:
    blocks = split_blocks(num_envs, num_cars, block_cars)
    cars = np.concatenate([np.arange(b.lo, b.hi) for b in blocks])
    np.testing.assert_array_equal(cars, np.arange(num_envs * num_cars))
    for b in blocks:
        assert 0 < b.hi - b.lo <= block_cars
        assert b.row_lo == b.lo // num_cars
        assert b.row_hi == (b.hi - 1) // num_cars + 1
        if b.num_rows > 1:  # whole rows
            assert b.lo % num_cars == b.hi % num_cars == 0


@given(
    num_envs=st.integers(1, 9),
    num_cars=st.integers(1, 300),
    block_cars=st.integers(12, 200),
    together=st.integers(1, 12),
)
def test_neighbourhoods_stay_whole(
    num_envs: int, num_cars: int, block_cars: int, together: int
) -> None:
    blocks = split_blocks(num_envs, num_cars, block_cars, together=together)
    cars = np.concatenate([np.arange(b.lo, b.hi) for b in blocks])
    np.testing.assert_array_equal(cars, np.arange(num_envs * num_cars))
    for b in blocks:
        assert 0 < b.hi - b.lo <= block_cars
        assert (b.lo - b.row_lo * num_cars) % together == 0
        assert b.hi == b.row_hi * num_cars or (b.hi - b.row_lo * num_cars) % together == 0


@given(num_envs=st.integers(2, 30), num_cars=st.integers(1, 300), block_cars=st.integers(1, 200))
def test_cuts_inside_a_row_are_at_the_same_cars_in_any_batch(
    num_envs: int, num_cars: int, block_cars: int
) -> None:
    alone = [b.lo for b in split_blocks(1, num_cars, block_cars)]
    for row in range(num_envs):
        lo, hi = row * num_cars, (row + 1) * num_cars
        cuts = [b.lo - lo for b in split_blocks(num_envs, num_cars, block_cars) if lo < b.lo < hi]
        assert cuts == alone[1:]


def test_default_blocks_hold_whole_rows_while_they_fit() -> None:
    rows = BLOCK_CARS // 256
    assert split_blocks(rows, 256) == (Block(0, rows * 256, 0, rows),)
    assert len(split_blocks(rows + 1, 256)) == 2
    assert len(split_blocks(1, BLOCK_CARS + 1)) == 2


def test_one_job_runs_in_the_caller_and_many_keep_their_order() -> None:
    assert for_each([3], lambda _: threading.current_thread()) == [threading.current_thread()]

    def slow_first(i: int) -> int:
        time.sleep(0.02 if i == 0 else 0.0)
        return i

    assert for_each(range(20), slow_first) == list(range(20))
    names = for_each(range(4), lambda _: threading.current_thread().name)
    assert all(name.startswith("fleet") for name in names)


def test_an_error_in_a_block_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        for_each([1, 0], lambda x: 1 // x)

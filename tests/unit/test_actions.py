"""From arrays to duty bits."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from fleet_env.actions import action_space, read_duty_bits


def test_space_has_one_bit_per_car() -> None:
    assert action_space(7) == spaces.MultiBinary(7)


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.int64, np.float16, np.float64])
def test_bits_come_out_flat_in_row_order_as_a_copy(dtype: type) -> None:
    actions = np.array([[1, 0, 0], [0, 1, 1]], dtype)
    bits = read_duty_bits(actions, 2, 3)
    assert bits.dtype == np.bool_
    assert bits.tolist() == [True, False, False, False, True, True]
    bits[:] = True
    assert actions.sum() == 3


def test_strided_actions_are_read_in_row_order() -> None:
    actions = np.array([[1, 0, 0], [0, 1, 1]], np.int8).T.copy().T
    assert read_duty_bits(actions, 2, 3).tolist() == [True, False, False, False, True, True]
    assert read_duty_bits(actions.astype(bool), 2, 3).tolist() == [True, 0, 0, 0, True, True]


def test_first_bad_value_is_named() -> None:
    with pytest.raises(ValueError, match=r"actions\[1, 2\] = 3: expected 0 \(off\)"):
        read_duty_bits([[0, 1, 0], [1, 1, 3]], 2, 3)
    with pytest.raises(ValueError, match=r"actions\[0, 1\] = nan"):
        read_duty_bits([[0, np.nan, 0]], 1, 3)


@pytest.mark.parametrize("dtype", [complex, object, "S1", "datetime64[s]"])
def test_what_is_no_number_is_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match="expected zeros and ones, got dtype"):
        read_duty_bits(np.zeros((1, 2), dtype=dtype), 1, 2)


@pytest.mark.parametrize("shape", [(), (6,), (3, 2), (2, 3, 1), (1, 2, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected shape \(2, 3\)"):
        read_duty_bits(np.zeros(shape), 2, 3)

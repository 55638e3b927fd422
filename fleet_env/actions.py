"""From an agent's array to duty bits, or to an error that says what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from fleet_env.types import BoolArray


def action_space(num_cars: int) -> spaces.MultiBinary:
    """One duty bit per car: 1 = on duty in the coming step, 0 = not."""
    return spaces.MultiBinary(num_cars)


def read_duty_bits(actions: ArrayLike, num_envs: int, num_cars: int) -> BoolArray:
    """Check an action and return it as flat duty bits, a copy.

    Parameters
    ----------
    actions : ArrayLike, shape (num_envs, num_cars)
        Zeros and ones of any number type, or booleans.

    Returns
    -------
    BoolArray, shape (num_envs * num_cars,)

    Raises
    ------
    ValueError
        If the shape differs or a value is neither 0 nor 1; the message names the first one.
    """
    bits: NDArray[Any] = np.asarray(actions)
    if bits.shape != (num_envs, num_cars):
        raise ValueError(
            f"actions: expected shape {(num_envs, num_cars)} (num_envs, num_cars), got {bits.shape}"
        )
    if bits.dtype == np.bool_:
        return bits.ravel().copy()
    if bits.dtype.kind not in "iuf":
        raise ValueError(f"actions: expected zeros and ones, got dtype {bits.dtype}")
    duty = bits == 1
    ok = duty | (bits == 0)
    if not ok.all():
        row, car = np.argwhere(~ok)[0]
        raise ValueError(
            f"actions[{row}, {car}] = {bits[row, car]}: expected 0 (off) or 1 (on duty)"
        )
    flat: BoolArray = duty.ravel()
    return flat

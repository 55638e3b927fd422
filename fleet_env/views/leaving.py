"""How early cars leave: chances measured on train days, `fleet_env/data/leaving.csv`."""

from __future__ import annotations

from functools import cache

import numpy as np

from fleet_env.data import read_table
from fleet_env.types import FloatArray, IntArray

# lower edges of the stated rest of a stay, and times within which a car may have left [h]
STAY_BIN_H = (0.0, 0.25, 0.75, 1.5, 2.5, 3.5, 5.0, 7.0, 9.0, 12.0, 16.0)
WITHIN_H = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0)
_LATE_CHANCE = 0.5  # that a stay ends by its stated end, about: mobility_stated.csv, 0.3 to 0.5
_EARLY_H = 2.0  # a tenth of the owners leave earlier than that before it; mobility_stated.csv
_LEAST_CHANCE = 5e-4  # a cell with few cars never means never: 3 in 6,000 looks


@cache
def leaving() -> FloatArray:
    """Chance that a car that may compute now has left by then, shape (24, bins, len(WITHIN_H)).

    By local hour, stated rest of the stay (`STAY_BIN_H`) and time within.
    """
    table = read_table("leaving.csv")
    cells = np.stack([table[f"left_in_{time_h:g}h"] for time_h in WITHIN_H], axis=-1)
    shape = (24, len(STAY_BIN_H), len(WITHIN_H))
    chance: FloatArray = np.maximum(cells, _LEAST_CHANCE).reshape(shape)
    chance.flags.writeable = False
    return chance


def stay_bin(stay_h: FloatArray) -> IntArray:
    """Row of `leaving` for a stated rest of the stay."""
    edges = np.array(STAY_BIN_H[1:], np.float32)
    return np.searchsorted(edges, stay_h, side="right")


def chance_of_leaving(hour: IntArray, stay_h: FloatArray, within_h: FloatArray) -> FloatArray:
    """Chance that a car leaves within a time, the next longer one of the table.

    Parameters
    ----------
    hour : IntArray, shape (n,)
        Local hour now, 0 to 23.
    stay_h : FloatArray, shape (n,)
        Stated rest of the stay [h].
    within_h : FloatArray, shape (n,)
        Beyond the last time of the table the last one counts, and an even chance if the stated
        end is near or past by then.

    Returns
    -------
    FloatArray, shape (n,)
    """
    times = np.array(WITHIN_H[:-1], np.float32)
    column = np.searchsorted(times, within_h, side="left")
    cell = (hour * len(STAY_BIN_H) + stay_bin(stay_h)) * len(WITHIN_H) + column
    chance: FloatArray = leaving().ravel().take(cell)
    late = (within_h > WITHIN_H[-1]) & (within_h > stay_h - _EARLY_H)
    return np.where(late, np.maximum(chance, _LATE_CHANCE), chance)

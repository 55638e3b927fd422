"""What is usual: how early cars leave, how many can serve, when people ask; measured on train days.

The tables `leaving.csv` and `usual_day.csv` were written by `python -m agents.costs.make_usual`.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

import numpy as np

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
    cells = _read("leaving.csv")[:, 2:]
    table = np.maximum(cells, _LEAST_CHANCE).reshape(24, len(STAY_BIN_H), len(WITHIN_H))
    table.flags.writeable = False
    return table


@cache
def usual_day() -> FloatArray:
    """Share of the cars that may compute, and chat over its mean, shape (2, 2, 24).

    By quantity, weekend (0, 1) and local hour.
    """
    table = _read("usual_day.csv")[:, 2:].reshape(2, 24, 2).transpose(2, 0, 1)
    table.flags.writeable = False
    return table


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


def _read(name: str) -> FloatArray:
    lines = resources.files("agents.costs").joinpath(name).read_text("utf-8").splitlines()
    rows = list(csv.reader(line for line in lines if line and not line.startswith("#")))
    return np.array([[float(cell) for cell in row] for row in rows[1:]])

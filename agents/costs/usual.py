"""What is usual: how many cars can serve and when people ask, measured on train days.

The table `usual_day.csv` was written by `python -m agents.costs.make_usual`.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

import numpy as np

from fleet_env.types import FloatArray


@cache
def usual_day() -> FloatArray:
    """Share of the cars that may compute, and chat over its mean, shape (2, 2, 24).

    By quantity, weekend (0, 1) and local hour.
    """
    table = _read("usual_day.csv")[:, 2:].reshape(2, 24, 2).transpose(2, 0, 1)
    table.flags.writeable = False
    return table


def _read(name: str) -> FloatArray:
    lines = resources.files("agents.costs").joinpath(name).read_text("utf-8").splitlines()
    rows = list(csv.reader(line for line in lines if line and not line.startswith("#")))
    return np.array([[float(cell) for cell in row] for row in rows[1:]])

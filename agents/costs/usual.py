"""What is usual: how many cars can serve and when people ask, measured on train days.

The table `usual_day.csv` was written by `python -m agents.costs.make_usual`.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np

from fleet_env.types import FloatArray


@cache
def usual_day() -> FloatArray:
    """Share of the cars that may compute, and chat over its mean, shape (2, 2, 24).

    By quantity, weekend (0, 1) and local hour.
    """
    file = resources.files("agents.costs").joinpath("usual_day.csv")
    lines = [line for line in file.read_text("utf-8").splitlines() if not line.startswith("#")]
    rows = np.loadtxt(lines, delimiter=",", skiprows=1)
    table: FloatArray = rows[:, 2:].reshape(2, 24, 2).transpose(2, 0, 1)
    table.flags.writeable = False
    return table

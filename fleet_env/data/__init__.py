"""Small calibrated tables shipped with the package; `SOURCES.md` has sources and licences."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray


@cache
def read_table(name: str) -> MappingProxyType[str, NDArray[Any]]:
    """Read a shipped CSV table.

    Parameters
    ----------
    name : str
        File name inside `fleet_env/data`, for instance ``"accelerators.csv"``. Lines that start
        with ``#`` carry the
        source and the licence and are skipped.

    Returns
    -------
    mapping of str to NDArray
        One read-only array per column: float64 where every cell is a number, else str.

    Raises
    ------
    FileNotFoundError
        If the package holds no such table.
    """
    file = resources.files("fleet_env.data").joinpath(name)
    lines = [
        line for line in file.read_text("utf-8").splitlines() if line and not line.startswith("#")
    ]
    rows = list(csv.DictReader(lines))
    table = {column: _column([row[column] for row in rows]) for column in rows[0]}
    return MappingProxyType(table)


def _column(cells: list[str]) -> NDArray[Any]:
    try:
        column: NDArray[Any] = np.array([float(cell) for cell in cells])
    except ValueError:
        column = np.array(cells)
    column.flags.writeable = False
    return column

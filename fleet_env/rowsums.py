"""Sums over cars by row of the batch: what the ledger books."""

from __future__ import annotations

from functools import cache

import numpy as np

from fleet_env.types import BoolArray, FloatArray, IntArray

CAR_SUMS = (
    "energy_usd",
    "wear_usd",
    "public_usd",
    "on_duty_h",
    "serving_h",
    "metered_kwh",
    "gap_kwh",
    "pack_kwh",
    "signed_wear_usd",
    "extra_fade",
    "shortfalls",
    "shortfall_kwh",
    "shortfall_usd",
    "broken_promises",
    "public_kwh",
    "departures",
    "started",
    "cellular_h",
    "carbon_kg",
    "dropouts",
    "feeder_cut_kwh",
    "quiet_h",
)
SUM = {name: i for i, name in enumerate(CAR_SUMS)}


class RowSums:
    """Sums over the cars of a block by row, in the order of the cars, in float64."""

    def __init__(self, num_rows: int) -> None:
        self.values = np.zeros((len(CAR_SUMS), num_rows))

    def add(self, row: IntArray, **values: FloatArray | BoolArray) -> None:
        """Add numbers per car by name; `row` is the row within the block, ascending."""
        stacked = np.array(list(values.values()), dtype=np.float64)
        edges = row.searchsorted(np.arange(self.values.shape[1] + 1))
        filled = (edges[:-1] < edges[1:]).nonzero()[0]
        sums = np.add.reduceat(stacked, edges.take(filled), axis=1)
        places = _places(tuple(values))
        if filled.size == self.values.shape[1]:
            self.values[places] += sums
        else:
            self.values[places[:, None], filled] += sums


@cache
def _places(names: tuple[str, ...]) -> IntArray:
    return np.array([SUM[name] for name in names])

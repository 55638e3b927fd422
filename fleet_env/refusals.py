"""Why duty bits are refused: the first reason that applies (docs/model.md 5.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fleet_env.blocks import Block
from fleet_env.metrics import REFUSALS
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.world import (
    ALLOWED,
    CAPPED,
    HOT,
    NO_LINK,
    QUIET,
    RESERVE,
    SILENT,
    SNOOZED,
    Gates,
    World,
)


@dataclass(frozen=True, slots=True)
class Refused:
    """Duty bits of a block that were refused."""

    counts: FloatArray  # (rows, reasons)
    cars: IntArray  # (n,) flat car numbers
    reason: IntArray  # (n,) uint8, codes of `fleet_env.world`


def refusals(
    world: World,
    block: Block,
    refused: BoolArray,
    gates: Gates,
    silent: Callable[[IntArray], BoolArray],
    t_h: float,
) -> Refused:
    """Find the first reason against every refused duty bit of a block (docs/model.md 5.5)."""
    rows = block.num_rows
    cars = refused.nonzero()[0]
    if cars.size == 0:
        return Refused(np.zeros((rows, len(REFUSALS))), cars, np.zeros(0, np.uint8))
    cars += block.lo
    reason = world.derived.reason[cars]
    late = np.flatnonzero(reason == ALLOWED)
    if late.size:
        reason[late] = _passing_reason(world, cars[late], gates, silent, t_h)
    if gates.cut is not None:
        reason[(reason > NO_LINK) & gates.cut[cars]] = NO_LINK
    slot = (world.derived.row[cars] - block.row_lo) * len(REFUSALS) + reason - 1
    counts = np.bincount(slot, minlength=rows * len(REFUSALS))
    return Refused(counts.reshape(rows, -1).astype(np.float64), cars, reason)


def _passing_reason(
    world: World, cars: IntArray, gates: Gates, silent: Callable[[IntArray], BoolArray], t_h: float
) -> IntArray:
    """Reason against duty of cars whose stay allows it; later lines come first."""
    state, derived = world.state, world.derived
    reason = np.full(cars.shape, HOT, np.uint8)
    low = world.twin_soc(cars, t_h) - state.gap[cars] <= world.params.reserve_soc[cars]
    reason[low] = RESERVE
    reason[state.snooze_h[cars] <= t_h] = SNOOZED
    if gates.closed is not None:
        reason[gates.closed[derived.hours[cars]]] = QUIET
    reason[state.duty_h[cars] >= gates.cap_h] = CAPPED
    reason[silent(cars)] = SILENT
    return reason

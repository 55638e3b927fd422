"""What cars show and may do at the start of a step: charge, duty mask, refused bits (kernel 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fleet_env.blocks import DENSE_CARS, Block, for_each
from fleet_env.refusals import Refused, refusals
from fleet_env.telemetry import Telemetry, duty_mask
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.world import ALLOWED, Gates, World


def look(
    eyes: Telemetry, blocks: Sequence[Block], gates: Gates, t_h: float
) -> tuple[FloatArray, BoolArray]:
    """Read charge and duty mask of all cars, as telemetry shows them."""
    num = blocks[-1].hi
    soc, mask = np.empty(num, np.float32), np.empty(num, np.bool_)

    def read(lo: int, hi: int) -> None:
        for start in range(lo, hi, DENSE_CARS):
            cars = slice(start, min(start + DENSE_CARS, hi))
            shown = eyes.charge(cars, t_h, out=soc[cars])
            duty_mask(eyes.told, cars, shown, gates, eyes.seen_h(t_h, cars), out=mask[cars])

    for_each(blocks, lambda b: read(b.lo, b.hi))
    return soc, mask


def project(
    world: World,
    telemetry: Telemetry,
    blocks: Sequence[Block],
    duty: BoolArray,
    mask: BoolArray,
    gates: Gates,
    t_h: float,
) -> list[Refused]:
    """Clear the bits of cars that may not compute, in place, and find the reasons.

    Parameters
    ----------
    duty : BoolArray, shape (num_envs * num_cars,)
        The agent's bits.
    mask : BoolArray, shape (num_envs * num_cars,)
        Cars that may be on duty as far as the dispatcher was told.
    gates : Gates
        What keeps cars off duty in truth.
    """
    if telemetry.perfect:
        refused = duty & ~mask
    else:
        refused = np.zeros_like(duty)
        wanted = duty.nonzero()[0]
        refused[wanted[~_may_work(world, wanted, gates, t_h)]] = True
    duty &= ~refused
    unheard = telemetry.unreachable
    found = for_each(
        blocks, lambda b: refusals(world, b, refused[b.lo : b.hi], gates, unheard, t_h)
    )
    for part in found:
        stay = world.derived.reason[part.cars]
        lasting = mask[part.cars] & (stay != ALLOWED)
        telemetry.refuse(part.cars[lasting], stay[lasting])
    return found


def _may_work(world: World, cars: IntArray, gates: Gates, t_h: float) -> BoolArray:
    """Whether cars may be on duty now, whatever telemetry says."""
    soc = world.twin_soc(cars, t_h) - world.state.gap[cars]
    may = np.empty(cars.shape, np.bool_)
    duty_mask(world, cars, soc, gates, t_h, out=may)
    return may

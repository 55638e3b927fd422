"""Shares the money of a row out to its cars: what each earned, and what each was worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleet_env import rewards
from fleet_env.blocks import Block
from fleet_env.config import RewardConfig
from fleet_env.dispatch import Dispatch
from fleet_env.dynamics.duty import count_by
from fleet_env.dynamics.marginal import Worth
from fleet_env.dynamics.serving import ServiceFlows
from fleet_env.service import per_row
from fleet_env.types import FloatArray
from fleet_env.world import World

TINY = 1e-12  # keeps 0 / 0 out of shares whose numerator is then 0


def share_credit(
    world: World, shared_usd: FloatArray, blocks: Sequence[Block], parts: Sequence[Dispatch]
) -> None:
    """Split what a row earned and lost with requests over its cars, by their serving time.

    Where none served, what completed was in flight before: all cars of the row share it.

    Parameters
    ----------
    shared_usd : FloatArray, shape (num_envs,)
    """
    served = [part.flows.serve_min * part.weight for part in parts]
    total, per_minute = _per_unit(shared_usd, blocks, parts, served)
    leftover = np.where(total > 0, 0.0, shared_usd) / world.config.num_cars
    for block, part, minutes in zip(blocks, parts, served, strict=True):
        world.charge(part.cars, -per_minute[part.row + block.row_lo] * minutes)
        span = np.arange(block.lo, block.hi)
        world.charge(span, -leftover[world.derived.row[span]])


@dataclass(frozen=True)
class Losses:
    """What single cars of each row lost besides their own costs, shape (num_envs,) [USD, >= 0]."""

    cut_usd: FloatArray  # chat that died with cars that left: its credit, and the SLO penalty
    back_usd: FloatArray  # batch work that fell back, at what room for it was worth
    data_usd: FloatArray  # requests over cellular links

    @classmethod
    def of(
        cls,
        flows: ServiceFlows,
        price_usd: FloatArray,
        worth: Worth,
        data_usd: FloatArray,
        config: RewardConfig,
    ) -> Losses:
        """Price the losses of a step; `price_usd` is the credit of a request by class."""
        cut_usd = rewards.avoided(flows.lost, price_usd)
        cut_usd += rewards.slo_penalty(flows.lost, price_usd, config)
        return cls(cut_usd, flows.requeued * worth.batch_usd, data_usd)


def marginal_usd(
    own_usd: FloatArray,
    blocks: Sequence[Block],
    parts: Sequence[Dispatch],
    worth: Worth,
    losses: Losses,
) -> FloatArray:
    """Work out what each car was worth at the margin in a step (docs/model.md 6).

    Parameters
    ----------
    own_usd : FloatArray, shape (num_envs * num_cars,)
        What is booked on each car alone: energy, wear, owner, noise; costs < 0.
    worth : Worth
        Of serving cars, by their area, group and minute.
    losses : Losses
        Of each row.

    Returns
    -------
    FloatArray, shape (num_envs * num_cars,)
    """
    usd = own_usd.copy()
    minute_usd = worth.car_usd.reshape(-1, worth.car_usd.shape[3])
    for part in parts:
        usd[part.cars] += _served_usd(minute_usd, part)
    for lost_usd, units in (
        (losses.cut_usd, [part.flows.cut * part.weight for part in parts]),
        (losses.back_usd, [(part.flows.cut | part.stops) * part.weight for part in parts]),
        (losses.data_usd, [_cellular_min(part) for part in parts]),
    ):
        _, per_unit = _per_unit(lost_usd, blocks, parts, units)
        for block, part, own in zip(blocks, parts, units, strict=True):
            usd[part.cars] -= per_unit[part.row + block.row_lo] * own
    return usd


def _served_usd(minute_usd: FloatArray, part: Dispatch) -> FloatArray:
    """Add up the worth of the minutes that each car served, shape (n,).

    `minute_usd` has a row per area and group, a column per minute.
    """
    until_usd = np.zeros((minute_usd.shape[0], minute_usd.shape[1] + 1))
    np.add.accumulate(minute_usd, axis=1, out=until_usd[:, 1:])
    cell = part.kind >> 1  # without the air

    def until(minute: FloatArray) -> FloatArray:
        whole = np.minimum(minute.astype(np.intp), minute_usd.shape[1] - 1)
        usd: FloatArray = until_usd[cell, whole] + (minute - whole) * minute_usd[cell, whole]
        return usd

    flows = part.flows
    served: FloatArray = part.weight * (until(flows.serve_to) - until(flows.serve_from))
    return served


def _cellular_min(part: Dispatch) -> FloatArray:
    """Minutes that each car served over a cellular link."""
    if part.cellular is None:
        return np.zeros(part.cars.shape)
    return part.flows.serve_min * part.cellular


def _per_unit(
    usd: FloatArray,
    blocks: Sequence[Block],
    parts: Sequence[Dispatch],
    units: Sequence[FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """Add up units by row, and divide the money of the row by them; 0 where there are none."""
    counts = [
        count_by(part.row, own, block.num_rows)
        for part, own, block in zip(parts, units, blocks, strict=True)
    ]
    total = per_row(len(usd), blocks, counts)
    return total, np.where(total > 0, usd, 0.0) / np.maximum(total, TINY)

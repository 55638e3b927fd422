"""First half of a step, per block of cars: who is on duty, awake, serving (kernels 1 to 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.blocks import Block
from fleet_env.dynamics import duty as kernels
from fleet_env.dynamics.placement import cars_to_reload, choose_cars
from fleet_env.metrics import REFUSALS
from fleet_env.types import TIER_8B, TIER_70B, BoolArray, FloatArray, IntArray
from fleet_env.units import MIN_PER_H
from fleet_env.world import ALLOWED, HOT, RESERVE, SNOOZED, World


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Active cars of a block and what they do in the step."""

    cars: IntArray  # (n,) flat car numbers, ascending
    row: IntArray  # (n,) row within the block
    kind: IntArray  # (n,) row of the power table: (row of the batch, group, closed garage)
    weight: FloatArray  # (n,) derating factor
    flows: kernels.DutyFlows
    profile: FloatArray  # (rows, groups, minutes) serving cars
    lost_cars: FloatArray  # (rows, groups) cars whose serving was cut
    stopped: FloatArray  # (rows, groups) serving cars switched off
    downloaded_gb: FloatArray  # (rows,) weights fetched


def refusals(
    world: World, block: Block, refused: BoolArray, hot: BoolArray, t_h: float
) -> FloatArray:
    """Count refused duty bits by reason, shape (rows, reasons)."""
    rows = block.num_rows
    counts = np.zeros((rows, len(REFUSALS)))
    cars = refused.nonzero()[0]
    if cars.size == 0:
        return counts
    cars += block.lo
    derived, state = world.derived, world.state
    row = derived.row[cars] - block.row_lo
    reason = derived.reason[cars]
    late = np.flatnonzero(reason == ALLOWED)
    if late.size:
        some = cars[late]
        soft = np.where(hot[derived.air[some]], HOT, RESERVE)
        low = world.twin_soc(some, t_h) - state.gap[some] <= world.params.reserve_soc[some]
        soft[low] = RESERVE
        soft[state.snooze_h[some] <= t_h] = SNOOZED
        reason[late] = soft
    slot = row * len(REFUSALS) + reason - 1
    counts += np.bincount(slot, minlength=counts.size).reshape(counts.shape)
    return counts


def dispatch(
    world: World,
    block: Block,
    duty: BoolArray,
    derate: FloatArray,
    t_h: float,
    num_minutes: int,
    *,
    short: FloatArray,
    idle: FloatArray,
) -> Dispatch:
    """Play kernels 1 to 3 for the active cars of a block.

    Parameters
    ----------
    duty : BoolArray, shape (num_envs * num_cars,)
        Duty bits after projection.
    derate : FloatArray, shape (num_envs * num_accelerators * 2,)
        Derating factor by `Derived.air`.
    short : FloatArray, shape (num_envs, 2)
        Work per tier that no car could take in the step before, in cars.
    idle : FloatArray, shape (num_envs, num_groups)
        Cars of each group that idled in the step before.
    """
    setup, state, derived = world.setup, world.state, world.derived
    span = slice(block.lo, block.hi)
    cars = (duty[span] | derived.live[span] | state.duty[span]).nonzero()[0]
    cars += block.lo
    row = derived.row.take(cars)
    row -= block.row_lo
    on, was_on = duty.take(cars), state.duty.take(cars)
    if world.setup.places_models:
        share = (block.hi - block.lo) / (block.num_rows * world.config.num_cars)
        there = slice(block.row_lo, block.row_hi)
        place_models(
            world, row, cars, on & was_on, on & ~was_on, short[there] * share, idle[there] * share
        )
    ready, tail = state.ready_min.take(cars), state.tail_min.take(cars)
    flows = kernels.play_duty(
        on,
        was_on,
        ready,
        tail,
        derived.cold_min.take(cars),
        _minutes_until(state.event_h.take(cars), t_h),
        _minutes_until(state.snooze_h.take(cars), t_h),
        step_min=float(num_minutes),
        full_tail_min=world.config.serving.tail_min,
    )
    downloaded_gb = _download(world, cars, row, flows.on, ready, block.num_rows)
    state.ready_min[cars] = ready
    state.tail_min[cars] = tail
    weight = derate.take(derived.air.take(cars))
    cell = row * setup.num_groups
    cell += world.group(cars)
    kind = cell * 2
    kind += derived.garage.take(cars)
    kind += block.row_lo * setup.num_groups * 2
    shape = (block.num_rows, setup.num_groups)
    profile = kernels.serving_profile(
        cell,
        weight,
        flows.serve_from,
        flows.on_min,
        num_cells=shape[0] * shape[1],
        num_minutes=num_minutes,
    )
    lost = _count(cell, weight, flows.cut, shape[0] * shape[1]).reshape(shape)
    return Dispatch(
        cars,
        row,
        kind,
        weight,
        flows,
        profile=profile.reshape((*shape, num_minutes)),
        lost_cars=lost,
        stopped=_count(cell, weight, flows.stopped, shape[0] * shape[1]).reshape(shape),
        downloaded_gb=downloaded_gb,
    )


def place_models(
    world: World,
    row: IntArray,
    cars: IntArray,
    stays_on: BoolArray,
    wakes: BoolArray,
    short: FloatArray,
    idle: FloatArray,
) -> None:
    """Load the tier that is short: into waking cars, and into idle ones of the other tier.

    Only accelerators whose memory does not hold all their tiers at once have a choice. A reload is
    billed as awake time: the car serves nothing until the model is in memory.
    """
    setup, state = world.setup, world.state
    chip = world.params.accelerator.take(cars)
    some = world.has_choice.take(chip)
    held = state.resident.take(cars)
    wanted = np.where(short[:, TIER_70B] > short[:, TIER_8B], 1 << TIER_70B, 1 << TIER_8B)
    reload = wakes & some & np.logical_or.reduce(short > 0, axis=1).take(row)
    fresh = np.where(reload, wanted[row], held).astype(np.uint8)
    for group in range(setup.num_groups):
        tier = int(setup.group_resident[group]).bit_length() - 1
        if not world.has_choice[setup.group_accelerator[group]]:
            continue
        here = stays_on & (chip == setup.group_accelerator[group]) & (held == 1 << tier)
        here &= state.ready_min.take(cars) <= 0
        count = cars_to_reload(short[:, 1 - tier], idle[:, group])
        switch = choose_cars(row, here, count)
        fresh[switch] = 1 << (1 - tier)
        state.ready_min[cars[switch]] = world.load_min_of(chip[switch], fresh[switch])
    changed = np.flatnonzero(fresh != held)
    if changed.size:
        world.load_models(cars[changed], fresh[changed])


def _minutes_until(time_h: FloatArray, t_h: float) -> FloatArray:
    time_h -= t_h
    time_h *= MIN_PER_H
    return time_h


def _download(
    world: World,
    cars: IntArray,
    row: IntArray,
    on: BoolArray,
    ready_min: FloatArray,
    num_rows: int,
) -> FloatArray:
    """Fetch weights while waking; few cars have any left, so look first. Returns GB per row."""
    left_gb = world.state.weights_gb.take(cars)
    loading = (on & (left_gb > 0)).nonzero()[0]
    if not loading.size:
        return np.zeros(num_rows)
    some, left_gb = cars[loading], left_gb[loading]
    after_gb = kernels.fetch_weights(
        left_gb, ready_min[loading], world.params.down_mbps[some], world.derived.load_min[some]
    )
    world.state.weights_gb[some] = after_gb
    world.refresh_cold(some)
    return kernels.count_by(row[loading], left_gb - after_gb, num_rows)


def _count(cell: IntArray, weight: FloatArray, which: BoolArray, num_cells: int) -> FloatArray:
    some = which.nonzero()[0]
    if not some.size:
        return np.zeros(num_cells)
    return kernels.count_by(cell[some], weight[some], num_cells)

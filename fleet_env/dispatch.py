"""First half of a step, per block of cars: who is on duty, awake, serving (kernels 1 to 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fleet_env import draws
from fleet_env.blocks import Block
from fleet_env.dynamics import duty as kernels
from fleet_env.dynamics.placement import cars_to_reload, choose_cars
from fleet_env.generators.outages import StepOutages
from fleet_env.regions import num_regions
from fleet_env.types import TIER_8B, TIER_70B, BoolArray, FloatArray, IntArray, KeyArray
from fleet_env.units import MIN_PER_H
from fleet_env.world import World


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Active cars of a block and what they do in the step."""

    cars: IntArray  # (n,) flat car numbers, ascending
    row: IntArray  # (n,) row within the block
    kind: IntArray  # (n,) row of the power table: (area, group, closed garage)
    weight: FloatArray  # (n,) derating factor
    flows: kernels.DutyFlows
    stops: BoolArray  # (n,) served and was switched off, or stopped by a release
    cellular: BoolArray | None  # (n,) on a cellular link; None: no owner allows it
    profile: FloatArray  # (rows, regions, groups, minutes) serving cars
    lost_cars: FloatArray  # (rows, regions, groups) cars whose serving was cut
    stopped: FloatArray  # (rows, groups) serving cars switched off, or stopped by a release
    downloaded_gb: FloatArray  # (rows,) weights fetched
    interrupted: IntArray  # cars whose duty ended inside the step


def dispatch(
    world: World,
    block: Block,
    duty: BoolArray,
    derate: FloatArray,
    step: int,
    *,
    short: FloatArray,
    idle: FloatArray,
    outages: StepOutages | None,
    restarted: BoolArray | None,
    row_keys: KeyArray,
) -> Dispatch:
    """Play kernels 1 to 3 for the active cars of a block.

    Parameters
    ----------
    duty : BoolArray, shape (num_envs * num_cars,)
        Duty bits after projection.
    derate : FloatArray, shape (areas * num_accelerators * 2,)
        Derating factor by `Derived.air`.
    step : int
        Number of the step.
    short : FloatArray, shape (num_envs, 2)
        Work per tier that no car could take in the step before, in cars.
    idle : FloatArray, shape (num_envs, num_groups)
        Cars of each group that idled in the step before.
    outages : StepOutages, optional
        Links that fail in this step.
    restarted : BoolArray, shape (num_envs * num_cars,), optional
        Cars that were serving when a release made their weights outdated.
    row_keys : KeyArray, shape (num_envs,)
        Scenario keys.
    """
    cars = _active_cars(world, block, duty)
    row = world.derived.row.take(cars)
    row -= block.row_lo
    on, was_on = duty.take(cars), world.state.duty.take(cars)
    if world.setup.places_models:
        share = (block.hi - block.lo) / (block.num_rows * world.config.num_cars)
        there = slice(block.row_lo, block.row_hi)
        short, idle = short[there] * share, idle[there] * share
        place_models(world, row, cars, on & was_on, on & ~was_on, short, idle)
    delay_min = start_delay_min(world, cars, on & ~was_on, step, row_keys)
    flows, ready_min = _play_duty(world, cars, on, was_on, step, outages, delay_min)
    downloaded_gb = _download(world, cars, row, flows.on, ready_min, block.num_rows)
    stops = flows.stopped if restarted is None else flows.stopped | restarted.take(cars)
    weight = derate.take(world.derived.air.take(cars))
    kind, counts = _count_cars(world, block, cars, weight, flows, stops)
    return Dispatch(
        cars,
        row,
        kind,
        weight,
        flows,
        stops,
        _cellular(world, cars),
        *counts,
        downloaded_gb=downloaded_gb,
        interrupted=cars[flows.on & (flows.serve_to < world.config.step_min)],
    )


def _active_cars(world: World, block: Block, duty: BoolArray) -> IntArray:
    """Find the cars of a block that need care: on duty, so in the step before, or live."""
    span = slice(block.lo, block.hi)
    cars = (duty[span] | world.derived.live[span] | world.state.duty[span]).nonzero()[0]
    cars += block.lo
    return cars


def _play_duty(
    world: World,
    cars: IntArray,
    on: BoolArray,
    was_on: BoolArray,
    step: int,
    outages: StepOutages | None,
    delay_min: FloatArray | None,
) -> tuple[kernels.DutyFlows, FloatArray]:
    """Wake, load, serve, tail: the flows of the cars, and the minutes until they are ready."""
    state, config, t_h = world.state, world.config, step * world.config.dt_h
    ready, tail = state.ready_min.take(cars), state.tail_min.take(cars)
    flows = kernels.play_duty(
        on,
        was_on,
        ready,
        tail,
        world.derived.cold_min.take(cars),
        _minutes_until(state.event_h.take(cars), t_h),
        _minutes_until(stop_h(world, cars, outages), t_h),
        step_min=float(config.step_min),
        full_tail_min=config.serving.tail_min,
        delay_min=delay_min,
    )
    state.ready_min[cars] = ready
    state.tail_min[cars] = tail
    return flows, ready


def _count_cars(
    world: World,
    block: Block,
    cars: IntArray,
    weight: FloatArray,
    flows: kernels.DutyFlows,
    stops: BoolArray,
) -> tuple[IntArray, tuple[FloatArray, FloatArray, FloatArray]]:
    """Count serving, cut and stopped cars by area and group; and the power kind of each car."""
    regions, num_groups = num_regions(world.config), world.setup.num_groups
    shape = (block.num_rows, regions, num_groups)
    num_cells, first_cell = math.prod(shape), block.row_lo * regions * num_groups
    cell = world.derived.area.take(cars)
    cell *= num_groups
    cell += world.group(cars)
    kind = cell * 2
    kind += world.derived.garage.take(cars)
    cell -= first_cell
    num_minutes = world.config.step_min
    profile = kernels.serving_profile(
        cell,
        weight,
        flows.serve_from,
        flows.serve_to,
        num_cells=num_cells,
        num_minutes=num_minutes,
    )
    lost_cars = _count(cell, weight, flows.cut, num_cells).reshape(shape)
    stopped = _count(cell, weight, stops, num_cells).reshape(shape).sum(axis=1)
    return kind, (profile.reshape((*shape, num_minutes)), lost_cars, stopped)


def _cellular(world: World, cars: IntArray) -> BoolArray | None:
    if world.config.fleet.cellular_share == 0:
        return None
    return world.derived.cellular.take(cars)


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


def stop_h(world: World, cars: IntArray, outages: StepOutages | None) -> FloatArray:
    """Time at which duty ends before the departure: call-back, or a link that fails [h].

    Hours since the start of the episode, inf where neither is to come; shape (n,), the caller's.
    """
    end_h = world.state.snooze_h.take(cars)
    if outages is not None:
        near = world.derived.neighbourhood.take(cars)
        if outages.fails_h is not None:
            np.minimum(end_h, outages.fails_h.take(near), out=end_h)
        if outages.home_fails_h is not None:
            at_home = np.where(
                world.derived.home_link.take(cars),
                outages.home_fails_h.take(near),
                np.float32(np.inf),
            )
            np.minimum(end_h, at_home, out=end_h)
    return end_h


def start_delay_min(
    world: World, cars: IntArray, wakes: BoolArray, step: int, row_keys: KeyArray
) -> FloatArray | None:
    """Minute of the step at which cars that wake begin, at random so that no peak forms.

    Parameters
    ----------
    cars : IntArray, shape (n,)
        Flat car numbers.
    wakes : BoolArray, shape (n,)
        Whether the car starts in this step; the others get 0.
    step : int
        Number of the step.
    row_keys : KeyArray, shape (num_envs,)
        Scenario keys.

    Returns
    -------
    FloatArray, shape (n,), or None
        None where the card spreads no starts.
    """
    spread_min = min(world.config.feeder.start_spread_min, world.config.step_min)
    if spread_min == 0.0:
        return None
    delay = np.zeros(cars.shape, np.float32)
    some = wakes.nonzero()[0]
    row, number = np.divmod(cars.take(some), world.config.num_cars)
    keys = draws.unit_keys(row_keys.take(row), draws.Stream.START_SECOND, number)
    delay[some] = draws.uniform(keys, np.array(step), 1)[0] * np.float32(spread_min)
    return delay


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

"""Departures and arrivals inside a step (kernels 7 and 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env import draws
from fleet_env.blocks import Block
from fleet_env.dynamics import mobility, owners
from fleet_env.dynamics.owners import shortfall_soc
from fleet_env.rewards import shortfall_cost
from fleet_env.rowsums import RowSums
from fleet_env.types import DRIVING, HOME, BoolArray, FloatArray, IntArray, KeyArray
from fleet_env.world import AreaInputs, World


@dataclass(frozen=True, slots=True)
class EventKeys:
    """Keys of what is drawn at events."""

    arrival: KeyArray  # (num_envs * num_cars,) car keys of `Stream.ARRIVAL`
    row: KeyArray  # (num_envs,) scenario keys


def play_events(
    world: World,
    block: Block,
    areas: AreaInputs,
    keys: EventKeys,
    tables: mobility.MobilityTables,
    sums: RowSums,
) -> IntArray:
    """Departures and arrivals inside the step, in time order car by car; return the cars."""
    state = world.state
    end_h = np.float32(areas.t_h + areas.dt_h)
    cars = (state.event_h[block.lo : block.hi] < end_h).nonzero()[0]
    cars += block.lo
    moved = cars
    while cars.size:
        leaving = cars[state.place.take(cars) != DRIVING]
        if leaving.size:
            _depart(world, block, areas, leaving, keys, tables, sums)
            cars = cars[state.event_h.take(cars) < end_h]
        coming = cars[state.place.take(cars) == DRIVING]
        if coming.size:
            _arrive(world, areas, coming, keys, tables)
        cars = coming[state.event_h.take(coming) < end_h]
    world.refresh(moved)
    return moved


def _depart(
    world: World,
    block: Block,
    areas: AreaInputs,
    cars: IntArray,
    keys: EventKeys,
    tables: mobility.MobilityTables,
    sums: RowSums,
) -> None:
    state = world.state
    left_h, stated_h = state.event_h.take(cars), state.stated_h.take(cars)
    twin, twin_public_kwh = mobility.depart(state, world.params, tables, cars)
    owing = state.gap.take(cars).nonzero()[0]
    if owing.size:
        some = cars[owing]
        overdue = left_h[owing] >= stated_h[owing]
        _settle_departure(
            world, block, areas, some, twin[owing], twin_public_kwh[owing], overdue, keys, sums
        )
    state.duty[cars] = False
    state.ready_min[cars] = 0.0
    state.tail_min[cars] = 0.0
    state.excess_k[cars] = 0.0


def _settle_departure(
    world: World,
    block: Block,
    areas: AreaInputs,
    cars: IntArray,
    twin: FloatArray,
    twin_public_kwh: FloatArray,
    overdue: BoolArray,
    keys: EventKeys,
    sums: RowSums,
) -> None:
    """Cars that leave with another charge than their twins: shortfall, public charging, gap."""
    state, params, config = world.state, world.params, world.config
    row, pack_kwh = world.derived.row[cars], params.pack_kwh[cars]
    area = world.derived.area[cars]
    soc = twin - state.gap[cars]
    short = shortfall_soc(twin, soc, params.target_soc[cars], config.reward.shortfall_deadband_soc)
    missed = short > 0
    after, public_kwh = mobility.spend_trip(soc, state.trip_kwh[cars], pack_kwh)
    public_kwh -= twin_public_kwh
    gap = state.twin_ref[cars] - after
    gap_kwh = (gap - state.gap[cars]) * pack_kwh / world.derived.eta_nominal[cars]
    state.gap[cars] = gap
    short_kwh, energy_usd = short * pack_kwh, areas.ref_price[area] * gap_kwh
    short_usd = shortfall_cost(
        missed, short_kwh, areas.shortfall_usd[area], config.reward.shortfall_usd_per_kwh
    )
    public_usd = public_kwh * config.energy.public_usd_per_kwh
    gone = _drop_out(world, keys, cars, missed & overdue)
    sums.add(
        row - block.row_lo,
        dropouts=gone,
        carbon_kg=areas.mean_carbon_kg_per_kwh[area] * gap_kwh,
        shortfalls=missed,
        shortfall_kwh=short_kwh,
        shortfall_usd=short_usd,
        broken_promises=missed & overdue,
        public_kwh=public_kwh,
        public_usd=public_usd,
        gap_kwh=gap_kwh,
        energy_usd=energy_usd,
    )
    if world.car_usd is not None:
        world.charge(cars, energy_usd + public_usd + short_usd + config.reward.dropout_usd * gone)


def _drop_out(world: World, keys: EventKeys, cars: IntArray, broken: BoolArray) -> BoolArray:
    """Let owners leave for good whose cars were not ready as promised; the tape goes on."""
    gone = np.zeros(cars.shape, np.bool_)
    some = broken.nonzero()[0]
    if some.size:
        let_down = cars[some]
        row, number = np.divmod(let_down, world.config.num_cars)
        own = draws.unit_keys(keys.row[row], draws.Stream.OWNER, number)
        chance = world.config.owners.dropout_per_broken_promise
        gone[some] = owners.leaves(own, world.state.event_no[let_down], chance)
        gone &= ~world.state.left[cars]
        world.state.left[cars[gone]] = True
    return gone


def _arrive(
    world: World,
    areas: AreaInputs,
    cars: IntArray,
    keys: EventKeys,
    tables: mobility.MobilityTables,
) -> None:
    state, derived = world.state, world.derived
    mobility.arrive(
        state,
        world.params,
        tables,
        keys.arrival,
        cars,
        area=derived.area.take(cars),
        local=areas.local,
    )
    if areas.dark is not None:
        state.dark[cars] = areas.dark.take(derived.neighbourhood.take(cars)) & (
            state.place.take(cars) == HOME
        )
    state.anchor[cars] = state.twin_ref[cars] - state.gap[cars]
    state.falling[cars] = False

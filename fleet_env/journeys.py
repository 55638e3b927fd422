"""Departures and arrivals inside a step (kernels 7 and 8)."""

from __future__ import annotations

import numpy as np

from fleet_env.blocks import Block
from fleet_env.dynamics import mobility
from fleet_env.dynamics.owners import shortfall_soc
from fleet_env.rewards import shortfall_cost
from fleet_env.rowsums import RowSums
from fleet_env.types import DRIVING, BoolArray, FloatArray, IntArray, KeyArray
from fleet_env.world import RowInputs, World


def play_events(
    world: World,
    block: Block,
    rows: RowInputs,
    keys: KeyArray,
    tables: mobility.MobilityTables,
    sums: RowSums,
) -> IntArray:
    """Departures and arrivals inside the step, in time order car by car; return the cars."""
    state = world.state
    end_h = np.float32(rows.t_h + rows.dt_h)
    cars = (state.event_h[block.lo : block.hi] < end_h).nonzero()[0]
    cars += block.lo
    moved = cars
    while cars.size:
        leaving = cars[state.place.take(cars) != DRIVING]
        if leaving.size:
            _depart(world, block, rows, leaving, tables, sums)
            cars = cars[state.event_h.take(cars) < end_h]
        coming = cars[state.place.take(cars) == DRIVING]
        if coming.size:
            _arrive(world, rows, coming, keys, tables)
        cars = coming[state.event_h.take(coming) < end_h]
    world.refresh(moved)
    return moved


def _depart(
    world: World,
    block: Block,
    rows: RowInputs,
    cars: IntArray,
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
            world, block, rows, some, twin[owing], twin_public_kwh[owing], overdue, sums
        )
    state.duty[cars] = False
    state.ready_min[cars] = 0.0
    state.tail_min[cars] = 0.0
    state.excess_k[cars] = 0.0


def _settle_departure(
    world: World,
    block: Block,
    rows: RowInputs,
    cars: IntArray,
    twin: FloatArray,
    twin_public_kwh: FloatArray,
    overdue: BoolArray,
    sums: RowSums,
) -> None:
    """Cars that leave with another charge than their twins: shortfall, public charging, gap."""
    state, params, config = world.state, world.params, world.config
    row, pack_kwh = world.derived.row[cars] - block.row_lo, params.pack_kwh[cars]
    soc = twin - state.gap[cars]
    short = shortfall_soc(twin, soc, params.target_soc[cars], config.reward.shortfall_deadband_soc)
    missed = short > 0
    after, public_kwh = mobility.spend_trip(soc, state.trip_kwh[cars], pack_kwh)
    public_kwh -= twin_public_kwh
    gap = state.twin_ref[cars] - after
    gap_kwh = (gap - state.gap[cars]) * pack_kwh / world.derived.eta_nominal[cars]
    state.gap[cars] = gap
    short_kwh, energy_usd = short * pack_kwh, rows.ref_price[world.derived.row[cars]] * gap_kwh
    public_usd = public_kwh * config.energy.public_usd_per_kwh
    sums.add(
        row,
        shortfalls=missed,
        shortfall_kwh=short_kwh,
        broken_promises=missed & overdue,
        public_kwh=public_kwh,
        public_usd=public_usd,
        gap_kwh=gap_kwh,
        energy_usd=energy_usd,
    )
    if world.car_usd is not None:
        short_usd = shortfall_cost(missed.astype(np.float32), short_kwh, config.reward)
        world.charge(cars, energy_usd + public_usd + short_usd)


def _arrive(
    world: World, rows: RowInputs, cars: IntArray, keys: KeyArray, tables: mobility.MobilityTables
) -> None:
    state = world.state
    mobility.arrive(
        state,
        world.params,
        tables,
        keys,
        cars,
        clock_h_row=rows.clock_h,
        weekday_row=rows.weekday,
        num_cars=world.config.num_cars,
    )
    state.anchor[cars] = state.twin_ref[cars] - state.gap[cars]
    state.falling[cars] = False

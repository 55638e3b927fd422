"""Second half of a step, per block of cars: energy, heat, wear, owners and the road (kernels 5 to 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.blocks import Block
from fleet_env.dispatch import Dispatch
from fleet_env.dynamics import mobility
from fleet_env.dynamics.ageing import Packs, Strain, extra_fade, reversal
from fleet_env.dynamics.energy import Metered, Outlook, PlugStep, choose_mode, meter
from fleet_env.dynamics.owners import shortfall_soc
from fleet_env.dynamics.thermal import excess_k
from fleet_env.rewards import shortfall_cost, wear_usd_per_fade_kwh
from fleet_env.types import DRIVING, BoolArray, FloatArray, IntArray, KeyArray
from fleet_env.units import HOURS_PER_DAY, MIN_PER_H, W_PER_KW
from fleet_env.world import World

EXCESS_ZERO_K = 0.05  # a smaller excess of pack temperature is let go

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
    "broken_promises",
    "public_kwh",
    "departures",
    "started",
    "cellular_h",
)
SUM = {name: i for i, name in enumerate(CAR_SUMS)}


@dataclass(frozen=True, slots=True)
class RowInputs:
    """What every car of a row shares in a step, shape (num_envs,) unless said."""

    t_h: float
    dt_h: float
    price: FloatArray  # [USD/kWh]
    ref_price: FloatArray
    refill_price: FloatArray
    cheap: BoolArray
    cheap_cum: FloatArray  # (num_envs, n) cheap hours in the first n steps after this one
    ambient_c: FloatArray
    pack_c: FloatArray  # pack temperature of the twins
    carbon_kg_per_kwh: FloatArray
    mean_carbon_kg_per_kwh: FloatArray  # of the episode, at which owed charge is booked
    clock_h: FloatArray  # local clock at the start of the episode
    weekday: IntArray


@dataclass(frozen=True, slots=True)
class PowerTable:
    """Power of a car by (row, group, closed garage), flat [kW]."""

    awake_kw: FloatArray  # at the DC bus, no work
    serve_kw: FloatArray  # at the DC bus, at the row's utilisation
    awake_wall_kw: FloatArray  # the same behind the on-board charger
    serve_wall_kw: FloatArray


class RowSums:
    """Sums over the cars of a block by row, in the order of the cars, in float64."""

    def __init__(self, num_rows: int) -> None:
        self.values = np.zeros((len(CAR_SUMS), num_rows))

    def add(self, name: str, row: IntArray, value: FloatArray) -> None:
        """Add one number per car; `row` is the row within the block."""
        num_rows = self.values.shape[1]
        self.values[SUM[name]] += np.bincount(row, weights=value, minlength=num_rows)


def settle(
    world: World,
    block: Block,
    step: Dispatch,
    rows: RowInputs,
    power: PowerTable,
    keys: KeyArray,
    tables: mobility.MobilityTables,
) -> tuple[RowSums, IntArray]:
    """Play kernels 5 to 8 for a block; return its sums by row and the cars that departed or arrived.

    Parameters
    ----------
    step : Dispatch
        What `dispatch` returned for this block.
    keys : KeyArray, shape (num_envs * num_cars,)
        Car keys of `Stream.ARRIVAL`.
    """
    sums = RowSums(block.num_rows)
    if step.cars.size:
        _settle_active(world, block, step, rows, power, sums)
    return sums, _play_events(world, block, rows, keys, tables, sums)


def _settle_active(
    world: World, block: Block, step: Dispatch, rows: RowInputs, power: PowerTable, sums: RowSums
) -> None:
    state, cars = world.state, step.cars
    row = step.row + block.row_lo
    leave_h = state.event_h.take(cars)
    leave_h -= rows.t_h
    here_h = np.clip(leave_h, 0.0, rows.dt_h)
    plugged = state.plugged.take(cars)
    twin0 = world.twin_soc(cars, rows.t_h)
    twin1 = world.twin_soc(cars, here_h + np.float32(rows.t_h))
    plug = _plug_step(world, step, power, twin0, twin1, here_h * plugged, plugged)
    outlook = _outlook(world, rows, cars, row, twin0 - plug.gap)
    energy = world.config.energy
    mode = choose_mode(
        energy.source,
        plug,
        outlook,
        margin_h=energy.margin_h,
        wear_usd_per_kwh=energy.pack_wear_usd_per_kwh,
    )
    flow = meter(plug, mode)
    cost_usd = _book_energy(world, step, rows, row, plug, flow, here_h, sums)
    fade = _age(world, step, rows, row, plug, flow, twin0, twin1, here_h)
    cost_usd += _book_wear(world, step, fade, plug.pack_kwh, sums)
    world.charge(cars, cost_usd)
    _write_back(world, step, rows, plugged, flow.gap)


def _plug_step(
    world: World,
    step: Dispatch,
    power: PowerTable,
    twin0: FloatArray,
    twin1: FloatArray,
    plug_h: FloatArray,
    plugged: BoolArray,
) -> PlugStep:
    cars, flows, table = step.cars, step.flows, world.evse_table
    evse = world.derived.evse.take(cars)
    pack_kwh = world.params.pack_kwh.take(cars)
    serve_h = flows.serve_min * np.float32(1.0 / MIN_PER_H)
    awake_h = flows.awake_min * np.float32(1.0 / MIN_PER_H)
    idle_h = awake_h - serve_h
    return PlugStep(
        need_kwh=np.maximum(twin1 - twin0, 0.0) * pack_kwh * plugged,
        gap=world.state.gap.take(cars),
        pack_kwh=pack_kwh,
        compute_kwh=power.awake_kw.take(step.kind) * idle_h + power.serve_kw.take(step.kind) * serve_h,
        wall_kwh=power.awake_wall_kw.take(step.kind) * idle_h
        + power.serve_wall_kw.take(step.kind) * serve_h,
        plug_h=plug_h,
        awake_h=awake_h,
        ac_kw=table.ac_kw.take(evse),
        eta=table.eta.take(evse),
        dc_kw=table.dc_kw.take(evse),
    )


def _outlook(
    world: World, rows: RowInputs, cars: IntArray, row: IntArray, soc: FloatArray
) -> Outlook:
    """What the energy manager knows: the owner's stated stay, never the true one."""
    stay_steps = world.state.stated_h.take(cars)
    stay_steps -= rows.t_h + rows.dt_h
    stay_steps /= rows.dt_h
    last = rows.cheap_cum.shape[1] - 1
    stop = np.clip(stay_steps, 0.0, last).astype(np.intp)
    stop += row * (last + 1)
    return Outlook(
        soc=soc,
        charge_limit=world.params.charge_limit.take(cars),
        reserve_soc=world.params.reserve_soc.take(cars),
        price_usd_per_kwh=rows.price.take(row),
        cheap=rows.cheap.take(row),
        threshold_usd_per_kwh=rows.refill_price.take(row),
        cheap_left_h=rows.cheap_cum.ravel().take(stop),
    )


def _book_energy(
    world: World,
    step: Dispatch,
    rows: RowInputs,
    row: IntArray,
    plug: PlugStep,
    flow: Metered,
    here_h: FloatArray,
    sums: RowSums,
) -> FloatArray:
    """Pay the metered difference at the price of the step, and what is owed at the reference price.

    Returns what each car costs, with its owner's pay [USD].
    """
    metered_kwh = flow.meter_kwh - flow.twin_meter_kwh
    gap_kwh = (flow.gap - plug.gap) * plug.pack_kwh / world.derived.eta_nominal.take(step.cars)
    usd = rows.price.take(row) * metered_kwh + rows.ref_price.take(row) * gap_kwh
    sums.add("energy_usd", step.row, usd)
    sums.add("metered_kwh", step.row, metered_kwh)
    sums.add("gap_kwh", step.row, gap_kwh)
    sums.add("pack_kwh", step.row, np.maximum(plug.need_kwh - flow.battery_kwh, 0.0))
    sums.add("on_duty_h", step.row, step.flows.on_min * np.float32(1.0 / MIN_PER_H))
    sums.add("serving_h", step.row, step.flows.serve_min * np.float32(1.0 / MIN_PER_H))
    sums.add("started", step.row, step.flows.cold)
    sums.add("departures", step.row, step.flows.on & (here_h < np.float32(rows.dt_h)))
    if world.config.fleet.cellular_share > 0:
        by_cellular = step.flows.serve_min * world.derived.cellular.take(step.cars)
        sums.add("cellular_h", step.row, by_cellular * np.float32(1.0 / MIN_PER_H))
    pay_usd = world.config.reward.pay_usd_per_on_duty_h * step.flows.on_min / np.float32(MIN_PER_H)
    return usd + pay_usd


def _age(
    world: World,
    step: Dispatch,
    rows: RowInputs,
    row: IntArray,
    plug: PlugStep,
    flow: Metered,
    twin0: FloatArray,
    twin1: FloatArray,
    here_h: FloatArray,
) -> FloatArray:
    """Fade of the step caused by compute; also moves the pack's excess heat and the cycle's anchor."""
    state, params, cars = world.state, world.params, step.cars
    soc0, soc1 = twin0 - plug.gap, twin1 - flow.gap
    depth, anchor, falling = reversal(soc0, soc1, state.anchor.take(cars), state.falling.take(cars))
    state.anchor[cars] = anchor
    state.falling[cars] = falling
    compute_w = plug.compute_kwh * np.float32(W_PER_KW / rows.dt_h)
    excess = excess_k(
        state.excess_k.take(cars),
        compute_w,
        world.derived.garage.take(cars),
        rows.ambient_c.take(row),
        rows.dt_h,
        world.config.thermal,
    )
    state.excess_k[cars] = excess
    return extra_fade(
        Packs(
            params.chemistry.take(cars),
            plug.pack_kwh,
            params.cal_gain.take(cars),
            params.cyc_gain.take(cars),
        ),
        Strain((soc0 + soc1) * np.float32(0.5), depth, flow.throughput_kwh),
        Strain((twin0 + twin1) * np.float32(0.5), twin1 - state.twin_ref.take(cars), plug.need_kwh),
        pack_c=rows.pack_c.take(row),
        excess_k=excess,
        hours=here_h,
        days=rows.dt_h / HOURS_PER_DAY,
    )


def _book_wear(
    world: World, step: Dispatch, fade: FloatArray, pack_kwh: FloatArray, sums: RowSums
) -> FloatArray:
    usd = fade * pack_kwh * wear_usd_per_fade_kwh(world.config.reward)
    floored_usd = np.maximum(usd, 0.0)
    sums.add("extra_fade", step.row, fade)
    sums.add("signed_wear_usd", step.row, usd)
    sums.add("wear_usd", step.row, floored_usd)
    return floored_usd


def _write_back(
    world: World, step: Dispatch, rows: RowInputs, plugged: BoolArray, gap: FloatArray
) -> None:
    """Store what compute changed, and which cars need care in the next step without a duty bit."""
    state, cars = world.state, step.cars
    on = step.flows.on & (step.flows.on_min >= np.float32(rows.dt_h * MIN_PER_H))
    state.gap[cars] = gap
    state.duty[cars] = on
    live = (gap != 0) & plugged
    live |= state.excess_k.take(cars) > EXCESS_ZERO_K
    live |= state.tail_min.take(cars) > 0
    world.derived.live[cars] = live


def _play_events(
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
    cars = np.flatnonzero(state.event_h[block.lo : block.hi] < end_h)
    cars += block.lo
    moved = cars
    while cars.size:
        driving = state.place.take(cars) == DRIVING
        leaving, coming = cars[~driving], cars[driving]
        if leaving.size:
            _depart(world, block, rows, leaving, tables, sums)
        if coming.size:
            _arrive(world, rows, coming, keys, tables)
        cars = cars[state.event_h.take(cars) < end_h]
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
    overdue = state.event_h[cars] >= state.stated_h[cars]
    twin, twin_public_kwh = mobility.depart(state, world.params, tables, cars)
    owing = np.flatnonzero(state.gap.take(cars))
    if owing.size:
        some = cars[owing]
        _settle_departure(
            world, block, rows, some, twin[owing], twin_public_kwh[owing], overdue[owing], sums
        )
    state.duty[cars] = False
    state.ready_min[cars] = 0.0
    state.tail_min[cars] = 0.0
    state.excess_k[cars] = 0.0
    state.parked_h[cars] = np.inf  # no time since arrival, no stated stay on the road
    state.stated_h[cars] = -np.inf
    world.refresh(cars)


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
    sums.add("shortfalls", row, missed)
    sums.add("shortfall_kwh", row, short_kwh)
    sums.add("broken_promises", row, missed & overdue)
    sums.add("public_kwh", row, public_kwh)
    sums.add("public_usd", row, public_usd)
    sums.add("gap_kwh", row, gap_kwh)
    sums.add("energy_usd", row, energy_usd)
    world.charge(cars, energy_usd + public_usd + shortfall_cost(missed, short_kwh, config.reward))


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
        fits=world.setup.tier_fits.any(axis=1),
    )
    state.anchor[cars] = state.twin_ref[cars] - state.gap[cars]
    state.falling[cars] = False
    world.refresh(cars)

"""Second half of a step, per block of cars: energy, heat, wear (kernels 5 and 6), journeys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.blocks import Block
from fleet_env.dispatch import Dispatch
from fleet_env.dynamics import mobility
from fleet_env.dynamics.energy import Metered, Outlook, PlugStep, choose_mode, meter
from fleet_env.dynamics.thermal import excess_k
from fleet_env.dynamics.wear import Packs, Strain, extra_fade, reversal
from fleet_env.journeys import play_events
from fleet_env.rewards import wear_usd_per_fade_kwh
from fleet_env.rowsums import RowSums
from fleet_env.types import BoolArray, FloatArray, IntArray, KeyArray
from fleet_env.units import HOURS_PER_DAY, MIN_PER_H, W_PER_KW
from fleet_env.world import RowInputs, World

EXCESS_ZERO_K = 0.05  # a smaller excess of pack temperature is let go


@dataclass(frozen=True, slots=True)
class PowerTable:
    """Power of a car by (row, group, closed garage), flat [kW]."""

    awake_kw: FloatArray  # at the DC bus, no work
    serve_kw: FloatArray  # at the DC bus, at the row's utilisation
    awake_wall_kw: FloatArray  # the same behind the on-board charger
    serve_wall_kw: FloatArray


def settle(
    world: World,
    block: Block,
    step: Dispatch,
    rows: RowInputs,
    power: PowerTable,
    keys: KeyArray,
    tables: mobility.MobilityTables,
) -> tuple[RowSums, IntArray]:
    """Play kernels 5 to 8 for a block: sums by row, and the cars that departed or arrived.

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
    return sums, play_events(world, block, rows, keys, tables, sums)


def _settle_active(
    world: World, block: Block, step: Dispatch, rows: RowInputs, power: PowerTable, sums: RowSums
) -> None:
    state, cars = world.state, step.cars
    row = step.row + block.row_lo
    leave_h = state.event_h.take(cars)
    leave_h -= rows.t_h
    here_h = np.minimum(np.maximum(leave_h, 0.0), rows.dt_h)
    plugged = state.plugged.take(cars)
    twin0, twin1 = world.twin_socs(cars, (rows.t_h, here_h + np.float32(rows.t_h)))
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
        compute_kwh=power.awake_kw.take(step.kind) * idle_h
        + power.serve_kw.take(step.kind) * serve_h,
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
    """Gather what the energy manager knows: the owner's stated stay, never the true one."""
    stay_steps = world.state.stated_h.take(cars)
    stay_steps -= rows.t_h + rows.dt_h
    stay_steps /= rows.dt_h
    last = rows.cheap_cum.shape[1] - 1
    stop = np.minimum(np.maximum(stay_steps, 0.0), last).astype(np.intp)
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
    flows = step.flows
    on_duty_h = flows.on_min * np.float32(1.0 / MIN_PER_H)
    serving_h = flows.serve_min * np.float32(1.0 / MIN_PER_H)
    sums.add(
        step.row,
        energy_usd=usd,
        metered_kwh=metered_kwh,
        gap_kwh=gap_kwh,
        pack_kwh=np.maximum(plug.need_kwh - flow.battery_kwh, 0.0),
        on_duty_h=on_duty_h,
        serving_h=serving_h,
        started=flows.cold,
        departures=flows.on & (here_h < np.float32(rows.dt_h)),
    )
    if world.config.fleet.cellular_share > 0:
        sums.add(step.row, cellular_h=serving_h * world.derived.cellular.take(step.cars))
    return usd + world.config.reward.pay_usd_per_on_duty_h * on_duty_h


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
    """Work out the fade that compute causes; moves excess heat and the anchor of the cycle."""
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
    twin_depth = np.abs(twin1 - state.twin_ref.take(cars))  # unplugged it falls by standby
    return extra_fade(
        Packs(
            params.chemistry.take(cars),
            plug.pack_kwh,
            params.cal_gain.take(cars),
            params.cyc_gain.take(cars),
        ),
        Strain((soc0 + soc1) * np.float32(0.5), depth, flow.throughput_kwh),
        Strain((twin0 + twin1) * np.float32(0.5), twin_depth, plug.need_kwh),
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
    sums.add(step.row, extra_fade=fade, signed_wear_usd=usd, wear_usd=floored_usd)
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

"""Second half of a step, per block of cars: energy, heat, wear (kernels 5 and 6), journeys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fleet_env.blocks import Block
from fleet_env.dispatch import Dispatch
from fleet_env.dynamics import feeder, mobility
from fleet_env.dynamics.duty import DutyFlows
from fleet_env.dynamics.energy import Metered, Outlook, PlugStep, choose_mode, meter
from fleet_env.dynamics.thermal import excess_k
from fleet_env.dynamics.wear import Packs, Strain, extra_fade, reversal
from fleet_env.journeys import EventKeys, play_events
from fleet_env.regions import num_regions
from fleet_env.rowsums import RowSums
from fleet_env.types import EVSE_NONE, BoolArray, FloatArray, IntArray
from fleet_env.units import HOURS_PER_DAY, MIN_PER_H, W_PER_KW
from fleet_env.world import EXCESS_ZERO_K, AreaInputs, World


@dataclass(frozen=True, slots=True)
class PowerTable:
    """Power of a car by (area, group, closed garage), flat [kW]."""

    awake_kw: FloatArray  # at the DC bus, no work
    serve_kw: FloatArray  # at the DC bus, at the row's utilisation
    awake_wall_kw: FloatArray  # the same behind the on-board charger
    serve_wall_kw: FloatArray


def settle(
    world: World,
    block: Block,
    step: Dispatch,
    areas: AreaInputs,
    power: PowerTable,
    keys: EventKeys,
    tables: mobility.MobilityTables,
    headroom_kwh: FloatArray | None,
) -> tuple[RowSums, IntArray]:
    """Play kernels 5 to 8 for a block: sums by row, and the cars that departed or arrived.

    Parameters
    ----------
    step : Dispatch
        What `dispatch` returned for this block.
    keys : EventKeys
    headroom_kwh : FloatArray, shape (neighbourhoods,), optional
        What the transformers leave to compute in the step; None: no limit.
    """
    sums = RowSums(block.num_rows)
    if step.cars.size:
        _settle_active(world, block, step, areas, power, sums, headroom_kwh)
    return sums, play_events(world, block, areas, keys, tables, sums)


def _settle_active(
    world: World,
    block: Block,
    step: Dispatch,
    areas: AreaInputs,
    power: PowerTable,
    sums: RowSums,
    headroom_kwh: FloatArray | None,
) -> None:
    cars = step.cars
    hours = Hours.of(step.flows)
    plugged = world.derived.evse.take(cars) != EVSE_NONE
    times_h = np.empty((2, cars.size), np.float32)
    times_h[0] = areas.t_h
    np.add(hours.here, times_h[0], out=times_h[1])
    twin = world.twin_soc(cars, times_h)
    read = AreaReader(world, block, cars)
    plug = _plug_step(world, step, power, hours, twin, plugged)
    energy = world.config.energy
    mode = choose_mode(
        energy.source,
        plug,
        _outlook(world, areas, cars, read, twin[0] - plug.gap),
        margin_h=read(areas.margin_h),
        wear_usd_per_kwh=energy.pack_wear_usd_per_kwh,
    )
    flow = meter(plug, mode)
    if headroom_kwh is not None:
        near, home = world.derived.neighbourhood, world.derived.home.take(cars)
        first, last = near[block.lo], near[block.hi - 1]
        left_kwh = headroom_kwh[first : last + 1]
        flow, cut_kwh = feeder.limit(plug, flow, near.take(cars) - first, home, left_kwh)
        sums.add(step.row, feeder_cut_kwh=cut_kwh)
    fade = _age(world, cars, areas, read, plug, flow, twin, hours.here)
    _book(world, step, areas, read, hours, plug, flow, fade, sums)
    _write_back(world, step, areas, plugged, hours.on, flow.gap)


@dataclass(frozen=True, slots=True)
class Hours:
    """How long the active cars did what in the step, shape (n,) [h]."""

    on: FloatArray  # on duty
    awake: FloatArray
    serve: FloatArray
    here: FloatArray  # until the departure

    @classmethod
    def of(cls, flows: DutyFlows) -> Hours:
        """Convert the minutes of the first half of the step."""
        hours = np.array((flows.on_min, flows.awake_min, flows.serve_min, flows.here_min))
        hours /= MIN_PER_H
        return cls(*hours)


class AreaReader:
    """Gives every active car what its area shares: one number where a block holds one area."""

    def __init__(self, world: World, block: Block, cars: IntArray) -> None:
        lone = block.num_rows == 1 and num_regions(world.config) == 1
        self._one = slice(block.row_lo, block.row_hi) if lone else None
        self._area = world.derived.area.take(cars)

    def __call__(self, values: FloatArray | BoolArray) -> Any:
        """Read an array over the areas of the batch, shape (n,) or (1,)."""
        return values.take(self._area) if self._one is None else values[self._one]

    def at(self, table: FloatArray, column: IntArray | int) -> FloatArray:
        """Read a table of one row per area of the batch at a column per car."""
        read: FloatArray = table.ravel().take(self._area * table.shape[1] + column)
        return read


def _plug_step(
    world: World,
    step: Dispatch,
    power: PowerTable,
    hours: Hours,
    twin: FloatArray,
    plugged: BoolArray,
) -> PlugStep:
    cars, kind, table = step.cars, step.kind, world.evse_table
    evse = world.derived.evse.take(cars)
    pack_kwh = world.params.pack_kwh.take(cars)
    need_kwh = np.subtract(twin[1], twin[0])
    np.maximum(need_kwh, 0.0, out=need_kwh)
    need_kwh *= pack_kwh
    need_kwh *= plugged
    idle_h = hours.awake - hours.serve
    compute_kwh = power.awake_kw.take(kind) * idle_h
    compute_kwh += power.serve_kw.take(kind) * hours.serve
    wall_kwh = power.awake_wall_kw.take(kind) * idle_h
    wall_kwh += power.serve_wall_kw.take(kind) * hours.serve
    return PlugStep(
        need_kwh=need_kwh,
        gap=world.state.gap.take(cars),
        pack_kwh=pack_kwh,
        compute_kwh=compute_kwh,
        wall_kwh=wall_kwh,
        plug_h=hours.here * plugged,
        awake_h=hours.awake,
        ac_kw=table.ac_kw.take(evse),
        eta=table.eta.take(evse),
        dc_kw=table.dc_kw.take(evse),
    )


def _outlook(
    world: World, areas: AreaInputs, cars: IntArray, read: AreaReader, soc: FloatArray
) -> Outlook:
    """Gather what the energy manager knows: the owner's stated stay, never the true one."""
    stay_steps = world.state.stated_h.take(cars)
    stay_steps -= areas.t_h + areas.dt_h
    stay_steps /= areas.dt_h
    np.maximum(stay_steps, 0.0, out=stay_steps)
    np.minimum(stay_steps, areas.cheap_cum.shape[1] - 1 - areas.cheap_from, out=stay_steps)
    cheap_left_h = read.at(areas.cheap_cum, stay_steps.astype(np.intp) + areas.cheap_from)
    cheap_left_h -= read(areas.cheap_cum[:, areas.cheap_from])
    return Outlook(
        soc=soc,
        charge_limit=world.params.charge_limit.take(cars),
        reserve_soc=world.params.reserve_soc.take(cars),
        price_usd_per_kwh=read(areas.price),
        cheap=read(areas.cheap),
        threshold_usd_per_kwh=read(areas.refill_price),
        cheap_left_h=cheap_left_h,
    )


def _age(
    world: World,
    cars: IntArray,
    areas: AreaInputs,
    read: AreaReader,
    plug: PlugStep,
    flow: Metered,
    twin: FloatArray,
    here_h: FloatArray,
) -> FloatArray:
    """Work out the fade that compute causes; moves excess heat and the anchor of the cycle."""
    state, params = world.state, world.params
    soc0, soc1 = twin[0] - plug.gap, twin[1] - flow.gap
    depth, anchor, falling = reversal(soc0, soc1, state.anchor.take(cars), state.falling.take(cars))
    state.anchor[cars] = anchor
    state.falling[cars] = falling
    excess = excess_k(
        state.excess_k.take(cars),
        plug.compute_kwh * (W_PER_KW / areas.dt_h),
        world.derived.garage.take(cars),
        read(areas.ambient_c),
        areas.dt_h,
        world.config.thermal,
    )
    state.excess_k[cars] = excess
    soc0 += soc1
    soc0 *= 0.5
    twin_mean = twin[0] + twin[1]
    twin_mean *= 0.5
    twin_depth = np.abs(twin[1] - state.twin_ref.take(cars))  # unplugged it falls by standby
    return extra_fade(
        Packs(
            params.chemistry.take(cars),
            plug.pack_kwh,
            params.cal_gain.take(cars),
            params.cyc_gain.take(cars),
        ),
        Strain(soc0, depth, flow.throughput_kwh),
        Strain(twin_mean, twin_depth, plug.need_kwh),
        pack_c=read(areas.pack_c),
        excess_k=excess,
        hours=here_h,
        days=areas.dt_h / HOURS_PER_DAY,
    )


def _book(
    world: World,
    step: Dispatch,
    areas: AreaInputs,
    read: AreaReader,
    hours: Hours,
    plug: PlugStep,
    flow: Metered,
    fade: FloatArray,
    sums: RowSums,
) -> None:
    """Pay energy and wear: what is metered at the price of the step, what is owed at the mean."""
    metered_kwh = flow.meter_kwh - flow.twin_meter_kwh
    gap_kwh = flow.gap - plug.gap
    gap_kwh *= plug.pack_kwh
    gap_kwh /= world.derived.eta_nominal.take(step.cars)
    energy_usd = read(areas.price) * metered_kwh
    energy_usd += read(areas.ref_price) * gap_kwh
    carbon_kg = read(areas.carbon_kg_per_kwh) * metered_kwh
    carbon_kg += read(areas.mean_carbon_kg_per_kwh) * gap_kwh
    signed_usd = fade * plug.pack_kwh
    signed_usd *= read(areas.wear_usd)
    wear_usd = np.maximum(signed_usd, 0.0)
    flows, values = step.flows, {}
    if step.cellular is not None:
        values["cellular_h"] = hours.serve * step.cellular
    noise_usd: FloatArray | float = 0.0
    if areas.quiet is not None:
        at_home = world.derived.home.take(step.cars)
        values["quiet_h"] = hours.on * (read(areas.quiet) & at_home)
        noise_usd = values["quiet_h"] * np.float64(world.config.reward.noise_usd_per_quiet_h)
    sums.add(
        step.row,
        energy_usd=energy_usd,
        carbon_kg=carbon_kg,
        metered_kwh=metered_kwh,
        gap_kwh=gap_kwh,
        pack_kwh=np.maximum(plug.need_kwh - flow.battery_kwh, 0.0),
        on_duty_h=hours.on,
        serving_h=hours.serve,
        started=flows.cold,
        departures=flows.on & (hours.here < areas.dt_h),
        extra_fade=fade,
        signed_wear_usd=signed_usd,
        wear_usd=wear_usd,
        **values,
    )
    if world.car_usd is not None:
        pay_usd = world.config.reward.pay_usd_per_on_duty_h * hours.on.astype(np.float64)
        world.charge(step.cars, pay_usd + noise_usd + energy_usd + wear_usd)


def _write_back(
    world: World,
    step: Dispatch,
    areas: AreaInputs,
    plugged: BoolArray,
    on_h: FloatArray,
    gap: FloatArray,
) -> None:
    """Store what compute changed, and which cars need care in the next step without a duty bit."""
    state, cars = world.state, step.cars
    on = step.flows.serve_to >= areas.dt_h * MIN_PER_H
    on &= step.flows.on
    state.gap[cars] = gap
    state.duty[cars] = on
    if world.config.owners.cap_h_per_month > 0:
        state.duty_h[cars] += on_h
    live = gap != 0
    live &= plugged
    live |= state.excess_k.take(cars) > EXCESS_ZERO_K
    live |= state.tail_min.take(cars) > 0
    world.derived.live[cars] = live

"""Power of an awake car, its charger, and the meter: what compute adds to the electricity bought.

Sign convention: power and energy into the car are positive. "DC" is at the pack, "AC" at the wall.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import DTypeLike

from fleet_env.data import read_table
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.units import W_PER_KW

# Cooling of the computer (domain 2b, all est).
COOLING_BASE_W = 15.0  # fan and pump
COOLING_PER_CHIP_W = 0.08
COMPRESSOR_FROM_C = 30.0
COMPRESSOR_MIN_W = 300.0
COP_AT_30_C, COP_PER_K, COP_MIN = 3.0, 0.08, 1.5
MILD_C = 20.0  # at which the heat of an accelerator at full load is taken; design

# How a plugged car is fed in a step (`choose_mode`).
GRID, PACK, FILL = 0, 1, 2
FULL_LOAD_EFFICIENCY = 0.92  # of the on-board charger, last point of its curve; domain 2a
CLOSED_GAP_KWH = 1e-5  # a smaller gap after a step is float32 rounding: it is closed
TINY_KWH = 1e-30  # keeps 0 / 0 out of ratios whose numerator is then 0


def charger_efficiency(p_dc_kw: FloatArray) -> FloatArray:
    """Efficiency of the on-board charger at a DC power (0 where it delivers nothing)."""
    p_dc_kw = np.asarray(p_dc_kw)
    with np.errstate(invalid="ignore"):
        efficiency = p_dc_kw / wall_kw(p_dc_kw)
    return np.where(p_dc_kw > 0.0, efficiency, p_dc_kw * 0.0)


def wall_kw(p_dc_kw: FloatArray) -> FloatArray:
    """Wall power for a DC power [kW], both >= 0.

    Between the points of `obc_efficiency.csv` the efficiency is linear in the DC power; above the
    last point it is constant; below the first one (0.2 kW) the loss in watts is constant. A charger
    that delivers nothing is off.
    """
    p_dc_kw = np.asarray(p_dc_kw)
    points_kw, efficiency, loss_kw = _charger()
    wall: FloatArray = p_dc_kw / np.interp(p_dc_kw, points_kw, efficiency)
    low = p_dc_kw < points_kw[0]
    if low.any():
        wall = np.where(low, (p_dc_kw + loss_kw) * (p_dc_kw > 0.0), wall)
    return wall.astype(p_dc_kw.dtype, copy=False)


@cache
def _charger() -> tuple[FloatArray, FloatArray, float]:
    """Points of the efficiency curve, DC power [kW] and efficiency, and the loss below them."""
    table = read_table("obc_efficiency.csv")
    points_kw, efficiency = table["dc_kw"], table["efficiency"]
    return points_kw, efficiency, float(points_kw[0] / efficiency[0] - points_kw[0])


@dataclass(frozen=True, slots=True)
class EvseTable:
    """Supply equipment by EVSE row (`EVSE_NONE` .. `EVSE_L2_11`), arrays of shape (4,)."""

    ac_kw: FloatArray  # at the wall
    eta: FloatArray  # wall to pack at full power: also the nominal efficiency of a gap
    dc_kw: FloatArray  # into the pack


def load_evse(dtype: DTypeLike = np.float32) -> EvseTable:
    """Read `chargers.csv`."""
    table = read_table("chargers.csv")
    ac_kw, eta = table["ac_kw"], table["eta"]
    return EvseTable(ac_kw.astype(dtype), eta.astype(dtype), (ac_kw * eta).astype(dtype))


def bus_power_kw(
    util: FloatArray,
    idle_w: FloatArray,
    busy_w: FloatArray,
    inlet_c: FloatArray,
    *,
    overhead_w: float | FloatArray,
    eta_dcdc: float,
    cooling: bool = True,
) -> FloatArray:
    """Power that an awake car takes from its high-voltage bus [kW].

    Chip, rest of the awake car and cooling, through the DC-DC converter. Up to 30 degC a fan and a
    pump cool; from there on the compressor does, in the air of the garage where it is closed.

    Parameters
    ----------
    util, idle_w, busy_w, inlet_c : FloatArray, shapes that broadcast
        Utilisation [0..1], chip power at utilisation 0 and 1 [W], temperature of the inlet air
        [degC]; the simulation passes (num_envs, accelerators or groups, 2) with the closed garage
        last.
    overhead_w : float or FloatArray
        Awake car beyond the chip [W].
    eta_dcdc : float
        Efficiency of the converter.
    cooling : bool
        False leaves fan, pump and compressor out.

    Returns
    -------
    FloatArray, broadcast shape
    """
    chip_w = idle_w + util * (busy_w - idle_w)
    load_w = chip_w + overhead_w
    if cooling:
        fan_w = COOLING_BASE_W + COOLING_PER_CHIP_W * chip_w
        mild = np.less(inlet_c, COMPRESSOR_FROM_C)
        compressor_w: FloatArray | float = 0.0
        if not mild.all():
            cop = np.maximum(COP_MIN, COP_AT_30_C - COP_PER_K * (inlet_c - COMPRESSOR_FROM_C))
            compressor_w = np.maximum(COMPRESSOR_MIN_W, load_w / cop)
        load_w = load_w + np.where(mild, fan_w, compressor_w)
    power: FloatArray = load_w / (eta_dcdc * W_PER_KW)
    return power


def full_load_heat_w(
    busy_w: FloatArray, *, overhead_w: float | FloatArray, eta_dcdc: float, cooling: bool = True
) -> FloatArray:
    """Heat of a plugged car at full load in mild air: its wall power, per accelerator [W]."""
    one = np.ones_like(busy_w)
    p_dc_kw = bus_power_kw(
        one,
        busy_w,
        busy_w,
        one * MILD_C,
        overhead_w=overhead_w,
        eta_dcdc=eta_dcdc,
        cooling=cooling,
    )
    return wall_kw(p_dc_kw) * W_PER_KW


@dataclass(frozen=True, slots=True)
class PlugStep:
    """What n active cars face in a step; every field has shape (n,).

    An unplugged car has the row `EVSE_NONE` (0 kW) and `need_kwh` 0; nothing else is special.
    """

    need_kwh: FloatArray  # DC energy that the twin stores in the step, >= 0
    gap: FloatArray  # soc of the twin minus soc of the car, at the start
    pack_kwh: FloatArray
    compute_kwh: FloatArray  # DC energy of compute in the step, 0 where `awake_h` is 0
    wall_kwh: FloatArray  # what the wall would give for it alone, through the on-board charger
    plug_h: FloatArray  # plugged time
    awake_h: FloatArray  # awake time, <= plug_h, taken at its beginning
    ac_kw: FloatArray  # of the EVSE
    eta: FloatArray
    dc_kw: FloatArray

    @property
    def owed_kwh(self) -> FloatArray:
        """Energy that the car stores less than its twin; < 0 after public charging."""
        return self.gap * self.pack_kwh


@dataclass(frozen=True, slots=True)
class Metered:
    """What the step did; every field has shape (n,), energies in kWh."""

    battery_kwh: FloatArray  # into the pack, DC; < 0 where it is drawn down
    meter_kwh: FloatArray  # bought, AC
    twin_meter_kwh: FloatArray
    throughput_kwh: FloatArray  # through the pack, DC, both directions; the twin's is `need_kwh`
    gap: FloatArray  # at the end of the step


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the energy manager knows, gathered per car: shape (n,)."""

    soc: FloatArray  # of the car at the start of the step
    charge_limit: FloatArray
    reserve_soc: FloatArray
    price_usd_per_kwh: FloatArray
    cheap: BoolArray  # price <= threshold
    threshold_usd_per_kwh: FloatArray  # dearest of the cheap hours of the next 24 h
    cheap_left_h: FloatArray  # cheap hours in the rest of the stated stay, after this step


def choose_mode(
    source: str,
    step: PlugStep,
    outlook: Outlook,
    *,
    margin_h: float | FloatArray,
    wear_usd_per_kwh: float,
) -> IntArray:
    """How each car is fed: the rule of the energy manager.

    Cheap hours, and hours after which too few cheap ones are left, fill the pack. Other hours draw
    on it if that costs less than the wall (`source` "managed") or always ("pack"); a car that is
    not awake then charges as its twin does and leaves the gap open.

    Parameters
    ----------
    source : str
        "grid" (all cars `GRID`), "pack" or "managed".
    step : PlugStep
    outlook : Outlook
    margin_h : float or FloatArray, shape (n,) or (1,)
        Cheap hours to spare beyond the refill before the pack may be drawn [h].
    wear_usd_per_kwh : float
        Pack wear that the comparison of prices counts.

    Returns
    -------
    IntArray, shape (n,), uint8
        `GRID`, `PACK` or `FILL`.
    """
    if source == "grid":
        return np.full(step.gap.shape, GRID, dtype=np.uint8)
    refill_kwh = outlook.charge_limit - (outlook.soc + step.gap)
    np.maximum(refill_kwh, 0.0, out=refill_kwh)
    refill_kwh += step.gap  # what the pack lacks of its limit, and what is owed
    refill_kwh *= step.pack_kwh
    refill_kwh += step.compute_kwh
    draw = (outlook.cheap_left_h - margin_h) * step.dc_kw >= refill_kwh
    draw &= outlook.soc - step.compute_kwh / step.pack_kwh > outlook.reserve_soc
    draw &= ~outlook.cheap
    if source == "managed":
        refill_usd_per_kwh = outlook.threshold_usd_per_kwh / step.eta + wear_usd_per_kwh
        grid_usd = outlook.price_usd_per_kwh * step.wall_kwh
        draw &= (grid_usd > refill_usd_per_kwh * step.compute_kwh) | (step.compute_kwh == 0.0)
    return np.where(draw, np.uint8(PACK), np.uint8(FILL))


def meter(step: PlugStep, mode: IntArray) -> Metered:
    """Charge and feed every car for a step.

    The pack wishes for what the twin stores and what it is owed, `wish = max(0, need + owed)`.
    `GRID`: compute first, charging takes what the outlet has left, later all of it; where compute
    asks for more than the outlet has, the pack gives the rest. `FILL`: the charger runs at full
    power until wish and compute are covered. `PACK`: the meter draws what the twin's does.

    Each step `meter - twin_meter + (gap' - gap) pack_kwh / eta` is `compute_kwh / eta` or, in
    `GRID`, lies between that and the wall energy of compute alone. A car without compute and
    without a gap gives exactly its twin, bit for bit.

    Parameters
    ----------
    step : PlugStep
    mode : IntArray, shape (n,)
        From `choose_mode`.

    Returns
    -------
    Metered
    """
    total_kwh = step.need_kwh + step.owed_kwh
    wish_kwh = np.maximum(total_kwh, 0.0)
    # The closed form of the twin may round above power x time: what it stores always fits.
    room_kwh = np.maximum(step.dc_kw * step.plug_h, step.need_kwh)
    from_grid = mode == GRID
    num_from_grid = np.count_nonzero(from_grid)
    if num_from_grid == from_grid.size:
        flows = _feed_from_grid(step, wish_kwh, room_kwh)
    else:
        flows = _feed_in_bursts(step, wish_kwh, room_kwh, mode == FILL)
        if num_from_grid:
            other = _feed_from_grid(step, wish_kwh, room_kwh)
            flows = _choose(from_grid, other, flows)
    battery_kwh, meter_kwh, throughput_kwh = flows
    gap = step.gap + (step.need_kwh - battery_kwh) / step.pack_kwh
    gap *= np.abs(total_kwh - battery_kwh) >= CLOSED_GAP_KWH
    return Metered(battery_kwh, meter_kwh, step.need_kwh / step.eta, throughput_kwh, gap)


Flows = tuple[FloatArray, FloatArray, FloatArray]  # battery, meter, throughput [kWh]


def _choose(first: BoolArray, yes: Flows, no: Flows) -> Flows:
    return (
        np.where(first, yes[0], no[0]),
        np.where(first, yes[1], no[1]),
        np.where(first, yes[2], no[2]),
    )


def _feed_from_grid(step: PlugStep, wish_kwh: FloatArray, room_kwh: FloatArray) -> Flows:
    """Flows where compute has the first right to the outlet."""
    outlet_kwh = step.ac_kw * step.awake_h
    awake_dc_kwh = step.dc_kw * step.awake_h
    surplus_kwh = awake_dc_kwh - step.compute_kwh  # < 0: the pack supplements
    awake_kwh = np.minimum(wish_kwh, surplus_kwh)
    full_power_share = awake_kwh / np.where(surplus_kwh == 0.0, 1.0, surplus_kwh)
    alone_kwh = np.minimum(step.wall_kwh, outlet_kwh)
    awake_meter_kwh = alone_kwh + (outlet_kwh - alone_kwh) * full_power_share
    asleep_kwh = np.minimum(wish_kwh - awake_kwh, room_kwh - awake_dc_kwh)
    battery_kwh = awake_kwh + asleep_kwh
    meter_kwh = awake_meter_kwh + asleep_kwh / step.eta
    return battery_kwh, meter_kwh, np.abs(awake_kwh) + asleep_kwh


def _feed_in_bursts(
    step: PlugStep, wish_kwh: FloatArray, room_kwh: FloatArray, fill: BoolArray
) -> Flows:
    """Flows where the charger runs at full power or not at all."""
    like_twin_kwh = np.minimum(step.need_kwh, wish_kwh)
    covered_kwh = np.minimum(room_kwh, wish_kwh + step.compute_kwh)
    charge_kwh = np.where(fill, covered_kwh, like_twin_kwh)
    # A burst falls into the awake time first and feeds the computer past the pack while it lasts.
    awake_dc_kwh = step.dc_kw * step.awake_h
    longest_kwh = np.maximum(np.maximum(charge_kwh, awake_dc_kwh), TINY_KWH)
    direct_kwh = np.minimum(step.compute_kwh, awake_dc_kwh) * (charge_kwh / longest_kwh)
    battery_kwh = charge_kwh - step.compute_kwh
    throughput_kwh = charge_kwh + step.compute_kwh - 2.0 * direct_kwh
    return battery_kwh, charge_kwh / step.eta, throughput_kwh

"""Power, heat and charger efficiency of one car (sections 2.5 and 2.6 of the specification)."""

from __future__ import annotations

import math

from fleet_env.config import ServingConfig, ThermalConfig
from tests.reference.constants import CHARGER_DC_KW, CHARGER_ETA, Accelerator

REFERENCE_C = 20.0  # ambient at which the heat of an accelerator at full load is quoted


def charger_eta(p_dc_kw: float) -> float:
    """Efficiency of the on-board charger at a DC power: lines between points, flat beyond them."""
    if p_dc_kw <= CHARGER_DC_KW[0]:
        return CHARGER_ETA[0]
    for i in range(1, len(CHARGER_DC_KW)):
        low_kw, high_kw = CHARGER_DC_KW[i - 1], CHARGER_DC_KW[i]
        if p_dc_kw <= high_kw:
            part = (p_dc_kw - low_kw) / (high_kw - low_kw)
            return CHARGER_ETA[i - 1] + part * (CHARGER_ETA[i] - CHARGER_ETA[i - 1])
    return CHARGER_ETA[-1]


def wall_kw(p_dc_kw: float) -> float:
    """Power at the wall [kW] of a car that takes `p_dc_kw` and charges nothing.

    Below the first point of the curve the charger's loss is that of the first point.
    """
    first_kw, first_eta = CHARGER_DC_KW[0], CHARGER_ETA[0]
    if p_dc_kw <= 0.0:
        return 0.0
    if p_dc_kw < first_kw:
        return p_dc_kw + first_kw / first_eta - first_kw
    return p_dc_kw / charger_eta(p_dc_kw)


def cooling_w(chip_w: float, other_w: float, air_c: float) -> float:
    """Fan and pump below 30 degC, the compressor from there on [W] (domain 2b)."""
    if air_c < 30.0:
        return 15.0 + 0.08 * chip_w
    cop = max(1.5, 3.0 - 0.08 * (air_c - 30.0))
    return max(300.0, (chip_w + other_w) / cop)


def bus_kw(
    chip: Accelerator, util: float, air_c: float, serving: ServingConfig, thermal: ThermalConfig
) -> float:
    """Power of an awake car at its high-voltage bus [kW]; `air_c` is its inlet temperature."""
    chip_w = serving.chip_w_factor * (chip.idle_w + util * (chip.busy_w - chip.idle_w))
    cool_w = cooling_w(chip_w, serving.overhead_w, air_c) if thermal.cooling else 0.0
    return (chip_w + serving.overhead_w + cool_w) / serving.eta_dcdc / 1000.0


def full_heat_w(chip: Accelerator, serving: ServingConfig, thermal: ThermalConfig) -> float:
    """Heat of a plugged car at full load [W], charger included: a constant of the accelerator."""
    return 1000.0 * wall_kw(bus_kw(chip, 1.0, REFERENCE_C, serving, thermal))


def inlet_c(ambient_c: float, in_garage: bool, heat_w: float, thermal: ThermalConfig) -> float:
    """Temperature of the air the computer breathes [degC]."""
    return ambient_c + (heat_w / thermal.garage_w_per_k if in_garage else 0.0)


def derating(inlet: float, thermal: ThermalConfig) -> float:
    """Share of the full rate left: 1, a line down to 0.5 over 10 K, 0.5, then off."""
    if inlet >= thermal.off_from_c:
        return 0.0
    return min(1.0, max(0.5, 1.0 - 0.05 * (inlet - thermal.derate_from_c)))


def excess_target_k(
    heat_w: float, in_garage: bool, ambient_c: float, thermal: ThermalConfig
) -> float:
    """Warming of the pack above its twin that a steady heat would reach [K]."""
    garage = 1.0 / thermal.garage_w_per_k if in_garage else 0.0
    reuse = thermal.pack_heat_share / thermal.pack_ua_w_per_k if ambient_c < 10.0 else 0.0
    return heat_w * (garage + reuse)


def lag(value: float, target: float, dt_h: float, tau_h: float) -> float:
    """First-order lag: where `value` is after `dt_h` hours."""
    return value + (target - value) * (1.0 - math.exp(-dt_h / tau_h))

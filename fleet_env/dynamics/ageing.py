"""Capacity fade of the pack: two BLAST-Lite laws, and what compute adds to them.

A law is `q = k x^p` with `k` the stress rate; `x` counts days (calendar) or equivalent full cycles
(EFC, cycle). `q` is the share of capacity lost. Source of every constant: NREL BLAST-Lite,
`lfp_gr_250AhPrismatic` and `nca_gr_Panasonic3Ah` (domain 2d, laws B and C).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import DTypeLike

from fleet_env.types import LFP, NCA, BoolArray, FloatArray, IntArray
from fleet_env.units import DAYS_PER_YEAR, KELVIN_AT_0_C

# The life of a car before the episode, which fixes the slope of the power laws (`gains`).
LIFE_SOC = 0.6  # mean soc; est (plug-in at 0.50, charge limits 0.80-1.00; domain 3)
LIFE_PACK_C = 16.8  # mean of the five mean ambients of domain 2b
LIFE_EFC_PER_DAY = 40.0 / DAYS_PER_YEAR  # domain 2c
LIFE_DEPTH = 0.35  # 24 kWh a session (domain 3) of a mean pack of 69 kWh (domain 8)
LIFE_C_RATE_PER_H = 0.1  # 7.7 kW at the wall (domain 8) into the same pack
MIN_AGE_DAYS = 30.0  # younger packs count as this old: at age 0 the slope has no bound; est

# Range of the cycle tests behind law B: outside of it BLAST-Lite warns of its fit, so T is clamped.
CYCLE_MIN_C, CYCLE_MAX_C = 10.0, 45.0
SOC_CELLS = 512  # of the table of the calendar exponent over soc
SHORTEST_H = 1e-3  # [h] keeps the C-rate of an empty step finite


@dataclass(frozen=True, slots=True)
class Law:
    """Constants of one chemistry.

    Calendar: `k = cal_k0 exp(-(cal_t_k + cal_u_k u) / T)`, `x` in days, with `u` = anode potential
    `ua_v(soc)` for LFP and soc for NCA. Cycle: `k = (cyc_k0 + cyc_depth depth + cyc_c_rate C)
    exp(cyc_t_k / T)`, `x` in EFC, with `T` clamped to the range of the tests. `T` in kelvin.
    """

    cal_k0: float
    cal_t_k: float
    cal_u_k: float  # [K/V] for LFP, [K] for NCA
    cal_p: float
    cyc_k0: float
    cyc_depth: float
    cyc_c_rate: float
    cyc_t_k: float
    cyc_p: float
    stress_is_potential: bool


LAWS = {
    # The cycle law's second term exp(-1.55e5 / T) is below 1e-200 at any outdoor temperature.
    LFP: Law(
        cal_k0=8.37e4,
        cal_t_k=5210.0,
        cal_u_k=3560.0,
        cal_p=0.526,
        cyc_k0=4.38e-8,
        cyc_depth=1.55e-8,
        cyc_c_rate=1.68e-7,
        cyc_t_k=2190.0,
        cyc_p=0.828,
        stress_is_potential=True,
    ),
    # Cycle constants with the law's factor 2 multiplied in; its temperature factors are about 1.
    NCA: Law(
        cal_k0=75.4,
        cal_t_k=3340.0,
        cal_u_k=-353.0,
        cal_p=0.512,
        cyc_k0=2 * 1.86e-6,
        cyc_depth=2 * 1.77e-4,
        cyc_c_rate=2 * 4.74e-11,
        cyc_t_k=0.0,
        cyc_p=0.699,
        stress_is_potential=False,
    ),
}


def ua_v(soc: FloatArray) -> FloatArray:
    """Anode potential at a cell's soc [V] (graphite, Safari and Delacourt 2011; domain 2d)."""
    x = 0.0085 + 0.7715 * np.asarray(soc)
    potential: FloatArray = (
        0.6379
        + 0.5416 * np.exp(-305.5309 * x)
        - 0.044 * np.tanh((x - 0.1958) / 0.1088)
        - 0.1978 * np.tanh((x - 1.0571) / 0.0854)
        - 0.6875 * np.tanh((x + 0.0117) / 0.0529)
        - 0.0175 * np.tanh((x - 0.5692) / 0.0875)
    )
    return potential


def calendar_rate(law: Law, soc: FloatArray, pack_c: FloatArray) -> FloatArray:
    """Calendar `k` [1/day^p] at a soc and a pack temperature [degC]."""
    stress = ua_v(soc) if law.stress_is_potential else np.asarray(soc)
    kelvin = np.asarray(pack_c) + KELVIN_AT_0_C
    rate: FloatArray = law.cal_k0 * np.exp(-(law.cal_t_k + law.cal_u_k * stress) / kelvin)
    return rate


def cycle_rate(
    law: Law, depth: FloatArray, c_rate_per_h: FloatArray, pack_c: FloatArray
) -> FloatArray:
    """Cycle `k` [1/EFC^p] at a depth of discharge, a C-rate [1/h] and a pack temperature [degC]."""
    kelvin = np.clip(pack_c, CYCLE_MIN_C, CYCLE_MAX_C) + KELVIN_AT_0_C
    stress = law.cyc_k0 + law.cyc_depth * np.asarray(depth) + law.cyc_c_rate * c_rate_per_h
    rate: FloatArray = stress * np.exp(law.cyc_t_k / kelvin)
    return rate


def advance(q: FloatArray, k: FloatArray, p: float, dx: FloatArray) -> FloatArray:
    """Fade after `dx` more days or EFC at the rate `k`: exact for the law `q = k x^p`.

    `q` is first read as a place on today's curve, `x = (q / k)^(1/p)`, so a changing `k` is
    followed without memory of how the fade came about.

    Parameters
    ----------
    q, k : FloatArray
        Fade so far (share of capacity, >= 0) and stress rate (> 0).
    p : float
        Exponent of the law.
    dx : FloatArray
        Days or EFC to add, >= 0.

    Returns
    -------
    FloatArray
        Fade afterwards, same shape.
    """
    faded: FloatArray = k * ((np.asarray(q) / k) ** (1.0 / p) + dx) ** p
    return faded


def gains(
    chemistry: IntArray,
    age_days: FloatArray,
    *,
    efc_per_day: float = LIFE_EFC_PER_DAY,
    soc: float = LIFE_SOC,
    pack_c: float = LIFE_PACK_C,
) -> tuple[FloatArray, FloatArray]:
    """Slope of each car's power laws at its own age, constant through an episode.

    From `dq/dx = p q^((p-1)/p) k^(1/p)`: the gain is `p q^((p-1)/p)`, with `q` the fade that the
    car's age and a mean life (soc, temperature, cycles) have left behind. An old pack fades slower.

    Parameters
    ----------
    chemistry : IntArray, shape (n,)
        `LFP` or `NCA`.
    age_days : FloatArray, shape (n,)
        Age of the pack [days]; below `MIN_AGE_DAYS` it counts as that.
    efc_per_day : float
        Equivalent full cycles per day of life so far.
    soc, pack_c : float
        Mean soc and pack temperature [degC] of life so far.

    Returns
    -------
    cal_gain, cyc_gain : FloatArray, shape (n,), float32
        `p q^((p-1)/p)` of the calendar and of the cycle law.
    """
    age = np.maximum(np.asarray(age_days, dtype=np.float64), MIN_AGE_DAYS)
    cal = np.empty(age.shape, dtype=np.float32)
    cyc = np.empty(age.shape, dtype=np.float32)
    life = np.array([soc]), np.array([pack_c])
    for code, law in LAWS.items():
        mine = np.asarray(chemistry) == code
        cal_k = calendar_rate(law, *life)
        cyc_k = cycle_rate(law, np.array([LIFE_DEPTH]), np.array([LIFE_C_RATE_PER_H]), life[1])
        cal[mine] = _gain(cal_k * age[mine] ** law.cal_p, law.cal_p)
        cyc[mine] = _gain(cyc_k * (efc_per_day * age[mine]) ** law.cyc_p, law.cyc_p)
    return cal, cyc


def _gain(q: FloatArray, p: float) -> FloatArray:
    gain: FloatArray = p * q ** ((p - 1.0) / p)
    return gain


def _pair(constant: Callable[[Law], float]) -> tuple[float, float]:
    """Value of a constant for NCA, and what LFP adds to it (`_per_car`)."""
    nca = float(constant(LAWS[NCA]))
    return nca, float(constant(LAWS[LFP])) - nca


# Each law in the form log k / p, its cycle stress divided by cyc_k0 so that all terms are near 1.
_CAL_LOG = _pair(lambda law: np.log(law.cal_k0) / law.cal_p)
_CYC_LOG = _pair(lambda law: np.log(law.cyc_k0) / law.cyc_p)
_CYC_HEAT_K = _pair(lambda law: law.cyc_t_k / law.cyc_p)
_CYC_INV_P = _pair(lambda law: 1.0 / law.cyc_p)
_CYC_PER_DEPTH = _pair(lambda law: law.cyc_depth / law.cyc_k0)
_CYC_PER_EFC = _pair(lambda law: 2.0 * law.cyc_c_rate / law.cyc_k0)  # C-rate = 2 EFC / hours


@dataclass(frozen=True, slots=True)
class Strain:
    """What the packs of n cars go through in a step; one for the cars, one for their twins."""

    soc: FloatArray  # (n,) mean of the step
    depth: FloatArray  # (n,) soc since the last reversal
    throughput_kwh: FloatArray  # (n,) DC, both directions


@dataclass(frozen=True, slots=True)
class Packs:
    """The packs of n active cars; every field has shape (n,)."""

    chemistry: IntArray  # LFP or NCA
    pack_kwh: FloatArray
    cal_gain: FloatArray  # see `gains`
    cyc_gain: FloatArray


def extra_fade(
    packs: Packs,
    car: Strain,
    twin: Strain,
    *,
    pack_c: FloatArray,
    excess_k: FloatArray,
    hours: FloatArray,
    days: float,
) -> FloatArray:
    """Fade of the step caused by compute: car minus twin.

    Both mechanisms follow `dq = gain k^(1/p) dx`; car and twin differ in soc, temperature, depth
    and throughput. The difference is factored as twin x (exp(delta) - 1), with `delta` the change
    of the log rate: equal inputs give exactly 0, and float32 rounds to 1e-6 of the difference plus
    1e-7 of the twin's fade in the step (about 3e-7), not to the size of the exponents.

    Parameters
    ----------
    packs : Packs
        Constants of the cars.
    car, twin : Strain
        The step with and without compute.
    pack_c : FloatArray, shape (n,)
        Pack temperature of the twin [degC].
    excess_k : FloatArray, shape (n,)
        Pack temperature of the car above it [K].
    hours : FloatArray, shape (n,)
        Time over which the throughput is spread [h], for the C-rate.
    days : float
        Length of the step [days].

    Returns
    -------
    FloatArray, shape (n,)
        Extra share of capacity lost, signed; dtype of the inputs.
    """
    lfp = np.equal(packs.chemistry, LFP).astype(pack_c.dtype)
    twin_t = pack_c + KELVIN_AT_0_C
    car_t = twin_t + excess_k
    fade = _extra_calendar(packs, car.soc, twin.soc, lfp, twin_t, excess_k)
    fade *= days
    fade += _extra_cycle(packs, car, twin, lfp, twin_t, car_t, np.maximum(hours, SHORTEST_H))
    return fade


def reversal(
    soc_before: FloatArray, soc_after: FloatArray, anchor: FloatArray, falling: BoolArray
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Cycle depth of a step: soc since the charge last turned round.

    Parameters
    ----------
    soc_before, soc_after : FloatArray, shape (n,)
        At the start and the end of the step. Equal values keep the direction.
    anchor : FloatArray, shape (n,)
        soc at the last reversal.
    falling : BoolArray, shape (n,)
        Direction since then.

    Returns
    -------
    depth, anchor, falling : shape (n,)
        Depth [soc] and the two states after the step.
    """
    now_falling = (soc_after < soc_before) | (falling & (soc_after == soc_before))
    new_anchor = np.where(now_falling != falling, soc_before, anchor)
    depth: FloatArray = np.abs(soc_after - new_anchor)
    return depth, new_anchor, now_falling


def _extra_calendar(
    packs: Packs,
    car_soc: FloatArray,
    twin_soc: FloatArray,
    lfp: FloatArray,
    twin_t: FloatArray,
    excess_k: FloatArray,
) -> FloatArray:
    """Calendar fade per day, car minus twin; `log k / p = a - e(soc) / T`."""
    first = np.multiply(packs.chemistry, SOC_CELLS + 2, dtype=np.int32)
    exponent = _calendar_exponent(twin_soc, first)
    delta = exponent - _calendar_exponent(car_soc, first)
    exponent /= twin_t
    delta += exponent * excess_k
    delta /= twin_t + excess_k
    fade = np.exp(_per_car(_CAL_LOG, lfp) - exponent)
    fade *= np.exp(delta) - 1.0
    fade *= packs.cal_gain
    return fade


def _extra_cycle(
    packs: Packs,
    car: Strain,
    twin: Strain,
    lfp: FloatArray,
    twin_t: FloatArray,
    car_t: FloatArray,
    hours: FloatArray,
) -> FloatArray:
    """Cycle fade of the step, car minus twin; `log k / p = (log k0 + log s + t / T) / p`."""
    half_per_kwh = 0.5 / packs.pack_kwh
    efc, twin_efc = car.throughput_kwh * half_per_kwh, twin.throughput_kwh * half_per_kwh
    per_depth = _per_car(_CYC_PER_DEPTH, lfp)
    per_efc = _per_car(_CYC_PER_EFC, lfp) / hours
    stress = 1.0 + per_depth * car.depth + per_efc * efc
    twin_stress = 1.0 + per_depth * twin.depth + per_efc * twin_efc
    heat_k, inv_p = _per_car(_CYC_HEAT_K, lfp), _per_car(_CYC_INV_P, lfp)
    low, high = CYCLE_MIN_C + KELVIN_AT_0_C, CYCLE_MAX_C + KELVIN_AT_0_C
    twin_heat = heat_k / np.clip(twin_t, low, high)
    delta = heat_k / np.clip(car_t, low, high)
    delta -= twin_heat
    delta += inv_p * np.log(stress / twin_stress)
    log_rate = inv_p * np.log(twin_stress)
    log_rate += twin_heat
    log_rate += _per_car(_CYC_LOG, lfp)
    fade = np.exp(delta) - 1.0
    fade *= efc
    fade += efc - twin_efc
    fade *= np.exp(log_rate)
    fade *= packs.cyc_gain
    return fade


def _per_car(pair: tuple[float, float], lfp: FloatArray) -> FloatArray:
    """Spread a constant of the laws over the cars; `lfp` is 1 or 0 (cheaper than a gather)."""
    nca, rise = pair
    constant: FloatArray = lfp * rise
    constant += nca
    return constant


def _calendar_exponent(soc: FloatArray, first: IntArray) -> FloatArray:
    """`e(soc)` [K] of the calendar law by linear interpolation; `first` is the law's first cell."""
    start, step = _exponent_table(soc.dtype)
    x = soc * float(SOC_CELLS)
    cell = np.floor(x)
    x -= cell
    index = cell.astype(np.int32)
    index += first
    x *= step.take(index, mode="clip")
    x += start.take(index, mode="clip")
    return x


@cache
def _exponent_table(dtype: DTypeLike) -> tuple[FloatArray, FloatArray]:
    """Start and rise of every soc cell, laws one after the other, a flat cell at soc 1."""
    soc = np.linspace(0.0, 1.0, SOC_CELLS + 1)
    curves = []
    for code in sorted(LAWS):
        law = LAWS[code]
        stress = ua_v(soc) if law.stress_is_potential else soc
        curve = (law.cal_t_k + law.cal_u_k * stress) / law.cal_p
        curves.append(np.append(curve, curve[-1]))
    start = np.stack(curves)
    step = np.diff(start, axis=1, append=start[:, -1:])
    return start.ravel().astype(dtype), step.ravel().astype(dtype)

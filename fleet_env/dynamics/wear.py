"""Fade of a step caused by compute: car minus twin, with the laws of `ageing`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import DTypeLike

from fleet_env.dynamics.ageing import CYCLE_MAX_C, CYCLE_MIN_C, LAWS, Law, ua_v
from fleet_env.types import LFP, NCA, BoolArray, FloatArray, IntArray
from fleet_env.units import KELVIN_AT_0_C

SOC_CELLS = 512  # of the table of the calendar exponent over soc
SHORTEST_H = 1e-3  # [h] keeps the C-rate of an empty step finite


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

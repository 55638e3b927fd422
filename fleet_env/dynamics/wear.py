"""Fade of a step caused by compute: car minus twin, with the laws of `ageing`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

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
# Rows: log k of the calendar and of the cycle law, heat [K] and exponent of the cycle law, stress
# per depth and per EFC and hour (C-rate = 2 EFC / hours).
_CONSTANTS = np.array(
    [
        _pair(lambda law: np.log(law.cal_k0) / law.cal_p),
        _pair(lambda law: np.log(law.cyc_k0) / law.cyc_p),
        _pair(lambda law: law.cyc_t_k / law.cyc_p),
        _pair(lambda law: 1.0 / law.cyc_p),
        _pair(lambda law: law.cyc_depth / law.cyc_k0),
        _pair(lambda law: 2.0 * law.cyc_c_rate / law.cyc_k0),
    ]
)


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
    law = _law_constants(packs.chemistry, packs.pack_kwh.dtype)
    cal_log, cyc_laws = law[0], law[1:]
    kelvin = np.empty((2, *excess_k.shape), excess_k.dtype)  # twin, car
    np.add(pack_c, KELVIN_AT_0_C, out=kelvin[0])
    np.add(kelvin[0], excess_k, out=kelvin[1])
    fade = _extra_calendar(packs, car.soc, twin.soc, cal_log, kelvin, excess_k)
    fade *= days
    fade += _extra_cycle(packs, car, twin, cyc_laws, kelvin, np.maximum(hours, SHORTEST_H))
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
    cal_log: FloatArray,
    kelvin: FloatArray,
    excess_k: FloatArray,
) -> FloatArray:
    """Calendar fade per day, car minus twin; `log k / p = a - e(soc) / T`."""
    first = np.multiply(packs.chemistry, SOC_CELLS + 2, dtype=np.intp)
    exponent, car_exponent = _calendar_exponent(np.array((twin_soc, car_soc)), first)
    delta = exponent - car_exponent
    exponent /= kelvin[0]
    delta += exponent * excess_k
    delta /= kelvin[1]
    fade: FloatArray = np.exp(np.subtract(cal_log, exponent, out=exponent))
    fade *= _exp_minus_1(delta)
    fade *= packs.cal_gain
    return fade


def _extra_cycle(
    packs: Packs,
    car: Strain,
    twin: Strain,
    law: FloatArray,
    kelvin: FloatArray,
    hours: FloatArray,
) -> FloatArray:
    """Cycle fade of the step, car minus twin; `log k / p = (log k0 + log s + t / T) / p`."""
    log_k0, heat_k, inv_p, per_depth, per_efc = law
    efc = np.array((twin.throughput_kwh, car.throughput_kwh))  # row 0 the twin, 1 the car
    efc *= 0.5 / packs.pack_kwh
    stress = np.array((twin.depth, car.depth))
    stress *= per_depth
    stress += efc * np.divide(per_efc, hours, out=per_efc)
    stress += 1.0
    log_rate = np.log(stress, out=stress)
    log_rate *= inv_p
    heat = np.maximum(kelvin, CYCLE_MIN_C + KELVIN_AT_0_C, out=kelvin)
    np.minimum(heat, CYCLE_MAX_C + KELVIN_AT_0_C, out=heat)
    log_rate += np.divide(heat_k, heat, out=heat)
    fade = _exp_minus_1(log_rate[1] - log_rate[0])
    fade *= efc[1]
    fade += efc[1] - efc[0]
    log_k0 += log_rate[0]
    fade *= np.exp(log_k0, out=log_k0)
    fade *= packs.cyc_gain
    return fade


def _exp_minus_1(x: FloatArray) -> FloatArray:
    """`exp(x) - 1` in place; plain, for it need not hold to the last bit near 0."""
    np.exp(x, out=x)
    x -= 1.0
    return x


def _law_constants(chemistry: IntArray, dtype: np.dtype[Any]) -> FloatArray:
    """Spread the constants of the laws over the cars, (6, n); cheaper than a gather."""
    nca, rise = _columns(dtype)
    constants: FloatArray = rise * np.equal(chemistry, LFP)
    constants += nca
    return constants


@cache
def _columns(dtype: np.dtype[Any]) -> tuple[FloatArray, FloatArray]:
    nca, rise = _CONSTANTS.astype(dtype).T[:, :, None]
    return nca, rise


def _calendar_exponent(soc: FloatArray, first: IntArray) -> FloatArray:
    """`e(soc)` [K] of the calendar law by linear interpolation; `first` is the law's first cell."""
    start, step = _exponent_table(soc.dtype)
    soc *= float(SOC_CELLS)
    cell = np.floor(soc)
    soc -= cell
    index = cell.astype(np.intp)
    index += first
    soc *= step.take(index, mode="clip")
    soc += start.take(index, mode="clip")
    return soc


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

"""Capacity fade of the pack: two BLAST-Lite laws (what compute adds to them: `wear`).

A law is `q = k x^p` with `k` the stress rate; `x` counts days (calendar) or equivalent full cycles
(EFC, cycle). `q` is the share of capacity lost. Source of every constant: NREL BLAST-Lite,
`lfp_gr_250AhPrismatic` and `nca_gr_Panasonic3Ah` (domain 2d, laws B and C).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.types import LFP, NCA, FloatArray, IntArray
from fleet_env.units import DAYS_PER_YEAR, KELVIN_AT_0_C

# The life of a car before the episode, which fixes the slope of the power laws (`gains`).
LIFE_SOC = 0.6  # mean soc; est (plug-in at 0.50, charge limits 0.80-1.00; domain 3)
LIFE_PACK_C = 16.8  # mean of the five mean ambients of domain 2b
LIFE_EFC_PER_DAY = 40.0 / DAYS_PER_YEAR  # domain 2c
LIFE_DEPTH = 0.35  # 24 kWh a session (domain 3) of a mean pack of 69 kWh (domain 8)
LIFE_C_RATE_PER_H = 0.1  # 7.7 kW at the wall (domain 2a) into the same pack
MIN_AGE_DAYS = 30.0  # younger packs count as this old: at age 0 the slope has no bound; est

# Range of the cycle tests behind law B: outside of it BLAST-Lite warns of its fit, so T is clamped.
CYCLE_MIN_C, CYCLE_MAX_C = 10.0, 45.0


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

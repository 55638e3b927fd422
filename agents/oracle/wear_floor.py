"""Wear that the heat of compute causes at least, per kWh (docs/bounds.md 2.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.oracle.tape import Tape
from fleet_env.dynamics import ageing
from fleet_env.dynamics.thermal import COLD_BELOW_C, lag_share
from fleet_env.types import LFP, NCA, BoolArray, FloatArray, IntArray
from fleet_env.units import HOURS_PER_DAY, KELVIN_AT_0_C, W_PER_KW
from fleet_env.world import EXCESS_ZERO_K

# Distances below the twin's soc at which chords are taken, as parts of that to the lowest soc:
# close ones are most common and steepest.
_PARTS = (0.001, 0.003, 0.01, 0.02, 0.04, 0.07, 0.11, 0.16, 0.23, 0.32, 0.43, 0.56, 0.72, 0.86, 1.0)
_TINY_SOC = 1e-6
_CARE = 1.05  # on slopes: chords are sampled, and the simulation interpolates in a table of socs


@dataclass(frozen=True, slots=True)
class HeatFloor:
    """Per car-step, shape (n,)."""

    heat_usd: FloatArray  # per kWh of compute in the step, over the rest of the stay
    gap_usd: FloatArray  # what a kWh owed through the step can save at most
    start_usd: FloatArray  # given back per start: heat too small to be followed


def heat_floor(tape: Tape, follows: BoolArray, stay: IntArray, spent_kwh: FloatArray) -> HeatFloor:
    """Bound the wear of a stay from below by a line in the heat and in the charge owed.

    In a step in which the twin does not charge, extra cycle wear is not negative, so the wear is at
    least its calendar part; that is convex in the excess temperature and falls with the soc::

        wear >= alpha * excess_k - beta * owed_kwh

    with `alpha` the slope over the temperature at the lowest soc the car can have, `beta` the
    steepest slope over the soc. In other steps 0 stands. The excess follows the energy linearly, so
    a kWh in step k costs the sum of `alpha` over the rest of the stay, each weighted by what is
    left of its heat. An excess below 0.05 K may go unfollowed: what that can save is given back at
    every start. Stays without any heat are left out.

    Parameters
    ----------
    follows : BoolArray, shape (n,)
        Whether the car-step before is the step before of the same stay.
    stay : IntArray, shape (n,)
        Number of the stay.
    spent_kwh : FloatArray, shape (n,)
        Most that the car can have computed up to each car-step.
    """
    config, sim, v = tape.config, tape.sim, tape.visits
    lag = lag_share(config.dt_h, config.thermal)
    heat_k = _heat_k_per_kwh(tape)
    heated = np.bincount(stay, heat_k > 0)[stay] > 0 if len(stay) else np.zeros(0, np.bool_)
    alpha, beta = np.zeros(v.car.shape), np.zeros(v.car.shape)
    counts = np.flatnonzero(heated & (v.need_kwh <= 0))
    car = v.car[counts] + tape.cars.start
    usd = sim.by_area.wear_usd[v.area[counts]] * sim.world.params.cal_gain[car]
    usd *= config.dt_h / HOURS_PER_DAY
    pack_kwh = sim.world.params.pack_kwh[car].astype(np.float64)
    region = v.area[counts] - tape.row * tape.num_regions
    kelvin = tape.pack_c[v.step[counts], region].astype(np.float64) + KELVIN_AT_0_C
    low = np.maximum(v.twin_soc[counts] - spent_kwh[counts] / pack_kwh, 0.0)
    per_k, per_soc = _slopes(
        sim.world.params.chemistry[car], low, v.twin_soc[counts].astype(np.float64), kelvin
    )
    alpha[counts], beta[counts] = usd * pack_kwh * per_k, usd * per_soc
    later = _later(alpha, follows, v.step, 1.0 - lag)
    most = np.zeros(stay[-1] + 1 if len(stay) else 0)
    np.maximum.at(most, stay, alpha)
    return HeatFloor(lag * heat_k * later, beta, -EXCESS_ZERO_K * most[stay] / lag)


def _heat_k_per_kwh(tape: Tape) -> FloatArray:
    """Excess temperature that a kWh of compute in a step holds in the long run [K/kWh]."""
    config, v = tape.config, tape.visits
    thermal, table = config.thermal, tape.sim.table
    cold = table.ambient_c[v.step, v.area] < COLD_BELOW_C
    per_w = v.garage / thermal.garage_w_per_k
    per_w = per_w + cold * (thermal.pack_heat_share / thermal.pack_ua_w_per_k)
    k_per_kwh: FloatArray = per_w * (W_PER_KW / config.dt_h)
    return k_per_kwh


def _slopes(
    chemistry: IntArray, low: FloatArray, high: FloatArray, kelvin: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Least slope of the calendar rate over the temperature [1/K], steepest over the soc.

    The rate is `k^(1/p)` of the law, before gain and days; socs between `low` and `high`. Its slope
    over the temperature rises with the soc, so that it is least at `low`.
    """
    at_high, _ = _rate(chemistry, high, kelvin)
    _, per_k = _rate(chemistry, low, kelvin)
    steepest = np.zeros(low.shape)
    for part in _PARTS:
        below = np.maximum(part * (high - low), _TINY_SOC)
        rate, _ = _rate(chemistry, high - below, kelvin)
        np.maximum(steepest, (at_high - rate) / below, out=steepest)
    return per_k / _CARE, steepest * _CARE


def _rate(
    chemistry: IntArray, soc: FloatArray, kelvin: FloatArray
) -> tuple[FloatArray, FloatArray]:
    rate, per_k = np.zeros(soc.shape), np.zeros(soc.shape)
    for code in (NCA, LFP):
        law = ageing.LAWS[code]
        here = chemistry == code
        stress = ageing.ua_v(soc[here]) if law.stress_is_potential else soc[here]
        exponent = (law.cal_t_k + law.cal_u_k * stress) / law.cal_p
        rate[here] = np.exp(np.log(law.cal_k0) / law.cal_p - exponent / kelvin[here])
        per_k[here] = rate[here] * exponent / kelvin[here] ** 2
    return rate, per_k


def _later(alpha: FloatArray, follows: BoolArray, step: IntArray, keeps: float) -> FloatArray:
    """Sum `alpha` over a step and the rest of the stay, each later one times `keeps` per step."""
    later = alpha.copy()
    goes_on = np.append(follows[1:], False)
    for now in range(int(step.max(initial=0)), -1, -1):
        here = np.flatnonzero((step == now) & goes_on)
        later[here] += keeps * later[here + 1]
    return later

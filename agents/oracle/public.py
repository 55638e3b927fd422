"""What public charging on the way could earn a car that has computed (docs/bounds.md 2.6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.oracle.tape import Tape
from fleet_env.dynamics.mobility import LOW_SOC, PUBLIC_ETA, PUBLIC_SOC
from fleet_env.types import BoolArray, FloatArray, IntArray

_ROUNDING = 1e-5  # of a soc in float32
_ROUNDING_KWH = 1e-3


@dataclass(frozen=True, slots=True)
class PublicGains:
    """Per departure of the tape, shape (d,)."""

    lifts: BoolArray  # a car that owes enough charges publicly though its twin does not
    usd: FloatArray  # most that it can earn by that, 0 where it does not
    short: BoolArray  # it cannot owe so much without a shortfall at this departure
    # (cars,) step of the first such departure, beyond all steps where there is none
    first_step: IntArray

    def beyond_usd(self, shortfall_usd: float) -> float:
        """Sum of what is left of the gains where the shortfalls they come with are paid from them.

        Stays bear the rest of such a shortfall (`stays_of`), so that it is not counted twice.
        """
        paid = np.where(self.short, shortfall_usd, 0.0)
        return float(np.maximum(self.usd - paid, 0.0).sum())


def public_gains(tape: Tape, spent_kwh: FloatArray) -> PublicGains:
    """Find the departures at which computing could make a car charge on the way.

    A car fills up to 60 % there. What it so stores beyond its twin is credited at the price of
    owed charge, and trued up where the twin charges at a plug later: at most what all that costs
    beyond the price of owed charge. Where the twin charges publicly later, the car may go without:
    then what it has beyond its twin is worth what it cost, and what it so owes it makes up for at
    the price of owed charge or in a cheap hour.

    Parameters
    ----------
    tape : Tape
    spent_kwh : FloatArray, shape (car-steps,)
        Most that the car can have computed up to each car-step [kWh].

    Returns
    -------
    PublicGains
    """
    config, d, params = tape.config, tape.departures, tape.sim.world.params
    car = d.car + tape.cars.start
    pack_kwh = params.pack_kwh[car].astype(np.float64)
    then, skips = _next_buys(tape, pack_kwh)
    lifts = _lifts(tape, _most_owed(tape, spent_kwh) / pack_kwh)
    # a car that went without once may owe much more than it has computed
    deep_from = _first_step(tape, then[lifts & skips])
    lifts |= _lifts(tape, np.where(d.step > deep_from[d.car], 1.0, 0.0))
    free_soc = np.maximum(d.twin_soc - params.target_soc[car], 0.0)
    free_soc += config.reward.shortfall_deadband_soc
    short = d.twin_soc - d.trip_soc - free_soc >= LOW_SOC + _ROUNDING
    gain = np.where(skips, _skip_usd(tape, pack_kwh, then), _keep_usd(tape, pack_kwh))
    return PublicGains(
        lifts=lifts,
        usd=np.where(lifts, np.maximum(gain, 0.0), 0.0),
        short=lifts & short,
        first_step=_first_step(tape, np.flatnonzero(lifts)),
    )


def _lifts(tape: Tape, gap_soc: FloatArray) -> BoolArray:
    """Departures at which a car that lacks so much, at most, charges publicly and its twin not."""
    d = tape.departures
    left = d.twin_soc.astype(np.float64) - d.trip_soc
    lifts: BoolArray = (left >= LOW_SOC - _ROUNDING) & (left - gap_soc < LOW_SOC + _ROUNDING)
    return lifts & (gap_soc > 0)


def _first_step(tape: Tape, which: IntArray) -> IntArray:
    """Step of the first of some departures of each car, (cars,); beyond all where it has none."""
    d = tape.departures
    first = np.full(tape.config.num_cars, np.iinfo(np.int32).max)
    np.minimum.at(first, d.car[which], d.step[which])
    return first


def _beyond_kwh(tape: Tape, pack_kwh: FloatArray) -> FloatArray:
    """Energy that public charging adds above the charge of the twin, by departure."""
    beyond: FloatArray = np.maximum(PUBLIC_SOC - tape.departures.twin_soc, 0.0) * pack_kwh
    return beyond


def _keep_usd(tape: Tape, pack_kwh: FloatArray) -> FloatArray:
    """Most that a car earns that is fuller than its twin until that charges at a plug."""
    d = tape.departures
    usd: FloatArray = _beyond_kwh(tape, pack_kwh) * (_owed_usd(tape) - public_usd(tape))
    return usd + tape.dear_usd[d.car] - d.dear_usd


def public_usd(tape: Tape) -> float:
    """Price of a kWh in the pack from public charging [USD]."""
    return tape.config.energy.public_usd_per_kwh / PUBLIC_ETA


def cheapest_after(tape: Tape) -> FloatArray:
    """Least price of a kWh in the pack in the steps after each, by area of the row, (T, R)."""
    table, regions = tape.sim.table, tape.num_regions
    price = table.price[:, tape.row * regions : (tape.row + 1) * regions].astype(np.float64)
    eta = tape.sim.world.evse_table.eta
    usd = np.where(price > 0, price / eta.max(), price / eta.min())
    least = np.minimum.accumulate(usd[::-1], axis=0)[::-1]
    return np.concatenate([least[1:], np.full((1, regions), np.inf)])


def _owed_usd(tape: Tape) -> FloatArray:
    """Price at which owed charge is booked, by departure, shape (d,) [USD per kWh in the pack]."""
    d, derived = tape.departures, tape.sim.world.derived
    car = d.car + tape.cars.start
    usd: FloatArray = tape.sim.table.ref_price[d.step, derived.area[car]].astype(np.float64)
    usd /= derived.eta_nominal[car]
    return usd


def _next_buys(tape: Tape, pack_kwh: FloatArray) -> tuple[IntArray, BoolArray]:
    """Next departure before which the twin charges publicly, and whether a car may do without.

    Only at the next one: there it falls to its twin's charge or below. Not where the twin has
    charged as much in between as the car had beyond it, as the car then charges that much less.
    """
    d = tape.departures
    buyers = np.flatnonzero(d.twin_soc - d.trip_soc < LOW_SOC + _ROUNDING)
    if not buyers.size:
        return np.zeros(d.car.shape, np.intp), np.zeros(d.car.shape, np.bool_)
    number = np.searchsorted(buyers, np.arange(d.car.size), side="right")
    then = buyers[np.minimum(number, buyers.size - 1)]
    sold_kwh = d.charged_kwh[then] - d.charged_kwh
    skips = (number < buyers.size) & (d.car[then] == d.car)
    return then, skips & (sold_kwh < _beyond_kwh(tape, pack_kwh) + _ROUNDING_KWH)


def _skip_usd(tape: Tape, pack_kwh: FloatArray, then: IntArray) -> FloatArray:
    """Most that a car earns that does without public charging at the departures `then`.

    What it still has beyond its twin there is worth what it cost; what else the twin buys it owes.
    """
    d = tape.departures
    region = tape.sim.world.derived.area[d.car + tape.cars.start] - tape.row * tape.num_regions
    instead = np.minimum(_owed_usd(tape), cheapest_after(tape)[d.step, region])
    sold_kwh = d.charged_kwh[then] - d.charged_kwh
    beyond_kwh = _beyond_kwh(tape, pack_kwh)
    owes_kwh = np.maximum(beyond_kwh[then] - beyond_kwh + sold_kwh, 0.0)
    usd = sold_kwh * (_owed_usd(tape) - public_usd(tape)) + d.dear_usd[then] - d.dear_usd
    usd += owes_kwh * np.maximum(public_usd(tape) - instead[then], 0.0)
    return usd


def _most_owed(tape: Tape, spent_kwh: FloatArray) -> FloatArray:
    """Most that a car can owe at each departure: all it could have computed by then [kWh]."""
    v, d, steps = tape.visits, tape.departures, tape.config.num_steps
    if not v.car.size:
        return np.zeros(d.car.shape)
    key = v.car.astype(np.int64) * steps + v.step
    last = np.searchsorted(key, d.car.astype(np.int64) * steps + d.step, side="right") - 1
    mine = (last >= 0) & (v.car[last] == d.car)
    return np.where(mine, spent_kwh[last], 0.0)

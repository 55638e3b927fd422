"""An upper bound for fleets of any size: one programme per car at the prices of shared demand.

Prices come from the programme of a sample of cars. Any prices give a valid bound (weak duality);
good ones give a tight one (docs/bounds.md 3).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from agents.oracle.economics import CarSteps
from agents.oracle.limits import Limits
from agents.oracle.lp import Prices
from agents.oracle.market import Market, shared_rows
from agents.oracle.programme import Programme
from agents.oracle.stays import Stays, most_kwh, some_stays
from fleet_env.types import BoolArray, FloatArray, IntArray

# Multipliers tried for the stays that need them: on the charging room and on what may be owed at
# the departure [USD/kWh]. The least bound of each stay counts, so that any values are valid; the
# gains of compute are of this order (a kWh earns 0.3 USD more than it costs where it is cheapest).
# Room is worth what its price lacks of a floor: these quantiles of the prices of the stay, the
# dearest, and so much more.
_FLOOR_SHARES = (0.05, 0.15, 0.3, 0.5, 0.75)
_FLOOR_ABOVE_USD = (0.1, 0.3)
_OPEN_USD = (0.0, 0.02, 0.05, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.6, 1.0, np.inf)
_TINY_KWH = 1e-9
_CAP_USD = (0.0, 0.02, 0.05, 0.1, 0.2)  # on an hour on duty, where owners cap them


def price_bound(
    cars: CarSteps, stays: Stays, shop: Market, prices: Prices, limits: Limits | None = None
) -> float:
    """Bound the return of a fleet from above [USD per episode].

    Parameters
    ----------
    cars, stays, shop
        Pieces of a tape, all cars.
    prices : Prices
        Of any sample, or any others that are not negative.
    limits : Limits, optional
        Of the tape; transformers are left out.
    """
    return requests_bound(shop, prices) + _cars_bound(cars, stays, shop, prices, limits)


def _cars_bound(
    cars: CarSteps, stays: Stays, shop: Market, prices: Prices, limits: Limits | None
) -> float:
    """Most that all cars earn; owners' caps are priced by the best of a few multipliers."""
    num = int(cars.car.max(initial=-1)) + 1
    least = np.full(num, np.inf)
    capped = limits is not None and np.isfinite(limits.cap_h)
    for cap_usd in _CAP_USD if capped else (0.0,):
        dearer = replace(cars, duty_usd=cars.duty_usd + cap_usd * cars.on_h) if cap_usd else cars
        value = _car_values(dearer, stays, shop, prices, limits, num)
        spared = cap_usd * limits.cap_h if limits is not None and cap_usd else 0.0
        np.minimum(least, value + spared, out=least)
    return float(least.sum())


def _car_values(
    cars: CarSteps,
    stays: Stays,
    shop: Market,
    prices: Prices,
    limits: Limits | None,
    num: int,
) -> FloatArray:
    """Most that each car earns, shape (num,): its stays together, less what downloads cost.

    A car that serves after a release has been on duty for the download, unpaid; or it stops before.
    """
    value = np.bincount(stays.car, stay_values(cars, stays, shop, prices), num).astype(np.float64)
    if limits is None or not limits.car.size:
        return value
    until, hours = _first_download(limits, num)
    some = hours[stays.car] > 0
    own_cars, own_stays = some_stays(cars, stays, some)
    before = replace(own_cars, may=own_cars.may & (own_cars.step < until[own_cars.car]))
    early = np.bincount(own_stays.car, stay_values(before, own_stays, shop, prices), minlength=num)
    unpaid_h = hours - _start_and_end_h(own_cars, shop, num)
    late = value - np.maximum(unpaid_h, 0.0) * _least_hour_usd(own_cars, own_stays, shop, until)
    return np.where(hours > 0, np.maximum(early, np.minimum(late, value)), value)


def _first_download(limits: Limits, num: int) -> tuple[IntArray, FloatArray]:
    """Step and hours of each car's first download; 0 hours where it has none."""
    until, hours = np.full(num, np.iinfo(np.int32).max), np.zeros(num)
    here = limits.car < num
    car, step = limits.car[here], limits.step[here]
    np.minimum.at(until, car, step)
    first = step == until[car]
    hours[car[first]] = limits.hours[here][first]
    return until, hours


def _start_and_end_h(cars: CarSteps, shop: Market, num: int) -> FloatArray:
    """Hours of a download that may not spare a plan a step on duty, shape (num,).

    Without its download a plan that earns as much still needs the step in which it ends, a step for
    a tail where the car was on duty before, and a start.
    """
    start_h = np.zeros(num)
    np.maximum.at(start_h, cars.car, cars.start_h)
    hours: FloatArray = 2.0 * shop.dt_h + start_h
    return hours


def _least_hour_usd(cars: CarSteps, stays: Stays, shop: Market, until: IntArray) -> FloatArray:
    """Least cost of an hour on duty without work after a car's release, shape (num,); >= 0."""
    free, nothing = np.zeros(cars.may.size), np.zeros(len(stays.car))
    kwh_usd = energy_usd(cars, stays, by_step(cars, shop.num_steps), free, nothing)
    usd = cars.duty_usd + (kwh_usd + cars.heat_usd) * cars.duty_kwh
    some = cars.may & (cars.step >= until[cars.car])
    least = np.full(until.shape, np.inf)
    np.minimum.at(least, cars.car[some], usd[some] / cars.on_h[some])
    return np.where(np.isfinite(least), np.maximum(least, 0.0), 0.0)


def requests_bound(shop: Market, prices: Prices) -> float:
    """Most that requests can earn if capacity is bought at the prices [USD]."""
    model = Programme()
    shared = shared_rows(model, shop, 1.0)
    bought = model.columns(shared.capacity.size, -prices.work_usd.ravel())
    model.put(shared.capacity.ravel(), bought, 1.0)
    model.put(shared.ready, model.columns(shared.ready.size, -prices.ready_usd), 1.0)
    return model.solve().bound


def stay_values(cars: CarSteps, stays: Stays, shop: Market, prices: Prices) -> FloatArray:
    """Most that the car of each stay earns by selling its capacity at the prices, shape (s,).

    Two-state dynamic programme (on duty or not) over the steps of each stay; the limits on refills
    and on what may be owed at the departure are priced by multipliers, of which the best is kept.
    """
    free, nothing = np.zeros(cars.may.size), np.zeros(len(stays.car))
    best = _one_pass(cars, stays, shop, prices, free, nothing)
    tight = _tight(cars, stays)
    cars, stays = some_stays(cars, stays, tight)
    rooms = _room_usd(cars, len(stays.car))
    binds = np.isfinite(stays.free_kwh)
    open_kwh = np.where(binds, stays.free_kwh, 0.0)
    over_usd = _over_usd(stays, most_kwh(cars, len(stays.car)) - open_kwh)
    least = best[tight]
    for limit_usd in _OPEN_USD:
        open_usd = np.where(binds, np.minimum(limit_usd, over_usd), 0.0)
        for room_usd in rooms:
            value = _one_pass(cars, stays, shop, prices, room_usd, open_usd)
            value += np.bincount(cars.stay, room_usd * cars.refill_kwh, minlength=len(value))
            np.minimum(least, value + open_usd * open_kwh, out=least)
    best[tight] = least
    return best


def _room_usd(cars: CarSteps, num: int) -> list[FloatArray]:
    """Multipliers to try on the room of each car-step [USD/kWh]."""
    usd = np.where(cars.refill_kwh > 0, cars.refill_usd, np.inf)
    by_price = usd[np.lexsort((usd, cars.stay))]
    first = np.searchsorted(cars.stay, np.arange(num))
    last = np.bincount(cars.stay, np.isfinite(usd), minlength=num).astype(np.intp) - 1
    none = np.zeros(num)
    floors = [none - np.inf]
    for share in (*_FLOOR_SHARES, 1.0):
        at = first + (share * np.maximum(last, 0)).astype(np.intp)
        floors.append(np.where(last >= 0, by_price[at], -np.inf))
    floors += [floors[-1] + more for more in _FLOOR_ABOVE_USD]
    return [
        np.where(np.isfinite(usd), np.maximum(floor[cars.stay] - cars.refill_usd, 0.0), 0.0)
        for floor in floors
    ]


def _tight(cars: CarSteps, stays: Stays) -> BoolArray:
    """Stays in which room to refill or what may stay owed could run out."""
    num = len(stays.car)
    spent_kwh = most_kwh(cars, num)
    cheapest = np.full(num, np.inf)
    np.minimum.at(cheapest, cars.stay[cars.refill_kwh > 0], cars.refill_usd[cars.refill_kwh > 0])
    cheap = cars.refill_usd <= cheapest[cars.stay]
    cheap_kwh = np.bincount(cars.stay, cars.refill_kwh * cheap, minlength=num)
    tight: BoolArray = (spent_kwh > stays.free_kwh) | (spent_kwh > cheap_kwh)
    return tight


def _over_usd(stays: Stays, over_kwh: FloatArray) -> FloatArray:
    """Cost of a kWh owed too much at the departure, at least: the chord of event and kWh."""
    per_event: FloatArray = stays.shortfall_usd / np.maximum(over_kwh, _TINY_KWH)
    return per_event + stays.shortfall_usd_per_kwh


def _one_pass(
    cars: CarSteps,
    stays: Stays,
    shop: Market,
    prices: Prices,
    room_usd: FloatArray,
    open_usd: FloatArray,
) -> FloatArray:
    groups = by_step(cars, shop.num_steps)
    kwh_usd = energy_usd(cars, stays, groups, room_usd, open_usd) + cars.heat_usd
    pay = cars.duty_usd + kwh_usd * cars.duty_kwh
    ready_usd = prices.ready_usd[cars.step] * shop.chat_share[cars.step] * cars.speed
    work_usd = prices.work_usd[cars.step, cars.accelerator] * cars.speed
    hour_usd = ready_usd + np.maximum(work_usd - kwh_usd * cars.busy_kwh, 0.0)
    late = np.divide(cars.start_on_h, cars.on_h, out=np.zeros(pay.shape), where=cars.on_h > 0)
    goes_on = hour_usd * cars.on_h - pay
    starts = goes_on - hour_usd * cars.start_h - cars.start_usd + late * pay
    stops = kwh_usd * cars.tail_kwh
    off, on = np.zeros(len(stays.car)), np.full(len(stays.car), -np.inf)
    for here in groups:
        stay, runs_on = cars.stay[here], cars.runs_on[here]
        was_off, was_on = off[stay], on[stay]
        rest = np.maximum(was_off, was_on - np.where(runs_on, stops[here], 0.0))
        work = np.maximum(rest + starts[here], np.where(runs_on, was_on, -np.inf) + goes_on[here])
        off[stay], on[stay] = rest, np.where(cars.may[here], work, -np.inf)
    value: FloatArray = np.maximum(off, on)
    return value


def by_step(cars: CarSteps, num_steps: int) -> list[IntArray]:
    """Car-steps of each step."""
    order = np.argsort(cars.step, kind="stable")
    edges = np.searchsorted(cars.step[order], np.arange(num_steps + 1))
    return [order[low:high] for low, high in pairwise(edges)]


def energy_usd(
    cars: CarSteps, stays: Stays, groups: list[IntArray], room_usd: FloatArray, open_usd: FloatArray
) -> FloatArray:
    """Least price of a kWh of compute in each car-step: refilled later in the stay, or carried on.

    Backwards: a kWh owed at the end of a step is refilled in the cheapest step to come.
    """
    owed = stays.carry_usd + open_usd + cars.ref_usd[stays.last]
    price = np.empty(cars.may.size)
    gap_after = np.zeros(len(stays.car))
    for here in reversed(groups):
        stay = cars.stay[here]
        held = (cars.gap_usd[here] + gap_after[stay]) / 2.0
        refill = np.where(cars.refill_kwh[here] > 0, cars.refill_usd[here] + room_usd[here], np.inf)
        least = np.minimum(refill, owed[stay] - held)
        forced = cars.forced[here]
        now = np.where(forced > 0, refill, 0.0)
        price[here] = forced * now + (1.0 - forced) * least
        owed[stay], gap_after[stay] = least, cars.gap_usd[here]
    return price

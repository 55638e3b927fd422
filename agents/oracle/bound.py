"""Bounds of whole scenarios: tape, prices of a sample, and one pass over all cars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agents.oracle.economics import CarSteps, car_steps, running_total
from agents.oracle.limits import Limits, limits_of
from agents.oracle.lp import Plan, foresight
from agents.oracle.market import Market, market, share_of
from agents.oracle.price_bound import price_bound
from agents.oracle.public import public_gains
from agents.oracle.stays import Stays, some_stays, stays_of
from agents.oracle.tape import Tape, record
from fleet_env.config import EnvConfig
from fleet_env.types import BoolArray, FloatArray

SAMPLE_CARS = 1000  # whose programme sets the prices; docs/bounds.md 4
_CARS_AT_ONCE = 20_000  # of tapes recorded side by side


@dataclass(frozen=True, slots=True)
class Case:
    """A tape as its programmes see it."""

    cars: CarSteps
    stays: Stays
    shop: Market
    limits: Limits
    gain_usd: float  # what public charging on the way may add (docs/bounds.md 2.6)


def case_of(tape: Tape, *, margin_h: float | None = None) -> Case:
    """Work out all pieces of a tape; `margin_h` as in `bounds_usd`."""
    cars = car_steps(tape, margin_h=margin_h)
    gains = public_gains(tape, running_total(cars.most_kwh, cars.car))
    shortfall_usd = float(tape.sim.by_area.shortfall_usd[tape.row * tape.num_regions])
    return Case(
        cars,
        stays_of(tape, cars, gains),
        market(tape, cars),
        limits_of(tape),
        gains.beyond_usd(shortfall_usd),
    )


def sample_of(case: Case, every: int) -> Case:
    """Every so manieth car of a case, with limits of their own only (no transformers)."""
    which: BoolArray = case.stays.car % every == 0
    kept = which[case.cars.stay]
    cars, stays = some_stays(case.cars, case.stays, which)
    limits = case.limits
    own = limits.car % every == 0
    limits = replace(
        limits,
        car=limits.car[own],
        step=limits.step[own],
        hours=limits.hours[own],
        home=limits.home[kept],
        eta=limits.eta[kept],
        headroom_kwh=limits.headroom_kwh if every == 1 else None,
    )
    return replace(case, cars=cars, stays=stays, limits=limits)


def plan_of(case: Case, num_cars: int, sample_cars: int, *, whole: bool = False) -> Plan:
    """Solve the programme of a case, or of a sample of its cars with their share of the demand.

    The share is that of the work which cars could do, step by step: by heads alone the price of an
    hour would hang on how many of the sample's cars happen to be parked then.
    """
    every = max(1, -(-num_cars // sample_cars))
    if every == 1:
        return foresight(case.cars, case.stays, case.shop, whole=whole, limits=case.limits)
    part, heads = sample_of(case, every), -(-num_cars // every) / num_cars
    shop = share_of(case.shop, _lots_on_offer(part), _lots_on_offer(case), heads)
    return foresight(part.cars, part.stays, shop, whole=whole, limits=part.limits)


def _lots_on_offer(case: Case) -> FloatArray:
    """Most lots of requests that the cars of a case could serve in each step, shape (T,)."""
    cars, shop = case.cars, case.shop
    lots = shop.per_h.max(axis=1)[cars.accelerator] * cars.speed * cars.on_h * cars.may
    return np.bincount(cars.step, lots, minlength=shop.num_steps).astype(np.float64)


def bound_usd(
    case: Case, num_cars: int, sample_cars: int = SAMPLE_CARS, plan: Plan | None = None
) -> float:
    """Bound the return of an episode from above [USD]; see `bounds_usd`.

    `plan` is that of the sample (`plan_of`) where it is at hand.
    """
    plan = plan or plan_of(case, num_cars, sample_cars)
    bound = price_bound(case.cars, case.stays, case.shop, plan.prices, case.limits)
    if num_cars <= sample_cars:
        bound = min(bound, plan.bound_usd)
    return max(bound, 0.0) + case.gain_usd


def bounds_usd(
    config: EnvConfig,
    split: str,
    scenarios: Sequence[int],
    sample_cars: int = SAMPLE_CARS,
    *,
    margin_h: float | None = None,
) -> Iterator[float]:
    """Bound the return of scenarios from above, one after the other [USD per episode].

    No policy, told whatever, earns more in the scenario (docs/bounds.md).

    Parameters
    ----------
    config : EnvConfig
    split : str
        train, validation or test.
    scenarios : sequence of int
    sample_cars : int
        Cars whose programme sets the prices of shared demand: more make the bound tighter.
    margin_h : float, optional
        Least margin of the energy manager that a policy may set [h], 0 for learners of
        `FleetIndex` with `margin_action`. None: the card's, for all others.
    """
    rows = max(1, _CARS_AT_ONCE // config.num_cars)
    for first in range(0, len(scenarios), rows):
        for tape in record(config, split, scenarios[first : first + rows]):
            yield bound_usd(case_of(tape, margin_h=margin_h), config.num_cars, sample_cars)

"""Cars by the dozen: what a plan has to know of them does not grow with the fleet.

A cohort holds cars of one tier whose cost, power to defer and stated stay are alike. Its later
supply follows from how early cars leave (`fleet_env.views.leaving`); cars still to come are one
more cohort per tier, as many as the usual day has at that hour beyond those that stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.base import Obs
from agents.costs.forecast import profile
from fleet_env.observations import FLEET, FORECAST_H, PRICE_00H
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.views.costs import FULL_ETA, PRICE_SLACK_USD, CarCosts
from fleet_env.views.leaving import STAY_BIN_H, WITHIN_H, leaving, stay_bin
from fleet_env.views.seen import Seen

# inner edges of the costs of a kilowatt-hour of compute, all in [USD/kWh]; the dearest hours of
# the Californian tariff and a garage in summer lie above 0.6
_COST_EDGES = np.array([0.30, 0.34, 0.37, 0.40, 0.48, 0.60, 0.80, 1.2], np.float32)
_NUM_COSTS = len(_COST_EDGES) + 1
_STAY_GROUP = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])  # of the stay bins: to 1.5 h, to 7 h
_NUM_STAYS = 3
_PER_TIER = _NUM_COSTS * 2 * _NUM_STAYS + 1  # the last one: cars still to come
NUM_COHORTS = 2 * _PER_TIER
HOLDS_70B = np.arange(NUM_COHORTS) >= _PER_TIER
NEWCOMERS = np.array([_PER_TIER - 1, NUM_COHORTS - 1])
_IS_NEW: BoolArray = np.isin(np.arange(NUM_COHORTS), NEWCOMERS)[:, None]
_SEEN_SCALE_H = 6.0  # how long a supply above or below the usual one is thought to last; est
_USUALLY_DEFER = 0.7  # of the cars seen in the evening hours of train days; est
_TIER_BINS = len(STAY_BIN_H)
_LONGEST_H = 32.0  # end of the last bin of stated stays: a day after 16 h is as far as plans see


@dataclass(frozen=True)
class Cohorts:
    """Cohorts of one row; `k` = NUM_COHORTS, `T` intervals. Numbers are per car of the fleet."""

    num: FloatArray  # (k, T) cars there in the middle of each interval
    on_duty: FloatArray  # (k,) now
    usd_per_h: FloatArray  # (k, T) cost of an on-duty hour at full work
    stays: FloatArray  # (k, T) share of the cars on duty before that are still there
    start_h: FloatArray  # (k,) from duty to service
    start_usd: FloatArray  # (k,) of a start and the stop after it
    idle_usd_per_h: FloatArray  # (T,) what an hour without work saves


# what is summed over the cars of a cohort
_SUMMED = (
    "kw", "idle_kw", "price", "late", "wear", "risk", "safe_h", "start_h", "defers", "on_duty",
)  # fmt: skip


@dataclass(frozen=True)
class Sums:
    """Sums over the cars of each cohort, of all rows."""

    of: dict[str, FloatArray]  # name of `_SUMMED` -> (num_envs, k)
    stays: IntArray  # (num_envs, k, bins) cars by stated stay


def cohort_of(cars: Seen, costs: CarCosts) -> IntArray:
    """Cohort of every car, shape (m,)."""
    per_kwh = (
        costs.kwh_price_usd + costs.kwh_usd + costs.risk_usd_per_h / np.maximum(costs.kw, 1e-3)
    )
    cost = np.searchsorted(_COST_EDGES, per_kwh, side="right")
    stay = _STAY_GROUP[stay_bin(cars("stay_h"))]
    cohort: IntArray = (cost * 2 + costs.defers) * _NUM_STAYS + stay
    cohort += (cars("fits_70b") > 0) * _PER_TIER
    return cohort


def gather(cars: Seen, costs: CarCosts) -> Sums:
    """Sum all cars by row and cohort, in one pass."""
    shape = len(cars.obs["mask"]), NUM_COHORTS
    cell = cars.row * NUM_COHORTS + cohort_of(cars, costs)
    values: tuple[FloatArray | BoolArray, ...] = (
        costs.kw,
        costs.idle_kw,
        costs.price_usd_per_kwh,
        np.where(costs.defers, costs.late_usd_per_kwh, costs.price_usd_per_kwh),
        costs.kwh_usd,
        costs.risk_usd_per_h,
        np.minimum(costs.safe_h, np.float32(FORECAST_H)),
        costs.start_h,
        costs.defers,
        cars("on_duty"),
    )
    sums: dict[str, FloatArray] = {}
    for name, value in zip(_SUMMED, values, strict=True):
        total = np.bincount(cell, value.astype(np.float64), shape[0] * shape[1])
        sums[name] = np.asarray(total, np.float64).reshape(shape)
    by_stay = cell * _TIER_BINS + stay_bin(cars("stay_h"))
    stays = np.bincount(by_stay, minlength=shape[0] * shape[1] * _TIER_BINS)
    return Sums(sums, stays.reshape(*shape, _TIER_BINS))


def expect_supply(
    obs: Obs, row: int, sums: Sums, middle_h: FloatArray, tail_h: float, departures: str
) -> Cohorts:
    """Turn the sums of a row into cohorts over the intervals of a grid."""
    num_cars, there = obs["mask"].shape[1], sums.stays[row].sum(axis=1).astype(np.float64)
    left = _left_as_stated(middle_h) if departures == "stated" else _left(obs, row, middle_h)
    survival = _survival(left, sums.stays[row])
    num = there[:, None] * survival / num_cars
    num[NEWCOMERS] = _to_come(obs, row, there, num.sum(axis=0), middle_h)
    mean = _means({name: values[row] for name, values in sums.of.items()}, there)
    usd, idle_usd = _costs_ahead(obs["fleet"][row], mean, there, middle_h)
    before = np.concatenate([np.ones((NUM_COHORTS, 1)), survival[:, :-1]], axis=1)
    late = mean["late"] / FULL_ETA + mean["wear"]
    return Cohorts(
        num=num,
        on_duty=sums.of["on_duty"][row] / num_cars,
        usd_per_h=usd,
        stays=np.where(_IS_NEW, 1.0, survival / np.maximum(before, 1e-9)),
        start_h=mean["start_h"],
        # below 0 at prices below 0, but nobody starts a car for its tail's sake
        start_usd=np.maximum(mean["idle_kw"] * late * tail_h, 0.0),
        idle_usd_per_h=idle_usd,
    )


def _to_come(
    obs: Obs, row: int, there: FloatArray, left: FloatArray, middle_h: FloatArray
) -> FloatArray:
    """Cars that arrive until each interval, per car of the fleet, by tier, (2, T)."""
    usual = profile(obs, row, middle_h, quantity=0)
    usual_now = profile(obs, row, np.zeros(1), quantity=0)[0]
    seen = there.sum() / obs["mask"].shape[1] / max(usual_now, 1e-9)
    wanted = usual * (1.0 + (seen - 1.0) * np.exp(-middle_h / _SEEN_SCALE_H))
    share_70b = there[HOLDS_70B].sum() / max(1.0, there.sum())
    by_tier: FloatArray = np.array([[1.0 - share_70b], [share_70b]]) * np.maximum(wanted - left, 0)
    return by_tier


def _left(obs: Obs, row: int, middle_h: FloatArray) -> FloatArray:
    """Share that has left by the middle of each interval, by stated stay, (bins, T): measured."""
    fleet = obs["fleet"][row]
    angle = float(np.arctan2(fleet[FLEET["hour_sin"]], fleet[FLEET["hour_cos"]]))
    hour = int(np.floor(angle * 12.0 / np.pi + 1e-3)) % 24
    left = np.concatenate([np.zeros((_TIER_BINS, 1)), leaving()[hour]], axis=1)
    times = np.array([0.0, *WITHIN_H])
    return np.stack([np.interp(middle_h, times, of_bin) for of_bin in left])


def _left_as_stated(middle_h: FloatArray) -> FloatArray:
    """Share that has left if all leave as stated, stays even within a bin, (bins, T)."""
    starts, ends = np.array(STAY_BIN_H), np.array([*STAY_BIN_H[1:], _LONGEST_H])
    share: FloatArray = (middle_h - starts[:, None]) / (ends - starts)[:, None]
    return np.clip(share, 0.0, 1.0)


def _survival(left: FloatArray, stays: IntArray) -> FloatArray:
    """Share of each cohort that is still there in the middle of each interval, (k, T)."""
    share = stays / np.maximum(stays.sum(axis=1, keepdims=True), 1)
    there: FloatArray = share @ (1.0 - left)
    return there


def _means(sums: dict[str, FloatArray], there: FloatArray) -> dict[str, FloatArray]:
    """Means of every cohort; an empty one and cars to come are like the mean car."""
    whole, cars = max(1.0, float(there.sum())), np.maximum(there, 1.0)
    like_all = (there == 0) | _IS_NEW[:, 0]
    return {
        name: np.where(like_all, values.sum() / whole, values / cars)
        for name, values in sums.items()
    }


def _costs_ahead(
    fleet: FloatArray, mean: dict[str, FloatArray], there: FloatArray, middle_h: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Cost of an on-duty hour by cohort and interval, and what an hour without work saves.

    Prices to come are those of now plus what the published mean changes; a car that can defer pays
    no more than the price of a refill.
    """
    price, late = _prices_ahead(fleet, mean, middle_h)
    # who can defer shows only while the hour is dear; before that a usual share is thought able
    able = mean["defers"] if (mean["defers"] > 0).any() else np.full(len(there), _USUALLY_DEFER)
    blend = able[:, None] * late + (1.0 - able[:, None]) * price
    blend[:, 0] = mean["late"]
    usd_per_kwh = blend / FULL_ETA + mean["wear"][:, None]
    safe_h = np.maximum(mean["safe_h"], 2.0 * middle_h[0])
    usd = mean["kw"][:, None] * usd_per_kwh + float(fleet[FLEET["pay_usd_per_h"]])
    usd += mean["risk"][:, None] * (middle_h < safe_h[:, None])
    weight = np.maximum(there, 1e-9)[:, None]
    saved = (mean["kw"] - mean["idle_kw"])[:, None] * usd_per_kwh * weight
    return usd, saved.sum(axis=0) / weight.sum()


def _prices_ahead(
    fleet: FloatArray, mean: dict[str, FloatArray], middle_h: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Price of energy bought at once, and of energy that may wait, by cohort and interval."""
    published = fleet[PRICE_00H : PRICE_00H + FORECAST_H].astype(np.float64)
    change = published[np.minimum(middle_h.astype(np.intp), FORECAST_H - 1)]
    change = change - float(fleet[FLEET["price"]])
    change[0] = 0.0  # the price of the step itself is shown
    price = mean["price"][:, None] + change
    refill = float(fleet[FLEET["refill_price"]])
    late = np.where(price > refill + PRICE_SLACK_USD, np.minimum(price, refill), price)
    return price, late

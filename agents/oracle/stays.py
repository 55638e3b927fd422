"""How the stays of a tape end: what may be left open, and what that costs (docs/bounds.md 2.7)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from agents.oracle.economics import CarSteps
from agents.oracle.public import PublicGains, cheapest_after, public_usd
from agents.oracle.tape import Tape
from fleet_env.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Stays:
    """Stays in which compute is allowed, shape (s,), in the order of `CarSteps.stay`."""

    car: IntArray
    last: IntArray  # car-step that ends it
    leaves: BoolArray  # departs within the episode
    free_kwh: FloatArray  # may be owed at the departure without a shortfall; inf: any amount
    carry_usd: FloatArray  # a kWh owed at the end costs this beyond `ref_usd`, at least (<= 0)
    shortfall_usd: FloatArray  # per shortfall, less what public charging on the way may earn
    shortfall_usd_per_kwh: float


def some_stays(cars: CarSteps, stays: Stays, which: BoolArray) -> tuple[CarSteps, Stays]:
    """Cut some stays out; `which` has shape (s,)."""
    kept = cars.pick(which[cars.stay])
    kept = replace(kept, stay=(np.cumsum(which) - 1)[kept.stay])
    last = np.searchsorted(kept.stay, np.arange(which.sum()), side="right") - 1
    columns = {
        field.name: getattr(stays, field.name)[which]
        for field in fields(stays)
        if field.name not in ("last", "shortfall_usd_per_kwh")
    }
    usd_per_kwh = stays.shortfall_usd_per_kwh
    return kept, Stays(last=last, shortfall_usd_per_kwh=usd_per_kwh, **columns)


def most_kwh(cars: CarSteps, num_stays: int) -> FloatArray:
    """Most energy of each stay as programmes count it, shape (num_stays,) [kWh]."""
    kwh = (cars.duty_kwh + cars.busy_kwh * cars.on_h) * cars.may + cars.tail_kwh
    return np.bincount(cars.stay, kwh, minlength=num_stays).astype(np.float64)


def stays_of(tape: Tape, cars: CarSteps, gains: PublicGains) -> Stays:
    """Describe how the stays of a tape end."""
    config, sim = tape.config, tape.sim
    num = int(cars.stay[-1]) + 1 if cars.stay.size else 0
    last = np.searchsorted(cars.stay, np.arange(num), side="right") - 1
    car, flat = cars.car[last], cars.car[last] + tape.cars.start
    params = sim.world.params
    leaves, at = _departures_of(tape, last)
    twin_soc = _at(tape.departures.twin_soc, leaves, at, np.ones(num))
    step = _at(tape.departures.step, leaves, at, tape.visits.step[last]).astype(np.intp)
    pack_kwh = params.pack_kwh[flat].astype(np.float64)
    spare = np.maximum(twin_soc - np.minimum(params.target_soc[flat], twin_soc), 0.0)
    free_kwh = (spare + config.reward.shortfall_deadband_soc) * pack_kwh
    area = tape.visits.area[last]
    carry = cheapest_after(tape)[step, area - tape.row * tape.num_regions]
    carry = np.minimum(carry, public_usd(tape)) - cars.ref_usd[last]
    wear = _gap_usd_after(cars, last)
    earned = _at(gains.usd * gains.short, leaves, at, np.zeros(num))
    return Stays(
        car=car,
        last=last,
        leaves=leaves,
        free_kwh=np.where(leaves & ~cars.lifted[last], free_kwh, np.inf),
        carry_usd=np.where(leaves, np.minimum(carry, 0.0), 0.0) - wear,
        shortfall_usd=np.maximum(sim.by_area.shortfall_usd[area] - earned, 0.0),
        shortfall_usd_per_kwh=config.reward.shortfall_usd_per_kwh,
    )


def _departures_of(tape: Tape, last: IntArray) -> tuple[BoolArray, IntArray]:
    """Whether stays end with a departure, and its number (any one where they do not)."""
    v, d = tape.visits, tape.departures
    if not d.car.size:
        return np.zeros(len(last), np.bool_), np.zeros(len(last), np.intp)
    scale = 1 + max(int(v.stay.max(initial=0)), int(d.stay.max()))
    key = d.car.astype(np.int64) * scale + d.stay
    order = np.argsort(key)
    wanted = v.car[last].astype(np.int64) * scale + v.stay[last]
    at = order[np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)]
    return key[at] == wanted, at


def _at(
    values: FloatArray | IntArray, some: BoolArray, at: IntArray, other: FloatArray | IntArray
) -> FloatArray:
    """Values of departures where stays end with one, else the others."""
    result = np.array(other, np.float64)
    result[some] = values[at[some]]
    return result


def _gap_usd_after(cars: CarSteps, last: IntArray) -> FloatArray:
    """Wear that a kWh carried on from a stay can save in the car's later ones."""
    total = np.cumsum(cars.gap_usd)
    end = np.searchsorted(cars.car, cars.car[last], side="right") - 1
    later: FloatArray = total[end] - total[last]
    return later

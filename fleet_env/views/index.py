"""A linear index over what is known of a car: the features, the score and the best cars by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fleet_env.selection import num_of_share, take_best
from fleet_env.types import FloatArray
from fleet_env.units import MIN_PER_H
from fleet_env.views.costs import LEVEL1_MAX_KW, CarCosts, CostSettings, price_cars, wanted_h
from fleet_env.views.seen import Obs, Seen

# Scales that make a feature of order 1, and what the features take for granted.
_NIGHT_H = 12.0  # mean stay at home, plugged in; domain 3
_SLACK_WANTED_H = 8.0  # beyond charging, 2 sd of stated departures; domain 3
DEFER_MARGIN_H = 3.0  # cheap hours spare before the manager draws the pack; EnergyConfig
_START_OVER_H = (0.25, 4.0)  # a start is paid off over the stay, within these; est
_USD_PER_H = 0.10  # 0.5 kW (an AI5 at work, domain 1b) at 0.20 USD/kWh (domain 6)
_MOST = 10.0  # of these: beyond 1 USD/h no car earns what it costs (0.3 USD/h; domain 1d)
_STEP_H = 0.25  # of a decision; EnvConfig.step_min
_FEEDER_KW = 10.0  # about 20 cars at work: more room than that makes no difference
_SETTINGS = CostSettings()


@dataclass(frozen=True, slots=True)
class IndexFeature:
    """One feature of the index; its name is the key in files of weights."""

    name: str
    low: float
    high: float
    doc: str  # formula and reason
    read: Callable[[Candidates], FloatArray]


class Candidates(Seen):
    """The cars of an observation that may be on duty, with their features, worked out once."""

    @cached_property
    def features(self) -> tuple[FloatArray, ...]:
        """Each feature in the order of `INDEX_FEATURES`, shape (m,); not to be changed.

        float32, within the bounds of the feature.
        """
        return tuple(feature.read(self) for feature in INDEX_FEATURES)

    @cached_property
    def costs(self) -> CarCosts:
        """What the cars cost; packs are taken to be as warm as the air, as nothing is remembered.

        `full_cost_first` earns 2.91 USD a month on the suburb either way, 2.12 instead of 2.20 in a
        heatwave (250 cars, 20 validation days).
        """
        return price_cars(self, self("ambient"), _SETTINGS, _STEP_H)

    @cached_property
    def charge_h(self) -> FloatArray:
        """Hours to the charge that the owner wants."""
        return wanted_h(self)

    @cached_property
    def slack_h(self) -> FloatArray:
        """Hours of the stated stay beyond charging."""
        return self("stay_h") - self.charge_h


def _field(name: str) -> Callable[[Candidates], FloatArray]:
    return lambda cars: cars(name)


def _start(cars: Candidates) -> FloatArray:
    """Share of the hours to come that waking, download and load take."""
    start_h = cars("ready_min") * np.float32(1 / MIN_PER_H)
    share: FloatArray = np.minimum(start_h / np.clip(cars("stay_h"), *_START_OVER_H), 1)
    return share


def _rush(cars: Candidates) -> FloatArray:
    risk: FloatArray = np.clip(1 - cars.slack_h / np.float32(_SLACK_WANTED_H), 0, 1)
    risk *= cars.charge_h > 0
    return risk


def _defer(cars: Candidates) -> FloatArray:
    """Whether the stated stay holds enough cheap hours to refill what compute draws."""
    enough = cars("cheap_h") - cars.charge_h >= np.float32(DEFER_MARGIN_H)
    return (enough & (cars("plugged") > 0)).astype(np.float32)


def _energy(cars: Candidates) -> FloatArray:
    return _scaled(cars.costs.kw * cars.costs.kwh_price_usd, -_MOST)


def _wear(cars: Candidates) -> FloatArray:
    return _scaled(cars.costs.kw * cars.costs.kwh_usd)


def _risk(cars: Candidates) -> FloatArray:
    return _scaled(cars.costs.risk_usd_per_h)


def _scaled(usd_per_h: FloatArray, low: float = 0.0) -> FloatArray:
    scaled: FloatArray = np.clip(usd_per_h * np.float32(1 / _USD_PER_H), low, _MOST)
    return scaled.astype(np.float32, copy=False)


def _level1(cars: Candidates) -> FloatArray:
    evse_kw = cars("evse_kw")
    return ((evse_kw > 0) & (evse_kw < LEVEL1_MAX_KW)).astype(np.float32)


INDEX_FEATURES = (
    IndexFeature(
        "on_duty",
        0,
        1,
        "on duty in the step before: a positive weight keeps who works (hysteresis), as each start "
        "costs a wake-up, a load and a tail",
        _field("on_duty"),
    ),
    IndexFeature(
        "start",
        0,
        1,
        "min(1, ready_min / 60 / clip(stay_h, 0.25, 4)): share of the stay lost to waking, "
        "download and load, awake and billed but not serving",
        _start,
    ),
    IndexFeature(
        "stay",
        0,
        4,
        "stay_h / 12: who leaves soon loses what is in flight and pays its start sooner again",
        lambda cars: cars("stay_h") * np.float32(1 / _NIGHT_H),
    ),
    IndexFeature(
        "slack",
        -1,
        4,
        "clip((stay_h - charge_h) / 12, -1, 4): hours left once charged (laxity); charge_h = "
        "max(0, target_soc - soc) pack_kwh / (0.92 evse_kw)",
        lambda cars: np.clip(cars.slack_h * np.float32(1 / _NIGHT_H), -1, 4),
    ),
    IndexFeature(
        "rush",
        0,
        1,
        "clip(1 - (stay_h - charge_h) / 8, 0, 1), 0 for a car that has its target: how little time "
        "it has to spare, down to none where slack exceeds errors of stated stays",
        _rush,
    ),
    IndexFeature(
        "energy",
        -10,
        10,
        "clip(kw price / 0.92 / 0.10 USD/h, -10, 10), kw = 0.76 busy_kw + 0.29 from 30 degC: cost "
        "of a busy hour at the price paid in the end: the retail price of its region now, "
        "refill_price if lower for a car that can defer (cheap_h - charge_h >= 4), ref_price "
        "unplugged",
        _energy,
    ),
    IndexFeature(
        "wear",
        0,
        10,
        "clip(kw kwh_usd / 0.10 USD/h, 0, 10): what a busy hour wears off the pack: 0.02 USD/kWh "
        "for what goes through it, and the heat of the computer in a closed garage and below 10 "
        "degC, for a pack as warm as the air (fleet_env.views.costs)",
        _wear,
    ),
    IndexFeature(
        "risk",
        0,
        10,
        "clip(chance events 4 USD/h / 0.10 USD/h, 0, 10): the usual chance to leave before what is "
        "owed is refilled, if that is or will be more than 0.7 % of the pack; 5 events on Level 1, "
        "else 2; 2 % of it beyond 1 %, when the event is due already (fleet_env.views.costs)",
        _risk,
    ),
    IndexFeature(
        "defer",
        0,
        1,
        "plugged and cheap_h - charge_h >= 3: the energy manager may compute from the pack and "
        "refill at cheap hours; an early departure is its risk",
        _defer,
    ),
    IndexFeature(
        "soc",
        -1,
        1,
        "soc - reserve_soc: at the reserve a car is refused; calendar ageing grows with charge",
        lambda cars: cars("soc") - cars("reserve_soc"),
    ),
    IndexFeature(
        "plugged",
        0,
        1,
        "unplugged cars (where owners allow them) drain what the next trip may need",
        _field("plugged"),
    ),
    IndexFeature(
        "level1",
        0,
        1,
        "0 < evse_kw < 2: a Level 1 outlet is hardly stronger than the computer, so that charging "
        "waits while it works",
        _level1,
    ),
    IndexFeature(
        "garage",
        0,
        1,
        "in a closed garage its heat stays: slower and dearer to cool in summer, warmer packs age "
        "faster",
        _field("garage"),
    ),
    IndexFeature("lfp", 0, 1, "LFP cells wear otherwise than NCA", _field("lfp")),
    IndexFeature(
        "fits_70b",
        0,
        1,
        "serves the 70B tier too, which earns most",
        _field("fits_70b"),
    ),
    IndexFeature(
        "feeder",
        0,
        1,
        "min(1, feeder_kw / 10): room on the transformer of its home; what it cannot give the pack "
        "must",
        lambda cars: np.minimum(cars("feeder_kw") * np.float32(1 / _FEEDER_KW), 1),
    ),
)


def index_score(obs: Obs | Seen, weights: FloatArray) -> FloatArray:
    """Weighted sum of the features of every car.

    Parameters
    ----------
    obs : mapping or Seen
        A batched observation of Fleet-v0 with cars.
    weights : FloatArray, shape (num_envs, len(INDEX_FEATURES))
        In the order of `INDEX_FEATURES`.

    Returns
    -------
    FloatArray, shape (num_envs, num_cars)
        float32, -inf where the mask is 0; summed feature by feature, so that equal cars have equal
        scores wherever they stand.
    """
    cars = Candidates.look(obs)
    score = np.zeros(cars.at.shape, np.float32)
    for of_rows, values in zip(weights.astype(np.float32).T, cars.features, strict=True):
        score += of_rows.take(cars.row) * values
    return cars.spread(score, -np.inf)


def index_duty(obs: Obs | Seen, weights: FloatArray, share: FloatArray) -> NDArray[np.int8]:
    """Put the best share of the feasible cars of each fleet on duty, by a linear index.

    ``score = sum_j weights[j] feature_j(car)``; of the ``m`` cars that the mask allows the best
    ``floor(share m + 0.5)`` are on duty, equal scores by car index. Scaling all weights of a row
    by a positive number changes nothing.

    Parameters
    ----------
    obs : mapping or Seen
        A batched observation of Fleet-v0 with cars; not changed.
    weights : FloatArray, shape (num_envs, len(INDEX_FEATURES))
    share : FloatArray, shape (num_envs,)
        Outside 0..1 it counts as the nearer end.

    Returns
    -------
    NDArray[np.int8], shape (num_envs, num_cars)
        1 for a car on duty; never 1 where the mask is 0.

    Raises
    ------
    ValueError
        If a shape is wrong or a number not finite.
    """
    cars = Candidates.look(obs)
    num_envs, _ = cars.shape
    weights = check_numbers("weights", weights, (num_envs, len(INDEX_FEATURES)))
    share = check_numbers("share", share, (num_envs,))
    num = num_of_share(share, cars.num)
    score = index_score(cars, weights)
    bits: NDArray[np.int8] = take_best(score, num, cars.obs["mask"] != 0).view(np.int8)
    return bits


def check_numbers(name: str, value: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Return finite numbers of a shape as an array, else raise ValueError."""
    numbers: NDArray[Any] = np.asarray(value)
    if numbers.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {numbers.shape}")
    if numbers.dtype.kind not in "iuf":
        raise ValueError(f"{name}: expected numbers, got dtype {numbers.dtype}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name}: expected finite numbers, got {numbers}")
    return numbers

"""A linear index over what is known of a car: the features, the score and the best cars by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fleet_env.observations import CAR
from fleet_env.selection import num_of_share, take_best
from fleet_env.types import BoolArray, FloatArray
from fleet_env.units import MIN_PER_H

Obs = Mapping[str, NDArray[Any]]

# Scales that make a feature of order 1, and what the features take for granted.
_NIGHT_H = 12.0  # mean stay at home, plugged in; domain 3
_FULL_ETA = 0.92  # on-board charger at Level 2 power; domain 2a curve
_NO_CHARGER_KW = 1e-3  # avoids 0 / 0; such a car never finishes charging
LEVEL1_MAX_KW = 2.0  # between Level 1 (1.44 kW) and Level 2 (7.7 kW); domain 2a
_SLACK_WANTED_H = 8.0  # beyond charging, 2 sd of stated departures; domain 3
DEFER_MARGIN_H = 3.0  # cheap hours spare before the manager draws the pack; EnergyConfig
_START_OVER_H = (0.25, 4.0)  # a start is paid off over the stay, within these; est
_ENERGY_USD_PER_H = 0.10  # 0.5 kW (an AI5 at work, domain 1b) at 0.20 USD/kWh (domain 6)
_FEEDER_KW = 10.0  # about 20 cars at work: more room than that makes no difference


@dataclass(frozen=True, slots=True)
class IndexFeature:
    """One feature of the index; its name is the key in files of weights."""

    name: str
    low: float
    high: float
    doc: str  # formula and reason
    read: Callable[[_Cars], FloatArray]


class _Cars:
    """The cars of an observation, with what several features share."""

    def __init__(self, obs: Obs) -> None:
        self._cars = obs["cars"]
        wanted_kwh = np.maximum(self["target_soc"] - self["soc"], 0) * self["pack_kwh"]
        charger_kw = np.maximum(self["evse_kw"], np.float32(_NO_CHARGER_KW))
        self.charge_h: FloatArray = wanted_kwh / (charger_kw * np.float32(_FULL_ETA))
        self.slack_h: FloatArray = self["stay_h"] - self.charge_h

    def __getitem__(self, field: str) -> FloatArray:
        column: FloatArray = self._cars[..., CAR[field]]
        return column

    def defers(self) -> BoolArray:
        """Cars whose stated stay holds enough cheap hours to refill what compute draws."""
        enough: BoolArray = self["cheap_h"] - self.charge_h >= np.float32(DEFER_MARGIN_H)
        return enough & (self["plugged"] > 0)


def _field(name: str) -> Callable[[_Cars], FloatArray]:
    return lambda cars: cars[name]


def _start(cars: _Cars) -> FloatArray:
    """Share of the hours to come that waking, download and load take."""
    start_h = cars["ready_min"] * np.float32(1 / MIN_PER_H)
    share: FloatArray = np.minimum(start_h / np.clip(cars["stay_h"], *_START_OVER_H), 1)
    return share


def _rush(cars: _Cars) -> FloatArray:
    risk: FloatArray = np.clip(1 - cars.slack_h / np.float32(_SLACK_WANTED_H), 0, 1)
    risk *= cars.charge_h > 0
    return risk


def _energy(cars: _Cars) -> FloatArray:
    """Energy of a busy hour at the price that is paid in the end."""
    now, refill = cars["price"], cars["refill_price"]
    price = np.where(cars.defers(), np.minimum(now, refill), now)
    price = np.where(cars["plugged"] > 0, price, cars["ref_price"])
    cost: FloatArray = cars["busy_kw"] * price / np.float32(_ENERGY_USD_PER_H)
    return np.clip(cost, -10, 10, out=cost)


def _level1(cars: _Cars) -> FloatArray:
    evse_kw = cars["evse_kw"]
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
        lambda cars: cars["stay_h"] * np.float32(1 / _NIGHT_H),
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
        "clip(1 - (stay_h - charge_h) / 8, 0, 1), 0 for a car that has its target: risk of a "
        "shortfall at departure, which falls to none where slack exceeds errors of stated stays",
        _rush,
    ),
    IndexFeature(
        "energy",
        -10,
        10,
        "clip(busy_kw price / 0.10 USD/h, -10, 10): cost of a busy hour at the price paid in the "
        "end: the retail price of its region now, refill_price if lower for a car that can defer, "
        "ref_price unplugged",
        _energy,
    ),
    IndexFeature(
        "defer",
        0,
        1,
        "plugged and cheap_h - charge_h >= 3: the energy manager may compute from the pack and "
        "refill at cheap hours; an early departure is its risk",
        lambda cars: cars.defers().astype(np.float32),
    ),
    IndexFeature(
        "soc",
        -1,
        1,
        "soc - reserve_soc: at the reserve a car is refused; calendar ageing grows with charge",
        lambda cars: cars["soc"] - cars["reserve_soc"],
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
        lambda cars: np.minimum(cars["feeder_kw"] * np.float32(1 / _FEEDER_KW), 1),
    ),
)


def feature_values(obs: Obs) -> Iterator[FloatArray]:
    """Yield each feature of every car in the order of `INDEX_FEATURES`.

    float32, of the leading shape of ``obs["cars"]``, within the bounds of the feature; not to be
    changed.
    """
    cars = _Cars(obs)
    return (feature.read(cars) for feature in INDEX_FEATURES)


def index_score(obs: Obs, weights: FloatArray) -> FloatArray:
    """Weighted sum of the features of every car.

    Parameters
    ----------
    obs : mapping
        A batched observation of Fleet-v0 with cars.
    weights : FloatArray, shape (num_envs, len(INDEX_FEATURES))
        In the order of `INDEX_FEATURES`.

    Returns
    -------
    FloatArray, shape (num_envs, num_cars)
        float32; summed feature by feature, so that equal cars have equal scores wherever they
        stand.
    """
    columns = weights.astype(np.float32).T[:, :, None]
    score = np.zeros(obs["mask"].shape, np.float32)
    for weight, value in zip(columns, feature_values(obs), strict=True):
        score += weight * value
    return score


def index_duty(obs: Obs, weights: FloatArray, share: FloatArray) -> NDArray[np.int8]:
    """Put the best share of the feasible cars of each fleet on duty, by a linear index.

    ``score = sum_j weights[j] feature_j(car)``; of the ``m`` cars that the mask allows the best
    ``floor(share m + 0.5)`` are on duty, equal scores by car index. Scaling all weights of a row
    by a positive number changes nothing.

    Parameters
    ----------
    obs : mapping
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
    feasible = obs["mask"] != 0
    num_envs = len(feasible)
    weights = check_numbers("weights", weights, (num_envs, len(INDEX_FEATURES)))
    share = check_numbers("share", share, (num_envs,))
    num = num_of_share(share, np.count_nonzero(feasible, axis=1))
    bits: NDArray[np.int8] = take_best(index_score(obs, weights), num, feasible).view(np.int8)
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

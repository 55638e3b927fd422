"""Hand-made observations: a plain car and a plain fleet, of which a test changes what it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from fleet_env.observations import (
    CAR,
    CAR_FIELDS,
    FLEET,
    FLEET_FIELDS,
    FORECAST_H,
    PRICE_00H,
)

Obs = dict[str, NDArray[Any]]
MakeObs = Callable[..., Obs]

# an AI5 car at home on a 7.7 kW plug, charged and idle
PLAIN_CAR = {
    "at_home": 1, "plugged": 1, "linked": 1, "soc": 0.9, "stay_h": 10, "parked_h": 2,
    "ready_min": 1.5, "evse_kw": 7.7, "pack_kwh": 76, "fits_8b": 1, "fits_70b": 1,
    "awake_kw": 0.26, "busy_kw": 0.497, "reserve_soc": 0.3, "target_soc": 0.8,
    "feeder_kw": 100,
}  # fmt: skip
SHARED = ("price", "ref_price", "refill_price", "carbon", "ambient")  # of one region
# midnight, in the middle of the episode, a flat price, nothing to do
PLAIN_FLEET = {
    "hour_cos": 1, "left": 0.5, "price": 0.30, "ref_price": 0.40, "refill_price": 0.30,
    "cheap": 1, "carbon": 0.3, "ambient": 20, "value_70b_usd_per_h": 0.28,
    "value_8b_usd_per_h": 0.30, "value_batch_usd_per_h": 0.28, "pay_usd_per_h": 0.03,
    **{f"price_{h:02d}h": 0.30 for h in range(24)},
}  # fmt: skip


@pytest.fixture(scope="session")
def make_obs() -> MakeObs:
    """Return the builder `make_obs(cars, fleet, mask, shape)`."""
    return build_obs


def build_obs(
    cars: dict[str, ArrayLike] | None = None,
    fleet: dict[str, ArrayLike] | None = None,
    mask: ArrayLike = 1,
    shape: tuple[int, int] = (1, 3),
) -> Obs:
    """Build an observation: fields by name, broadcast to `shape` = (num_envs, num_cars).

    What cars of one region share with their fleet they take from it, unless they are given it.
    """
    per_fleet = np.zeros((shape[0], len(FLEET_FIELDS)), np.float32)
    for name, value in {**PLAIN_FLEET, **(fleet or {})}.items():
        per_fleet[:, FLEET[name]] = value
    by_field = np.zeros((len(CAR_FIELDS), *shape), np.float32)  # field-major, as the env has it
    for name in SHARED:
        by_field[CAR[name]] = per_fleet[:, FLEET[name], None]
    angle = np.arctan2(per_fleet[:, FLEET["hour_sin"]], per_fleet[:, FLEET["hour_cos"]])
    by_field[CAR["local_hour"]] = (np.round(angle * 12 / np.pi, 3) % 24)[:, None]
    for name, value in {**PLAIN_CAR, **(cars or {})}.items():
        by_field[CAR[name]] = value
    if "cheap_h" not in (cars or {}):
        by_field[CAR["cheap_h"]] = _cheap_h(per_fleet, by_field[CAR["stay_h"]])
    allowed = np.broadcast_to(np.asarray(mask, np.int8), shape).copy()
    return {"cars": by_field.transpose(1, 2, 0), "fleet": per_fleet, "mask": allowed}


def _cheap_h(per_fleet: NDArray[Any], stay_h: NDArray[Any]) -> NDArray[Any]:
    """Whole hours of the stay whose price is at most that of a refill."""
    series = per_fleet[:, PRICE_00H : PRICE_00H + FORECAST_H]
    cheap = series <= per_fleet[:, [FLEET["refill_price"]]] + 1e-5
    before = np.concatenate([np.zeros((len(cheap), 1)), np.cumsum(cheap, axis=1)], axis=1)
    whole_h = np.minimum(stay_h, FORECAST_H).astype(int)
    return np.take_along_axis(before, whole_h, axis=1)


@pytest.fixture(scope="session")
def random_obs() -> MakeObs:
    """Return the builder `random_obs(seed, num_envs, num_cars)` of tie-free observations."""
    return build_random_obs


def build_random_obs(seed: int, num_envs: int, num_cars: int) -> Obs:
    """Draw any day, place and work; no two cars of a fleet are alike in stay, power or soc."""
    rng = np.random.default_rng(seed)
    shape = (num_envs, num_cars)

    def flags(share: float) -> NDArray[np.bool_]:
        return rng.random(shape) < share

    plugged = flags(0.8)
    cars = {
        "at_home": flags(0.8), "plugged": plugged, "linked": flags(0.9),
        "on_duty": flags(0.3) * plugged, "soc": rng.uniform(0.5, 1.0, shape),
        "gap_kwh": rng.uniform(0, 2, shape), "stay_h": rng.uniform(0, 14, shape),
        "ready_min": rng.uniform(0, 3, shape) * rng.choice([1, 50], shape, p=[0.8, 0.2]),
        "fits_70b": flags(0.7),
        "evse_kw": plugged * rng.choice([1.44, 7.7, 11.5], shape),
        "busy_kw": rng.uniform(0.3, 0.9, shape), "target_soc": rng.choice([0.8, 0.95], shape),
    }  # fmt: skip
    angle = rng.uniform(0, 2 * np.pi, num_envs)
    due = np.cumsum(rng.exponential(0.2, (3, num_envs)), axis=0)
    prices = rng.choice([0.30, 0.50, 0.60], (24, num_envs))
    fleet = {
        "hour_sin": np.sin(angle), "hour_cos": np.cos(angle), "left": rng.random(num_envs),
        "price": prices[0], "cheap": prices[0] <= 0.30, "ambient": rng.uniform(-10, 45, num_envs),
        "chat_8b_last": rng.exponential(0.1, num_envs),
        "chat_70b_last": rng.exponential(0.1, num_envs),
        "chat_00h": rng.exponential(0.2, num_envs), "batch_due_1h": due[0],
        "batch_due_4h": due[1], "batch_due_12h": due[2],
        **{f"price_{h:02d}h": prices[h] for h in range(24)},
    }  # fmt: skip
    if seed % 2:  # two regions in each fleet
        far = flags(0.5)
        far[:, 0] = True
        cars |= {
            "region": far, "price": np.where(far, 0.45, prices[0][:, None]),
            "refill_price": np.where(far, 0.20, 0.30), "cheap_h": rng.uniform(0, 9, shape),
            "ambient": np.where(far, 35, 10), "local_hour": np.where(far, 3, 12),
        }  # fmt: skip
    return build_obs(cars, fleet, mask=flags(0.6), shape=shape)

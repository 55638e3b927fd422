"""How many cars the coming step needs: forecast, what just arrived, and batch work by deadline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.base import Obs, check_settings, fleet_field
from agents.costs.forecast import EVEN_SHARE
from fleet_env.observations import PRICE_00H
from fleet_env.types import FloatArray, IntArray

PRICE_SLACK_USD = 1e-5  # float32 copies of one tariff price count as equal
WINDOWS_H = (1, 4, 12)  # deadlines of batch work; domain 5


@dataclass(frozen=True, kw_only=True)
class DemandSettings:
    """Settings of every rule that wakes as many cars as there is work."""

    over_provision: float = 1.10  # cars per car of work; tuned on train days
    last_weight: float = 0.5  # of what arrived in the last step against the forecast; est
    batch_haste: float = 4.0  # ends batch in 1/haste of its time; of 1, 2, 4, 8 on train

    def __post_init__(self) -> None:
        check_settings(
            self, over_provision=(0.0, 100.0), last_weight=(0.0, 1.0), batch_haste=(0.1, 100.0)
        )


@dataclass(frozen=True, slots=True)
class Work:
    """Work wanted in the coming step [cars' worth per car of the fleet], shape (num_envs,)."""

    chat_8b: FloatArray
    chat_70b: FloatArray
    batch_70b: FloatArray


@dataclass(frozen=True, slots=True)
class CarsNeeded:
    """Cars to have on duty, shape (num_envs,)."""

    total: IntArray
    need_70b: IntArray  # of these, cars that must hold the 70B tier


def expected_work(
    obs: Obs, settings: DemandSettings, *, batch_70b: FloatArray | None = None
) -> Work:
    """Work the cars should do in the coming step, by class.

    Interactive work is the forecast blended with the last step's arrivals (the forecast alone in
    the first step of an episode, which has no last step), split by tier as it last arrived.

    Parameters
    ----------
    obs : mapping
    settings : DemandSettings
    batch_70b : FloatArray, shape (num_envs,), optional
        Batch work of a rule that times it by itself; without it, `batch_rate`.
    """
    last = fleet_field(obs, "chat_8b_last") + fleet_field(obs, "chat_70b_last")
    weight = np.where(fleet_field(obs, "left") < 1.0, np.float32(settings.last_weight), 0)
    chat = (1 - weight) * fleet_field(obs, "chat_00h") + weight * last
    chat_70b = chat * share_70b(obs)
    if batch_70b is None:
        batch_70b = batch_rate(obs, settings)
    return Work(chat - chat_70b, chat_70b, batch_70b.astype(np.float32))


def share_70b(obs: Obs) -> FloatArray:
    """Share of 70B in the interactive work that last arrived, a half if none did, (num_envs,)."""
    last_70b = fleet_field(obs, "chat_70b_last")
    last = fleet_field(obs, "chat_8b_last") + last_70b
    return np.divide(last_70b, last, out=np.full_like(last, EVEN_SHARE), where=last > 0)


def batch_rate(obs: Obs, settings: DemandSettings) -> FloatArray:
    """Batch work to do now [cars' worth per car], shape (num_envs,).

    The work due within each window is spread over the cheap hours left in it, or over all its
    hours where none is cheap; the step does its part of the window that presses most::

        rate = haste * max_w due_w / hours_w   if this step is among the hours of w, else 0

    (As in carbon-aware shifting: wait for the cheap slots as long as the deadline allows.) With
    several regions the hours to come are cheap where their mean is, this step where any of them is.
    """
    limit = fleet_field(obs, "refill_price") + np.float32(PRICE_SLACK_USD)
    series = obs["fleet"][:, PRICE_00H : PRICE_00H + max(WINDOWS_H)]
    cheap_h = np.cumsum(series <= limit[:, None], axis=1, dtype=np.float32)
    now = (fleet_field(obs, "price") <= limit) | (fleet_field(obs, "cheap") > 0)
    rate = np.zeros_like(limit)
    for window_h in WINDOWS_H:
        in_window_h = cheap_h[:, window_h - 1]
        hours = np.where(in_window_h > 0, np.maximum(in_window_h, 1), np.float32(window_h))
        wanted = now | (in_window_h == 0)
        due = fleet_field(obs, f"batch_due_{window_h}h")
        np.maximum(rate, np.where(wanted, due / hours, 0), out=rate)
    rate *= np.float32(settings.batch_haste)
    return rate


def cars_needed(obs: Obs, work: Work, settings: DemandSettings) -> CarsNeeded:
    """Cars that do the work with some room to queue, rounded to the nearest car.

    Rounding up would wake a car for a hundredth of a car's work; at about half a car's work a
    car begins to earn what it costs.
    """
    scale = settings.over_provision * obs["mask"].shape[1]
    work_70b = (work.chat_70b + work.batch_70b).astype(np.float64)
    return CarsNeeded(whole_cars(scale * (work_70b + work.chat_8b)), whole_cars(scale * work_70b))


def whole_cars(cars: FloatArray) -> IntArray:
    """Round to the nearest car, half a car up."""
    whole: IntArray = np.floor(cars + 0.5).astype(np.int64)
    return whole

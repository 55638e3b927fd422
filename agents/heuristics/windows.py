"""Batch work at the best hours before its deadline: by price as published, or by carbon.

All rules here defer batch work alone. Chat cannot wait: it gets the cars that it needs in every
step, and all cars are chosen in merit order, none at a loss. A window of w hours (1, 4, 12) holds
the work due within them; it starts now or waits for a later of its hours. Work that waits passes
into the shorter windows as its deadline comes nearer; what is due within the hour always runs. With
several regions the prices and the carbon are means over them.

Prices are published for the hours the rules look at. Carbon is not forecast: one rule expects it
from memory (`agents.heuristics.carbon_memory`). The threshold rule of B21, run below a percentile
of the next 24 h, is what `cheapest_first` and its kin do (`demand.batch_rate`: the dearest of the
six cheapest hours).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, Stateless, as_action, check_settings, fleet_field
from agents.heuristics.backlog import due_car_h, fastest
from agents.heuristics.carbon_memory import CarbonMemory
from agents.heuristics.demand import PRICE_SLACK_USD, WINDOWS_H, expected_work
from agents.heuristics.merit import MeritSettings
from agents.heuristics.merit_order import take_in_merit_order
from fleet_env.observations import PRICE_00H
from fleet_env.types import BoolArray, FloatArray

# hours of a window, shape (num_envs, w), and the hours of work in it -> whether it starts now
Starts = Callable[[FloatArray, float], BoolArray]


@dataclass(frozen=True, kw_only=True)
class LowestPrice(MeritSettings, Stateless):
    """Batch work in the single cheapest hour before its deadline, the first of equal ones.

    The lowest slot; also the one-step argmin of the price, with deferral. A window runs if none
    of its hours is cheaper than now.
    """

    slot_h: float = 1.0  # to run all work of the window; of .25, .5, 1, 2, 4 on train

    name: ClassVar[str] = "lowest_price"
    family: ClassVar[str] = "windows"
    source: ClassVar[str] = "B19, B23: Let's Wait Awhile, GAIA, SustainCluster"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, slot_h=(0.01, 48.0))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        work_h = (self.slot_h,) * len(WINDOWS_H)
        return _act(self, obs, _run(obs, prices_ahead(obs), lowest_slot, work_h))


@dataclass(frozen=True, kw_only=True)
class LowestWindow(MeritSettings, Stateless):
    """Batch work in the cheapest run of hours before its deadline, as long as the work takes.

    The lowest window: w hours of work are thought to take `w / batch_haste`, in whole hours. A
    window starts if no later start has a lower mean price.
    """

    batch_haste: float = 8.0  # of 1, 2, 4, 8, 12 on train

    name: ClassVar[str] = "lowest_window"
    family: ClassVar[str] = "windows"
    source: ClassVar[str] = "B19: Let's Wait Awhile, GAIA"

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        return _act(self, obs, _run(obs, prices_ahead(obs), lowest_run, _whole_hours(self)))


@dataclass(frozen=True, kw_only=True)
class WaitAwhile(MeritSettings, Stateless):
    """Batch work suspended and resumed: in the cheapest hours before its deadline, not in a row.

    As many hours as the work takes: `w / batch_haste`, in whole hours. A window runs if fewer of
    its hours than that are cheaper than now.
    """

    batch_haste: float = 8.0  # of 1, 2, 4, 8, 12 on train

    name: ClassVar[str] = "wait_awhile"
    family: ClassVar[str] = "windows"
    source: ClassVar[str] = "B21: Let's Wait Awhile, GAIA"

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        return _act(self, obs, _run(obs, prices_ahead(obs), cheapest_slots, _whole_hours(self)))


@dataclass(frozen=True, kw_only=True)
class LowestCarbon(MeritSettings):
    """Batch work in the single cleanest hour before its deadline, as far as carbon can be expected.

    The lowest slot by carbon: each hour to come is expected as a day ago, an hour not yet seen at
    the mean of those seen; so on the first day it runs if now is below that mean and below what it
    remembers. Cars still go by money.
    """

    slot_h: float = 1.0  # to run all work of the window; of .25, .5, 1, 2, 4 on train

    name: ClassVar[str] = "lowest_carbon"
    family: ClassVar[str] = "windows"
    source: ClassVar[str] = "B19, B23: Let's Wait Awhile, GAIA, SustainCluster"
    _memory: CarbonMemory = field(
        default_factory=CarbonMemory, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, slot_h=(0.01, 48.0))

    def reset(self, env_mask: BoolArray) -> None:
        """Forget the carbon of the rows that begin anew."""
        self._memory.reset(env_mask)

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        ahead, work_h = self._memory.look_ahead(obs), (self.slot_h,) * len(WINDOWS_H)
        return _act(self, obs, _run(obs, ahead, lowest_slot, work_h))


def prices_ahead(obs: Obs) -> FloatArray:
    """Prices of this step and of the 23 hours after it [USD/kWh], shape (num_envs, 24)."""
    series = obs["fleet"][:, PRICE_00H : PRICE_00H + 24].copy()
    series[:, 0] = fleet_field(obs, "price")  # the mean of the coming hour blurs a change of price
    return series


def lowest_slot(hours: FloatArray, _work_h: float) -> BoolArray:
    """Whether no hour is lower than the first."""
    lowest: BoolArray = hours[:, 0] <= hours.min(axis=1) + PRICE_SLACK_USD
    return lowest


def lowest_run(hours: FloatArray, work_h: float) -> BoolArray:
    """Whether no run of `work_h` hours has a lower mean than the first one."""
    length = min(round(work_h), hours.shape[1])
    runs = np.lib.stride_tricks.sliding_window_view(hours, length, axis=1).mean(axis=2)
    return lowest_slot(runs, work_h)


def cheapest_slots(hours: FloatArray, work_h: float) -> BoolArray:
    """Whether the first hour is among the `work_h` lowest."""
    lower = hours < hours[:, :1] - PRICE_SLACK_USD
    among: BoolArray = np.count_nonzero(lower, axis=1) < work_h
    return among


def _run(obs: Obs, ahead: FloatArray, starts: Starts, work_h: tuple[float, ...]) -> FloatArray:
    """Rate of batch work [cars' worth per car]: that of the window which presses most."""
    windows = zip(WINDOWS_H, work_h, strict=True)
    started = np.stack([starts(ahead[:, :end_h], hours) for end_h, hours in windows], axis=1)
    return fastest(due_car_h(obs), np.array(work_h), started)


def _act(settings: MeritSettings, obs: Obs, batch_70b: FloatArray) -> ActionArray:
    work = expected_work(obs, settings, batch_70b=batch_70b)
    return as_action(take_in_merit_order(obs, work, settings))


def _whole_hours(settings: MeritSettings) -> tuple[float, ...]:
    """Hours that the work of each window takes, in hours with a price of their own."""
    return tuple(float(np.ceil(window_h / settings.batch_haste)) for window_h in WINDOWS_H)

"""All rows at a step: cars priced, what a start costs, how the last step differed from forecast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from agents.base import Obs, car_field, check_settings
from agents.costs.forecast import DemandMemory
from agents.costs.pack import PackMemory
from fleet_env.checks import one_of
from fleet_env.types import BoolArray, FloatArray
from fleet_env.units import MIN_PER_H
from fleet_env.views.costs import DEPARTURES, CarCosts, CostSettings, price_cars
from fleet_env.views.seen import Seen

WORK = ("8b", "70b", "batch")


@dataclass(frozen=True, kw_only=True)
class SightSettings(CostSettings):
    """How cars are priced, and what a step and a start are."""

    step_h: float = 0.25  # of a decision; EnvConfig.step_min
    tail_min: float = 5.0  # awake after a stop; ServingConfig, design
    # 8B work of a car that holds no 70B tier, against one that does: AI4 over AI5 by roofline;
    # fleet_env/data/accelerators.csv
    small_speed: float = 0.27

    def __post_init__(self) -> None:
        one_of(self, f"{type(self).__name__}.", departures=DEPARTURES)
        check_settings(
            self,
            defer_margin_h=(0.0, 48.0),
            pack_wear_usd_per_kwh=(0.0, 5.0),
            heat_weight=(0.0, 100.0),
            shortfall_usd=(0.0, 1e4),
            events_level1=(0.0, 100.0),
            events_level2=(0.0, 100.0),
            guard=(0.0, 1.0),
            risk_spread_h=(0.01, 48.0),
            crossed_share=(0.0, 1.0),
            linger_h=(0.0, 48.0),
            step_h=(0.01, 1.0),
            tail_min=(0.0, 60.0),
            small_speed=(0.01, 100.0),
        )


@dataclass(eq=False)
class SightMemory:
    """What is remembered of cars and demand, by row."""

    pack: PackMemory
    demand: DemandMemory

    @classmethod
    def empty(cls, step_h: float) -> Self:
        """Remember nothing yet; steps last `step_h`."""
        return cls(PackMemory(step_h), DemandMemory())

    def reset(self, env_mask: BoolArray) -> None:
        """Forget the rows that begin anew."""
        self.pack.reset(env_mask)
        self.demand.reset(env_mask)


@dataclass(frozen=True)
class Sight:
    """All rows at a step; m cars that the mask allows."""

    cars: Seen
    costs: CarCosts
    chat_off: FloatArray  # (num_envs,) relative deviation of the last step from its forecast
    batch_off: FloatArray  # (num_envs,)
    end_h: FloatArray  # (num_envs,) to the end of the episode, inf while unknown
    speed_8b: FloatArray  # (num_envs, 2) 8B work of an hour, by whether a car holds 70B
    worth_usd_per_h: FloatArray  # (m,) of a fully busy car, in the best work it can do

    @classmethod
    def of(cls, obs: Obs, settings: SightSettings, memory: SightMemory) -> Self:
        """Price the cars of all rows and compare the last step with what was expected."""
        cars = Seen.of(obs)
        pack_c = memory.pack.look(obs).reshape(-1).take(cars.at)
        costs = price_cars(cars, pack_c, settings, settings.step_h)
        chat_off, batch_off, steps_left = memory.demand.look(obs)
        speed_8b = _speed_8b(obs, settings)
        worth = _worth_usd_per_h(cars, speed_8b)
        end_h = steps_left * settings.step_h
        return cls(cars, costs, chat_off, batch_off, end_h, speed_8b, worth)

    def start_usd(self, settings: SightSettings) -> FloatArray:
        """Cost of a start, for a car that is off, and of the stop after it [USD], shape (m,).

        Work not done while it gets ready, at the best value shown, and the energy of the tail.
        """
        if not settings.start_cost:
            return np.zeros(self.cars.at.shape, np.float32)
        tail_kwh = self.costs.idle_kw * np.float32(settings.tail_min / MIN_PER_H)
        usd: FloatArray = self.costs.start_h * self.worth_usd_per_h
        off = self.cars("on_duty") == 0
        usd += off * tail_kwh * self.costs.late_usd_per_kwh
        return usd


def _worth_usd_per_h(cars: Seen, speed_8b: FloatArray) -> FloatArray:
    """Best work of each car, fully busy [USD/h], shape (m,)."""
    value_8b, value_70b, value_batch = (cars.fleet(f"value_{k}_usd_per_h") for k in WORK)
    holds = cars("fits_70b") > 0
    worth = value_8b * speed_8b[cars.row, holds.astype(np.intp)]
    best: FloatArray = np.where(holds, np.maximum(worth, np.maximum(value_70b, value_batch)), worth)
    return best


def _speed_8b(obs: Obs, settings: SightSettings) -> FloatArray:
    """8B work of an hour in units of the mean car of the fleet, (num_envs, 2)."""
    share_70b = (car_field(obs, "fits_70b") > 0).mean(axis=1)
    speed = np.array([settings.small_speed, 1.0])
    mean = speed[0] * (1.0 - share_70b) + speed[1] * share_70b
    by_pool: FloatArray = speed / mean[:, None]
    return by_pool

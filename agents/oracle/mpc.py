"""A receding horizon: plan the day ahead from forecasts, do its first step, plan anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, as_action, car_field, check_settings, feasible
from agents.heuristics.demand import whole_cars
from agents.oracle.cohorts import HOLDS_70B
from agents.oracle.outlook import Outlook, PlanSettings, plan_row
from fleet_env.selection import take_best
from fleet_env.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class MPC(PlanSettings):
    """Plan the day ahead as a linear programme over cohorts of cars, every step anew.

    The first interval of the plan says how many cars to have on duty, by tier; the cheapest are
    taken, those that already work ahead of others by what a start costs.
    """

    start_spread_h: float = 1.0  # on-duty hours over which a start is paid off; of 0.5-4 on train

    name: ClassVar[str] = "mpc"
    family: ClassVar[str] = "planners"
    source: ClassVar[str] = "design: receding-horizon programme on forecasts, headroom study 4"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, start_spread_h=(0.25, 48.0))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        outlook = Outlook.of(obs, self, self._memory)
        num_envs, num_cars = obs["mask"].shape
        need = np.zeros((2, num_envs), np.int64)
        for row in range(num_envs):
            plan, _ = plan_row(outlook, row, self, self._memory)
            now = plan.duty[:, 0]
            by_pool = np.array([now[~HOLDS_70B].sum(), now[HOLDS_70B].sum()])
            need[:, row] = whole_cars(num_cars * by_pool)
        return as_action(take_by_pool(obs, self._score(outlook), need, feasible(obs)))

    def _score(self, outlook: Outlook) -> FloatArray:
        """Cost of an on-duty hour with the sign turned, starts included, of every car."""
        mask = outlook.cars.obs["mask"]
        score = np.full(mask.size, -np.inf, np.float32)
        cost = outlook.costs.usd_per_h + outlook.start_usd(self) / self.start_spread_h
        score[outlook.cars.at] = -cost
        return score.reshape(mask.shape)


def take_by_pool(obs: Obs, score: FloatArray, need: IntArray, eligible: BoolArray) -> BoolArray:
    """Mark the best cars of each pool: `need`, (2, num_envs), of 8B only and of both tiers."""
    holds_70b = car_field(obs, "fits_70b") > 0
    big = take_best(score, need[1], eligible & holds_70b)
    return big | take_best(score, need[0], eligible & ~holds_70b)

"""Prices from a plan, then each car by its own: a price-directed index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, as_action, check_settings, feasible, fleet_field
from agents.costs.forecast import CHAT_KEPT, LATER_H
from agents.heuristics.demand import whole_cars
from agents.oracle.mpc import take_by_pool
from agents.oracle.outlook import Outlook, PlanSettings, plan_row
from agents.oracle.plan import Grid, Plan
from fleet_env.types import FloatArray


@dataclass(frozen=True, kw_only=True)
class PriceIndex(PlanSettings):
    """Price capacity by a plan now and then; take the cars that are worth most at these prices.

    The plan of `mpc` is made every `replan_h`; its prices say what an hour of capacity is worth at
    the margin. A car's index is that less its own costs, the start spread over the hours of its
    stated stay. As many of the best as the work of the step needs go on duty, nobody whose index
    is not positive. As prices age, `slack_usd_per_h` is added to them, up to the price of work.
    """

    replan_h: float = 1.0  # between two plans; design, the length of a price step
    over_provision: float = 1.05  # cars per car of chat; batch work fills what is left
    slack_usd_per_h: float = 0.03  # the marginal car's index is 0; of 0.01, 0.03, 0.06 on train
    start_spread_h: float = 1.0  # on-duty hours over which a start is paid off, at most

    name: ClassVar[str] = "price_index"
    family: ClassVar[str] = "planners"
    source: ClassVar[str] = "design: price-directed index of the programme of mpc"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(
            self,
            replan_h=(0.01, 24.0),
            over_provision=(0.0, 100.0),
            slack_usd_per_h=(0.0, 100.0),
            start_spread_h=(0.25, 48.0),
        )

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        outlook = Outlook.of(obs, self, self._memory)
        num_envs, num_cars = obs["mask"].shape
        need, price = np.zeros((2, num_envs)), np.zeros((2, num_envs), np.float32)
        for row in range(num_envs):
            age, plan, grid = self._plan(outlook, row)
            now = int(np.searchsorted(np.cumsum(grid.length_h), age * self.step_h + 1e-6))
            now = min(now, len(grid.length_h) - 1)
            price[:, row] = plan.value_usd_per_h[:, now]
            need[:, row] = self._need(outlook, row, plan, grid, now)
        index = self._index(outlook, price).reshape(num_envs, num_cars)
        eligible = feasible(obs) & (index > 0.0)
        return as_action(take_by_pool(obs, index, whole_cars(need * num_cars), eligible))

    def _plan(self, outlook: Outlook, row: int) -> tuple[int, Plan, Grid]:
        """Plan of the row and its age in steps, made anew where it is due."""
        age, plan, grid = self._memory.plans.get(row, (-1, None, None))
        age += 1
        if plan is None or grid is None or age * self.step_h >= self.replan_h - 1e-6:
            age, (plan, grid) = 0, plan_row(outlook, row, self, self._memory)
        self._memory.plans[row] = (age, plan, grid)
        return age, plan, grid

    def _need(self, outlook: Outlook, row: int, plan: Plan, grid: Grid, now: int) -> FloatArray:
        """Cars per car of the fleet for the step's work, (2,): of 8B only, of both tiers."""
        obs = outlook.cars.obs
        chat = float(fleet_field(obs, "chat_00h")[row])
        if self.forecast == "model":
            kept = float(np.interp(self.step_h / 2, LATER_H, CHAT_KEPT))
            chat *= 1.0 + kept * float(outlook.chat_off[row])
        last_8b, last_70b = (float(fleet_field(obs, f"chat_{t}_last")[row]) for t in ("8b", "70b"))
        share_70b = last_70b / (last_8b + last_70b) if last_8b + last_70b > 0 else 0.5
        batch = float(plan.batch_car_h[now]) / max(float(grid.length_h[now]), self.step_h)
        there = float(fleet_field(obs, "batch_due_12h")[row]) / self.step_h
        batch = min(batch, there + float(fleet_field(obs, "batch_00h")[row]))
        chat *= self.over_provision
        small = plan.small_8b[now]
        hours_8b = chat * (1.0 - share_70b) * np.array([small, 1.0 - small])
        need: FloatArray = hours_8b / outlook.speed_8b[row]
        need[1] += chat * share_70b + batch
        return need

    def _index(self, outlook: Outlook, price: FloatArray) -> FloatArray:
        """Value of every car less its costs [USD/h], shape (num_envs * num_cars,)."""
        cars = outlook.cars
        holds_70b = (cars("fits_70b") > 0).astype(np.intp)
        stay_h = np.clip(cars("stay_h"), np.float32(self.step_h), np.float32(self.start_spread_h))
        offered = price[holds_70b, cars.row]
        offered = np.minimum(
            offered + np.float32(self.slack_usd_per_h),
            np.maximum(offered, outlook.worth_usd_per_h),
        )
        value = offered - outlook.costs.usd_per_h
        index = np.full(cars.obs["mask"].size, -np.inf, np.float32)
        index[cars.at] = value - outlook.start_usd(self) / stay_h
        return index

"""What a planner knows at a step: cars priced and dealt into cohorts, work expected by interval."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from agents.base import Obs, car_field, check_settings, fleet_field
from agents.oracle.car_costs import CarCosts, CostSettings, PackMemory, Seen, price_cars
from agents.oracle.cohorts import Sums, expect_supply, gather
from agents.oracle.forecast import FORECASTS, Demand, DemandMemory, expect
from agents.oracle.plan import Grid, Peak, Plan, Planner, Wanted
from fleet_env.types import BoolArray, FloatArray
from fleet_env.units import HOURS_PER_DAY, MIN_PER_H

_WORK = ("8b", "70b", "batch")
_BEFORE_H = (0.0, 1.0, 4.0)  # batch bands shown: due within 1 h, 4 h, 12 h
_WITHIN_H = (1.0, 4.0, 12.0)


@dataclass(frozen=True, kw_only=True)
class PlanSettings(CostSettings):
    """Settings of the planners."""

    forecast: str = "model"  # model | climatology | exact: `agents.oracle.forecast.expect`
    step_h: float = 0.25  # of a decision; EnvConfig.step_min
    tail_min: float = 5.0  # awake after a stop; ServingConfig, design
    # of batch work by its deadline at arrival, and of chat that never leaves the data centre;
    # neither is shown: DemandConfig, est
    batch_shares: tuple[float, float, float] = (0.2, 0.3, 0.5)
    trusted_share: float = 0.5
    # 8B work of a car that holds no 70B tier, against one that does: AI4 over AI5 by roofline;
    # fleet_env/data/accelerators.csv
    small_speed: float = 0.27
    # by which the load is thought above its mean where its peak is charged: in the coming hour, and
    # later; (1.5, 0), (1.5, 0.5), (2, 1), (3, 0.5), (1, 1), (0, 0) on 20 train days of `peak`:
    # 1.84, 1.78, 1.76, 1.68, 1.67, 0.28 USD per car-month
    peak_sd: float = 1.5
    peak_later_sd: float = 0.0
    capital_share: float = 0.70  # of a price, not credited per request where the peak pays; 1d

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.forecast not in FORECASTS:
            expected = " | ".join(FORECASTS)
            raise ValueError(f"{type(self).__name__}.forecast={self.forecast!r}: {expected}")
        check_settings(
            self,
            step_h=(0.01, 1.0),
            tail_min=(0.0, 60.0),
            trusted_share=(0.0, 0.99),
            capital_share=(0.0, 0.99),
            small_speed=(0.01, 100.0),
            peak_sd=(-10.0, 10.0),
            peak_later_sd=(-10.0, 10.0),
        )


@dataclass(eq=False)
class Memory:
    """What a planner remembers, by row."""

    pack: PackMemory
    demand: DemandMemory
    planners: dict[int, Planner]
    plans: dict[int, tuple[int, Plan, Grid]]  # age in steps, plan, its grid

    def reset(self, env_mask: BoolArray) -> None:
        """Forget the rows that begin anew."""
        self.pack.reset(env_mask)
        self.demand.reset(env_mask)
        for row in np.flatnonzero(env_mask).tolist():
            self.planners.pop(row, None)
            self.plans.pop(row, None)


def new_memory(step_h: float = 0.25) -> Memory:
    """Remember nothing yet."""
    return Memory(PackMemory(step_h), DemandMemory(), {}, {})


@dataclass(frozen=True)
class Outlook:
    """All rows at a step."""

    cars: Seen
    costs: CarCosts
    chat_off: FloatArray
    batch_off: FloatArray
    end_h: FloatArray  # (num_envs,) to the end of the episode, inf while unknown
    speed_8b: FloatArray  # (num_envs, 2) 8B work of an hour, by whether a car holds 70B
    worth_usd_per_h: FloatArray  # (m,) of a fully busy car, in the best work it can do

    @cached_property
    def sums(self) -> Sums:
        """Cars by row and cohort, worked out when a plan is made."""
        return gather(self.cars, self.costs)


def look(obs: Obs, settings: PlanSettings, memory: Memory) -> Outlook:
    """Price the cars of all rows and compare the last step with what was expected."""
    cars = Seen.of(obs)
    pack_c = memory.pack.look(obs).reshape(-1).take(cars.at)
    costs = price_cars(cars, pack_c, settings, settings.step_h)
    chat_off, batch_off, steps_left = memory.demand.look(obs)
    speed_8b = _speed_8b(obs, settings)
    value_8b, value_70b, value_batch = (cars.fleet(f"value_{k}_usd_per_h") for k in _WORK)
    holds = cars("fits_70b") > 0
    worth = value_8b * speed_8b[cars.row, holds.astype(np.intp)]
    worth = np.where(holds, np.maximum(worth, np.maximum(value_70b, value_batch)), worth)
    end_h = steps_left * settings.step_h
    return Outlook(cars, costs, chat_off, batch_off, end_h, speed_8b, worth)


def _speed_8b(obs: Obs, settings: PlanSettings) -> FloatArray:
    """8B work of an hour in units of the mean car of the fleet, (num_envs, 2)."""
    share_70b = (car_field(obs, "fits_70b") > 0).mean(axis=1)
    speed = np.array([settings.small_speed, 1.0])
    mean = speed[0] * (1.0 - share_70b) + speed[1] * share_70b
    by_pool: FloatArray = speed / mean[:, None]
    return by_pool


def plan_row(
    outlook: Outlook, row: int, settings: PlanSettings, memory: Memory
) -> tuple[Plan, Grid]:
    """Solve the programme of one row."""
    obs = outlook.cars.obs
    grid = Grid.until(min(float(outlook.end_h[row]), HOURS_PER_DAY), settings.step_h)
    tail_h = settings.tail_min / MIN_PER_H * settings.start_cost
    cohorts = expect_supply(obs, row, outlook.sums, grid.middle_h, tail_h)
    demand = expect(
        obs, row, settings.forecast, grid.middle_h,
        float(outlook.chat_off[row]), float(outlook.batch_off[row]),
    )  # fmt: skip
    wanted = _wanted(outlook, row, demand, grid, settings)
    planner = memory.planners.setdefault(row, Planner())
    return planner.solve(cohorts, wanted, grid, _peak(obs, row, wanted, settings)), grid


def _wanted(
    outlook: Outlook, row: int, demand: Demand, grid: Grid, settings: PlanSettings
) -> Wanted:
    """Work by interval; batch work that waits is spread over the hours in which its band is due."""
    obs = outlook.cars.obs
    end_h = np.cumsum(grid.length_h)
    begin_h = end_h - grid.length_h
    shown = [float(fleet_field(obs, f"batch_due_{h:g}h")[row]) for h in _WITHIN_H]
    due = np.zeros(end_h.shape)
    for band, first, last in zip(np.diff(shown, prepend=0.0), _BEFORE_H, _WITHIN_H, strict=True):
        due += band * np.clip((end_h - first) / (last - first), 0.0, 1.0)
    # cars wait for what comes: batch work can be planned for from the step after its arrival on
    known_h = np.maximum(grid.length_h - settings.step_h, 0.0)
    released = shown[-1] + np.cumsum(demand.batch * grid.length_h)
    released -= demand.batch * (grid.length_h - known_h)
    for share, delay_h in zip(settings.batch_shares, _WITHIN_H, strict=True):
        # of what arrives evenly in each interval, the part whose delay has run out by the end
        over_h = np.clip(end_h[:, None] - delay_h - begin_h, 0.0, grid.length_h)
        due += share * (over_h * demand.batch).sum(axis=1)
    value = [float(fleet_field(obs, f"value_{work}_usd_per_h")[row]) for work in _WORK]
    return Wanted(
        chat_8b=demand.chat * (1.0 - demand.share_70b),
        chat_70b=demand.chat * demand.share_70b,
        chat_sd=demand.chat_sd,
        due_car_h=due,
        released_car_h=released,
        value_8b=value[0],
        value_70b=value[1],
        value_batch=value[2],
        speed_8b=outlook.speed_8b[row],
    )


def _peak(obs: Obs, row: int, wanted: Wanted, settings: PlanSettings) -> Peak | None:
    """Charge on the peak of the data centre, where there is one."""
    charge_h = float(fleet_field(obs, "peak_usd_per_usd_h")[row])
    if charge_h <= 0:
        return None
    usd_8b, usd_70b = (
        v / (1.0 - settings.capital_share) for v in (wanted.value_8b, wanted.value_70b)
    )
    eligible = wanted.chat_8b * usd_8b + wanted.chat_70b * usd_70b
    soon = np.arange(len(eligible)) * settings.step_h < 1.0 - 1e-9
    above_sd = np.where(soon, settings.peak_sd, settings.peak_later_sd)
    eligible = eligible * (1.0 + above_sd * wanted.chat_sd)
    return Peak(
        charge_h=charge_h,
        paid=float(fleet_field(obs, "dc_peak")[row]),
        last_hour=float(fleet_field(obs, "dc_load")[row]),
        all_chat=eligible / (1.0 - settings.trusted_share),
        usd_8b=usd_8b,
        usd_70b=usd_70b,
    )

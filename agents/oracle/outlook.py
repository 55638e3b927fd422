"""What a planner knows at a step: cars priced and dealt into cohorts, work expected by interval."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from agents.base import Obs, check_settings, fleet_field
from agents.costs.forecast import FORECASTS, Demand, expect
from agents.costs.sight import WORK, Sight, SightMemory, SightSettings
from agents.oracle.cohorts import Sums, expect_supply, gather
from agents.oracle.plan import Grid, Peak, Plan, Planner, Wanted
from fleet_env.checks import one_of
from fleet_env.types import BoolArray
from fleet_env.units import HOURS_PER_DAY, MIN_PER_H

_BEFORE_H = (0.0, 1.0, 4.0)  # batch bands shown: due within 1 h, 4 h, 12 h
_WITHIN_H = (1.0, 4.0, 12.0)


@dataclass(frozen=True, kw_only=True)
class PlanSettings(SightSettings):
    """Settings of the planners."""

    forecast: str = "model"  # model, climatology or exact: `agents.costs.forecast.expect`
    batch_1h_share: float = 0.2  # of batch work, due 1 h after it arrives; not shown; DemandConfig
    batch_4h_share: float = 0.3  # due after 4 h, the rest after 12 h; not shown; DemandConfig, est
    trusted_share: float = 0.5  # of chat, never leaves the data centre; not shown; DemandConfig
    # by which the load is thought above its mean where its peak is charged: in the coming hour, and
    # later; (1.5, 0), (1.5, 0.5), (2, 1), (3, 0.5), (1, 1), (0, 0) on 20 train days of `peak`:
    # 1.84, 1.78, 1.76, 1.68, 1.67, 0.28 USD per car-month
    peak_sd: float = 1.5
    peak_later_sd: float = 0.0
    capital_share: float = 0.70  # of a price, not credited per request where the peak pays; 1d
    _memory: Memory = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self, f"{type(self).__name__}.", forecast=FORECASTS)
        check_settings(
            self,
            batch_1h_share=(0.0, 1.0),
            batch_4h_share=(0.0, 1.0 - self.batch_1h_share),
            trusted_share=(0.0, 0.99),
            capital_share=(0.0, 0.99),
            peak_sd=(-10.0, 10.0),
            peak_later_sd=(-10.0, 10.0),
        )
        object.__setattr__(self, "_memory", Memory.empty(self.step_h))

    def reset(self, env_mask: BoolArray) -> None:
        """Forget the rows that begin anew."""
        self._memory.reset(env_mask)


@dataclass(eq=False)
class Memory(SightMemory):
    """What a planner remembers, by row."""

    planners: dict[int, Planner] = field(default_factory=dict)
    plans: dict[int, tuple[int, Plan, Grid]] = field(default_factory=dict)  # age in steps, plan

    def reset(self, env_mask: BoolArray) -> None:
        """Forget the rows that begin anew."""
        super().reset(env_mask)
        for row in np.flatnonzero(env_mask).tolist():
            self.planners.pop(row, None)
            self.plans.pop(row, None)


@dataclass(frozen=True)
class Outlook(Sight):
    """All rows at a step, for a planner."""

    @cached_property
    def sums(self) -> Sums:
        """Cars by row and cohort, worked out when a plan is made."""
        return gather(self.cars, self.costs)


def plan_row(
    outlook: Outlook, row: int, settings: PlanSettings, memory: Memory
) -> tuple[Plan, Grid]:
    """Solve the programme of one row."""
    obs = outlook.cars.obs
    grid = Grid.until(min(float(outlook.end_h[row]), HOURS_PER_DAY), settings.step_h)
    tail_h = settings.tail_min / MIN_PER_H * settings.start_cost
    cohorts = expect_supply(obs, row, outlook.sums, grid.middle_h, tail_h, settings.departures)
    demand = expect(
        obs, row, settings.forecast, grid.middle_h,
        float(outlook.chat_off[row]), float(outlook.batch_off[row]),
    )  # fmt: skip
    wanted = _wanted(outlook, row, demand, grid, settings)
    planner = memory.planners.setdefault(row, Planner())
    return planner.solve(cohorts, wanted, grid, _peak(obs, row, wanted, grid, settings)), grid


def _wanted(
    outlook: Outlook, row: int, demand: Demand, grid: Grid, settings: PlanSettings
) -> Wanted:
    """Work by interval; batch work that waits is spread over the hours in which its band is due."""
    obs = outlook.cars.obs
    end_h = np.cumsum(grid.length_h)
    begin_h = end_h - grid.length_h
    shown = [float(fleet_field(obs, f"batch_due_{h:g}h")[row]) for h in _WITHIN_H]
    due = np.zeros(end_h.shape)
    for band, after, until in zip(np.diff(shown, prepend=0.0), _BEFORE_H, _WITHIN_H, strict=True):
        due += band * np.clip((end_h - after) / (until - after), 0.0, 1.0)
    # cars wait for what comes: batch work can be planned for from the step after its arrival on
    known_h = np.maximum(grid.length_h - settings.step_h, 0.0)
    released = shown[-1] + np.cumsum(demand.batch * grid.length_h)
    released -= demand.batch * (grid.length_h - known_h)
    first, second = settings.batch_1h_share, settings.batch_4h_share
    shares = (first, second, 1.0 - first - second)
    for share, delay_h in zip(shares, _WITHIN_H, strict=True):
        # of what arrives evenly in each interval, the part whose delay has run out by the end
        over_h = np.clip(end_h[:, None] - delay_h - begin_h, 0.0, grid.length_h)
        due += share * (over_h * demand.batch).sum(axis=1)
    value = [float(fleet_field(obs, f"value_{work}_usd_per_h")[row]) for work in WORK]
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


def _peak(obs: Obs, row: int, wanted: Wanted, grid: Grid, settings: PlanSettings) -> Peak | None:
    """Charge on the peak of the data centre, where there is one."""
    charge_h = float(fleet_field(obs, "peak_usd_per_usd_h")[row])
    if charge_h <= 0:
        return None
    usd_8b, usd_70b = (
        v / (1.0 - settings.capital_share) for v in (wanted.value_8b, wanted.value_70b)
    )
    eligible = wanted.chat_8b * usd_8b + wanted.chat_70b * usd_70b
    begin_h = np.cumsum(grid.length_h) - grid.length_h
    soon = begin_h < 1.0 - 1e-9
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

"""Merit order at full cost: heat, starts and the chance to leave short are priced as well."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, as_action, check_settings, feasible, fleet_field
from agents.costs.sight import Sight, SightMemory, SightSettings
from agents.heuristics.demand import DemandSettings, cars_needed, expected_work
from agents.heuristics.ranking import take_by_tier
from fleet_env.types import BoolArray, FloatArray

_LAST_H = 12.0  # before the end, batch work is done at the pace that still finishes it
_SPARE_H = 0.5  # of that time; two steps


@dataclass(frozen=True, kw_only=True)
class FullCostFirst(DemandSettings):
    """As many cars as demand needs, cheapest first, priced as the planners price them.

    Beyond `cheapest_first`: wear by heat in closed garages and in the cold, the cost of a start,
    the chance to leave before what is owed is refilled, and batch work finished before the episode
    ends. What a planner earns beyond this rule comes from looking ahead.
    """

    min_margin_usd_per_h: float = 0.0  # a car must promise more than this
    start_spread_h: float = 1.0  # on-duty hours over which a start is paid off; as in `mpc`
    step_h: float = 0.25  # of a decision; EnvConfig.step_min

    name: ClassVar[str] = "full_cost_first"
    family: ClassVar[str] = "ranking"
    source: ClassVar[str] = "merit order with the costs of the planners"
    # how the planners price cars, by default
    _costs: SightSettings = field(init=False, repr=False, compare=False)
    _memory: SightMemory = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(
            self,
            min_margin_usd_per_h=(-100.0, 100.0),
            start_spread_h=(0.25, 48.0),
            step_h=(0.01, 1.0),
        )
        object.__setattr__(self, "_costs", SightSettings(step_h=self.step_h))
        object.__setattr__(self, "_memory", SightMemory.empty(self.step_h))

    def reset(self, env_mask: BoolArray) -> None:
        """Forget the rows that begin anew."""
        self._memory.reset(env_mask)

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        sight = Sight.of(obs, self._costs, self._memory)
        margin: FloatArray = np.full(obs["mask"].size, -np.inf, np.float32)
        cost = sight.costs.usd_per_h + sight.start_usd(self._costs) / self.start_spread_h
        margin[sight.cars.at] = sight.worth_usd_per_h - cost
        margin = margin.reshape(obs["mask"].shape)
        work = expected_work(obs, self)
        batch = np.maximum(work.batch_70b, _pace_to_finish(obs, sight.end_h))
        need = cars_needed(obs, replace(work, batch_70b=batch), self)
        eligible = feasible(obs) & (margin > self.min_margin_usd_per_h)
        return as_action(take_by_tier(obs, margin, need, eligible))


def _pace_to_finish(obs: Obs, end_h: FloatArray) -> FloatArray:
    """Batch work that finishes what waits before the episode ends [cars' worth per car]."""
    hours = np.maximum(end_h - _SPARE_H, _SPARE_H / 2)
    pace: FloatArray = np.where(end_h < _LAST_H, fleet_field(obs, "batch_due_12h") / hours, 0.0)
    return pace.astype(np.float32)

"""Few cars, well used: keep who works, add when demand outgrows them, drop the worst when idle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, Stateless, as_action, car_field, check_settings, feasible
from agents.heuristics.demand import CarsNeeded, cars_needed, expected_work
from agents.heuristics.merit import MeritSettings, margin_usd_per_h
from agents.heuristics.ranking import take_by_tier
from fleet_env.types import IntArray

_KEEP_BONUS_USD_PER_H = 100.0  # above any margin: a working car goes before any other


@dataclass(frozen=True, kw_only=True)
class Consolidate(MeritSettings, Stateless):
    """Keep the working cars while they are enough and not `band` too many (hysteresis).

    Below the need the best others join; above `(1 + band) * need` the worst working cars leave
    until that many remain.
    """

    band: float = 0.15  # of the need, tolerated as excess; est, the residual noise of demand

    name: ClassVar[str] = "consolidate"
    family: ClassVar[str] = "ranking"
    source: ClassVar[str] = "design: hysteresis around cheapest_first"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, band=(0.0, 10.0))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        work = expected_work(obs, self)
        margin = margin_usd_per_h(obs, work, self)
        eligible = feasible(obs) & (margin > self.min_margin_usd_per_h)
        working = eligible & (car_field(obs, "on_duty") > 0)
        need = self._hold(cars_needed(obs, work, self), np.count_nonzero(working, axis=1))
        margin += np.float32(_KEEP_BONUS_USD_PER_H) * working
        return as_action(take_by_tier(obs, margin, need, eligible))

    def _hold(self, need: CarsNeeded, num_working: IntArray) -> CarsNeeded:
        most = np.floor(need.total * (1 + self.band)).astype(np.int64)
        return CarsNeeded(np.clip(num_working, need.total, most), need.need_70b)

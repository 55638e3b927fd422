"""The opposite of every rule: if it does not rank last, the metric is broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import (
    ActionArray,
    Obs,
    Stateless,
    as_action,
    car_field,
    check_settings,
    feasible,
    fleet_field,
)
from agents.heuristics.demand import cars_needed, expected_work
from agents.heuristics.merit import MeritSettings, margin_usd_per_h
from fleet_env.selection import take_best

_COLD_BONUS_USD_PER_H = 0.2  # about the spread without risk: who worked last waits


@dataclass(frozen=True, kw_only=True)
class DeliberatelyBad(MeritSettings, Stateless):
    """Every car that should stay asleep, and in dear steps more cars than there is work.

    All feasible cars that promise a loss are on duty: short stays, slow plugs, downloads. In steps
    that are dear somewhere the costliest of the rest join up to `excess` times the need (in cheap
    ones a single car); among them those that worked in the last step come later, so they toggle
    and pay wake-ups and tails.
    """

    excess: float = 1.5  # cars per car needed in dear steps; 1.5 earned less than 3 on train

    name: ClassVar[str] = "deliberately_bad"
    family: ClassVar[str] = "check of the metric"
    source: ClassVar[str] = "BLIS: always busiest"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, excess=(1.0, 1000.0))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        work = expected_work(obs, self)
        loss = -margin_usd_per_h(obs, work, self)
        losing = feasible(obs) & (loss > 0)
        loss += np.float32(_COLD_BONUS_USD_PER_H) * (car_field(obs, "on_duty") == 0)
        num = cars_needed(obs, work, self).total
        num = np.where(fleet_field(obs, "cheap") >= 1, 1, num * self.excess).astype(np.int64)
        return as_action(losing | take_best(loss, num, feasible(obs)))

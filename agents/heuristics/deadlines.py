"""Rules for jobs with deadlines on machines that come and go, applied to batch work.

In the paper a job has work C and time R0, spot machines are cheap and come and go, on-demand
machines are dear and always there, and a changeover costs d. Here cars in cheap hours stand for
the spot machines and cars in dear hours for those on demand; the data centre is the end of the
line: work for which no car is woken expires there, uncredited. Each rule takes the cars for all
work, chat included, in merit order unless it says otherwise. Jobs within the backlog are run
earliest deadline first by the environment's own queue under every rule (EDF of B14).
"""

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
from agents.heuristics.backlog import changeover_h, due_car_h, fastest
from agents.heuristics.demand import WINDOWS_H, cars_needed, expected_work
from agents.heuristics.merit import MeritSettings, charge_h, margin_usd_per_h
from agents.heuristics.merit_order import take_in_merit_order
from agents.heuristics.ranking import take_by_tier
from fleet_env.types import FloatArray

_ENDS_H = np.array(WINDOWS_H, np.float64)  # latest deadline in a band between two windows
_BEGINS_H = np.array((0, *WINDOWS_H[:-1]), np.float64)  # earliest deadline there
_CHANGEOVERS = 2.0  # kept in reserve, as in the paper: into the last resort, and once more


@dataclass(frozen=True, kw_only=True)
class UniformProgress(MeritSettings, Stateless):
    """Keep every batch job on a straight line to its deadline; run ahead while energy is cheap.

    A job on its line has `remaining / time left = C / R0`, so the whole backlog asks for the sum
    of `remaining / time left` over the bands between deadlines, and two changeovers d more speed
    to stay ahead. In cheap steps it runs `batch_haste` times as fast (cars are available). A band
    with at most 2 d left goes to the data centre: nobody is woken for it.
    """

    batch_haste: float = 16.0  # speed in cheap steps against the line; of 1, 2, 4, 8, 16 on train

    name: ClassVar[str] = "uniform_progress"
    family: ClassVar[str] = "deadlines"
    source: ClassVar[str] = "B11: Can't Be Late (NSDI'24)"

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        work = expected_work(obs, self, batch_70b=self._batch_rate(obs))
        return as_action(take_in_merit_order(obs, work, self))

    def _batch_rate(self, obs: Obs) -> FloatArray:
        band = np.diff(due_car_h(obs), axis=1, prepend=0.0)
        left_h = _ENDS_H - _CHANGEOVERS * changeover_h(obs)[:, None]
        line = np.divide(band, left_h, out=np.zeros(band.shape), where=left_h > 0).sum(axis=1)
        ahead: FloatArray = line * (1 + (self.batch_haste - 1) * fleet_field(obs, "cheap"))
        return ahead


@dataclass(frozen=True, kw_only=True)
class SafetyNet(MeritSettings, Stateless):
    """Batch work at once on whichever cars pay, at any price; what they cannot finish is let go.

    Greedy with the safety net: cars only until the time left is the work left + two changeovers,
    then the data centre. The work left takes `due / available` hours on the cars there are, so of
    each window at most `available * (window - 2 d)` is planned for.
    """

    finish_h: float = 2.0  # to run the backlog, if cars are enough; of .25, .5, 1, 2, 4 on train

    name: ClassVar[str] = "safety_net"
    family: ClassVar[str] = "deadlines"
    source: ClassVar[str] = "B12: Can't Be Late (NSDI'24)"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, finish_h=(0.01, 48.0))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        work = expected_work(obs, self, batch_70b=self._batch_rate(obs))
        return as_action(take_in_merit_order(obs, work, self))

    def _batch_rate(self, obs: Obs) -> FloatArray:
        left_h = np.maximum(_ENDS_H - _CHANGEOVERS * changeover_h(obs)[:, None], 0)
        reach = fleet_field(obs, "available")[:, None] * left_h
        rate: FloatArray = np.minimum(due_car_h(obs), reach).max(axis=1) / self.finish_h
        return rate


@dataclass(frozen=True, kw_only=True)
class LeastLaxity(MeritSettings, Stateless):
    """Batch work when its laxity runs out, on the cars whose charging has the most laxity.

    Laxity is time to the deadline less time to do what is due (by the earliest deadline in the
    band, on all the cars there are); windows with at most `laxity_h` of it run, the rest waits.
    Of the cars that pay, those go first that can best spare the time: stated stay less hours of
    charging; the least lax charge. (EDF, the other half of B14, is what the queue does.)
    """

    laxity_h: float = 1.0  # left in work that must run now; of 0, .5, 1, 2, 4 on train
    batch_haste: float = 8.0  # of 1, 2, 4, 8 on train

    name: ClassVar[str] = "least_laxity"
    family: ClassVar[str] = "deadlines"
    source: ClassVar[str] = "B14: ACN-Sim, BOINC"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, laxity_h=(0.0, 48.0))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        work = expected_work(obs, self, batch_70b=self._batch_rate(obs))
        margin = margin_usd_per_h(obs, work, self)
        eligible = feasible(obs) & (margin > self.min_margin_usd_per_h)
        spare_h = car_field(obs, "stay_h") - charge_h(obs)
        return as_action(take_by_tier(obs, spare_h, cars_needed(obs, work, self), eligible))

    def _batch_rate(self, obs: Obs) -> FloatArray:
        due, available = due_car_h(obs), fleet_field(obs, "available")[:, None]
        work_h = np.divide(due, available, out=np.full(due.shape, np.inf), where=available > 0)
        presses = _BEGINS_H - work_h <= self.laxity_h
        return fastest(due, _ENDS_H / self.batch_haste, presses)

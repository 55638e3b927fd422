"""The one-period optimum: which cars and which work pay in this step, by an exact greedy solution.

For one row and one step, with x the share of the step a car is on duty and Y the work done::

    max   sum_k value_k Y_k - sum_i cost_i x_i
    s.t.  Y_8b + Y_70b + Y_batch <= sum_i capacity_i x_i                  (tiers are nested:
          Y_70b + Y_batch        <= sum_{i holds 70B} capacity_i x_i       70B cars serve 8B too)
          0 <= Y_k <= work_k,  0 <= x_i <= 1

Without the second line this is one market: cars by cost per capacity meet work by value, and car i
works as long as work worth more than its unit cost is left by cheaper cars (`_meet`). If that
solution keeps the second line it is the optimum. If not, some optimum has the second line tight
(objective and constraints are linear: on the way from this solution to any feasible optimum, the
point that first keeps the line is feasible and not worse). Then 70B cars do 70B work alone and 8B
cars 8B work alone: two separate markets, whose solutions together are feasible. At most one car per
market works a part of the step; it is on duty if that is half or more.
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
from agents.heuristics.backlog import due_car_h
from agents.heuristics.demand import expected_work
from agents.heuristics.merit import MeritSettings, busy_share, cost_usd_per_h, serving_share
from fleet_env.types import BoolArray, FloatArray

_CLASS_70B = np.array([False, True, True])  # chat 8B, chat 70B, batch 70B
_TOLERANCE = 1e-9  # of capacities, relative: float64 sums


@dataclass(frozen=True, kw_only=True)
class MyopicLP(MeritSettings, Stateless):
    """Cars and work of this step by a linear program: what pays now, and no thought of later.

    Chat is what is expected; of the batch backlog so much that it would end in `backlog_h`. Work
    that pays on no car is left (deferred, or to the data centre).
    """

    backlog_h: float = 2.0  # of .25, .5, 1, 2, 4, 8, 12 on train

    name: ClassVar[str] = "myopic_lp"
    family: ClassVar[str] = "optimum of a step"
    source: ClassVar[str] = "B25: Helix, Liu 2011"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, backlog_h=(0.01, 48.0))

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        backlog = due_car_h(obs)[:, -1] / self.backlog_h
        work = expected_work(obs, self, batch_70b=backlog)
        num_cars = obs["mask"].shape[1]
        values = ("value_8b_usd_per_h", "value_70b_usd_per_h", "value_batch_usd_per_h")
        cost = cost_usd_per_h(obs, self) + self.min_margin_usd_per_h
        share = on_duty_shares(
            capacity=busy_share(self) * serving_share(obs, self) * car_field(obs, "fits_8b"),
            cost_usd_per_h=np.where(feasible(obs), cost, np.inf),
            holds_70b=car_field(obs, "fits_70b") > 0,
            work=np.stack([work.chat_8b, work.chat_70b, work.batch_70b], axis=1) * num_cars,
            value_usd_per_h=np.stack([fleet_field(obs, name) for name in values], axis=1),
        )
        return as_action(share >= 0.5)


def on_duty_shares(
    *,
    capacity: FloatArray,
    cost_usd_per_h: FloatArray,
    holds_70b: BoolArray,
    work: FloatArray,
    value_usd_per_h: FloatArray,
) -> FloatArray:
    """Solve the linear program of a step exactly, for every row.

    Parameters
    ----------
    capacity : FloatArray, shape (num_envs, num_cars)
        Work of an on-duty hour [cars' worth], not negative.
    cost_usd_per_h : FloatArray, shape (num_envs, num_cars)
        Infinite for cars that may not work.
    holds_70b : BoolArray, shape (num_envs, num_cars)
    work : FloatArray, shape (num_envs, 3)
        Chat 8B, chat 70B, batch 70B [cars' worth].
    value_usd_per_h : FloatArray, shape (num_envs, 3)
        Of one car's worth for an hour; not negative.

    Returns
    -------
    FloatArray, shape (num_envs, num_cars), float64
        Share of the step each car is on duty, in [0, 1].
    """
    capacity, cost = capacity.astype(np.float64), cost_usd_per_h.astype(np.float64)
    one = _meet(capacity, cost, work, value_usd_per_h)
    if holds_70b.all():
        return one
    tight = _wants_more_70b(one * capacity, holds_70b, work, value_usd_per_h)
    if not tight.any():
        return one
    big = _meet(capacity, np.where(holds_70b, cost, np.inf), work * _CLASS_70B, value_usd_per_h)
    small = _meet(capacity, np.where(holds_70b, np.inf, cost), work * ~_CLASS_70B, value_usd_per_h)
    return np.where(tight[:, None], big + small, one)


def _meet(
    capacity: FloatArray, cost: FloatArray, work: FloatArray, value: FloatArray
) -> FloatArray:
    """Let cars by unit cost meet work by value: the optimum of one market.

    A car is offered the work that is worth more than its unit cost, less the capacity of all
    cheaper cars. A car paid to run (negative price) runs whatever there is to do.
    """
    unit = np.divide(cost, capacity, out=np.full(cost.shape, np.inf), where=capacity > 0)
    order = np.argsort(unit, axis=1, kind="stable")
    unit_sorted = np.take_along_axis(unit, order, axis=1)
    room = np.take_along_axis(np.where(np.isfinite(cost), capacity, 0.0), order, axis=1)
    worth = (value[:, :, None] > unit_sorted[:, None, :]) * work.astype(np.float64)[:, :, None]
    left = worth.sum(axis=1) - (np.cumsum(room, axis=1) - room)
    share = np.divide(left, room, out=np.zeros(room.shape), where=room > 0)
    np.clip(share, 0.0, 1.0, out=share)
    out = np.empty(share.shape)
    np.put_along_axis(out, order, share, axis=1)
    out[cost < 0] = 1.0
    return out


def _wants_more_70b(
    served: FloatArray, holds_70b: BoolArray, work: FloatArray, value: FloatArray
) -> BoolArray:
    """Rows in which the work chosen holds more 70B than the cars chosen, shape (num_envs,)."""
    order = np.argsort(-value, axis=1, kind="stable")
    by_value = np.take_along_axis(work.astype(np.float64), order, axis=1)
    before = np.cumsum(by_value, axis=1) - by_value
    done = np.clip(served.sum(axis=1)[:, None] - before, 0.0, by_value)
    done_70b = (done * _CLASS_70B[order]).sum(axis=1)
    limit = (served * holds_70b).sum(axis=1)
    more: BoolArray = done_70b > limit * (1 + _TOLERANCE)
    return more

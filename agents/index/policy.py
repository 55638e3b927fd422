"""The tuned index as a policy: the best cars by a linear index, as many as a small rule wants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, Stateless, as_action, car_field, feasible, fleet_field
from agents.heuristics.demand import (
    CarsNeeded,
    DemandSettings,
    batch_rate,
    share_70b,
    whole_cars,
)
from agents.heuristics.ranking import take_by_tier
from agents.index.parameters import PLACE, WEIGHTS, read
from fleet_env.types import FloatArray
from fleet_env.views.index import Candidates, index_score
from fleet_env.views.seen import Seen

_NO_HASTE = DemandSettings(batch_haste=1.0)
Column = Callable[[str], FloatArray]  # name of a parameter -> its value in each row


def choose(seen: Obs | Seen, parameters: FloatArray) -> ActionArray:
    """Choose the cars on duty, each row by its own parameters.

    ``score = sum of weight x feature``; the cars above `min_score` are eligible. As many of the
    best go on duty as work wants (`cars_wanted`), of the 70B tier first; while the cars at work are
    more than that but not `band` too many, as many as are at work. Where all cars hold 70B, they
    are those that `fleet_env.views.index.index_duty` gives for the same number as a share.

    Parameters
    ----------
    seen : mapping or Seen
        A batched observation of Fleet-v0 with cars; not changed.
    parameters : FloatArray, shape (num_envs, n)
        In the order of `agents.index.parameters.PARAMETERS`.

    Returns
    -------
    NDArray[np.int8], shape (num_envs, num_cars)
    """

    def column(name: str) -> FloatArray:
        values: FloatArray = parameters[:, PLACE[name]]
        return values

    cars = Candidates.look(seen)
    obs, score = cars.obs, index_score(cars, parameters[:, : len(WEIGHTS)])
    eligible = feasible(obs) & (score > column("min_score").astype(np.float32)[:, None])
    working = np.count_nonzero(eligible & (car_field(obs, "on_duty") > 0), axis=1)
    wanted = cars_wanted(obs, column)
    most = np.floor(wanted.total * (1.0 + column("band"))).astype(np.int64)
    need = CarsNeeded(np.clip(working, wanted.total, most), wanted.need_70b)
    return as_action(take_by_tier(obs, score, need, eligible))


def cars_wanted(obs: Obs, column: Column) -> CarsNeeded:
    """Cars that the rule wants on duty, rounded to the nearest.

    The rule::

        forecast = (1 - look_ahead) chat_00h + look_ahead chat_01h
        chat     = (1 - w) forecast + w (what arrived last), w = last_weight, 0 in the first step
        batch    = max(batch_haste x spread over cheap hours, batch_urgency x due in 1 h)
        cars     = num_cars over_provision (chat + batch) exp(-price_sensitivity dear)

    `spread` is `agents.heuristics.demand.batch_rate`, dear = max(0, price - refill_price) in
    USD/kWh. Batch work and the share of chat that last was 70B, half of it while none has arrived,
    need cars that hold 70B.
    """
    ahead = column("look_ahead")
    chat = (1 - ahead) * fleet_field(obs, "chat_00h") + ahead * fleet_field(obs, "chat_01h")
    last = fleet_field(obs, "chat_8b_last") + fleet_field(obs, "chat_70b_last")
    weight = np.where(fleet_field(obs, "left") < 1.0, column("last_weight"), 0.0)
    chat = (1 - weight) * chat + weight * last
    spread = column("batch_haste") * batch_rate(obs, _NO_HASTE)
    batch = np.maximum(spread, column("batch_urgency") * fleet_field(obs, "batch_due_1h"))
    dear = np.maximum(fleet_field(obs, "price") - fleet_field(obs, "refill_price"), 0.0)
    num_cars = obs["mask"].shape[1]
    per_work = num_cars * column("over_provision") * np.exp(-column("price_sensitivity") * dear)
    work_70b = chat * share_70b(obs) + batch
    wanted = (np.minimum(per_work * work, num_cars) for work in (chat + batch, work_70b))
    return CarsNeeded(*(whole_cars(cars) for cars in wanted))


@dataclass(frozen=True, kw_only=True)
class TunedIndex(Stateless):
    """Best cars by a linear index, as many as work wants; all constants searched on train days.

    Cars that hold 70B are chosen for its work first, so that mixed hardware has enough of them.
    """

    file: str = "suburb"  # a card whose index ships, or a path that ends in .yaml

    name: ClassVar[str] = "tuned_index"
    family: ClassVar[str] = "tuned"
    source: ClassVar[str] = (
        "linear index searched by CMA-ES (Hansen & Ostermeier 2001) on train days: fleet tune"
    )
    parameters: FloatArray = field(init=False, repr=False, compare=False)  # (n,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", read(self.file).vector())

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        num_envs = len(obs["mask"])
        return choose(obs, np.broadcast_to(self.parameters, (num_envs, len(self.parameters))))

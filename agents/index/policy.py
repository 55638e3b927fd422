"""The tuned index as a policy: the best cars by a linear index, as many as a small rule wants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, Stateless, as_action, car_field, feasible, fleet_field
from agents.heuristics.demand import DemandSettings, batch_rate
from agents.index.parameters import PLACE, WEIGHTS, read
from fleet_env.selection import take_best
from fleet_env.types import FloatArray, IntArray
from fleet_env.views.index import index_score

_NO_HASTE = DemandSettings(batch_haste=1.0)
Column = Callable[[str], FloatArray]  # name of a parameter -> its value in each row


def choose(obs: Obs, parameters: FloatArray) -> ActionArray:
    """Choose the cars on duty, each row by its own parameters.

    ``score = sum of weight x feature``; the cars above `min_score` are eligible. As many of the
    best go on duty as work wants (`cars_wanted`); while the cars at work are more than that but
    not `band` too many, as many as are at work. The same cars as
    `fleet_env.views.index.index_duty` gives for the same number as a share.

    Parameters
    ----------
    obs : mapping
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

    score = index_score(obs, parameters[:, : len(WEIGHTS)])
    eligible = feasible(obs) & (score > column("min_score").astype(np.float32)[:, None])
    working = np.count_nonzero(eligible & (car_field(obs, "on_duty") > 0), axis=1)
    wanted = cars_wanted(obs, column)
    most = np.floor(wanted * (1.0 + column("band"))).astype(np.int64)
    return as_action(take_best(score, np.clip(working, wanted, most), eligible))


def cars_wanted(obs: Obs, column: Column) -> IntArray:
    """Cars that the rule wants on duty, shape (num_envs,), rounded to the nearest.

    The rule::

        forecast = (1 - look_ahead) chat_00h + look_ahead chat_01h
        chat     = (1 - w) forecast + w (what arrived last), w = last_weight, 0 in the first step
        batch    = max(batch_haste x spread over cheap hours, batch_urgency x due in 1 h)
        cars     = num_cars over_provision (chat + batch) exp(-price_sensitivity dear)

    `spread` is `agents.heuristics.demand.batch_rate`, dear = max(0, price - refill_price) in
    USD/kWh.
    """
    ahead = column("look_ahead")
    chat = (1 - ahead) * fleet_field(obs, "chat_00h") + ahead * fleet_field(obs, "chat_01h")
    last = fleet_field(obs, "chat_8b_last") + fleet_field(obs, "chat_70b_last")
    weight = np.where(fleet_field(obs, "left") < 1.0, column("last_weight"), 0.0)
    chat = (1 - weight) * chat + weight * last
    spread = column("batch_haste") * batch_rate(obs, _NO_HASTE)
    batch = np.maximum(spread, column("batch_urgency") * fleet_field(obs, "batch_due_1h"))
    dear = np.maximum(fleet_field(obs, "price") - fleet_field(obs, "refill_price"), 0.0)
    cars = obs["mask"].shape[1] * column("over_provision") * (chat + batch)
    cars = cars * np.exp(-column("price_sensitivity") * dear)
    whole: IntArray = np.floor(np.minimum(cars, obs["mask"].shape[1]) + 0.5).astype(np.int64)
    return whole


@dataclass(frozen=True, kw_only=True)
class TunedIndex(Stateless):
    """Best cars by a linear index, as many as work wants; all constants searched on train days.

    Of mixed hardware it knows only what the weights of `fits_70b` and `energy` say: it keeps no
    number of cars for the 70B tier.
    """

    file: str = "suburb"  # shipped under this name, or a path that ends in .yaml

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

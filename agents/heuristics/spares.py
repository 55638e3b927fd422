"""More cars than needed, spread over places that do not fail together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agents.base import ActionArray, Obs, as_action, car_field, check_settings, feasible
from agents.heuristics.demand import CarsNeeded, Work, cars_needed, expected_work
from agents.heuristics.merit import MeritSettings, margin_usd_per_h
from agents.heuristics.ranking import take_by_tier
from fleet_env.config_world import MAX_REGIONS
from fleet_env.types import BoolArray, FloatArray, IntArray

_NUM_DOMAINS = 2 * MAX_REGIONS  # home or elsewhere, in each region
_MARGIN_CAP_USD_PER_H = 10.0  # margins decide within a turn, never across turns


@dataclass(eq=False)
class _Losses:
    """Cars lost and cars that worked, fading sums per row and domain."""

    lost: FloatArray
    worked: FloatArray


@dataclass(frozen=True, kw_only=True)
class HedgedSpares(MeritSettings):
    """N cars and spares on top, dealt out in turn to the domains that lost the fewest cars lately.

    N is what demand needs, as in all rules; the data centre covers any shortfall at once by
    itself. A domain is what is seen to fail together: home (storm, home link) or another place, by
    region; the observation names no transformer or street. A car is lost if it worked in the step
    before and the mask refuses it now. Domains that lost at most `loss_limit` of their working
    cars take turns, each with its best car (none at a loss); the others follow when these have no
    car left.
    """

    spare_share: float = 0.05  # N_extra / N; of 0, .02, .05, .1, .2 on train
    loss_limit: float = 0.10  # lost share of the cars that worked; no difference from .02 to .5
    fade: float = 0.75  # of what is remembered, per step; no difference from 0 to .9 on train

    name: ClassVar[str] = "hedged_spares"
    family: ClassVar[str] = "spares"
    source: ClassVar[str] = "B13: SkyServe (SpotHedge)"
    _kept: list[_Losses] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, spare_share=(0.0, 10.0), loss_limit=(0.0, 1.0), fade=(0.0, 1.0))

    def reset(self, env_mask: BoolArray) -> None:
        """Forget the losses of the rows that begin anew; a batch of another size forgets all."""
        if self._kept and len(self._kept[0].lost) != len(env_mask):
            self._kept.clear()
        for memory in self._kept:
            memory.lost[env_mask] = 0
            memory.worked[env_mask] = 0

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        work = expected_work(obs, self)
        margin = margin_usd_per_h(obs, work, self)
        eligible = feasible(obs) & (margin > self.min_margin_usd_per_h)
        domain = _domain(obs)
        safe = np.take_along_axis(self._safe(obs, domain), domain, axis=1)
        score = _turns(margin, domain, eligible, safe)
        return as_action(take_by_tier(obs, score, self._with_spares(obs, work), eligible))

    def _with_spares(self, obs: Obs, work: Work) -> CarsNeeded:
        need, more = cars_needed(obs, work, self), 1 + self.spare_share
        return CarsNeeded(
            *(np.ceil(cars * more).astype(np.int64) for cars in (need.total, need.need_70b))
        )

    def _safe(self, obs: Obs, domain: IntArray) -> BoolArray:
        """Domains that lost few cars, shape (num_envs, _NUM_DOMAINS); remembers this step's."""
        worked = car_field(obs, "on_duty") > 0
        memory = self._memory(len(worked))
        for sums, cars in ((memory.worked, worked), (memory.lost, worked & ~feasible(obs))):
            sums *= self.fade
            sums += _count(domain, cars)
        safe: BoolArray = memory.lost <= self.loss_limit * memory.worked
        return safe

    def _memory(self, num_envs: int) -> _Losses:
        if not self._kept or len(self._kept[0].lost) != num_envs:
            shape = (num_envs, _NUM_DOMAINS)
            self._kept[:] = [_Losses(np.zeros(shape), np.zeros(shape))]
        return self._kept[0]


def _domain(obs: Obs) -> IntArray:
    away = car_field(obs, "at_home") == 0
    domain: IntArray = car_field(obs, "region").astype(np.intp) * 2 + away
    return domain


def _count(domain: IntArray, cars: BoolArray) -> IntArray:
    """Cars in each domain of each row, shape (num_envs, _NUM_DOMAINS)."""
    num_envs = len(domain)
    flat = domain + _NUM_DOMAINS * np.arange(num_envs)[:, None]
    counts = np.bincount(flat[cars], minlength=num_envs * _NUM_DOMAINS)
    return counts.reshape(num_envs, _NUM_DOMAINS)


def _turns(
    margin: FloatArray, domain: IntArray, eligible: BoolArray, safe: BoolArray
) -> FloatArray:
    """Score that deals cars out in turns: safe domains first, in each the best car of a domain."""
    by_margin = np.argsort(-margin, axis=1, kind="stable")
    dealt = np.where(eligible, domain, _NUM_DOMAINS).astype(np.int16)  # short: a radix sort
    dealt = np.take_along_axis(dealt, by_margin, axis=1)
    into_domains = np.argsort(dealt, axis=1, kind="stable")
    order = np.take_along_axis(by_margin, into_domains, axis=1)
    begins = np.diff(np.take_along_axis(dealt, into_domains, axis=1), axis=1, prepend=-1) != 0
    place = np.arange(margin.shape[1])
    turn_sorted = place - np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    turn = np.empty(turn_sorted.shape, np.float64)
    np.put_along_axis(turn, order, turn_sorted, axis=1)
    turn += ~safe * float(margin.shape[1])
    cap = _MARGIN_CAP_USD_PER_H
    score: FloatArray = np.clip(margin, -cap, cap).astype(np.float64) / (4 * cap) - turn
    return score

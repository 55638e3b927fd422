"""Where the data centre is paid by its peak: keep its highest hour down, at a loss if need be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import (
    ActionArray,
    Obs,
    Stateless,
    as_action,
    check_settings,
    feasible,
    fleet_field,
)
from agents.heuristics.demand import CarsNeeded, Work, cars_needed, expected_work, whole_cars
from agents.heuristics.merit import MeritSettings, margin_usd_per_h
from agents.heuristics.ranking import take_by_tier
from fleet_env.observations import CHAT_00H, FORECAST_H
from fleet_env.types import FloatArray


@dataclass(frozen=True, kw_only=True)
class PeakShaver(MeritSettings, Stateless):
    """Cheapest first, and more cars where the data centre would exceed its peak so far or planned.

    The load left to the data centre is held under::

        limit = max(dc_peak, theta * typical peak)         typical: of the forecast, without cars

    A peak already paid is free to use again. With `theta` at the `trusted_share`, the cars take
    all chat that may leave the data centre at the hour of its typical peak, and no lower limit can
    be held. `dc_load`, the mean of the last hour, never exceeds `dc_peak` and so adds nothing to
    the limit. The cars for what is above the limit go in
    merit order, over-provisioned, down to a loss of `max_loss_usd_per_h`. Where no peak is charged
    (`peak_usd_per_usd_h` = 0) this is `cheapest_first`.
    """

    theta: float = 0.5  # of the typical peak; of .3 to 1 on train (card `peak`)
    peak_over_provision: float = 1.3  # cars per car of work above the limit; of 1.1 to 1.6 on train
    max_loss_usd_per_h: float = 0.3  # of a car woken for the peak; .1, .3, 1 alike on train
    capital_share: float = 0.70  # of a price, not credited per request; card `peak`, est domain 1d
    trusted_share: float = 0.5  # of chat that never leaves the data centre; DemandConfig, est

    name: ClassVar[str] = "peak_shaver"
    family: ClassVar[str] = "peak"
    source: ClassVar[str] = "F3 of the study of headroom: the two-line rule"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(
            self,
            theta=(0.0, 10.0),
            peak_over_provision=(0.0, 100.0),
            max_loss_usd_per_h=(0.0, 100.0),
            capital_share=(0.0, 0.99),
            trusted_share=(0.0, 0.99),
        )

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        work = expected_work(obs, self)
        margin = margin_usd_per_h(obs, work, self)
        allowed = feasible(obs)
        paying = allowed & (margin > self.min_margin_usd_per_h)
        chosen = take_by_tier(obs, margin, cars_needed(obs, work, self), paying)
        if (fleet_field(obs, "peak_usd_per_usd_h") > 0).any():
            bearable = allowed & (margin > -self.max_loss_usd_per_h)
            chosen |= take_by_tier(obs, margin, self._above_limit(obs, work), bearable)
        return as_action(chosen)

    def _above_limit(self, obs: Obs, work: Work) -> CarsNeeded:
        """Cars that bring the chat left to the data centre under the limit; 0 without a charge."""
        chat = work.chat_8b + work.chat_70b
        untrusted = np.float32(1 - self.trusted_share)
        limit = self._limit_cars(obs, work)
        above = np.clip(chat / untrusted - limit, 0, chat)
        above = np.where(fleet_field(obs, "peak_usd_per_usd_h") > 0, above, 0)
        part_70b = np.divide(work.chat_70b, chat, out=np.zeros_like(chat), where=chat > 0)
        total = self.peak_over_provision * obs["mask"].shape[1] * above.astype(np.float64)
        return CarsNeeded(whole_cars(total), whole_cars(total * part_70b))

    def _limit_cars(self, obs: Obs, work: Work) -> FloatArray:
        """Limit of the load, in cars' worth of chat per car: money at average prices undone."""
        chat = work.chat_8b + work.chat_70b
        credited = work.chat_8b * fleet_field(obs, "value_8b_usd_per_h")
        credited = credited + work.chat_70b * fleet_field(obs, "value_70b_usd_per_h")
        usd_per_h = credited / np.float32(1 - self.capital_share)
        forecast = obs["fleet"][:, CHAT_00H : CHAT_00H + FORECAST_H].max(axis=1)
        typical = np.float32(self.theta / (1 - self.trusted_share)) * forecast
        paid = fleet_field(obs, "dc_peak") * chat
        paid = np.divide(paid, usd_per_h, out=np.zeros_like(paid), where=usd_per_h > 0)
        limit: FloatArray = np.maximum(paid, typical)
        return limit

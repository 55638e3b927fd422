"""Books a step: money by term, metrics and constraint costs per row of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fleet_env import rewards
from fleet_env.blocks import Block
from fleet_env.config import EnvConfig
from fleet_env.dynamics.capacity import CapacityCharge
from fleet_env.dynamics.roofline import datacentre_price
from fleet_env.dynamics.serving import ServiceFlows
from fleet_env.metrics import METRICS, REFUSALS, REWARD_TERMS
from fleet_env.rowsums import SUM, RowSums
from fleet_env.types import BATCH_70B, CLASSES, FloatArray

TERM = {name: i for i, name in enumerate(REWARD_TERMS)}
METRIC = {name: len(REWARD_TERMS) + i for i, name in enumerate(METRICS)}
REQUESTS = ("arrived", "on_time", "late", "lost", "diverted", "expired")
REQUEST_SPANS = {
    kind: slice(METRIC[f"{kind}_{CLASSES[0]}"], METRIC[f"{kind}_{CLASSES[-1]}"] + 1)
    for kind in REQUESTS
}
REFUSAL_SPAN = slice(METRIC[f"refused_{REFUSALS[0]}"], METRIC[f"refused_{REFUSALS[-1]}"] + 1)
# sums over cars that are metrics as they are
PLAIN_SUMS = [SUM[name] for name in SUM if name in METRIC]
PLAIN_METRICS = [METRIC[name] for name in SUM if name in METRIC]
CHAT_MISSES = [
    METRIC[f"{kind}_{name}"] for kind in ("late", "lost") for name in CLASSES[:BATCH_70B]
]
# terms that the cars of a row earn together
SHARED = [TERM[name] for name in ("avoided", "slo", "data", "capacity")]


class Ledger:
    """Money and counts of the step just played.

    Parameters
    ----------
    config : EnvConfig
    price_usd : FloatArray, shape (3,)
        Credit of a request by class, `rewards.request_prices`.
    num_envs : int
    charge_h : float
        On the peak of the data centre, `rewards.capacity_charge_h`; 0: none.

    Attributes
    ----------
    values : FloatArray, shape (len(REWARD_TERMS) + len(METRICS), num_envs)
        Terms first [USD, positive = earned], then metrics; overwritten every step.
    capacity : CapacityCharge
        Load left to the data centre and its peak, both 0 without a charge.
    """

    def __init__(
        self, config: EnvConfig, price_usd: FloatArray, num_envs: int, charge_h: float = 0.0
    ) -> None:
        self._config, self._price_usd = config, price_usd
        average_usd = rewards.average_prices(config, datacentre_price(config.datacentre))
        self._chat_usd = average_usd[:BATCH_70B]
        self.capacity = CapacityCharge(charge_h, num_envs, config.dt_h)
        self.values = np.zeros((len(REWARD_TERMS) + len(METRICS), num_envs))

    def begin(self, cards: Sequence[EnvConfig] = ()) -> None:
        """Start an episode in every row, priced by its own card where there are several."""
        self.capacity.begin()
        if any(card is not self._config for card in cards):
            per_token = [datacentre_price(card.datacentre) for card in cards]
            pairs = zip(cards, per_token, strict=True)
            self._price_usd = np.array([rewards.request_prices(*pair) for pair in pairs])

    @property
    def price_usd(self) -> FloatArray:
        """Credit of a request by class, shape (3,), or (num_envs, 3) where rows differ."""
        return self._price_usd

    @property
    def reward(self) -> FloatArray:
        """Sum of the terms [USD], shape (num_envs,)."""
        total: FloatArray = self.values[: len(REWARD_TERMS)].sum(axis=0)
        return total

    @property
    def shared_usd(self) -> FloatArray:
        """Part of the reward that the cars of a row earn together [USD], shape (num_envs,)."""
        usd: FloatArray = self.values[SHARED].sum(axis=0)
        return usd

    @property
    def costs(self) -> dict[str, FloatArray]:
        """Constraint costs for constrained learners, see `fleet_env.metrics.COSTS`."""
        return {
            "shortfall": self.values[METRIC["shortfalls"]].copy(),
            "slo": self.values[CHAT_MISSES].sum(axis=0),
            "feeder": self.values[METRIC["feeder_cut_kwh"]].copy(),
        }

    def book(
        self,
        blocks: Sequence[Block],
        refused: Sequence[FloatArray],
        parts: Sequence[RowSums],
        flows: ServiceFlows,
        open_requests: FloatArray | None,
        *,
        chat_all: FloatArray,
        busy_h: FloatArray,
        downloaded_gb: FloatArray,
        feeder_over_h: FloatArray | None = None,
    ) -> None:
        """Book a step.

        Parameters
        ----------
        refused, parts
            Refusals by reason and sums over cars, one per block.
        flows : ServiceFlows
        open_requests : FloatArray, shape (num_envs, 3), optional
            What is queued or in flight at the horizon: the data centre takes it, nothing is
            credited.
        chat_all : FloatArray, shape (num_envs, 2)
            Chat requests that arrived, by class, with those that may not leave the data centre.
        busy_h, downloaded_gb, feeder_over_h : FloatArray, shape (num_envs,)
            Car-hours of work, weights fetched, and transformer-hours above the cap; the last one
            only where transformers limit compute.
        """
        values = self.values
        values[:] = 0.0
        sums = np.zeros((len(SUM), values.shape[1]))
        for block, counts, part in zip(blocks, refused, parts, strict=True):
            span = slice(block.row_lo, block.row_hi)
            sums[:, span] += part.values
            values[REFUSAL_SPAN, span] += counts.T
        values[PLAIN_METRICS] = sums[PLAIN_SUMS]
        values[METRIC["busy_h"]] = busy_h
        values[METRIC["downloaded_gb"]] = downloaded_gb
        values[METRIC["wall_kwh"]] = sums[SUM["metered_kwh"]] + sums[SUM["gap_kwh"]]
        if feeder_over_h is not None:
            values[METRIC["feeder_over_h"]] = feeder_over_h
        self._book_requests(flows, open_requests)
        self._book_terms(sums, flows)
        self._book_capacity(chat_all, flows)

    def _book_requests(self, flows: ServiceFlows, open_requests: FloatArray | None) -> None:
        for kind, span in REQUEST_SPANS.items():
            self.values[span] = getattr(flows, kind).T
        self.values[METRIC["ttft_request_s"]] = flows.ttft_sum_s
        self.values[METRIC["requeued_batch_70b"]] = flows.requeued
        if open_requests is not None:
            self.values[REQUEST_SPANS["expired"]] += open_requests.T

    def _book_terms(self, sums: FloatArray, flows: ServiceFlows) -> None:
        values, config = self.values, self._config.reward
        pay_usd = config.pay_usd_per_on_duty_h * sums[SUM["on_duty_h"]]
        noise_usd = config.noise_usd_per_quiet_h * sums[SUM["quiet_h"]]
        dropout_usd = config.dropout_usd * sums[SUM["dropouts"]]
        owner_usd = sums[SUM["shortfall_usd"]] + sums[SUM["public_usd"]]
        owner_usd += pay_usd + noise_usd + dropout_usd
        if sums[SUM["cellular_h"]].any():
            cellular = sums[SUM["cellular_h"]] / np.maximum(sums[SUM["serving_h"]], 1e-12)
            gb = rewards.cellular_gb(flows.dispatched.sum(axis=1) * cellular, config)
            values[METRIC["cellular_gb"]] = gb
            values[TERM["data"]] -= gb * config.cellular_usd_per_gb
        values[TERM["avoided"]] = rewards.avoided(flows.on_time, self._price_usd)
        values[TERM["energy"]] -= sums[SUM["energy_usd"]]
        values[TERM["wear"]] -= sums[SUM["wear_usd"]]
        values[TERM["owner"]] -= owner_usd
        values[TERM["slo"]] -= rewards.slo_penalty(flows.late + flows.lost, self._price_usd, config)

    def _book_capacity(self, chat_all: FloatArray, flows: ServiceFlows) -> None:
        """Credit what cars spare the peak of the data centre; what they lose, it does after all."""
        if self.capacity.charge_h == 0.0:
            return
        left = chat_all - flows.dispatched[:, :BATCH_70B]
        left += flows.lost[:, :BATCH_70B]
        load, load0 = (
            rewards.load_usd_per_h(requests, self._chat_usd, self._config.dt_h)
            for requests in (left, chat_all)
        )
        self.values[TERM["capacity"]] = self.capacity.advance(load, load0)

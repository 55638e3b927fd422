"""Books a step: money by term, metrics and constraint costs per row of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fleet_env import rewards
from fleet_env.blocks import Block
from fleet_env.config import EnvConfig
from fleet_env.dynamics.serving import ServiceFlows
from fleet_env.metrics import METRICS, REFUSALS, REWARD_TERMS
from fleet_env.rowsums import SUM, RowSums
from fleet_env.types import BATCH_70B, CLASSES, FloatArray
from fleet_env.world import RowInputs

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


class Ledger:
    """Money and counts of the step just played.

    Attributes
    ----------
    values : FloatArray, shape (len(REWARD_TERMS) + len(METRICS), num_envs)
        Terms first [USD, positive = earned], then metrics; overwritten every step.
    """

    def __init__(self, config: EnvConfig, price_usd: FloatArray, num_envs: int) -> None:
        self._config, self._price_usd = config, price_usd
        self.values = np.zeros((len(REWARD_TERMS) + len(METRICS), num_envs))

    @property
    def reward(self) -> FloatArray:
        """Sum of the terms [USD], shape (num_envs,)."""
        total: FloatArray = self.values[: len(REWARD_TERMS)].sum(axis=0)
        return total

    @property
    def costs(self) -> dict[str, FloatArray]:
        """Constraint costs for constrained learners, see `fleet_env.metrics.COSTS`."""
        return {
            "shortfall": self.values[METRIC["shortfalls"]].copy(),
            "slo": self.values[CHAT_MISSES].sum(axis=0),
        }

    def book(
        self,
        blocks: Sequence[Block],
        refused: Sequence[FloatArray],
        parts: Sequence[RowSums],
        flows: ServiceFlows,
        open_requests: FloatArray | None,
        rows: RowInputs,
        *,
        busy_h: FloatArray,
        downloaded_gb: FloatArray,
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
        rows : RowInputs
        busy_h, downloaded_gb : FloatArray, shape (num_envs,)
            Car-hours of work, and weights fetched.
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
        self._book_requests(flows, open_requests)
        self._book_energy(sums, rows)
        self._book_terms(sums, flows)

    def _book_requests(self, flows: ServiceFlows, open_requests: FloatArray | None) -> None:
        for kind, span in REQUEST_SPANS.items():
            self.values[span] = getattr(flows, kind).T
        self.values[METRIC["ttft_request_s"]] = flows.ttft_sum_s
        self.values[METRIC["requeued_batch_70b"]] = flows.requeued
        if open_requests is not None:
            self.values[REQUEST_SPANS["expired"]] += open_requests.T

    def _book_energy(self, sums: FloatArray, rows: RowInputs) -> None:
        metered, gap = sums[SUM["metered_kwh"]], sums[SUM["gap_kwh"]]
        self.values[METRIC["wall_kwh"]] = metered + gap
        self.values[METRIC["carbon_kg"]] = (
            rows.carbon_kg_per_kwh * metered + rows.mean_carbon_kg_per_kwh * gap
        )

    def _book_terms(self, sums: FloatArray, flows: ServiceFlows) -> None:
        values, config = self.values, self._config.reward
        shortfall_usd = rewards.shortfall_cost(
            sums[SUM["shortfalls"]], sums[SUM["shortfall_kwh"]], config
        )
        pay_usd = config.pay_usd_per_on_duty_h * sums[SUM["on_duty_h"]]
        if sums[SUM["cellular_h"]].any():
            cellular = sums[SUM["cellular_h"]] / np.maximum(sums[SUM["serving_h"]], 1e-12)
            gb = rewards.cellular_gb(flows.dispatched.sum(axis=1) * cellular, config)
            values[METRIC["cellular_gb"]] = gb
            values[TERM["data"]] -= gb * config.cellular_usd_per_gb
        values[TERM["avoided"]] = rewards.avoided(flows.on_time, self._price_usd)
        values[TERM["energy"]] -= sums[SUM["energy_usd"]]
        values[TERM["wear"]] -= sums[SUM["wear_usd"]]
        values[TERM["owner"]] -= shortfall_usd + sums[SUM["public_usd"]] + pay_usd
        values[TERM["slo"]] -= rewards.slo_penalty(flows.late + flows.lost, self._price_usd, config)

"""Requests of a batch of fleets: what arrives, what waits, and what cars make of it (kernel 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fleet_env.blocks import Block
from fleet_env.config import EnvConfig
from fleet_env.dispatch import Dispatch
from fleet_env.dynamics.admission import Tape
from fleet_env.dynamics.serving import QueueState, ServiceFlows, serve
from fleet_env.dynamics.serving_setup import ServingSetup
from fleet_env.generators.arrivals import mean_requests_per_min
from fleet_env.generators.exogenous import Exogenous
from fleet_env.generators.start import mean_plugged_linked
from fleet_env.regions import regions_of
from fleet_env.sums import total, weighted
from fleet_env.types import BATCH_70B, CLASSES, TIER_70B, TIERS, FloatArray
from fleet_env.units import MIN_PER_H, S_PER_H

BATCH_SPREAD_H = 4.0  # waiting batch work counts as short by what would clear it in this; design
DRAWN_AREA_STEPS = 1024  # areas times steps of requests drawn at once: they fit the L2 cache
MAX_DRAWN_STEPS = 64
SUB_STEP_MIN = 1.0  # in which the queue is in equilibrium; design
TINY = 1e-12  # keeps 0 / 0 out of shares whose numerator is then 0


class Service:
    """The queue of every row, and the requests that reach it.

    Attributes
    ----------
    requests_per_min : FloatArray, shape (3,)
        Mean requests per minute and car of the fleet that may run in cars, by class.
    region_share : FloatArray, shape (R,)
        Share of the regions in them.
    work_car_h : FloatArray, shape (3,)
        Car-hours per request.
    util : FloatArray, shape (num_envs,)
        Busy share of the serving cars in the step just played.
    busy_h : FloatArray, shape (num_envs,)
        Car-hours of work done in it.
    short, idle : FloatArray, shapes (num_envs, 2) and (num_envs, num_groups)
        What the greedy loader goes by: cars short per tier, cars idle per group, all regions.
    chat_all : FloatArray, shape (num_envs, 2)
        All chat requests of the step just played, those included that must not run in cars.
    tape : Tape, optional
        What serving took down of the step just played, if wanted: see `capacity_worth`.
    """

    queue: QueueState
    flows: ServiceFlows  # of the step just played

    def __init__(
        self, config: EnvConfig, setup: ServingSetup, num_envs: int, *, keep_tape: bool = False
    ) -> None:
        self._config, self._setup, self._num_envs = config, setup, num_envs
        self._keep_tape = keep_tape
        self.tape: Tape | None = None
        self.requests_per_min = self._asked(config) * _eligible(config)
        self.region_share = np.array([region.share for region in regions_of(config)])
        self.work_car_h = setup.work_car_s / S_PER_H
        self._deadline_shares = np.array(list(config.demand.batch_deadline_shares.values()))
        self._holds_batch = (setup.rate[:, BATCH_70B] > 0.0).astype(np.float64)
        areas = num_envs * setup.num_regions
        self._draw_steps = max(1, min(MAX_DRAWN_STEPS, DRAWN_AREA_STEPS // areas))

    def begin(self, exo: Exogenous, cards: Sequence[EnvConfig]) -> None:
        """Start an episode with nothing queued and nothing in flight; a card for every row."""
        asked = np.array([self._asked(card) for card in _distinct(cards)])
        eligible = np.array([_eligible(card) for card in _distinct(cards)])
        per_fleet = asked * eligible * self._config.num_cars
        level = np.broadcast_to(per_fleet, (self._num_envs, len(CLASSES)))
        self._level = (level[:, None] * self.region_share[:, None]).reshape(-1, len(CLASSES)).T
        chat = eligible[:, :BATCH_70B]
        self._chat_all = np.divide(1.0, chat, out=np.zeros(chat.shape), where=chat > 0.0)
        rows, regions, groups = self._num_envs, self._setup.num_regions, self._setup.num_groups
        self._exo = exo
        self.queue = QueueState.zeros(rows, self._setup)
        self.flows = no_flows(rows, regions, groups)
        self.util, self.busy_h = np.zeros(rows), np.zeros(rows)
        self.short: FloatArray = np.zeros((rows, len(TIERS)))
        self.idle: FloatArray = np.zeros((rows, groups))
        self.chat_all: FloatArray = np.zeros((rows, BATCH_70B))
        self._serving: FloatArray = np.zeros((rows, regions, groups))

    def play(self, step: int, blocks: Sequence[Block], parts: Sequence[Dispatch]) -> None:
        """Serve the requests of a step with the cars that `dispatch` found."""
        rows = self._num_envs
        cars = per_row(rows, blocks, [part.profile for part in parts])
        lost = per_row(rows, blocks, [part.lost_cars for part in parts])
        stopped = per_row(rows, blocks, [part.stopped for part in parts])
        chat, batch = self._arrivals(step)
        self.tape = Tape() if self._keep_tape else None
        self.flows = serve(
            self._setup,
            cars,
            chat,
            self.queue.batch_due,
            batch,
            self.queue.running,
            lost,
            self._off_share(stopped),
            SUB_STEP_MIN,
            self.tape,
        )
        self.chat_all = self.flows.arrived[:, :BATCH_70B] * self._chat_all
        serving = cars.sum(axis=3)
        busy = (self.flows.util * serving).reshape(rows, -1).sum(axis=1)
        self.util = busy / np.maximum(serving.reshape(rows, -1).sum(axis=1), TINY)
        self.busy_h = busy / MIN_PER_H
        self._serving = cars[..., -1].copy()
        if self._setup.places_models:
            self._note_shortage()

    def open_requests(self) -> FloatArray:
        """Count what is queued or in flight: at the horizon the data centre takes it."""
        left = self.queue.running.copy()
        left[:, BATCH_70B] += self.queue.batch_due.sum(axis=1)
        return left

    def _arrivals(self, step: int) -> tuple[FloatArray, FloatArray]:
        """Eligible requests of a step.

        They are drawn for some steps at once: what a draw is does not depend on when it is made.

        Returns
        -------
        chat : FloatArray, shape (num_envs, R, 2, minutes)
        batch : FloatArray, shape (num_envs, deadlines)
        """
        ahead = step % self._draw_steps
        if ahead == 0:
            num_steps = min(self._draw_steps, self._config.num_steps - step)
            self._draw(step, num_steps)
        return self._chat[ahead], self._batch[ahead]

    def _draw(self, step: int, num_steps: int) -> None:
        """Draw the requests of some steps; chat lies in memory as `serve` works through it."""
        shape = (len(CLASSES), self._num_envs, -1, num_steps, self._config.step_min)
        requests = self._exo.requests(self._level, step, num_steps).reshape(shape)
        chat = requests[:BATCH_70B].transpose(3, 2, 4, 0, 1).astype(np.float64, order="C")
        self._chat = chat.transpose(0, 4, 1, 3, 2)
        batch = _over_regions(requests[BATCH_70B].astype(np.float64).sum(axis=3))
        self._batch = batch.T[..., None] * self._deadline_shares

    def _asked(self, card: EnvConfig) -> FloatArray:
        """Mean requests per minute and car of a card, by class.

        People ask the same whether or not cars save and copy their work.
        """
        work_car_s = self._setup.work_car_s / self._setup.extra_work
        return mean_requests_per_min(card.demand, work_car_s, mean_plugged_linked(card))

    def _off_share(self, stopped: FloatArray) -> FloatArray:
        """Share of the cars that could hold batch work and served, now switched off on purpose."""
        served = weighted(_over_regions(self._serving), self._holds_batch)
        off = weighted(stopped, self._holds_batch)
        share: FloatArray = np.minimum(off / np.maximum(served, TINY), 1.0)
        return share

    def _note_shortage(self) -> None:
        turned_away = self.flows.diverted * (self.work_car_h / self._config.dt_h)
        queued = self.queue.batch_due.sum(axis=1) * self.work_car_h[BATCH_70B] / BATCH_SPREAD_H
        self.short = turned_away[:, :BATCH_70B]
        self.short[:, TIER_70B] += queued
        self.idle = _over_regions(self._serving * (1.0 - self.flows.util))


def _eligible(card: EnvConfig) -> FloatArray:
    """Share of the requests of each class that may run in cars, shape (3,)."""
    return np.array([1.0 - card.demand.trusted_only_share] * BATCH_70B + [1.0])


def _distinct(cards: Sequence[EnvConfig]) -> Sequence[EnvConfig]:
    """One card where all rows have the same, else all of them."""
    return cards if any(card is not cards[0] for card in cards) else cards[:1]


def per_row(num_envs: int, blocks: Sequence[Block], parts: Sequence[FloatArray]) -> FloatArray:
    """Add the parts of the blocks up by row, in the order of the blocks."""
    if len(parts) == 1:
        return parts[0]
    total = np.zeros((num_envs, *parts[0].shape[1:]))
    for block, part in zip(blocks, parts, strict=True):
        total[block.row_lo : block.row_hi] += part
    return total


def _over_regions(values: FloatArray) -> FloatArray:
    """Add up (num_envs, R, ...) over the regions."""
    return total([values[:, region] for region in range(values.shape[1])])


def no_flows(num_envs: int, num_regions: int, num_groups: int) -> ServiceFlows:
    """Flows of a step in which nothing happened: what the first observation shows."""
    rows, by_class = np.zeros(num_envs), np.zeros((num_envs, len(CLASSES)))
    by_group = np.zeros((num_envs, num_regions, num_groups))
    return ServiceFlows(
        arrived=by_class,
        dispatched=by_class,
        on_time=by_class,
        late=by_class,
        lost=by_class,
        diverted=by_class,
        expired=by_class,
        requeued=rows,
        ttft_sum_s=rows,
        util=by_group,
    )

"""The simulation of a batch of fleets: the order of the kernels and the loop over blocks, no formulas of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fleet_env import draws, rewards
from fleet_env.blocks import for_each, split_blocks
from fleet_env.config import EnvConfig
from fleet_env.dispatch import Dispatch, dispatch, refusals
from fleet_env.dynamics import mobility, thermal
from fleet_env.dynamics.energy import bus_power_kw, full_load_heat_w, load_evse, wall_kw
from fleet_env.dynamics.roofline import accelerator, datacentre_price
from fleet_env.dynamics.serving import QueueState, ServiceFlows, serve, serving_setup
from fleet_env.generators.arrivals import batch_arrivals, chat_arrivals, mean_requests_per_min
from fleet_env.generators.cars import draw_params
from fleet_env.generators.demand_sources import load_demand
from fleet_env.generators.exogenous import Exogenous, draw_exogenous
from fleet_env.generators.start import mean_plugged_linked, start_state
from fleet_env.ledger import METRIC, TERM, Ledger
from fleet_env.sensors import CarSensors, FleetSensors, duty_mask
from fleet_env.settle import PowerTable, RowInputs, settle
from fleet_env.types import BATCH_70B, TIER_70B, TIERS, BoolArray, FloatArray, IntArray
from fleet_env.units import G_PER_KG, MIN_PER_H, S_PER_H
from fleet_env.world import World, build_world

BATCH_SPREAD_H = 4.0  # batch work that waits counts as short by what would clear it in this time; design
MILD_C = 20.0  # ambient at which the powers of a car are quoted to the dispatcher


@dataclass(frozen=True, slots=True)
class History:
    """What the viewer draws of the episode so far, shape (num_envs, num_steps), in cars."""

    demand: FloatArray  # eligible work that arrived
    duty: FloatArray  # on duty
    busy: FloatArray  # work done

    @classmethod
    def zeros(cls, num_envs: int, num_steps: int) -> History:
        """Nothing played yet."""
        return cls(*(np.zeros((num_envs, num_steps), np.float32) for _ in range(3)))


class FleetSim:
    """A batch of fleets of one card, played in step.

    Parameters
    ----------
    config : EnvConfig
    num_envs : int
        Rows of the batch.
    split : str
        Where the scenarios come from.
    car_reward : bool
        Also keep every car's own share of the reward, `world.car_usd`.
    """

    world: World
    exo: Exogenous
    queue: QueueState
    flows: ServiceFlows  # of the step just played
    mask: BoolArray  # flat: cars that may be on duty now
    soc: FloatArray  # flat: state of charge now

    def __init__(
        self, config: EnvConfig, num_envs: int, split: str, *, car_reward: bool = False
    ) -> None:
        self.config, self.num_envs, self.split = config, num_envs, split
        self._car_reward = car_reward
        names = list(config.fleet.accelerators)
        self.setup = serving_setup(config, names)
        chips = [accelerator(name) for name in names]
        self._idle_w = np.array([chip.idle_w for chip in chips])
        self._busy_w = np.array([chip.busy_w for chip in chips])
        self._evse_table = load_evse()
        self._tables = mobility.tables(config.fleet)
        self._trace = load_demand(config.demand.source, config.time_zone)
        self.requests_per_min = mean_requests_per_min(
            config.demand, self.setup.work_car_s, mean_plugged_linked(config)
        )
        self.blocks = split_blocks(num_envs, config.num_cars)
        self.price_usd = rewards.request_prices(config, datacentre_price(config.datacentre))
        self.ledger = Ledger(config, self.price_usd, num_envs)
        self._cars = CarSensors(num_envs, config.num_cars)
        self._fleet = FleetSensors(
            config, self.setup, self.price_usd, self.requests_per_min, num_envs
        )
        self._heat_w = full_load_heat_w(self._busy_w, **self._power_settings())
        self.scenario_index = np.zeros(num_envs, np.int64)
        self.step_index = 0

    @property
    def t_h(self) -> float:
        """Time now [h since the start of the episode]."""
        return self.step_index * self.config.dt_h

    def reset(self, index: IntArray) -> None:
        """Start the scenarios `index` of the split, one per row, shape (num_envs,)."""
        config, setup = self.config, self.setup
        self.scenario_index = np.asarray(index, np.int64).copy()
        self.step_index = 0
        key = draws.scenario_key(self.split, self.scenario_index)
        self.exo = draw_exogenous(config, self.split, key, self._trace)
        params = draw_params(config, key, list(setup.accelerators))
        state = start_state(
            config,
            key,
            params,
            self.exo.weekday[:, 0],
            fits=setup.tier_fits.any(axis=1),
            resident_gb=np.bincount(setup.group_accelerator, weights=setup.weights_gb),
        )
        self.world = build_world(
            config,
            setup,
            self._evse_table,
            params,
            state,
            self.num_envs,
            car_reward=self._car_reward,
        )
        self.history = History.zeros(self.num_envs, config.num_steps)
        self.queue = QueueState.zeros(self.num_envs, setup)
        self.flows = no_flows(self.num_envs, setup.num_groups)
        self._keys = draws.car_keys(key, draws.Stream.ARRIVAL, config.num_cars)
        self._pack_c = self.exo.ambient_c[:, 0].copy()
        self._serving = np.zeros(self.num_envs)
        self._util = np.zeros(self.num_envs)
        self._short = np.zeros((self.num_envs, len(TIERS)))
        self._idle = np.zeros((self.num_envs, setup.num_groups))
        self._cars.begin(self.world, *self._quoted_kw())
        self._look()

    def step(self, duty: BoolArray) -> None:
        """Play one decision step.

        Parameters
        ----------
        duty : BoolArray, shape (num_envs * num_cars,)
            The agent's bits; overwritten with what is allowed.
        """
        config, world, t_h = self.config, self.world, self.t_h
        refused = duty & ~self.mask
        duty &= self.mask
        speed = thermal.derate(self._inlet_c, config.thermal)
        counts = for_each(
            self.blocks, lambda b: refusals(world, b, refused[b.lo : b.hi], self._hot, t_h)
        )
        if world.car_usd is not None:
            world.car_usd[:] = 0.0
        parts = for_each(
            self.blocks,
            lambda b: dispatch(
                world,
                b,
                duty,
                speed.ravel(),
                t_h,
                config.step_min,
                short=self._short,
                idle=self._idle,
            ),
        )
        self._serve(parts)
        rows, power = self._row_inputs(), self._power(speed)
        jobs = list(zip(self.blocks, parts, strict=True))
        sums = for_each(
            jobs, lambda job: settle(world, *job, rows, power, self._keys, self._tables)
        )
        self.step_index += 1
        left = self._open_requests() if self.step_index == config.num_steps else None
        self.ledger.book(
            self.blocks,
            counts,
            [part for part, _ in sums],
            self.flows,
            left,
            rows,
            busy_h=self._busy_h,
            downloaded_gb=self._per_row([part.downloaded_gb for part in parts]),
        )
        if world.car_usd is not None:
            self._share_credit(parts)
        self._pack_c = thermal.twin_pack_c(self._pack_c, rows.ambient_c, config.dt_h, config.thermal)
        self._remember()
        for part, (_, moved) in zip(parts, sums, strict=True):
            self._cars.worked(world, part.cars)
            self._cars.moved(world, moved)
        self._look()

    def observe(self) -> dict[str, Any] | FloatArray:
        """Observation of every row at the start of the coming step, freshly allocated."""
        num_cars = self.config.num_cars
        state, per_car = self.world.state, np.float32(1.0 / num_cars)
        shares = np.array(
            [
                np.add.reduce(flags.reshape(self.num_envs, num_cars), axis=1, dtype=np.float32)
                for flags in (state.duty, self.mask, state.plugged)
            ]
        )
        fleet = self._fleet.read(
            self.exo, self.step_index, self.flows, self.queue, self._util, shares * per_car
        )
        if self.config.observation == "fleet":
            return fleet
        return {
            "cars": self._cars.read(self.world, self.soc, self.t_h),
            "fleet": fleet,
            "mask": self.mask.reshape(self.num_envs, num_cars).astype(np.int8),
        }

    def _look(self) -> None:
        """Work out what telemetry shows at the start of a step: charge, heat, mask."""
        ambient_c = self.exo.ambient_c[:, self.step_index, None, None]
        heat_w = self._heat_w[:, None]
        garage = np.array([False, True])
        self._inlet_c = thermal.inlet_c(ambient_c, heat_w, garage, self.config.thermal)
        self._hot = (self._inlet_c >= self.config.thermal.off_from_c).ravel()
        self.soc = self.world.twin_soc(slice(None), self.t_h)
        self.soc -= self.world.state.gap
        self.mask = duty_mask(self.world, self.soc, self._hot, self.t_h)

    def _serve(self, parts: list[Dispatch]) -> None:
        """Kernel 4: requests of the step to the cars that serve."""
        setup, step = self.setup, self.step_index
        cars = self._per_row([part.profile for part in parts])
        lost = self._per_row([part.lost_cars for part in parts])
        stopped = self._per_row([part.stopped for part in parts])
        chat, batch = self._arrivals(step)
        self.flows = serve(
            setup,
            cars,
            chat,
            self.queue.batch_due,
            batch,
            self.queue.running,
            lost,
            np.minimum(stopped / np.maximum(self._serving, 1e-12), 1.0),
        )
        serving = cars.sum(axis=2)
        busy = (self.flows.util * serving).sum(axis=1)
        self._util = busy / np.maximum(serving.sum(axis=1), 1e-12)
        self._busy_h = busy / MIN_PER_H
        self._serving = cars[:, :, -1].sum(axis=1)
        if self.world.places_models:
            self._note_shortage(cars[:, :, -1])

    def _note_shortage(self, cars: FloatArray) -> None:
        """What the greedy loader goes by: work that no car could take, and cars that idled."""
        work_h = self.setup.work_car_s / S_PER_H
        turned_away = self.flows.diverted * work_h / self.config.dt_h
        queued = self.queue.batch_due.sum(axis=1) * work_h[BATCH_70B] / BATCH_SPREAD_H
        self._short = turned_away[:, :BATCH_70B]
        self._short[:, TIER_70B] += queued
        self._idle = cars * (1.0 - self.flows.util)

    def _per_row(self, parts: Sequence[FloatArray]) -> FloatArray:
        """Add the parts of the blocks up by row, in the order of the blocks."""
        total = np.zeros((self.num_envs, *parts[0].shape[1:]))
        for block, part in zip(self.blocks, parts, strict=True):
            total[block.row_lo : block.row_hi] += part
        return total

    def _share_credit(self, parts: list[Dispatch]) -> None:
        """Split what a row earned and lost with requests over its cars, by their serving time."""
        values = self.ledger.values
        shared = values[[TERM["avoided"], TERM["slo"], TERM["data"]]].sum(axis=0)
        served = [part.flows.serve_min * part.weight for part in parts]
        weights = [
            np.bincount(part.row, weights=minutes, minlength=block.num_rows)
            for part, minutes, block in zip(parts, served, self.blocks, strict=True)
        ]
        per_minute = shared / np.maximum(self._per_row(weights), 1e-12)
        for block, part, minutes in zip(self.blocks, parts, served, strict=True):
            row = part.row + block.row_lo
            self.world.charge(part.cars, -per_minute[row] * minutes)

    def _remember(self) -> None:
        """Keep what the viewer draws: eligible demand, cars on duty, work done [cars]."""
        now, dt_h = self.step_index - 1, self.config.dt_h
        work_h = self.flows.arrived @ (self.setup.work_car_s / S_PER_H)
        self.history.demand[:, now] = work_h / dt_h
        self.history.duty[:, now] = self.ledger.values[METRIC["on_duty_h"]] / dt_h
        self.history.busy[:, now] = self._busy_h / dt_h

    def _arrivals(self, step: int) -> tuple[FloatArray, FloatArray]:
        """Eligible chat requests (num_envs, 2, minutes) and batch requests (num_envs, deadlines)."""
        demand, minute0 = self.config.demand, step * self.config.step_min
        rates = self.exo.demand_rates(step)
        level = (self.requests_per_min * self.config.num_cars).astype(np.float32)
        eligible = np.float32(1.0 - demand.trusted_only_share)
        chat_mean = rates[:BATCH_70B] * (level[:BATCH_70B, None, None] * eligible)
        chat = chat_arrivals(chat_mean, self.exo.demand_key, minute0)
        batch_mean = rates[BATCH_70B].sum(axis=1) * level[BATCH_70B]
        shares = np.array(list(demand.batch_deadline_shares.values()))
        batch = batch_arrivals(batch_mean, self.exo.demand_key, minute0, shares)
        return chat.transpose(1, 0, 2).astype(np.float64), batch.T.astype(np.float64)

    def _row_inputs(self) -> RowInputs:
        exo, step = self.exo, self.step_index
        cum_h = exo.cheap_cum_h[:, step + 1 :]
        return RowInputs(
            t_h=self.t_h,
            dt_h=self.config.dt_h,
            price=exo.price_usd_per_kwh[:, step].copy(),
            ref_price=exo.ref_price_usd_per_kwh[:, step].copy(),
            refill_price=exo.threshold_usd_per_kwh[:, step].copy(),
            cheap=exo.cheap[:, step].copy(),
            cheap_cum=cum_h - cum_h[:, :1],
            ambient_c=exo.ambient_c[:, step].copy(),
            pack_c=self._pack_c,
            carbon_kg_per_kwh=exo.carbon_g_per_kwh[:, step] / G_PER_KG,
            mean_carbon_kg_per_kwh=exo.carbon_g_per_kwh.mean(axis=1) / G_PER_KG,
            clock_h=exo.local_hour[:, 0].copy(),
            weekday=exo.weekday[:, 0].copy(),
        )

    def _power(self, speed: FloatArray) -> PowerTable:
        """Power of a car awake and serving, by row, group and closed garage; slowed by heat."""
        chips = self.setup.group_accelerator
        idle_w, busy_w = self._idle_w[chips, None], self._busy_w[chips, None]
        inlet_c, settings = self._inlet_c[:, chips], self._power_settings()
        util = self.flows.util[:, :, None] * speed[:, chips]
        awake_kw = bus_power_kw(np.zeros_like(util), idle_w, busy_w, inlet_c, **settings)
        serve_kw = bus_power_kw(util, idle_w, busy_w, inlet_c, **settings)
        tables = (awake_kw, serve_kw, wall_kw(awake_kw), wall_kw(serve_kw))
        return PowerTable(*(table.astype(np.float32).ravel() for table in tables))

    def _power_settings(self) -> dict[str, Any]:
        serving = self.config.serving
        return {
            "overhead_w": serving.overhead_w,
            "eta_dcdc": serving.eta_dcdc,
            "cooling": self.config.thermal.cooling,
        }

    def _quoted_kw(self) -> tuple[FloatArray, FloatArray]:
        """Wall power of each accelerator awake and at full work, in mild air [kW]."""
        air_c = np.full(self._idle_w.shape, MILD_C)
        return tuple(
            wall_kw(bus_power_kw(util, self._idle_w, self._busy_w, air_c, **self._power_settings()))
            for util in (np.zeros_like(air_c), np.ones_like(air_c))
        )

    def _open_requests(self) -> FloatArray:
        """What is queued or in flight at the horizon, by class; the data centre takes it."""
        left = self.queue.running.copy()
        left[:, BATCH_70B] += self.queue.batch_due.sum(axis=1)
        return left


def no_flows(num_envs: int, num_groups: int) -> ServiceFlows:
    """Flows of a step in which nothing happened: what the first observation shows."""
    zeros = [np.zeros((num_envs, 3)) for _ in range(7)]
    rows = np.zeros(num_envs)
    return ServiceFlows(*zeros, requeued=rows, ttft_sum_s=rows, util=np.zeros((num_envs, num_groups)))

"""The simulation of a batch of fleets: order of the kernels and loop over blocks, no formulas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fleet_env import draws, rewards
from fleet_env.blocks import DENSE_CARS, for_each, split_blocks
from fleet_env.config import EnvConfig
from fleet_env.dispatch import Dispatch, dispatch, refusals
from fleet_env.dynamics import mobility, thermal
from fleet_env.dynamics.duty import count_by
from fleet_env.dynamics.energy import load_evse
from fleet_env.dynamics.roofline import accelerator, datacentre_price
from fleet_env.dynamics.serving import QueueState, ServiceFlows
from fleet_env.dynamics.serving_setup import serving_setup
from fleet_env.generators.cars import draw_params
from fleet_env.generators.demand_sources import load_demand
from fleet_env.generators.exogenous import Exogenous, check_outside, draw_exogenous
from fleet_env.generators.start import mean_plugged_linked, start_state
from fleet_env.ledger import METRIC, TERM, Ledger
from fleet_env.sensors import CarSensors, FleetSensors, duty_mask
from fleet_env.service import Service, per_row
from fleet_env.settle import PowerTable, settle
from fleet_env.timetable import Chips, Timetable, make_timetable
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.world import RowInputs, World, build_world

TINY = 1e-12  # keeps 0 / 0 out of shares whose numerator is then 0


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
    table: Timetable
    history: History
    mask: BoolArray  # flat: cars that may be on duty now
    soc: FloatArray  # flat: state of charge now

    def __init__(
        self, config: EnvConfig, num_envs: int, split: str, *, car_reward: bool = False
    ) -> None:
        self.config, self.num_envs, self.split = config, num_envs, split
        self._car_reward = car_reward
        names = list(config.fleet.accelerators)
        self.setup = serving_setup(config, names)
        self._chips = Chips.of(config, [accelerator(name) for name in names])
        self._evse_table = load_evse()
        self._tables = mobility.tables(config.fleet)
        check_outside(config)
        demand = config.demand
        self._trace = load_demand(
            demand.source, config.time_zone, fill=demand.fill, short=demand.short
        )
        self.service = Service(config, self.setup, mean_plugged_linked(config), num_envs)
        self.blocks = split_blocks(num_envs, config.num_cars)
        self.price_usd = rewards.request_prices(config, datacentre_price(config.datacentre))
        self.ledger = Ledger(config, self.price_usd, num_envs)
        single = config.observation != "fleet"
        self._cars = CarSensors(num_envs, config.num_cars) if single else None
        self._fleet = FleetSensors(
            config,
            self.service.work_car_h,
            self.price_usd,
            self.service.requests_per_min,
            self.setup.max_due,
            num_envs,
        )
        self.scenario_index = np.zeros(num_envs, np.int64)
        self.step_index = 0

    @property
    def t_h(self) -> float:
        """Time now [h since the start of the episode]."""
        return self.step_index * self.config.dt_h

    @property
    def queue(self) -> QueueState:
        """What waits and what is in flight."""
        return self.service.queue

    @property
    def flows(self) -> ServiceFlows:
        """Requests of the step just played."""
        return self.service.flows

    def reset(self, index: IntArray) -> None:
        """Start the scenarios `index` of the split, one per row, shape (num_envs,)."""
        config, setup = self.config, self.setup
        self.scenario_index = np.asarray(index, np.int64).copy()
        self.step_index = 0
        key = draws.scenario_key(self.split, self.scenario_index)
        self.exo = draw_exogenous(config, self.split, key, self._trace)
        self.table = make_timetable(config, self.exo, self._chips, setup.group_accelerator)
        params = draw_params(config, key, list(setup.accelerators))
        state = start_state(
            config,
            key,
            params,
            self.exo.weekday[:, 0],
            resident_gb=setup.flash_gb,
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
        self._keys = draws.car_keys(key, draws.Stream.ARRIVAL, config.num_cars)
        self._begin_rows()
        if self._cars is not None:
            self._cars.begin(self.world, self._chips.quoted_kw(0.0), self._chips.quoted_kw(1.0))
        self._fleet.begin(self.exo)
        self._look()

    def _begin_rows(self) -> None:
        self.history = History.zeros(self.num_envs, self.config.num_steps)
        self.service.begin(self.exo)
        self._clock_h = self.exo.local_hour[:, 0].copy()
        self._weekday = self.exo.weekday[:, 0].copy()
        self._pack_c = self.exo.ambient_c[:, 0].copy()

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
        if world.car_usd is not None:
            world.car_usd[:] = 0.0
        hot, speed = self.table.hot[self.step_index], self.table.speed[self.step_index]
        counts = for_each(self.blocks, lambda b: refusals(world, b, refused[b.lo : b.hi], hot, t_h))
        parts = for_each(
            self.blocks,
            lambda b: dispatch(
                world,
                b,
                duty,
                speed.ravel(),
                t_h,
                config.step_min,
                short=self.service.short,
                idle=self.service.idle,
            ),
        )
        self.service.play(self.step_index, self.blocks, parts)
        rows, power = self._row_inputs(), self._power()
        jobs = list(zip(self.blocks, parts, strict=True))
        sums = for_each(
            jobs, lambda job: settle(world, *job, rows, power, self._keys, self._tables)
        )
        self.step_index += 1
        left = self.service.open_requests() if self.step_index == config.num_steps else None
        self.ledger.book(
            self.blocks,
            counts,
            [part for part, _ in sums],
            self.flows,
            left,
            rows,
            busy_h=self.service.busy_h,
            downloaded_gb=per_row(
                self.num_envs, self.blocks, [part.downloaded_gb for part in parts]
            ),
        )
        if world.car_usd is not None:
            self._share_credit(parts)
        self._pack_c = thermal.twin_pack_c(
            self._pack_c, rows.ambient_c, config.dt_h, config.thermal
        )
        self._remember()
        if self._cars is not None:
            for part, (_, moved) in zip(parts, sums, strict=True):
                self._cars.worked(world, part.cars)
                self._cars.moved(world, moved)
        self._look()

    def observe(self) -> dict[str, Any] | FloatArray:
        """Observation of every row at the start of the coming step, freshly allocated."""
        shape = (self.num_envs, self.config.num_cars)
        state = self.world.state
        shares = np.empty((3, self.num_envs))
        for share, flags in zip(shares, (state.duty, self.mask, state.plugged), strict=True):
            share[:] = np.add.reduce(flags.reshape(shape), axis=1, dtype=np.int32)
        shares /= self.config.num_cars
        fleet = self._fleet.read(self.step_index, self.flows, self.queue, self.service.util, shares)
        if self._cars is None:
            return fleet
        return {
            "cars": self._cars.read(self.world, self.soc, self.t_h),
            "fleet": fleet,
            "mask": self.mask.reshape(shape).astype(np.int8),
        }

    def _look(self) -> None:
        """Work out what telemetry shows at the start of a step: charge and mask."""
        world, num = self.world, self.num_envs * self.config.num_cars
        hot = self.table.hot[self.step_index] if self.table.any_hot[self.step_index] else None
        self.soc, self.mask = np.empty(num, np.float32), np.empty(num, np.bool_)

        def look(lo: int, hi: int) -> None:
            for start in range(lo, hi, DENSE_CARS):
                cars = slice(start, min(start + DENSE_CARS, hi))
                soc = world.twin_soc(cars, self.t_h, out=self.soc[cars])
                soc -= world.state.gap[cars]
                duty_mask(world, cars, soc, hot, self.t_h, out=self.mask[cars])

        for_each(self.blocks, lambda b: look(b.lo, b.hi))

    def _share_credit(self, parts: list[Dispatch]) -> None:
        """Split what a row earned and lost with requests over its cars, by their serving time.

        Where none served, what completed was in flight before: all cars of the row share it.
        """
        values = self.ledger.values
        shared = values[[TERM["avoided"], TERM["slo"], TERM["data"]]].sum(axis=0)
        served = [part.flows.serve_min * part.weight for part in parts]
        weights = [
            count_by(part.row, minutes, block.num_rows)
            for part, minutes, block in zip(parts, served, self.blocks, strict=True)
        ]
        total = per_row(self.num_envs, self.blocks, weights)
        per_minute = np.where(total > 0, shared, 0.0) / np.maximum(total, TINY)
        leftover = np.where(total > 0, 0.0, shared) / self.config.num_cars
        for block, part, minutes in zip(self.blocks, parts, served, strict=True):
            row = part.row + block.row_lo
            self.world.charge(part.cars, -per_minute[row] * minutes)
            span = np.arange(block.lo, block.hi)
            self.world.charge(span, -leftover[self.world.derived.row[span]])

    def _remember(self) -> None:
        """Keep what the viewer draws: eligible demand, cars on duty, work done [cars]."""
        now, per_h = self.step_index - 1, 1.0 / self.config.dt_h
        self.history.demand[:, now] = (self.flows.arrived @ self.service.work_car_h) * per_h
        self.history.duty[:, now] = self.ledger.values[METRIC["on_duty_h"]] * per_h
        self.history.busy[:, now] = self.service.busy_h * per_h

    def _row_inputs(self) -> RowInputs:
        table, step = self.table, self.step_index
        cheap_cum, cheap_from = self.exo.cheap_ahead(step)
        return RowInputs(
            t_h=self.t_h,
            dt_h=self.config.dt_h,
            price=table.price[step],
            ref_price=table.ref_price[step],
            refill_price=table.refill_price[step],
            cheap=table.cheap[step],
            cheap_cum=cheap_cum,
            cheap_from=cheap_from,
            ambient_c=table.ambient_c[step],
            pack_c=self._pack_c,
            carbon_kg_per_kwh=table.carbon_kg_per_kwh[step],
            mean_carbon_kg_per_kwh=table.mean_carbon_kg_per_kwh[step],
            clock_h=self._clock_h,
            weekday=self._weekday,
        )

    def _power(self) -> PowerTable:
        """Power of a car awake and serving, by row, group and air; slowed by heat."""
        table, step, group_chip = self.table, self.step_index, self.setup.group_accelerator
        util = self.flows.util[:, :, None] * table.speed[step][:, group_chip]
        serve_kw = self._chips.bus_kw(util, table.inlet_c[step], group_chip).ravel()
        return PowerTable(
            table.awake_kw[step],
            serve_kw.astype(np.float32),
            table.awake_wall_kw[step],
            self._chips.wall_kw(serve_kw).astype(np.float32),
        )

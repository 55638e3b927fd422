"""The simulation of a batch of fleets: order of the kernels and loop over blocks, no formulas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fleet_env import draws, rewards
from fleet_env.blocks import DENSE_CARS, for_each, split_blocks
from fleet_env.car_sensors import CarSensors
from fleet_env.config import EnvConfig
from fleet_env.dispatch import Dispatch, dispatch
from fleet_env.disruptions import Opening, cut_off, open_step
from fleet_env.dynamics import mobility, thermal
from fleet_env.dynamics.duty import count_by
from fleet_env.dynamics.energy import load_evse
from fleet_env.dynamics.roofline import accelerator, datacentre_price
from fleet_env.dynamics.serving import QueueState, ServiceFlows
from fleet_env.dynamics.serving_setup import serving_setup
from fleet_env.generators.cars import draw_params
from fleet_env.generators.demand_sources import load_traces
from fleet_env.generators.exogenous import Exogenous, check_outside, draw_exogenous
from fleet_env.generators.outages import Outages
from fleet_env.generators.start import start_state
from fleet_env.journeys import EventKeys
from fleet_env.ledger import METRIC, Ledger
from fleet_env.memory import check_memory
from fleet_env.refusals import Refused, refusals
from fleet_env.regions import num_regions
from fleet_env.rowsums import RowSums
from fleet_env.sensors import FleetSensors
from fleet_env.service import Service, per_row
from fleet_env.settle import PowerTable, settle
from fleet_env.telemetry import Telemetry, duty_mask
from fleet_env.timetable import Chips, Timetable, make_timetable
from fleet_env.transformers import Transformers
from fleet_env.types import BATCH_70B, BoolArray, FloatArray, IntArray
from fleet_env.uncertain import cards_of_rows, check_randomise, draw_uncertain
from fleet_env.world import ALLOWED, AreaInputs, Gates, World, build_world

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
    mask: BoolArray  # flat: cars that may be on duty now, as far as the dispatcher was told
    soc: FloatArray  # flat: state of charge now, as reports show it
    _opening: Opening
    _told_gates: Gates  # as far as the dispatcher knows where its cars are
    drawn: dict[str, FloatArray]  # uncertain parameters of the rows
    transformers: Transformers | None

    def __init__(
        self, config: EnvConfig, num_envs: int, split: str, *, car_reward: bool = False
    ) -> None:
        self.config, self.num_envs, self.split = config, num_envs, split
        self._car_reward = car_reward
        names = list(config.fleet.accelerators)
        check_memory(config, num_envs)
        check_randomise(config)
        self.setup = serving_setup(config, names)
        self._accelerators = [accelerator(name) for name in names]
        self._evse_table = load_evse()
        self._tables = mobility.tables(config.fleet, config.telemetry)
        check_outside(config)
        self._traces = load_traces(config)
        self.service = Service(config, self.setup, num_envs)
        self.blocks = split_blocks(num_envs, config.num_cars, together=config.feeder.homes)
        per_token = datacentre_price(config.datacentre)
        self.price_usd = rewards.request_prices(config, per_token)
        worth = rewards.average_prices(config, per_token) * self.service.requests_per_min
        charge_h = rewards.capacity_charge_h(config, self._traces, worth[:BATCH_70B])
        self.ledger = Ledger(config, self.price_usd, num_envs, charge_h)
        self.telemetry = Telemetry(config)
        single = config.observation != "fleet"
        self._cars = CarSensors(config, num_envs) if single else None
        self._fleet = FleetSensors(
            config,
            self.service.work_car_h,
            self.price_usd,
            self.service.requests_per_min,
            self.setup.max_due,
            num_envs,
            peak_charge_usd=charge_h,
        )
        self.scenario_index = np.zeros(num_envs, np.int64)
        self.step_index = 0

    @property
    def t_h(self) -> float:
        """Time now [h since the start of the episode]."""
        return self.step_index * self.config.dt_h

    @property
    def gates(self) -> Gates:
        """What keeps cars off duty now besides their stay."""
        return self._opening.gates

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
        self.drawn = draw_uncertain(config, key)
        cards = cards_of_rows(config, self.drawn, self.num_envs)
        self.exo = draw_exogenous(config, self.split, key, self._traces)
        self.outages = Outages(config, self.exo.shocks, self.num_envs)
        by_area = [card for card in cards for _ in range(num_regions(config))]
        self.chips = Chips.of(by_area, self._accelerators)
        self.table = make_timetable(config, self.exo, self.chips, setup.group_accelerator)
        self._throughput = np.array([[[card.serving.throughput_factor]] for card in by_area])
        self._wear_usd = np.array([rewards.wear_usd_per_fade_kwh(c.reward) for c in by_area])
        self._shortfall_usd = np.array([card.reward.shortfall_usd for card in by_area])
        params = draw_params(config, key, list(setup.accelerators), self.drawn)
        state = start_state(config, key, params, self.exo.local, resident_gb=setup.flash_gb)
        self.world = build_world(
            config,
            setup,
            self._evse_table,
            params,
            state,
            self.num_envs,
            car_reward=self._car_reward,
        )
        self._keys = EventKeys(draws.car_keys(key, draws.Stream.ARRIVAL, config.num_cars), key)
        self.transformers = None
        if self.exo.home_load is not None:
            self.transformers = Transformers(self.world, key, self.exo.home_load)
        self.service.begin(self.exo, cards)
        self.ledger.begin(cards)
        self._begin_rows()
        self._fleet.begin(self.exo)
        self._open_step(None)

    def _begin_rows(self) -> None:
        self.history = History.zeros(self.num_envs, self.config.num_steps)
        self._pack_c = self.exo.ambient_c[:, 0].copy()

    def step(self, duty: BoolArray) -> None:
        """Play one decision step.

        Parameters
        ----------
        duty : BoolArray, shape (num_envs * num_cars,)
            The agent's bits; overwritten with what is allowed.
        """
        config, world = self.config, self.world
        if world.car_usd is not None:
            world.car_usd[:] = 0.0
        refused = self._project(duty)
        speed = (self.table.speed[self.step_index] * self._throughput).ravel()
        parts = for_each(
            self.blocks,
            lambda b: dispatch(
                world,
                b,
                duty,
                speed,
                self.step_index,
                short=self.service.short,
                idle=self.service.idle,
                outages=self._opening.outages,
                restarted=self._opening.restarted,
                row_keys=self._keys.row,
            ),
        )
        self.service.play(self.step_index, self.blocks, parts)
        areas, power, headroom_kwh = self._area_inputs(), self._power(), None
        if self.transformers is not None:
            self.transformers.advance(self.step_index, self.blocks)
            headroom_kwh = self.transformers.headroom_kwh
        jobs = list(zip(self.blocks, parts, strict=True))
        sums = for_each(
            jobs,
            lambda job: settle(world, *job, areas, power, self._keys, self._tables, headroom_kwh),
        )
        self.step_index += 1
        self._book(refused, parts, [part for part, _ in sums])
        self._pack_c = thermal.twin_pack_c(
            self._pack_c, areas.ambient_c, config.dt_h, config.thermal
        )
        self._remember()
        moved = np.concatenate([cars for _, cars in sums])
        if self._cars is not None:
            for part in parts:
                self._cars.worked(part.cars)
        self._open_step(moved, np.concatenate([part.interrupted for part in parts]))

    def _project(self, duty: BoolArray) -> list[Refused]:
        """Clear the bits of cars that may not compute, in place, and find the reasons."""
        world, telemetry = self.world, self.telemetry
        if telemetry.perfect:
            refused = duty & ~self.mask
        else:
            refused = np.zeros_like(duty)
            wanted = duty.nonzero()[0]
            refused[wanted[~self._may_work(wanted)]] = True
        duty &= ~refused
        found = for_each(
            self.blocks,
            lambda b: refusals(
                world, b, refused[b.lo : b.hi], self.gates, telemetry.unreachable, self.t_h
            ),
        )
        for part in found:
            stay = world.derived.reason[part.cars]
            lasting = self.mask[part.cars] & (stay != ALLOWED)
            telemetry.refuse(part.cars[lasting], stay[lasting])
        return found

    def _may_work(self, cars: IntArray) -> BoolArray:
        """Whether cars may be on duty now, whatever telemetry says."""
        soc = self.world.twin_soc(cars, self.t_h) - self.world.state.gap[cars]
        may = np.empty(cars.shape, np.bool_)
        duty_mask(self.world, cars, soc, self.gates, self.t_h, out=may)
        return may

    def _book(self, refused: list[Refused], parts: list[Dispatch], sums: list[RowSums]) -> None:
        left = None
        if self.step_index == self.config.num_steps:
            left = self.service.open_requests()
        downloaded_gb = [part.downloaded_gb for part in parts]
        self.ledger.book(
            self.blocks,
            [part.counts for part in refused],
            sums,
            self.flows,
            left,
            busy_h=self.service.busy_h,
            downloaded_gb=per_row(self.num_envs, self.blocks, downloaded_gb),
            feeder_over_h=None if self.transformers is None else self.transformers.over_h,
            chat_all=self.service.chat_all,
        )
        if self.world.car_usd is not None:
            self._share_credit(parts)

    def observe(self) -> dict[str, Any] | FloatArray:
        """Observation of every row at the start of the coming step, freshly allocated."""
        shape = (self.num_envs, self.config.num_cars)
        told, capacity = self.telemetry.told.state, self.ledger.capacity
        shares = np.empty((3, self.num_envs))
        for share, flags in zip(shares, (told.duty, self.mask, told.plugged), strict=True):
            share[:] = np.add.reduce(flags.reshape(shape), axis=1, dtype=np.int32)
        shares /= self.config.num_cars
        dc_usd_per_h = None
        if capacity.charge_h > 0.0:
            dc_usd_per_h = np.stack([capacity.hour_usd_per_h, capacity.peak_usd_per_h])
        fleet = self._fleet.read(
            self.step_index, self.flows, self.queue, self.service.util, shares, dc_usd_per_h
        )
        if self._cars is None:
            return fleet
        limits = self.transformers
        cars = self._cars.read(
            self.step_index,
            self.soc,
            self.telemetry.seen_h(self.t_h),
            self._told_gates.cut,
            None if limits is None else limits.headroom_kw,
        )
        return {"cars": cars, "fleet": fleet, "mask": self.mask.reshape(shape).astype(np.int8)}

    def _open_step(self, moved: IntArray | None, interrupted: IntArray | None = None) -> None:
        """Begin the coming step: what breaks or returns now, reports, gates.

        `moved` are the cars that departed or arrived in the step before, `interrupted` those that
        something stopped while on duty; None begins an episode.
        """
        self._opening = open_step(self.world, self.table, self.outages, self.step_index)
        if moved is None:
            self._begin_reports()
        else:
            switched, outdated = self._opening.switched, self._opening.outdated
            changed = np.concatenate([moved, switched, outdated])
            told = self.telemetry.events(changed, self.t_h, self.gates.cut, interrupted)
            if self._cars is not None:
                self._cars.moved(told)
                self._cars.worked(told)  # public charging on the way closes gaps
                self._cars.worked(outdated)
        self._told_gates = self.gates
        if self.gates.cut is not None and not self.telemetry.perfect:
            seen = cut_off(self.telemetry.told, self._opening.outages)
            self._told_gates = replace(self.gates, cut=seen)
        self.soc, self.mask = self._look()

    def _begin_reports(self) -> None:
        self.telemetry.begin(self.world)
        if self._cars is not None:
            quoted = Chips.of([self.config], self._accelerators)
            idle_kw, busy_kw = quoted.quoted_kw(0.0), quoted.quoted_kw(1.0)
            self._cars.begin(self.telemetry.told, self.exo, idle_kw, busy_kw)

    def _look(self) -> tuple[FloatArray, BoolArray]:
        """Charge and duty mask of all cars, as telemetry shows them."""
        num, eyes = self.num_envs * self.config.num_cars, self.telemetry
        soc, mask = np.empty(num, np.float32), np.empty(num, np.bool_)

        def look(lo: int, hi: int) -> None:
            for start in range(lo, hi, DENSE_CARS):
                cars = slice(start, min(start + DENSE_CARS, hi))
                shown = eyes.charge(cars, self.t_h, out=soc[cars])
                seen_h = eyes.seen_h(self.t_h, cars)
                duty_mask(eyes.told, cars, shown, self._told_gates, seen_h, out=mask[cars])

        for_each(self.blocks, lambda b: look(b.lo, b.hi))
        return soc, mask

    def _share_credit(self, parts: list[Dispatch]) -> None:
        """Split what a row earned and lost with requests over its cars, by their serving time.

        Where none served, what completed was in flight before: all cars of the row share it.
        """
        shared = self.ledger.shared_usd
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

    def _area_inputs(self) -> AreaInputs:
        table, step = self.table, self.step_index
        cheap_cum, cheap_from = self.exo.cheap_ahead(step)
        return AreaInputs(
            t_h=self.t_h,
            dt_h=self.config.dt_h,
            local=self.exo.local,
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
            wear_usd=self._wear_usd,
            shortfall_usd=self._shortfall_usd,
            quiet=table.quiet[step] if self.config.reward.noise_usd_per_quiet_h > 0 else None,
            dark=self._opening.outages.dark,
        )

    def _power(self) -> PowerTable:
        """Power of a car awake and serving, by area, group and air; slowed by heat."""
        table, step, group_chip = self.table, self.step_index, self.setup.group_accelerator
        util = self.flows.util.reshape(-1, self.setup.num_groups, 1)
        util = util * table.speed[step][:, group_chip]
        serve_kw = self.chips.bus_kw(util, table.inlet_c[step], group_chip).ravel()
        return PowerTable(
            table.awake_kw[step],
            serve_kw.astype(np.float32),
            table.awake_wall_kw[step],
            self.chips.wall_kw(serve_kw).astype(np.float32),
        )

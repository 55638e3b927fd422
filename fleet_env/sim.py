"""The simulation of a batch of fleets: order of the kernels and loop over blocks, no formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fleet_env import draws, rewards
from fleet_env.blocks import for_each, split_blocks
from fleet_env.car_sensors import CarSensors
from fleet_env.config import EnvConfig
from fleet_env.credit import Losses, marginal_usd, share_credit
from fleet_env.dispatch import Dispatch, dispatch
from fleet_env.disruptions import Opening, cut_off, open_step
from fleet_env.dynamics import mobility, thermal
from fleet_env.dynamics.admission import Tape
from fleet_env.dynamics.energy import load_evse
from fleet_env.dynamics.marginal import capacity_worth
from fleet_env.dynamics.roofline import accelerator, datacentre_price
from fleet_env.dynamics.serving import QueueState, ServiceFlows
from fleet_env.dynamics.serving_setup import serving_setup
from fleet_env.generators.cars import draw_params
from fleet_env.generators.demand_sources import load_traces
from fleet_env.generators.exogenous import Exogenous, check_outside, draw_exogenous
from fleet_env.generators.outages import Outages
from fleet_env.generators.start import start_state
from fleet_env.history import History
from fleet_env.journeys import EventKeys
from fleet_env.ledger import METRIC, TERM, Ledger
from fleet_env.memory import check_memory
from fleet_env.projection import look, project
from fleet_env.refusals import Refused
from fleet_env.regions import num_regions
from fleet_env.rowsums import RowSums
from fleet_env.sensors import FleetSensors
from fleet_env.service import Service, per_row
from fleet_env.settle import settle
from fleet_env.step_inputs import AreaSettings, area_inputs, power_table
from fleet_env.sums import weighted
from fleet_env.telemetry import Telemetry
from fleet_env.timetable import Chips, Timetable, make_timetable
from fleet_env.transformers import Transformers
from fleet_env.types import BATCH_70B, BoolArray, FloatArray, IntArray, KeyArray
from fleet_env.uncertain import cards_of_rows, check_randomise, draw_uncertain
from fleet_env.world import Gates, World, build_world


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
        Also keep every car's own share of the reward, `world.car_usd`, and what it was worth at
        the margin, `marginal_usd`.
    """

    world: World
    exo: Exogenous
    table: Timetable
    history: History
    mask: BoolArray  # flat: cars that may be on duty now, as far as the dispatcher was told
    soc: FloatArray  # flat: state of charge now, as reports show it
    opening: Opening  # what breaks or returns with the coming step
    by_area: AreaSettings  # of the cards as drawn
    margin_h: FloatArray  # (num_envs,) `energy.margin_h` of each row; may be changed between steps
    pack_c: FloatArray  # (areas,) pack temperature of the twins now [degC]
    _told_gates: Gates  # as far as the dispatcher knows where its cars are
    drawn: dict[str, FloatArray]  # uncertain parameters of the rows
    transformers: Transformers | None
    marginal_usd: FloatArray | None = None  # flat: of the step just played, if wanted

    def __init__(
        self, config: EnvConfig, num_envs: int, split: str, *, car_reward: bool = False
    ) -> None:
        self.config, self.num_envs, self.split = config, num_envs, split
        self._car_reward = car_reward
        names = list(config.fleet.accelerators)
        check_memory(config, num_envs, car_reward=car_reward)
        check_randomise(config)
        self.setup = serving_setup(config, names)
        self._accelerators = [accelerator(name) for name in names]
        self._evse_table = load_evse()
        self._tables = mobility.tables(config.fleet, config.telemetry)
        check_outside(config)
        self._traces = load_traces(config)
        self.service = Service(config, self.setup, num_envs, keep_tape=car_reward)
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
        return self.opening.gates

    @property
    def row_keys(self) -> KeyArray:
        """Scenario keys of the rows, shape (num_envs,)."""
        return self._keys.row

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
        self.by_area = AreaSettings.of(by_area)
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
        self.pack_c = self.exo.ambient_c[:, 0].copy()
        self.margin_h = np.full(self.num_envs, self.config.energy.margin_h, np.float32)

    def step(self, duty: BoolArray) -> None:
        """Play one decision step.

        Parameters
        ----------
        duty : BoolArray, shape (num_envs * num_cars,)
            The agent's bits; overwritten with what is allowed.
        """
        if self.world.car_usd is not None:
            self.world.car_usd[:] = 0.0
        refused = project(
            self.world, self.telemetry, self.blocks, duty, self.mask, self.gates, self.t_h
        )
        parts = self._dispatch(duty)
        self.service.play(self.step_index, self.blocks, parts)
        settled = self._settle(parts)
        self.step_index += 1
        self._book(refused, parts, [sums for sums, _ in settled])
        self._remember()
        moved = np.concatenate([cars for _, cars in settled])
        if self._cars is not None:
            for part in parts:
                self._cars.worked(part.cars)
        self._open_step(moved, np.concatenate([part.interrupted for part in parts]))

    def _dispatch(self, duty: BoolArray) -> list[Dispatch]:
        """First half of a step, block by block."""
        factor = self.by_area.throughput_factor[:, None, None]
        speed = (self.table.speed[self.step_index] * factor).ravel()
        return for_each(
            self.blocks,
            lambda b: dispatch(
                self.world,
                b,
                duty,
                speed,
                self.step_index,
                short=self.service.short,
                idle=self.service.idle,
                outages=self.opening.outages,
                restarted=self.opening.restarted,
                row_keys=self.row_keys,
            ),
        )

    def _settle(self, parts: list[Dispatch]) -> list[tuple[RowSums, IntArray]]:
        """Second half of a step: sums of each block, and its cars that departed or arrived."""
        step, table, config = self.step_index, self.table, self.config
        areas = area_inputs(
            config,
            table,
            self.exo,
            step,
            pack_c=self.pack_c,
            settings=self.by_area,
            margin_h=self.margin_h,
            dark=self.opening.outages.dark,
        )
        power = power_table(self.chips, table, step, self.flows.util, self.setup.group_accelerator)
        headroom_kwh = None
        if self.transformers is not None:
            self.transformers.advance(step, self.blocks)
            headroom_kwh = self.transformers.headroom_kwh
        world, keys, tables = self.world, self._keys, self._tables
        settled = for_each(
            list(zip(self.blocks, parts, strict=True)),
            lambda job: settle(world, *job, areas, power, keys, tables, headroom_kwh),
        )
        self.pack_c = thermal.twin_pack_c(self.pack_c, areas.ambient_c, config.dt_h, config.thermal)
        return settled

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
        if self.world.car_usd is not None and self.service.tape is not None:
            self._credit(self.world.car_usd, self.service.tape, parts)

    def _credit(self, own_usd: FloatArray, tape: Tape, parts: list[Dispatch]) -> None:
        """Share the step out to the cars: what each was worth, then what each earned."""
        price_usd, data_usd = self.ledger.price_usd, -self.ledger.values[TERM["data"]]
        worth = capacity_worth(self.setup, tape, price_usd)
        losses = Losses.of(self.flows, price_usd, worth, data_usd, self.config.reward)
        self.marginal_usd = marginal_usd(own_usd, self.blocks, parts, worth, losses)
        share_credit(self.world, self.ledger.shared_usd, self.blocks, parts)

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
        self.opening = open_step(self.world, self.table, self.outages, self.step_index)
        if moved is None:
            self._begin_reports()
        else:
            switched, outdated = self.opening.switched, self.opening.outdated
            changed = np.concatenate([moved, switched, outdated])
            told = self.telemetry.events(changed, self.t_h, self.gates.cut, interrupted)
            if self._cars is not None:
                self._cars.moved(told)
                self._cars.worked(told)  # public charging on the way closes gaps
                self._cars.worked(outdated)
        self._told_gates = self.gates
        if self.gates.cut is not None and not self.telemetry.perfect:
            seen = cut_off(self.telemetry.told, self.opening.outages)
            self._told_gates = replace(self.gates, cut=seen)
        self.soc, self.mask = look(self.telemetry, self.blocks, self._told_gates, self.t_h)

    def _begin_reports(self) -> None:
        self.telemetry.begin(self.world)
        if self._cars is not None:
            quoted = Chips.of([self.config], self._accelerators)
            idle_kw, busy_kw = quoted.quoted_kw(0.0), quoted.quoted_kw(1.0)
            self._cars.begin(self.telemetry.told, self.exo, idle_kw, busy_kw)

    def _remember(self) -> None:
        """Keep what the viewer draws."""
        per_h = 1.0 / self.config.dt_h
        demand = weighted(self.flows.arrived, self.service.work_car_h) * per_h
        duty = self.ledger.values[METRIC["on_duty_h"]] * per_h
        self.history.note(self.step_index - 1, demand, duty, self.service.busy_h * per_h)

"""The tape of a scenario: everything that no action changes, recorded with no car on duty.

Only privileged code reads it (bounds, and planners told the truth); it is never what a dispatcher
sees. Owner reactions (drop-out, refused gates) only take cars away from it, so what cannot be
earned on the tape cannot be earned in the simulation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from fleet_env.config import EnvConfig
from fleet_env.dispatch import start_delay_min, stop_h
from fleet_env.regions import num_neighbourhoods, num_regions
from fleet_env.sim import FleetSim
from fleet_env.telemetry import duty_mask
from fleet_env.types import BATCH_70B, DRIVING, EVSE_NONE, BoolArray, FloatArray, IntArray
from fleet_env.units import MBIT_PER_GB, MIN_PER_H, S_PER_H
from fleet_env.world import ALLOWED

_FULL_SOC = 2.0  # above any reserve


@dataclass(frozen=True, slots=True)
class Visits:
    """Car-steps of stays in which the owner allows compute, by car and then by step, shape (n,).

    A car-step is one car in one decision step at whose start it is parked so.
    """

    car: IntArray  # number within its row
    step: IntArray
    stay: IntArray  # arrivals of the car so far: tells one stay from the next
    may: BoolArray  # the projection lets it be on duty from the start of the step
    may_if_charged: BoolArray  # the same but for its charge
    on_h: FloatArray  # on duty if so, until departure, call-back or a link that fails
    full: BoolArray  # none of these comes within the step
    delay_h: FloatArray  # of a start in this step, where starts are spread
    here_h: FloatArray  # until the departure, at most the step
    home: BoolArray
    garage: BoolArray  # in a closed garage
    evse: IntArray  # EVSE_*
    need_kwh: FloatArray  # DC, that the twin charges in the step
    twin_soc: FloatArray  # at the start of the step
    stated_h: FloatArray  # stated departure [h since the start of the episode]
    area: IntArray  # of the batch

    def pick(self, which: IntArray | BoolArray) -> Visits:
        """Pick some of the car-steps."""
        return Visits(*(getattr(self, field.name)[which] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Departures:
    """All departures of the row, shape (d,)."""

    car: IntArray
    step: IntArray
    stay: IntArray
    twin_soc: FloatArray  # at the departure
    trip_soc: FloatArray  # that the trip takes
    charged_kwh: FloatArray  # DC, that the twin has charged at its plugs by then
    dear_usd: FloatArray  # what that has cost beyond `ref_price`, see `Tape`


@dataclass(frozen=True, slots=True)
class Downloads:
    """Weights that cars have to fetch before they serve (again), shape (m,)."""

    car: IntArray
    step: IntArray  # from which on they are missing
    hours: FloatArray  # of download


@dataclass(frozen=True, slots=True)
class Tape:
    """One scenario: `T` steps, `R` regions."""

    config: EnvConfig
    sim: FleetSim  # the batch it was recorded in, at the end: constants, prices, tables
    row: int
    visits: Visits
    departures: Departures
    downloads: Downloads
    chat: FloatArray  # (T, 2) eligible requests, all regions together
    chat_all: FloatArray  # (T, 2) those too that may not leave the data centre
    batch: FloatArray  # (T, buckets) in the order of `ServingSetup.due_steps`
    # (cars,) what the twin's charging costs in the episode, in the steps and as far as the price of
    # a kWh in its pack is above that at which owed charge is booked [USD]
    dear_usd: FloatArray
    pack_c: FloatArray  # (T, R) pack temperature of the twins
    headroom_kwh: FloatArray | None  # (T, transformers) left to compute; None: no limit

    @property
    def cars(self) -> slice:
        """Cars of the row in the flat arrays of the batch."""
        first = self.row * self.config.num_cars
        return slice(first, first + self.config.num_cars)

    @property
    def num_regions(self) -> int:
        """Regions of the row."""
        return int(self.pack_c.shape[1])


def record(config: EnvConfig, split: str, scenarios: Sequence[int]) -> list[Tape]:
    """Play scenarios with no car on duty and write down what happens.

    Parameters
    ----------
    config : EnvConfig
        A card; what it shows to dispatchers does not matter.
    split : str
        train, validation or test.
    scenarios : sequence of int
        Scenario numbers, one row each.

    Returns
    -------
    list of Tape
        One per scenario; the tapes of one call share their simulation.
    """
    sim = FleetSim(replace(config, observation="fleet"), len(scenarios), split)
    sim.reset(np.asarray(scenarios, np.int64))
    recorder = _Recorder(sim)
    duty = np.zeros(len(scenarios) * config.num_cars, np.bool_)
    for _ in range(config.num_steps):
        recorder.look()
        sim.step(duty)
        recorder.count()
    return [recorder.tape(config, row) for row in range(len(scenarios))]


class _Recorder:
    """Gathers the tapes of all rows of a batch, step by step."""

    def __init__(self, sim: FleetSim) -> None:
        self._sim = sim
        self._visits: list[dict[str, Any]] = []
        self._departures: list[dict[str, Any]] = []
        self._downloads: list[dict[str, Any]] = []
        self._charged_kwh = np.zeros(sim.num_envs * sim.config.num_cars)
        self._dear_usd = np.zeros(sim.num_envs * sim.config.num_cars)
        self._series: dict[str, list[FloatArray]] = defaultdict(list)

    def look(self) -> None:
        """Write down the cars at the start of a step."""
        self._fetch_weights()
        sim = self._sim
        world, t_h, dt_h = sim.world, sim.t_h, sim.config.dt_h
        state, derived = world.state, world.derived
        cars = np.flatnonzero(derived.reason == ALLOWED)
        here_h = np.minimum(state.event_h[cars] - t_h, dt_h)
        stop = np.clip(stop_h(world, cars, sim.opening.outages) - t_h, 0.0, here_h)
        twin = world.twin_soc(cars, t_h)
        evse = derived.evse[cars]
        plugged_h = here_h * (evse != EVSE_NONE)
        charged = world.twin_soc(cars, t_h + plugged_h) - twin
        self._visits.append(
            {
                "car": cars,
                "step": np.full(cars.shape, sim.step_index, np.int16),
                "stay": state.event_no[cars].astype(np.int32),
                "may": self._may(cars, twin),
                "may_if_charged": self._may(cars, np.full_like(twin, _FULL_SOC)),
                "on_h": stop,
                "full": stop >= np.float32(dt_h),
                "delay_h": self._delay_h(cars),
                "here_h": here_h,
                "home": derived.home[cars],
                "garage": derived.garage[cars],
                "evse": evse,
                "need_kwh": np.maximum(charged, 0.0) * world.params.pack_kwh[cars],
                "twin_soc": twin,
                "stated_h": state.stated_h[cars],
                "area": derived.area[cars].astype(np.int32),
            }
        )
        self._note_charging(t_h)
        self._note_departures(t_h)
        self._series["pack_c"].append(sim.pack_c.copy())

    def count(self) -> None:
        """Write down the requests of the step just played."""
        sim = self._sim
        self._series["chat"].append(sim.flows.arrived[:, :BATCH_70B].copy())
        self._series["chat_all"].append(sim.service.chat_all.copy())
        shares = np.array(list(sim.config.demand.batch_deadline_shares.values()))
        self._series["batch"].append(sim.flows.arrived[:, BATCH_70B, None] * shares)
        if sim.transformers is not None:
            self._series["headroom_kwh"].append(np.maximum(sim.transformers.headroom_kwh, 0.0))

    def _may(self, cars: IntArray, soc: FloatArray) -> BoolArray:
        sim, may = self._sim, np.empty(cars.shape, np.bool_)
        duty_mask(sim.world, cars, soc, sim.gates, sim.t_h, out=may)
        return may

    def _fetch_weights(self) -> None:
        """Note what cars have to fetch, and give it to them.

        Where a policy lets a car fetch it at home, later stays elsewhere are open to it.
        """
        world = self._sim.world
        cars = np.flatnonzero(world.state.weights_gb > 0)
        if not cars.size:
            return
        mbit = world.state.weights_gb[cars] * MBIT_PER_GB
        hours = mbit / world.params.down_mbps[cars] / S_PER_H
        step = np.full(cars.shape, self._sim.step_index, np.int16)
        self._downloads.append({"car": cars, "step": step, "hours": hours})
        world.state.weights_gb[cars] = 0.0
        world.refresh(cars)
        world.refresh_cold(cars)

    def _delay_h(self, cars: IntArray) -> FloatArray:
        sim = self._sim
        everyone = np.ones(cars.shape, np.bool_)
        delay_min = start_delay_min(sim.world, cars, everyone, sim.step_index, sim.row_keys)
        if delay_min is None:
            return np.zeros(cars.shape, np.float32)
        return delay_min / np.float32(MIN_PER_H)

    def _note_charging(self, t_h: float) -> None:
        """Add up what the twins charge, and what that costs beyond the price of owed charge."""
        sim, world = self._sim, self._sim.world
        cars = np.flatnonzero(world.derived.evse != EVSE_NONE)
        end_h = np.minimum(world.state.event_h[cars], t_h + sim.config.dt_h)
        charged = world.twin_soc(cars, end_h) - world.twin_soc(cars, t_h)
        area, step = world.derived.area[cars], sim.step_index
        eta = world.evse_table.eta[world.derived.evse[cars]]
        owed_usd = sim.table.ref_price[step, area] / world.derived.eta_nominal[cars]
        dearer = np.maximum(sim.table.price[step, area] / eta - owed_usd, 0.0)
        kwh = np.maximum(charged, 0.0) * world.params.pack_kwh[cars]
        self._charged_kwh[cars] += kwh
        self._dear_usd[cars] += kwh * dearer

    def _note_departures(self, t_h: float) -> None:
        world = self._sim.world
        state, end_h = world.state, t_h + self._sim.config.dt_h
        cars = np.flatnonzero((state.place != DRIVING) & (state.event_h < end_h))
        self._departures.append(
            {
                "car": cars,
                "step": np.full(cars.shape, self._sim.step_index, np.int16),
                "stay": state.event_no[cars].astype(np.int32),
                "twin_soc": world.twin_soc(cars, state.event_h[cars]),
                "trip_soc": state.trip_kwh[cars] / world.params.pack_kwh[cars],
                "charged_kwh": self._charged_kwh[cars],
                "dear_usd": self._dear_usd[cars],
            }
        )

    def tape(self, config: EnvConfig, row: int) -> Tape:
        """Put the tape of a row together."""
        series = {name: np.stack(values) for name, values in self._series.items()}
        regions, homes = num_regions(config), num_neighbourhoods(config)
        headroom_kwh = series.get("headroom_kwh")
        if headroom_kwh is not None:
            headroom_kwh = headroom_kwh[:, row * homes : (row + 1) * homes]
        return Tape(
            config,
            self._sim,
            row,
            visits=self._of_row(Visits, self._visits, row),
            departures=self._of_row(Departures, self._departures, row),
            downloads=self._of_row(Downloads, self._downloads, row),
            chat=series["chat"][:, row],
            chat_all=series["chat_all"][:, row],
            batch=series["batch"][:, row],
            dear_usd=self._dear_usd.reshape(self._sim.num_envs, -1)[row],
            pack_c=series["pack_c"][:, row * regions : (row + 1) * regions],
            headroom_kwh=headroom_kwh,
        )

    def _of_row(self, kind: type[Any], parts: list[dict[str, Any]], row: int) -> Any:
        """Cut the part of a row out of lists that are sorted by car in every step."""
        num = self._sim.config.num_cars
        edges = [np.searchsorted(part["car"], (row * num, (row + 1) * num)) for part in parts]
        columns = {}
        for field in fields(kind):
            cut = [part[field.name][lo:hi] for part, (lo, hi) in zip(parts, edges, strict=True)]
            columns[field.name] = np.concatenate(cut) if cut else np.zeros(0)
        columns["car"] = columns["car"].astype(np.int32) - np.int32(row * num)
        order = np.argsort(columns["car"], kind="stable")
        return kind(**{name: column[order] for name, column in columns.items()})

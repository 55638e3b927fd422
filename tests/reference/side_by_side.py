"""The reference's view of row 0 of a simulation, and what is drawn for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fleet_env import draws, service
from fleet_env.config import EnvConfig
from fleet_env.dynamics import mobility
from fleet_env.generators.homes import draw_levels
from fleet_env.generators.shocks import KINDS
from fleet_env.types import DRIVING
from fleet_env.vector_env import FleetVectorEnv
from tests.reference import areas, queueing
from tests.reference.cars import Car, CarState
from tests.reference.given import CarGiven, Given, Next
from tests.reference.prices import local_clock
from tests.reference.shocks import Event, outage_of, released
from tests.reference.step import Weather


def draw_actions(config: EnvConfig, number: int) -> Iterator[NDArray[np.int8]]:
    """Draw bits that hold for a while, toggle every step, or stay on."""
    rng = np.random.default_rng([7, number])
    p_switch = rng.choice([0.05, 0.3, 1.0], config.num_cars)
    bits = rng.random(config.num_cars) < 0.7
    while True:
        yield bits.astype(np.int8)[None, :]
        bits = np.where(rng.random(config.num_cars) < p_switch, ~bits, bits)


class Recorder:
    """Listens inside a step: to the arrivals of requests, and to the stays that end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, num_cars: int) -> None:
        self.left: list[list[CarState]] = [[] for _ in range(num_cars)]
        serve, depart = vars(service)["serve"], mobility.depart

        def listen(setup: Any, cars: Any, chat: Any, due: Any, new: Any, *rest: Any) -> Any:
            self.chat, self.batch = chat.copy(), new.copy()
            return serve(setup, cars, chat, due, new, *rest)

        def watch(state: Any, params: Any, tables: Any, cars: Any) -> Any:
            for car in cars.tolist():
                self.left[car].append(CarState.of(state, car))
            return depart(state, params, tables, cars)

        monkeypatch.setattr(service, "serve", listen)
        monkeypatch.setattr(mobility, "depart", watch)

    def demand(self) -> queueing.Demand:
        """Return the arrivals of row 0."""
        people = tuple(tuple(map(tuple, region)) for region in self.chat[0].tolist())
        return queueing.Demand(people, tuple(self.batch[0].tolist()))

    def tape(self, env: FleetVectorEnv, before: list[CarState]) -> list[list[CarState]]:
        """Return the stays of every car after its first, and the cars as they are now."""
        tape = []
        for stays, start, now in zip(self.left, before, read_states(env), strict=True):
            first = 0 if start.place == DRIVING else 1  # a parked car first leaves where it stood
            tape.append([*stays[first:], now])
            stays.clear()
        return tape


class Fate:
    """What the draws of row 0 bring to its cars, worked out from shocks and uniforms."""

    def __init__(self, env: FleetVectorEnv, cars: list[Car]) -> None:
        self.env, self.cars, config = env, cars, env.config
        self.events = read_events(env)
        key = draws.scenario_key(env.sim.split, env.sim.scenario_index[:1])
        self.start_keys = draws.car_keys(key, draws.Stream.START_SECOND, config.num_cars)
        self.owner_keys = draws.car_keys(key, draws.Stream.OWNER, config.num_cars)
        self.home_level = draw_levels(key, areas.num_neighbourhoods(config)).tolist()

    def owner_u(self, car: int, stay: int) -> float:
        """Uniform that decides whether an owner who is let down leaves."""
        return float(draws.uniform(self.owner_keys[car : car + 1], np.array(stay), 1)[0, 0])

    def given(self, step: int, weather: tuple[Weather, ...], recalled: list[bool]) -> Given:
        """Everything but the requests of a step."""
        config, events = self.env.config, self.events
        t_h, next_h = step * config.step_min / 60, (step + 1) * config.step_min / 60
        dt_h = config.dt_h
        start_u = draws.uniform(self.start_keys, np.array(step), 1)[0].tolist()
        return Given(
            weather=weather,
            demand=queueing.Demand((), ()),
            cars=tuple(
                CarGiven(outage_of(events, car, t_h, dt_h), u, again)
                for car, u, again in zip(self.cars, start_u, recalled, strict=True)
            ),
            next=tuple(
                Next(
                    dark=outage_of(events, car, next_h, dt_h).dark,
                    release=released(events, car.region, t_h, next_h),
                )
                for car in self.cars
            ),
            home_kw=tuple(self._home_kw(n, step) for n in range(len(self.home_level))),
            owner_u=self.owner_u,
            charge_h=self.env.sim.ledger.capacity.charge_h,
        )

    def _home_kw(self, number: int, step: int) -> float:
        """Load of the homes of a neighbourhood; the shape follows the clock of their region."""
        config = self.env.config
        if not config.feeder.limit:
            return 0.0
        region = areas.region_of(config, number * config.feeder.homes)
        load = self.env.sim.exo.home_load
        assert load is not None
        shape = float(load[region, step])
        peak_kw = config.feeder.homes * config.feeder.home_peak_kw
        return peak_kw * shape * float(self.home_level[number])


def read_events(env: FleetVectorEnv) -> list[Event]:
    """Shocks of row 0, with the neighbourhoods of the row that they hit."""
    shocks, config, events = env.sim.exo.shocks, env.config, []
    regions = len(areas.region_shares(config))
    for i in range(len(shocks.kind)):
        row, region = divmod(int(shocks.area[i]), regions)
        if row == 0:
            everybody = np.arange(areas.num_neighbourhoods(config))
            hit = frozenset(everybody[shocks.hit(i, everybody)].tolist())
            hours = float(shocks.start_h[i]), float(shocks.end_h[i])
            severity = float(shocks.severity[i])
            events.append(Event(KINDS[shocks.kind[i]], region, *hours, hit, severity))
    return events


def read_cars(env: FleetVectorEnv) -> list[Car]:
    """Constants of the cars of row 0."""
    params, config = env.sim.world.params, env.config
    names, cars = list(config.fleet.accelerators), []
    for i in range(config.num_cars):
        values: dict[str, Any] = {
            f.name: getattr(params, f.name)[i].item()
            for f in fields(Car)
            if f.name not in ("chip", "neighbourhood", "region")
        }
        values["chip"] = names[int(params.accelerator[i])]
        values["neighbourhood"] = areas.neighbourhood_of(config, i)
        cars.append(Car(region=areas.region_of(config, i), **values))
    return cars


def read_states(env: FleetVectorEnv) -> list[CarState]:
    """State of the cars of row 0."""
    return [CarState.of(env.sim.world.state, i) for i in range(env.config.num_cars)]


def read_weather(env: FleetVectorEnv) -> tuple[Weather, ...]:
    """What the outside does to each region of row 0 in the coming step."""
    return tuple(_weather(env, r) for r in range(len(areas.region_shares(env.config))))


def _weather(env: FleetVectorEnv, region: int) -> Weather:
    exo, step = env.sim.exo, env.sim.step_index
    view = exo.price_view(step)
    later = view.cheap[region, step + 1 - view.first :]
    carbon = exo.carbon_g_per_kwh[region].astype(float) / 1000.0
    clock = local_clock(env, region, step)
    return Weather(
        usd_per_kwh=float(exo.price_usd_per_kwh[region, step]),
        ref_usd_per_kwh=float(exo.ref_price_usd_per_kwh[region, step]),
        threshold_usd_per_kwh=float(exo.threshold_usd_per_kwh[region, step]),
        cheap_now=bool(exo.cheap[region, step]),
        cheap_later=tuple(later.tolist()),
        carbon_kg_per_kwh=float(carbon[step]),
        ref_carbon_kg_per_kwh=float(carbon[: round(24 / env.config.dt_h)].mean()),
        ambient_c=float(exo.ambient_c[region, step]),
        pack_c=float(env.sim.pack_c[region]),
        local_h=clock.hour + clock.minute / 60.0,
    )

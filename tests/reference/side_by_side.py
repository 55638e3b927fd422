"""Random small fleets and actions, and the reference's view of a simulation's row 0."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray

from fleet_env import draws, service
from fleet_env.config import (
    DemandConfig,
    EnergyConfig,
    EnvConfig,
    FleetConfig,
    ServingConfig,
    ThermalConfig,
)
from fleet_env.dynamics import mobility
from fleet_env.generators.clock import YEAR_OF_SPLIT, load_zone, make_clock, scenario_days
from fleet_env.generators.grid import draw_grid
from fleet_env.types import DRIVING
from fleet_env.vector_env import FleetVectorEnv
from tests.reference import queueing
from tests.reference.cars import Car, CarState
from tests.reference.step import Weather

CHIPS = (
    {"ai5": 1.0},
    {"ai4": 1.0},
    {"claim": 1.0},
    {"ai4": 0.5, "ai5": 0.5},
    {"ai5": 0.5, "claim": 0.5},
    {"hw3": 0.3, "ai4": 0.3, "ai5": 0.4},
)


def draw_config(number: int) -> EnvConfig:
    """Draw a small fleet in which rare things are common."""
    rng = np.random.default_rng([20251031, number])
    return EnvConfig(
        num_cars=int(rng.integers(1, 7)),
        days=2 if number % 10 == 4 else 1,
        step_min=int(rng.choice([15, 15, 15, 5, 30, 60])),
        fleet=FleetConfig(
            accelerators=CHIPS[rng.integers(len(CHIPS))],
            paid_habits=bool(rng.random() < 0.7),
            home_charger_share=1.0 if rng.random() < 0.7 else 0.5,
            level1_share=float(rng.choice([0.0, 0.25, 1.0])),
            work_charger_share=float(rng.choice([0.15, 1.0])),
            home_link_share=float(rng.choice([0.65, 1.0])),
            work_link_share=float(rng.choice([0.3, 1.0])),
            closed_garage_share=float(rng.choice([0.0, 0.4, 1.0])),
            unplugged_share=float(rng.choice([0.0, 0.5, 1.0])),
            cellular_share=float(rng.choice([0.0, 1.0])),
            weights_missing_share=float(rng.choice([0.02, 0.5])),
            override_per_month=float(rng.choice([0.5, 100.0])),
            reserve_soc=float(rng.choice([0.1, 0.3, 0.5])),
        ),
        serving=ServingConfig(
            tail_min=float(rng.choice([0.0, 5.0, 12.0])), lose_work=bool(rng.random() < 0.8)
        ),
        demand=DemandConfig(
            load=float(rng.choice([0.1, 0.5, 2.0, 10.0])),
            rate_noise_cv=float(rng.choice([0.0, 0.3])),
        ),
        energy=EnergyConfig(
            source=str(rng.choice(["grid", "managed", "managed", "pack"])),
            tariff=str(rng.choice(["california_ev_tou", "flat", "day_ahead"])),
            region=str(rng.choice(["US-CAL-CISO", "US-TEX-ERCO", "DE-LU"])),
            margin_h=float(rng.choice([0.0, 3.0])),
        ),
        thermal=ThermalConfig(
            garage_w_per_k=float(rng.choice([40.0, 80.0, 15.0])),
            cooling=bool(rng.random() < 0.9),
        ),
    )


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
        chat_8b, chat_70b = self.chat[0].tolist()
        return queueing.Demand((tuple(chat_8b), tuple(chat_70b)), tuple(self.batch[0].tolist()))

    def tape(self, env: FleetVectorEnv, before: list[CarState]) -> list[list[CarState]]:
        """Return the stays of every car after its first, and the cars as they are now."""
        tape = []
        for stays, start, now in zip(self.left, before, read_states(env), strict=True):
            first = 0 if start.place == DRIVING else 1  # a parked car first leaves where it stood
            tape.append([*stays[first:], now])
            stays.clear()
        return tape


def read_cars(env: FleetVectorEnv) -> list[Car]:
    """Constants of the cars of row 0."""
    params, names = env.sim.world.params, list(env.config.fleet.accelerators)
    cars = []
    for i in range(env.config.num_cars):
        values: dict[str, Any] = {
            f.name: getattr(params, f.name)[i].item() for f in fields(Car) if f.name != "chip"
        }
        cars.append(Car(chip=names[int(params.accelerator[i])], **values))
    return cars


def read_states(env: FleetVectorEnv) -> list[CarState]:
    """State of the cars of row 0."""
    return [CarState.of(env.sim.world.state, i) for i in range(env.config.num_cars)]


def read_weather(env: FleetVectorEnv) -> Weather:
    """What the outside does in the coming step."""
    exo, step = env.sim.exo, env.sim.step_index
    view = exo.price_view(step)
    later = view.cheap[0, step + 1 - view.first :]
    carbon = exo.carbon_g_per_kwh[0].astype(float) / 1000.0
    return Weather(
        usd_per_kwh=float(exo.price_usd_per_kwh[0, step]),
        ref_usd_per_kwh=float(exo.ref_price_usd_per_kwh[0, step]),
        threshold_usd_per_kwh=float(exo.threshold_usd_per_kwh[0, step]),
        cheap_now=bool(exo.cheap[0, step]),
        cheap_later=tuple(later.tolist()),
        carbon_kg_per_kwh=float(carbon[step]),
        ref_carbon_kg_per_kwh=float(carbon[: round(24 / env.config.dt_h)].mean()),
        ambient_c=float(exo.ambient_c[0, step]),
        pack_c=float(env.sim._pack_c[0]),
    )


def known_prices(env: FleetVectorEnv, step: int) -> list[float]:
    """Prices of row 0 from a step on, as it knows them: hour by hour, by the calendar."""
    exo, config = env.sim.exo, env.config
    price = exo.price_usd_per_kwh[0].astype(float).tolist()
    if config.energy.tariff != "day_ahead":
        return price[step:]
    zone = ZoneInfo(config.time_zone)
    start = datetime.fromtimestamp(int(exo.utc_start_min[0]) * 60, UTC)
    local = [
        (start + timedelta(minutes=k * config.step_min)).astimezone(zone) for k in range(len(price))
    ]
    last = local[step].date() + timedelta(days=local[step].hour >= 13)
    day = round(24 / config.dt_h)
    known = []
    for k in range(step, len(price)):
        at = k
        while at >= 0 and local[at].date() > last:
            at -= day
        known.append(price[at] if at >= 0 else _before(env, at))
    return known


def _before(env: FleetVectorEnv, at: int) -> float:
    """Price of a step before the episode, drawn with a clock that starts so much earlier."""
    config, sim = env.config, env.sim
    zone = load_zone(config.time_zone, YEAR_OF_SPLIT[sim.split])
    key = draws.scenario_key(sim.split, sim.scenario_index[:1])
    day = scenario_days(sim.split, key, config.days)
    clock = make_clock(zone, day, config.start_hour, config.step_min, 1, -at)
    return float(draw_grid(config.energy, clock, key)[0][0, 0])

"""The simulation against the float64 reference, step by step, on random small fleets and random actions.

Every step starts both sides from the simulation's own state, so a difference is one step's; and since all of the state
afterwards is compared, whole days are equal by induction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest

from fleet_env import sim as simulation
from fleet_env.config import (
    DemandConfig,
    EnergyConfig,
    EnvConfig,
    FleetConfig,
    ServingConfig,
    ThermalConfig,
)
from fleet_env.metrics import METRICS
from fleet_env.types import CLASSES, FloatArray
from fleet_env.vector_env import FleetVectorEnv
from tests.reference import queueing
from tests.reference import sim as reference
from tests.reference.cars import Car, CarState, session_allows

NUM_PLAIN, NUM_FLEETS = 12, 50
# atol, rtol
TOLERANCE = {
    "exact": (0.0, 0.0),
    "soc": (2e-6, 2e-4),
    "kelvin": (1e-4, 2e-4),
    "minutes": (1e-3, 2e-4),
    "gb": (1e-3, 2e-4),
    "usd": (2e-5, 2e-4),
    "kwh": (3e-5, 2e-4),
    "hours": (2e-5, 2e-4),
    "fade": (1e-11, 1e-3),
    "count": (0.0, 0.0),
    "share": (1e-6, 2e-3),
    "requests": (1e-3, 2e-3),
}
STATE_KIND = {
    "twin_ref": "soc",
    "gap": "soc",
    "anchor": "soc",
    "excess_k": "kelvin",
    "ready_min": "minutes",
    "tail_min": "minutes",
    "weights_gb": "gb",
}


def METRIC_KIND(name: str) -> str:
    if name.endswith(CLASSES):
        return "requests"
    if name.endswith("_h"):
        return "hours"
    return {
        "wall_kwh": "kwh", "metered_kwh": "kwh", "pack_kwh": "kwh", "carbon_kg": "kwh",
        "signed_wear_usd": "usd", "extra_fade": "fade", "shortfall_kwh": "kwh", "public_kwh": "kwh",
        "downloaded_gb": "gb", "cellular_gb": "gb",
    }.get(name, "count")


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
            override_per_month=float(rng.choice([0.5, 30.0])),
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


def draw_actions(config: EnvConfig, number: int) -> Iterator[FloatArray]:
    """Draw bits that hold for a while, toggle every step, or stay on."""
    rng = np.random.default_rng([7, number])
    p_switch = rng.choice([0.05, 0.3, 1.0], config.num_cars)
    bits = rng.random(config.num_cars) < 0.7
    while True:
        yield bits.astype(np.int8)[None, :]
        bits = np.where(rng.random(config.num_cars) < p_switch, ~bits, bits)


@dataclass
class Recorder:
    """Listens to what the simulation hands to its queue: the arrivals of the step."""

    chat: FloatArray | None = None
    batch: FloatArray | None = None

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put itself between the simulation and its serving kernel."""
        inner = simulation.serve

        # the arrays are rewritten in place, so they are copied first
        def listen(setup: Any, cars: Any, chat: Any, batch_due: Any, batch_new: Any, *rest: Any) -> Any:
            self.chat, self.batch = chat.copy(), batch_new.copy()
            return inner(setup, cars, chat, batch_due, batch_new, *rest)

        monkeypatch.setattr(simulation, "serve", listen)

    def demand(self) -> queueing.Demand:
        """Return the arrivals of row 0."""
        assert self.chat is not None
        assert self.batch is not None
        chat_8b, chat_70b = self.chat[0].tolist()
        return queueing.Demand((tuple(chat_8b), tuple(chat_70b)), tuple(self.batch[0].tolist()))


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


def read_weather(env: FleetVectorEnv) -> reference.Weather:
    """What the outside does in the coming step."""
    exo, step = env.sim.exo, env.sim.step_index
    per_day = round(24 / env.config.dt_h)
    first = step // per_day * per_day
    carbon = exo.carbon_g_per_kwh[0].astype(float) / 1000.0
    return reference.Weather(
        usd_per_kwh=float(exo.price_usd_per_kwh[0, step]),
        ref_usd_per_kwh=float(exo.ref_price_usd_per_kwh[0, step]),
        threshold_usd_per_kwh=float(exo.threshold_usd_per_kwh[0, step]),
        cheap_now=bool(exo.cheap[0, step]),
        cheap_later=tuple(exo.cheap[0, step + 1 :].tolist()),
        carbon_kg_per_kwh=float(carbon[step]),
        ref_carbon_kg_per_kwh=float(carbon[first : first + per_day].mean()),
        ambient_c=float(exo.ambient_c[0, step]),
        pack_c=float(env.sim._pack_c[0]),
    )


@dataclass
class Gaps:
    """Differences beyond tolerance: how many, and the worst of each name."""

    worst: dict[str, tuple[float, str]]
    count: dict[str, int]

    def look(self, name: str, where: str, mine: float, its: float, atol: float, rtol: float) -> None:
        """Compare one number of the reference with the simulation's."""
        if mine == its:
            return
        excess = abs(mine - its) - atol - rtol * abs(mine)
        if excess <= 0.0:
            return
        self.count[name] = self.count.get(name, 0) + 1
        if name not in self.worst or not excess <= self.worst[name][0]:
            self.worst[name] = (excess, f"{where}: reference {mine!r}, simulation {its!r}")

    def report(self) -> str:
        """List every name with its count and its worst case."""
        return "\n".join(f"{n}: {self.count[n]} x, worst at {w}" for n, (_, w) in self.worst.items())


def compare_step(
    gaps: Gaps,
    where: str,
    out: reference.Outcome,
    states: list[CarState],
    queues: queueing.Queues,
    env: FleetVectorEnv,
    info: dict[str, Any],
) -> None:
    """Compare all that a step produced and all that it left behind."""
    for term, usd in out.reward.items():
        gaps.look(f"reward/{term}", where, usd, info[f"reward/{term}"][0], *TOLERANCE["usd"])
    for name in METRICS:
        mine, its = out.metric.get(name, 0.0), info[f"metric/{name}"][0]
        gaps.look(f"metric/{name}", where, mine, its, *TOLERANCE[METRIC_KIND(name)])
    for g, a in enumerate(env.sim.setup.group_accelerator):
        mine = out.service.util[list(env.config.fleet.accelerators)[a]]
        gaps.look("util", where, mine, env.sim.flows.util[0, g], *TOLERANCE["share"])
    for d, (mine, its) in enumerate(zip(queues.batch_due, env.sim.queue.batch_due[0], strict=True)):
        gaps.look("batch_due", f"{where} d={d}", mine, its, *TOLERANCE["requests"])
    for c, name in enumerate(CLASSES):
        mine, its = queues.running[c], env.sim.queue.running[0, c]
        gaps.look(f"running {name}", where, mine, its, *TOLERANCE["requests"])
    for i, (mine_state, its_state) in enumerate(zip(states, read_states(env), strict=True)):
        for field in fields(CarState):
            mine, its = getattr(mine_state, field.name), getattr(its_state, field.name)
            tolerance = TOLERANCE[STATE_KIND.get(field.name, "exact")]
            gaps.look(field.name, f"{where} car {i}", mine, its, *tolerance)


def play_day(number: int, monkeypatch: pytest.MonkeyPatch, gaps: Gaps) -> None:
    """Play one fleet through its day on both sides."""
    config = draw_config(number)
    ear = Recorder()
    ear.install(monkeypatch)
    env = FleetVectorEnv(config=config)
    env.reset(seed=number)
    cars, actions, serving = read_cars(env), draw_actions(config, number), 0.0
    for step in range(config.num_steps):
        where = f"fleet {number} step {step}"
        states, weather = read_states(env), read_weather(env)
        before = read_states(env)
        queue = env.sim.queue
        queues = queueing.Queues(queue.batch_due[0].tolist(), queue.running[0].tolist(), serving)
        mask, wanted = env.sim.mask.copy(), next(actions)
        _, reward, _, info = env.play(wanted)
        tape = read_states(env)
        bits = [bool(bit) for bit in wanted[0]]
        out = reference.play_step(
            config, cars, states, queues, weather, ear.demand(), bits, tape, step
        )
        serving = queues.serving
        for i, shift in enumerate(out.shifts):
            gaps.look("mask", f"{where} car {i}", bool(shift.allowed), bool(mask[i]), 0.0, 0.0)
            if tape[i].event_no - before[i].event_no > 1 or (before[i].place == 3 and tape[i].place == 3 and tape[i].event_no != before[i].event_no):
                print("TWICE", where, i)
            elif shift.twin_after_trip is not None:
                gaps.look("twin_after_trip", f"{where} car {i}", shift.twin_after_trip, tape[i].twin_ref, 2e-6, 2e-4)
            ok = session_allows(cars[i], tape[i], config)
            gaps.look("session_ok", f"{where} car {i}", bool(ok), tape[i].session_ok, 0.0, 0.0)
        compare_step(gaps, where, out, states, queues, env, info)


def test_probe(monkeypatch):
    import os
    gaps = Gaps({}, {})
    lo, hi = map(int, os.environ.get("NF", "0,12").split(","))
    for number in range(lo, hi):
        with monkeypatch.context() as patch:
            play_day(number, patch, gaps)
    assert not gaps.worst, gaps.report()

"""Plays of the simulation from a table of duty bits, and the programmes that must be above them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agents.oracle.bound import Case, case_of
from agents.oracle.lp import foresight
from agents.oracle.tape import Tape, record
from fleet_env.config import EnvConfig
from fleet_env.scenarios import scenario
from fleet_env.sim import FleetSim
from fleet_env.types import EVSE_L1, BoolArray, FloatArray

CARDS = (
    "suburb", "today", "mixed", "claim", "koopman", "paid", "world", "nation", "heatwave",
    "coldsnap", "storm", "release", "flash", "peak", "level1", "gauntlet", "tiny",
)  # fmt: skip
ROUNDING = 1e-6  # relative, of bounds
ROUNDING_USD = 1e-5  # of a car-day in float32
Plan = Callable[[int, FleetSim], BoolArray]  # step -> duty bits, (num_envs, num_cars)


@dataclass(frozen=True)
class Played:
    """What came of a plan in every row."""

    returns: FloatArray  # (num_envs,) [USD]
    duty: BoolArray  # (steps, num_envs, num_cars) as allowed


def small(card: str, num_cars: int, **overrides: Any) -> EnvConfig:
    """A card with few cars, played without rows of observations."""
    return scenario(card, num_cars=num_cars, observation="fleet", **overrides)


def tapes_of(config: EnvConfig, seeds: Sequence[int]) -> tuple[list[Tape], list[Case]]:
    tapes = record(config, "test", seeds)
    return tapes, [case_of(tape) for tape in tapes]


def play(config: EnvConfig, seeds: Sequence[int], plan: Plan) -> Played:
    """Play a plan against the truth: what a dispatcher is told does not matter."""
    sim = FleetSim(replace(config, observation="fleet"), len(seeds), "test")
    sim.reset(np.asarray(seeds, np.int64))
    returns, taken = np.zeros(len(seeds)), []
    for step in range(config.num_steps):
        duty = np.array(plan(step, sim), np.bool_).reshape(len(seeds), config.num_cars)
        flat = duty.ravel()
        sim.step(flat)
        returns += sim.ledger.reward
        taken.append(flat.reshape(duty.shape).copy())
    return Played(returns, np.stack(taken))


def worth_of(case: Case, duty: BoolArray) -> float:
    """Most that the programme makes of duties that were played, (steps, cars) of the row [USD]."""
    cars = case.cars
    held = duty[cars.step, cars.car]
    # on duty but called back at the very start of the step: nothing comes of it
    assert not (held & ~cars.may & (cars.on_h > 0)).any()
    held &= cars.may
    plan = foresight(cars, case.stays, case.shop, limits=case.limits, duty=held)
    return plan.bound_usd + case.gain_usd


def table_of(case: Case, config: EnvConfig, chosen: BoolArray) -> BoolArray:
    """Duty bits, (steps, cars), of a choice of car-steps."""
    table = np.zeros((config.num_steps, config.num_cars), np.bool_)
    table[case.cars.step[chosen], case.cars.car[chosen]] = True
    return table


def hard_plans(config: EnvConfig, num_rows: int, seed: int) -> Iterator[tuple[str, Plan]]:
    """Plans that look for what an envelope forgot, each told everything."""
    rng, shape = np.random.default_rng(seed), (num_rows, config.num_cars)
    state, some = rng.random(shape) < 0.5, rng.random(shape) < 0.3

    def telegraph(step: int, sim: FleetSim) -> BoolArray:
        np.logical_xor(state, rng.random(shape) < 0.05, out=state)
        return state

    def cheap(step: int, sim: FleetSim) -> BoolArray:
        price = sim.table.price[:, sim.world.derived.area]
        return (price[step] <= np.quantile(price, 0.15, axis=0)).reshape(shape)

    yield "all", lambda step, sim: np.ones(shape, np.bool_)
    yield "random", lambda step, sim: rng.random(shape) < 0.1
    yield "telegraph", telegraph
    yield "toggle", lambda step, sim: np.full(shape, step % 2 == 0)
    yield "last hours", lambda step, sim: np.full(shape, step >= 0.95 * config.num_steps)
    yield "cheapest prices", cheap
    yield "dear hours, some cars", lambda step, sim: some & ~cheap(step, sim)
    yield (
        "before departures",
        lambda step, sim: (sim.world.state.event_h - sim.t_h < 3.0).reshape(shape),
    )
    yield (
        "before long trips",
        lambda step, sim: (sim.world.state.trip_kwh > 0.2 * sim.world.params.pack_kwh).reshape(
            shape
        ),
    )
    yield (
        "low charge",
        lambda step, sim: (sim.world.twin_soc(slice(None), sim.t_h) < 0.5).reshape(shape),
    )
    yield "closed garages", lambda step, sim: sim.world.derived.garage.reshape(shape)
    yield "safe", lambda step, sim: safe_cars(sim).reshape(shape)


def safe_cars(sim: FleetSim) -> BoolArray:
    """Cars at strong plugs that stay for hours: they lose little that the programme leaves out."""
    left_h = sim.world.state.event_h - sim.t_h
    safe: BoolArray = (left_h > 6.0) & (left_h < 30.0) & (sim.world.derived.evse > EVSE_L1)
    return safe

"""Days of random fleets under random play, with all that the simulation knew: for the invariants.

A case number names the card, the scenario and the actions. Cases are recorded once per session:
every invariant is checked on all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fleet_env import draws
from fleet_env import settle as settle_module
from fleet_env import sim as sim_module
from fleet_env.config import EnvConfig
from fleet_env.generators.clock import (
    YEAR_OF_SPLIT,
    load_zone,
    local_time,
    scenario_days,
    start_utc_min,
)
from fleet_env.generators.outages import StepOutages
from fleet_env.regions import regions_of
from fleet_env.scenarios import scenario
from fleet_env.telemetry import duty_mask
from fleet_env.uncertain import cards_of_rows
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.world import Gates
from tests.contract.worlds import random_world

PLAIN_CASES = 18  # recorded in the plain run; `-m slow` adds the rest
ALL_CASES = 160
SALT = 4  # so chosen that the plain cases reach what the laws are about

# accelerators and requests at a time: both tiers, one tier, either tier (one is chosen), none
HARDWARE: list[tuple[dict[str, float], int]] = [
    ({"ai5": 1.0}, 32),
    ({"ai4": 0.4, "ai5": 0.6}, 32),
    ({"ai5": 1.0}, 140),
    ({"ai4": 1.0}, 32),
    ({"ai4": 0.3, "ai5": 0.7}, 140),
    ({"claim": 0.5, "ai5": 0.5}, 32),
]

Arrays = dict[str, NDArray[Any]]


def random_card(case: int) -> EnvConfig:
    """A card with everything that may be set to something else, 1 to 40 cars."""
    rng = np.random.default_rng([case, SALT])

    def pick(*options: Any) -> Any:
        return options[rng.integers(len(options))]

    mix, slots = HARDWARE[case % len(HARDWARE)]
    short = case % 16 == 4  # steps shorter than the tail
    off_from_c = pick(50.0, 50.0, 50.0, 18.0)
    card: dict[str, Any] = {
        "num_cars": int(pick(1, 5, 17, 40, 40, 40)),
        "step_min": 10 if short else pick(15, 30, 30, 60, 60, 60, 60),
        "start_hour": float(pick(0, 7.5, 12, 12, 18)),
        "fleet": {
            "accelerators": mix,
            "unplugged_share": pick(0.0, 0.5, 0.5, 1.0),
            "cellular_share": pick(0.0, 0.5, 1.0),
            "level1_share": pick(0.25, 1.0),
            "work_charger_share": pick(0.15, 1.0),
            "home_charger_share": pick(0.8, 0.8, 1.0, 0.2),
            "closed_garage_share": pick(0.4, 1.0),
            "weights_missing_share": pick(0.02, 0.5),
            "override_per_month": pick(0.5, 0.5, 30.0),
            "reserve_soc": pick(0.3, 0.1, 0.1, 0.6),
            "paid_habits": pick(False, True),
        },
        "serving": {
            "batch_slots": slots,
            "tail_min": 15.0 if short else pick(5.0, 15.0, 0.0),
        },
        "demand": {
            "load": pick(0.0, 0.5, 0.5, 2.0, 2.0, 10.0),
            "batch_share": pick(0.3, 0.3, 0.3, 0.0, 1.0),
            "source": pick("servegen", "azure2024", "synthetic"),
            "rate_noise_cv": pick(0.0, 0.3),
        },
        "energy": {
            "source": pick("managed", "managed", "grid", "pack"),
            "tariff": pick("california_ev_tou", "flat", "day_ahead"),
        },
        "thermal": {"off_from_c": off_from_c, "derate_from_c": min(off_from_c, 35.0) - 5.0},
        "reward": {"slo_penalty": pick(1.0, 3.0)},
    }
    if set(mix) == {"ai4"}:  # no car holds the 70B tier
        card["demand"] |= {"batch_share": 0.0, "chat_70b_share": 0.0}
    for section, settings_of_section in random_world(rng, card).items():
        card[section] = {**card.get(section, {}), **settings_of_section}
    return scenario("suburb", **card)


def random_actions(case: int, shape: tuple[int, int, int]) -> NDArray[np.int8]:
    """Duty bits of a day: coins, habits that last, or always on."""
    rng = np.random.default_rng([case, 2])
    bits = rng.random(shape) < rng.choice([0.2, 0.6])
    style = case % 3
    if style == 1:  # switch rarely
        keep = rng.random(shape) < 0.85
        for k in range(1, shape[0]):
            bits[k] = np.where(keep[k], bits[k - 1], bits[k])
    elif style == 2:
        bits[:] = True
    return bits.astype(np.int8)


@dataclass(frozen=True)
class Step:
    """One step: state before and after, what was asked, what the kernels said, what was told.

    `before` is the state that the step starts from; `after` is that at its end, before links and
    power break or return and models are released at the start of the next one.
    """

    before: Arrays
    after: Arrays
    outages: StepOutages
    gates: Gates
    action: NDArray[np.int8]
    obs: Any  # at the end, opening of the next step included
    reward: NDArray[Any]
    truncated: NDArray[np.bool_]
    info: dict[str, Any]
    flows: Any
    duty: Any  # Dispatch
    plug: Any  # PlugStep of the cars `duty.cars`, None if there were none
    mode: Any
    asked: Any  # Metered, before transformers limit it
    meter: Any  # Metered


@dataclass(frozen=True)
class Day:
    """A recorded day of one case."""

    case: int
    env: FleetVectorEnv  # at the horizon
    first_obs: Any
    steps: list[Step]

    @property
    def config(self) -> EnvConfig:
        """The card."""
        return self.env.config

    @cached_property
    def cards(self) -> tuple[EnvConfig, ...]:
        """The card that each row was played with: what was drawn for it put in."""
        return cards_of_rows(self.config, self.env.sim.drawn, self.env.num_envs)

    @property
    def area(self) -> NDArray[Any]:
        """Area of every car."""
        return self.env.sim.world.derived.area

    def of_cars(self, setting: Callable[[EnvConfig], Any]) -> NDArray[Any]:
        """A setting of the cards of the rows, by car."""
        return np.repeat([setting(card) for card in self.cards], self.config.num_cars)

    def rows(self, per_car: NDArray[Any]) -> NDArray[Any]:
        """Sum an array over the cars of each row, float64."""
        return per_car.reshape(self.env.num_envs, -1).sum(axis=1, dtype=np.float64)

    def per_row(self, cars: NDArray[Any], value: NDArray[Any]) -> NDArray[Any]:
        """Sum a value per listed car over its row, float64."""
        row = cars // self.config.num_cars
        return np.bincount(row, weights=value, minlength=self.env.num_envs)


def snapshot(env: FleetVectorEnv) -> Arrays:
    """Copy of the whole state, flat; `soc` and `mask` are the truth, `told` and `shown` not so."""
    sim, world = env.sim, env.sim.world
    now = {f.name: getattr(world.state, f.name).copy() for f in fields(world.state)}
    everyone, t_h = slice(None), sim.t_h
    now["soc"] = world.twin_soc(everyone, t_h) - world.state.gap
    now["mask"] = np.empty(len(now["soc"]), np.bool_)
    duty_mask(world, everyone, now["soc"], sim.gates, t_h, out=now["mask"])
    now["told"], now["shown"] = sim.mask.copy(), sim.soc.copy()
    now["batch_due"], now["running"] = sim.queue.batch_due.copy(), sim.queue.running.copy()
    now["t_h"] = np.float64(t_h)
    return now


@cache
def dst_seeds(zones: tuple[str, ...], start_hour: float) -> NDArray[Any]:
    """Scenarios of the split train in which the clock of a zone jumps within the first 24 h."""
    index = np.arange(4000)
    first, *_ = found = [load_zone(name, YEAR_OF_SPLIT["train"]) for name in zones]
    start_day = scenario_days("train", draws.scenario_key("train", index), 1)
    utc_min = start_utc_min(first, start_day, start_hour)
    jump_h = [local_time(zone, zone.weekday, utc_min, 2).change_h for zone in found]
    return np.flatnonzero(np.min(jump_h, axis=0) < 24.0)


def random_seed(case: int, config: EnvConfig) -> int:
    """A scenario; in every third case one in which a clock jumps."""
    seed = int(np.random.default_rng([case, 3]).integers(10_000))
    if case % 3 == 1:
        seeds = dst_seeds(tuple(r.time_zone for r in regions_of(config)), config.start_hour)
        seed = int(seeds[seed % len(seeds)])
    return seed


@cache
def record(case: int) -> Day:
    """Play a case, once per session, and keep it."""
    config = random_card(case)
    num_envs = 1 + int(np.random.default_rng([case, 4]).integers(3))
    env = FleetVectorEnv(num_envs=num_envs, config=config, car_reward=True)
    first_obs, _ = env.reset(seed=random_seed(case, config))
    actions = random_actions(case, (config.num_steps, num_envs, config.num_cars))
    with pytest.MonkeyPatch.context() as patch:
        heard = _listen(patch)
        steps = [_step(env, action, heard) for action in actions]
    return Day(case, env, first_obs, steps)


def _listen(patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keep what kernels are given and return, and the state at the end of a step.

    The fleets fit one block.
    """
    heard: dict[str, Any] = {}
    settle, meter, limit = sim_module.settle, settle_module.meter, settle_module.feeder.limit
    book = sim_module.FleetSim._remember

    def hear_settle(world: Any, block: Any, step: Any, *rest: Any) -> Any:
        heard["duty"] = step
        return settle(world, block, step, *rest)

    def hear_meter(plug: Any, mode: Any) -> Any:
        heard["plug"], heard["mode"] = plug, mode
        heard["asked"] = heard["meter"] = meter(plug, mode)
        return heard["meter"]

    def hear_limit(*given: Any) -> Any:
        heard["meter"], cut_kwh = limit(*given)
        return heard["meter"], cut_kwh

    def hear_end(sim: Any) -> None:
        """Links and power of the next step are still to be switched."""
        heard["end"] = heard["look"]()
        book(sim)

    patch.setattr(sim_module, "settle", hear_settle)
    patch.setattr(settle_module, "meter", hear_meter)
    patch.setattr(settle_module.feeder, "limit", hear_limit)
    patch.setattr(sim_module.FleetSim, "_remember", hear_end)
    return heard


def _step(env: FleetVectorEnv, action: NDArray[np.int8], heard: dict[str, Any]) -> Step:
    before, gates = snapshot(env), env.sim.gates
    outages = env.sim.outages.at(env.sim.step_index) or StepOutages()
    heard.clear()
    heard["look"] = lambda: snapshot(env)
    obs, reward, truncated, info = env.play(action)
    kinds = ("duty", "plug", "mode", "asked", "meter")
    said = {name: copy.deepcopy(heard.get(name)) for name in kinds}
    return Step(
        before=before,
        after=heard["end"],
        outages=outages,
        gates=gates,
        action=action,
        obs=obs,
        reward=reward,
        truncated=truncated,
        info=info,
        flows=copy.deepcopy(env.sim.flows),
        **said,
    )


def light_card(case: int) -> EnvConfig:
    """The card of a case with few and long steps, for tests that play it several times."""
    config = random_card(case)
    return replace(config, step_min=60, num_cars=min(config.num_cars, 17))


cases = st.integers(0, PLAIN_CASES - 1)
every_case = settings(max_examples=PLAIN_CASES)
more_cases = st.integers(PLAIN_CASES, ALL_CASES - 1)


def law_tests(laws: dict[str, Callable[[Day], None]]) -> tuple[Callable[..., None], ...]:
    """Test every law on the plain cases, and on many more under the marker `slow`."""
    patient = [HealthCheck.too_slow]

    @pytest.mark.parametrize("name", laws)
    @given(case=cases)
    @settings(every_case, suppress_health_check=patient)
    def test_invariant(name: str, case: int) -> None:
        laws[name](record(case))

    @pytest.mark.slow
    @pytest.mark.parametrize("name", laws)
    @given(case=more_cases)
    @settings(max_examples=60, suppress_health_check=patient)
    def test_invariant_on_many_cards(name: str, case: int) -> None:
        laws[name](record(case))

    return test_invariant, test_invariant_on_many_cards

"""The one loop that plays policies on scenarios and returns records (no Hydra, no plotting)."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agents import registry
from agents.base import Obs, Policy, fleet_field
from fleet_env.config import EnvConfig
from fleet_env.generators.clock import MIN_PER_DAY, YEAR_OF_SPLIT, load_zone
from fleet_env.regions import regions_of
from fleet_env.rewards import request_kwh
from fleet_env.types import CLASSES, FloatArray
from fleet_env.units import MIN_PER_H
from fleet_env.vector_env import FleetVectorEnv

StepHook = Callable[[int, Sequence[int], Obs, dict[str, Any]], None]
Tick = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Days:
    """Which scenarios are played, and how many side by side."""

    split: str
    first: int
    count: int
    num_envs: int

    def batches(self) -> list[list[int]]:
        """Scenario numbers, `num_envs` to a batch; the last batch may be smaller."""
        if self.count < 1 or self.num_envs < 1 or self.first < 0:
            raise ValueError(f"{self}: expected count >= 1, num_envs >= 1, first >= 0")
        days = list(range(self.first, self.first + self.count))
        return [days[i : i + self.num_envs] for i in range(0, len(days), self.num_envs)]

    def singly(self) -> list[Days]:
        """Cut into single days."""
        numbers = range(self.first, self.first + self.count)
        return [Days(self.split, number, 1, 1) for number in numbers]


def play(
    config: EnvConfig,
    policy: str | Policy,
    days: Days,
    seed: int,
    options: dict[str, Any] | None = None,
    on_step: StepHook | None = None,
) -> pd.DataFrame:
    """Play one policy on all days.

    Every policy meets the same scenarios, and its own randomness depends only on `seed`, its
    name and the scenarios of the batch.

    Parameters
    ----------
    config : EnvConfig
    policy : str or Policy
        A name of `agents.registry`, or a policy of one's own.
    days : Days
    seed : int
    options : dict, optional
        Keyword arguments of a policy that is named.
    on_step : callable, optional
        Called after every step with its number, the scenarios of the rows, what was seen before
        the step, and `info`.

    Returns
    -------
    pandas.DataFrame
        One row per scenario: `policy`, `split`, `scenario`, `num_cars`, `days`; `date` (local, of
        prices and weather) and `trace_day` (day of the demand trace) on which it starts; the
        episode fields of `fleet_env.metrics`; `dc_kwh` and `dc_carbon_kg`, what the data centre
        would have used and emitted for the requests that cars did on time, in the same steps;
        `available_h`, car-hours in which the mask allowed a car; `jain_duty`, fairness of the hours
        on duty over owners (`jain`); and `decision_s` (median seconds per decision of one fleet).
    """
    frames = []
    name = policy if isinstance(policy, str) else policy.name
    for scenarios in days.batches():
        env = FleetVectorEnv(num_envs=len(scenarios), split=days.split, config=config)
        player = _named(config, policy, options or {}) if isinstance(policy, str) else policy
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), *scenarios])
        episode = _episode(env, player, scenarios, rng, on_step)
        env.close()
        head = {"policy": name, "split": days.split}
        size = {"num_cars": config.num_cars, "days": config.days}
        frames.append(pd.DataFrame({**head, **size, **_start(env), **episode}))
    return pd.concat(frames, ignore_index=True)


def _named(config: EnvConfig, name: str, options: dict[str, Any]) -> Policy:
    """Build a policy; one that plans with the length of a step is told it."""
    if "step_h" in registry.setting_names(name):
        options = {"step_h": config.step_min / MIN_PER_H} | options
    return registry.make(name, **options)


def _start(env: FleetVectorEnv) -> dict[str, Any]:
    """Local date of each scenario, and the day of the demand trace that it replays first.

    Both are those of the first region.
    """
    exo = env.sim.exo
    zone = load_zone(regions_of(env.config)[0].time_zone, YEAR_OF_SPLIT[env.split])
    local_day = (exo.utc_start_min + zone.offset(exo.utc_start_min)) // MIN_PER_DAY
    date = local_day.astype("datetime64[D]").astype(str)
    start_minute = exo.start_minute.reshape(env.num_envs, -1)[:, 0]
    return {"date": date, "trace_day": start_minute // MIN_PER_DAY}


def _episode(
    env: FleetVectorEnv,
    policy: Policy,
    scenarios: Sequence[int],
    rng: np.random.Generator,
    on_step: StepHook | None,
) -> dict[str, Any]:
    first, info = env.reset(options={"scenario_seeds": list(scenarios)})
    obs = cast("Obs", first)
    policy.reset(np.ones(env.num_envs, dtype=bool))
    kwh_per_request = request_kwh(env.config)
    dc_kwh, dc_carbon_kg = np.zeros(env.num_envs), np.zeros(env.num_envs)
    available_h, duty_h = np.zeros(env.num_envs), np.zeros((env.num_envs, env.config.num_cars))
    seconds: list[float] = []
    for step in range(env.config.num_steps):
        carbon_kg_per_kwh = fleet_field(obs, "carbon").astype(np.float64)
        start = time.perf_counter()
        action = policy.act(obs, rng)
        seconds.append((time.perf_counter() - start) / env.num_envs)
        available_h += (obs["mask"] != 0).sum(axis=1) * env.config.dt_h
        after, _, _, info = env.play(action)
        duty_h += np.asarray(action) * env.config.dt_h
        kwh = kwh_per_request @ [info[f"metric/on_time_{name}"] for name in CLASSES]
        dc_kwh += kwh
        dc_carbon_kg += kwh * carbon_kg_per_kwh
        if on_step is not None:
            on_step(step, scenarios, obs, info)
        obs = cast("Obs", after)
    return {
        **{name: np.asarray(sums) for name, sums in info["episode_sums"].items()},
        "dc_kwh": dc_kwh,
        "dc_carbon_kg": dc_carbon_kg,
        "available_h": available_h,
        "jain_duty": jain(duty_h),
        "decision_s": float(np.median(seconds)),
    }


def jain(shares: FloatArray) -> FloatArray:
    """Fairness index of Jain, Chiu & Hawe 1984: (sum x)^2 / (n sum x^2).

    Parameters
    ----------
    shares : FloatArray, shape (..., n)
        What each of n owners gets, 0 or more.

    Returns
    -------
    FloatArray, shape (...)
        1 if all get alike, 1/n if one gets all; NaN where nobody gets anything.
    """
    squares = shares.shape[-1] * (shares**2).sum(axis=-1)
    index = np.full(squares.shape, np.nan)
    np.divide(shares.sum(axis=-1) ** 2, squares, out=index, where=squares > 0)
    return index


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[str], Tick]]:
    """Show a bar on the terminal (nothing elsewhere).

    Yields a function: call it with the name of the part that starts, and what it returns when
    the part is done.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)

        def begin(name: str) -> Tick:
            bar.update(task, description=f"{title} {name}")
            return lambda: bar.advance(task)

        yield begin

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
from experiments.nearest import nearest
from fleet_env.config import EnvConfig
from fleet_env.types import FloatArray
from fleet_env.vector_env import FleetVectorEnv

StepHook = Callable[[int, Sequence[int], dict[str, Any]], None]  # step, scenarios, info
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


def play(
    config: EnvConfig,
    policy_name: str,
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
    policy_name : str
        A name of `agents.registry`.
    days : Days
    seed : int
    options : dict, optional
        Keyword arguments of the policy.
    on_step : callable, optional
        Called after every step with its number, the scenarios of the rows, and `info`.

    Returns
    -------
    pandas.DataFrame
        One row per scenario: `policy`, `split`, `scenario`, `num_cars`, `days`, the episode
        fields of `fleet_env.metrics`, `grid_kg_per_kwh` (mean of the steps) and `decision_s`
        (median seconds per decision of one fleet).
    """
    frames = []
    for scenarios in days.batches():
        env = FleetVectorEnv(num_envs=len(scenarios), split=days.split, config=config)
        policy = registry.make(policy_name, **(options or {}))
        rng = np.random.default_rng([seed, zlib.crc32(policy_name.encode()), *scenarios])
        episode = _episode(env, policy, scenarios, rng, on_step)
        env.close()
        head = {"policy": policy_name, "split": days.split}
        size = {"num_cars": config.num_cars, "days": config.days}
        frames.append(pd.DataFrame({**head, **size, **episode}))
    return pd.concat(frames, ignore_index=True)


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
    carbon: list[FloatArray] = []
    seconds: list[float] = []
    for step in range(env.config.num_steps):
        carbon.append(fleet_field(obs, "carbon").astype(np.float64))
        start = time.perf_counter()
        action = policy.act(obs, rng)
        seconds.append((time.perf_counter() - start) / env.num_envs)
        after, _, _, info = env.play(action)
        obs = cast("Obs", after)
        if on_step is not None:
            on_step(step, scenarios, info)
    return {
        **{name: np.asarray(sums) for name, sums in info["episode_sums"].items()},
        "grid_kg_per_kwh": np.mean(carbon, axis=0),
        "decision_s": float(np.median(seconds)),
    }


def policies_or_all(names: Sequence[str]) -> list[str]:
    """Return the wanted policies, or every registered one where none is named.

    Raises
    ------
    ValueError
        If a name is not registered: before anything is played.
    """
    known = list(registry.names())
    for name in names:
        if name not in known:
            raise ValueError(f"policies={name}: no such policy{nearest(name, known)}")
    return list(names) if names else known


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

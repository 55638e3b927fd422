"""What candidates of a search earn: all of them on the same days, side by side in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from agents.base import Obs
from agents.index.parameters import start_vector
from agents.index.policy import choose
from fleet_env.config import EnvConfig
from fleet_env.scenarios import SPLIT_SIZE
from fleet_env.types import FloatArray
from fleet_env.units import DAYS_PER_MONTH
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.views.index import INDEX_FEATURES, Candidates

BATCH_CARS = 400_000  # cars of all rows side by side: about 0.5 GB


def train_days(generation: int, num_days: int) -> list[int]:
    """Scenarios of a generation: a new batch each time, the same for all its candidates."""
    first = generation * num_days
    return [day % SPLIT_SIZE["train"] for day in range(first, first + num_days)]


def earned(
    config: EnvConfig, split: str, scenarios: Sequence[int], parameters: FloatArray
) -> FloatArray:
    """Play every candidate on every scenario.

    Parameters
    ----------
    config : EnvConfig
        Card; shows its cars.
    split : str
    scenarios : sequence of int
    parameters : FloatArray, shape (k, n)
        Candidates, in the order of `agents.index.parameters.PARAMETERS`.

    Returns
    -------
    FloatArray, shape (k, len(scenarios))
        USD per car-month against the data centre alone. A candidate's figures do not depend on
        the others.
    """
    at_once = max(1, BATCH_CARS // (len(scenarios) * config.num_cars))
    parts = [
        _earned(config, split, scenarios, parameters[i : i + at_once])
        for i in range(0, len(parameters), at_once)
    ]
    return np.concatenate(parts)


def _earned(
    config: EnvConfig, split: str, scenarios: Sequence[int], parameters: FloatArray
) -> FloatArray:
    rows = np.repeat(parameters, len(scenarios), axis=0)
    env = FleetVectorEnv(num_envs=len(rows), split=split, config=config)
    obs, _ = env.reset(options={"scenario_seeds": list(scenarios) * len(parameters)})
    total = np.zeros(len(rows))
    for _ in range(config.num_steps):
        obs, reward, _, _ = env.play(choose(cast("Obs", obs), rows))
        total += reward
    env.close()
    car_months = config.num_cars * config.days / DAYS_PER_MONTH
    return (total / car_months).reshape(len(parameters), len(scenarios))


def same_for_all(config: EnvConfig, scenarios: Sequence[int]) -> tuple[str, ...]:
    """Features that never differ between the cars of a card: weights of these move nothing.

    Looked for among the cars that the mask allows, on train days played as the search starts.
    """
    env = FleetVectorEnv(num_envs=len(scenarios), split="train", config=config)
    obs, _ = env.reset(options={"scenario_seeds": list(scenarios)})
    rows = np.tile(start_vector(), (len(scenarios), 1))
    names = [feature.name for feature in INDEX_FEATURES]
    low, high = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf)
    for _ in range(config.num_steps):
        cars = Candidates.of(cast("Obs", obs))
        for name, values in zip(names, cars.features, strict=True):
            low[name] = float(values.min(initial=low[name]))
            high[name] = float(values.max(initial=high[name]))
        obs, _, _, _ = env.play(choose(cars, rows))
    env.close()
    return tuple(name for name in names if not high[name] > low[name])

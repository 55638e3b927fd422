"""Days of the suburb as they were played when the files beside this one were written.

A number that moves is a bug or a new version of the environment, never a routine update. To write
the files anew: ``pytest tests/golden --update-golden``, in a commit that says which number moved
and why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import agents
from fleet_env.metrics import METRICS, REWARD_TERMS
from fleet_env.observations import CAR_FIELDS, FLEET_FIELDS

HERE = Path(__file__).parent
ENV_IDS = ("fleet_env/Fleet-v0",)
POLICIES = ("always_on", "cheapest_first")
SCENARIOS = (0, 1)  # of the test split
NUM_CARS = 50
RTOL, ATOL = 1e-6, 1e-9
NOTE = "written by tests/golden/test_rollouts.py"


def rollout(env_id: str, policy_name: str, scenario: int) -> dict[str, Any]:
    """Play a day and sum up all that was told."""
    env = gym.make_vec(
        env_id,
        num_envs=1,
        vectorization_mode="vector_entry_point",
        scenario="suburb",
        num_cars=NUM_CARS,
        split="test",
    )
    policy, rng = agents.make(policy_name), np.random.default_rng(0)
    obs, _ = env.reset(options={"scenario_seeds": [scenario]})
    policy.reset(np.ones(1, np.bool_))
    sums = _observed(obs, 0)
    bits, truncated, k = 0.0, np.zeros(1, np.bool_), 0
    while not truncated.any():
        action = policy.act(obs, rng)
        bits += float(action.sum())
        obs, _, _, truncated, info = env.step(action)
        k += 1
        seen = info["final_obs"][0] if truncated.any() else {key: v[0] for key, v in obs.items()}
        for key, value in _observed({key: v[None] for key, v in seen.items()}, k).items():
            sums[key] += value
    episode = info["final_info"]["episode_sums"]
    told = {"return": episode["return"], "length": episode["length"]}
    told |= {f"reward/{name}": episode[f"reward/{name}"] for name in REWARD_TERMS}
    told |= {f"metric/{name}": episode[f"metric/{name}"] for name in METRICS}
    return {**{key: float(value[0]) for key, value in told.items()}, "bits": bits, **sums}


def _observed(obs: Any, k: int) -> dict[str, float]:
    """Sums over the cars of each field, weighted by step and car so that a swap is seen."""
    weight = 1.0 + 0.01 * k
    cars = obs["cars"][0].astype(np.float64)
    order = 1.0 + np.arange(len(cars)) / len(cars)
    by_field = weight * (order @ np.abs(cars))
    fleet = weight * np.abs(obs["fleet"][0].astype(np.float64))
    sums = {f"cars/{f.name}": float(x) for f, x in zip(CAR_FIELDS, by_field, strict=True)}
    sums |= {f"fleet/{f.name}": float(x) for f, x in zip(FLEET_FIELDS, fleet, strict=True)}
    sums["mask"] = float(weight * (order @ obs["mask"][0]))
    return sums


@pytest.mark.parametrize("policy_name", POLICIES)
@pytest.mark.parametrize("env_id", ENV_IDS)
def test_days_are_those_of_the_golden_file(
    env_id: str, policy_name: str, update_golden: bool
) -> None:
    path = HERE / f"{env_id.split('/')[-1]}_{policy_name}.json"
    got = {f"test {s}": rollout(env_id, policy_name, s) for s in SCENARIOS}
    if update_golden:
        file = {"note": NOTE, "numpy": np.__version__, "days": got}
        path.write_text(json.dumps(file, indent=1, sort_keys=True) + "\n", "utf-8")
    golden = json.loads(path.read_text("utf-8"))
    assert got.keys() == golden["days"].keys()
    for day, want in golden["days"].items():
        assert got[day].keys() == want.keys(), day
        moved = {
            key: (value, got[day][key])
            for key, value in want.items()
            if not np.isclose(got[day][key], value, rtol=RTOL, atol=ATOL)
        }
        assert not moved, (
            f"{day} (golden, now), numpy {golden['numpy']} v {np.__version__}: {moved}"
        )

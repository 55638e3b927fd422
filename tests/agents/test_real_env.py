"""Every rule in the environment itself: it runs, and the ends of the scale lie apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import agents
from fleet_env.vector_env import FleetVectorEnv


def _play(name: str, env: FleetVectorEnv, seed: int) -> Any:
    """Play one episode per row; return the returns [USD], shape (num_envs,)."""
    policy, rng = agents.make(name), np.random.default_rng(seed)
    obs, _ = env.reset(seed=seed)
    policy.reset(np.ones(env.num_envs, np.bool_))
    for _ in range(env.config.num_steps):
        assert isinstance(obs, dict)
        action = policy.act(obs, rng)
        assert (action <= obs["mask"]).all()
        obs, _, _, truncated, info = env.step(action)
    assert truncated.all()
    return info["final_info"]["episode_sums"]["return"]


@pytest.fixture(scope="module")
def small() -> FleetVectorEnv:
    return FleetVectorEnv("suburb", num_envs=2, num_cars=40)


@pytest.mark.parametrize("name", agents.names())
def test_rule_plays_a_day(small: FleetVectorEnv, name: str) -> None:
    returns = _play(name, small, seed=3)
    assert np.isfinite(returns).all()
    if name == "dc_only":
        assert (returns == 0.0).all()
    else:
        assert (returns != 0.0).all()


@pytest.mark.slow
def test_bad_earns_less_than_cheapest_first_on_the_suburb() -> None:
    env = FleetVectorEnv("suburb", num_envs=8, num_cars=200)
    returns = {name: _play(name, env, seed=100) for name in agents.names()}
    bad, good = returns["deliberately_bad"], returns["cheapest_first"]
    assert (bad < good).all()
    assert good.mean() > 0.0 > bad.mean()
    naive = {"always_on", "deliberately_bad"}  # both live on shortfalls and lie close
    for name in set(returns) - naive:
        assert bad.mean() < returns[name].mean(), name


@pytest.mark.slow
def test_a_row_plays_alone_as_in_a_batch(small: FleetVectorEnv) -> None:
    single = FleetVectorEnv("suburb", num_envs=1, num_cars=40)
    for name in (
        "consolidate",
        "plugged_full_first",
        "hedged_spares",
        "lowest_carbon",
    ):
        together = _play(name, small, seed=5)
        alone = _play(name, single, seed=5)
        assert alone[0] == together[0], name

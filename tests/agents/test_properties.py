"""Laws that every policy keeps, on random tie-free observations."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agents
from fleet_env.observations import CAR

seeds = st.integers(0, 100_000)
NAMES = agents.names()
WITHOUT_COINS = tuple(name for name in NAMES if name != "random")
RANKING = (
    "longest_stay", "cheapest_first", "warm_first", "consolidate", "uniform_progress",
    "safety_net", "least_laxity", "lowest_price", "lowest_window", "wait_awhile",
    "lowest_carbon", "peak_shaver",
)  # fmt: skip
WITH_MEMORY = (
    "full_cost_first",
    "mpc",
    "price_index",
    "plugged_full_first",
    "hedged_spares",
    "lowest_carbon",
    "recurrent_index",
)


def _act(name: str, obs: Any) -> Any:
    return agents.make(name).act(obs, np.random.default_rng(0))


def _rows(obs: Any, rows: Any) -> Any:
    return {key: value[rows] for key, value in obs.items()}


@given(seed=seeds, num_envs=st.integers(1, 5), num_cars=st.integers(1, 30))
@settings(max_examples=25)
def test_action_never_exceeds_the_mask(
    random_obs: Any, seed: int, num_envs: int, num_cars: int
) -> None:
    obs = random_obs(seed, num_envs, num_cars)
    for name in NAMES:
        action = _act(name, obs)
        assert action.shape == (num_envs, num_cars)
        assert action.dtype == np.int8
        assert set(np.unique(action)) <= {0, 1}
        assert (action <= obs["mask"]).all(), name


@given(seed=seeds)
@settings(max_examples=20)
def test_permuting_cars_permutes_the_action(random_obs: Any, seed: int) -> None:
    obs = random_obs(seed, 2, 25)
    order = np.random.default_rng(seed + 1).permutation(25)
    moved = {"cars": obs["cars"][:, order], "fleet": obs["fleet"], "mask": obs["mask"][:, order]}
    for name in WITHOUT_COINS:
        np.testing.assert_array_equal(_act(name, moved), _act(name, obs)[:, order], name)


@given(seed=seeds)
@settings(max_examples=4)
def test_a_row_alone_acts_as_in_a_batch(random_obs: Any, seed: int) -> None:
    obs = random_obs(seed, 7, 25)
    for name in WITHOUT_COINS:
        together = _act(name, obs)
        for row in range(7):
            alone = _act(name, _rows(obs, [row]))
            np.testing.assert_array_equal(alone[0], together[row], name)


@pytest.mark.parametrize("name", WITH_MEMORY)
@given(seed=seeds)
@settings(max_examples=5)
def test_memory_of_a_row_does_not_depend_on_the_batch(
    random_obs: Any, name: str, seed: int
) -> None:
    steps = [random_obs(seed + k, 4, 20) for k in range(6)]
    for obs in steps:
        obs["cars"][..., :] = steps[0]["cars"]  # the same cars; masks and hours change
    batch, single = agents.make(name), agents.make(name)
    for obs in steps:
        together = batch.act(obs, np.random.default_rng(0))
        alone = single.act(_rows(obs, [2]), np.random.default_rng(0))
        np.testing.assert_array_equal(alone[0], together[2])


@pytest.mark.parametrize("name", WITH_MEMORY)
@given(seed=seeds)
@settings(max_examples=8)
def test_a_new_episode_starts_without_memory(random_obs: Any, name: str, seed: int) -> None:
    policy, rng = agents.make(name), np.random.default_rng(0)
    for k in range(3):
        policy.act(random_obs(seed + k, 3, 20), rng)
    policy.reset(np.ones(3, np.bool_))
    obs = random_obs(seed + 3, 3, 20)
    np.testing.assert_array_equal(policy.act(obs, rng), _act(name, obs))


@given(seed=seeds)
@settings(max_examples=20)
def test_the_observation_is_left_alone_and_the_action_is_fresh(random_obs: Any, seed: int) -> None:
    obs = random_obs(seed, 2, 10)
    before = {key: value.copy() for key, value in obs.items()}
    for name in NAMES:
        action = _act(name, obs)
        for value in obs.values():
            assert not np.shares_memory(action, value), name
        action[:] = 1
        for key, value in obs.items():
            np.testing.assert_array_equal(value, before[key], name)


@given(seed=seeds)
@settings(max_examples=15)
def test_memory_layout_does_not_matter(random_obs: Any, seed: int) -> None:
    obs = random_obs(seed, 3, 20)
    plain = {key: np.ascontiguousarray(value) for key, value in obs.items()}
    for name in WITHOUT_COINS:
        np.testing.assert_array_equal(_act(name, plain), _act(name, obs), name)


@given(seed=seeds, factor=st.floats(1.0, 3.0))
@settings(max_examples=40)
def test_more_room_never_wakes_fewer_cars(random_obs: Any, seed: int, factor: float) -> None:
    obs = random_obs(seed, 3, 30)
    obs["cars"][..., CAR["fits_70b"]] = 1  # one tier: the cars nest
    rng = np.random.default_rng(0)
    few = agents.make("longest_stay", over_provision=1.0).act(obs, rng)
    many = agents.make("longest_stay", over_provision=factor).act(obs, rng)
    assert (few <= many).all()


def test_deliberately_bad_is_no_copy_of_a_rule(random_obs: Any) -> None:
    obs = random_obs(3, 20, 40)
    bad = _act("deliberately_bad", obs)
    for name in WITHOUT_COINS:
        if name != "deliberately_bad":
            assert (bad != _act(name, obs)).mean() > 0.02, name


def test_fleets_without_feasible_cars_are_served(random_obs: Any) -> None:
    obs = random_obs(1, 2, 5)
    obs["mask"][:] = 0
    for name in NAMES:
        assert not _act(name, obs).any(), name


def test_rules_without_memory_are_stateless(random_obs: Any) -> None:
    first, second = random_obs(1, 3, 20), random_obs(2, 3, 20)
    for name in set(WITHOUT_COINS) - set(WITH_MEMORY):
        policy, rng = agents.make(name), np.random.default_rng(0)
        policy.act(first, rng)
        np.testing.assert_array_equal(policy.act(second, rng), _act(name, second), name)


@pytest.mark.perf
@pytest.mark.parametrize("name", RANKING)
def test_ranking_rules_take_at_most_1_5_ms(random_obs: Any, name: str) -> None:
    obs = random_obs(0, 64, 256)
    policy, rng, times_s = agents.make(name), np.random.default_rng(0), []
    for _ in range(50):
        start = time.perf_counter()
        policy.act(obs, rng)
        times_s.append(time.perf_counter() - start)
    assert min(times_s) <= 1.5e-3  # other processes only ever add time

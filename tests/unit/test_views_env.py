"""The views as environments: the same fleet as Fleet-v0, behind numbers that do not grow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from fleet_env import FleetCohortVectorEnv, FleetIndexVectorEnv, FleetVectorEnv, scenario
from fleet_env.views import COHORTS, INDEX_FEATURES, FleetIndexEnv, cohort_duty, index_duty
from fleet_env.views.batch import ViewVectorEnv
from tests.contract.plays import assert_same

IDS = ("fleet_env/FleetIndex-v0", "fleet_env/FleetCohort-v0")
VIEWS = (FleetIndexVectorEnv, FleetCohortVectorEnv)
CARDS = ({"scenario": "suburb"}, {"scenario": "gauntlet"}, {"scenario": "tiny", "num_cars": 3})


def _make(name: str, num_envs: int, **settings: Any) -> ViewVectorEnv:
    batch = gym.make_vec(
        name, num_envs=num_envs, vectorization_mode="vector_entry_point", **settings
    )
    assert isinstance(batch, ViewVectorEnv)
    return batch


def _actions(env: ViewVectorEnv, seed: int, num_steps: int) -> Any:
    shape = (num_steps, env.num_envs, env.num_actions)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def _bits(env: ViewVectorEnv, obs: Any, action: Any) -> Any:
    """Duty bits as docs/views.md tells."""
    if isinstance(env, FleetIndexVectorEnv):
        return index_duty(obs, action[:, :-1], (action[:, -1] + 1) / 2)
    return cohort_duty(obs, (action + 1) / 2)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("card", ["suburb", "gauntlet"])
def test_a_view_plays_fleet_v0_with_the_bits_of_its_kernel(view: Any, card: str) -> None:
    settings = {"num_cars": 40, "step_min": 60}
    env, fleet = view(card, 2, **settings), FleetVectorEnv(card, 2, **settings)
    _, info = env.reset(seed=5)
    seen, fleet_info = fleet.reset(seed=5)
    assert_same(info, fleet_info)
    for action in _actions(env, 1, 30):  # beyond the horizon of 24 steps
        seen, reward, _, _, fleet_info = fleet.step(_bits(env, seen, action))
        _, view_reward, _, _, info = env.step(action)
        np.testing.assert_array_equal(view_reward, reward / 40)
        for told in (info, fleet_info):
            told.pop("final_obs", None)
        assert_same(info, fleet_info)


@pytest.mark.parametrize("view", VIEWS)
def test_sizes_do_not_depend_on_the_number_of_cars(view: Any) -> None:
    small, large = view(num_cars=50), view(num_cars=2000)
    assert small.action_space == large.action_space
    assert small.observation_space == large.observation_space
    for env in (small, large):
        assert env.observation_space.contains(env.reset(seed=0)[0])
        obs, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(obs)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card["scenario"])
def test_random_play_stays_within_the_bounds(view: Any, card: dict[str, Any]) -> None:
    env = view(num_envs=3, **{"num_cars": 60, **card})
    obs, _ = env.reset(seed=11)
    for action in _actions(env, 2, env.config.num_steps):
        assert env.observation_space.contains(obs)
        obs, reward, _, _, info = env.step(action)
        assert reward.dtype == np.float64
    assert all(env.single_observation_space.contains(row) for row in info["final_obs"])


@pytest.mark.parametrize("view", VIEWS)
def test_every_row_is_a_fleet_of_its_own(view: Any) -> None:
    settings = {"num_cars": 30, "step_min": 60}
    batch = view(num_envs=3, **settings)
    first, _ = batch.reset(seed=7)
    actions = _actions(batch, 3, 10)
    played = [batch.play(action) for action in actions]
    single = gym.make(IDS[VIEWS.index(view)], **settings)
    for row in range(3):
        obs, info = single.reset(seed=7 + row)
        np.testing.assert_array_equal(obs, first[row])
        assert info["scenario"] == 7 + row
        for action, (batch_obs, reward, _, batch_info) in zip(actions, played, strict=True):
            obs, alone, terminated, truncated, info = single.step(action[row])
            np.testing.assert_array_equal(obs, batch_obs[row])
            assert (alone, terminated, truncated) == (reward[row], False, False)
            assert info["reward/energy"] == batch_info["reward/energy"][row]


@pytest.mark.parametrize("name", IDS)
def test_the_horizon_truncates_and_the_next_scenario_begins(name: str) -> None:
    env = _make(name, 2, num_cars=10, step_min=60)
    env.reset(options={"scenario_seeds": [3, 8]})
    actions = _actions(env, 4, 24)
    for action in actions[:-1]:
        _, _, terminated, truncated, info = env.step(action)
        assert not terminated.any() | truncated.any()
        assert "final_obs" not in info
    obs, _, terminated, truncated, info = env.step(actions[-1])
    assert truncated.all()
    assert not terminated.any()
    np.testing.assert_array_equal(info["scenario"], [5, 10])
    left = env.single_observation_space
    assert all(left.contains(row) for row in info["final_obs"])
    assert info["_final_obs"].all()
    assert info["_final_info"].all()
    assert "episode_sums" not in info
    sums = info["final_info"]["episode_sums"]
    np.testing.assert_array_equal(sums["scenario"], [3, 8])
    np.testing.assert_array_equal(sums["length"], [24, 24])
    assert (info["final_obs"][0] != obs[0]).any()
    again, _ = env.reset(options={"scenario_seeds": [5, 10]})
    np.testing.assert_array_equal(again, obs)


@pytest.mark.parametrize("name", IDS)
def test_a_seed_plays_the_same_and_another_another(name: str) -> None:
    env = gym.make(name, num_cars=20, step_min=60)
    played = []
    for seed in (4, 4, 9):
        env.action_space.seed(0)
        obs, _ = env.reset(seed=seed)
        played.append([obs, *(env.step(env.action_space.sample())[0] for _ in range(5))])
    np.testing.assert_array_equal(played[0], played[1])
    assert (np.array(played[0]) != np.array(played[2])).any()


@pytest.mark.parametrize("view", VIEWS)
def test_no_share_is_no_money(view: Any) -> None:
    env = view(num_cars=100, step_min=60)
    env.reset(seed=1)
    nobody = np.full((1, env.num_actions), -1, np.float32)
    for _ in range(24):
        _, reward, *_ = env.step(nobody)
        assert reward[0] == 0.0
    everybody = np.ones((1, env.num_actions), np.float32)
    _, reward, *_ = env.step(everybody)
    assert reward[0] != 0.0


@pytest.mark.parametrize("view", VIEWS)
def test_cards_that_show_the_fleet_alone_are_ranked_all_the_same(view: Any) -> None:
    whole = view(num_cars=30)
    card = replace(scenario("suburb", num_cars=30), observation="fleet")
    for env in (view(num_cars=30, observation="fleet"), view(config=card)):
        np.testing.assert_array_equal(env.reset(seed=2)[0], whole.reset(seed=2)[0])
        action = np.full((1, env.num_actions), 0.5, np.float32)
        for mine, theirs in zip(env.step(action)[:2], whole.step(action)[:2], strict=True):
            assert_same(mine, theirs)
    assert card.observation == "fleet"


def test_observations_are_not_written_to_later() -> None:
    env = FleetIndexVectorEnv(num_envs=2, num_cars=20)
    obs, _ = env.reset(seed=0)
    kept, action = obs.copy(), np.ones((2, len(INDEX_FEATURES) + 1), np.float32)
    later, *_ = env.step(action)
    np.testing.assert_array_equal(obs, kept)
    np.testing.assert_array_equal(action, 1)
    assert not np.shares_memory(obs, later)


def test_car_rewards_and_pictures_pass_through() -> None:
    env = FleetIndexEnv(num_cars=5, car_reward=True, render_mode="rgb_array")
    env.reset(seed=0)
    *_, info = env.step(np.ones(len(INDEX_FEATURES) + 1))
    assert info["car_reward"].shape == (5,)
    assert env.render().dtype == np.uint8


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros((2, 3)), r"actions: expected shape \(2, 54\), got \(2, 3\)"),
        (np.zeros(54), "actions: expected shape"),
        (np.full((2, 54), np.nan), "actions: expected finite"),
        (np.eye(2, 54) * 1.5, r"actions\[0, 0\] = 1.5: expected -1 to 1"),
        (np.full((2, 54), "a"), "actions: expected numbers"),
    ],
)
def test_wrong_actions_are_clear_errors_and_play_nothing(action: Any, message: str) -> None:
    assert len(COHORTS) == 54
    env = FleetCohortVectorEnv(num_envs=2, num_cars=5)
    with pytest.raises(ResetNeeded):
        env.step(np.zeros((2, 54)))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert env.fleet.sim.step_index == 0


def test_a_finished_episode_wants_a_reset() -> None:
    env = FleetIndexEnv("tiny", step_min=60)
    action = np.zeros(len(INDEX_FEATURES) + 1, np.float32)
    env.reset(seed=0)
    for _ in range(24):
        *_, truncated, info = env.step(action)
    assert truncated
    assert info["episode_sums"]["length"] == 24
    with pytest.raises(ResetNeeded):
        env.step(action)

"""Reset, seeds, autoreset, the info of the last step; the batch against the single environment."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics
from gymnasium.wrappers.vector import DictInfoToList
from gymnasium.wrappers.vector import RecordEpisodeStatistics as RecordVectorStatistics

from fleet_env.env import FleetEnv
from fleet_env.metrics import EPISODE_FIELDS
from fleet_env.scenarios import SPLIT_SIZE
from fleet_env.vector_env import FleetVectorEnv
from tests.contract.plays import assert_same, random_bits

STEPS = 24  # of an hour each: a short day for tests of the protocol


def _batch(num_envs: int, **overrides: Any) -> FleetVectorEnv:
    return FleetVectorEnv(num_envs=num_envs, **{"num_cars": 9, "step_min": 60, **overrides})


def _single() -> FleetEnv:
    return FleetEnv(num_cars=9, step_min=60)


def test_autoreset_is_that_of_gymnasiums_sync_vector_env() -> None:
    """Two days in a row, step by step; the sync env names its next scenarios in another way."""
    ours = _batch(3)
    theirs = SyncVectorEnv([_single] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    assert ours.action_space == theirs.action_space
    assert ours.observation_space == theirs.observation_space
    obs, info = ours.reset(seed=5)
    want, want_info = theirs.reset(seed=5)
    assert_same(obs, want)
    actions = random_bits(0, (STEPS, 3, 9))
    for k in range(STEPS):
        obs, reward, terminated, truncated, info = ours.step(actions[k])
        got = (reward, terminated, truncated)
        want, *rest, want_info = theirs.step(actions[k])
        for mine, other in zip(got, rest, strict=True):
            assert_same(mine, other)
        last = k == STEPS - 1
        assert truncated.all() == last
        assert truncated.any() == last
        if not last:
            assert_same(obs, want)
            assert_same(info, {key: v for key, v in want_info.items() if key[0] != "_"})
    assert info["final_obs"].dtype == want_info["final_obs"].dtype == np.dtype(object)
    for row in range(3):
        assert_same(info["final_obs"][row], want_info["final_obs"][row])
    for mask in ("_final_obs", "_final_info"):
        assert_same(info[mask], want_info[mask])
    assert_same(info["final_info"], _unmasked(want_info["final_info"]))


def _unmasked(info: Any) -> Any:
    """Without the masks per key, which Gymnasium lets a batch leave out where all rows have it."""
    if not isinstance(info, dict):
        return info
    return {key: _unmasked(value) for key, value in info.items() if key[0] != "_"}


def test_after_the_horizon_a_row_plays_index_plus_num_envs() -> None:
    env, fresh = _batch(2), _batch(2)
    env.reset(seed=10)
    for _ in range(STEPS):
        obs, _, _, _, info = env.step(np.ones((2, 9)))
    np.testing.assert_array_equal(info["scenario"], [12, 13])
    np.testing.assert_array_equal(info["final_info"]["episode_sums"]["scenario"], [10, 11])
    assert_same(obs, fresh.reset(seed=12)[0])
    for _ in range(STEPS):
        *_, info = env.step(np.ones((2, 9)))
    np.testing.assert_array_equal(info["scenario"], [14, 15])
    np.testing.assert_array_equal(env.reset()[1]["scenario"], [16, 17])


def test_scenarios_wrap_in_their_split() -> None:
    env = _batch(3, split="test")
    size = SPLIT_SIZE["test"]
    np.testing.assert_array_equal(env.reset(seed=size - 1)[1]["scenario"], [size - 1, 0, 1])
    np.testing.assert_array_equal(env.reset()[1]["scenario"], [2, 3, 4])
    np.testing.assert_array_equal(env.reset(seed=size + 4)[1]["scenario"], [4, 5, 6])


def test_final_observation_is_the_end_of_the_last_day_and_not_the_start_of_the_next() -> None:
    env, same = _batch(2), _batch(2)
    env.reset(seed=0)
    same.reset(seed=0)
    for _ in range(STEPS):
        obs, _, _, _, info = env.step(np.ones((2, 9)))
        end, *_ = same.play(np.ones((2, 9)))
    for row in range(2):
        assert_same(info["final_obs"][row], {key: value[row] for key, value in end.items()})
        assert (info["final_obs"][row]["cars"] != obs["cars"][row]).any()
        assert same.single_observation_space.contains(info["final_obs"][row])


@pytest.mark.parametrize(
    ("card", "num_cars"),
    [("suburb", 1), ("suburb", 9), ("suburb", 40), ("gauntlet", 1), ("gauntlet", 40)],
)
def test_row_i_of_a_batch_is_the_single_env_bit_for_bit(card: str, num_cars: int) -> None:
    batch = _batch(5, scenario=card, num_cars=num_cars)
    seeds = [3, 141, 59, 26, 3]
    together, info = batch.reset(options={"scenario_seeds": seeds})
    np.testing.assert_array_equal(info["scenario"], seeds)
    singles = [FleetEnv(card, num_cars=num_cars, step_min=60) for _ in seeds]
    for row, env in enumerate(singles):
        obs, _ = env.reset(options={"scenario_seeds": [seeds[row]]})
        assert_same(obs, {key: value[row] for key, value in together.items()})
    actions = random_bits(1, (STEPS, 5, num_cars))
    actions[:, 4] = actions[:, 0]  # rows 0 and 4 play the same
    for k in range(STEPS):
        together, reward, truncated, info = batch.play(actions[k])
        for row, env in enumerate(singles):
            obs, alone, terminated, over, own = env.step(actions[k, row])
            assert (terminated, over) == (False, bool(truncated[row]))
            assert alone == reward[row]
            assert_same(obs, {key: value[row] for key, value in together.items()})
            assert_same(own, _row(info, row))
        assert reward[4] == reward[0]


def _row(info: Any, row: int) -> Any:
    if isinstance(info, dict):
        return {key: _row(value, row) for key, value in info.items()}
    return info[row]


def test_seed_and_scenario_seed_name_the_same_day() -> None:
    a, b, c = _batch(2), _batch(2), _batch(2)
    assert_same(a.reset(seed=8)[0], b.reset(options={"scenario_seeds": [8, 9]})[0])
    assert_same(a.reset(seed=8)[0], c.reset(options={"scenario_seeds": np.array([8, 9])})[0])
    assert (c.reset(seed=9)[0]["cars"] != b.reset(seed=8)[0]["cars"]).any()


@pytest.mark.parametrize("when", [0, 11, 23])
@pytest.mark.parametrize("card", ["suburb", "gauntlet"])
def test_copies_taken_mid_episode_go_on_alike(card: str, when: int) -> None:
    fleet = {"accelerators": {"ai5": 0.5, "ai4": 0.5}}
    env = _batch(2, scenario=card, fleet=fleet, car_reward=True)
    env.reset(seed=3)
    actions = random_bits(2, (STEPS + 5, 2, 9))
    for action in actions[:when]:
        env.step(action)
    copies = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    for action in actions[when:]:
        want = env.step(action)
        for other in copies:
            obs, reward, terminated, truncated, info = other.step(action)
            assert_same(obs, want[0])
            for got, right in zip((reward, terminated, truncated), want[1:4], strict=True):
                assert_same(got, right)
            for key in ("final_obs", "_final_obs"):
                assert (key in info) == (key in want[4])
            keys = [key for key in want[4] if key != "final_obs"]
            assert_same({key: info[key] for key in keys}, {key: want[4][key] for key in keys})


def test_a_copy_is_independent_of_the_original() -> None:
    env = _batch(2)
    env.reset(seed=0)
    twin, other = copy.deepcopy(env), copy.deepcopy(env)
    for _ in range(6):
        other.step(np.ones((2, 9)))
    for _ in range(4):
        assert_same(twin.step(np.zeros((2, 9)))[0], env.step(np.zeros((2, 9)))[0])


def test_single_env_pickles_through_gym_make() -> None:
    env = gym.make("fleet_env/Fleet-v0", num_cars=4, step_min=60)
    env.reset(seed=1)
    env.step(np.ones(4, np.int8))
    other = pickle.loads(pickle.dumps(env))
    for _ in range(5):
        assert env.step(np.ones(4, np.int8))[1] == other.step(np.ones(4, np.int8))[1]


def test_step_needs_a_reset_before_the_first_step_and_after_the_last() -> None:
    batch, single = _batch(1), _single()
    with pytest.raises(ResetNeeded, match=r"reset\(\) before step\(\)"):
        batch.step(np.zeros((1, 9)))
    with pytest.raises(ResetNeeded):
        single.step(np.zeros(9))
    single.reset(seed=0)
    for k in range(STEPS):
        *_, truncated, _ = single.step(np.zeros(9))
        assert truncated == (k == STEPS - 1)
    with pytest.raises(ResetNeeded):
        single.step(np.zeros(9))
    single.reset()
    single.step(np.zeros(9))


def test_the_single_env_goes_on_to_its_next_day() -> None:
    env = _single()
    assert env.reset(seed=6)[1]["scenario"] == 6
    assert env.reset()[1]["scenario"] == 7


def test_episode_sums_stand_in_the_last_info_alone() -> None:
    env = _single()
    env.reset(seed=2)
    total, rewards = dict.fromkeys(EPISODE_FIELDS, 0.0), []
    for k in range(STEPS):
        _, reward, _, truncated, info = env.step(random_bits(k, (9,)))
        rewards.append(reward)
        assert ("episode_sums" in info) == truncated == (k == STEPS - 1)
        for key in total:
            total[key] += info.get(key, 0.0)
    episode = info["episode_sums"]
    assert set(episode) == {*EPISODE_FIELDS, "scenario"}
    assert (episode["length"], episode["scenario"]) == (STEPS, 2)
    assert episode["return"] == pytest.approx(sum(rewards), rel=1e-12)
    for key in set(EPISODE_FIELDS) - {"return", "length"}:
        assert episode[key] == pytest.approx(total[key], rel=1e-9, abs=1e-12), key


def test_info_arrays_are_no_views_of_the_simulation() -> None:
    """A caller may keep what a step returned: the next steps do not change it."""
    env = _batch(2, car_reward=True)
    obs0, info0 = env.reset(seed=0)
    kept = [copy.deepcopy((obs0, info0))]
    live = [(obs0, info0)]
    for k in range(5):
        obs, reward, _, info = env.play(random_bits(k, (2, 9)))
        live.append((obs, {**info, "reward": reward}))
        kept.append(copy.deepcopy(live[-1]))
    for (obs, info), (obs_then, info_then) in zip(live, kept, strict=True):
        assert_same(obs, obs_then)
        assert_same(info, info_then)


def test_writing_into_an_observation_changes_nothing() -> None:
    env, same = _batch(2), _batch(2)
    obs, _ = env.reset(seed=0)
    same.reset(seed=0)
    for value in obs.values():
        value[:] = 1
    for k in range(4):
        action = random_bits(k, (2, 9))
        given = action.copy()
        obs, reward, *_ = env.step(action)
        np.testing.assert_array_equal(action, given)
        want, right, *_ = same.step(given)
        assert_same(obs, want)
        np.testing.assert_array_equal(reward, right)
        for value in obs.values():
            value[:] = 0


def test_gymnasiums_statistics_wrappers_work() -> None:
    batch = RecordVectorStatistics(_batch(2))
    batch.reset(seed=0)
    sums = np.zeros(2)
    for _ in range(STEPS):
        _, reward, _, _, info = batch.step(np.ones((2, 9), np.int8))
        sums += reward
    np.testing.assert_allclose(info["episode"]["r"], sums, rtol=1e-6)
    np.testing.assert_allclose(info["final_info"]["episode_sums"]["return"], sums, rtol=1e-12)
    single = RecordEpisodeStatistics(_single())
    single.reset(seed=0)
    for _ in range(STEPS):
        *_, info = single.step(np.ones(9, np.int8))
    assert info["episode"]["r"] == pytest.approx(info["episode_sums"]["return"], rel=1e-6)


def test_gymnasium_turns_the_infos_into_a_list() -> None:
    env = DictInfoToList(_batch(2))
    _, infos = env.reset(seed=4)
    assert [info["scenario"] for info in infos] == [4, 5]
    for _ in range(STEPS):
        *_, infos = env.step(np.ones((2, 9), np.int8))
    assert [info["scenario"] for info in infos] == [6, 7]
    assert [info["final_info"]["episode_sums"]["scenario"] for info in infos] == [4, 5]
    for info in infos:
        assert set(info["final_obs"]) == {"cars", "fleet", "mask"}

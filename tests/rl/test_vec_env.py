"""The adapter to SB3 shows what the environments show, to the bit, and what SB3 expects."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from collections.abc import Callable
from typing import Any

import numpy as np
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecCheckNan, VecMonitor, VecNormalize

from agents.index.view import TunedIndexVectorEnv
from agents.rl.vec_env import FleetVecEnv, View
from fleet_env import (
    CarsAsRows,
    EnvConfig,
    FleetCohortVectorEnv,
    FleetIndexVectorEnv,
    FleetVectorEnv,
)
from fleet_env.metrics import COSTS, REWARD_TERMS
from fleet_env.scenarios import SPLIT_SIZE
from fleet_env.views import INDEX_FEATURES, ROW_FIELDS
from tests.rl.small import MakeCard

KINDS: dict[str, Callable[..., View]] = {
    "index": FleetIndexVectorEnv,
    "tuned": TunedIndexVectorEnv,
    "cohort": FleetCohortVectorEnv,
    "cars": lambda num_envs, config: CarsAsRows(num_fleets=num_envs, config=config),
    "fleet": FleetVectorEnv,
}
NUM_FLEETS = 3
NUM_ACTIONS = len(INDEX_FEATURES) + 1  # and the share


def build(kind: str, card: EnvConfig, num_fleets: int = NUM_FLEETS) -> View:
    return KINDS[kind](num_envs=num_fleets, config=card)


def actions_of(env: Any, rng: np.random.Generator, num_rows: int) -> Any:
    space = env.single_action_space if hasattr(env, "single_action_space") else env.action_space
    if space.dtype == np.float32:
        return rng.uniform(-1, 1, (num_rows, *space.shape)).astype(np.float32)
    return rng.integers(0, 2, (num_rows, *space.shape))


def same(ours: Any, theirs: Any) -> None:
    """Compare two observations bit by bit."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            same(ours[key], theirs[key])
        return
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_those_of_the_environment_over_the_end_of_an_episode(
    kind: str, make_card: MakeCard
) -> None:
    card = make_card()
    direct, ours = build(kind, card), FleetVecEnv([build(kind, card)], first_scenario=40)
    rng = np.random.default_rng(0)
    same(ours.reset(), direct.reset(seed=40)[0])
    share = 1 / card.num_cars if kind == "fleet" else 1.0
    total = np.zeros(ours.num_envs)
    for step in range(1, card.num_steps + 3):
        actions = actions_of(direct, rng, ours.num_envs)
        obs, reward, _, truncated, info = direct.step(actions)
        our_obs, our_reward, dones, infos = ours.step(actions)
        same(our_obs, obs)
        assert our_reward.dtype == np.float32
        np.testing.assert_array_equal(our_reward, (reward * share).astype(np.float32))
        np.testing.assert_array_equal(dones, truncated)
        total += our_reward
        if step == card.num_steps:
            assert dones.all()
            for row, told in enumerate(infos):
                same(told["terminal_observation"], info["final_obs"][row])
                assert told["TimeLimit.truncated"] is True
                assert told["episode"] == {"r": pytest.approx(total[row]), "l": card.num_steps}
        else:
            assert infos == [{}] * ours.num_envs


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_shown_and_earned_does_not_change_afterwards(
    kind: str, make_card: MakeCard
) -> None:
    env = FleetVecEnv([build(kind, make_card())])
    rng = np.random.default_rng(1)
    obs = env.reset()
    seen = {k: v.copy() for k, v in obs.items()} if isinstance(obs, dict) else obs.copy()
    _, reward, _, _ = env.step(actions_of(env, rng, env.num_envs))
    kept = reward.copy()
    reward += 1.0  # as SB3 does at truncation
    for _ in range(3):
        env.step(actions_of(env, rng, env.num_envs))
    same(obs, seen)
    np.testing.assert_array_equal(reward, kept + 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_spaces_hold_what_is_shown_and_wrappers_of_sb3_work(kind: str, make_card: MakeCard) -> None:
    card = make_card()
    inner = FleetVecEnv([build(kind, card)])
    env = VecMonitor(VecCheckNan(inner, raise_exception=True))
    rng = np.random.default_rng(2)
    obs = env.reset()
    for _ in range(card.num_steps):
        for row in range(env.num_envs):
            one = {k: v[row] for k, v in obs.items()} if isinstance(obs, dict) else obs[row]
            assert env.observation_space.contains(one)
        obs, rewards, dones, infos = env.step(actions_of(inner, rng, env.num_envs))
        assert rewards.shape == dones.shape == (env.num_envs,)
        assert len(infos) == env.num_envs
    assert dones.all()
    assert infos[0]["episode"]["l"] == card.num_steps
    assert env.env_is_wrapped(Monitor) == [False] * env.num_envs
    assert env.render_mode is None
    env.close()


def test_normalisation_reaches_the_terminal_observation(make_card: MakeCard) -> None:
    card = make_card()
    env = VecNormalize(FleetVecEnv([build("index", card)]))
    env.reset()
    for _ in range(card.num_steps):
        _, _, _, infos = env.step(np.zeros((NUM_FLEETS, NUM_ACTIONS), np.float32))
    for told in infos:
        assert np.abs(told["terminal_observation"]).max() <= 10


def test_rows_of_several_cards_play_as_each_card_alone(make_card: MakeCard) -> None:
    cards = [make_card("suburb"), make_card("mixed"), make_card("storm")]
    sizes = (1, 2, 3)
    joined = FleetVecEnv([build("index", c, n) for c, n in zip(cards, sizes, strict=True)], 7)
    alone = [FleetVecEnv([build("index", c, n)], 7) for c, n in zip(cards, sizes, strict=True)]
    rng = np.random.default_rng(3)
    same(joined.reset(), np.concatenate([env.reset() for env in alone]))
    for _ in range(cards[0].num_steps + 1):
        actions = actions_of(joined, rng, joined.num_envs)
        parts = np.split(actions, np.cumsum(sizes)[:-1])
        steps = [env.step(part) for env, part in zip(alone, parts, strict=True)]
        obs, reward, _, infos = joined.step(actions)
        same(obs, np.concatenate([step[0] for step in steps]))
        np.testing.assert_array_equal(reward, np.concatenate([step[1] for step in steps]))
        assert [set(told) for told in infos] == [set(told) for step in steps for told in step[3]]
        for name in COSTS:
            want = np.concatenate([env.costs[name] for env in alone])
            np.testing.assert_array_equal(joined.costs[name], want)
    finished = joined.drain()
    assert finished == tuple(episode for env in alone for episode in env.drain())
    assert [episode["card"] for episode in finished] == [
        card.name for card, n in zip(cards, sizes, strict=True) for _ in range(n)
    ]


def test_dict_observations_of_several_cards_are_joined(make_card: MakeCard) -> None:
    cards = [make_card("suburb"), make_card("mixed")]
    env = FleetVecEnv([build("fleet", card, 2) for card in cards])
    obs = env.reset()
    assert isinstance(obs, dict)
    for i, card in enumerate(cards):
        want, _ = build("fleet", card, 2).reset(seed=0)
        same({k: v[2 * i : 2 * i + 2] for k, v in obs.items()}, want)


@pytest.mark.parametrize("kind", KINDS)
def test_costs_and_finished_episodes_are_per_car(kind: str, make_card: MakeCard) -> None:
    # hardly any margin on chat: requests are late, so that a cost is not zero
    card = make_card(num_cars=20, demand={"load": 3.0})
    direct, env = build(kind, card), FleetVecEnv([build(kind, card)])
    direct.reset(seed=0)
    env.reset()
    per_row = card.num_cars if kind == "cars" else 1
    rng, spent = np.random.default_rng(4), dict.fromkeys(COSTS, 0.0)
    for _ in range(card.num_steps):
        actions = actions_of(direct, rng, env.num_envs)
        info = direct.step(actions)[-1]
        env.step(actions)
        told = info["fleet"] if kind == "cars" else info
        for name in COSTS:
            want = told[f"cost/{name}"] / card.num_cars
            np.testing.assert_array_equal(env.costs[name], want.repeat(per_row))
            spent[name] = spent[name] + want
    final = info["final_info"]["fleet"] if kind == "cars" else info["final_info"]
    sums, episodes = final["episode_sums"], env.drain()
    assert np.sum(spent["slo"]) > 0
    assert len(episodes) == NUM_FLEETS
    for i, episode in enumerate(episodes):
        assert episode["card"] == "suburb"
        assert episode["scenario"] == i
        assert episode["return"] == pytest.approx(sums["return"][i] / card.num_cars)
        terms = [episode[f"reward/{term}"] for term in REWARD_TERMS]
        assert sum(terms) == pytest.approx(episode["return"])
        for name in COSTS:
            assert episode[f"cost/{name}"] == pytest.approx(spent[name][i])
    assert env.drain() == env.finished == ()


def test_books_of_a_second_episode_begin_at_zero(make_card: MakeCard) -> None:
    card = make_card(num_cars=20, demand={"load": 3.0})
    env = FleetVecEnv([build("index", card)])
    env.reset()
    on = np.ones((NUM_FLEETS, NUM_ACTIONS), np.float32)
    for _ in range(card.num_steps):
        env.step(on)
    assert sum(episode["cost/slo"] for episode in env.drain()) > 0
    off = np.zeros((NUM_FLEETS, NUM_ACTIONS), np.float32)
    off[:, -1] = -1
    for _ in range(card.num_steps):
        _, _, _, infos = env.step(off)
    assert all(e["cost/slo"] == 0 == e["return"] for e in env.drain())
    assert all(told["episode"]["r"] == 0 for told in infos)


def test_the_cursor_names_the_days_under_way_and_brings_them_back(make_card: MakeCard) -> None:
    cards = [make_card("suburb"), make_card("mixed")]

    def fresh(first: int = 0) -> FleetVecEnv:
        pair = zip(cards, (2, 3), strict=True)
        return FleetVecEnv([build("index", card, n) for card, n in pair], first)

    still = np.zeros((5, NUM_ACTIONS), np.float32)
    env = fresh(SPLIT_SIZE["train"] - 3)
    assert env.cursor == [SPLIT_SIZE["train"] - 3] * 2
    env.reset()
    for _ in range(cards[0].num_steps):
        obs, *_ = env.step(still)
    assert [episode["scenario"] % SPLIT_SIZE["train"] for episode in env.drain()] == [
        *(SPLIT_SIZE["train"] - 3, SPLIT_SIZE["train"] - 2),
        *(SPLIT_SIZE["train"] - 3, SPLIT_SIZE["train"] - 2, SPLIT_SIZE["train"] - 1),
    ]
    assert env.cursor == [SPLIT_SIZE["train"] - 1, 0]
    again = fresh()
    again.set_cursor(env.cursor)
    same(again.reset(), obs)
    for _ in range(cards[0].num_steps):  # and the same ones after it, past the end of the split
        obs, *_ = env.step(still)
        other, *_ = again.step(still)
    same(other, obs)
    assert again.cursor == env.cursor == [1, 3]
    assert again.drain() == env.drain()


def test_reset_goes_on_to_the_next_days_and_seeding_leaves_them_alone(make_card: MakeCard) -> None:
    card = make_card()
    env = FleetVecEnv([build("index", card)], 5)
    env.seed(99)  # what SB3 does with the seed of a model
    same(env.reset(), build("index", card).reset(seed=5)[0])
    env.step(np.zeros((NUM_FLEETS, NUM_ACTIONS), np.float32))
    same(env.reset(), build("index", card).reset(seed=5 + NUM_FLEETS)[0])


def test_masks_are_what_the_observation_says(make_card: MakeCard) -> None:
    card = make_card()
    cars = FleetVecEnv([build("cars", card, 2), build("cars", card, 1)])
    obs = cars.reset()
    masks = get_action_masks(cars)
    assert is_masking_supported(cars)
    assert masks.shape == (3 * card.num_cars, 2)
    assert masks[:, 0].all()
    mask_field = [field.name for field in ROW_FIELDS].index("mask")
    np.testing.assert_array_equal(masks[:, 1], obs[:, mask_field] > 0)

    fleet = FleetVecEnv([build("fleet", card)])
    seen = fleet.reset()
    assert isinstance(seen, dict)
    for _ in range(3):
        masks = get_action_masks(fleet).reshape(NUM_FLEETS, card.num_cars, 2)
        assert masks[..., 0].all()
        np.testing.assert_array_equal(masks[..., 1], seen["mask"] > 0)
        assert 0 < masks[..., 1].mean() < 1
        seen, *_ = fleet.step(seen["mask"])
    one = fleet.env_method("action_masks", indices=1)
    np.testing.assert_array_equal(one, get_action_masks(fleet)[[1]])


def test_views_of_shares_have_no_masks_and_unknown_names_are_errors(make_card: MakeCard) -> None:
    env = FleetVecEnv([build("index", make_card())])
    assert not is_masking_supported(env)
    with pytest.raises(AttributeError, match="action_masks"):
        env.env_method("action_masks")
    with pytest.raises(AttributeError, match="colour"):
        env.get_attr("colour")
    with pytest.raises(AttributeError, match="colour"):
        env.set_attr("colour", 1)
    with pytest.raises(RuntimeError, match="step_async"):
        env.step_wait()


@pytest.mark.parametrize(
    ("change", "what"),
    [({"step_min": 30}, "decision steps, 24 and 48"), ({"num_cars": 9}, "observation space")],
)
def test_cards_that_do_not_fit_together_are_named(
    change: dict[str, Any], what: str, make_card: MakeCard
) -> None:
    envs = [build("fleet", make_card()), build("fleet", make_card("world", **change))]
    with pytest.raises(ValueError, match=f"'suburb' and 'world' differ in {what}"):
        FleetVecEnv(envs)


def test_a_cursor_of_other_cards_is_refused(make_card: MakeCard) -> None:
    env = FleetVecEnv([build("index", make_card())])
    with pytest.raises(ValueError, match=r"expected 1 scenarios, one per card \(suburb\)"):
        env.set_cursor([1, 2])
    with pytest.raises(ValueError, match="at least one"):
        FleetVecEnv([])

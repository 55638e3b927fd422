"""What Gymnasium and Stable-Baselines3 ask of an environment, with no unlisted warning."""

from __future__ import annotations

import re
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import fleet_env
from fleet_env.env import FleetEnv
from fleet_env.observations import CAR_FIELDS, FLEET_FIELDS, Field
from fleet_env.registration import COHORT_ID, INDEX_ID
from fleet_env.scenarios import CARDS
from fleet_env.vector_env import FleetVectorEnv

FLEET = "fleet_env/Fleet-v0"
# SB3 wants images or vectors; a table of cars is neither (it plays `fleet` as it is)
ACCEPTED = {
    ("gymnasium", "cars"): (),
    ("gymnasium", "fleet"): (),
    ("sb3", "cars"): ("Your observation cars has an unconventional shape",),
    ("sb3", "fleet"): (),
}


def _check(checker: str, env: gym.Env[Any, Any]) -> None:
    if checker == "gymnasium":
        check_env(env)
        return
    pytest.importorskip("stable_baselines3", reason="stable-baselines3 absent: extra `rl`")
    from stable_baselines3.common.env_checker import check_env as check_for_sb3

    check_for_sb3(env)


@pytest.mark.parametrize(("checker", "observation"), ACCEPTED)
def test_checkers_pass_with_no_unlisted_warning(checker: str, observation: str) -> None:
    spec = gym.spec(FLEET)
    env = FleetEnv("suburb", num_cars=6, observation=observation, render_mode="rgb_array")
    env.spec = spec  # the checker renders a second copy made from it
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _check(checker, env)
    messages = [str(w.message) for w in caught]
    accepted = ACCEPTED[checker, observation]
    unlisted = [m for m in messages if not any(text in m for text in accepted)]
    assert not unlisted
    for text in accepted:  # a listed warning that has gone must leave the list
        assert any(text in m for m in messages), text


@pytest.mark.parametrize("checker", ["gymnasium", "sb3"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [(INDEX_ID, {}), (INDEX_ID, {"margin_action": True}), (COHORT_ID, {})],
    ids=["index", "index_with_margin", "cohort"],
)
def test_checkers_pass_views_with_no_warning(
    checker: str, name: str, settings: dict[str, Any]
) -> None:
    env = gym.make(name, num_cars=6, render_mode="rgb_array", **settings).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _check(checker, env)


@pytest.mark.slow
@pytest.mark.parametrize("card", CARDS)
def test_every_card_passes_gymnasiums_checker(card: str) -> None:
    env = FleetEnv(card, num_cars=6, observation="cars")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*not within the environment's.*render.*")
        check_env(env, skip_render_check=True)


def test_make_builds_the_env_of_the_issue() -> None:
    env = gym.make(FLEET, scenario="suburb", num_cars=256)
    obs, _ = env.reset(seed=0)
    assert isinstance(env.unwrapped, FleetEnv)
    assert env.action_space == gym.spaces.MultiBinary(256)
    assert env.observation_space.contains(obs)
    assert obs["cars"].shape == (256, len(CAR_FIELDS))
    env.close()


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_make_vec_builds_a_batch_of_one_split(split: str) -> None:
    env = gym.make_vec(
        FLEET,
        num_envs=3,
        vectorization_mode="vector_entry_point",
        scenario="suburb",
        num_cars=5,
        split=split,
    )
    batch = env.unwrapped
    assert isinstance(batch, FleetVectorEnv)
    assert (batch.split, batch.num_envs, batch.config.num_cars) == (split, 3, 5)
    obs, info = env.reset(seed=7)
    assert env.observation_space.contains(obs)
    assert env.single_observation_space.contains({k: v[1] for k, v in obs.items()})
    np.testing.assert_array_equal(info["scenario"], [7, 8, 9])
    env.close()


def test_splits_play_different_days() -> None:
    first = {}
    for split in ("train", "validation", "test"):
        env = FleetVectorEnv(num_envs=1, num_cars=40, split=split)
        first[split] = env.reset(seed=0)[0]
    for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert (first[a]["cars"] != first[b]["cars"]).any()
        assert (first[a]["fleet"] != first[b]["fleet"]).any()


_LINE = re.compile(r"^ *(\d+)  (\S+) +\[(\S+), (\S+)\] (\S+) +(.+)$")


def _table(doc: str, title: str) -> list[tuple[Any, ...]]:
    """Rows of a field table of the class docstring: index, name, low, high, unit, text."""
    block = doc.split(f"Fields of `{title}`::")[1].split("\n\n")[1]
    rows = [_LINE.match(line) for line in block.splitlines()]
    assert all(rows), block
    return [(int(r[1]), r[2], float(r[3]), float(r[4]), r[5], r[6]) for r in rows if r]


@pytest.mark.parametrize(
    ("title", "fields"), [("cars", CAR_FIELDS), ("fleet", FLEET_FIELDS)], ids=["cars", "fleet"]
)
def test_tables_of_the_docstring_equal_the_spaces(title: str, fields: tuple[Field, ...]) -> None:
    space = FleetEnv(num_cars=3).observation_space[title]
    low, high = np.atleast_2d(space.low)[0], np.atleast_2d(space.high)[0]
    table = _table(FleetEnv.__doc__ or "", title)
    assert len(table) == space.shape[-1] == len(fields)
    for i, row in enumerate(table):
        assert row[:4] == (i, fields[i].name, low[i], high[i])
        assert row[4:] == (fields[i].unit, fields[i].doc)
    assert space.dtype == np.float32


def test_fleet_observation_is_the_fleet_part_alone_and_does_not_grow() -> None:
    whole, alone = FleetEnv(num_cars=30), FleetEnv(num_cars=30, observation="fleet")
    assert FleetEnv(num_cars=7, observation="fleet").observation_space == alone.observation_space
    np.testing.assert_array_equal(whole.reset(seed=4)[0]["fleet"], alone.reset(seed=4)[0])
    bits = np.ones(30, np.int8)
    for _ in range(8):
        (a, b), rewards = zip(
            *((o, r) for o, r, *_ in (whole.step(bits), alone.step(bits))), strict=True
        )
        np.testing.assert_array_equal(a["fleet"], b)
        assert rewards[0] == rewards[1]


def test_version_is_one_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", fleet_env.__version__)

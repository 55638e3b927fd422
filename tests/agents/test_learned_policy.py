"""Trained policies play as they would in the view they were trained in, and keep every law."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agents
from agents import registry
from agents.index.view import TunedIndexVectorEnv
from agents.learned import load, nets
from agents.learned.policy_file import PolicyFile
from agents.learned.shipped import FILES, how_trained, shipped
from experiments.verbs import agents as verb
from fleet_env import CarsAsRows, FleetCohortVectorEnv, FleetIndexVectorEnv, FleetVectorEnv
from fleet_env.views import car_rows
from fleet_env.views.summary import summary
from tests.agents.trained import ANY_SIZE, NUM_CARS, SORTS, policy, saved

seeds = st.integers(0, 100_000)
BY_CAR = ("cars", "set", "binary")
# of weights that put about half of the cars on duty
SEED = {"index": 3, "index_lstm": 5, "cars": 7, "set": 4}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Path of a file of every sort."""
    folder = tmp_path_factory.mktemp("policies")
    return {sort: saved(folder, sort, seed=SEED.get(sort, 1)) for sort in SORTS}


cached = cache(load)


def act(file: str, obs: Any, *, sampled: bool = False, seed: int = 0) -> Any:
    player = cached(file, sampled=sampled)
    player.reset(np.ones(len(obs["mask"]), np.bool_))
    return player.act(obs, np.random.default_rng(seed))


def rows_of(obs: Any, rows: Any) -> Any:
    return {key: value[rows] for key, value in obs.items()}


# the same as in the view


def seen_by_network(weights: Any, x: Any) -> Any:
    seen = nets.normalised(weights, x)
    return nets.head(weights, nets.hidden(weights, seen, "tanh"))


@pytest.mark.parametrize(
    ("sort", "view"),
    [
        ("index", FleetIndexVectorEnv),
        ("index_squashed", FleetIndexVectorEnv),
        ("tuned", TunedIndexVectorEnv),
        ("cohort", FleetCohortVectorEnv),
    ],
)
def test_a_day_in_the_view_is_the_day_of_the_policy(
    files: dict[str, str], sort: str, view: Any
) -> None:
    weights = load(files[sort]).model.weights
    inside = view("suburb", num_envs=3, num_cars=30)
    fleets = FleetVectorEnv("suburb", num_envs=3, num_cars=30)
    player, rng = load(files[sort]), np.random.default_rng(0)
    numbers, _ = inside.reset(seed=5)
    obs: Any = fleets.reset(seed=5)[0]
    on = []
    for _ in range(40):
        mean = seen_by_network(weights, numbers[:, None])[:, 0]
        action = np.tanh(mean) if sort == "index_squashed" else np.clip(mean, -1, 1)
        numbers, reward, _, told = inside.play(action)
        bits = player.act(obs, rng)
        obs, usd, _, info = fleets.play(bits)
        np.testing.assert_array_equal(usd / 30, reward)
        for key in (key for key in info if key.startswith(("reward/", "metric/"))):
            np.testing.assert_array_equal(info[key], told[key], key)
        on.append(bits.sum() / max(1, obs["mask"].sum()))
    assert 0.05 < np.mean(on) < 0.95


def test_cars_decide_as_rows_of_the_view(files: dict[str, str]) -> None:
    weights = load(files["cars"]).model.weights
    cars = CarsAsRows("suburb", num_fleets=2, num_cars=30)
    fleets = FleetVectorEnv("suburb", num_envs=2, num_cars=30)
    player, rng = load(files["cars"]), np.random.default_rng(0)
    rows, _ = cars.reset(seed=5)
    obs: Any = fleets.reset(seed=5)[0]
    num_on = 0
    for _ in range(40):
        wish = seen_by_network(weights, rows).argmax(axis=1)
        rows, _, _, _ = cars.play(wish * cars.action_masks()[:, 1])
        bits = player.act(obs, rng)
        obs, _, _, _ = fleets.play(bits)
        np.testing.assert_array_equal(car_rows(obs), rows)
        num_on += bits.sum()
    assert num_on > 40


@given(seed=seeds, num_cars=st.integers(1, 30))
@settings(max_examples=25)
def test_cars_score_as_the_whole_network_does(
    files: dict[str, str], random_obs: Any, seed: int, num_cars: int
) -> None:
    obs = random_obs(seed, 3, num_cars)
    player = load(files["cars"])
    whole = seen_by_network(player.model.weights, car_rows(obs)).reshape(3, num_cars, 2)
    odds, allowed = player.log_odds(obs), obs["mask"] != 0
    np.testing.assert_allclose(odds[allowed], (whole[..., 1] - whole[..., 0])[allowed], atol=5e-6)
    assert (odds[~allowed] == -np.inf).all()


def test_cars_beyond_a_chunk_score_the_same(
    files: dict[str, str], random_obs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    obs = random_obs(3, 2, 50)
    whole = load(files["cars"]).log_odds(obs)
    monkeypatch.setattr(nets, "CHUNK_CARS", 7)
    np.testing.assert_allclose(load(files["cars"]).log_odds(obs), whole, atol=2e-6)


def test_one_output_per_car_sees_cars_fleet_and_mask_in_this_order(
    files: dict[str, str], random_obs: Any
) -> None:
    obs = random_obs(4, 3, NUM_CARS)
    flat = np.concatenate([obs["cars"].reshape(3, -1), obs["fleet"], obs["mask"]], axis=1)
    player = load(files["binary"])
    wanted = seen_by_network(player.model.weights, flat[:, None].astype("f4"))[:, 0] > 0
    bits = player.act(obs, np.random.default_rng(0))
    np.testing.assert_array_equal(bits, wanted & (obs["mask"] != 0))
    assert 0 < bits.sum() < obs["mask"].sum()
    with pytest.raises(ValueError, match=r"plays fleets of 20 cars .*, not of 21"):
        player.act(random_obs(4, 3, NUM_CARS + 1), np.random.default_rng(0))


# laws


@pytest.mark.parametrize("sampled", [False, True])
@given(seed=seeds, num_envs=st.integers(1, 4))
@settings(max_examples=15)
def test_actions_are_fresh_bits_that_never_exceed_the_mask(
    files: dict[str, str], random_obs: Any, sampled: bool, seed: int, num_envs: int
) -> None:
    obs = random_obs(seed, num_envs, NUM_CARS)
    before = {key: value.copy() for key, value in obs.items()}
    for sort, file in files.items():
        action = act(file, obs, sampled=sampled, seed=seed)
        assert action.shape == (num_envs, NUM_CARS)
        assert action.dtype == np.int8
        assert set(np.unique(action)) <= {0, 1}
        assert (action <= obs["mask"]).all(), sort
        action[:] = 1
        for key, value in obs.items():
            np.testing.assert_array_equal(value, before[key], sort)


@given(seed=seeds)
@settings(max_examples=20)
def test_permuting_cars_permutes_the_action(
    files: dict[str, str], random_obs: Any, seed: int
) -> None:
    obs = random_obs(seed, 2, 25)
    order = np.random.default_rng(seed + 1).permutation(25)
    moved = {"cars": obs["cars"][:, order], "fleet": obs["fleet"], "mask": obs["mask"][:, order]}
    for sort in ANY_SIZE:
        bits = act(files[sort], obs)
        np.testing.assert_array_equal(act(files[sort], moved), bits[:, order], sort)


@given(seed=seeds)
@settings(max_examples=15)
def test_a_row_alone_acts_as_in_a_batch(files: dict[str, str], random_obs: Any, seed: int) -> None:
    obs = random_obs(seed, 7, NUM_CARS)
    for sort, file in files.items():
        together = act(file, obs)
        for row in range(7):
            np.testing.assert_array_equal(act(file, rows_of(obs, [row]))[0], together[row], sort)


@pytest.mark.parametrize("sort", SORTS)
def test_a_file_gives_different_cars_in_different_worlds(
    files: dict[str, str], random_obs: Any, sort: str
) -> None:
    shares = [
        act(files[sort], obs).sum() / obs["mask"].sum()
        for obs in (random_obs(seed, 1, NUM_CARS) for seed in range(20))
    ]
    assert np.ptp(shares) > 0.1


@pytest.mark.parametrize("sort", SORTS)
def test_fleets_without_feasible_cars_are_served(
    files: dict[str, str], random_obs: Any, sort: str
) -> None:
    obs = random_obs(1, 2, NUM_CARS)
    obs["mask"][0] = 0
    assert not act(files[sort], obs)[0].any()
    np.testing.assert_array_equal(act(files[sort], obs)[1], act(files[sort], rows_of(obs, [1]))[0])


# drawing


def test_the_best_action_draws_nothing(files: dict[str, str], random_obs: Any) -> None:
    rng = np.random.default_rng(3)
    before = rng.bit_generator.state
    for file in files.values():
        load(file).act(random_obs(2, 2, NUM_CARS), rng)
    assert rng.bit_generator.state == before


@pytest.mark.parametrize("sort", SORTS)
def test_drawn_actions_follow_the_generator(
    files: dict[str, str], random_obs: Any, sort: str
) -> None:
    obs = random_obs(2, 6, NUM_CARS)
    drawn = [act(files[sort], obs, sampled=True, seed=s).tobytes() for s in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


@pytest.mark.parametrize("sort", ["index", "index_squashed", "cohort"])
def test_drawn_numbers_have_the_deviation_of_the_file(
    files: dict[str, str], random_obs: Any, sort: str
) -> None:
    obs, draws = random_obs(2, 1, NUM_CARS), 4000
    many = {key: np.repeat(value, draws, axis=0) for key, value in obs.items()}
    player = load(files[sort], sampled=True)
    weights = player.model.weights
    latent = nets.hidden(weights, nets.normalised(weights, summary(obs)[:, None]), "tanh")
    mean = nets.head(weights, latent)[0, 0]
    std = np.exp(np.broadcast_to(nets.log_std(weights, latent), (1, 1, len(mean)))[0, 0])
    got = player._numbers(many, np.random.default_rng(0))
    assert np.abs(got).max() <= 1.0
    squash = np.tanh if sort == "index_squashed" else lambda x: np.clip(x, -1, 1)
    noise = np.random.default_rng(1).standard_normal((draws, len(mean)))
    wanted = squash(mean + std * noise)
    # two samples of 4,000 each: means differ by at most 5 of their standard errors
    error = 5 * np.sqrt(2 / draws) * np.maximum(wanted.std(axis=0), 1e-4)
    assert (np.abs(got.mean(axis=0) - wanted.mean(axis=0)) < error).all()
    np.testing.assert_allclose(got.std(axis=0), wanted.std(axis=0), rtol=0.15, atol=1e-4)


@pytest.mark.parametrize("sort", BY_CAR)
def test_drawn_bits_have_the_odds_of_the_network(
    files: dict[str, str], random_obs: Any, sort: str
) -> None:
    obs, draws = random_obs(2, 1, NUM_CARS), 2000
    player, rng = load(files[sort], sampled=True), np.random.default_rng(0)
    chance = 1 / (1 + np.exp(-player.log_odds(obs)[0].astype(float)))
    share = np.mean([player.act(obs, rng)[0] for _ in range(draws)], axis=0)
    assert (np.abs(share - chance) <= 5 * np.sqrt(chance * (1 - chance) / draws)).all()
    assert 0.02 < chance[obs["mask"][0] != 0].mean() < 0.98


# memory


def days(random_obs: Any, num_envs: int) -> Iterator[Any]:
    yield from (random_obs(seed, num_envs, NUM_CARS) for seed in range(6))


def test_memory_matters_and_a_new_episode_starts_without(
    files: dict[str, str], random_obs: Any
) -> None:
    player = load(files["index_lstm"])
    first, last = random_obs(0, 3, NUM_CARS), random_obs(9, 3, NUM_CARS)
    blank = player._numbers(first, None)
    for obs in days(random_obs, 3):
        player._numbers(obs, None)
    used = player._numbers(first, None)
    assert np.abs(used - blank).max() > 1e-3
    player.reset(np.array([False, True, False]))
    mixed = player._numbers(first, None)
    np.testing.assert_array_equal(mixed[1], blank[1])
    assert (np.abs(mixed - blank).max(axis=1)[[0, 2]] > 1e-3).all()
    player.reset(np.ones(3, np.bool_))
    np.testing.assert_array_equal(player._numbers(first, None), blank)
    player.reset(np.ones(5, np.bool_))  # a batch of another size begins
    fresh = load(files["index_lstm"])._numbers(last, None)
    np.testing.assert_array_equal(player._numbers(last, None), fresh)


def test_memory_of_a_row_does_not_depend_on_the_batch(
    files: dict[str, str], random_obs: Any
) -> None:
    batch, single = load(files["index_lstm"]), load(files["index_lstm"])
    for obs in days(random_obs, 4):
        together = batch._numbers(obs, None)
        alone = single._numbers(rows_of(obs, [2]), None)
        np.testing.assert_array_equal(alone[0], together[2])


@pytest.mark.parametrize("sort", sorted(set(SORTS) - {"index_lstm"}))
def test_the_others_have_no_memory(files: dict[str, str], random_obs: Any, sort: str) -> None:
    player, rng = load(files[sort]), np.random.default_rng(0)
    player.act(random_obs(1, 3, NUM_CARS), rng)
    obs = random_obs(2, 3, NUM_CARS)
    np.testing.assert_array_equal(player.act(obs, rng), act(files[sort], obs))


# by name


def test_learned_plays_any_file_but_is_no_part_of_the_tables(files: dict[str, str]) -> None:
    assert "learned" in registry.all_names()
    assert "learned" not in agents.names()
    player: Any = agents.make("learned", file=files["index"], sampled=True)
    assert isinstance(player, agents.Policy)
    assert (player.name, player.family, player.sampled) == ("learned", "learned", True)
    assert player == load(files["index"], sampled=True)
    assert player.card["name"] == "some_index"


def test_learned_without_a_file_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"policy\.options\.file=PATH, of a \.policy file"):
        agents.make("learned")
    with pytest.raises(ValueError, match=r"'fil'.*did you mean 'file'\?"):
        agents.make("learned", fil="x")
    with pytest.raises(ValueError, match=r"x/best\.policy: no such file"):
        load("x/best.policy")


def test_a_policy_that_sets_the_margin_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, "index", margin_action=True)
    assert PolicyFile.load(file).card["margin_action"]
    with pytest.raises(ValueError, match=r"margin_action: .* duty bits cannot"):
        load(file)


@pytest.mark.slow  # starts an interpreter
def test_the_registry_needs_no_torch() -> None:
    code = "import sys, agents.learned; print([m for m in sys.modules if m.startswith('torch')])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


# shipped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of two policies as the package would carry them."""
    told = {
        "steps": 2_000_000,
        "cards": ["suburb", "storm"],
        "num_cars": 256,
        "seed": 0,
        "date": "2026-11-24",
        "validation": {"validation/usd": 2.661, "validation/score": 0.754, "num_cars": 99},
    }
    policy("index", training=told).save(tmp_path / "ppo_index.policy")
    policy("set").save(tmp_path / "ppo_set.policy")
    (tmp_path / "README.md").write_text("no policy")
    return tmp_path


def test_every_file_of_the_folder_is_a_policy_by_its_name(
    folder: Path, random_obs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shipped(folder)
    assert list(found) == ["ppo_index", "ppo_set"]
    assert shipped(folder / "nothing") == {}
    for name, rule in found.items():
        monkeypatch.setitem(registry._BUILDERS, name, rule)
        player: Any = agents.make(name)
        assert isinstance(player, agents.Policy)
        assert (player.name, player.family) == (name, "learned")
        assert registry.setting_names(name) == ("sampled",)
        assert player == agents.make(name, sampled=False) != agents.make(name, sampled=True)
        assert name in agents.names()
        obs = random_obs(3, 2, 30)
        bits = player.act(obs, np.random.default_rng(0))
        np.testing.assert_array_equal(bits, act(str(folder / f"{name}.policy"), obs))
        with pytest.raises(ValueError, match="known: sampled"):
            agents.make(name, file="other.policy")


def test_shipped_policies_are_listed_with_how_they_were_trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rule in shipped(folder).items():
        monkeypatch.setitem(registry._BUILDERS, name, rule)
    first, second = (verb.describe(name) for name in ("ppo_index", "ppo_set"))
    assert first.source == (
        "fleet train agent=some_index, 2,000,000 steps, on suburb, storm, fleets of 256 cars, "
        "seed 0, 2026-11-24, +2.66 USD per car-month on validation days, score 0.75"
    )
    assert second.source == "fleet train agent=some_set"
    assert first.definition != second.definition
    assert [(s.name, s.default, bool(s.note)) for s in first.settings] == [("sampled", False, True)]
    page = verb.page([verb.describe("learned"), first, second])
    assert "### ppo_index\n\nA network sets the weights of the index" in page
    assert str(folder) not in page


def test_a_card_that_tells_nothing_is_no_error() -> None:
    assert how_trained({}) == ""
    assert how_trained({"name": "a", "training": {"seed": 3}}) == "fleet train agent=a, seed 3"


def test_the_shipped_policies_are_small_and_play_any_fleet(random_obs: Any) -> None:
    found = shipped()
    assert sum(file.stat().st_size for file in FILES.glob("*.policy")) < 2_000_000
    for name, rule in found.items():
        assert registry.policy_class(name).__doc__ == rule.__doc__  # no rule has this name
        for num_cars in (3, 40):
            obs = random_obs(1, 2, num_cars)
            assert (rule().act(obs, np.random.default_rng(0)) <= obs["mask"]).all()


@pytest.mark.parametrize("sampled", ["maybe", 1, None])
def test_sampled_is_yes_or_no(sampled):
    with pytest.raises(ValueError, match=r"imitate: sampled=.*: expected true or false"):
        registry.make("imitate", sampled=sampled)

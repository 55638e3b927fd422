"""Every agent builds and learns; the same seed gives the same update; slips are named."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import subprocess
import sys
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from agents.index.parameters import WEIGHTS, read
from agents.index.view import TunedIndexVectorEnv, to_action
from agents.rl.extras import ConstraintSettings, ImitateSettings
from agents.rl.imitate import NearReferenceVecEnv
from agents.rl.lagrangian import LagrangianVecEnv
from agents.rl.models import make_env, make_model
from agents.rl.settings import ALGORITHMS, SQUASHED, AgentSettings
from agents.rl.start import FEW, TUNED_SHARE
from agents.rl.vec_env import FleetVecEnv
from fleet_env import (
    CarsAsRows,
    EnvConfig,
    FleetCohortVectorEnv,
    FleetIndexVectorEnv,
    FleetVectorEnv,
)
from tests.rl.small import PAIRS, MakeAgent, MakeCard


def learned(agent: AgentSettings, card: EnvConfig, seed: int = 0) -> BaseAlgorithm:
    """Make a model and let it learn from 8 steps of every row, or an episode."""
    env = make_env(agent, [card], seed)
    return make_model(agent, env, seed).learn(8 * env.num_envs)


def numbers(model: BaseAlgorithm) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


@pytest.mark.parametrize(("algorithm", "view"), PAIRS)
def test_every_agent_builds_and_learns(
    algorithm: str, view: str, make_card: MakeCard, make_agent: MakeAgent
) -> None:
    agent, card = make_agent(algorithm, view), make_card()
    env = make_env(agent, [card], seed=0)
    model = make_model(agent, env, seed=0)
    before = numbers(model)
    model.learn(8 * env.num_envs)  # of PPO always an episode
    num_steps = 8 if algorithm in SQUASHED else card.num_steps
    assert model.num_timesteps == num_steps * env.num_envs
    after = numbers(model)
    assert all(value.isfinite().all() for value in after.values())
    moved = [name for name in after if not torch.equal(before[name], after[name])]
    assert any("value" in name or "critic" in name for name in moved)
    assert any("action_net" in name or "mlp_extractor" in name or "actor" in name for name in moved)
    rows = agent.num_cars if view == "cars" else 1
    assert env.num_envs == agent.num_fleets * rows


@pytest.mark.parametrize(
    ("algorithm", "view"),
    [("ppo", "index"), ("tqc", "index"), ("maskable_ppo", "cars")],
)
def test_an_update_is_the_same_for_the_same_seed(
    algorithm: str, view: str, make_card: MakeCard, make_agent: MakeAgent
) -> None:
    agent, card = make_agent(algorithm, view), make_card()
    first, second = (numbers(learned(agent, card)) for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    other = numbers(learned(agent, card, seed=1))
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_fleets_are_split_between_cards(make_card: MakeCard, make_agent: MakeAgent) -> None:
    agent = make_agent(num_fleets=5, num_cars=6)
    fleets = make_env(agent, [make_card("suburb"), make_card("storm")], seed=0).unwrapped
    assert isinstance(fleets, FleetVecEnv)
    assert [(env.config.name, env.num_envs) for env in fleets.envs] == [("suburb", 3), ("storm", 2)]
    assert all(env.config.num_cars == 6 for env in fleets.envs)
    with pytest.raises(ValueError, match=r"num_fleets=5, .* got 6 \(suburb, suburb"):
        make_env(agent, [make_card()] * 6, seed=0)
    with pytest.raises(ValueError, match="got 0"):
        make_env(agent, [], seed=0)


def test_views_are_what_their_names_say(make_card: MakeCard, make_agent: MakeAgent) -> None:
    card = make_card(observation="fleet")  # views read the cars whatever the card shows
    kinds = {view: type(_fleets(make_agent(view=view), card).envs[0]) for view in ALGORITHMS}
    assert kinds == {
        "index": FleetIndexVectorEnv,
        "tuned": TunedIndexVectorEnv,
        "cohort": FleetCohortVectorEnv,
        "cars": CarsAsRows,
        "fleet": FleetVectorEnv,
        "bits": FleetVectorEnv,
    }


def _fleets(agent: AgentSettings, card: EnvConfig, seed: int = 0) -> FleetVecEnv:
    fleets = make_env(agent, [card], seed).unwrapped
    assert isinstance(fleets, FleetVecEnv)
    return fleets


def test_seeds_meet_other_train_days_and_a_model_does_not_move_them(
    make_card: MakeCard, make_agent: MakeAgent
) -> None:
    agent, card = make_agent(), make_card()
    starts = [_fleets(agent, card, seed).cursor[0] for seed in range(10)]
    assert starts[0] == 0
    gaps = np.diff(np.sort([*starts, 1_000_000]))
    assert gaps.min() > 50_000  # train days, 500 updates of 96 rows and more
    env = make_env(agent, [card], seed=3)
    make_model(agent, env, seed=3)
    env.reset()
    assert env.unwrapped.cursor == [starts[3]]
    assert env.unwrapped.envs[0].fleet.split == "train"


def test_wrappers_are_those_that_the_agent_asks_for(
    make_card: MakeCard, make_agent: MakeAgent
) -> None:
    card = make_card()
    plain = make_agent(normalize_obs=False, normalize_reward=False)
    assert isinstance(make_env(plain, [card], 0), FleetVecEnv)

    env = make_env(make_agent(gamma=0.9, normalize_reward=False), [card], 0)
    assert isinstance(env, VecNormalize)
    assert (env.gamma, env.norm_obs, env.norm_reward) == (0.9, True, False)

    limited = make_agent(
        constraint=ConstraintSettings(limits={"slo": 1.0}), imitate=ImitateSettings(rounds=1)
    )
    env = make_env(limited, [card], 0)
    assert isinstance(env, VecNormalize)
    assert isinstance(env.venv, NearReferenceVecEnv)  # sees raw summaries and charges in USD
    assert isinstance(env.venv.venv, LagrangianVecEnv)


def test_bits_are_normalised_but_for_the_mask(make_card: MakeCard, make_agent: MakeAgent) -> None:
    env = make_env(make_agent("maskable_ppo", "bits"), [make_card()], 0)
    obs = env.reset()
    assert isinstance(env, VecNormalize)
    assert set(env.obs_rms) == {"cars", "fleet"}
    assert set(np.unique(obs["mask"])) <= {0, 1}


def test_sizes_of_rollouts_and_batches_default_to_episodes_and_few_large_ones(
    make_card: MakeCard,
) -> None:
    for num_fleets, batch_size in ((128, 1024), (64, 1536), (2, 48)):  # of so many x 24 steps
        agent = AgentSettings(num_fleets=num_fleets, num_cars=2)
        model: Any = make_model(agent, make_env(agent, [make_card()], 0), 0)
        assert (model.n_steps, model.batch_size, model.n_epochs) == (24, batch_size, 4)


def test_settings_reach_the_network(make_card: MakeCard, make_agent: MakeAgent) -> None:
    options = {"learning_rate": 1e-5, "policy_kwargs": {"log_std_init": -1.5}}
    agent = make_agent(net=[7], activation="relu", gamma=0.5, options=options)
    model: Any = make_model(agent, make_env(agent, [make_card()], 0), 0)
    layer, activation = model.policy.mlp_extractor.policy_net
    assert layer.out_features == 7
    assert isinstance(activation, torch.nn.ReLU)
    assert (model.gamma, model.learning_rate) == (0.5, 1e-5)
    assert torch.all(model.policy.log_std == -1.5)
    assert model.device == torch.device("cpu")


def test_one_torch_thread_unless_asked_for_more(make_card: MakeCard, make_agent: MakeAgent) -> None:
    agent = make_agent()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        make_model(agent, make_env(agent, [make_card()], 0), 0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("algorithm", ALGORITHMS["index"])
def test_a_policy_may_begin_as_the_tuned_index(
    algorithm: str, make_card: MakeCard, make_agent: MakeAgent
) -> None:
    agent = make_agent(algorithm, init="tuned_index")
    env = make_env(agent, [make_card()], 0)
    model = make_model(agent, env, 0)
    want = np.append(read("suburb").vector()[: len(WEIGHTS)], 2 * TUNED_SHARE - 1)
    action, _ = model.predict(env.reset(), deterministic=True)
    np.testing.assert_allclose(action, np.tile(want, (2, 1)), atol=0.05)
    assert np.ptp(action, axis=0).max() > 0  # it still depends on what is seen


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_policy_of_the_tuned_view_begins_as_the_index_of_its_card(
    algorithm: str, make_card: MakeCard, make_agent: MakeAgent
) -> None:
    env = make_env(agent := make_agent(algorithm, "tuned", init="tuned_index"), [make_card()], 0)
    model = make_model(agent, env, 0)
    action, _ = model.predict(env.reset(), deterministic=True)
    np.testing.assert_allclose(action[0], to_action(read("suburb").vector()), atol=0.05)
    with pytest.raises(ValueError, match=r"agent\.init='few': expected none or tuned_index"):
        make_agent(algorithm, "tuned", init="few")


@pytest.mark.parametrize(("algorithm", "view"), [p for p in PAIRS if p.values[1] != "tuned"])
def test_a_policy_may_begin_with_few_cars_on_duty(
    algorithm: str, view: str, make_card: MakeCard, make_agent: MakeAgent
) -> None:
    agent = make_agent(algorithm, view, init="few", num_fleets=64)
    env = make_env(agent, [make_card()], 0)
    model = make_model(agent, env, 0)
    action = np.asarray(model.predict(env.reset(), deterministic=view in ("index", "cohort"))[0])
    if view == "index":
        action = action[:, -1]
    if view == "fleet":  # of the cars that it may take
        action = action[env.unwrapped.action_masks()[:, 1::2]]
    share = action.mean() if view in ("cars", "fleet", "bits") else (action.mean() + 1) / 2
    assert share == pytest.approx(FEW, abs=0.06)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_step": 24}, r"agent.options.n_step: did you mean 'n_steps'\? PPO takes"),
        ({"gamma": 0.9}, "agent.options.gamma: set agent.gamma; PPO takes"),
        ({"use_sde": True}, "agent.options.use_sde: exported policies are plain Gaussians"),
        ({"n_steps": 25}, "n_steps=25: expected a multiple of the 24 steps"),
        ({"policy_kwargs": {"net_arch": [8]}}, "policy_kwargs.net_arch: set agent.net instead"),
    ],
)
def test_options_that_do_not_fit_are_named(
    options: dict[str, Any], message: str, make_card: MakeCard, make_agent: MakeAgent
) -> None:
    agent = make_agent(options=options)
    env = make_env(agent, [make_card()], 0)
    with pytest.raises(ValueError, match=message):
        make_model(agent, env, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"view": "idnex"}, "agent.view='idnex': expected index or tuned or"),
        ({"algorithm": "sac", "view": "cars"}, "agent.algorithm='sac': expected ppo or maskable"),
        ({"algorithm": "a2c"}, r"expected ppo or sac or tqc or recurrent_ppo \(agent.view=index\)"),
        ({"num_fleets": 0}, r"agent.num_fleets=0: expected a number in \[1, 100,000\]"),
        ({"gamma": 1.5}, "agent.gamma=1.5"),
        ({"net": [64, 0]}, r"agent.net=\[64, 0\]: expected widths"),
        ({"view": "fleet"}, "agent.normalize_obs=True: expected False"),
        (
            {"view": "cohort", "init": "tuned_index"},
            "agent.init='tuned_index': expected none or few",
        ),
        ({"algorithm": "sac", "imitate": ImitateSettings(rounds=2)}, "agent.imitate.rounds=2"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AgentSettings(**settings)


@pytest.mark.slow  # starts Python
def test_settings_do_not_need_torch() -> None:
    code = "import sys, agents.rl.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

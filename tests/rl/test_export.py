"""A policy plays from its file, without torch, as it does in the model it was taken from."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.learned import nets
from agents.learned.policy import Learned, duty_of_numbers
from agents.rl.export import export
from agents.rl.models import make_env, make_model
from agents.rl.settings import AgentSettings
from fleet_env import EnvConfig
from fleet_env.types import FloatArray
from fleet_env.views import SUMMARY_FIELDS
from fleet_env.views.index import Candidates
from tests.rl.small import PAIRS, MakeAgent, MakeCard

NUM_STEPS = 26  # of 24 in an episode: memories are forgotten on the way
TOLERANCE = 1e-5  # float32 of numpy and torch, numbers of order 1
STIR = 0.3  # deviation of what is added to all weights, so that no head is nearly zero


def trained(agent: AgentSettings, card: EnvConfig) -> BaseAlgorithm:
    """Make a model that has learnt a little, with weights that matter everywhere."""
    env = make_env(agent, [card], seed=0)
    model = make_model(agent, env, seed=0)
    model.learn(8 * env.num_envs)  # PPO needs a whole episode, the others do not
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.policy.parameters():
            value += STIR * torch.randn(value.shape, generator=draw)
    return model


def logits_of(model: Any, obs: Any) -> FloatArray:
    """Log-odds of on against off duty as torch has them, flat over all cars of all rows."""
    with torch.no_grad():
        dist = model.policy.get_distribution(model.policy.obs_to_tensor(obs)[0])
    if hasattr(dist, "logits"):  # set
        return torch.where(dist.free, dist.logits, -torch.inf).numpy().ravel()
    if hasattr(dist, "distributions"):  # MaskablePPO on bits
        return torch.stack([d.logits[:, 1] - d.logits[:, 0] for d in dist.distributions], 1).numpy()
    logits = dist.distribution.logits
    return (logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits).numpy().ravel()


@pytest.mark.parametrize(("algorithm", "view"), PAIRS)
def test_a_file_plays_what_the_model_plays(
    algorithm: str, view: str, make_card: MakeCard, make_agent: MakeAgent, tmp_path: Path
) -> None:
    agent, card = make_agent(algorithm, view), make_card()
    model: Any = trained(agent, card)
    export(model, agent, {"steps": 48}).save(tmp_path / "a.policy")
    player, reader = (Learned(file=str(tmp_path / "a.policy")) for _ in range(2))
    env = model.get_env()
    if model.get_vec_normalize_env() is not None:
        env.training = False
    batch = env.unwrapped.envs[0]
    fleet = getattr(batch, "fleet", batch)
    obs, state, rng = env.reset(), None, np.random.default_rng(0)
    begun, num_on, num_allowed = np.ones(env.num_envs, np.bool_), 0, 0
    for _ in range(NUM_STEPS):
        raw = fleet.sim.observe()
        masks = {"action_masks": env.unwrapped.action_masks()} if "maskable" in algorithm else {}
        action, state = model.predict(obs, state, begun, deterministic=True, **masks)
        if begun.any():
            for policy in (player, reader):
                policy.reset(np.ones(agent.num_fleets, np.bool_))
        if view in ("index", "tuned", "cohort"):
            cars = Candidates.of(raw)
            numbers = reader._numbers(cars, None)
            np.testing.assert_allclose(numbers, action, rtol=0, atol=TOLERANCE)
            wanted = duty_of_numbers(view, cars, action)
        else:
            allowed = raw["mask"] != 0
            odds = reader.log_odds(raw)
            want = np.where(allowed, logits_of(model, obs).reshape(allowed.shape), -np.inf)
            np.testing.assert_allclose(odds, want, rtol=TOLERANCE, atol=TOLERANCE)
            wanted = (action.reshape(allowed.shape) > 0) & allowed
        np.testing.assert_array_equal(player.act(raw, rng), wanted)
        num_on, num_allowed = num_on + wanted.sum(), num_allowed + raw["mask"].sum()
        obs, _, begun, _ = env.step(action)
    assert 0 < num_on < num_allowed  # there was something to choose


@pytest.mark.parametrize(("algorithm", "view"), [("ppo", "cohort"), ("tqc", "index")])
def test_deviations_of_drawn_actions_go_with_it(
    algorithm: str, view: str, make_card: MakeCard, make_agent: MakeAgent
) -> None:
    agent = make_agent(algorithm, view, normalize_obs=False)
    model: Any = trained(agent, make_card())
    weights = export(model, agent, {}).weights
    seen = np.random.default_rng(0).normal(size=(5, len(SUMMARY_FIELDS))).astype(np.float32)
    latent = nets.hidden(weights, seen, agent.activation)
    with torch.no_grad():
        if algorithm == "ppo":
            want = model.policy.log_std.numpy()
        else:
            want = model.actor.get_action_dist_params(torch.as_tensor(seen))[1].numpy()
    assert np.ptp(want) > 0.01
    np.testing.assert_allclose(nets.log_std(weights, latent), want, atol=TOLERANCE)


def test_the_card_says_what_the_agent_is(make_card: MakeCard, make_agent: MakeAgent) -> None:
    agent = make_agent("recurrent_ppo", "cohort", activation="relu", name="mine")
    model = make_model(agent, make_env(agent, [make_card()], 0), 0)
    card = export(model, agent, {"steps": 7, "cards": ["suburb"]}).card
    kept = {key: card[key] for key in ("name", "kind", "network", "activation", "distribution")}
    assert kept == {
        "name": "mine", "kind": "cohort", "network": "lstm", "activation": "relu",
        "distribution": "gaussian",
    }  # fmt: skip
    assert card["training"] == {"steps": 7, "cards": ["suburb"]}
    assert card["config"]["options"]["policy_kwargs"] == {"lstm_hidden_size": 8}
    assert card["config"]["net"] == agent.net


def test_statistics_are_copied_and_left_out_where_there_are_none(
    make_card: MakeCard, make_agent: MakeAgent
) -> None:
    agent = make_agent()
    model: Any = trained(agent, make_card())
    file = export(model, agent, {})
    kept = file.weights["obs_mean"].copy()
    model.get_vec_normalize_env().obs_rms.update(np.ones((4, len(SUMMARY_FIELDS))))
    np.testing.assert_array_equal(file.weights["obs_mean"], kept)
    weight = file.weights["layers.0.weight"].copy()
    with torch.no_grad():
        model.policy.mlp_extractor.policy_net[0].weight += 1.0
    np.testing.assert_array_equal(file.weights["layers.0.weight"], weight)

    plain = make_agent(normalize_obs=False)
    model = make_model(plain, make_env(plain, [make_card()], 0), 0)
    assert "obs_mean" not in export(model, plain, {}).weights


def test_two_layers_of_lstm_are_refused(make_card: MakeCard, make_agent: MakeAgent) -> None:
    options = {"policy_kwargs": {"n_lstm_layers": 2, "lstm_hidden_size": 4}}
    agent = make_agent("recurrent_ppo", options=options)
    model = make_model(agent, make_env(agent, [make_card()], 0), 0)
    with pytest.raises(ValueError, match="n_lstm_layers=2: only one layer"):
        export(model, agent, {})

"""Builds what an agent learns in and what learns: batches of fleets and models of SB3."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import torch
from sb3_contrib import TQC, MaskablePPO, RecurrentPPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from agents.index.view import TunedIndexVectorEnv
from agents.rl.imitate import NearReferenceVecEnv
from agents.rl.lagrangian import LagrangianVecEnv
from agents.rl.paired import PairedVecEnv
from agents.rl.set_policy import SetPolicy
from agents.rl.settings import AgentSettings
from agents.rl.start import begin
from agents.rl.vec_env import FleetVecEnv, View
from fleet_env import CarsAsRows, FleetCohortVectorEnv, FleetIndexVectorEnv, FleetVectorEnv
from fleet_env.config import EnvConfig
from fleet_env.scenarios import SPLIT_SIZE

CLASSES: dict[str, type[Any]] = {
    "ppo": PPO,
    "sac": SAC,
    "tqc": TQC,
    "recurrent_ppo": RecurrentPPO,
    "maskable_ppo": MaskablePPO,
}
# Of on-policy algorithms where options say nothing: few large batches, as SB3's 64 x 10 epochs cost
# ten times the rollout; rl notes D.2
BATCH_SIZE, NUM_EPOCHS = 1024, 4
# Seeds begin this many train days apart, the golden part of the split: ten of them, or a hundred,
# are spread over it evenly
SEED_STRIDE = round(0.618034 * SPLIT_SIZE["train"])
# keyword arguments that are settings of their own, or that what plays trained policies cannot play
ELSEWHERE = {
    "policy": "it follows from agent.view",
    "env": "it follows from agent.view",
    "seed": "set seed",
    "gamma": "set agent.gamma",
    "tensorboard_log": "set logger",
    "use_sde": "exported policies are plain Gaussians",
    "_init_setup_model": "a model is always set up",
}
NETWORK = {"net_arch": "agent.net", "activation_fn": "agent.activation"}


def make_env(agent: AgentSettings, cards: Sequence[EnvConfig], seed: int) -> VecEnv:
    """Build the fleets an agent learns from: train days, split evenly between cards.

    Parameters
    ----------
    agent : AgentSettings
        Its `num_cars` goes before that of the cards.
    cards : sequence of EnvConfig
        Of equally long episodes.
    seed : int
        Of the training: another seed meets other train days, or the same much later.

    Returns
    -------
    VecEnv
        `FleetVecEnv`, reachable as ``unwrapped``, in the wrappers that the agent asks for:
        multipliers of costs, the price of leaving a clone, pay against copies, normalisation.

    Raises
    ------
    ValueError
        If there are fewer days at a time than cards, or the cards do not fit together.
    """
    days = agent.num_fleets // agent.copies  # that are played at a time
    if not 1 <= len(cards) <= days:
        names = ", ".join(card.name for card in cards) or "no card"
        raise ValueError(
            f"agent.num_fleets={agent.num_fleets}, agent.copies={agent.copies}: expected one day "
            f"or more for each of at least one card, got {len(cards)} ({names})"
        )
    whole, rest = divmod(days, len(cards))
    views = [
        _view(
            agent, replace(card, num_cars=agent.num_cars), (whole + (place < rest)) * agent.copies
        )
        for place, card in enumerate(cards)
    ]
    env: VecEnv = FleetVecEnv(views, seed * SEED_STRIDE % SPLIT_SIZE["train"], agent.copies)
    if agent.constraint.limits:
        env = LagrangianVecEnv(env, agent.constraint)
    if agent.imitate.rounds:
        env = NearReferenceVecEnv(env, agent.imitate)
    if agent.copies > 1:
        env = PairedVecEnv(env, agent.copies, env.num_envs // agent.num_fleets)
    return _normalized(agent, env)


def _view(agent: AgentSettings, card: EnvConfig, num_fleets: int) -> View:
    if agent.view == "cars":
        return CarsAsRows(num_fleets=num_fleets, config=card)
    if agent.view == "index":
        return FleetIndexVectorEnv(num_envs=num_fleets, config=card)
    if agent.view == "tuned":
        return TunedIndexVectorEnv(num_envs=num_fleets, config=card)
    if agent.view == "cohort":
        return FleetCohortVectorEnv(num_envs=num_fleets, config=card)
    return FleetVectorEnv(num_envs=num_fleets, config=replace(card, observation="cars"))


def _normalized(agent: AgentSettings, env: VecEnv) -> VecEnv:
    if not (agent.normalize_obs or agent.normalize_reward):
        return env
    return VecNormalize(
        env,
        norm_obs=agent.normalize_obs,
        norm_reward=agent.normalize_reward,
        gamma=agent.gamma,
        norm_obs_keys=["cars", "fleet"] if agent.normalize_obs and agent.view == "bits" else None,
    )


def make_model(
    agent: AgentSettings, env: VecEnv, seed: int, tensorboard: Path | None = None
) -> BaseAlgorithm:
    """Build the learner.

    Parameters
    ----------
    agent : AgentSettings
        Where `options` say nothing, rollouts of on-policy algorithms are one episode of every row,
        in equal batches of at least `BATCH_SIZE`, with `NUM_EPOCHS`; the rest are SB3's defaults.
    env : VecEnv
        Of `make_env`.
    seed : int
        Of weights, exploration and batches.
    tensorboard : Path, optional
        Folder of SB3's own log.

    Raises
    ------
    ValueError
        If an option is unknown, set elsewhere, or a rollout is not of whole episodes.
    """
    torch.set_num_threads(agent.torch_threads)
    kind = CLASSES[agent.algorithm]
    options = _options(agent, kind, env)
    log = None if tensorboard is None else str(tensorboard)
    model: BaseAlgorithm = kind(
        _policy(agent), env, seed=seed, gamma=agent.gamma, tensorboard_log=log, **options
    )
    begin(model, agent)
    return model


def _policy(agent: AgentSettings) -> str | type[SetPolicy]:
    if agent.view == "fleet":
        return SetPolicy
    if agent.view == "bits":
        return "MultiInputPolicy"
    return "MlpLstmPolicy" if agent.algorithm == "recurrent_ppo" else "MlpPolicy"


def _options(agent: AgentSettings, kind: type[Any], env: VecEnv) -> dict[str, Any]:
    options = dict(agent.options)
    known = [name for name in inspect.signature(kind).parameters if name not in ELSEWHERE]
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            hint = f"{ELSEWHERE[name]}; " if name in ELSEWHERE else hint
            raise ValueError(
                f"agent.options.{name}: {hint}{kind.__name__} takes {', '.join(known)}"
            )
    options["policy_kwargs"] = _network(agent)
    if issubclass(kind, OnPolicyAlgorithm):
        options = _rollout(options, env)
    return {"device": "cpu"} | options


def _network(agent: AgentSettings) -> dict[str, Any]:
    """Keyword arguments of the policy, with hidden layers and activation by their own settings."""
    given = dict(agent.options.get("policy_kwargs") or {})
    for name, setting in NETWORK.items():
        if name in given:
            raise ValueError(f"agent.options.policy_kwargs.{name}: set {setting} instead")
    activation = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[agent.activation]
    return given | {"net_arch": list(agent.net), "activation_fn": activation}


def _rollout(options: dict[str, Any], env: VecEnv) -> dict[str, Any]:
    """Fill in sizes of rollout and batch, and check that rollouts are whole episodes."""
    episode = cast("FleetVecEnv", env.unwrapped).num_steps
    num_steps = options.get("n_steps", episode)
    if num_steps % episode:
        raise ValueError(
            f"agent.options.n_steps={num_steps}: expected a multiple of the {episode} steps of an "
            "episode, so that a run can stop and go on between episodes"
        )
    total = num_steps * env.num_envs
    least = min(BATCH_SIZE, total)
    whole = next(size for size in range(least, total + 1) if total % size == 0)
    return {"batch_size": whole, "n_epochs": NUM_EPOCHS, "n_steps": num_steps} | options

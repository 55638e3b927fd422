"""A teacher's clone as the start of a training, and as what it is held near."""

from __future__ import annotations

from collections.abc import Sequence

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from agents.learned.policy_file import PolicyFile
from agents.rl.checkpoint import wrapped
from agents.rl.imitate import NearReferenceVecEnv, RoundReport, imitate, mean_of
from agents.rl.settings import AgentSettings
from fleet_env.config import EnvConfig


def clone_teacher(
    model: BaseAlgorithm, agent: AgentSettings, cards: Sequence[EnvConfig], seed: int
) -> list[RoundReport]:
    """Let a fresh model learn from its teacher; see `agents.rl.imitate`."""
    if not isinstance(model, OnPolicyAlgorithm):
        raise ValueError(
            f"agent.imitate.rounds={agent.imitate.rounds}: expected agent.algorithm=ppo, got "
            f"{agent.algorithm}"
        )
    return imitate(model, agent, cards, seed)


def steps_of_teaching(agent: AgentSettings, cards: Sequence[EnvConfig]) -> int:
    """Count the steps of fleets that `clone_teacher` plays."""
    days = max(1, agent.imitate.days // len(cards))
    return agent.imitate.rounds * days * sum(card.num_steps for card in cards)


def hold_near(env: VecEnv, clone: PolicyFile) -> None:
    """Charge from now on for leaving a clone, where the environment is made for that."""
    near = wrapped(env, NearReferenceVecEnv)
    if near is not None:
        near.hold(mean_of(clone))

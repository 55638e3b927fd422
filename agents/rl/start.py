"""How a fresh policy acts: near what is sensible, so that learning need not find that out first."""

from __future__ import annotations

from math import log
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.index.parameters import WEIGHTS, read
from agents.index.view import to_action
from agents.rl.settings import SQUASHED, AgentSettings
from agents.rl.vec_env import FleetVecEnv
from fleet_env.types import FloatArray

# of the feasible cars on duty, mean of tuned_index on 8 train days of 256 suburban cars
TUNED_SHARE = 0.34
FEW = 0.1  # of the feasible cars on duty; est
HEAD_GAIN = 0.01  # of the head of a fresh policy, as SB3's `action_net`
LARGEST_MEAN = 0.99  # of a squashed action: its arctanh is finite


def begin(model: BaseAlgorithm, agent: AgentSettings) -> None:
    """Give a fresh policy its first mean action, by `agent.init`."""
    if agent.init == "none":
        return
    policy: Any = model.policy
    if agent.view == "fleet":
        head = policy.mlp_extractor.head
    else:
        head = policy.actor.mu if agent.algorithm in SQUASHED else policy.action_net
    mean = _tuned(agent, model) if agent.init == "tuned_index" else _few(agent, model.action_space)
    if agent.algorithm in SQUASHED:
        mean = np.arctanh(np.clip(mean, -LARGEST_MEAN, LARGEST_MEAN))
    torch.nn.init.orthogonal_(head.weight, gain=HEAD_GAIN)
    with torch.no_grad():
        head.bias.copy_(torch.as_tensor(np.resize(mean, head.bias.shape)))


def _tuned(agent: AgentSettings, model: BaseAlgorithm) -> FloatArray:
    """Tuned index of the first card; in the index view its weights, and a constant share."""
    fleets = cast("FleetVecEnv", cast("Any", model.get_env()).unwrapped)
    index = read(agent.index_of(fleets.envs[0].config.name))
    if agent.view == "tuned":
        return to_action(index.vector())
    return np.append(index.vector()[: len(WEIGHTS)], 2 * TUNED_SHARE - 1)


def _few(agent: AgentSettings, actions: spaces.Space[Any]) -> FloatArray:
    """Shares in [-1, 1], or logits of "on", beside those of "off" where there are such."""
    if isinstance(actions, spaces.Box):
        return np.array([2 * FEW - 1])
    on = log(FEW / (1 - FEW))
    pairs = isinstance(actions, spaces.Discrete) or agent.algorithm == "maskable_ppo"
    return np.array([0.0, on] if pairs else [on])

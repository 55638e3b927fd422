"""Takes a trained model out of torch: its policy as a file that plays without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from sb3_contrib import MaskablePPO
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor, nn

from agents.learned.policy_file import PolicyFile, new_card
from agents.rl.set_policy import SetPolicy
from agents.rl.settings import SQUASHED, AgentSettings
from fleet_env.types import FloatArray

Weights = dict[str, FloatArray]

# view -> kind of the file, distribution of its actions; numbers of SAC and TQC are squashed instead
KINDS = {
    "index": ("index", "gaussian"),
    "tuned": ("tuned", "gaussian"),
    "cohort": ("cohort", "gaussian"),
    "cars": ("cars", "categorical"),
    "fleet": ("set", "bernoulli"),
    "bits": ("binary", "bernoulli"),
}
NETWORKS = {"recurrent_ppo": "lstm"}


def export(model: BaseAlgorithm, agent: AgentSettings, training: Mapping[str, Any]) -> PolicyFile:
    """Write a model's policy as weights and a card.

    Parameters
    ----------
    model : BaseAlgorithm
        Of `agents.rl.models.make_model`; its statistics of the observation go with it.
    agent : AgentSettings
        It was made by.
    training : mapping
        JSON data on how it was trained, for people to read.

    Returns
    -------
    PolicyFile
        Its network gives the numbers of the model, to rounding; the critic stays behind.

    Raises
    ------
    ValueError
        If the network has more than one layer of LSTM.
    """
    kind, distribution = KINDS[agent.view]
    squashed = agent.algorithm in SQUASHED
    card = new_card(
        agent.name,
        kind,
        network="set" if kind == "set" else NETWORKS.get(agent.algorithm, "mlp"),
        distribution="squashed" if squashed else distribution,
        activation=agent.activation,
        num_cars=agent.num_cars if kind == "binary" else None,
        config=asdict(agent),
        training=training,
    )
    policy: Any = model.policy
    if kind == "set":
        return PolicyFile(card, set_weights(policy))
    weights = _squashed(policy.actor) if squashed else _actor(policy, distribution)
    if kind == "binary" and isinstance(model, MaskablePPO):
        weights = _one_logit(weights)
    return PolicyFile(card, _statistics(model) | weights)


def _actor(policy: Any, distribution: str) -> Weights:
    """Weights of an actor-critic policy, with its LSTM if it has one."""
    weights = _lstm(policy.lstm_actor) if hasattr(policy, "lstm_actor") else {}
    weights |= _layers([*policy.mlp_extractor.policy_net, policy.action_net])
    if distribution == "gaussian":
        weights["log_std"] = _numbers(policy.log_std)
    return weights


def _squashed(actor: Any) -> Weights:
    """Weights of the actor of SAC or TQC, whose deviation depends on what it sees."""
    log_std = {"log_std.weight": actor.log_std.weight, "log_std.bias": actor.log_std.bias}
    heads = {name: _numbers(value) for name, value in log_std.items()}
    return _layers([*actor.latent_pi, actor.mu]) | heads


def set_weights(policy: SetPolicy) -> Weights:
    """Weights that `agents.learned.set_net` plays: all but the critic."""
    state = policy.mlp_extractor.state_dict()
    return {
        name: _numbers(value) for name, value in state.items() if not name.startswith("critic.")
    }


def _layers(modules: list[nn.Module]) -> Weights:
    linear = [module for module in modules if isinstance(module, nn.Linear)]
    return {
        f"layers.{k}.{name}": _numbers(value)
        for k, layer in enumerate(linear)
        for name, value in (("weight", layer.weight), ("bias", layer.bias))
    }


def _lstm(lstm: Any) -> Weights:
    if lstm.num_layers != 1:
        raise ValueError(
            f"agent.options.policy_kwargs.n_lstm_layers={lstm.num_layers}: only one layer can be "
            "played from a policy file; make it wider instead"
        )
    bias = _numbers(lstm.bias_ih_l0) + _numbers(lstm.bias_hh_l0)
    weight_ih, weight_hh = _numbers(lstm.weight_ih_l0), _numbers(lstm.weight_hh_l0)
    return {"lstm.weight_ih": weight_ih, "lstm.weight_hh": weight_hh, "lstm.bias": bias}


def _one_logit(weights: Weights) -> Weights:
    """Turn off and on of each bit, as MaskablePPO has them, into the log-odds of on."""
    last = max(weights, key=lambda name: int(name.split(".")[1])).rpartition(".")[0]
    heads = {name: weights[name] for name in (f"{last}.weight", f"{last}.bias")}
    return weights | {name: pair[1::2] - pair[0::2] for name, pair in heads.items()}


def _statistics(model: BaseAlgorithm) -> Weights:
    """Mean and variance by which `VecNormalize` scales what the network sees, in its order."""
    normalizer = model.get_vec_normalize_env()
    if normalizer is None or not normalizer.norm_obs:
        return {}
    by_key = normalizer.obs_rms
    if not isinstance(by_key, dict):
        return {"obs_mean": by_key.mean.copy(), "obs_var": by_key.var.copy()}
    # an observation by parts is flattened in the order of its space; the mask stays as it is
    space: Any = model.observation_space
    sizes = {key: int(np.prod(part.shape)) for key, part in space.spaces.items()}
    mean = [by_key[k].mean.ravel() if k in by_key else np.zeros(n) for k, n in sizes.items()]
    var = [by_key[k].var.ravel() if k in by_key else np.ones(n) for k, n in sizes.items()]
    return {"obs_mean": np.concatenate(mean), "obs_var": np.concatenate(var)}


def _numbers(value: Tensor) -> FloatArray:
    """Copy out of torch, float32."""
    return np.array(value.detach().cpu().numpy(), np.float32)

"""An equivariant actor-critic for `Fleet-v0`: one bit a car from deep sets, for stock PPO.

The network is that of `agents.learned.set_net`, which plays the exported weights without torch.
The critic sees the same pool of the feasible cars, so that its value does not depend on their
order. Fields are scaled here: the policy wants raw observations, no `VecNormalize` of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import BernoulliDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.learned.set_net import CAR_SCALE, FLEET_SCALE

TensorObs = dict[str, Tensor]
_HEAD_GAIN = 0.01  # as SB3 starts its action nets: every feasible car with probability one half


class MaskedBernoulli(BernoulliDistribution):
    """Independent bits; a logit of -inf is a bit that is 0 and no choice at all."""

    logits: Tensor  # (batch, num_cars), finite
    free: Tensor  # (batch, num_cars), bits that are a choice

    def proba_distribution_net(self, latent_dim: int) -> nn.Module:
        """Return no layer: the network gives logits."""
        return nn.Identity()

    def proba_distribution(self, action_logits: Tensor) -> MaskedBernoulli:
        """Take logits, shape (batch, num_cars)."""
        self.free = action_logits > -torch.inf
        self.logits = torch.where(self.free, action_logits, 0.0)
        return self

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log-probability of the free bits, shape (batch,)."""
        # log sigmoid(x) of a bit that is set, log sigmoid(-x) of one that is not
        log_prob = nn.functional.logsigmoid(torch.where(actions > 0, self.logits, -self.logits))
        return torch.where(self.free, log_prob, 0.0).sum(dim=1)

    def entropy(self) -> Tensor:
        """Entropy of the free bits in nats, shape (batch,)."""
        p = torch.sigmoid(self.logits)
        entropy = nn.functional.softplus(self.logits) - p * self.logits
        return torch.where(self.free, entropy, 0.0).sum(dim=1)

    def sample(self) -> Tensor:
        """Draw every free bit, shape (batch, num_cars)."""
        drawn = torch.rand_like(self.logits) < torch.sigmoid(self.logits)
        return (drawn & self.free).float()

    def mode(self) -> Tensor:
        """Set the bits that are likelier on than off, shape (batch, num_cars)."""
        return ((self.logits > 0) & self.free).float()


class SetNetwork(nn.Module):
    """Logits of the cars and features of the critic; formulas in `agents.learned.set_net`.

    Parameters
    ----------
    sizes : sequence of int
        Widths of the layers that embed a car; the others are as wide as the last one.
    activation : type
        Of every layer.
    """

    car_scale: Tensor
    fleet_scale: Tensor

    def __init__(self, sizes: Sequence[int], activation: type[nn.Module]) -> None:
        super().__init__()
        inputs = (len(CAR_SCALE), *sizes[:-1])
        width = sizes[-1]
        pooled = 2 * width + len(FLEET_SCALE)
        self.encoder = nn.ModuleList(map(nn.Linear, inputs, sizes))
        self.context = nn.Linear(pooled, width)
        self.car = nn.Linear(width, width)
        self.shift = nn.Linear(width, width, bias=False)
        self.head = nn.Linear(width, 1)
        self.critic = nn.Linear(pooled, width)
        self.act = activation()
        self.register_buffer("car_scale", torch.as_tensor(CAR_SCALE), persistent=False)
        self.register_buffer("fleet_scale", torch.as_tensor(FLEET_SCALE), persistent=False)
        # what ActorCriticPolicy asks of its two branches
        self.latent_dim_pi, self.latent_dim_vf = width, width

    def forward(self, obs: TensorObs) -> tuple[Tensor, Tensor]:
        """Logits, shape (batch, num_cars), and features of the critic, shape (batch, width)."""
        embedded, joined = self._embed(obs)
        return self._logits(obs, embedded, joined), self._critic(joined)

    def forward_actor(self, obs: TensorObs) -> Tensor:
        """Logits, shape (batch, num_cars): -inf for cars that are not feasible."""
        return self._logits(obs, *self._embed(obs))

    def forward_critic(self, obs: TensorObs) -> Tensor:
        """Features of the critic, shape (batch, width)."""
        return self._critic(self._embed(obs)[1])

    def _embed(self, obs: TensorObs) -> tuple[Tensor, Tensor]:
        """Embedding of the feasible cars, (m, width), and pool beside fleet, (batch, pooled)."""
        allowed = obs["mask"] > 0
        x = obs["cars"][allowed] / self.car_scale
        for layer in self.encoder:
            x = self.act(layer(x))
        all_cars = x.new_zeros((*allowed.shape, x.shape[1]))
        all_cars[allowed] = x
        num = allowed.sum(dim=1, keepdim=True)
        mean = all_cars.sum(dim=1) / num.clamp(min=1)
        largest = all_cars.masked_fill(~allowed[..., None], -torch.inf).amax(dim=1)
        largest = torch.where(num > 0, largest, 0.0)
        return x, torch.cat([mean, largest, obs["fleet"] / self.fleet_scale], dim=1)

    def _logits(self, obs: TensorObs, embedded: Tensor, joined: Tensor) -> Tensor:
        allowed = obs["mask"] > 0
        shift = self.shift(self.act(self.context(joined)))
        row = torch.nonzero(allowed)[:, 0]
        hidden = self.act(self.car(embedded) + shift[row])
        logits = torch.full(allowed.shape, -torch.inf, device=hidden.device)
        logits[allowed] = self.head(hidden)[:, 0]
        return logits

    def _critic(self, joined: Tensor) -> Tensor:
        features: Tensor = self.act(self.critic(joined))
        return features


class WholeObservation(BaseFeaturesExtractor):
    """Pass the observation on as it is: the set network takes it apart."""

    def __init__(self, observation_space: spaces.Space[Any]) -> None:
        super().__init__(observation_space, features_dim=1)

    def forward(self, obs: TensorObs) -> TensorObs:
        """Return `obs`."""
        return obs


class SetPolicy(ActorCriticPolicy):
    """Stock actor-critic around a `SetNetwork`: infeasible cars are never chosen.

    Parameters
    ----------
    *args, **kwargs
        As for `ActorCriticPolicy`; `net_arch` is the list of widths of the layers that embed a
        car, (64, 64) by default.
    """

    mlp_extractor: Any  # a SetNetwork, which has its methods and is none

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["features_extractor_class"] = WholeObservation
        kwargs["net_arch"] = _widths(kwargs.get("net_arch"))
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        if not isinstance(self.action_space, spaces.MultiBinary):
            raise ValueError(
                f"SetPolicy: action space {self.action_space}: expected one bit a car, MultiBinary "
                "(view=fleet)"
            )
        self.action_dist = MaskedBernoulli(int(np.prod(self.action_space.shape)))
        sizes = cast("list[int]", self.net_arch)
        self.mlp_extractor = SetNetwork(sizes, self.activation_fn).to(self.device)

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        if self.ortho_init:
            self.mlp_extractor.head.apply(partial(self.init_weights, gain=_HEAD_GAIN))


def _widths(net_arch: Any) -> list[int]:
    if net_arch is None:
        return [64, 64]
    if not isinstance(net_arch, list) or not net_arch:
        raise ValueError(
            f"SetPolicy: net_arch={net_arch!r}: expected a list of one or more widths, such as "
            "[64, 64]: actor and critic share what embeds a car"
        )
    return net_arch

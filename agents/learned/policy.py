"""Trained policies as dispatchers: network input from what all see, duty bits by the views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from agents.base import ActionArray, Obs, feasible
from agents.index.policy import choose
from agents.index.view import to_parameters
from agents.learned import nets
from agents.learned.policy_file import PolicyFile
from agents.learned.set_net import CAR_SCALE, set_duty, set_logits
from fleet_env.observations import CAR_FIELDS
from fleet_env.types import BoolArray, FloatArray
from fleet_env.views.cars import car_rows
from fleet_env.views.cohort import cohort_duty
from fleet_env.views.envs import as_share
from fleet_env.views.index import INDEX_FEATURES, Candidates, index_duty
from fleet_env.views.summary import summary

State = tuple[FloatArray, FloatArray]


@dataclass(eq=False)
class _Memory:
    """What a recurrent network carries from step to step, a row per fleet."""

    state: State | None = None  # output and cell, (num_envs, 1, h)


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A policy that `fleet train` wrote, played without torch: by its best actions, or drawn ones.

    The best action is the mean of a Gaussian and the likelier one of two. A policy that also sets
    the margin of the energy managers cannot be played by duty bits, and is refused.
    """

    file: str = ""  # path of a .policy file
    sampled: bool = False  # draw actions as in training, in place of the best ones

    name: ClassVar[str] = "learned"
    family: ClassVar[str] = "learned"
    source: ClassVar[str] = "fleet train"
    model: PolicyFile = field(init=False, repr=False, compare=False)
    _memory: _Memory = field(default_factory=_Memory, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.file:
            raise ValueError(
                f"{self.name}: no file: expected policy.options.file=PATH, of a .policy file that "
                "fleet train wrote"
            )
        model = PolicyFile.load(self.file)
        if model.card["margin_action"]:
            raise ValueError(
                f"{self.file}: margin_action: this policy also sets energy.margin_h, which duty "
                "bits cannot: it plays FleetIndexVectorEnv(margin_action=True) alone, and is not "
                "compared with policies that may not set it"
            )
        if not isinstance(self.sampled, bool):
            raise ValueError(f"{self.name}: sampled={self.sampled!r}: expected true or false")
        object.__setattr__(self, "model", model)

    @property
    def card(self) -> Mapping[str, Any]:
        """What the file says of itself: what it sees and says, and how it was trained."""
        return self.model.card

    def reset(self, env_mask: BoolArray) -> None:
        """Forget the episodes that just ended; a batch of another size forgets all."""
        if self._memory.state is not None:
            if len(self._memory.state[0]) != len(env_mask):
                self._memory.state = None
            else:
                for part in self._memory.state:
                    part[env_mask] = 0.0

    def act(self, obs: Obs, rng: np.random.Generator) -> ActionArray:
        """Return duty bits, shape (num_envs, num_cars)."""
        draw = rng if self.sampled else None
        if self.card["kind"] in ("index", "tuned", "cohort"):
            cars = Candidates.of(obs)  # the summary and the scores read the same features
            return duty_of_numbers(str(self.card["kind"]), cars, self._numbers(cars, draw))
        return set_duty(self.log_odds(obs), draw)

    def numbers(self, obs: Obs) -> FloatArray:
        """Say what the network says of fleets as a whole: the action of its view.

        For the kinds index, tuned and cohort; what `act` then makes of it stands in `docs/views.md`
        and, for tuned, in `agents.index.policy.choose`. A network with a memory moves on by it.

        Returns
        -------
        FloatArray, shape (num_envs, actions)
            In [-1, 1].
        """
        return self._numbers(Candidates.of(obs), None)

    def _numbers(self, cars: Candidates, rng: np.random.Generator | None) -> FloatArray:
        """Return the action of the view, shape (num_envs, actions), in [-1, 1]."""
        weights = self.model.weights
        x = nets.normalised(weights, summary(cars)[:, None])
        if self.card["network"] == "lstm":
            x = self._recall(x)
        latent = nets.hidden(weights, x, str(self.card["activation"]))
        numbers = nets.head(weights, latent)
        if rng is not None:
            noise = rng.standard_normal(numbers.shape, np.float32)
            numbers += np.exp(nets.log_std(weights, latent)) * noise
        squashed = self.card["distribution"] == "squashed"
        bounded: FloatArray = np.tanh(numbers) if squashed else np.clip(numbers, -1.0, 1.0)
        return bounded[:, 0]

    def _recall(self, x: FloatArray) -> FloatArray:
        memory, width = self._memory, self.model.weights["lstm.weight_hh"].shape[1]
        if memory.state is None or len(memory.state[0]) != len(x):
            empty = np.zeros((2, len(x), 1, width), np.float32)
            memory.state = (empty[0], empty[1])
        memory.state = nets.lstm(self.model.weights, x, memory.state)
        return memory.state[0].copy()  # layers may work in place

    def log_odds(self, obs: Obs) -> FloatArray:
        """Log-odds of every car to be on duty, shape (num_envs, num_cars); -inf by the mask.

        For the kinds that decide car by car: cars, set and binary.
        """
        weights, activation = self.model.weights, str(self.card["activation"])
        if self.card["kind"] == "binary":
            return self._one_output_per_car(obs)
        odds = np.full(obs["mask"].shape, -np.inf, np.float32)
        for row in range(len(odds)):  # by itself, so that no row depends on the others
            fleet = {key: value[row : row + 1] for key, value in obs.items()}
            if self.card["kind"] == "set":
                odds[row] = set_logits(weights, fleet, activation)[0]
            elif fleet["mask"].any():
                odds[row, fleet["mask"][0] != 0] = _log_odds_of_cars(weights, fleet, activation)
        return odds

    def _one_output_per_car(self, obs: Obs) -> FloatArray:
        weights, allowed = self.model.weights, feasible(obs)
        num_envs, num_cars = allowed.shape
        if num_cars != self.card["num_cars"]:
            raise ValueError(
                f"{self.file}: plays fleets of {self.card['num_cars']} cars (one output for each), "
                f"not of {num_cars}"
            )
        flat = (obs["cars"].reshape(num_envs, -1), obs["fleet"], obs["mask"])
        x = nets.normalised(weights, np.concatenate(flat, axis=1, dtype=np.float32)[:, None])
        latent = nets.hidden(weights, x, str(self.card["activation"]))
        return np.where(allowed, nets.head(weights, latent)[:, 0], np.float32(-np.inf))


def duty_of_numbers(kind: str, cars: Candidates, numbers: FloatArray) -> ActionArray:
    """Duty bits of an action of a view that sees a summary, as the view works them out."""
    if kind == "cohort":
        return cohort_duty(cars, as_share(numbers))
    if kind == "tuned":
        return choose(cars, to_parameters(numbers))
    num = len(INDEX_FEATURES)
    return index_duty(cars, numbers[:, :num], as_share(numbers[:, num]))


def _log_odds_of_cars(weights: nets.Weights, fleet: Obs, activation: str) -> FloatArray:
    """Log-odds of the feasible cars of one fleet, each by itself, shape (m,)."""
    own, allowed = _of_fleet(weights, fleet), np.flatnonzero(fleet["mask"][0])
    columns = np.moveaxis(fleet["cars"][0], -1, 0)  # the environment keeps cars field by field
    odds = np.empty(len(allowed), np.float32)
    for part in nets.chunks(len(allowed)):
        x = nets.normalised(own, columns[:, allowed[part]].T / CAR_SCALE)
        off_on = nets.head(own, nets.hidden(own, x, activation))
        odds[part] = off_on[:, 1] - off_on[:, 0]
    return odds


def _of_fleet(weights: nets.Weights, fleet: Obs) -> nets.Weights:
    """Weights of the network of one fleet, which sees the car alone.

    The rest of a row (`fleet_env.views.ROW_FIELDS`) is the same for all feasible cars: what it
    adds to the first layer becomes that layer's bias.
    """
    num = len(CAR_FIELDS)
    first = int(np.argmax(fleet["mask"][0] != 0))
    one = {"cars": fleet["cars"][:, [first]], "fleet": fleet["fleet"], "mask": np.ones((1, 1))}
    shared = nets.normalised(weights, car_rows(one))[0, num:]
    layer = weights["layers.0.weight"]
    own = dict(weights)
    own["layers.0.weight"] = layer[:, :num]
    own["layers.0.bias"] = layer[:, num:] @ shared + weights["layers.0.bias"]
    own |= {key: weights[key][:num] for key in ("obs_mean", "obs_var") if key in weights}
    return own

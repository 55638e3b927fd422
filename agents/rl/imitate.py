"""DAgger: a policy learns what a teacher does, then is held near the clone.

The teacher chooses cars; what the clone learns is `agents.rl.labels`. Of `FleetIndex-v0` it is how
many, as a share of the feasible cars: which ones is left to a tuned index (`agent.index`), whose
weights are the rest of the target; the share counts no more cars than that index would take at all
(its `min_score`). Of `FleetCohort-v0` it is how many of each cohort. In the first round the
teacher plays; from the second on the learner does, and the teacher says what it would have done
there, so that the learner knows its way back from its own mistakes (Ross, Gordon & Bagnell 2011,
arXiv 1011.0686, with their beta of 1 in the first round and 0 later). A teacher sees what any
policy sees; none is told the future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor

from agents.base import Obs, Policy, feasible
from agents.heuristics.full_cost import FullCostFirst
from agents.index.policy import TunedIndex
from agents.learned import nets
from agents.learned.policy_file import PolicyFile
from agents.oracle.mpc import MPC
from agents.oracle.price_index import PriceIndex
from agents.rl.extras import ImitateSettings
from agents.rl.labels import CLONED, labels_of, num_actions
from agents.rl.settings import AgentSettings
from fleet_env.config import EnvConfig
from fleet_env.scenarios import SPLIT_SIZE
from fleet_env.types import BoolArray, FloatArray
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.views.summary import summary

Mean = Callable[[FloatArray], FloatArray]  # raw summaries (n, fields) -> mean actions (n, actions)

TEACHERS: dict[str, Callable[[], Policy]] = {  # and tuned_index, of any file
    "mpc": MPC,
    "price_index": PriceIndex,
    "full_cost_first": FullCostFirst,
}


@dataclass(frozen=True, slots=True)
class Visits:
    """Steps of fleets with at least one feasible car, and the actions wanted there."""

    seen: FloatArray  # (n, fields) float32, raw summaries
    wanted: FloatArray  # (n, actions) float32
    counts: BoolArray  # (n, actions); whether the number does anything there

    @classmethod
    def join(cls, parts: Sequence[Visits]) -> Visits:
        """Put visits one after the other."""
        seen = np.concatenate([part.seen for part in parts])
        wanted = np.concatenate([part.wanted for part in parts])
        return cls(seen, wanted, np.concatenate([part.counts for part in parts]))

    def error(self, mean: FloatArray) -> float:
        """Mean squared error of mean actions, over the numbers that count."""
        off = np.square(mean - self.wanted, dtype=np.float64)
        return float(off[self.counts].mean())


@dataclass(frozen=True, slots=True)
class RoundReport:
    """One round of DAgger. Losses are mean squared errors of the mean action, per number of it."""

    number: int  # from 1
    num_steps: int  # of single fleets, of all rounds so far
    fresh_loss: float  # on the days of this round before any training on them
    loss: float  # on all days so far, after it


def imitate(
    model: OnPolicyAlgorithm,
    agent: AgentSettings,
    cards: Sequence[EnvConfig],
    seed: int,
    on_round: Callable[[RoundReport], None] | None = None,
) -> list[RoundReport]:
    """Clone the teacher of `agent.imitate` into the actor of a model.

    The statistics of its `VecNormalize`, if any, become those of the visits; the critic stays as it
    is, and the standard deviation of the actions becomes `agent.imitate.std`.

    Parameters
    ----------
    model : OnPolicyAlgorithm
        PPO with a plain Gaussian policy on `FleetIndex-v0` or `FleetCohort-v0`.
    agent : AgentSettings
        Its `num_cars` goes before that of the cards.
    cards : sequence of EnvConfig
        Days of a round are split evenly between them, at least one each.
    seed : int
        Of the train days and of the batches; global random states are left alone.
    on_round : callable, optional
        Called after each round.

    Returns
    -------
    list of RoundReport

    Raises
    ------
    ValueError
        If the policy of the model is of another kind.
    """
    settings, clone, parts = agent.imitate, Clone(model, agent.view), []
    reports: list[RoundReport] = []
    for number in range(1, settings.rounds + 1):
        first = (seed * settings.rounds + number - 1) * settings.days
        learner = None if number == 1 else clone.mean
        fresh = _visit_all(agent, cards, first, learner)
        fresh_loss = clone.loss(fresh)
        clone.meet(fresh)
        if number == 1:
            clone.begin(fresh)
        parts.append(fresh)
        visits = Visits.join(parts)
        clone.fit(visits, settings, np.random.default_rng([seed, number]))
        reports.append(RoundReport(number, len(visits.seen), fresh_loss, clone.loss(visits)))
        if on_round is not None:
            on_round(reports[-1])
    if reports:
        with torch.no_grad():
            clone.policy.log_std.fill_(log(settings.std))
    return reports


def _visit_all(
    agent: AgentSettings, cards: Sequence[EnvConfig], first: int, learner: Mean | None
) -> Visits:
    num_days = max(1, agent.imitate.days // len(cards))
    configs = [replace(card, num_cars=agent.num_cars, observation="cars") for card in cards]
    days, teacher = range(first, first + num_days), agent.imitate.teacher
    return Visits.join(
        [
            visit(c, teacher, days, learner, index=agent.index_of(c.name), view=agent.view)
            for c in configs
        ]
    )


def visit(
    config: EnvConfig,
    teacher: str,
    days: Sequence[int],
    learner: Mean | None = None,
    split: str = "train",
    index: str = "suburb",
    view: str = "index",
) -> Visits:
    """Play days side by side and write down what the teacher does, or would do.

    Parameters
    ----------
    config : EnvConfig
        Shows its cars.
    teacher : str
        ``tuned_index`` or a key of `TEACHERS`.
    days : sequence of int
        Scenarios of the split, counted on from 0 beyond its end.
    learner : callable, optional
        Who plays instead of the teacher.
    split : str
    index : str
        Of the tuned index that ranks the cars, or teaches: a shipped name or a path.
    view : str
        ``index`` or ``cohort``: what the learner says.
    """
    policy: Policy = TunedIndex(file=index) if teacher == "tuned_index" else TEACHERS[teacher]()
    labels, rng = labels_of(view, index), np.random.default_rng(0)  # no teacher draws
    env = FleetVectorEnv(num_envs=len(days), split=split, config=config)
    scenarios = [day % SPLIT_SIZE[split] for day in days]
    obs = cast("Obs", env.reset(options={"scenario_seeds": scenarios})[0])
    policy.reset(np.ones(env.num_envs, np.bool_))
    parts = []
    for _ in range(config.num_steps):
        bits, seen = policy.act(obs, rng), summary(obs)
        some = feasible(obs).any(axis=1)
        wanted, counts = labels.wanted(obs, bits)
        parts.append(Visits(seen[some], wanted[some], counts[some]))
        if learner is not None:
            bits = labels.duty(obs, learner(seen))
        obs = cast("Obs", env.play(bits)[0])
    env.close()
    return Visits.join(parts)


class Clone:
    """The actor of a model as it is taught.

    Raises
    ------
    ValueError
        If the model is not a plain Gaussian actor-critic on the actions of the view.
    """

    def __init__(self, model: OnPolicyAlgorithm, view: str = "index") -> None:
        policy = model.policy
        plain = type(policy) is ActorCriticPolicy and not policy.use_sde
        if not plain or model.action_space.shape != (num_actions(view),):
            raise ValueError(
                f"imitation of {type(model).__name__} with {type(policy).__name__} on "
                f"{model.action_space}: expected agent.algorithm=ppo with agent.view={view}, "
                "without margin_action"
            )
        self.policy: Any = policy
        env = model.get_vec_normalize_env()
        self._normalizer: VecNormalize | None = env if env is not None and env.norm_obs else None

    def mean(self, seen: FloatArray) -> FloatArray:
        """Mean actions at raw summaries, shape (n, actions)."""
        with torch.no_grad():
            return np.asarray(self._mean(self._inputs(seen)))

    def loss(self, visits: Visits) -> float:
        """Mean squared error of the mean action."""
        return visits.error(self.mean(visits.seen))

    def meet(self, visits: Visits) -> None:
        """Count visits into the statistics of the observation."""
        if self._normalizer is not None:
            self._normalizer.obs_rms.update(visits.seen)

    def begin(self, visits: Visits) -> None:
        """Start at the mean of the actions wanted in first visits: weights are right at once.

        Of a number that never counted, at the mean of those that did.
        """
        times = visits.counts.sum(axis=0)
        total = visits.wanted.sum(axis=0, where=visits.counts)
        rest = visits.wanted.mean(where=visits.counts)
        mean = np.where(times > 0, total / np.maximum(times, 1), rest)
        with torch.no_grad():
            self.policy.action_net.bias.copy_(torch.as_tensor(mean))

    def fit(self, visits: Visits, settings: ImitateSettings, rng: np.random.Generator) -> None:
        """Descend on the squared error; the step falls to 0 on the way."""
        inputs, wanted = self._inputs(visits.seen), torch.as_tensor(visits.wanted)
        counts = torch.as_tensor(visits.counts, dtype=torch.float32)
        # the critic and the deviations have no part in the loss: Adam leaves them alone
        optimizer = torch.optim.Adam(self.policy.parameters(), lr=settings.learning_rate)
        falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, settings.epochs)
        for _ in range(settings.epochs):
            for batch in _batches(len(wanted), settings.batch_size, rng):
                optimizer.zero_grad()
                off = counts[batch] * (self._mean(inputs[batch]) - wanted[batch])
                loss = off.square().sum() / counts[batch].sum()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            falling.step()

    def _inputs(self, seen: FloatArray) -> Tensor:
        if self._normalizer is not None:
            seen = cast("FloatArray", self._normalizer.normalize_obs(seen))
        return torch.as_tensor(seen, dtype=torch.float32)

    def _mean(self, inputs: Tensor) -> Tensor:
        mean: Tensor = self.policy.get_distribution(inputs).mode()
        return mean


def _batches(num: int, size: int, rng: np.random.Generator) -> Iterator[Tensor]:
    order = torch.as_tensor(rng.permutation(num))
    return iter(torch.split(order, size))


def mean_of(file: PolicyFile) -> Mean:
    """Mean actions of a policy file of imitation: the reference it makes.

    A resumed run holds to its clone by the file written when it was made.

    Raises
    ------
    ValueError
        If the file is of another kind.
    """
    card, weights = file.card, file.weights
    kind = tuple(card[key] for key in ("kind", "network", "distribution"))
    cloned = kind[0] in CLONED and kind[1:] == ("mlp", "gaussian")
    if not cloned or card["margin_action"]:
        raise ValueError(
            f"policy {card['name']} ({', '.join(kind)}): expected {' or '.join(CLONED)}, mlp, "
            "gaussian, without margin_action: what imitation makes"
        )

    def mean(seen: FloatArray) -> FloatArray:
        x = nets.normalised(weights, seen)
        return nets.head(weights, nets.hidden(weights, x, card["activation"]))

    return mean


class NearReferenceVecEnv(VecEnvWrapper):
    """Charges for leaving a reference, so that stock PPO stays near it.

    Reward less ``beta |a - mean(obs)|^2 / (2 std^2)``, with both inside [-1, 1]. Of the mean action
    of a learner it is beta times the KL divergence between Gaussians of the same deviation, as in
    the fine-tuning of language models (Ziegler et al. 2019, arXiv 1909.08593). Of a drawn action
    it is more by ``beta d / 2`` on average for d numbers of standard deviation `std`, and so asks
    for smaller ones: an entropy bonus (`ent_coef`) is what stops them.

    Nothing is charged before `hold` names the reference.

    Parameters
    ----------
    venv : VecEnv
        Shows raw summaries and earns USD per car: below `VecNormalize`.
    settings : ImitateSettings
        For `beta_usd` and `std`.
    """

    def __init__(self, venv: VecEnv, settings: ImitateSettings) -> None:
        super().__init__(venv)
        self._reference: Mean | None = None
        self._beta_usd, self._variance = settings.beta_usd, settings.std**2
        self._seen: Any = None
        self._actions = np.zeros(0)
        self.kl_nats: FloatArray = np.zeros(self.num_envs)  # of the last step, by row

    def hold(self, reference: Mean) -> None:
        """Charge from now on for leaving the mean actions of `reference`."""
        self._reference = reference

    def reset(self) -> VecEnvObs:
        """Begin an episode in every row."""
        obs = self.venv.reset()
        self._seen = obs
        return obs

    def step_async(self, actions: NDArray[Any]) -> None:
        """Hand the actions down."""
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Play the step and charge what its actions cost."""
        if self._reference is not None:
            away = self._actions - np.clip(self._reference(self._seen), -1, 1)
            self.kl_nats = np.sum(away**2, axis=1) / (2 * self._variance)
        obs, rewards, dones, infos = self.venv.step_wait()
        self._seen = obs
        charged = rewards - self._beta_usd * self.kl_nats
        return obs, charged.astype(rewards.dtype), dones, infos

"""Limits on costs, kept by multipliers that a PID controller sets.

A learner inside earns ``reward - sum_i multiplier_i cost_i``. After each rollout the multipliers
answer to the mean costs J_i of the episodes that ended in it, with limits d_i (Stooke, Achiam &
Abbeel 2020, "Responsive safety in reinforcement learning by PID Lagrangian methods", arXiv
2007.03964, algorithm 2)::

    e            = J / d - 1                               parts of the limit
    integral    <- max(0, integral + ki e)                 USD per car and episode
    multiplier   = max(0, kp e + integral + kd max(0, J - J before) / d) / d      USD per unit

Integral gain alone is the usual gradient ascent on the multiplier, which overshoots and comes back
for long; the proportional and derivative parts damp it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.rl.extras import ConstraintSettings
from fleet_env.types import FloatArray


@dataclass(frozen=True, slots=True)
class ConstraintReport:
    """One cost over the episodes that ended since the last update, per car and episode."""

    cost: float  # mean, in the unit of the cost
    limit: float
    multiplier: float  # USD per unit, from now on

    @property
    def violation(self) -> float:
        """Excess over the limit, in the unit of the cost; 0 where it is kept."""
        return max(0.0, self.cost - self.limit)


class LagrangianVecEnv(VecEnvWrapper):
    """Charges costs to the rewards, at multipliers that `update` sets.

    Parameters
    ----------
    venv : VecEnv
        Its ``costs`` gives the costs of the last step by name, each of shape (num_envs,), per car
        (`FleetVecEnv`). Rewards are in USD per car.
    settings : ConstraintSettings
        With at least one limit.
    """

    def __init__(self, venv: VecEnv, settings: ConstraintSettings) -> None:
        super().__init__(venv)
        if not settings.limits:
            raise ValueError("agent.constraint.limits={}: expected at least one cost and its limit")
        self.settings = settings
        self.limits = np.array(list(settings.limits.values()), np.float64)
        shape = (len(settings.limits),)
        self.multipliers = np.zeros(shape)  # USD per unit
        self._integral = np.zeros(shape)  # USD per car and episode
        self._before = np.full(shape, np.nan)  # mean costs at the last update
        self._spent = np.zeros((*shape, self.num_envs))  # in the episodes under way
        self._ended_sum, self._num_ended = np.zeros(shape), 0

    def reset(self) -> VecEnvObs:
        """Begin an episode in every row; what was spent in broken ones does not count."""
        self._spent[:] = 0.0
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Play the step and charge what it cost."""
        obs, rewards, dones, infos = self.venv.step_wait()
        told: Mapping[str, FloatArray] = cast("Any", self.venv).costs
        costs = np.stack([told[name] for name in self.settings.limits])
        self._spent += costs
        if dones.any():
            self._ended_sum += self._spent[:, dones].sum(axis=1)
            self._num_ended += int(np.count_nonzero(dones))
            self._spent[:, dones] = 0.0
        charged = rewards - self.multipliers @ costs
        return obs, charged.astype(rewards.dtype), dones, infos

    def update(self) -> dict[str, ConstraintReport]:
        """Set the multipliers by the episodes that ended since the last update.

        Returns
        -------
        dict
            Report by cost; empty, and nothing is changed, where no episode has ended.
        """
        if not self._num_ended:
            return {}
        cost = self._ended_sum / self._num_ended
        self._ended_sum, self._num_ended = np.zeros_like(cost), 0
        gains, error = self.settings, cost / self.limits - 1.0
        rise = np.nan_to_num(np.maximum(cost - self._before, 0.0)) / self.limits
        self._integral = np.maximum(self._integral + gains.ki * error, 0.0)
        price_usd = gains.kp * error + self._integral + gains.kd * rise
        self.multipliers = np.maximum(price_usd, 0.0) / self.limits
        self._before = cost
        columns = (cost.tolist(), self.limits.tolist(), self.multipliers.tolist())
        reports = map(ConstraintReport, *columns)
        return dict(zip(self.settings.limits, reports, strict=True))

    def multiplier_state(self) -> dict[str, dict[str, float | None]]:
        """State of the controller by cost, for a file of JSON.

        Costs of episodes since the last update are not in it: save at the end of a rollout.
        """
        before = [None if np.isnan(cost) else cost for cost in self._before.tolist()]
        columns = (self.multipliers.tolist(), self._integral.tolist(), before)
        keys = ("multiplier", "integral", "cost_before")
        rows = (dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True))
        return dict(zip(self.settings.limits, rows, strict=True))

    def set_multiplier_state(self, state: Mapping[str, Mapping[str, float | None]]) -> None:
        """Go on from what `multiplier_state` gave.

        Raises
        ------
        ValueError
            If it belongs to other costs.
        """
        names = list(self.settings.limits)
        if sorted(state) != sorted(names):
            raise ValueError(
                f"state of multipliers of {sorted(state)}: expected those of "
                f"agent.constraint.limits, {sorted(names)}: resume with the limits of the run"
            )

        def column(key: str) -> NDArray[np.float64]:
            return np.array([state[name][key] for name in names], np.float64)

        self.multipliers, self._integral = column("multiplier"), column("integral")
        self._before = column("cost_before")


class MultiplierCallback(BaseCallback):
    """Updates the multipliers after each rollout and logs them.

    Logged under ``constraint/<name>/``: mean cost, multiplier and violation.
    `reports` holds the newest report by cost.
    """

    def __init__(self, env: LagrangianVecEnv) -> None:
        super().__init__()
        self._env = env
        self.reports: dict[str, ConstraintReport] = {}

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.reports |= self._env.update()
        for name, report in self.reports.items():
            values: dict[str, Any] = {
                "cost": report.cost,
                "multiplier": report.multiplier,
                "violation": report.violation,
            }
            for key, value in values.items():
                self.logger.record(f"constraint/{name}/{key}", value)

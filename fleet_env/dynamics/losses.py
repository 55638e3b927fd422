"""Work in cars that leave: what is lost, what saving it costs, what a second copy costs.

docs/model.md 5.7. Loss is linear in the rate of departures: a car that leaves takes along what its
slots hold. For an exponential stay of mean m and a request of length S that is x = S / m where
exactly 1 - exp(-x) are: 0.06 % more for requests of 27 s in stays of 6 h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.config import ServingConfig
from fleet_env.dynamics.queueing import normal_cdf
from fleet_env.types import BATCH_70B, FloatArray
from fleet_env.units import S_PER_H, S_PER_MIN

LENGTH_SIGMA = 0.86  # of the logarithm of output lengths, Azure 2023 conversation; domain 5
HEDGE_Z = 1.645  # the 95th percentile of a standard normal; rule B16 of the scheduling survey
HEDGED_SHARE = 0.05  # requests beyond it


@dataclass(frozen=True)
class LossRules:
    """What becomes of requests in cars that leave a pool, shape (3, 1), one row per class.

    `held`: requests in flight per busy slot; a slot that works through a batch job holds the
    requests of the job that are done, too. `lost`: how many of them a leaving car takes along.
    """

    held: FloatArray
    lost: FloatArray

    @property
    def back_share(self) -> float:
        """Share of the batch work held by cars switched off on purpose that falls back."""
        return float(self.lost[BATCH_70B, 0] / self.held[BATCH_70B, 0])


def loss_rules(serving: ServingConfig, batch_slot_s: float) -> LossRules:
    """Work out what a busy slot holds and what is lost with it.

    Parameters
    ----------
    serving : ServingConfig
    batch_slot_s : float
        Time a batch request holds its slot; > 0, infinite in a pool that does no batch work.

    Returns
    -------
    LossRules
    """
    job = max(1.0, serving.batch_job_min * S_PER_MIN / batch_slot_s)  # requests
    period = checkpoint_period_s(serving.checkpoint_s, serving.mean_stay_h) / batch_slot_s
    chat = 1.0 if serving.chat_loss == "restart" else 0.0
    batch = {
        "restart": _mean_held(job),
        "resume": 0.0,
        "checkpoint": _mean_held(min(period, job)),
    }[serving.batch_loss]
    return LossRules(
        held=np.array([1.0, 1.0, _mean_held(job)])[:, None],
        lost=np.array([chat, chat, batch])[:, None],
    )


def _mean_held(requests: float) -> float:
    """Mean number of requests begun since the start of a sequence of so many."""
    return (requests + 1.0) / 2.0


def slowdown(serving: ServingConfig) -> FloatArray:
    """Factor on the time a request of each class takes, its state saved on the way; (3,)."""
    saving = 1.0 + checkpoint_overhead(serving.checkpoint_s, serving.mean_stay_h)
    saves = np.array([serving.chat_loss, serving.chat_loss, serving.batch_loss]) == "checkpoint"
    return np.where(saves, saving, 1.0)


def copies(serving: ServingConfig) -> FloatArray:
    """Factor on the work of each class by second copies, (3,)."""
    chat = 1.0 + hedge_overhead(LENGTH_SIGMA) if serving.hedge else 1.0
    return np.array([chat, chat, 1.0])


def checkpoint_period_s(save_s: float, mean_stay_h: float) -> float:
    """Work between two checkpoints that wastes least: ``sqrt(2 save stay)`` (Young 1974)."""
    return float(np.sqrt(2.0 * save_s * mean_stay_h * S_PER_H))


def checkpoint_overhead(save_s: float, mean_stay_h: float) -> float:
    """Time spent saving over time worked, ``save / period``; 0 where saving takes no time."""
    return float(np.sqrt(save_s / (2.0 * mean_stay_h * S_PER_H)))


def hedge_overhead(sigma: float) -> float:
    """Work of second copies over work of first ones.

    A copy of a request of length X begins when the first has run to the 95th percentile t, and
    both end with the same answer: ``E[max(X - t, 0)] / E[X]`` of a lognormal length.

    Parameters
    ----------
    sigma : float
        Standard deviation of the logarithm of the lengths.
    """
    beyond = float(normal_cdf(np.array(sigma - HEDGE_Z)))
    return beyond - HEDGED_SHARE * float(np.exp(HEDGE_Z * sigma - 0.5 * sigma**2))

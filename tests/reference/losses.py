"""What is lost with a car, and what is paid not to lose it: jobs, checkpoints, hedges (5.7)."""

from __future__ import annotations

import math

from fleet_env.config import EnvConfig
from fleet_env.types import BATCH_70B

Z_95 = 1.645  # normal quantile: a request is hedged beyond the 95th percentile of lengths
SIGMA = 0.86  # of the lognormal lengths


def mode_of(config: EnvConfig, c: int) -> str:
    """What becomes of work of a class in a car that leaves."""
    return config.serving.batch_loss if c == BATCH_70B else config.serving.chat_loss


def period_s(config: EnvConfig) -> float:
    """Slot time between two checkpoints, by Young."""
    return math.sqrt(2.0 * config.serving.checkpoint_s * config.serving.mean_stay_h * 3600.0)


def slowdown(config: EnvConfig, c: int) -> float:
    """Factor on the time of a request: what saving its state adds."""
    if mode_of(config, c) != "checkpoint" or config.serving.checkpoint_s == 0.0:
        return 1.0
    return 1.0 + config.serving.checkpoint_s / period_s(config)


def job_requests(config: EnvConfig, slot_s: float) -> float:
    """Requests of a batch job, one after the other in a slot."""
    return max(1.0, config.serving.batch_job_min * 60.0 / slot_s)


def held_per_slot(config: EnvConfig, c: int, slot_s: float) -> float:
    """Requests in flight in a busy slot: those of the job so far, on average, and the one now."""
    return 0.5 * (job_requests(config, slot_s) + 1.0) if c == BATCH_70B else 1.0


def lost_per_slot(config: EnvConfig, c: int, slot_s: float) -> float:
    """Requests in a busy slot that a leaving car takes with it."""
    mode = mode_of(config, c)
    if mode == "restart":
        return held_per_slot(config, c, slot_s)
    if mode == "resume" or c != BATCH_70B:
        return 0.0
    since = min(period_s(config) / slot_s, job_requests(config, slot_s))  # the last checkpoint
    return 0.5 * (since + 1.0)


def hedge_growth(config: EnvConfig) -> float:
    """Chat work that second copies add, as a share: the mean length beyond the 95th percentile.

    `E[(L - q)+] / E[L]` of lognormal lengths: both copies are of one length, so the second runs for
    what is left of it.
    """
    if not config.serving.hedge:
        return 0.0
    tail = 0.5 * math.erfc(-(SIGMA - Z_95) / math.sqrt(2.0))
    return tail - 0.05 * math.exp(Z_95 * SIGMA - 0.5 * SIGMA**2)

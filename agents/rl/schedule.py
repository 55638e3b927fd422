"""Learning rates over a training."""

from __future__ import annotations

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import FloatSchedule, LinearSchedule


def let_rate_fall(model: BaseAlgorithm) -> None:
    """Let the rate of an on-policy learner fall evenly, to 0 at the end of the training.

    Late in a training its noise is what keeps it from a better policy. Off-policy learners keep
    theirs: their replay buffer averages.
    """
    if isinstance(model, OnPolicyAlgorithm):
        first = model.lr_schedule(1.0)
        model.lr_schedule = FloatSchedule(LinearSchedule(first, 0.0, 1.0))

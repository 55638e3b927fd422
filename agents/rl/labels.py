"""What a teacher's duty bits are in the words of a view: the actions that a clone is taught."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agents.base import Obs, feasible
from agents.index.parameters import PARAMETERS, PLACE, WEIGHTS, read
from agents.index.policy import choose
from agents.index.view import to_action, to_parameters
from fleet_env.types import BoolArray, FloatArray
from fleet_env.views.cohort import COHORTS, cohort_duty, cohort_of_cars
from fleet_env.views.envs import as_share
from fleet_env.views.index import index_duty, index_score
from fleet_env.views.seen import Seen

CLONED = ("index", "tuned", "cohort")  # views whose policies can be taught
Bits = NDArray[np.int8]  # (num_envs, num_cars)


class Labels(Protocol):
    """Both ways between duty bits and the actions of a view, in [-1, 1]."""

    num_actions: int

    def wanted(self, obs: Obs, bits: Bits) -> tuple[FloatArray, BoolArray]:
        """Return the action that comes nearest, and which of its numbers mean anything."""

    def duty(self, obs: Obs, action: FloatArray) -> Bits:
        """Duty bits of an action, as the view works them out."""


class IndexLabels:
    """Of `FleetIndex-v0`: as many cars on duty, ranked by a tuned index.

    Fewer where the index has fewer cars above its `min_score`: 1,000 suburban cars counted by
    ``mpc`` and ranked by the index earn 2.61 USD a month without this limit and 2.76 with it
    (20 validation days; ``mpc`` itself 2.95).
    """

    num_actions = len(WEIGHTS) + 1

    def __init__(self, index: str) -> None:
        parameters = read(index).vector()
        self._weights = parameters[: len(WEIGHTS)]
        self._min_score = np.float32(parameters[PLACE["min_score"]])

    def wanted(self, obs: Obs, bits: Bits) -> tuple[FloatArray, BoolArray]:
        """Weights of the index, and the share."""
        allowed = feasible(obs)
        weights = np.tile(self._weights, (len(allowed), 1))
        fit = allowed & (index_score(obs, weights) > self._min_score)
        num = np.minimum(np.count_nonzero(bits, axis=1), np.count_nonzero(fit, axis=1))
        share = num / np.maximum(np.count_nonzero(allowed, axis=1), 1)
        action = np.column_stack([weights, 2 * share - 1]).astype(np.float32)
        return action, np.ones(action.shape, np.bool_)

    def duty(self, obs: Obs, action: FloatArray) -> Bits:
        """Best cars of the index."""
        action = np.clip(action, -1, 1)
        return index_duty(obs, action[:, : len(WEIGHTS)], as_share(action[:, len(WEIGHTS)]))


class TunedLabels:
    """Of the view of tuned indices: the index of the card, whatever the teacher does.

    What a clone learns is which card it plays: the constant that goes with what it sees.
    """

    num_actions = len(PARAMETERS)

    def __init__(self, index: str) -> None:
        self._action = to_action(read(index).vector()).astype(np.float32)

    def wanted(self, obs: Obs, bits: Bits) -> tuple[FloatArray, BoolArray]:
        """Parameters of the index."""
        action = np.tile(self._action, (len(bits), 1))
        return action, np.ones(action.shape, np.bool_)

    def duty(self, obs: Obs, action: FloatArray) -> Bits:
        """Cars that the index chooses."""
        return choose(obs, to_parameters(np.clip(action, -1, 1)))


class CohortLabels:
    """Of `FleetCohort-v0`: the share of each cohort; that of one without feasible cars is free.

    Which cars of a cohort is lost: ``tuned_index`` said in shares of cohorts earns 2.83 USD a month
    on 10 validation days of 256 suburban cars, of its own 2.93, but ``full_cost_first``, which
    changes its mind more often, 0.07 of 3.02.
    """

    num_actions = len(COHORTS)

    def wanted(self, obs: Obs, bits: Bits) -> tuple[FloatArray, BoolArray]:
        """Shares of the cohorts."""
        cars = Seen.look(obs)
        cohort = cars.spread(cohort_of_cars(cars), 0)
        num = _per_cohort(cohort, feasible(obs))
        share = _per_cohort(cohort, feasible(obs) & (bits != 0)) / np.maximum(num, 1)
        return (2 * share - 1).astype(np.float32), num > 0

    def duty(self, obs: Obs, action: FloatArray) -> Bits:
        """Quotas of the cohorts."""
        return cohort_duty(obs, as_share(np.clip(action, -1, 1)))


def _per_cohort(cohort: NDArray[np.uint8], chosen: BoolArray) -> NDArray[np.int64]:
    """Count chosen cars, shape (num_envs, len(COHORTS))."""
    row, col = np.nonzero(chosen)
    cell = row * len(COHORTS) + cohort[row, col]
    counts = np.bincount(cell, minlength=len(chosen) * len(COHORTS))
    return counts.reshape(len(chosen), len(COHORTS))


def labels_of(view: str, index: str) -> Labels:
    """Labels of a view of `CLONED`; the tuned index is a shipped name or a path."""
    if view == "cohort":
        return CohortLabels()
    return TunedLabels(index) if view == "tuned" else IndexLabels(index)


def num_actions(view: str) -> int:
    """Count the numbers of an action of a view of `CLONED`."""
    if view == "cohort":
        return CohortLabels.num_actions
    return TunedLabels.num_actions if view == "tuned" else IndexLabels.num_actions

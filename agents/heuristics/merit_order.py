"""The step that most rules share: wake as many cars as there is work, none that would lose."""

from __future__ import annotations

from agents.base import Obs, feasible
from agents.heuristics.demand import Work, cars_needed
from agents.heuristics.merit import MeritSettings, margin_usd_per_h
from agents.heuristics.ranking import take_by_tier
from fleet_env.types import BoolArray


def take_in_merit_order(obs: Obs, work: Work, settings: MeritSettings) -> BoolArray:
    """Mark the cars of the highest margin that the work needs, above the least margin wanted.

    Returns
    -------
    BoolArray, shape (num_envs, num_cars)
    """
    margin = margin_usd_per_h(obs, work, settings)
    eligible = feasible(obs) & (margin > settings.min_margin_usd_per_h)
    return take_by_tier(obs, margin, cars_needed(obs, work, settings), eligible)

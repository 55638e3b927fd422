"""Take the best cars of each fleet for work of two tiers."""

from __future__ import annotations

from agents.base import Obs, car_field
from agents.heuristics.demand import CarsNeeded
from fleet_env.selection import take_best
from fleet_env.types import BoolArray, FloatArray


def take_by_tier(obs: Obs, score: FloatArray, need: CarsNeeded, eligible: BoolArray) -> BoolArray:
    """Mark the best cars that can do the work: first for the 70B tier, then the rest.

    The classes are nested (what holds 70B also serves 8B), so the best `need_70b` cars that hold
    70B and then the best of all others have the highest total score. Work that too few cars can
    hold is not handed to cars that cannot.

    Returns
    -------
    BoolArray, shape (num_envs, num_cars)
    """
    holds_70b = car_field(obs, "fits_70b") > 0
    if holds_70b.all() or not (eligible & ~holds_70b).any():
        return take_best(score, need.total, eligible)
    first = take_best(score, need.need_70b, eligible & holds_70b)
    return first | take_best(score, need.total - need.need_70b, eligible & ~first)

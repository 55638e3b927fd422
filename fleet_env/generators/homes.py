"""What the homes of a neighbourhood draw from their transformer besides the cars."""

from __future__ import annotations

from functools import cache

import numpy as np

from fleet_env import draws
from fleet_env.data import read_table
from fleet_env.generators.clock import SEASONS, Clock
from fleet_env.types import FloatArray, KeyArray
from fleet_env.units import MIN_PER_H

LEVEL_SIGMA = 0.25  # of the logarithm of a neighbourhood's level; est
_WEEKEND = 5  # first weekday of it, 0 = Monday
_HOURS = 24


@cache
def load_shape() -> FloatArray:
    """Load of a home by season, weekday or weekend, and local hour: 1 at its peak.

    Returns
    -------
    FloatArray, shape (4, 2, 24), float32
        Seasons in the order of `SEASONS`.
    """
    table = read_table("home_load.csv")
    shape = np.full((len(SEASONS), 2, _HOURS), np.nan, np.float32)
    season = [SEASONS.index(name) for name in table["season"]]
    weekend = (table["day_type"] == "weekend").astype(np.intp)
    shape[season, weekend, table["hour_local"].astype(np.intp)] = table["share"]
    shape.flags.writeable = False
    return shape


def home_shape(clock: Clock) -> FloatArray:
    """Load of a home in every step of some local clocks, 1 at its peak: that of the clock hour.

    Returns
    -------
    FloatArray, shape (areas, num), float32
    """
    zone = clock.zone
    weekend = (zone.weekday >= _WEEKEND).astype(np.intp)
    return load_shape()[zone.season[clock.day], weekend[clock.day], clock.minute // int(MIN_PER_H)]


def draw_levels(key: KeyArray, num_neighbourhoods: int) -> FloatArray:
    """Draw how much the homes of each neighbourhood load their transformer against the mean.

    Lognormal with mean 1, by Box and Muller from two uniforms (`Stream.FEEDER`, unit
    neighbourhood, count 0).

    Parameters
    ----------
    key : KeyArray, shape (num_envs,)
        Scenario keys.
    num_neighbourhoods : int
        Neighbourhoods of a fleet.

    Returns
    -------
    FloatArray, shape (num_envs * num_neighbourhoods,), float32
    """
    keys = draws.car_keys(key, draws.Stream.FEEDER, num_neighbourhoods)
    u = draws.uniform(keys, np.array(0), 2).astype(np.float64)
    z = np.sqrt(-2.0 * np.log1p(-u[0])) * np.cos(2.0 * np.pi * u[1])
    level: FloatArray = np.exp(LEVEL_SIGMA * z - LEVEL_SIGMA**2 / 2.0).astype(np.float32)
    return level

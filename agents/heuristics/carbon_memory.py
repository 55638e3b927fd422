"""What the carbon of the coming hours may be: the same hours of the last day (persistence)."""

from __future__ import annotations

import numpy as np

from agents.base import Obs, fleet_field
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.units import HOURS_PER_DAY

_HOURS = int(HOURS_PER_DAY)
_CLOCK_SLACK_H = 1e-3  # float32 sine and cosine of a full hour may fall just short of it


class CarbonMemory:
    """Per row: the carbon intensity last seen at each clock hour of the last 24 h [kg/kWh]."""

    def __init__(self) -> None:
        self._by_hour: FloatArray = np.empty((0, _HOURS))

    def reset(self, env_mask: BoolArray) -> None:
        """Forget the rows that begin anew; a batch of another size forgets all."""
        if len(self._by_hour) != len(env_mask):
            self._by_hour = np.full((len(env_mask), _HOURS), np.nan)
        self._by_hour[env_mask] = np.nan

    def look_ahead(self, obs: Obs) -> FloatArray:
        """Remember the carbon of now and expect that of the next hours.

        Returns
        -------
        FloatArray, shape (num_envs, 24)
            Hour +0 is now. An hour of the clock not seen yet (in the first day of an episode) is
            expected at the mean of those seen.
        """
        now = fleet_field(obs, "carbon")
        if len(self._by_hour) != len(now):
            self.reset(np.ones(len(now), np.bool_))
        rows, hour = np.arange(len(now)), _clock_hour(obs)
        self._by_hour[rows, hour] = now
        seen_mean = np.nanmean(self._by_hour, axis=1, keepdims=True)
        known = np.where(np.isnan(self._by_hour), seen_mean, self._by_hour)
        ahead = (hour[:, None] + np.arange(_HOURS)) % _HOURS
        expected: FloatArray = np.take_along_axis(known, ahead, axis=1)
        return expected


def _clock_hour(obs: Obs) -> IntArray:
    angle = np.arctan2(fleet_field(obs, "hour_sin"), fleet_field(obs, "hour_cos"))
    hour_h = angle.astype(np.float64) * (HOURS_PER_DAY / (2 * np.pi)) + _CLOCK_SLACK_H
    hour: IntArray = np.floor(hour_h).astype(np.intp) % _HOURS
    return hour

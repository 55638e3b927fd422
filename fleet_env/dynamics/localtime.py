"""Local clocks of the areas of a batch: what hour of which weekday it is there, through jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.types import FloatArray, IntArray
from fleet_env.units import HOURS_PER_DAY

_DAY_H = int(HOURS_PER_DAY)


@dataclass(frozen=True, slots=True, eq=False)
class LocalTime:
    """Local time of every area; an area is one region of one row.

    Times count hours since the start of the episode. At most one jump of the clock falls into an
    episode.
    """

    start_h: FloatArray  # (areas,) local clock at the start, [0, 24)
    change_h: FloatArray  # (areas,) time at which the clock jumps; inf if it does not
    jump_h: FloatArray  # (areas,) by how much, > 0 in spring
    weekday: IntArray  # (areas, days) from the first local day on, 0 = Monday; holidays are 6

    @classmethod
    def plain(cls, start_h: FloatArray, weekday: IntArray, days: int = 64) -> LocalTime:
        """Clocks without jumps and holidays, from the first day's hour and weekday."""
        start = np.asarray(start_h, np.float64)
        later = (np.asarray(weekday, np.int64)[:, None] + np.arange(days)) % 7
        return cls(start, np.full_like(start, np.inf), np.zeros_like(start), later)

    def hour_of_week(self, area: IntArray, t_h: FloatArray) -> IntArray:
        """Hour of the local week, 0 = Monday 0 h, at a time after the start in each area.

        Later days than the table holds go on from its last one.
        """
        local_h = t_h + self.start_h.take(area)
        late = t_h >= self.change_h.take(area)
        if late.any():
            local_h += self.jump_h.take(area) * late
        hour = np.floor(local_h).astype(np.int64)
        day, hour = np.divmod(hour, _DAY_H)
        last = self.weekday.shape[1] - 1
        known = np.clip(day, 0, last)
        weekday: IntArray = self.weekday.ravel().take(area * (last + 1) + known).astype(np.int64)
        weekday += day - known
        weekday %= 7
        weekday *= _DAY_H
        weekday += hour
        return weekday

"""Scenario dates and the local time of every step, right through clock changes.

Time runs in UTC minutes since 1970; local hour, weekday and season are looked up from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from fleet_env import draws
from fleet_env.types import FloatArray, IntArray, KeyArray
from fleet_env.units import HOURS_PER_DAY, MIN_PER_H

MIN_PER_DAY = int(HOURS_PER_DAY * MIN_PER_H)
SEASONS = ("DJF", "MAM", "JJA", "SON")  # calendar months: DJF is summer in the south
YEAR_OF_SPLIT = {"train": 2022, "validation": 2022, "test": 2023}  # years of the energy files
_FIRST_DAY_OF_YEAR = 1  # 2 January: files in UTC start late for zones ahead of it
_SPARE_DAYS = 4  # at the end of the year: start at noon, look-ahead of 24 h, zones behind UTC
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """A time zone over three years: its offsets, and a calendar with one entry per local day."""

    name: str
    change_utc_min: IntArray  # (c,) first UTC minute at which each offset holds, rising
    offset_min: IntArray  # (c,) local minus UTC
    first_day: int  # days since 1970 of calendar entry 0
    weekday: IntArray  # (days,) 0 = Monday
    mmdd: IntArray  # (days,) month * 100 + day of the month
    season: IntArray  # (days,) row of SEASONS

    def offset(self, utc_min: IntArray) -> IntArray:
        """Return local minus UTC [min] at each UTC minute."""
        at = np.searchsorted(self.change_utc_min, utc_min, side="right")
        offset: IntArray = self.offset_min[at - 1]
        return offset

    def to_utc(self, local_min: IntArray) -> IntArray:
        """Turn local minutes since 1970 into UTC minutes.

        A time that the clock shows twice is the first of the two; a time that it skips is read
        with the offset before the change (both as PEP 495 with fold = 0).
        """
        before = self.offset(local_min - MIN_PER_DAY)
        after = self.offset(local_min + MIN_PER_DAY)
        late = local_min - after
        is_late = (self.offset(local_min - before) != before) & (self.offset(late) == after)
        utc_min: IntArray = np.where(is_late, late, local_min - before)
        return utc_min


@dataclass(frozen=True, slots=True)
class Clock:
    """Local time at the start of each of n steps, arrays of shape (num_envs, n)."""

    zone: Zone
    start_min: int  # of the local day, of every row
    utc_min: IntArray  # (num_envs,) start of the episode, minutes since 1970
    day: IntArray  # row of the calendar of `zone`
    minute: IntArray  # of the local day, 0 .. 1439
    elapsed_min: IntArray  # (n,) since the start of the episode, < 0 before it


@lru_cache(maxsize=64)
def load_zone(name: str, year: int) -> Zone:
    """Look up an IANA zone for the year and its neighbours.

    Raises
    ------
    ValueError
        If the name is unknown here.
    """
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"time_zone={name!r}: expected an IANA name such as 'America/Los_Angeles' "
            "(fix: check it, or `pip install tzdata`)"
        ) from error
    first = (datetime(year - 1, 1, 1, tzinfo=UTC) - _EPOCH).days
    last = (datetime(year + 2, 1, 1, tzinfo=UTC) - _EPOCH).days
    change, offset = _offsets(zone, first * MIN_PER_DAY, last * MIN_PER_DAY)
    days = np.arange(first - 1, last + 1)
    date = days.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    month_no = month.astype(np.int64) % 12 + 1
    return Zone(
        name=name,
        change_utc_min=change,
        offset_min=offset,
        first_day=first - 1,
        weekday=((days + _EPOCH_WEEKDAY) % 7).astype(np.uint8),
        mmdd=month_no * 100 + (date - month).astype(np.int64) + 1,
        season=(month_no % 12 // 3).astype(np.uint8),
    )


def scenario_days(split: str, key: KeyArray, num_days: int) -> IntArray:
    """Draw the local date on which each scenario starts.

    Parameters
    ----------
    split : str
        Train and validation lie in 2022, test in 2023.
    key : KeyArray, shape (num_envs,)
        Scenario keys; uses draw 0 of event 0 of `Stream.SCENARIO`.
    num_days : int
        Days of an episode; the last days of the year are left out, so that the episode and the
        24 h after it end within the year.

    Returns
    -------
    IntArray, shape (num_envs,)
        Days since 1970.
    """
    if split not in YEAR_OF_SPLIT:
        raise ValueError(f"split={split!r}: expected one of {tuple(YEAR_OF_SPLIT)}")
    year = YEAR_OF_SPLIT[split]
    new_year = (datetime(year, 1, 1, tzinfo=UTC) - _EPOCH).days
    length = (datetime(year + 1, 1, 1, tzinfo=UTC) - _EPOCH).days - new_year
    choices = length - _FIRST_DAY_OF_YEAR - num_days - _SPARE_DAYS
    u = draws.uniform(draws.stream_key(key, draws.Stream.SCENARIO), np.array(0), 1)[0]
    days: IntArray = (u * choices).astype(np.int64) + new_year + _FIRST_DAY_OF_YEAR
    return days


def make_clock(
    zone: Zone, start_day: IntArray, start_hour: float, step_min: int, num: int, before: int = 0
) -> Clock:
    """Local time of `num` steps from `start_hour` of each start day on, and of some before them.

    Parameters
    ----------
    zone : Zone
    start_day : IntArray, shape (num_envs,)
        Days since 1970.
    start_hour : float
        Local hour of the clock.
    step_min, num : int
        Length and number of the steps; steps are equal in UTC, so a local day may hold 23 or 25 h.
    before : int
        Steps before the start, put before the `num` steps.

    Returns
    -------
    Clock
    """
    start_min = round(start_hour * MIN_PER_H)
    utc_min = zone.to_utc(start_day * MIN_PER_DAY + start_min)
    elapsed_min = np.arange(-before, num) * step_min
    utc = utc_min[:, None] + elapsed_min
    local = utc + zone.offset(utc)
    local -= zone.first_day * MIN_PER_DAY
    day = local // MIN_PER_DAY
    return Clock(zone, start_min, utc_min, day, local - day * MIN_PER_DAY, elapsed_min)


def local_hour(clock: Clock) -> FloatArray:
    """Return the local clock hour in [0, 24), shape (num_envs, num), float32."""
    hour: FloatArray = clock.minute.astype(np.float32)
    hour /= MIN_PER_H
    return hour


def _offsets(zone: ZoneInfo, first_min: int, last_min: int) -> tuple[IntArray, IntArray]:
    """Find the minutes at which the offset changes: by day, then by bisection."""
    change, offset = [first_min], [_offset_at(zone, first_min)]
    for start in range(first_min, last_min, MIN_PER_DAY):
        low, high = start, start + MIN_PER_DAY
        if _offset_at(zone, high) == offset[-1]:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            same = _offset_at(zone, middle) == offset[-1]
            low, high = (middle, high) if same else (low, middle)
        change.append(high)
        offset.append(_offset_at(zone, high))
    return np.array(change), np.array(offset)


def _offset_at(zone: ZoneInfo, utc_min: int) -> int:
    offset = (_EPOCH + timedelta(minutes=utc_min)).astimezone(zone).utcoffset()
    if offset is None:
        raise ValueError(f"time_zone={zone.key!r}: expected a zone with offsets")
    return round(offset.total_seconds() / 60)

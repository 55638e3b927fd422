"""Scenario dates and the local time of every step, right through clock changes.

Time runs in UTC minutes since 1970; local hour, weekday and season are looked up from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from fleet_env import draws
from fleet_env.dynamics.localtime import LocalTime
from fleet_env.types import FloatArray, IntArray, KeyArray
from fleet_env.units import HOURS_PER_DAY, MIN_PER_H

MIN_PER_DAY = int(HOURS_PER_DAY * MIN_PER_H)
SEASONS = ("DJF", "MAM", "JJA", "SON")  # calendar months: DJF is summer in the south
YEAR_OF_SPLIT = {"train": 2022, "validation": 2022, "test": 2023}  # years of the energy files
_FIRST_DAY_OF_YEAR = 1  # 2 January: files in UTC start late for zones ahead of it
_SPARE_DAYS = 4  # at the end of the year: start at noon, look-ahead of 24 h, zones behind UTC
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday
_SUNDAY = 6
_LEAP_YEAR = 2024  # holds every date that a holiday may have


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
        offset: IntArray = self.offset_min.take(at - 1)
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
    utc_min: IntArray  # (num_envs,) start of the episode, minutes since 1970
    day: IntArray  # row of the calendar of `zone`
    minute: IntArray  # of the local day, 0 .. 1439
    elapsed_min: IntArray  # (n,) since the start of the episode, < 0 before it

    @property
    def before(self) -> int:
        """Number of steps before the episode."""
        return int(np.searchsorted(self.elapsed_min, 0))

    @property
    def start_min(self) -> IntArray:
        """Minute of the local day at which the episode starts, shape (num_envs,)."""
        return self.minute[:, self.before]


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


def scenario_days(split: str, key: KeyArray, num_days: int, season: str = "") -> IntArray:
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
    season : str
        One of `SEASONS`: only days in these months; "": any day.

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
    choices = np.arange(_FIRST_DAY_OF_YEAR, length - num_days - _SPARE_DAYS) + new_year
    if season:
        months = choices.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12 + 1
        choices = choices[months % 12 // 3 == SEASONS.index(season)]
    u = draws.uniform(draws.stream_key(key, draws.Stream.SCENARIO), np.array(0), 1)[0]
    days: IntArray = choices[(u * len(choices)).astype(np.int64)]
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
    step_min, num, before : int
        As in `clock_at`.

    Returns
    -------
    Clock
    """
    return clock_at(zone, start_utc_min(zone, start_day, start_hour), step_min, num, before)


def start_utc_min(zone: Zone, start_day: IntArray, start_hour: float) -> IntArray:
    """UTC minute of an hour of the local clock on each start day."""
    return zone.to_utc(start_day * MIN_PER_DAY + round(start_hour * MIN_PER_H))


def clock_at(zone: Zone, utc_min: IntArray, step_min: int, num: int, before: int = 0) -> Clock:
    """Local time of `num` steps from each UTC minute on, and of some before them.

    Parameters
    ----------
    zone : Zone
    utc_min : IntArray, shape (num_envs,)
        Start of the episodes, minutes since 1970.
    step_min, num : int
        Length and number of the steps; steps are equal in UTC, so a local day may hold 23 or 25 h.
    before : int
        Steps before the start, put before the `num` steps.

    Returns
    -------
    Clock
    """
    elapsed_min = np.arange(-before, num) * step_min
    utc = utc_min[:, None] + elapsed_min
    local = utc + zone.offset(utc)
    local -= zone.first_day * MIN_PER_DAY
    day = local // MIN_PER_DAY
    return Clock(zone, utc_min, day, local - day * MIN_PER_DAY, elapsed_min)


def local_hour(clock: Clock) -> FloatArray:
    """Return the local clock hour in [0, 24), shape (num_envs, num), float32."""
    hour: FloatArray = clock.minute.astype(np.float32)
    hour /= MIN_PER_H
    return hour


def by_area(by_region: Sequence[NDArray[Any]], axis: int = 0) -> NDArray[Any]:
    """Join arrays of regions whose `axis` counts rows into one: area = row * regions + region."""
    if len(by_region) == 1:
        return by_region[0]
    joined = np.stack(by_region, axis=axis + 1)
    shape = joined.shape
    return joined.reshape(*shape[:axis], -1, *shape[axis + 2 :])


def local_time(zone: Zone, weekday: IntArray, utc_min: IntArray, num_days: int) -> LocalTime:
    """Describe the clocks of a zone from some UTC minutes on.

    Parameters
    ----------
    zone : Zone
    weekday : IntArray, shape (days,)
        By day of the calendar, of `shown_weekdays`.
    utc_min : IntArray, shape (num_envs,)
        Start of the episodes, minutes since 1970.
    num_days : int
        Local days asked for; a later change of the clock is left out.

    Returns
    -------
    LocalTime
        One area for each start.
    """
    local = utc_min + zone.offset(utc_min) - zone.first_day * MIN_PER_DAY
    day, minute = np.divmod(local, MIN_PER_DAY)
    coming = np.searchsorted(zone.change_utc_min, utc_min, side="right")
    change = np.minimum(coming, len(zone.change_utc_min) - 1)
    after_min = zone.change_utc_min[change] - utc_min
    jumps = (coming == change) & (after_min < num_days * MIN_PER_DAY)
    jump_min = zone.offset_min[change] - zone.offset_min[change - 1]
    return LocalTime(
        start_h=minute / MIN_PER_H,
        change_h=np.where(jumps, after_min / MIN_PER_H, np.inf),
        jump_h=np.where(jumps, jump_min / MIN_PER_H, 0.0),
        weekday=weekday[day[:, None] + np.arange(num_days)],
    )


def shown_weekdays(zone: Zone, holidays: Sequence[str]) -> IntArray:
    """Weekday of every day of a calendar, holidays being Sundays, shape (days,).

    Parameters
    ----------
    holidays : sequence of str
        Local dates MM-DD.

    Raises
    ------
    ValueError
        If one is no date.
    """
    if not holidays:
        return zone.weekday
    is_holiday = np.isin(zone.mmdd, [_mmdd(text) for text in holidays])
    return np.where(is_holiday, np.uint8(_SUNDAY), zone.weekday)


def _mmdd(text: str) -> int:
    try:
        day = date.fromisoformat(f"{_LEAP_YEAR}-{text}")
    except ValueError as error:
        raise ValueError(f"shocks.holidays={text!r}: expected a date MM-DD") from error
    return 100 * day.month + day.day


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

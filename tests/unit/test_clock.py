"""Local time: day lengths at clock changes, dates of splits, steps that stay equal in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_env import draws
from fleet_env.generators.clock import (
    MIN_PER_DAY,
    SEASONS,
    load_zone,
    local_hour,
    make_clock,
    scenario_days,
)

EPOCH = date(1970, 1, 1)
DAY_LENGTHS = [  # zone, local date -> hours (published clock changes)
    ("America/Los_Angeles", "2025-03-09", 23.0),
    ("America/Los_Angeles", "2025-11-02", 25.0),
    ("America/Los_Angeles", "2025-11-03", 24.0),
    ("Europe/Berlin", "2025-03-30", 23.0),
    ("Europe/Berlin", "2025-10-26", 25.0),
    ("Australia/Lord_Howe", "2025-04-06", 24.5),
    ("Australia/Lord_Howe", "2025-10-05", 23.5),
    ("America/Santiago", "2025-09-07", 23.0),  # its midnight does not exist
    ("Asia/Kolkata", "2025-03-09", 24.0),
]


def day_number(text: str) -> int:
    return (date.fromisoformat(text) - EPOCH).days


@pytest.mark.parametrize(("name", "day", "hours"), DAY_LENGTHS)
def test_local_days_have_the_right_length(name: str, day: str, hours: float) -> None:
    midnights = (day_number(day) + np.array([0, 1])) * MIN_PER_DAY
    start, end = load_zone(name, 2025).to_utc(midnights)
    assert (end - start) / 60 == hours


ZONES = ("America/Los_Angeles", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca")


@given(
    name=st.sampled_from(ZONES),
    minute=st.integers(0, 365 * MIN_PER_DAY - 1),
    year=st.sampled_from([2022, 2023]),
)
def test_offsets_agree_with_zoneinfo(name: str, minute: int, year: int) -> None:
    utc = datetime(year, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    offset = utc.astimezone(ZoneInfo(name)).utcoffset()
    utc_min = round(utc.timestamp() / 60)
    zone = load_zone(name, year)
    assert offset is not None
    assert zone.offset(np.array([utc_min]))[0] == offset.total_seconds() / 60
    local = (datetime(year, 1, 1) + timedelta(minutes=minute)).replace(tzinfo=ZoneInfo(name))
    wanted = local.timestamp() / 60
    local_min = utc_min  # the same digits, read as local time
    assert zone.to_utc(np.array([local_min]))[0] == wanted


def test_an_episode_over_a_clock_change_keeps_equal_steps() -> None:
    zone = load_zone("America/Los_Angeles", 2023)
    start = np.array([day_number("2023-03-11"), day_number("2023-11-04"), day_number("2023-07-01")])
    clock = make_clock(zone, start, 12.0, 60, 48)
    hours = local_hour(clock)
    assert hours.dtype == np.float32
    np.testing.assert_array_equal(hours[:, 0], 12.0)
    np.testing.assert_array_equal(hours[0, 12:17], [0, 1, 3, 4, 5])  # 02 h does not exist
    np.testing.assert_array_equal(hours[1, 12:17], [0, 1, 1, 2, 3])  # 01 h twice
    np.testing.assert_array_equal(hours[2], (12 + np.arange(48)) % 24)
    np.testing.assert_array_equal(zone.weekday[clock.day[:, 0]], [5, 5, 5])  # Saturdays
    np.testing.assert_array_equal(zone.weekday[clock.day[:, 12]], [6, 6, 6])
    utc = datetime(2023, 3, 11, 20, tzinfo=UTC)
    assert clock.utc_min[0] == utc.timestamp() / 60


def test_calendar_over_new_year_and_leap_day() -> None:
    zone = load_zone("Asia/Kolkata", 2024)
    for text in ("2023-12-31", "2024-01-01", "2024-02-29", "2024-03-01", "2024-12-31"):
        day = date.fromisoformat(text)
        at = (day - EPOCH).days - zone.first_day
        assert zone.weekday[at] == day.weekday()
        assert zone.mmdd[at] == 100 * day.month + day.day
        assert SEASONS[zone.season[at]] == {12: "DJF", 1: "DJF", 2: "DJF", 3: "MAM"}[day.month]


@pytest.mark.parametrize(("split", "year"), [("train", 2022), ("validation", 2022), ("test", 2023)])
def test_dates_fill_the_year_of_their_split(split: str, year: int) -> None:
    key = draws.scenario_key(split, np.arange(20_000))
    days = scenario_days(split, key, 7) - day_number(f"{year}-01-01")
    assert days.min() == 1
    assert days.max() == 365 - 4 - 7 - 1
    counts = np.bincount(days)[1:]
    assert counts.min() > 20  # about 56 each
    np.testing.assert_array_equal(
        scenario_days(split, key[5:6], 7), scenario_days(split, key, 7)[5:6]
    )


def test_unknown_zone_and_split_are_named() -> None:
    with pytest.raises(ValueError, match=r"time_zone='America/Springfield'.*tzdata"):
        load_zone("America/Springfield", 2022)
    with pytest.raises(ValueError, match="split='holdout': expected one of"):
        scenario_days("holdout", draws.scenario_key("test", np.arange(1)), 1)

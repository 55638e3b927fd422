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
    by_area,
    clock_at,
    load_zone,
    local_hour,
    local_time,
    make_clock,
    scenario_days,
    shown_weekdays,
    start_utc_min,
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


@pytest.mark.parametrize(("name", "day", "hours"), DAY_LENGTHS)
def test_cars_live_through_days_of_the_right_length(name: str, day: str, hours: float) -> None:
    """Quarter hours of the local day as mobility counts them, from noon of the day before."""
    zone = load_zone(name, 2025)
    utc_min = start_utc_min(zone, np.array([day_number(day) - 1]), 12.0)
    local = local_time(zone, zone.weekday, utc_min, 4)
    t_h = np.arange(0.0, 60.0, 0.25) + 0.01
    weekday = local.hour_of_week(np.zeros(len(t_h), np.intp), t_h) // 24
    assert (weekday == date.fromisoformat(day).weekday()).sum() / 4 == hours
    assert np.isfinite(local.change_h[0]) == (hours != 24.0)


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


@given(
    name=st.sampled_from(ZONES),
    day=st.integers(1, 340),
    hour=st.sampled_from([0.0, 7.5, 12.0, 23.75]),
    year=st.sampled_from([2022, 2023]),
)
def test_local_time_is_that_of_the_clock(name: str, day: int, hour: float, year: int) -> None:
    """At every quarter hour of two weeks, clock changes and a holiday included."""
    zone = load_zone(name, year)
    shown = shown_weekdays(zone, ["07-04", "12-25"])
    days = day_number(f"{year}-01-01") + np.array([day, (day + 100) % 340])
    clock = make_clock(zone, days, hour, 15, 14 * 96)
    local = local_time(zone, shown, clock.utc_min, 16)
    assert local.weekday.shape == (2, 16)
    want = shown[clock.day].astype(int) * 24 + clock.minute // 60
    for area in (0, 1):
        t_h = clock.elapsed_min / 60
        got = local.hour_of_week(np.full(len(t_h), area), t_h)
        np.testing.assert_array_equal(got, want[area])


def test_a_clock_change_within_the_days_that_follow_is_known() -> None:
    zone = load_zone("Europe/Berlin", 2023)
    utc_min = start_utc_min(zone, day_number("2023-03-26") - np.array([5, 9, 10, 11]), 12.0)
    local = local_time(zone, zone.weekday, utc_min, 10)
    np.testing.assert_array_equal(local.change_h, [4 * 24 + 14, 8 * 24 + 14, 9 * 24 + 14, np.inf])
    np.testing.assert_array_equal(local.jump_h, [1, 1, 1, 0])
    np.testing.assert_array_equal(local.start_h, 12.0)


def test_holidays_are_sundays_to_all_but_the_calendar() -> None:
    zone = load_zone("Europe/Berlin", 2023)
    shown = shown_weekdays(zone, ("05-01", "02-29"))
    may = day_number("2023-05-01") - zone.first_day  # a Monday
    assert (zone.weekday[may], shown[may], shown[may + 1]) == (0, 6, 1)
    assert (shown != zone.weekday).sum() == 3  # May Day of 2023 and 2024, a Thursday of 2024
    assert shown.dtype == zone.weekday.dtype
    assert shown_weekdays(zone, ()) is zone.weekday
    for text in ("13-01", "05-32", "5-1", "May 1"):
        with pytest.raises(ValueError, match=rf"shocks\.holidays='{text}': expected a date MM-DD"):
            shown_weekdays(zone, (text,))


def test_the_same_minute_in_another_zone() -> None:
    here = make_clock(
        load_zone("America/Los_Angeles", 2023), np.array([day_number("2023-03-11")]), 12.0, 60, 48
    )
    there = clock_at(load_zone("Australia/Sydney", 2023), here.utc_min, 60, 48, 3)
    assert there.before == 3
    assert (there.start_min[0], here.start_min[0]) == (7 * 60, 720)  # 7:00 of Sunday in Sydney
    np.testing.assert_array_equal(there.minute[0, 3:] // 60, (7 + np.arange(48)) % 24)
    assert there.zone.weekday[there.day[0, 3]] == 6


def test_areas_are_rows_times_regions() -> None:
    parts = [np.arange(6).reshape(2, 3) + 10 * region for region in range(3)]
    joined = by_area(parts)
    assert joined.shape == (6, 3)
    for row in (0, 1):
        for region in range(3):
            np.testing.assert_array_equal(joined[row * 3 + region], parts[region][row])
    by_class = by_area([part[None] for part in parts], axis=1)
    np.testing.assert_array_equal(by_class, joined[None])
    assert by_area(parts[:1]) is parts[0]


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

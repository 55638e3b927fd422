"""The state that an episode starts from, area by area."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from fleet_env import draws
from fleet_env.config import EnvConfig
from fleet_env.config_world import RegionConfig, TelemetryConfig
from fleet_env.dynamics import mobility
from fleet_env.dynamics.localtime import LocalTime
from fleet_env.generators import cars, start
from fleet_env.regions import region_of_cars
from fleet_env.types import (
    DRIVING,
    FAULT_NONE,
    FAULT_SILENT,
    FAULT_STUCK,
    HOME,
    WORK,
    FleetParams,
    FleetState,
)

NUM_CARS = 3000
FIELDS = [field.name for field in fields(FleetState)]


def begin(
    start_h: list[float], weekday: list[int], num_rows: int = 1, **sections: Any
) -> tuple[EnvConfig, FleetParams, FleetState]:
    """Draw rows of which all have the same areas, one for each hour given."""
    regions = {f"region {number}": RegionConfig() for number in range(len(start_h))}
    config = EnvConfig(num_cars=NUM_CARS, regions=regions if len(start_h) > 1 else {}, **sections)
    key = draws.scenario_key("test", np.arange(num_rows))
    params = cars.draw_params(config, key, ["ai5"])
    local = LocalTime.plain(np.tile(start_h, num_rows), np.tile(weekday, num_rows))
    return (
        config,
        params,
        start.start_state(config, key, params, local, resident_gb=np.array([44.5])),
    )


def test_an_area_starts_as_a_fleet_of_its_own_clock_would() -> None:
    hours, weekdays = [12.0, 21.0, 5.5, 12.0], [6, 6, 0, 2]
    config, _, state = begin(hours, weekdays, num_rows=2)
    region = np.tile(region_of_cars(config), 2)
    for area, (hour, weekday) in enumerate(zip(hours, weekdays, strict=True)):
        _, _, alone = begin([hour], [weekday], num_rows=2)
        mine = region == area
        assert mine.sum() == pytest.approx(2 * NUM_CARS / 4, rel=0.01)
        for name in FIELDS:
            np.testing.assert_array_equal(
                getattr(state, name)[mine], getattr(alone, name)[mine], err_msg=name
            )


def test_equal_clocks_are_one_fleet() -> None:
    _, _, three = begin([12.0] * 3, [2] * 3)
    _, _, one = begin([12.0], [2])
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(three, name), getattr(one, name), err_msg=name)


def test_night_finds_cars_at_home_and_plugged_noon_finds_them_at_work() -> None:
    config, _, state = begin([12.0, 3.0], [1, 1])
    noon = region_of_cars(config) == 0
    at_home, at_work = state.place == HOME, state.place == WORK
    assert at_home[~noon].mean() > 1.3 * at_home[noon].mean()
    assert at_work[noon].mean() > 5.0 * at_work[~noon].mean()
    assert state.plugged[~noon].mean() > 1.3 * state.plugged[noon].mean()


def test_what_is_under_way_began_before_and_ends_after_the_start() -> None:
    _, _, state = begin([5.5], [0], num_rows=2)  # a zone of half an hour
    parked = state.place != DRIVING
    assert np.all(state.event_h >= 0.0)
    assert np.all(state.ref_h <= 0.0)
    assert np.all(state.parked_h[parked] <= 0.0)


def test_a_holiday_starts_like_a_sunday() -> None:
    _, _, holiday = begin([12.0], [6])
    _, _, monday = begin([12.0], [0])
    assert (holiday.place == WORK).mean() < 0.5 * (monday.place == WORK).mean()


def test_stays_in_progress_fail_as_often_as_those_to_come() -> None:
    lying = TelemetryConfig(silent_share=0.1, stuck_share=0.2)
    config, params, state = begin([12.0], [0], num_rows=4, telemetry=lying)
    key = draws.scenario_key("test", np.arange(4))
    keys = draws.car_keys(key, draws.Stream.ARRIVAL, NUM_CARS)
    local = LocalTime.plain(np.full(4, 12.0), np.zeros(4, int))
    expected = {FAULT_NONE: 0.7, FAULT_SILENT: 0.1, FAULT_STUCK: 0.2}
    tables = mobility.tables(config.fleet, config.telemetry)
    area = np.repeat(np.arange(4), NUM_CARS)
    for t_h in (0.0, 6.0, 48.0):
        start.play(state, params, tables, keys, t_h, area=area, local=local)
        for fault, share in expected.items():
            sigma = (share * (1.0 - share) / len(area)) ** 0.5
            assert (state.fault == fault).mean() == pytest.approx(share, abs=4 * sigma)


def test_faults_leave_the_rest_of_the_start_as_it_was() -> None:
    _, _, sound = begin([12.0], [3])
    _, _, lying = begin([12.0], [3], telemetry=TelemetryConfig(silent_share=1.0))
    assert np.all(sound.fault == FAULT_NONE)
    assert np.all(lying.fault == FAULT_SILENT)
    for name in set(FIELDS) - {"fault"}:
        np.testing.assert_array_equal(getattr(sound, name), getattr(lying, name), err_msg=name)


def test_habits_are_common_to_all_regions() -> None:
    """What share of cars is plugged and linked over a week does not depend on the clocks."""
    regions = {name: RegionConfig() for name in ("a", "b", "c")}
    one, three = EnvConfig(), EnvConfig(regions=regions)
    assert start.mean_plugged_linked(three) == start.mean_plugged_linked(one)

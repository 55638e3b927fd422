"""Load of homes: the table, the clock it is read by, and the levels of neighbourhoods."""

from __future__ import annotations

import numpy as np
import pytest

from fleet_env import draws
from fleet_env.config_world import FeederConfig
from fleet_env.data import read_table
from fleet_env.generators import clock, homes
from fleet_env.generators.clock import SEASONS

KEYS = draws.scenario_key("train", np.arange(3))


def test_the_table_has_every_hour_once() -> None:
    table = read_table("home_load.csv")
    rows = {(s, d, int(h)) for s, d, h in zip(*(table[c] for c in list(table)[:3]), strict=True)}
    assert rows == {(s, d, h) for s in SEASONS for d in ("weekday", "weekend") for h in range(24)}
    assert len(table["share"]) == 192


def test_the_shape_peaks_at_1_on_a_summer_evening() -> None:
    shape = homes.load_shape()
    assert shape.shape == (4, 2, 24)
    assert np.unravel_index(shape.argmax(), shape.shape) == (SEASONS.index("JJA"), 0, 18)
    assert shape.max() == 1.0
    assert shape.min() > 0.1


def test_a_year_of_a_home_is_10_500_kwh() -> None:
    by_day = homes.load_shape().astype(np.float64).sum(axis=2)  # (4, 2)
    year = 365.0 * (by_day @ [5 / 7, 2 / 7]).mean() * FeederConfig().home_peak_kw
    assert year == pytest.approx(10_500.0, rel=0.01)


def test_nights_are_low_and_evenings_high_all_year() -> None:
    shape = homes.load_shape()
    assert (shape[:, :, 2:5].max(axis=2) < 0.6 * shape[:, :, 17:22].min(axis=2) + 0.05).all()
    winter = shape[SEASONS.index("DJF"), 0]
    assert winter[7] > winter[4]
    assert winter[7] > winter[12]  # the morning peak


def test_the_shape_follows_the_local_clock_through_seasons_and_weekends() -> None:
    zone = clock.load_zone("America/Los_Angeles", 2022)
    fridays = np.array(["2022-01-14", "2022-07-15"], "datetime64[D]").astype(np.int64)
    local = clock.make_clock(zone, fridays, 12.0, 15, num=4 * 24)
    shape = homes.home_shape(local)
    table = homes.load_shape()
    assert shape.shape == (2, 96)
    for row, season in enumerate((SEASONS.index("DJF"), SEASONS.index("JJA"))):
        assert shape[row, 0] == shape[row, 3] == table[season, 0, 12]  # Friday noon
        assert shape[row, 4] == table[season, 0, 13]
        assert shape[row, 47] == table[season, 0, 23]
        assert shape[row, 48] == table[season, 1, 0]  # Saturday
        assert shape[row, 95] == table[season, 1, 11]


def test_an_hour_that_the_clock_skips_is_skipped() -> None:
    # 13 March 2022, a Sunday: 1:59 is followed by 3:00
    zone = clock.load_zone("America/Los_Angeles", 2022)
    day = np.array(["2022-03-12"], "datetime64[D]").astype(np.int64)
    shape = homes.home_shape(clock.make_clock(zone, day, 12.0, 60, num=16))
    spring = homes.load_shape()[SEASONS.index("MAM"), 1]
    assert shape[0].tolist() == [*spring[12:], spring[0], spring[1], spring[3], spring[4]]


def test_levels_are_lognormal_with_mean_1() -> None:
    level = homes.draw_levels(KEYS, 50_000).astype(np.float64)
    log = np.log(level)
    assert level.size == 150_000
    assert level.mean() == pytest.approx(1.0, abs=0.003)
    assert log.std() == pytest.approx(0.25, abs=0.002)
    assert log.mean() == pytest.approx(-(0.25**2) / 2, abs=0.003)
    quantiles = np.quantile((log + 0.25**2 / 2) / 0.25, [0.05, 0.25, 0.5, 0.75, 0.95])
    assert quantiles == pytest.approx([-1.645, -0.674, 0.0, 0.674, 1.645], abs=0.02)


def test_a_level_depends_on_scenario_and_neighbourhood_alone() -> None:
    level = homes.draw_levels(KEYS, 40).reshape(3, 40)
    assert level.dtype == np.float32
    assert np.array_equal(homes.draw_levels(KEYS[1:2], 7), level[1, :7])
    assert len(np.unique(level)) == level.size

"""Prices, carbon, weather and cheap hours; and the whole outside world of a batch of scenarios."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_env import draws
from fleet_env.config import DemandConfig, EnergyConfig, EnvConfig
from fleet_env.data import read_table
from fleet_env.data.traces import TraceError, load_energy
from fleet_env.generators.clock import load_zone, make_clock
from fleet_env.generators.demand_sources import load_traces
from fleet_env.generators.exogenous import Exogenous, draw_exogenous
from fleet_env.generators.grid import (
    draw_grid,
    find_cheap_hours,
    load_profiles,
    load_tariff,
    price_levels,
    reference_price,
)
from fleet_env.generators.published import see_published, steps_before, views_between
from fleet_env.types import FloatArray

EPOCH = date(1970, 1, 1)
ZONE = "America/Los_Angeles"
NUM = 192  # steps of a day and of the 24 h after it
TARIFFS = (
    "california_ev_tou",
    "sce_tou_ev_4_2019",
    "sce_tou_ev_8_2019",
    "pge_a_10_tou_2019",
    "flat",
    "day_ahead",
)


def price_of(tariff: str, day: str, hour: float) -> float:
    zone = load_zone(ZONE, 2023)
    start = np.array([(date.fromisoformat(day) - EPOCH).days])
    clock = make_clock(zone, start, hour, 15, 1)
    key = draws.scenario_key("test", np.arange(1))
    return float(draw_grid(EnergyConfig(tariff=tariff), clock, key)[0][0, 0])


PRICES = [  # tariff, local date and hour -> USD/kWh, read off the sheets
    ("california_ev_tou", "2023-07-05", 0.0, 0.30),
    ("california_ev_tou", "2023-07-05", 14.75, 0.30),
    ("california_ev_tou", "2023-07-05", 15.0, 0.50),
    ("california_ev_tou", "2023-07-08", 16.0, 0.60),
    ("california_ev_tou", "2023-01-04", 20.75, 0.60),
    ("california_ev_tou", "2023-01-04", 21.0, 0.50),
    ("california_ev_tou", "2023-01-04", 23.75, 0.50),
    ("sce_tou_ev_4_2019", "2023-09-29", 13.0, 0.26668),  # Friday, summer
    ("sce_tou_ev_4_2019", "2023-09-30", 13.0, 0.05623),  # Saturday, the last summer day
    ("sce_tou_ev_4_2019", "2023-10-02", 13.0, 0.0869),  # Monday, winter
    ("sce_tou_ev_4_2019", "2023-01-01", 13.0, 0.06087),  # Sunday, winter over the new year
    ("sce_tou_ev_8_2019", "2023-10-01", 8.0, 0.07724),  # winter, all days
    ("sce_tou_ev_8_2019", "2023-06-03", 16.0, 0.25563),
    ("pge_a_10_tou_2019", "2023-05-01", 8.25, 0.14903),  # half hours count
    ("pge_a_10_tou_2019", "2023-05-01", 8.5, 0.1771),
    ("pge_a_10_tou_2019", "2023-04-30", 12.0, 0.13064),  # Sunday, winter
    ("flat", "2023-05-01", 3.0, 0.175),
]


@pytest.mark.parametrize(("tariff", "day", "hour", "usd_per_kwh"), PRICES)
def test_tariffs_by_hand(tariff: str, day: str, hour: float, usd_per_kwh: float) -> None:
    assert price_of(tariff, day, hour) == pytest.approx(usd_per_kwh, rel=1e-6)


def test_every_tariff_covers_every_day_of_the_calendar() -> None:
    for name in set(map(str, read_table("tariffs.csv")["tariff"])):
        profile = load_tariff(name).profile_of_day(load_zone(ZONE, 2022))
        assert profile.min() >= 0
    assert not np.isnan(load_tariff("pge_a_10_tou_2019").usd_per_kwh).any()


def test_unknown_tariff_and_region_list_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"energy\.tariff='ev2': .*flat, day_ahead.*california_ev_t"
    ):
        price_of("ev2", "2023-05-01", 3.0)
    with pytest.raises(ValueError, match=r"energy\.region='MARS': expected one of AU-NSW, DE-LU"):
        load_profiles("MARS")


def test_profiles_of_every_region_are_whole() -> None:
    for region in ("US-CAL-CISO", "US-TEX-ERCO", "DE-LU", "AU-NSW"):
        profiles = load_profiles(region)
        for entry in fields(profiles):
            values = getattr(profiles, entry.name)
            assert values.shape == (192,)
            assert np.isfinite(values).all()
        assert (profiles.price_p10 <= profiles.price_p50).all()
    # California, winter weekday, midnight: first row of the raw table
    winter = load_profiles("US-CAL-CISO")
    assert winter.price_p50[0] == pytest.approx(0.05933)
    assert winter.carbon_g_per_kwh[0] == pytest.approx(333.2)
    assert winter.temp_c[0] == pytest.approx(8.97)
    assert winter.temp_c[24 * 4 + 14] > 20  # summer weekday, 14 h: row (JJA, weekday, 14)


def grid(energy: EnergyConfig, rows: int, start: str = "2023-07-11") -> tuple[FloatArray, ...]:
    days = np.full(rows, (date.fromisoformat(start) - EPOCH).days)
    clock = make_clock(load_zone(ZONE, 2023), days, 12.0, 15, NUM)
    return draw_grid(energy, clock, draws.scenario_key("test", np.arange(rows)))


def test_weather_has_mean_and_sd_of_the_profile_at_every_hour() -> None:
    price, carbon, ambient = grid(EnergyConfig(tariff="day_ahead"), 4000)
    profiles = load_profiles("US-CAL-CISO")
    hour = (12 + np.arange(NUM) // 4) % 24
    at = (2 * 2 + 0) * 24 + hour  # JJA, Tuesday and Wednesday
    for got, mean, sd in (
        (ambient, profiles.temp_c[at], profiles.temp_sd[at]),
        (carbon, profiles.carbon_g_per_kwh[at], profiles.carbon_sd[at]),
    ):
        assert got.dtype == np.float32
        np.testing.assert_allclose((got.mean(axis=0) - mean) / sd, 0, atol=0.06)
        np.testing.assert_allclose(got.std(axis=0) / sd, 1, atol=0.04)
    quantiles = np.quantile(price - 0.12, [0.1, 0.5, 0.9], axis=0)
    wanted = np.array([profiles.price_p10, profiles.price_p50, profiles.price_p90])[:, at]
    np.testing.assert_allclose(quantiles, wanted, atol=0.006, rtol=0.05)
    z = (ambient - profiles.temp_c[at]) / profiles.temp_sd[at]
    assert np.corrcoef(z[:, 0], z[:, 24])[0, 1] > 0.8  # 6 h apart: the same day
    assert abs(np.corrcoef(z[:, 0], z[:, 96])[0, 1]) < 0.06  # noon to noon: another draw
    assert abs(np.corrcoef(z[:, 0], (carbon / carbon.mean(axis=0))[:, 0])[0, 1]) < 0.06


def test_temperature_has_no_jump_at_midnight() -> None:
    ambient = grid(EnergyConfig(), 500)[2]
    profiles = load_profiles("US-CAL-CISO")
    at = 4 * 24 + (12 + np.arange(NUM) // 4) % 24
    z = (ambient - profiles.temp_c[at]) / profiles.temp_sd[at]
    assert np.abs(np.diff(z, axis=1)).max() < 0.1


def test_files_are_replayed_at_the_hour_of_the_scenario(data_dir: Path) -> None:
    folder = str(data_dir / "energy")
    price, carbon, ambient = grid(EnergyConfig(tariff="day_ahead", files=folder), 2, "2023-11-04")
    series = load_energy(folder, "US-CAL-CISO")
    first = int(np.datetime64("2023-11-04T19", "h").astype(int)) - series.start_utc_h  # 12 h PDT
    hours = first + np.arange(NUM) // 4
    np.testing.assert_array_equal(ambient[1], series.temp_c[hours])
    np.testing.assert_array_equal(carbon[1], series.carbon_g_per_kwh[hours])
    np.testing.assert_allclose(price[1], series.price_usd_per_kwh[hours] + 0.12, rtol=1e-6)
    with pytest.raises(TraceError, match="cover 2022-01-01T00Z to 2023-12-31T23Z, not 2024-01-0"):
        grid(EnergyConfig(files=folder), 1, "2023-12-31")


def cheap_reference(price: FloatArray, steps: int, hours: float, dt_h: float) -> FloatArray:
    window = price.shape[1] - steps
    rank = max(round(hours / dt_h), 1)
    threshold = np.empty_like(price)
    for row in range(len(price)):
        for step in range(price.shape[1]):
            begin = min(step, steps)
            threshold[row, step] = np.sort(price[row, begin : begin + window])[rank - 1]
    return threshold


@given(
    seed=st.integers(0, 1000),
    num_levels=st.integers(1, 40),
    cheap_hours=st.sampled_from([0.5, 6.0, 23.0, 24.0]),
    know_levels=st.booleans(),
)
def test_cheap_hours_equal_a_sort_of_every_window(
    seed: int, num_levels: int, cheap_hours: float, *, know_levels: bool
) -> None:
    rng = np.random.default_rng(seed)
    levels = np.unique(rng.normal(0.3, 0.2, num_levels).astype(np.float32))
    price = levels[rng.integers(0, len(levels), (3, 24 + 48))]
    got = find_cheap_hours(price, levels if know_levels else None, 24, cheap_hours, 0.5)
    want = cheap_reference(price, 24, cheap_hours, 0.5)
    np.testing.assert_array_equal(got.threshold, want)
    np.testing.assert_array_equal(got.cheap, price <= want)
    np.testing.assert_allclose(got.cum_h[:, 1:], 0.5 * np.cumsum(price <= want, axis=1))
    assert not got.cum_h[:, 0].any()


def test_reference_price_is_the_mean_of_the_first_day_throughout() -> None:
    price = np.concatenate([np.full((2, 24), 0.2), np.full((2, 24), 0.4), np.ones((2, 24))], axis=1)
    price[1, :12] = 0.4
    ref = reference_price(price.astype(np.float32), 48, 1.0)
    assert ref.shape == (2, 48)
    np.testing.assert_allclose(ref[0], 0.2)
    np.testing.assert_allclose(ref[1], 0.3)


def numbered_prices(days: int, start: str, hour: float) -> tuple[FloatArray, FloatArray]:
    """Prices by hour, 100 times the day of the episode plus the local hour, and what is seen."""
    zone = load_zone(ZONE, 2023)
    start_day = np.array([(date.fromisoformat(start) - EPOCH).days])
    num = days * 24 + 24
    clock = make_clock(zone, start_day, hour, 60, num, steps_before(np.array([hour]), 60))
    day = clock.day - (start_day - zone.first_day)[:, None]
    price = (100 * day + clock.minute // 60).astype(np.float32)
    views = see_published(price, clock, days * 24, 6.0, 1.0)
    now = price[:, clock.elapsed_min.tolist().index(0) :]
    seen = np.full((days * 24 + 1, num), np.nan, np.float32)
    for view, low, high in views_between(views, 0, days * 24 + 1):
        seen[low:high, view.first :] = view.price_usd_per_kwh[0]
    return now[0], seen


def test_unpublished_hours_are_those_of_the_latest_published_day() -> None:
    """By hand: from noon of day 0, hourly; step 12 is midnight, day 1 is known from step 1 on."""
    price, seen = numbered_prices(2, "2023-05-10", 12.0)
    np.testing.assert_array_equal(price[:14], [*range(12, 24), 100, 101])
    np.testing.assert_array_equal(seen[0, :12], price[:12])
    np.testing.assert_array_equal(seen[0, 12:36], np.arange(24))  # day 1 as day 0
    np.testing.assert_array_equal(seen[0, 36:60], np.arange(24))  # day 2 as well
    for step in (1, 11, 12, 24):  # 13:00, 23:00, midnight, noon of day 1
        np.testing.assert_array_equal(seen[step, step:36], price[step:36])
        np.testing.assert_array_equal(seen[step, 36:60], 100 + np.arange(24))
    np.testing.assert_array_equal(seen[25, 25:60], price[25:60])  # 13:00 of day 1: day 2 is out


def test_a_day_that_lacks_an_hour_is_filled_from_24_hours_before() -> None:
    """On 2023-03-12 the clock jumps at 2:00, so midnight of day 1 is 23 h after that of day 0."""
    price, seen = numbered_prices(1, "2023-03-12", 0.0)
    np.testing.assert_array_equal(price[:4], [0, 1, 3, 4])
    assert price[23] == 100
    # -77 is 23 h of the day before, the hour 24 h before midnight
    np.testing.assert_array_equal(seen[0, 23:27], [-77, 0, 1, 3])
    np.testing.assert_array_equal(seen[12, 23:27], price[23:27])


@pytest.mark.parametrize("days", [1, 3])
def test_day_ahead_thresholds_are_those_of_what_is_seen(days: int) -> None:
    """Against a sort of every window of the seen prices, and over the start of summer time."""
    zone, steps = load_zone(ZONE, 2023), days * 96
    start_day = np.arange(4) + (date.fromisoformat("2023-03-10") - EPOCH).days
    clock = make_clock(zone, start_day, 12.0, 15, steps + 96, steps_before(np.array([12.0]), 15))
    rng = np.random.default_rng(2)
    price = rng.normal(0.3, 0.1, clock.day.shape).astype(np.float32)
    views = see_published(price, clock, steps, 6.0, 0.25)
    assert (len(views), views[0].first) == (len({view.first for view in views}), 0)
    for view in views:
        want = cheap_reference(view.price_usd_per_kwh, steps - view.first, 6.0, 0.25)
        np.testing.assert_array_equal(view.threshold_usd_per_kwh, want)
        cheap = view.price_usd_per_kwh <= want
        np.testing.assert_array_equal(view.cheap, cheap)
        np.testing.assert_allclose(view.cheap_cum_h[:, 1:], 0.25 * np.cumsum(cheap, axis=1))


def draw(rows: slice, tariff: str = "california_ev_tou", cv: float = 0.1) -> Exogenous:
    energy, demand = EnergyConfig(tariff=tariff), DemandConfig(rate_noise_cv=cv)
    config = EnvConfig(energy=energy, demand=demand)
    key = draws.scenario_key("test", np.arange(64)[rows])
    return draw_exogenous(config, "test", key, load_traces(config))


def ahead(step: int) -> Callable[[Exogenous], tuple[FloatArray, int]]:
    """Cheap hours after a step, as a function of the world."""
    return lambda world: world.cheap_ahead(step)


SHARED = ("traces", "step_min", "price_views", "local", "shocks")
CLASS_FIRST = ("rate_forecast", "noise")


@pytest.mark.parametrize("tariff", TARIFFS)
@pytest.mark.parametrize("rows", [slice(5, 6), slice(3, 10)])
def test_rows_do_not_depend_on_the_batch(tariff: str, rows: slice) -> None:
    whole, part = draw(slice(0, 64), tariff), draw(rows, tariff)
    for entry in fields(whole):
        if entry.name in SHARED:
            continue
        want, got = getattr(whole, entry.name), getattr(part, entry.name)
        if want is None:
            assert got is None
            continue
        at = (slice(None), rows) if entry.name in CLASS_FIRST else rows
        np.testing.assert_array_equal(got, want[at], err_msg=entry.name)
        assert got.dtype == want.dtype
    np.testing.assert_array_equal(part.demand_rates(7), whole.demand_rates(7)[:, rows])
    for step in (0, 3, 4, 60, 96):
        ours, its = (world.price_view(step) for world in (part, whole))
        known = (view.price_usd_per_kwh[:, step - view.first :] for view in (ours, its))
        np.testing.assert_array_equal(next(known), next(known)[rows])
        left_h = [cum[:, at:] - cum[:, at : at + 1] for cum, at in map(ahead(step), (part, whole))]
        np.testing.assert_array_equal(left_h[0], left_h[1][rows])


def test_arrays_have_the_stated_shapes_and_types() -> None:
    world = draw(slice(0, 7))
    for name in ("local_hour", "price_usd_per_kwh", "carbon_g_per_kwh", "ambient_c"):
        assert getattr(world, name).shape == (7, NUM)
        assert getattr(world, name).dtype == np.float32
    assert world.threshold_usd_per_kwh.shape == world.cheap.shape == (7, NUM)
    cum_h, column = world.cheap_ahead(5)
    assert (cum_h.shape, cum_h.dtype, column) == ((7, NUM + 1), np.float32, 6)
    assert (world.ref_price_usd_per_kwh.shape, world.rate_forecast.shape) == ((7, 96), (3, 7, NUM))
    assert world.weekday.dtype == np.uint8


def test_the_suburb_day_by_hand() -> None:
    world = draw(slice(0, 64))
    np.testing.assert_array_equal(world.local_hour[:, 0], 12.0)
    plain = world.local_hour[:, 95] == 11.75  # no clock change
    price = np.repeat([0.3, 0.5, 0.6, 0.5, 0.3], [12, 4, 20, 12, 48])
    np.testing.assert_allclose(
        world.price_usd_per_kwh[plain, :96], np.tile(price, (plain.sum(), 1))
    )
    np.testing.assert_allclose(world.threshold_usd_per_kwh, 0.3)
    np.testing.assert_allclose(world.ref_price_usd_per_kwh[plain], 9.5 / 24, rtol=1e-6)
    non_working = world.traces[0].non_working[world.start_minute // 1440]
    np.testing.assert_array_equal(non_working, world.weekday[:, 0] >= 5)


def test_noise_multiplies_the_trace_by_intervals_of_ten_minutes() -> None:
    noisy, plain = draw(slice(0, 3), cv=0.2), draw(slice(0, 3), cv=0.0)
    assert plain.noise is None
    assert noisy.noise is not None
    ratio = noisy.demand_rates(1) / plain.demand_rates(1)  # minutes 15 .. 29
    np.testing.assert_allclose(ratio[:, :, :5], np.repeat(noisy.noise[:, :, 1:2], 5, 2), rtol=1e-5)
    np.testing.assert_allclose(ratio[:, :, 5:], np.repeat(noisy.noise[:, :, 2:3], 10, 2), rtol=1e-5)
    np.testing.assert_array_equal(
        plain.demand_rates(3), plain.traces[0].rates(plain.start_minute, 45, 15)
    )


def test_forecast_of_an_episode_is_that_of_the_trace() -> None:
    world = draw(slice(0, 7))
    for num_steps in (24, 96):
        want = world.traces[0].forecast(world.start_minute, 10, num_steps, 15)
        np.testing.assert_array_equal(world.rate_forecast[:, :, 10 : 10 + num_steps], want)


def test_the_prices_of_a_tariff_are_seen_as_they_are() -> None:
    world = draw(slice(0, 5))
    (view,) = world.price_views
    assert np.shares_memory(view.price_usd_per_kwh, world.price_usd_per_kwh)
    np.testing.assert_array_equal(view.price_usd_per_kwh, world.price_usd_per_kwh)
    day_ahead = draw(slice(0, 64), "day_ahead")
    mean = day_ahead.price_usd_per_kwh[:, :96].mean(axis=1)
    assert np.abs(day_ahead.ref_price_usd_per_kwh[:, 0] - mean).max() > 1e-3  # not known at noon


@pytest.mark.parametrize("tariff", TARIFFS)
def test_levels_are_all_prices_of_a_tariff(tariff: str) -> None:
    levels = price_levels(EnergyConfig(tariff=tariff))
    if levels is None:
        assert tariff == "day_ahead"
    else:
        assert np.isin(draw(slice(0, 64), tariff).price_usd_per_kwh, levels).all()

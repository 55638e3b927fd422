"""The outside world of several regions, with shocks: areas, zones, prices as published, demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from fleet_env import draws
from fleet_env.config import DemandConfig, EnergyConfig, EnvConfig
from fleet_env.config_world import RegionConfig, ShockConfig, ShocksConfig
from fleet_env.data.traces import load_energy
from fleet_env.generators import exogenous
from fleet_env.generators.clock import MIN_PER_DAY, clock_at, load_zone
from fleet_env.generators.demand import make_trace
from fleet_env.generators.demand_sources import load_traces
from fleet_env.generators.exogenous import Exogenous, check_outside, draw_exogenous
from fleet_env.generators.shocks import KINDS, PRICE_SPIKE, ShockEvents
from fleet_env.types import BATCH_70B, FloatArray

WORLD = {
    "california": RegionConfig(share=2.0),
    "texas": RegionConfig(
        time_zone="America/Chicago", grid="US-TEX-ERCO", tariff="day_ahead", delivery_usd_per_kwh=0
    ),
    "germany": RegionConfig(time_zone="Europe/Berlin", grid="DE-LU", tariff="day_ahead"),
    "australia": RegionConfig(time_zone="Australia/Sydney", grid="AU-NSW", tariff="flat"),
}
EVERY = {name: ShockConfig(per_year=150.0, mean_h=5.0, severity=0.5) for name in KINDS}


def card(days: int = 1, source: str = "servegen", cv: float = 0.1, **changes: object) -> EnvConfig:
    demand = DemandConfig(source=source, rate_noise_cv=cv)
    return replace(EnvConfig(days=days, demand=demand, regions=WORLD), **changes)


def draw(config: EnvConfig, rows: int | slice = 12, split: str = "test") -> Exogenous:
    index = np.arange(64)[rows if isinstance(rows, slice) else slice(0, rows)]
    return draw_exogenous(config, split, draws.scenario_key(split, index), load_traces(config))


def series(world: Exogenous) -> dict[str, FloatArray]:
    """All arrays by area: areas first."""
    found = {name: getattr(world, name) for name in exogenous._BY_AREA}
    found |= {f"local.{f.name}": getattr(world.local, f.name) for f in fields(world.local)}
    found["rate_forecast"] = world.rate_forecast.swapaxes(0, 1)
    found["rates"] = world.demand_rates(5, 2).swapaxes(0, 1)
    return found


def test_areas_have_the_stated_shapes() -> None:
    world, num, areas = draw(card()), 192, 48
    assert world.utc_start_min.shape == (12,)
    for name in ("local_hour", "price_usd_per_kwh", "carbon_g_per_kwh", "ambient_c", "cheap"):
        assert getattr(world, name).shape == (areas, num)
    assert world.rate_forecast.shape == (3, areas, num)
    assert world.noise is not None
    assert world.noise.shape == (3, areas, 144)
    assert world.ref_price_usd_per_kwh.shape == (areas, 96)
    assert world.local.start_h.shape == world.demand_key.shape == world.start_minute.shape == (48,)
    assert world.local.weekday.shape[0] == areas
    assert world.local.weekday.shape[1] >= 1 + 8
    assert world.requests(np.ones((3, areas)), 2, 3).shape == (3, areas, 45)
    assert len(world.traces) == 4
    for view in world.price_views:
        assert view.price_usd_per_kwh.shape == view.threshold_usd_per_kwh.shape
        assert view.price_usd_per_kwh.shape == (areas, num - view.first)
        assert view.cheap_cum_h.shape == (areas, num - view.first + 1)


def test_the_first_region_is_what_it_is_alone() -> None:
    shocks = ShocksConfig(**EVERY)
    energy = EnergyConfig(tariff="day_ahead")
    alone = draw(card(regions={}, shocks=shocks, energy=energy))
    world = draw(card(shocks=shocks, energy=energy))
    for name, values in series(alone).items():
        np.testing.assert_array_equal(series(world)[name][::4], values, name)
    theirs = world.shocks.area % 4 == 0
    theirs &= world.shocks.node < 1  # alone, the region has a second node
    ours = alone.shocks.node < 1
    for name in ("kind", "start_h", "end_h", "severity", "key"):
        a, b = getattr(alone.shocks, name)[ours], getattr(world.shocks, name)[theirs]
        np.testing.assert_array_equal(a, b, name)


@pytest.mark.parametrize("rows", [slice(5, 6), slice(3, 9)])
def test_rows_do_not_depend_on_the_batch(rows: slice) -> None:
    config = card(days=2, shocks=ShocksConfig(**EVERY, holidays=["07-04"]))
    whole, part = draw(config, slice(0, 64)), draw(config, rows)
    areas = slice(rows.start * 4, rows.stop * 4)
    for name, values in series(part).items():
        np.testing.assert_array_equal(values, series(whole)[name][areas], name)
        assert values.dtype == series(whole)[name].dtype
    for step in (0, 3, 4, 20, 60, 96, 150, 191):
        a, b = part.price_view(step), whole.price_view(step)
        for name in ("price_usd_per_kwh", "threshold_usd_per_kwh", "cheap"):
            ours = getattr(a, name)[:, step - a.first :]
            np.testing.assert_array_equal(ours, getattr(b, name)[areas, step - b.first :], name)


def test_regions_start_in_the_same_minute_by_their_own_clocks() -> None:
    world = draw(card(), 64)
    for area in range(0, 256, 7):
        row, region = divmod(area, 4)
        zone = ZoneInfo(tuple(WORLD.values())[region].time_zone or "America/Los_Angeles")
        start = datetime.fromtimestamp(int(world.utc_start_min[row]) * 60, UTC)
        for step in (0, 50, 191):
            local = (start + timedelta(minutes=15 * step)).astimezone(zone)
            assert world.local_hour[area, step] == local.hour + local.minute / 60
            assert world.weekday[area, step] == local.weekday()
            hour = world.local.hour_of_week(np.array([area]), np.array([step / 4]))[0]
            assert hour == local.weekday() * 24 + local.hour
    trace_hour = world.start_minute % MIN_PER_DAY / 60
    np.testing.assert_allclose(trace_hour, world.local_hour[:, 0], atol=1e-5)
    off = world.traces[0].non_working[world.start_minute // MIN_PER_DAY]
    np.testing.assert_array_equal(off, world.weekday[:, 0] >= 5)


def test_each_region_has_its_own_grid_tariff_and_draws() -> None:
    world = draw(card(), 64)
    prices = world.price_usd_per_kwh.reshape(64, 4, -1)
    assert set(np.unique(prices[:, 0])) == set(np.float32([0.3, 0.5, 0.6]))
    np.testing.assert_array_equal(prices[:, 3], np.float32(0.175))
    assert prices[:, 2].mean() - 0.12 > 0.05  # Germany 2022-23: about 0.17 USD/kWh
    assert len(np.unique(prices[:, 1])) > 1000
    carbon = world.carbon_g_per_kwh.reshape(64, 4, -1).mean(axis=(0, 2))
    assert carbon.argmax() == 3  # New South Wales burns coal
    noise = world.noise
    assert noise is not None
    by_region = np.log(noise).reshape(3, 64, 4, -1).transpose(2, 0, 1, 3).reshape(4, -1)
    assert np.abs(np.corrcoef(by_region) - np.eye(4)).max() < 0.05
    same_price = draw(card(regions=dict.fromkeys("ab", WORLD["texas"]))).ambient_c
    assert (same_price[::2] != same_price[1::2]).all()


def test_joined_views_are_those_of_each_region() -> None:
    config = card(days=2)
    world = draw(config, 20)
    firsts = set()
    for number, region in enumerate(WORLD.values()):
        key = draws.scenario_key("test", np.arange(20))
        traces = load_traces(config)
        own = exogenous._draw_region(config, "test", key, world.utc_start_min, number, traces[0])
        firsts |= {view.first for view in own.price_views}
        assert (len(own.price_views) > 1) == (region.tariff == "day_ahead")
        for step in range(0, 193, 4):
            now, joined = own.price_view(step), world.price_view(step)
            for name in ("price_usd_per_kwh", "threshold_usd_per_kwh", "cheap"):
                want = getattr(now, name)[:, step - now.first :]
                got = getattr(joined, name)[number::4, step - joined.first :]
                np.testing.assert_array_equal(got, want)
            left = [
                cum[:, column:] - cum[:, column : column + 1]
                for cum, column in (own.cheap_ahead(step), world.cheap_ahead(step))
            ]
            np.testing.assert_array_equal(left[1][number::4], left[0])
    assert firsts == {view.first for view in world.price_views}


def test_requests_of_an_area_are_its_level_times_its_rate() -> None:
    world = draw(card(source="synthetic", cv=0.0), 64)
    level = np.array([[40.0, 4.0, 0.4, 400.0], [30.0] * 4, [20.0, 0.0, 20.0, 20.0]])
    got = world.requests(np.tile(level, (1, 64)), 40, 4).reshape(3, 64, 4, 60)
    want = world.demand_rates(40, 4).reshape(3, 64, 4, 60) * level[:, None, :, None]
    np.testing.assert_allclose(got.mean((1, 3)), want.mean((1, 3)), rtol=0.05)
    assert not got[BATCH_70B, :, 1].any()
    z = (np.sqrt(got[1] + 0.25) - np.sqrt(want[1])).transpose(1, 0, 2).reshape(4, -1)
    assert np.abs(np.corrcoef(z) - np.eye(4)).max() < 0.06


def test_azure_is_turned_to_the_clock_of_each_region() -> None:
    """All regions replay what arrived in the same minute of the week, but for the day chosen."""
    config = card(source="azure2024")
    traces = load_traces(config)
    summer = (-7, -5, 2, 10)  # hours ahead of UTC on 2024-05-12
    for trace, offset_h in zip(traces, summer, strict=True):
        back = np.roll(traces[0].rate[0], (offset_h + 7) * 60)
        np.testing.assert_array_equal(trace.rate[0], back)
    assert len(set(map(id, load_traces(card())))) == 1


def hourly_zones(first: int, num: int, curve: FloatArray) -> FloatArray:
    """Demand of a day in adjacent whole-hour zones, by minute: clock and trace do the shifting."""
    daily = np.tile(np.repeat(curve, MIN_PER_DAY // len(curve)), 4)
    trace = make_trace(
        "curve",
        "local",
        np.array([daily] * 3),
        start_weekday=0,
        non_working=np.array([False, False, True, True]),
        split_day=2,
    )
    utc_min = np.array([int(np.datetime64("2023-05-10T12:00", "m").astype(int))])
    total = np.zeros(MIN_PER_DAY)
    for ahead in range(first, first + num):
        zone = load_zone(f"Etc/GMT{-ahead:+d}", 2023)  # POSIX counts west as positive
        clock = clock_at(zone, utc_min, 15, 96)
        working = np.zeros((1, 2), bool)
        start = trace.start_minute("train", working, np.zeros(1), clock.start_min, MIN_PER_DAY)
        total += trace.rates(start, 0, MIN_PER_DAY)[0, 0]
    return total


def test_v19_a_day_round_the_globe_is_flat() -> None:
    hour = np.arange(24)
    curve = np.round(2**12 * (1 + 0.3 * np.cos((hour - 15) * np.pi / 12)))  # exact in float32
    curve[0] += 24 * 2**12 - curve.sum()
    assert np.ptp(hourly_zones(-11, 24, curve)) < 1e-12
    assert np.ptp(hourly_zones(0, 1, curve)) > 0.5


def test_v19_half_the_globe_swings_less() -> None:
    """Half the range over the mean, of a day with two harmonics: .192 against .329."""
    hour = np.arange(MIN_PER_DAY) / 60
    curve = 1 + 0.3 * np.cos((hour - 15) * np.pi / 12) + 0.1 * np.cos((hour - 16) * np.pi / 6)
    for num, want in ((1, 0.329), (12, 0.192), (24, 0.0)):
        total = hourly_zones(-5, num, curve) if num < 24 else hourly_zones(-11, 24, curve)
        assert np.ptp(total) / 2 / total.mean() == pytest.approx(want, abs=5e-4)


def test_exact_forecasts_are_the_rates_to_come() -> None:
    shocks = ShocksConfig(flash=ShockConfig(per_year=150.0, mean_h=3.0, severity=2.0))
    config = card(shocks=shocks, cv=0.2)
    told = replace(config, demand=replace(config.demand, forecast="exact"))
    plain, exact = draw(config), draw(told)
    want = plain.demand_rates(0, 96).reshape(3, 48, 96, 15).mean(axis=3, dtype=float)
    np.testing.assert_allclose(exact.rate_forecast[:, :, :96], want, rtol=1e-6)
    np.testing.assert_array_equal(exact.demand_rates(3, 4), plain.demand_rates(3, 4))
    after = exact.demand_rates(96, 96).reshape(3, 48, 96, 15).mean(axis=3, dtype=float)
    np.testing.assert_allclose(exact.rate_forecast[:, :, 96:], after, rtol=1e-6)
    assert np.abs(plain.rate_forecast[:, :, :96] / want - 1).max() > 1


def test_a_flash_is_in_the_chat_of_its_area_and_in_no_forecast() -> None:
    setting = ShockConfig(on_day=0, from_h=18.0, to_h=18.0, mean_h=2.0, severity=2.0)
    crowded = draw(card(regions={}, shocks=ShocksConfig(flash=setting)))
    plain = draw(card(regions={}))
    ratio = crowded.demand_rates(0, 96) / plain.demand_rates(0, 96)
    np.testing.assert_array_equal(ratio[BATCH_70B], 1.0)
    events = crowded.shocks
    np.testing.assert_allclose(events.start_h, 6.0)
    for i, area in enumerate(events.area):
        end = events.end_h[i] * 60
        inside, outside = ratio[:2, area, 360 : int(end)], ratio[:2, area, int(end) + 1 :]
        np.testing.assert_allclose(inside, 1 + events.severity[i], rtol=1e-5)
        np.testing.assert_array_equal(outside, 1.0)
    np.testing.assert_array_equal(ratio[:, :, :360], 1.0)
    np.testing.assert_array_equal(crowded.rate_forecast, plain.rate_forecast)
    for name, values in series(plain).items():
        if name != "rates":
            np.testing.assert_array_equal(series(crowded)[name], values, name)


def test_a_heat_wave_is_in_the_air_of_its_area() -> None:
    setting = ShockConfig(on_day=0, from_h=12.0, to_h=12.0, mean_h=24.0, severity=8.0)
    hot, plain = draw(card(shocks=ShocksConfig(heatwave=setting))), draw(card())
    warmer = hot.ambient_c - plain.ambient_c
    events = hot.shocks
    assert len(events) == 48
    for i, area in enumerate(events.area):
        t_h = np.arange(192) / 4
        share = np.minimum(t_h - events.start_h[i], events.end_h[i] - t_h) / 6
        want = events.severity[i] * np.clip(share, 0, 1)
        np.testing.assert_allclose(warmer[area], want, atol=1e-5)
    np.testing.assert_array_equal(hot.price_usd_per_kwh, plain.price_usd_per_kwh)


DAILY = ShocksConfig(
    price_spike=ShockConfig(every_days=1, from_h=16.0, to_h=18.0, mean_h=3.0, severity=0.5),
    negative_noon=ShockConfig(every_days=1, from_h=10.0, to_h=11.0, mean_h=5.0, severity=0.15),
)


def test_price_shocks_move_day_ahead_prices_and_no_others() -> None:
    shocked, plain = draw(card(shocks=DAILY)), draw(card())
    change = (shocked.price_usd_per_kwh - plain.price_usd_per_kwh).astype(float)
    want = np.zeros_like(change)
    events, t_h = shocked.shocks, np.arange(192) / 4
    for i, area in enumerate(events.area):
        if area % 4 in (1, 2):
            sign = 1 if events.kind[i] == PRICE_SPIKE else -1
            now = (t_h >= events.start_h[i]) & (t_h < events.end_h[i])
            want[area, now] += sign * events.severity[i]
    np.testing.assert_allclose(change, want, atol=1e-6)
    assert (want != 0).any(axis=1).reshape(12, 4).tolist() == [[False, True, True, False]] * 12
    assert shocked.price_usd_per_kwh.min() < plain.price_usd_per_kwh.min() - 0.05


def test_the_same_hour_has_the_same_shock_however_far_back_one_looks() -> None:
    config = card(shocks=ShocksConfig(**EVERY), regions={})
    energy = EnergyConfig(tariff="day_ahead")
    key, zone = draws.scenario_key("test", np.arange(20)), load_zone(config.time_zone, 2023)
    utc_min = draw(config, 20).utc_start_min
    shocks = exogenous.draw_shocks(config, key, zone, utc_min, 0)
    whole = None
    for before in (100, 52, 0):
        clock = clock_at(zone, utc_min, 15, 192, before)
        got = exogenous.draw_grid(energy, clock, key)[0]
        exogenous.add_shocks(got, shocks, exogenous.ON_PRICE, clock.elapsed_min / 60)
        whole = got if whole is None else whole
        np.testing.assert_array_equal(got, whole[:, 100 - before :])


def test_views_show_the_shocks_of_the_days_that_are_published() -> None:
    """Day 1 is out at 13:00 of day 0; until then its spikes are those of day 0 or of none."""
    energy = EnergyConfig(tariff="day_ahead")
    world = draw(card(days=2, regions={}, energy=energy, shocks=DAILY), 64)
    plain = world.local_hour[:, 191] == 11.75  # no clock change
    price = world.price_usd_per_kwh[plain]
    first, later = world.price_views[0], world.price_view(4)
    np.testing.assert_array_equal(first.price_usd_per_kwh[plain, :48], price[:, :48])
    # the hours of day 1 before noon are those of day 0, before the episode: its negative noon too
    before = first.price_usd_per_kwh[plain, 48:96]
    assert (before != price[:, 48:96]).any(axis=1).all()
    dip = before[:, 44] - before[:, 36]  # 11:00 against 9:00
    assert (dip < -0.05).mean() > 0.8
    np.testing.assert_array_equal(later.price_usd_per_kwh[plain, : 144 - 4], price[:, 4:144])


@pytest.mark.parametrize("what", ["shocks", "prices"])
def test_views_do_not_depend_on_what_is_not_yet_published(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All price shocks (or prices) of day `cut` and later are taken away: known at 13:00 before."""
    energy = EnergyConfig(tariff="day_ahead", region="DE-LU")
    regions = {"germany": WORLD["germany"], "texas": WORLD["texas"]}
    config = card(days=3, regions=regions, energy=energy, shocks=DAILY)
    config = replace(config, time_zone="Europe/Berlin")
    whole = draw(config, 30, "train")
    day = np.cumsum(np.diff(whole.local_hour, axis=1, prepend=whole.local_hour[:, :1]) < 0, axis=1)
    for cut in (1, 2, 3):
        with monkeypatch.context() as patch:
            drop = _without_shocks if what == "shocks" else _without_prices
            drop(patch, cut)
            told = draw(config, 30, "train")
        news = (day == cut - 1) & (whole.local_hour >= 13.0)
        for area in range(0, 60):
            out = int(np.argmax(news[area] | (day[area] >= cut)))
            for step in range(0, min(out, 288), 5):
                a, b = whole.price_view(step), told.price_view(step)
                for name in ("price_usd_per_kwh", "threshold_usd_per_kwh", "cheap"):
                    ours, its = (getattr(view, name)[area, step - view.first :] for view in (a, b))
                    np.testing.assert_array_equal(ours, its)
            a, b = whole.price_view(out), told.price_view(out)
            known = (view.price_usd_per_kwh[area, out - view.first :] for view in (a, b))
            assert (next(known) != next(known)).any()
            np.testing.assert_array_equal(whole.cheap[area, :out], told.cheap[area, :out])
        np.testing.assert_array_equal(whole.ambient_c, told.ambient_c)


def _without_shocks(patch: pytest.MonkeyPatch, cut: int) -> None:
    real = exogenous.draw_shocks

    def fewer(*args: object) -> ShockEvents:
        events = real(*args)
        keep = events.day < cut
        return ShockEvents(*(getattr(events, f.name)[keep] for f in fields(events)))

    patch.setattr(exogenous, "draw_shocks", fewer)


def _without_prices(patch: pytest.MonkeyPatch, cut: int) -> None:
    real: Callable[..., tuple[FloatArray, FloatArray, FloatArray]] = exogenous.draw_grid

    def flat(energy: EnergyConfig, clock: object, key: object) -> tuple[FloatArray, ...]:
        price, carbon, ambient = real(energy, clock, key)
        start_day = clock.day[:, clock.before : clock.before + 1]
        price[clock.day >= start_day + cut] = 0.01
        return price, carbon, ambient

    patch.setattr(exogenous, "draw_grid", flat)


def test_holidays_are_sundays_to_what_is_shown_and_replayed() -> None:
    """Every day but those of two months is a holiday: weekdays replay days off, prices do not."""
    holidays = [f"{month:02d}-{day:02d}" for month in range(3, 13) for day in range(1, 31)]
    energy = EnergyConfig(tariff="sce_tou_ev_4_2019")  # its weekends are cheaper
    shown = draw(card(regions={}, energy=energy, shocks=ShocksConfig(holidays=holidays)), 64)
    plain = draw(card(regions={}, energy=energy), 64)
    sunday = (shown.weekday == 6) & (plain.weekday != 6)
    assert sunday.mean() > 0.5
    off = shown.traces[0].non_working[shown.start_minute // MIN_PER_DAY]
    np.testing.assert_array_equal(off, shown.weekday[:, 0] >= 5)
    np.testing.assert_array_equal(shown.local.weekday[:, 0], shown.weekday[:, 0])
    np.testing.assert_array_equal(shown.price_usd_per_kwh, plain.price_usd_per_kwh)
    np.testing.assert_array_equal(shown.ambient_c, plain.ambient_c)
    with pytest.raises(ValueError, match=r"shocks\.holidays='02-30': expected a date MM-DD"):
        check_outside(card(shocks=ShocksConfig(holidays=["02-30"])))


def test_bad_regions_and_idle_price_shocks_fail_early() -> None:
    check_outside(card(shocks=DAILY))
    spike = ShocksConfig(price_spike=ShockConfig(on_day=0))
    expected = r"energy\.tariff='california_ev_tou': .*day_ahead in some.*shocks\.price_spike is on"
    with pytest.raises(ValueError, match=expected):
        check_outside(card(regions={}, shocks=spike))
    bad = (("time_zone", "Mars/Base"), ("grid", "MARS"), ("tariff", "free"))
    for name, value in bad:
        regions = {**WORLD, "mars": RegionConfig(**{name: value})}
        with pytest.raises(ValueError, match=value):
            check_outside(card(regions=regions))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("days", [1, 7])
def test_files_of_all_regions_are_replayed(data_dir: Path, split: str, days: int) -> None:
    """Every date of the split's year, day-ahead everywhere: hour by hour what the files say."""
    folder = str(data_dir / "energy")
    regions = {name: replace(region, tariff="day_ahead") for name, region in WORLD.items()}
    energy = EnergyConfig(files=folder)
    config = card(days=days, step_min=60, regions=regions, energy=energy)
    check_outside(config)
    key = draws.scenario_key(split, np.arange(400))
    world = draw_exogenous(config, split, key, load_traces(config))
    grids = ("US-CAL-CISO", "US-TEX-ERCO", "DE-LU", "AU-NSW")
    for number, (grid, adder) in enumerate(zip(grids, (0.12, 0.0, 0.12, 0.12), strict=True)):
        files = load_energy(folder, grid)
        first = world.utc_start_min // 60 - files.start_utc_h
        hours = first[:, None] + np.arange(24 * (days + 1))
        np.testing.assert_array_equal(world.ambient_c[number::4], files.temp_c[hours])
        np.testing.assert_array_equal(
            world.carbon_g_per_kwh[number::4], files.carbon_g_per_kwh[hours]
        )
        price = files.price_usd_per_kwh[hours] + np.float32(adder)
        np.testing.assert_array_equal(world.price_usd_per_kwh[number::4], price)
    year = {"train": 2022, "test": 2023}[split]
    dates = world.utc_start_min.astype("datetime64[m]").astype("datetime64[Y]")
    assert set(dates.astype(int) + 1970) == {year}

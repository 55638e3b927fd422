"""Shocks: how often, when by the local clock, how long, how hard, whom they hit, what they do."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date

import numpy as np
import pytest

from fleet_env import draws
from fleet_env.config import EnvConfig
from fleet_env.config_world import RegionConfig, ShockConfig, ShocksConfig
from fleet_env.generators.clock import (
    MIN_PER_DAY,
    Zone,
    load_zone,
    scenario_days,
    start_utc_min,
)
from fleet_env.generators.shocks import (
    FLASH,
    HEATWAVE,
    ISP,
    KINDS,
    NEIGHBOURHOODS_PER_NODE,
    ON_AMBIENT,
    ShockEvents,
    add_shocks,
    crowd,
    draw_shocks,
    join_shocks,
)
from fleet_env.types import FloatArray, IntArray

ZONE = "America/Los_Angeles"
NUM_NODES = 4  # of the fleet of 2,000 cars below: 400 neighbourhoods


def zone_of(year: int = 2022) -> Zone:
    return load_zone(ZONE, year)


def card(days: int = 1, num_cars: int = 2000, **kinds: ShockConfig) -> EnvConfig:
    return EnvConfig(days=days, num_cars=num_cars, shocks=ShocksConfig(**kinds))


def starts(rows: IntArray, days: int = 1) -> IntArray:
    """UTC minutes at which the scenarios `rows` of the training split start, at noon."""
    start_day = scenario_days("train", draws.scenario_key("train", rows), days)
    return start_utc_min(zone_of(), start_day, 12.0)


def draw(config: EnvConfig, rows: IntArray) -> ShockEvents:
    key = draws.scenario_key("train", rows)
    return draw_shocks(config, key, zone_of(), starts(rows, config.days), 0)


def start_days(rows: IntArray, days: int = 1) -> IntArray:
    return scenario_days("train", draws.scenario_key("train", rows), days)


def pick(events: ShockEvents, at: IntArray) -> ShockEvents:
    return ShockEvents(*(getattr(events, field.name)[at] for field in fields(events)))


def same(a: ShockEvents, b: ShockEvents) -> None:
    for field in fields(a):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), field.name)


def test_kinds_are_the_settings() -> None:
    named = {field.name for field in fields(ShocksConfig)} - {"holidays"}
    assert set(KINDS) == named
    assert len(draw(EnvConfig(), np.arange(9))) == 0
    assert len(join_shocks([draw(EnvConfig(), np.arange(9))] * 3)) == 0


@pytest.mark.parametrize("per_year", [3.0, 90.0, 300.0])
def test_as_many_events_begin_as_the_rate_says(per_year: float) -> None:
    rows = np.arange(20_000)
    events = draw(card(storm=ShockConfig(per_year=per_year)), rows)
    chance = per_year / 365.25
    for day in (-4, 0, 2):
        found = (events.day == day).sum()
        sd = np.sqrt(len(rows) * chance * (1 - chance))
        assert abs(found - len(rows) * chance) < 4 * sd
    pairs = np.stack([np.isin(rows, events.area[events.day == day]) for day in (0, 1, 2)])
    if per_year > 50:
        assert np.abs(np.corrcoef(pairs) - np.eye(3)).max() < 0.03


def test_a_calendar_counts_days_since_1970() -> None:
    rows = np.arange(300)
    events = draw(card(days=7, ota=ShockConfig(every_days=6)), rows)
    days = start_days(rows, 7)
    assert ((days[events.area] + events.day) % 6 == 0).all()
    for row in rows[:20]:
        want = [day for day in range(-4, 10) if (days[row] + day) % 6 == 0]
        assert sorted(events.day[events.area == row]) == want


def test_a_set_day_of_the_episode() -> None:
    events = draw(card(days=3, flash=ShockConfig(on_day=2)), np.arange(50))
    np.testing.assert_array_equal(np.sort(events.area), np.arange(50))
    assert (events.day == 2).all()
    assert (events.kind == FLASH).all()
    assert (events.node == -1).all()


def test_length_severity_and_start_fill_their_ranges() -> None:
    setting = ShockConfig(on_day=0, from_h=16.0, to_h=18.0, mean_h=3.0, severity=0.5, extent=0.4)
    events = draw(card(price_spike=setting), np.arange(5000))
    length_h = events.end_h - events.start_h
    for values, low, high in (
        (events.start_h, 4.0, 6.0),  # the episode starts at noon
        (length_h, 1.5, 4.5),
        (events.severity, 0.375, 0.625),
    ):
        plain = np.median(values) if values is not events.start_h else 5.0
        assert abs(plain - (low + high) / 2) < 0.05 * (high - low)
        # but for the days on which the clock changes at 2:00, before noon
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
    assert (events.extent == 0.4).all()
    drawn = np.stack([events.start_h, length_h, events.severity])
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.06


def test_starts_are_right_in_local_time_over_a_clock_change() -> None:
    """By hand, episodes from noon of the days before: noon of day 1 is 23 and 25 h later."""
    zone = load_zone(ZONE, 2023)
    texts = ("2023-03-11", "2023-11-04", "2023-07-01")
    days = np.array([(date.fromisoformat(text) - date(1970, 1, 1)).days for text in texts])
    key = draws.scenario_key("test", np.arange(3))
    utc_min = start_utc_min(zone, days, 12.0)
    for hour, on_day, want in (
        (12.0, 1, [23, 25, 24]),
        (6.5, 1, [17.5, 19.5, 18.5]),
        (20.0, 0, [8, 8, 8]),
        (24.0, 1, [35, 37, 36]),
        (1.5, 1, [13.5, 13.5, 13.5]),  # the first of the two 1:30
        (2.5, 1, [14.5, 15.5, 14.5]),  # 2:30 is skipped in spring: read as before the change
    ):
        setting = ShockConfig(on_day=on_day, from_h=hour, to_h=hour)
        events = draw_shocks(card(storm=setting), key, zone, utc_min, 0)
        np.testing.assert_allclose(events.start_h[np.argsort(events.area)], want, rtol=1e-12)


@pytest.mark.parametrize("name", [ZONE, "Australia/Lord_Howe", "Asia/Kolkata"])
def test_starts_lie_in_the_hours_of_the_local_day_they_are_of(name: str) -> None:
    zone, rows = load_zone(name, 2022), np.arange(400)
    key = draws.scenario_key("train", rows)
    utc_min = start_utc_min(zone, start_days(rows), 7.5)
    setting = ShockConfig(per_year=3650.0, from_h=9.0, to_h=11.5)
    events = draw_shocks(card(storm=setting), key, zone, utc_min, 0)
    at = utc_min[events.area] + np.floor(events.start_h * 60).astype(int)
    day, minute = np.divmod(at + zone.offset(at), MIN_PER_DAY)
    np.testing.assert_array_equal(day - start_days(rows)[events.area], events.day)
    assert (minute.min() >= 9 * 60 - 1) & (minute.max() <= 11.5 * 60)


def test_events_depend_on_nothing_but_their_scenario() -> None:
    kinds = {name: ShockConfig(per_year=200.0, extent=0.5) for name in KINDS}
    whole = draw(card(**kinds), np.arange(40))
    rows = np.array([7, 3, 30])
    part = draw(card(**kinds), rows)
    for place, row in enumerate(rows):
        ours, its = (pick(e, np.flatnonzero(e.area == r)) for e, r in ((part, place), (whole, row)))
        same(replace(ours, area=its.area), its)
        near = np.arange(0, NUM_NODES * NEIGHBOURHOODS_PER_NODE, 7)
        for i in (0, len(its) - 1):
            np.testing.assert_array_equal(ours.hit(i, near), its.hit(i, near))
            np.testing.assert_array_equal(its.hit(i, near)[5:6], its.hit(i, near[5:6]))
    # nor does a kind depend on the others, or on how far one looks ahead
    alone = draw(card(heatwave=kinds["heatwave"]), np.arange(40))
    same(alone, pick(whole, whole.of_kind(HEATWAVE)))
    key, utc_min = draws.scenario_key("train", np.arange(40)), starts(np.arange(40))
    week = draw_shocks(card(days=7, **kinds), key, zone_of(), utc_min, 0)
    same(pick(week, np.flatnonzero(week.day <= 3)), whole)


def test_events_are_sorted() -> None:
    events = draw(card(**{name: ShockConfig(per_year=300.0) for name in KINDS}), np.arange(30))
    order = list(zip(events.start_h, events.area, events.kind, events.node, strict=True))
    assert order == sorted(order)
    assert set(events.kind) == set(range(len(KINDS)))


def test_the_extent_is_the_share_of_neighbourhoods_hit() -> None:
    near = np.arange(400)
    for extent in (0.0, 0.35, 1.0):
        events = draw(card(storm=ShockConfig(on_day=0, extent=extent)), np.arange(200))
        hits = np.stack([events.hit(i, near) for i in range(len(events))])
        assert abs(hits.mean() - extent) <= 4 * np.sqrt(extent * (1 - extent) / hits.size)
        if 0 < extent < 1:
            assert np.abs(hits.mean(axis=1) - extent).max() < 0.12  # sd 0.024
            assert abs(np.corrcoef(hits[:-1].ravel(), hits[1:].ravel())[0, 1]) < 0.02


def test_two_days_and_kinds_hit_other_neighbourhoods() -> None:
    setting = ShockConfig(every_days=1, extent=0.5)
    events = draw(card(storm=setting, ota=setting), np.arange(1))
    hits = np.stack([events.hit(i, np.arange(4000)) for i in range(len(events))])
    assert len(hits) == 16  # days -4 .. 3 of two kinds
    assert np.abs(np.corrcoef(hits) - np.eye(len(hits))).max() < 0.08


def test_isp_outages_strike_nodes_apart_from_each_other() -> None:
    rows = np.arange(3000)
    events = draw(card(isp=ShockConfig(per_year=120.0)), rows)
    chance = 120 / 365.25
    today = pick(events, np.flatnonzero(events.day == 0))
    struck = np.zeros((len(rows), NUM_NODES))
    struck[today.area, today.node] = 1.0
    np.testing.assert_allclose(struck.mean(axis=0), chance, atol=4 * np.sqrt(chance / len(rows)))
    assert np.abs(np.corrcoef(struck.T) - np.eye(NUM_NODES)).max() < 0.08
    near = np.arange(NUM_NODES * NEIGHBOURHOODS_PER_NODE)
    for i in range(20):
        np.testing.assert_array_equal(events.hit(i, near), near // 100 == events.node[i])


def test_nodes_of_a_region_are_those_of_its_neighbourhoods() -> None:
    """450 neighbourhoods, shares 0.5 and 0.5: 0 .. 224 and 225 .. 449; node 2 serves both."""
    config = card(num_cars=2250, isp=ShockConfig(on_day=0))
    config = replace(config, regions={"a": RegionConfig(), "b": RegionConfig(share=1.0)})
    rows = np.arange(5)
    key, utc_min = draws.scenario_key("train", rows), starts(rows)
    parts = [
        draw_shocks(config, draws.part_key(key, number), zone_of(), utc_min, number)
        for number in (0, 1)
    ]
    assert [set(part.node) for part in parts] == [{0, 1, 2}, {2, 3, 4}]
    events = join_shocks(parts)
    assert set(events.area) == set(range(10))
    assert len(events) == 30
    first = events.area % 2 == 0
    np.testing.assert_array_equal(events.node[first] <= 2, True)
    assert not np.isin(events.start_h[~first], events.start_h[first]).any()  # their own draws


@pytest.mark.parametrize("mean_h", [2.0, 72.0, 240.0])
def test_as_much_is_under_way_at_the_start_as_later(mean_h: float) -> None:
    """Events that began days before are there: rate times mean length at any time (Little)."""
    rows = np.arange(20_000)
    events = draw(card(days=3, heatwave=ShockConfig(per_year=20.0, mean_h=mean_h)), rows)
    want = (20 / 365.25) * mean_h / 24 * len(rows)
    for t_h in (-14.0, 0.0, 48.0):
        now = (events.start_h <= t_h) & (events.end_h > t_h)
        assert abs(now.sum() - want) < 4 * np.sqrt(want)


def one(kind: int, start_h: float, end_h: float, severity: float) -> ShockEvents:
    whole = np.array([[kind], [1], [-1], [0]])
    real = np.array([[start_h], [end_h], [severity], [1.0]])
    return ShockEvents(*whole, *real, np.zeros(1, np.uint64))


def test_a_spell_comes_and_goes_over_six_hours() -> None:
    """By hand: 24 h at +8 K from hour 2, then a cold snap of 6 h, which never grows to its full."""
    t_h = np.arange(30.0)
    ambient = np.full((2, 30), 20.0, np.float32)
    add_shocks(ambient, one(HEATWAVE, 2.0, 26.0, 8.0), ON_AMBIENT, t_h, 6.0)
    rise = 8.0 * np.arange(7) / 6
    want = np.concatenate([np.zeros(2), rise, np.full(11, 8.0), rise[::-1], np.zeros(3)])
    np.testing.assert_allclose(ambient[1] - 20.0, want, atol=1e-5)
    np.testing.assert_array_equal(ambient[0], 20.0)
    cold = np.zeros((2, 30), np.float32)
    add_shocks(cold, one(HEATWAVE + 1, 2.0, 8.0, 12.0), ON_AMBIENT, t_h, 6.0)
    np.testing.assert_allclose(cold[1, 2:9], [0, -2, -4, -6, -4, -2, 0], atol=1e-6)


def test_spells_of_one_area_add_up() -> None:
    kinds = {"heatwave": ShockConfig(every_days=1, mean_h=72.0, severity=8.0)}
    events = draw(card(**kinds), np.arange(3))
    t_h = np.arange(48.0)
    ambient = np.zeros((3, 48))
    add_shocks(ambient, events, ON_AMBIENT, t_h, 6.0)
    want = np.zeros((3, 48))
    for i in range(len(events)):
        for k, t in enumerate(t_h):
            share = min((t - events.start_h[i]) / 6, (events.end_h[i] - t) / 6, 1.0)
            want[events.area[i], k] += events.severity[i] * max(share, 0.0)
    np.testing.assert_allclose(ambient, want, atol=1e-9)
    assert want.max() > 15


def flash_factor(start_h: float, end_h: float, severity: float) -> FloatArray:
    rates = np.ones((2, 2, 10), np.float32)
    crowd(rates, one(FLASH, start_h, end_h, severity), 60)  # minutes 60 .. 69
    np.testing.assert_array_equal(rates[:, 0], 1.0)
    np.testing.assert_array_equal(rates[0], rates[1])
    return rates[0, 1]


def test_a_crowd_multiplies_the_minutes_it_lasts() -> None:
    np.testing.assert_allclose(flash_factor(1.05, 1.10, 2.0), [1, 1, 1, 3, 3, 3, 1, 1, 1, 1])
    half = flash_factor(62.5 / 60, 2.0, 2.0)
    np.testing.assert_allclose(half, [1, 1, 2, 3, 3, 3, 3, 3, 3, 3], rtol=1e-6)
    np.testing.assert_array_equal(flash_factor(0.2, 1.0, 2.0), 1.0)
    np.testing.assert_array_equal(flash_factor(70 / 60, 3.0, 2.0), 1.0)
    np.testing.assert_array_equal(flash_factor(0.0, 9.0, -3.0), 0.0)  # never fewer than none


def test_crowds_of_one_area_multiply() -> None:
    events = draw(card(flash=ShockConfig(every_days=1, mean_h=200.0)), np.arange(2))
    rates = np.ones((2, 2, 15), np.float32)
    crowd(rates, events, 0)
    now = (events.start_h < 0) & (events.end_h > 0.25)
    for row in (0, 1):
        want = np.prod(1 + events.severity[now & (events.area == row)])
        np.testing.assert_allclose(rates[:, row], want, rtol=1e-5)
        assert (now & (events.area == row)).sum() > 3


def test_node_kinds_are_the_isps_alone() -> None:
    events = draw(card(**{name: ShockConfig(on_day=0) for name in KINDS}), np.arange(2))
    assert ((events.node >= 0) == (events.kind == ISP)).all()

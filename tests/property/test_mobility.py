"""The tape: blind to compute, bounded, ordered, stationary, and the same in every batch."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_env import draws
from fleet_env.config import EnvConfig, FleetConfig
from fleet_env.config_world import RegionConfig, TelemetryConfig
from fleet_env.dynamics import mobility
from fleet_env.dynamics.localtime import LocalTime
from fleet_env.generators import cars, start
from fleet_env.regions import num_regions, region_of_cars
from fleet_env.types import DRIVING, EVSE_NONE, HOME, LFP, WORK, FleetParams, FleetState
from tests.contract.plays import TAPE

COMPUTE = tuple(f.name for f in fields(FleetState) if f.name not in TAPE)


class World:
    """Rows of cars that can be played to a time; each region is nine and a half hours ahead."""

    def __init__(
        self, scenarios: np.ndarray, num_cars: int, fleet: FleetConfig, **sections: Any
    ) -> None:
        self.config = EnvConfig(num_cars=num_cars, fleet=fleet, **sections)
        key = draws.scenario_key("test", scenarios)
        regions = num_regions(self.config)
        start_h = self.config.start_hour + 9.5 * np.arange(regions)
        weekday = (scenarios[:, None] + (start_h // 24.0).astype(int)) % 7
        self.local = LocalTime.plain(np.tile(start_h % 24.0, len(scenarios)), weekday.ravel())
        region = region_of_cars(self.config)
        self.area = (np.arange(len(scenarios))[:, None] * regions + region).ravel()
        self.params: FleetParams = cars.draw_params(self.config, key, ["ai5"])
        self.state: FleetState = start.start_state(
            self.config,
            key,
            self.params,
            self.local,
            resident_gb=np.array([44.5]),
        )
        self.keys = draws.car_keys(key, draws.Stream.ARRIVAL, num_cars)
        self.tables = mobility.tables(fleet, self.config.telemetry)

    def play(self, until_h: float) -> None:
        start.play(
            self.state,
            self.params,
            self.tables,
            self.keys,
            until_h,
            area=self.area,
            local=self.local,
        )

    def switch_power(self, t_h: float, dark_home: np.ndarray) -> None:
        """Take the power from the homes of cars or give it back, (num_envs * num_cars,) bool."""
        state = self.state
        dark = dark_home & (state.place == HOME)
        idx = np.flatnonzero(dark != state.dark)
        before = mobility.twin_soc(state, self.params, self.tables, t_h)
        state.twin_ref[idx], state.ref_h[idx], state.dark[idx] = before[idx], t_h, dark[idx]
        after = mobility.twin_soc(state, self.params, self.tables, t_h)
        np.testing.assert_array_equal(after, before)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3]), st.booleans())
@settings(max_examples=15)
def test_tape_ignores_what_compute_changes(seed: int, unplugged: float, paid: bool) -> None:
    fleet = FleetConfig(unplugged_share=unplugged, paid_habits=paid)
    lying = TelemetryConfig(silent_share=0.1, stuck_share=0.1)
    plain, worked = (World(np.array([seed]), 200, fleet, telemetry=lying) for _ in range(2))
    rng = np.random.default_rng(seed)
    power = rng.random((48, 200)) < 0.3  # a home in three is dark, others every half hour
    for step in range(1, 49):
        for name in COMPUTE:
            field = getattr(worked.state, name)
            field[:] = (rng.random(len(field)) * 2.0).astype(field.dtype)
        for world in (plain, worked):
            world.play(step * 0.5)
            world.switch_power(step * 0.5, power[step - 1])
    assert plain.state.dark.any()
    assert plain.state.fault.any()
    for name in TAPE:
        np.testing.assert_array_equal(
            getattr(plain.state, name), getattr(worked.state, name), err_msg=name
        )


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_soc_stays_in_bounds_and_time_moves_forward(seed: int) -> None:
    world = World(np.array([seed]), 300, FleetConfig())
    state, rng = world.state, np.random.default_rng(seed)
    for step in range(1, 97):
        t_h = step * 0.5
        before, number = state.event_h.copy(), state.event_no.copy()
        world.play(t_h)
        assert np.all(state.event_h >= t_h)
        assert np.all(state.event_h >= before)
        assert np.all(state.event_no >= number)
        parked = state.place != DRIVING
        assert np.all(state.parked_h[parked] <= t_h)
        assert np.all(state.stated_h[parked] >= state.parked_h[parked] - 1e-3)
        world.switch_power(t_h, rng.random(300) < 0.3)
        soc = mobility.twin_soc(state, world.params, world.tables, t_h)
        assert np.all((soc >= 0.0) & (soc <= 1.0))
        assert not np.any(state.plugged[~parked])
        assert np.all(state.place[state.dark] == HOME)


def test_dark_homes_stop_their_cars_charging_and_no_others() -> None:
    lit, dark = (World(np.arange(3), 500, FleetConfig()) for _ in range(2))
    until_h = np.minimum(lit.state.event_h, np.float32(6.0))
    dark.switch_power(0.0, np.arange(1500) % 2 == 0)
    soc = [mobility.twin_soc(w.state, w.params, w.tables, until_h) for w in (lit, dark)]
    cut = dark.state.dark & lit.state.plugged
    assert cut.sum() > 100
    drained = lit.config.fleet.standby_w / 1000.0 * until_h / lit.params.pack_kwh
    before = mobility.twin_soc(lit.state, lit.params, lit.tables, 0.0)
    np.testing.assert_allclose(soc[1], np.where(cut, before - drained, soc[0]), atol=1e-6)
    assert np.all(soc[1][cut] <= soc[0][cut])


@pytest.mark.parametrize("regions", [0, 3])
def test_batches_of_1_7_and_64_give_equal_bits(regions: int) -> None:
    played = {}
    for num in (1, 7, 64):
        named = {f"region {number}": RegionConfig() for number in range(regions)}
        world = World(np.arange(num), 50, FleetConfig(), regions=named)
        for step in range(1, 97):
            world.play(step * 0.25)
        played[num] = world.state
    for name in (field.name for field in fields(FleetState)):
        rows = {num: getattr(state, name).reshape(num, 50) for num, state in played.items()}
        np.testing.assert_array_equal(rows[1][0], rows[7][0], err_msg=name)
        np.testing.assert_array_equal(rows[7], rows[64][:7], err_msg=name)


def test_step_size_does_not_change_the_tape() -> None:
    coarse, fine = (World(np.arange(3), 200, FleetConfig()) for _ in range(2))
    coarse.play(24.0)
    for step in range(1, 289):
        fine.play(step / 12.0)
    for name in TAPE:
        np.testing.assert_array_equal(
            getattr(coarse.state, name), getattr(fine.state, name), err_msg=name
        )


def test_departures_lead_only_to_arrivals() -> None:
    world = World(np.arange(2), 100, FleetConfig())
    leaving = np.flatnonzero(world.state.place != DRIVING)
    next_place = world.state.next_place.copy()
    mobility.depart(world.state, world.params, world.tables, leaving)
    assert np.all(world.state.place == DRIVING)
    np.testing.assert_array_equal(world.state.next_place, next_place)


@pytest.fixture(scope="module")
def week() -> dict[str, np.ndarray]:
    """Daily means of a week; every weekday is a first day in one seventh of the rows."""
    world = World(np.arange(14), 2000, FleetConfig())
    charger = world.params.home_evse != EVSE_NONE
    groups = {
        "soc": charger | True,
        "soc of LFP": charger & (world.params.chemistry == LFP),
        "soc at limit 0.80": charger & (world.params.charge_limit == np.float32(0.80)),
        "soc at limit 0.90": charger & (world.params.charge_limit == np.float32(0.90)),
        "soc without charger": ~charger,
    }
    hours: dict[str, list[float]] = {name: [] for name in ("plugged", "home", "driving", *groups)}
    for hour in range(7 * 24):
        world.play(float(hour))
        state = world.state
        soc = mobility.twin_soc(state, world.params, world.tables, float(hour))
        hours["plugged"].append(state.plugged.mean())
        for name, group in groups.items():
            hours[name].append(soc[group].mean(dtype=float))
        hours["home"].append((state.place == HOME).mean())
        hours["driving"].append((state.place == DRIVING).mean())
    return {name: np.array(mean).reshape(7, 24).mean(axis=1) for name, mean in hours.items()}


@pytest.mark.parametrize(
    ("name", "tolerance"),
    # about four standard errors of a daily mean of 28,000 cars
    [
        ("plugged", 0.008),
        ("home", 0.008),
        ("driving", 0.002),
        ("soc", 0.006),
        ("soc of LFP", 0.008),
        ("soc at limit 0.80", 0.008),
        ("soc at limit 0.90", 0.012),
        ("soc without charger", 0.012),
    ],
)
def test_daily_means_do_not_drift(week: dict[str, np.ndarray], name: str, tolerance: float) -> None:
    assert abs(week[name][6] - week[name][0]) <= tolerance, week[name]


def test_plugged_and_linked_share_matches_a_played_week() -> None:
    world = World(np.arange(7), 3000, FleetConfig())
    params, share = world.params, []
    for hour in range(7 * 24):
        world.play(float(hour))
        at_home = world.state.place == HOME
        linked = np.where(at_home, params.home_link, params.work_link) > 0
        share.append((world.state.plugged & linked).mean())
    assert start.mean_plugged_linked(world.config) == pytest.approx(np.mean(share), abs=0.006)


def test_missing_weights_come_in_their_share() -> None:
    world = World(np.arange(4), 5000, FleetConfig(weights_missing_share=0.1))
    weights = world.state.weights_gb
    assert set(np.unique(weights)) == {np.float32(0.0), np.float32(44.5)}
    assert (weights > 0).mean() == pytest.approx(0.1, abs=4 * (0.09 / 20_000) ** 0.5)


def test_start_knows_the_weekday() -> None:
    """At noon few are at work on a weekend; every row starts at 12 h on its own weekday."""
    world = World(np.arange(7), 3000, FleetConfig())
    at_work = (world.state.place == WORK).reshape(7, 3000).mean(axis=1)
    assert at_work[:5].min() > 2.0 * at_work[5:].max(), at_work


def test_start_is_at_rest() -> None:
    state = World(np.arange(2), 500, FleetConfig()).state
    tape = ("dark", "fault")
    for name in set(COMPUTE) - {"anchor", "weights_gb"} | {*tape}:
        assert not getattr(state, name).any(), name
    np.testing.assert_array_equal(state.anchor, state.twin_ref)
    assert np.all(state.event_h >= 0.0)
    assert np.all(state.ref_h <= 0.0)

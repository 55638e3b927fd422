"""The tape: blind to compute, bounded, ordered, stationary, and the same in every batch."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_env import draws
from fleet_env.config import EnvConfig, FleetConfig
from fleet_env.dynamics import mobility
from fleet_env.generators import cars, start
from fleet_env.types import DRIVING, EVSE_NONE, HOME, LFP, WORK, FleetParams, FleetState
from tests.contract.plays import TAPE

COMPUTE = tuple(f.name for f in fields(FleetState) if f.name not in TAPE)


class World:
    """Rows of cars that can be played to a time."""

    def __init__(self, scenarios: np.ndarray, num_cars: int, fleet: FleetConfig) -> None:
        self.config = EnvConfig(num_cars=num_cars, fleet=fleet)
        key = draws.scenario_key("test", scenarios)
        self.weekday = scenarios % 7
        self.params: FleetParams = cars.draw_params(self.config, key, ["ai5"])
        self.state: FleetState = start.start_state(
            self.config,
            key,
            self.params,
            self.weekday,
            resident_gb=np.array([44.5]),
        )
        self.keys = draws.car_keys(key, draws.Stream.ARRIVAL, num_cars)
        self.tables = mobility.tables(fleet)

    def play(self, until_h: float) -> None:
        start.play(
            self.state,
            self.params,
            self.tables,
            self.keys,
            until_h,
            clock_h_row=np.full(len(self.weekday), self.config.start_hour),
            weekday_row=self.weekday,
            num_cars=self.config.num_cars,
        )


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3]), st.booleans())
@settings(max_examples=15)
def test_tape_ignores_what_compute_changes(seed: int, unplugged: float, paid: bool) -> None:
    fleet = FleetConfig(unplugged_share=unplugged, paid_habits=paid)
    plain, worked = (World(np.array([seed]), 200, fleet) for _ in range(2))
    rng = np.random.default_rng(seed)
    for step in range(1, 49):
        for name in COMPUTE:
            field = getattr(worked.state, name)
            field[:] = (rng.random(len(field)) * 2.0).astype(field.dtype)
        plain.play(step * 0.5)
        worked.play(step * 0.5)
    for name in TAPE:
        np.testing.assert_array_equal(
            getattr(plain.state, name), getattr(worked.state, name), err_msg=name
        )


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_soc_stays_in_bounds_and_time_moves_forward(seed: int) -> None:
    world = World(np.array([seed]), 300, FleetConfig())
    state = world.state
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
        soc = mobility.twin_soc(state, world.params, world.tables, t_h)
        assert np.all((soc >= 0.0) & (soc <= 1.0))
        assert not np.any(state.plugged[~parked])


def test_batches_of_1_7_and_64_give_equal_bits() -> None:
    played = {}
    for num in (1, 7, 64):
        world = World(np.arange(num), 50, FleetConfig())
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
    for name in ("gap", "excess_k", "ready_min", "tail_min", "duty", "falling", "resident"):
        assert not getattr(state, name).any(), name
    np.testing.assert_array_equal(state.anchor, state.twin_ref)
    assert np.all(state.event_h >= 0.0)
    assert np.all(state.ref_h <= 0.0)

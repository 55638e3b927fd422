"""Twin, departure and arrival against answers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fleet_env.config import FleetConfig
from fleet_env.dynamics import habits, mobility
from fleet_env.generators import cars, start
from fleet_env.types import (
    DRIVING,
    EVSE_L2_7,
    EVSE_NONE,
    HOME,
    LINK_WIFI,
    OTHER,
    WORK,
    FleetParams,
    FleetState,
)

NUM = 6
PACK_KWH = 57.5
TABLES = mobility.tables(FleetConfig())
KEYS = np.arange(1, NUM + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
ALL = np.arange(NUM)


def make_params(**change: object) -> FleetParams:
    """Identical LFP cars with a 7.7 kW charger and Wi-Fi at home and at work."""
    u = np.full((cars.NUM_DRAWS, NUM), 0.5, np.float32)
    u[cars.U_CLASS] = 0.0
    params = cars.params_from_uniforms(FleetConfig(), u, ["ai5"])
    alike = {
        "home_evse": EVSE_L2_7,
        "work_evse": EVSE_L2_7,
        "home_link": LINK_WIFI,
        "work_link": LINK_WIFI,
        "drive": 1.0,
        "charge_limit": 0.9,
    }
    for name, value in {**alike, **change}.items():
        getattr(params, name)[:] = value
    return params


def make_state(params: FleetParams, **change: object) -> FleetState:
    state = start.parked_at_home(params, soc=0.5)
    for name, value in change.items():
        getattr(state, name)[:] = value
    return state


def scripted_tables(**change: object) -> mobility.MobilityTables:
    """Stays of 2 h, next place work, trips of 20 km and 0.5 h, stated 1 h before the departure."""
    fixed = {
        "dwell_h": np.full_like(TABLES.dwell_h, 2.0),
        "destination": np.full_like(TABLES.destination, WORK),
        "plug_factor": np.zeros_like(TABLES.plug_factor),
        "habit": np.ones_like(TABLES.habit),
        "trip_km": np.full_like(TABLES.trip_km, 20.0),
        "trip_h": np.full_like(TABLES.trip_h, 0.5),
        "stated_share": np.ones_like(TABLES.stated_share),
        "stated_error_h": np.ones_like(TABLES.stated_error_h),
        "snooze_per_h": 0.0,
    }
    return replace(TABLES, **{**fixed, **change})


def arrive(
    state: FleetState, params: FleetParams, tables: mobility.MobilityTables, idx: np.ndarray = ALL
) -> None:
    mobility.arrive(
        state,
        params,
        tables,
        KEYS,
        idx,
        clock_h_row=np.array([12.0]),
        weekday_row=np.array([0]),
        num_cars=NUM,
    )


class TestTwin:
    def test_plugged_charges_at_full_power_up_to_the_limit(self) -> None:
        params = make_params()
        state = make_state(params, place=HOME, plugged=True)
        per_h = 7.7 * 0.92 / PACK_KWH
        t_h = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 40.0], np.float32)
        expected = np.minimum(0.5 + per_h * t_h, 0.9)
        np.testing.assert_allclose(
            mobility.twin_soc(state, params, TABLES, t_h, ALL), expected, rtol=1e-6
        )

    def test_soc_above_the_limit_stays_there(self) -> None:
        params = make_params(charge_limit=0.8)
        state = make_state(params, place=WORK, plugged=True, twin_ref=0.85)
        np.testing.assert_allclose(mobility.twin_soc(state, params, TABLES, 5.0), 0.85, rtol=1e-6)

    def test_unplugged_drains_standby_and_stops_at_zero(self) -> None:
        params = make_params()
        state = make_state(params, place=OTHER, ref_h=-4.0)
        expected = 0.5 - 0.010 * 24.0 / PACK_KWH
        np.testing.assert_allclose(
            mobility.twin_soc(state, params, TABLES, 20.0), expected, rtol=1e-6
        )
        state.twin_ref[:] = 0.001
        assert np.all(mobility.twin_soc(state, params, TABLES, 200.0) == 0.0)

    def test_driving_keeps_the_soc_of_the_departure(self) -> None:
        params = make_params()
        state = make_state(params, place=DRIVING)
        assert np.all(mobility.twin_soc(state, params, TABLES, 3.0) == np.float32(0.5))

    def test_all_cars_and_a_list_agree_bit_for_bit(self) -> None:
        params = make_params()
        state = make_state(params, place=HOME, plugged=np.arange(NUM) % 2 == 0)
        whole = mobility.twin_soc(state, params, TABLES, 1.3)
        some = np.array([4, 1])
        out = np.empty(2, np.float32)
        assert mobility.twin_soc(state, params, TABLES, 1.3, some, out=out) is out
        np.testing.assert_array_equal(out, whole[some])


class TestDepart:
    def test_a_trip_within_range_takes_its_energy(self) -> None:
        params = make_params()
        state = make_state(params, place=HOME, event_h=2.0, trip_kwh=11.5, trip_h=0.75)
        twin, public_kwh = mobility.depart(state, params, TABLES, ALL)
        before = 0.5 - 0.010 * 2.0 / PACK_KWH
        np.testing.assert_allclose(twin, before, rtol=1e-6)
        np.testing.assert_allclose(state.twin_ref, before - 0.2, rtol=1e-5)
        np.testing.assert_allclose(state.event_h, 2.75)
        assert np.all(public_kwh == 0.0)
        assert np.all(state.place == DRIVING)
        assert not state.plugged.any()
        assert np.all(state.ref_h == 2.0)

    def test_a_trip_out_of_range_charges_publicly_to_sixty_percent(self) -> None:
        params = make_params()
        state = make_state(params, place=DRIVING, twin_ref=0.10, trip_kwh=11.5)
        after, public_kwh = mobility.spend_trip(state.twin_ref, state.trip_kwh, params.pack_kwh)
        np.testing.assert_allclose(public_kwh, 0.5 * PACK_KWH / 0.92, rtol=1e-6)
        np.testing.assert_allclose(after, 0.4, rtol=1e-6)

    def test_ending_just_above_five_percent_needs_no_public_charging(self) -> None:
        soc = np.array([0.2501, 0.2499], np.float32)
        trip, pack = np.full(2, 11.5, np.float32), np.full(2, PACK_KWH, np.float32)
        after, public_kwh = mobility.spend_trip(soc, trip, pack)
        assert (public_kwh > 0).tolist() == [False, True]
        np.testing.assert_allclose(after, [0.0501, 0.4], rtol=1e-4)


class TestArrive:
    def test_scripted_arrival_sets_the_whole_stay(self) -> None:
        params = make_params()
        tables = scripted_tables(plug_factor=np.full_like(TABLES.plug_factor, 9.0))
        state = make_state(params, event_h=5.25, next_place=HOME)
        arrive(state, params, tables)
        assert np.all(state.place == HOME)
        assert state.plugged.all()
        assert np.all(state.parked_h == 5.25)
        assert np.all(state.ref_h == 5.25)
        assert np.all(state.event_h == 7.25)
        assert np.all(state.stated_h == 6.25)  # the owner leaves an hour after the stated time
        assert np.all(np.isinf(state.snooze_h))
        assert np.all(state.next_place == WORK)
        np.testing.assert_allclose(state.trip_kwh, 20.0 * 0.175, rtol=1e-6)
        np.testing.assert_allclose(state.trip_h, 0.5)
        assert np.all(state.event_no == 1)
        assert np.all(state.twin_ref == np.float32(0.5))

    def test_only_the_cars_asked_for_change(self) -> None:
        params = make_params()
        state = make_state(params, event_h=1.0)
        arrive(state, params, scripted_tables(), np.array([1, 3]))
        assert (state.place == HOME).nonzero()[0].tolist() == [1, 3]
        assert state.event_no.tolist() == [0, 1, 0, 1, 0, 0]

    def test_low_soc_plugs_in_by_need_whatever_the_habit(self) -> None:
        params = make_params()
        need = 2.0 * 48.0 * 0.175 / PACK_KWH
        state = make_state(params)
        state.twin_ref[:] = np.float32(need) + np.array([-0.01, 0.01] * 3, np.float32)
        arrive(state, params, scripted_tables())
        assert state.plugged.tolist() == [True, False] * 3

    @pytest.mark.parametrize(("place", "evse"), [(HOME, "home_evse"), (WORK, "work_evse")])
    def test_nobody_plugs_in_without_a_charger(self, place: int, evse: str) -> None:
        params = make_params(**{evse: EVSE_NONE})
        tables = scripted_tables(plug_factor=np.full_like(TABLES.plug_factor, 9.0))
        state = make_state(params, next_place=place, twin_ref=0.01)
        arrive(state, params, tables)
        assert not state.plugged.any()

    def test_nobody_plugs_in_elsewhere(self) -> None:
        params = make_params()
        state = make_state(params, next_place=OTHER, twin_ref=0.01)
        arrive(state, params, TABLES)
        assert not state.plugged.any()

    def test_long_trips_are_cut_to_what_public_charging_can_serve(self) -> None:
        params = make_params()
        tables = scripted_tables(trip_km=np.full_like(TABLES.trip_km, 900.0))
        state = make_state(params)
        arrive(state, params, tables)
        np.testing.assert_allclose(state.trip_kwh, 0.54 * PACK_KWH, rtol=1e-6)

    def test_stay_follows_day_and_hour_of_arrival(self) -> None:
        dwell_h = np.zeros((5, 96, habits.DWELL_ATOMS), np.float32)
        dwell_h[:, 1 * 24 + 18] = 3.0  # Friday, 18 h
        params = make_params()
        state = make_state(params)
        state.event_h[:2] = 4 * 24 + 6.5, 3 * 24 + 6.5  # a Monday noon start: Friday, Thursday
        arrive(state, params, scripted_tables(dwell_h=dwell_h.ravel()))
        stay_h = state.event_h - state.parked_h
        assert stay_h[:2].tolist() == [3.0, 0.0]


def test_stated_departures_never_precede_the_arrival() -> None:
    stay_h = np.linspace(0.1, 60.0, 4000).astype(np.float32)
    u = np.random.default_rng(0).random(4000, np.float32)
    error_h = mobility._stated_error(TABLES, stay_h, u)
    assert np.all(error_h <= stay_h)


def test_snoozes_come_at_the_rate_asked_for() -> None:
    tables = replace(TABLES, snooze_per_h=0.01)
    u = (np.arange(10_000) + 0.5).astype(np.float32) / 10_000
    when = mobility._snooze(tables, np.full_like(u, 3.0), np.full_like(u, 13.0), u)
    called = np.isfinite(when)
    assert called.mean() == pytest.approx(0.1, abs=1e-3)  # 10 h at 0.01 per h
    assert when[called].min() >= 3.0
    assert when[called].max() < 13.0


def test_next_places_are_places_a_car_can_be_sent_to() -> None:
    destination = TABLES.destination.reshape(3, 2, 96, -1)
    assert not np.any(destination[HOME] == HOME)
    assert not np.any(destination[WORK] == WORK)
    assert not np.any(destination[:, 0] == WORK)  # no workplace to go to
    assert destination.max() == OTHER

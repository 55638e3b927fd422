"""Twin, departure and arrival against answers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fleet_env.config import FleetConfig
from fleet_env.config_world import TelemetryConfig
from fleet_env.dynamics import habits, mobility
from fleet_env.dynamics.localtime import LocalTime
from fleet_env.generators import cars, start
from fleet_env.types import (
    DRIVING,
    EVSE_L2_7,
    EVSE_NONE,
    FAULT_NONE,
    FAULT_SILENT,
    FAULT_STUCK,
    HOME,
    LINK_WIFI,
    OTHER,
    WORK,
    FleetParams,
    FleetState,
)

NUM = 6
PACK_KWH = 57.5
TABLES = mobility.tables(FleetConfig(), TelemetryConfig())
MONDAY_NOON = LocalTime.plain(np.array([12.0]), np.array([0]))
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
    state: FleetState,
    params: FleetParams,
    tables: mobility.MobilityTables,
    idx: np.ndarray = ALL,
    local: LocalTime = MONDAY_NOON,
    area: np.ndarray | None = None,
) -> None:
    area = np.zeros(len(idx), np.intp) if area is None else area
    mobility.arrive(state, params, tables, KEYS, idx, area=area, local=local)


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

    def test_without_power_a_plugged_car_drains_until_the_power_is_back(self) -> None:
        params = make_params()
        state = make_state(params, place=HOME, plugged=True)
        charge, drain = 7.7 * 0.92 / PACK_KWH, 0.010 / PACK_KWH
        for t_h, dark in ((1.0, True), (3.0, False)):  # anchor the twin anew at either change
            state.twin_ref[:] = mobility.twin_soc(state, params, TABLES, t_h)
            state.ref_h[:] = t_h
            state.dark[:] = dark
            soc = mobility.twin_soc(state, params, TABLES, t_h)
            np.testing.assert_array_equal(soc, state.twin_ref)
        np.testing.assert_allclose(state.twin_ref, 0.5 + charge - 2.0 * drain, rtol=1e-6)
        soc = mobility.twin_soc(state, params, TABLES, 4.0)
        np.testing.assert_allclose(soc, 0.5 + 2.0 * charge - 2.0 * drain, rtol=1e-6)

    def test_all_cars_and_a_list_agree_bit_for_bit(self) -> None:
        params = make_params()
        state = make_state(params, place=HOME, plugged=np.arange(NUM) % 2 == 0)
        state.dark[3:] = True
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

    def test_leaving_a_dark_home_takes_what_is_there_and_ends_the_dark(self) -> None:
        params = make_params()
        state = make_state(params, place=HOME, plugged=True, dark=True, event_h=2.0)
        twin, _ = mobility.depart(state, params, TABLES, ALL)
        np.testing.assert_allclose(twin, 0.5 - 0.010 * 2.0 / PACK_KWH, rtol=1e-6)
        assert not state.dark.any()

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

    def test_power_is_not_what_an_arrival_looks_at(self) -> None:
        """The owner plugs in all the same; who takes the power from homes says where it is dark."""
        params = make_params()
        tables = scripted_tables(plug_factor=np.full_like(TABLES.plug_factor, 9.0))
        state = make_state(params, dark=True)
        arrive(state, params, tables)
        assert state.plugged.all()
        assert state.dark.all()


def by_hour(local: LocalTime, times_h: list[float], area: list[int] | None = None) -> list[int]:
    """Hours of the week (Monday to Thursday alike) at which cars that arrive find the tables."""
    dwell_h = np.broadcast_to(np.arange(96.0)[:, None], (5, 96, habits.DWELL_ATOMS))
    tables = scripted_tables(dwell_h=dwell_h.astype(np.float32).ravel())
    params, idx = make_params(), np.arange(len(times_h))
    state = make_state(params)
    state.event_h[idx] = times_h
    arrive(state, params, tables, idx, local, np.array(area or [0] * len(idx)))
    return (state.event_h - state.parked_h)[idx].astype(int).tolist()


class TestLocalTime:
    """Bands of the tables: Monday to Thursday from 0, Friday 24, Saturday 48, Sunday 72."""

    def test_spring_leaves_an_hour_out(self) -> None:
        spring = LocalTime(
            np.array([12.0]), np.array([14.0]), np.array([1.0]), np.array([[5, 6, 0]])
        )
        times_h = [11.9, 13.9, 14.0, 14.9, 35.0]
        assert by_hour(spring, times_h) == [48 + 23, 72 + 1, 72 + 3, 72 + 3, 0]

    def test_autumn_has_an_hour_twice(self) -> None:
        autumn = LocalTime(
            np.array([12.0]), np.array([14.0]), np.array([-1.0]), np.array([[5, 6, 0]])
        )
        assert by_hour(autumn, [13.5, 14.5, 15.5, 36.5]) == [72 + 1, 72 + 1, 72 + 2, 72 + 23]

    def test_every_area_has_its_clock(self) -> None:
        two = LocalTime.plain(np.array([12.0, 21.5]), np.array([4, 4]))
        assert by_hour(two, [1.0, 1.0, 2.5], [0, 1, 1]) == [24 + 13, 24 + 22, 48 + 0]

    def test_stays_of_a_holiday_are_those_of_a_sunday(self) -> None:
        holiday = replace(MONDAY_NOON, weekday=np.array([[0, 6, 2, 3]]))
        times_h = [5.0, 17.0, 41.0]
        assert by_hour(MONDAY_NOON, times_h) == [17, 5, 5]
        assert by_hour(holiday, times_h) == [17, 72 + 5, 5]

    def test_departures_on_a_holiday_lead_where_those_of_a_sunday_do(self) -> None:
        destination = np.full((6, 96, habits.DEST_ATOMS), WORK, np.uint8)
        destination[:, 72:] = OTHER
        tables = scripted_tables(destination=destination.ravel())
        params = make_params()
        holiday = replace(MONDAY_NOON, weekday=np.array([[0, 6, 2, 3]]))
        # stays of 2 h: arrivals before the day that leave within it, and within it that leave after
        event_h = np.array([9.5, 10.5, 33.5, 34.5, 35.5, 36.5], np.float32)
        for local, places in (
            (MONDAY_NOON, [WORK] * 6),
            (holiday, [WORK, OTHER, OTHER, WORK, WORK, WORK]),
        ):
            state = make_state(params, event_h=event_h)
            arrive(state, params, tables, local=local)
            assert state.next_place.tolist() == places


class TestFaults:
    def test_shares_come_in_order_silent_stuck_sound(self) -> None:
        tables = replace(TABLES, silent_share=0.25, stuck_share=0.5)
        u = np.array([0.0, 0.2499, 0.25, 0.7499, 0.75, 0.9999], np.float32)
        kinds = [FAULT_SILENT] * 2 + [FAULT_STUCK] * 2 + [FAULT_NONE] * 2
        got = mobility.fault(tables, u)
        assert got.dtype == np.uint8
        assert got.tolist() == kinds

    def test_shares_of_zero_and_one_are_exact(self) -> None:
        u = np.array([0.0, 0.5, 1.0 - 2.0**-24], np.float32)
        for silent, stuck, kind in ((0.0, 1.0, FAULT_STUCK), (1.0, 0.0, FAULT_SILENT)):
            tables = replace(TABLES, silent_share=silent, stuck_share=stuck)
            assert mobility.fault(tables, u).tolist() == [kind] * 3
            assert tables.faulty
        assert not TABLES.faulty

    def test_a_fault_lasts_for_the_stay(self) -> None:
        params = make_params()
        state = make_state(params)
        arrive(state, params, scripted_tables(silent_share=1.0))
        assert np.all(state.fault == FAULT_SILENT)
        arrive(state, params, scripted_tables(silent_share=1e-9))
        assert np.all(state.fault == FAULT_NONE)

    def test_faults_change_nothing_else(self) -> None:
        params = make_params()
        sound, faulty = (make_state(params, event_h=3.0) for _ in range(2))
        arrive(sound, params, TABLES)
        arrive(faulty, params, replace(TABLES, silent_share=0.5, stuck_share=0.5))
        assert np.all(faulty.fault != FAULT_NONE)
        for name in set(FleetState.__dataclass_fields__) - {"fault"}:
            np.testing.assert_array_equal(getattr(sound, name), getattr(faulty, name), err_msg=name)


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

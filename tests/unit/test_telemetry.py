"""What the dispatcher is told, against a float64 replay of continuous events; the duty mask."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_env.config import EnvConfig
from fleet_env.config_world import TelemetryConfig
from fleet_env.telemetry import DERIVED_SHOWN, STATE_SHOWN, Telemetry, duty_mask
from fleet_env.types import (
    DRIVING,
    EVSE_L2_7,
    EVSE_NONE,
    FAULT_NONE,
    FAULT_SILENT,
    FAULT_STUCK,
    HOME,
    WORK,
    FleetParams,
    FleetState,
)
from fleet_env.world import ALLOWED, AWAY, UNPLUGGED, Derived, Gates, World

DT_H = 0.25
AGES_S = (0.0, 20.0, 60.0, 300.0, 900.0)
CARS, STEPS = 12, 24

DTYPES = {
    **dict.fromkeys(("place", "fault", "evse", "reason", "accelerator", "chemistry"), np.uint8),
    **dict.fromkeys(("plugged", "dark", "duty", "left", "home", "home_link", "garage"), np.bool_),
    **dict.fromkeys(("row", "area", "air", "neighbourhood", "hours"), np.intp),
}


def arrays(kind: Any, num: int) -> Any:
    """Build a struct of arrays with zeros in it."""
    return kind(**{f.name: np.zeros(num, DTYPES.get(f.name, np.float32)) for f in fields(kind)})


def bare_world(num: int, **telemetry: float) -> World:
    """Build a world of idle cars without anything that telemetry does not touch."""
    filled = {
        "config": EnvConfig(telemetry=TelemetryConfig(**telemetry)),
        "params": arrays(FleetParams, num),
        "state": arrays(FleetState, num),
        "derived": arrays(Derived, num),
    }
    return World(**{f.name: filled.get(f.name) for f in fields(World)})  # type: ignore[arg-type]


def started(world: World) -> Telemetry:
    telemetry = Telemetry(world.config)
    telemetry.begin(world)
    return telemetry


@dataclass
class Recording:
    """Events of every car in time order: (time, what it shows from then on), times in float32."""

    events: list[list[tuple[float, dict[str, Any]]]]

    @classmethod
    def draw(
        cls, seed: int, *, silent: float, stuck: float, stay_h: float, dark: bool
    ) -> Recording:
        rng = np.random.default_rng(seed)
        cars = [_car(rng, silent, stuck, stay_h) for _ in range(CARS)]
        return cls([_with_outages(rng, car) if dark else car for car in cars])

    def between(self, low_h: float, high_h: float) -> list[int]:
        """Cars with an event in [low, high)."""
        return [i for i, car in enumerate(self.events) if any(low_h <= e < high_h for e, _ in car)]

    def at(self, car: int, time_h: float, *, before: bool = False) -> dict[str, Any]:
        """What was true at a time, or just before it."""
        past = [s for e, s in self.events[car] if (e < time_h if before else e <= time_h)]
        return past[-1]

    def write(self, world: World, time_h: float) -> None:
        """Bring a world to what is true just before a time."""
        for car in range(CARS):
            for name, value in self.at(car, time_h, before=True).items():
                part = world.state if hasattr(world.state, name) else world.derived
                getattr(part, name)[car] = value


def f32(x: float) -> float:
    return float(np.float32(x))


def _car(
    rng: Any, silent: float, stuck: float, stay_h: float
) -> list[tuple[float, dict[str, Any]]]:
    """Draw stays and trips by turns, from a trip on; the first stay lasts into the recording."""
    time_h, air = f32(-2 * rng.random() - 0.3), 2 * int(rng.integers(5))
    events = [(-np.inf, _road(-np.inf, 0.5, FAULT_NONE, air))]
    while time_h < STEPS * DT_H:
        parked = _stay(rng, time_h, events[-1][1]["twin_ref"], air, silent, stuck)
        stay = stay_h * (1 + rng.exponential(1.0)) if len(events) > 1 else 2.5 + rng.random()
        if not np.isinf(parked["snooze_h"]):
            parked["snooze_h"] = f32(time_h + 0.5 * stay)
        left_h = f32(time_h + stay)
        road = _road(left_h, f32(0.9 * twin(parked, left_h)), parked["fault"], air)
        events += [(time_h, parked), (left_h, road)]
        time_h = f32(left_h + 0.02 + 0.4 * rng.random())
    return events


def _road(time_h: float, soc: float, fault: int, air: int) -> dict[str, Any]:
    return {
        "place": DRIVING, "plugged": False, "parked_h": np.inf, "stated_h": -np.inf,
        "snooze_h": np.inf, "dark": False, "fault": fault, "twin_ref": soc, "ref_h": time_h,
        "home": False, "home_link": False, "garage": False, "evse": EVSE_NONE, "reason": AWAY,
        "twin_rate": 0.0, "twin_cap": 1.0, "air": air,
    }  # fmt: skip


def _stay(
    rng: Any, time_h: float, soc: float, air: int, silent: float, stuck: float
) -> dict[str, Any]:
    plugged, place, u = bool(rng.random() < 0.7), int(rng.integers(3)), rng.random()
    garage = place == HOME and bool(rng.random() < 0.5)
    return {
        "place": place, "plugged": plugged, "parked_h": time_h,
        "stated_h": f32(time_h + rng.exponential(2.0)),
        "snooze_h": 0.0 if rng.random() < 0.3 else np.inf,
        "dark": False,
        "fault": FAULT_SILENT if u < silent else FAULT_STUCK if u < silent + stuck else FAULT_NONE,
        "twin_ref": soc, "ref_h": time_h, "home": place == HOME, "home_link": place == HOME,
        "garage": garage, "evse": EVSE_L2_7 if plugged else EVSE_NONE,
        "reason": ALLOWED if plugged else UNPLUGGED,
        "twin_rate": f32(0.1 if plugged else -0.01), "twin_cap": f32(0.9), "air": air + garage,
    }  # fmt: skip


def _with_outages(rng: Any, car: list[tuple[float, dict[str, Any]]]) -> Any:
    """Cut or restore the power of parked cars at some steps: the twin goes on from there."""
    out: list[tuple[float, dict[str, Any]]] = []
    for (start_h, state), (end_h, _) in zip(car, [*car[1:], (np.inf, {})], strict=True):
        out.append((start_h, state))
        for k in np.flatnonzero(rng.random(STEPS) < 0.15):
            now_h, last = k * DT_H, out[-1][1]
            if state["place"] == HOME and state["plugged"] and start_h < now_h < end_h:
                cut = not last["dark"]
                change = {
                    "dark": cut, "twin_ref": f32(twin(last, now_h)), "ref_h": now_h,
                    "evse": EVSE_NONE if cut else EVSE_L2_7,
                    "reason": UNPLUGGED if cut else ALLOWED,
                    "twin_rate": f32(-0.01 if cut else 0.1),
                }  # fmt: skip
                out.append((now_h, {**last, **change}))
    return out


def twin(state: dict[str, Any], time_h: float) -> float:
    """Charge of the twin in float64."""
    soc = state["twin_ref"] + state["twin_rate"] * (time_h - state["ref_h"])
    return max(0.0, min(soc, state["twin_cap"]))


def shown(telemetry: Telemetry, car: int) -> dict[str, Any]:
    told = {name: getattr(telemetry.told.state, name)[car] for name in STATE_SHOWN}
    return told | {name: getattr(telemetry.told.derived, name)[car] for name in DERIVED_SHOWN}


# a car on the road shows no charge, and no fault is ever shown
HIDDEN = {"fault", "twin_ref", "ref_h", "twin_cap"}


def same(told: dict[str, Any], truth: dict[str, Any]) -> bool:
    parked = truth["place"] != DRIVING
    names = {name for name in told if name != "fault" and (parked or name not in HIDDEN)}
    return all(told[name] == np.float32(truth[name]) for name in names)


@given(
    seed=st.integers(0, 10_000),
    age_s=st.sampled_from(AGES_S),
    faults=st.sampled_from([(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.25, 0.25)]),
    stay_h=st.sampled_from([0.03, 0.6]),
    dark=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_what_is_shown_was_true_at_the_time_of_the_report_and_is_never_younger_than_the_age(
    seed: int, age_s: float, faults: tuple[float, float], stay_h: float, dark: bool
) -> None:
    silent, stuck = faults
    record = Recording.draw(seed, silent=silent, stuck=stuck, stay_h=stay_h, dark=dark)
    world = bare_world(CARS, age_s=age_s, silent_share=max(silent, 1e-9), stuck_share=stuck)
    record.write(world, 0.0)
    telemetry, before = started(world), None
    for k in range(STEPS + 1):
        t_h, newest_h = k * DT_H, k * DT_H - age_s / 3600
        changed = []
        if k:
            record.write(world, t_h)
            moved = record.between(t_h - DT_H, t_h)
            changed = telemetry.events(np.array(moved, np.intp), t_h).tolist()
        seen_h = np.asarray(telemetry.seen_h(t_h), np.float64)
        assert (seen_h <= newest_h).all()
        soc = telemetry.charge(slice(None), t_h, out=np.empty(CARS, np.float32))
        now = [shown(telemetry, car) for car in range(CARS)]
        for car, told in enumerate(now):
            truths = [record.at(car, seen_h[car], before=b) for b in (False, True)]
            assert any(same(told, truth) for truth in truths)
            if told["place"] != DRIVING:
                truth = next(truth for truth in truths if same(told, truth))
                assert soc[car] == pytest.approx(twin(truth, seen_h[car]), abs=2e-6)
            fresh = not any(newest_h < e < t_h for e, _ in record.events[car])
            if fresh and not silent and not stuck:
                assert seen_h[car] == pytest.approx(newest_h, abs=1e-6)
            if before is not None and car not in changed:
                assert told == before[car]
        before = now


@given(seed=st.integers(0, 10_000), age_s=st.sampled_from(AGES_S))
@settings(max_examples=60, deadline=None)
def test_silent_stays_are_never_shown_and_stuck_ones_outlast_their_departure(
    seed: int, age_s: float
) -> None:
    """Stays longer than a step and the age: what is shown follows from what is reported."""
    record = Recording.draw(seed, silent=0.3, stuck=0.3, stay_h=0.6, dark=False)
    world = bare_world(CARS, age_s=age_s, silent_share=0.3, stuck_share=0.3)
    record.write(world, 0.0)
    telemetry = started(world)
    for k in range(1, STEPS + 1):
        t_h, newest_h = k * DT_H, k * DT_H - age_s / 3600
        record.write(world, t_h)
        telemetry.events(np.array(record.between(t_h - DT_H, t_h), np.intp), t_h)
        for car, events in enumerate(record.events):
            if any(newest_h < e < t_h for e, _ in events):
                continue
            reported = [
                state
                for e, state in events
                if e <= newest_h
                and state["fault"] != FAULT_SILENT
                and (state["fault"] != FAULT_STUCK or state["place"] != DRIVING)
            ]
            assert same(shown(telemetry, car), reported[-1])


def test_perfect_telemetry_is_the_truth_itself() -> None:
    world = bare_world(3)
    telemetry = started(world)
    assert telemetry.perfect
    assert telemetry.told is world
    cars = np.array([2, 0])
    assert telemetry.events(cars, 0.25) is cars
    telemetry.refuse(cars, np.array([AWAY, AWAY]))
    assert (world.derived.reason == ALLOWED).all()
    assert telemetry.seen_h(1.5) == 1.5
    assert not telemetry.unreachable(slice(None)).any()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_reports_without_age_and_faults_are_the_truth_bit_for_bit(seed: int) -> None:
    record = Recording.draw(seed, silent=0.0, stuck=0.0, stay_h=0.03, dark=True)
    world = bare_world(CARS, silent_share=1e-9)
    record.write(world, 0.0)
    telemetry, truth = started(world), Telemetry(EnvConfig())
    truth.begin(world)
    rng = np.random.default_rng(seed)
    for k in range(1, STEPS + 1):
        record.write(world, k * DT_H)
        world.state.gap[:] = 0.1 * rng.random(CARS)
        moved = np.array(record.between((k - 1) * DT_H, k * DT_H), np.intp)
        telemetry.events(moved, k * DT_H)
        for car in range(CARS):
            assert shown(telemetry, car) == shown(truth, car)
        soc = [t.charge(slice(None), k * DT_H, out=np.empty(CARS, np.float32))
               for t in (telemetry, truth)]  # fmt: skip
        parked = world.state.place != DRIVING
        np.testing.assert_array_equal(soc[0][parked], np.clip(soc[1], 0, 1)[parked])
        assert (telemetry.seen_h(k * DT_H) == np.float32(k * DT_H)).all()


def plugged_in(num: int, **telemetry: float) -> World:
    """Cars that have stood at home for two hours, nothing against them."""
    world = bare_world(num, **telemetry)
    world.state.parked_h[:] = world.state.ref_h[:] = -2.0
    world.state.twin_ref[:] = 0.8
    world.state.snooze_h[:] = np.inf
    world.derived.twin_cap[:] = 0.9
    world.derived.home_link[:] = True
    world.params.reserve_soc[:] = 0.3
    return world


def mask_of(world: World, seen_h: Any = 0.0, soc: Any = None, **gates: Any) -> list[int]:
    num = len(world.state.place)
    charge = np.full(num, 0.8, np.float32) if soc is None else np.array(soc, np.float32)
    out = np.empty(num, np.bool_)
    duty_mask(world, slice(0, num), charge, Gates(**gates), seen_h, out=out)
    return out.astype(int).tolist()


def test_a_refused_car_shows_the_reason_until_its_next_report() -> None:
    world = plugged_in(2, age_s=300.0)
    telemetry = started(world)
    for car, e in ((0, 0.2), (1, 0.1)):  # 0.2 h is 3 min before the look
        world.state.place[car], world.state.ref_h[car] = DRIVING, e
        world.derived.reason[car] = AWAY
    telemetry.events(np.array([0, 1]), 0.25)
    assert mask_of(telemetry.told, telemetry.seen_h(0.25)) == [1, 0]
    telemetry.refuse(np.array([0]), np.array([AWAY]))
    assert mask_of(telemetry.told, telemetry.seen_h(0.25)) == [0, 0]
    assert telemetry.told.state.place[0] == HOME  # shows where it stood, but not that it may
    world.state.place[0], world.state.ref_h[0] = HOME, 0.3
    world.derived.reason[0] = ALLOWED
    telemetry.events(np.array([0]), 0.5)
    assert mask_of(telemetry.told, telemetry.seen_h(0.5)) == [1, 0]


def test_a_call_back_is_seen_when_the_report_is_of_later() -> None:
    world = plugged_in(1, age_s=60.0)
    world.state.snooze_h[:] = 0.25 - 30 / 3600
    telemetry = started(world)
    seen = []
    for k in range(3):
        telemetry.events(np.zeros(0, np.intp), k * DT_H)
        seen += mask_of(telemetry.told, telemetry.seen_h(k * DT_H))
    assert seen == [1, 1, 0]
    assert mask_of(world, 0.25) == [0]  # the truth at once


def test_an_arrival_within_the_age_of_the_start_is_still_on_the_road() -> None:
    world = plugged_in(2, age_s=300.0)
    world.state.parked_h[:] = world.state.ref_h[:] = [-2.0, -0.05]
    telemetry = started(world)
    assert telemetry.told.state.place.tolist() == [HOME, DRIVING]
    assert mask_of(telemetry.told, telemetry.seen_h(0.0)) == [1, 0]
    assert telemetry.events(np.zeros(0, np.intp), 0.25).tolist() == [1]
    assert mask_of(telemetry.told, telemetry.seen_h(0.25)) == [1, 1]


def test_books_of_the_dispatcher_are_fresh_and_the_charge_shown_stays_a_share() -> None:
    world = plugged_in(2, age_s=900.0)
    telemetry = started(world)
    world.state.gap[:] = [0.25, -0.5]
    world.state.duty[:] = True
    assert telemetry.told.state.duty.all()
    soc = telemetry.charge(slice(None), 0.0, out=np.empty(2, np.float32))
    np.testing.assert_allclose(soc, [0.55, 1.0], rtol=1e-6)


def test_a_silent_car_is_refused_by_the_truth_and_shows_as_on_the_road() -> None:
    world = plugged_in(2, silent_share=0.5)
    world.state.fault[:] = [FAULT_SILENT, FAULT_NONE]
    telemetry = started(world)
    assert mask_of(world) == [0, 1]
    assert mask_of(telemetry.told, telemetry.seen_h(0.0)) == [0, 1]
    assert telemetry.told.state.place.tolist() == [DRIVING, HOME]
    assert telemetry.unreachable(np.arange(2)).tolist() == [True, False]


def test_a_car_whose_link_is_down_is_not_heard_until_it_is_back() -> None:
    world = plugged_in(2, age_s=20.0)
    telemetry = started(world)
    cut = np.array([True, False])
    world.state.place[:], world.state.ref_h[:] = WORK, 0.1
    everyone = np.arange(2)
    assert telemetry.events(everyone, 0.25, cut).tolist() == [1]
    assert telemetry.told.state.place.tolist() == [HOME, WORK]
    age_min = 60.0 * (0.25 - np.asarray(telemetry.seen_h(0.25)))
    assert age_min[0] > 15.0
    assert age_min[1] == pytest.approx(20.0 / 60.0, abs=1e-4)
    assert telemetry.events(everyone[:0], 0.5, cut).size == 0
    assert telemetry.events(everyone[:0], 0.75).tolist() == [0]
    assert telemetry.told.state.place.tolist() == [WORK, WORK]


def test_every_gate_keeps_its_cars_off_duty() -> None:
    world = plugged_in(4)
    derived, state = world.derived, world.state
    assert mask_of(world) == [1, 1, 1, 1]
    assert mask_of(world, soc=[0.31, 0.3, 0.29, 0.8]) == [1, 0, 0, 1]
    derived.air[:] = [0, 1, 2, 3]
    assert mask_of(world, hot=np.array([True, False, False, True])) == [0, 1, 1, 0]
    derived.hours[:] = [0, 1, 0, 1]
    assert mask_of(world, closed=np.array([False, True])) == [1, 0, 1, 0]
    assert mask_of(world, cut=np.array([True, False, True, False])) == [0, 1, 0, 1]
    state.duty_h[:] = [0, 2.0, 3.0, 1.9]
    assert mask_of(world, cap_h=2.0) == [1, 0, 0, 1]
    state.snooze_h[:] = [1.0, 2.0, 3.0, np.inf]
    assert mask_of(world, 2.0) == [0, 0, 1, 1]
    derived.reason[3] = UNPLUGGED
    assert mask_of(world, 2.0) == [0, 0, 1, 0]

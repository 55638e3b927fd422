"""The reference's shocks, shifts and whole steps against numbers by hand (5.2, 5.3, 5.5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleet_env.config import EnvConfig, FleetConfig, RewardConfig
from fleet_env.config_world import FeederConfig
from fleet_env.types import HOME, LINK_CELLULAR, WORK
from tests.reference import shocks
from tests.reference.cars import CarState, twin_soc
from tests.reference.duty import start_shift
from tests.reference.example import CAR, FULL, PLAIN, STATE, WEATHER
from tests.reference.given import CarGiven, Given, Next
from tests.reference.queueing import Demand, Queues
from tests.reference.shocks import Event, Outage
from tests.reference.sim import Row, play_step
from tests.reference.step import Outcome, Shift


def storm(start_h: float, end_h: float, kind: str = "storm") -> Event:
    """A shock that hits the first neighbourhood."""
    return Event(kind, 0, start_h, end_h, frozenset({0}))


@pytest.mark.parametrize(
    ("start_h", "end_h", "outage"),
    [
        (0.9, 1.1, Outage(home_down=True, dark=True)),  # it began before the step
        (1.0, 1.1, Outage(home_down=True, dark=True)),  # with the step
        (1.1, 9.0, Outage(home_fails_h=1.1)),  # the power fails with the next step
        (1.1, 1.2, Outage(home_fails_h=1.1)),  # nor does it then: the storm is over
        (0.5, 1.0, Outage()),
        (1.25, 2.0, Outage()),
    ],
)
def test_a_storm_in_the_step_from_one_to_quarter_past(
    start_h: float, end_h: float, outage: Outage
) -> None:
    assert shocks.outage_of([storm(start_h, end_h)], CAR, 1.0, 0.25) == outage


def test_shocks_hit_their_own_neighbourhoods() -> None:
    for other in (replace(CAR, neighbourhood=1), replace(CAR, region=1)):
        assert shocks.outage_of([storm(0.0, 9.0)], other, 1.0, 0.25) == Outage()


def test_what_is_down_fails_no_more() -> None:
    """Unless it comes back first: a link is judged at the start of a step."""
    both = [storm(0.0, 9.0), storm(1.1, 1.2, "isp")]
    assert shocks.outage_of(both, CAR, 1.0, 0.25) == Outage(home_down=True, dark=True)


def test_an_update_reaches_the_car_anywhere_but_leaves_the_power_on() -> None:
    outage = shocks.outage_of([storm(0.0, 9.0, "ota")], CAR, 1.0, 0.25)
    assert outage == Outage(down=True)
    assert outage.link_down(CAR, HOME)
    assert outage.link_down(CAR, WORK)
    isp = shocks.outage_of([storm(0.0, 9.0, "isp")], CAR, 1.0, 0.25)
    assert isp.link_down(CAR, HOME)
    assert not isp.link_down(CAR, WORK)
    assert not isp.link_down(replace(CAR, home_link=LINK_CELLULAR), HOME)


@pytest.mark.parametrize(
    ("start_h", "hits"), [(0.75, False), (0.76, True), (1.0, True), (1.1, False)]
)
def test_a_release_comes_with_the_first_step_after_it(start_h: float, hits: bool) -> None:
    events = [Event("release", 0, start_h, start_h + 0.25)]
    assert shocks.released(events, 0, 0.75, 1.0) is hits
    assert not shocks.released(events, 1, 0.75, 1.0)


def test_a_twin_stands_still_while_its_home_is_dark() -> None:
    # 7.084 kW into 50 kWh: from 0.5 to 0.6417 in an hour; then 10 W for two hours off
    state = replace(STATE, ref_h=0.0, gap=0.05, falling=True)
    shocks.change_power(PLAIN, CAR, state, 1.0, dark=True)
    assert (state.twin_ref, state.ref_h) == (pytest.approx(0.64168), 1.0)
    assert (state.anchor, state.falling) == (state.twin_ref - 0.05, False)
    assert twin_soc(CAR, state, 3.0, 10.0) == pytest.approx(0.64168 - 0.0004)
    shocks.change_power(PLAIN, CAR, state, 3.0, dark=False)
    assert twin_soc(CAR, state, 4.0, 10.0) == pytest.approx(0.64128 + 0.14168)
    assert twin_soc(CAR, state, 9.0, 10.0) == 0.8


def test_power_that_stays_leaves_the_twin_alone() -> None:
    state = replace(STATE)
    shocks.change_power(PLAIN, CAR, state, 1.0, dark=False)
    assert state == STATE
    for other in (replace(STATE, place=WORK), replace(STATE, plugged=False)):
        shocks.change_power(PLAIN, CAR, other, 1.0, dark=True)
        assert other == replace(other, twin_ref=0.5, ref_h=-2.0, anchor=0.5)


@pytest.mark.parametrize(
    ("change", "served", "ready_min"),
    # 44.2 GB at 40 Mbit/s are 8840 s, at 0.67 GB/s from flash 66.0 s: 148.43 min
    [
        ({"duty": True}, True, 148.43),
        ({"duty": True, "ready_min": 3.0}, False, 148.43),  # was waking
        ({"tail_min": 2.0}, False, 0.0),  # lost at once: reckoned when it wakes
        ({}, False, 0.0),
    ],
)
def test_new_weights(change: dict[str, Any], served: bool, ready_min: float) -> None:
    state = replace(STATE, weights_gb=11.0, **change)
    assert shocks.release(PLAIN, CAR, state) is served
    assert state.weights_gb == pytest.approx(44.2)
    assert state.ready_min == pytest.approx(ready_min, abs=0.01)
    assert state.tail_min == 0.0


def shift_of(
    config: EnvConfig = PLAIN, given: CarGiven | None = None, **change: Any
) -> tuple[Shift, CarState, Outcome]:
    """Shift of a car in the step from one to quarter past that is wanted on duty."""
    state, out = replace(FULL, **change), Outcome()
    given = given or CarGiven()
    shift = start_shift(config, CAR, state, WEATHER, given, 1.0, wanted=True, out=out)
    return shift, state, out


def test_cars_on_duty_start_at_their_own_second() -> None:
    """Half of 10 min into the step; 0.5 min to wake and 1.10 min to load follow."""
    config = EnvConfig(feeder=FeederConfig(start_spread_min=10.0))
    shift, _, out = shift_of(config, CarGiven(start_u=0.5))
    assert (shift.on_min, shift.awake_min) == (10.0, 10.0)
    assert shift.serve_from == pytest.approx(5.0 + 0.5 + 44.2 / 0.67 / 60.0)
    assert shift.serve_until == pytest.approx(15.0)
    assert out.metric["on_duty_h"] == pytest.approx(10.0 / 60.0)
    warm, _, _ = shift_of(config, CarGiven(start_u=0.5), duty=True)
    assert (warm.on_min, warm.serve_from) == (15.0, 0.0)


def test_a_car_that_leaves_before_its_second_never_wakes() -> None:
    config = EnvConfig(feeder=FeederConfig(start_spread_min=15.0))
    shift, _, _ = shift_of(config, CarGiven(start_u=0.9), event_h=1.1)
    assert (shift.on_min, shift.serve_min, shift.cut) == (0.0, 0.0, False)


def test_a_link_that_fails_ends_duty_like_a_call_back() -> None:
    given = CarGiven(Outage(home_fails_h=1.1))
    shift, state, _ = shift_of(PLAIN, given, duty=True)
    assert shift.on_min == pytest.approx(6.0)
    assert (shift.cut, shift.stays, shift.plug_h) == (True, False, 0.25)
    assert state.ready_min == 0.0
    elsewhere, _, _ = shift_of(PLAIN, given, place=WORK, duty=True)
    assert not elsewhere.cut  # without a plug at work it is refused


def test_recalled_cars_are_stopped_though_they_stay_on_duty() -> None:
    shift, _, _ = shift_of(PLAIN, CarGiven(recalled=True), duty=True, ready_min=30.0)
    assert shift.stopped
    assert shift.duty
    assert shift.serve_min == 0.0


def test_hours_on_duty_add_up_and_cost_their_noise() -> None:
    config = EnvConfig(reward=RewardConfig(noise_usd_per_quiet_h=0.4))
    _, state, out = shift_of(config, duty_h=1.0)
    assert state.duty_h == 1.25
    assert out.metric["quiet_h"] == 0.25
    assert out.reward["owner"] == pytest.approx(-0.1)


def play(config: EnvConfig, states: list[CarState], **given: Any) -> tuple[Row, Outcome]:
    """Step 4 of a row without requests."""
    many = len(states)
    row = Row(config, [CAR] * many, states, Queues([0.0] * 49, [0.0] * 3))
    silence = Demand((((0.0,) * 15, (0.0,) * 15),), (0.0, 0.0, 0.0))
    base = Given(
        weather=(WEATHER,),
        demand=silence,
        cars=(CarGiven(),) * many,
        next=(Next(),) * many,
        home_kw=(0.0,),
        owner_u=lambda car, stay: 0.0,
    )
    tape = [[replace(state)] for state in states]
    return row, play_step(row, replace(base, **given), [True] * many, tape, 4)


def test_a_step_in_the_dark_lives_on_the_pack() -> None:
    """The plug is dead; an owner who allows it lets the car compute, the link permitting."""
    state = replace(FULL, duty=True)
    car = CarGiven(Outage(dark=True))
    config = EnvConfig(num_cars=1, fleet=FleetConfig())
    row, out = play(config, [state], cars=(car,), next=(Next(dark=True),))
    assert out.metric["refused_unplugged"] == 1.0
    tail_h = 5.0 / 60.0
    used_kwh = out.shifts[0].compute_kwh
    assert out.shifts[0].awake_min == pytest.approx(60.0 * tail_h)
    assert row.states[0].gap == pytest.approx(used_kwh / 50.0)
    assert out.metric["metered_kwh"] == 0.0


def test_weights_that_come_out_recall_the_cars_that_serve() -> None:
    """The second one still fetches the old ones."""
    states = [replace(FULL), replace(FULL, weights_gb=11.0)]
    row, _ = play(EnvConfig(num_cars=2), states, next=(Next(release=True),) * 2)
    assert row.recalled == [True, False]
    assert [state.weights_gb for state in row.states] == pytest.approx([44.2, 44.2])
    assert row.states[0].ready_min == row.states[1].ready_min == pytest.approx(148.43, abs=0.01)


def test_an_owner_let_down_leaves_with_the_departure() -> None:
    """5 kWh short at the stated hour: 4.5 kWh beyond the deadband, and a little for compute."""
    state = replace(FULL, gap=0.1, event_h=1.1, stated_h=1.0, duty=True)
    after = replace(state, place=3, plugged=False, event_h=2.0)
    config = EnvConfig(num_cars=1)
    row = Row(config, [CAR], [state], Queues([0.0] * 49, [0.0] * 3))
    silence = Demand((((0.0,) * 15, (0.0,) * 15),), (0.0, 0.0, 0.0))
    given = Given((WEATHER,), silence, (CarGiven(),), (Next(),), (0.0,), lambda car, stay: 0.01)
    out = play_step(row, given, [True], [[after]], 4)
    assert out.metric["dropouts"] == 1.0
    assert row.states[0].left
    assert out.metric["shortfall_kwh"] == pytest.approx(50.0 * (row.states[0].gap - 0.01))
    usd = 50.0 + 10.0 + out.metric["shortfall_kwh"] + 0.03 * 0.1  # for the owner, and 6 min of duty
    assert out.reward["owner"] == pytest.approx(-usd)

"""Who is on duty, awake and serving, and when (sections 2.1 to 2.3, 5.3 and 5.5)."""

from __future__ import annotations

from fleet_env.config import EnvConfig
from fleet_env.types import HOME
from tests.reference import physics
from tests.reference.cars import Car, CarState, load_min, twin_soc
from tests.reference.given import CarGiven
from tests.reference.owners import book_quiet_hours
from tests.reference.refusals import refusal
from tests.reference.step import Outcome, Shift, Weather


def start_shift(
    config: EnvConfig,
    car: Car,
    state: CarState,
    weather: Weather,
    given: CarGiven,
    t_h: float,
    *,
    wanted: bool,
    out: Outcome,
) -> Shift:
    """Decide whether and when in the step this car is on duty, awake and serving."""
    inlet_c = air_c(config, car, state, weather)
    soc = twin_soc(car, state, t_h, config.fleet.standby_w) - state.gap
    shift = Shift(air_c=inlet_c, derate=physics.derating(inlet_c, config.thermal))
    hot = inlet_c >= config.thermal.off_from_c
    reason = refusal(config, car, state, given.outage, t_h, weather.local_h, soc, hot=hot)
    shift.allowed = reason is None
    shift.duty = wanted and shift.allowed
    if wanted and reason:
        out.count(f"refused_{reason}")
    until_h = t_h + config.dt_h
    lost_h = given.outage.link_fails_h(car, state.place)
    end_h = min(state.event_h, state.snooze_h, lost_h, until_h)
    here_min = max(0.0, 60.0 * (end_h - t_h)) if end_h < until_h else float(config.step_min)
    shift.plug_h = max(0.0, min(state.event_h, until_h) - t_h)
    leaves = end_h < until_h
    shift.stopped = given.recalled
    if shift.duty:
        _wake(config, car, state, shift, here_min, given.start_u)
        shift.cut = leaves and shift.serve_min > 0.0
    else:
        shift.stopped |= state.duty and state.ready_min == 0.0
        _fall_asleep(config, state, shift, here_min)
    if leaves:  # departure, call-back or a lost link ends duty and tail: memory is lost
        state.ready_min, state.tail_min = 0.0, 0.0
    shift.stays = shift.duty and not leaves
    state.duty_h += shift.on_min / 60.0
    _count(shift, out)
    book_quiet_hours(config, state, shift.on_min / 60.0, weather.local_h, out)
    return shift


def _count(shift: Shift, out: Outcome) -> None:
    out.count("on_duty_h", shift.on_min / 60.0)
    out.count("serving_h", shift.serve_min / 60.0)
    out.count("started", float(shift.cold_start))
    out.count("downloaded_gb", shift.downloaded_gb)


def air_c(config: EnvConfig, car: Car, state: CarState, weather: Weather) -> float:
    """Inlet temperature of the car's computer; a garage warms cars parked at home only."""
    heat_w = physics.full_heat_w(car.accelerator, config.serving, config.thermal)
    return physics.inlet_c(weather.ambient_c, in_garage(car, state), heat_w, config.thermal)


def in_garage(car: Car, state: CarState) -> bool:
    """Whether the car stands in its own closed garage."""
    return car.closed_garage and state.place == HOME


def _wake(
    config: EnvConfig, car: Car, state: CarState, shift: Shift, here_min: float, start_u: float
) -> None:
    loading_min = load_min(car, config)
    begin_min = 0.0
    if not state.duty and state.tail_min == 0.0:
        shift.cold_start = True
        download_min = state.weights_gb * 8000.0 / car.down_mbps / 60.0
        state.ready_min = config.serving.wake_min + loading_min + download_min
        begin_min = min(here_min, start_u * config.feeder.start_spread_min)
    state.tail_min = 0.0
    shift.on_min = here_min - begin_min
    shift.awake_min = shift.on_min
    waking_min = min(state.ready_min, shift.on_min)
    shift.serve_from = begin_min + waking_min
    shift.serve_min = shift.on_min - waking_min
    state.ready_min = max(0.0, state.ready_min - waking_min)
    still_gb = max(0.0, state.ready_min - loading_min) * 60.0 * car.down_mbps / 8000.0
    shift.downloaded_gb = max(0.0, state.weights_gb - still_gb)
    state.weights_gb = min(state.weights_gb, still_gb)


def _fall_asleep(config: EnvConfig, state: CarState, shift: Shift, here_min: float) -> None:
    if state.duty:
        state.tail_min = config.serving.tail_min
    shift.awake_min = min(state.tail_min, here_min)
    state.tail_min -= shift.awake_min
    if state.tail_min == 0.0:
        state.ready_min = 0.0

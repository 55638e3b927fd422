"""Owners and the road: what a departure shows, and where the car goes (sections 2.9 and 2.10)."""

from __future__ import annotations

from collections.abc import Callable

from fleet_env.config import EnvConfig
from fleet_env.types import DRIVING
from tests.reference.cars import Car, CarState, twin_soc
from tests.reference.constants import PUBLIC_BELOW_SOC, PUBLIC_ETA, PUBLIC_TO_SOC
from tests.reference.owners import break_promise
from tests.reference.parked import book_energy
from tests.reference.step import Outcome, Shift, Weather

# the part of the state that is drawn: the same under every policy
TAPE = (
    *("place", "plugged", "event_h", "event_no", "parked_h", "stated_h", "snooze_h"),
    *("trip_kwh", "fault"),
)


def leave_and_arrive(
    config: EnvConfig,
    car: Car,
    state: CarState,
    shift: Shift,
    weather: Weather,
    t_h: float,
    tape: list[CarState],
    owner_u: Callable[[int], float],
    out: Outcome,
) -> None:
    """Departures and arrivals inside the step, in time order."""
    state.duty = shift.stays
    for after in tape:
        if state.place != DRIVING and state.event_h < t_h + config.dt_h:
            twin = twin_soc(car, state, state.event_h, config.fleet.standby_w)
            _owner(config, car, state, twin, shift, owner_u, out)
            shift.twin_after_trip = _depart(config, car, state, twin, weather, out)
            state.twin_ref, state.ref_h = shift.twin_after_trip, state.event_h
        _take_over(state, after)


def _owner(
    config: EnvConfig,
    car: Car,
    state: CarState,
    twin: float,
    shift: Shift,
    owner_u: Callable[[int], float],
    out: Outcome,
) -> None:
    reward = config.reward
    out.count("departures", float(shift.duty and shift.twin_after_trip is None))
    short = min(car.target_soc, twin) - (twin - state.gap)
    if short <= reward.shortfall_deadband_soc:
        return
    kwh = (short - reward.shortfall_deadband_soc) * car.pack_kwh
    out.pay("owner", -(reward.shortfall_usd + reward.shortfall_usd_per_kwh * kwh))
    out.count("shortfalls")
    out.count("shortfall_kwh", kwh)
    if state.event_h >= state.stated_h:
        break_promise(config, car, state, owner_u(state.event_no), out)


def after_trip(soc: float, trip_soc: float, pack_kwh: float) -> tuple[float, float]:
    """Soc behind a trip, and what was charged publicly before it [kWh at the meter]."""
    public_kwh = 0.0
    if soc - trip_soc < PUBLIC_BELOW_SOC and soc < PUBLIC_TO_SOC:
        public_kwh = (PUBLIC_TO_SOC - soc) * pack_kwh / PUBLIC_ETA
        soc = PUBLIC_TO_SOC
    return soc - trip_soc, public_kwh


def _depart(
    config: EnvConfig, car: Car, state: CarState, twin: float, weather: Weather, out: Outcome
) -> float:
    """Take the trip off car and twin alike; return the soc of the twin."""
    trip_soc = state.trip_kwh / car.pack_kwh
    soc, public_kwh = after_trip(twin - state.gap, trip_soc, car.pack_kwh)
    twin, twin_public_kwh = after_trip(twin, trip_soc, car.pack_kwh)
    extra_kwh = public_kwh - twin_public_kwh
    out.pay("owner", -config.energy.public_usd_per_kwh * extra_kwh)
    out.count("public_kwh", extra_kwh)
    jump = (twin - soc) - state.gap
    state.gap = twin - soc
    book_energy(car, weather, 0.0, jump, out)
    state.excess_k = 0.0
    return twin


def _take_over(state: CarState, after: CarState) -> None:
    """Follow the tape; an arrival restarts the twin's slope and the depth of the cycle in hand."""
    arrived = after.event_no != state.event_no
    for name in TAPE:
        setattr(state, name, getattr(after, name))
    if arrived:
        state.ref_h = after.parked_h
        state.anchor, state.falling = state.twin_ref - state.gap, False

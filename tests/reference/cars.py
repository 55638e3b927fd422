"""One car: its constants, its state, and the closed form of its twin (section 1)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from fleet_env.config import EnvConfig
from fleet_env.types import DRIVING, EVSE_NONE, HOME, LINK_NONE, OTHER, WORK
from tests.reference.constants import ACCELERATORS, EVSE, MODELS, Accelerator, Evse
from tests.reference.roofline import resident_tiers


@dataclass(frozen=True)
class Car:
    """Constants of a car, the scalar face of `FleetParams`."""

    pack_kwh: float
    chemistry: int
    chip: str  # name of the accelerator
    home_evse: int
    work_evse: int
    home_link: int
    work_link: int
    down_mbps: float
    closed_garage: bool
    unplugged_ok: bool
    charge_limit: float
    target_soc: float
    reserve_soc: float
    cal_gain: float
    cyc_gain: float

    @property
    def accelerator(self) -> Accelerator:
        """Row of the accelerator table."""
        return ACCELERATORS[self.chip]

    @property
    def nominal_eta(self) -> float:
        """Efficiency at which owed charge is priced: that of the plug at home."""
        return EVSE[self.home_evse].eta

    def evse(self, place: int) -> Evse:
        """Plug at a place."""
        row = {HOME: self.home_evse, WORK: self.work_evse}.get(place, EVSE_NONE)
        return EVSE[row]

    def link(self, place: int) -> int:
        """Link at a place."""
        return {HOME: self.home_link, WORK: self.work_link}.get(place, LINK_NONE)


def load_min(car: Car, config: EnvConfig) -> float:
    """Minutes to bring the resident tiers from flash to memory."""
    resident_gb = sum(MODELS[i].weights_gb for i in resident_tiers(car.accelerator, config))
    return resident_gb / config.serving.flash_gb_per_s / 60.0


@dataclass
class CarState:
    """What changes, the scalar face of `FleetState`."""

    place: int
    plugged: bool
    event_h: float
    event_no: int
    stated_h: float
    snooze_h: float
    trip_kwh: float
    twin_ref: float
    ref_h: float
    gap: float
    excess_k: float
    anchor: float
    falling: bool
    duty: bool
    ready_min: float
    tail_min: float
    weights_gb: float

    @classmethod
    def of(cls, source: Any, index: int) -> CarState:
        """Scalars of car `index` of a struct of arrays with these names."""
        convert = {"int": int, "float": float, "bool": bool}
        values = {f.name: convert[str(f.type)](getattr(source, f.name)[index]) for f in fields(cls)}
        return cls(**values)


def twin_rate_per_h(car: Car, state: CarState, standby_w: float) -> float:
    """Slope of the twin's soc between two events [1/h]."""
    if state.place == DRIVING:
        return 0.0
    if state.plugged:
        return car.evse(state.place).dc_kw / car.pack_kwh
    return -standby_w / 1000.0 / car.pack_kwh


def twin_soc(car: Car, state: CarState, t_h: float, standby_w: float) -> float:
    """Soc of the twin at a time before the next event."""
    moved = state.twin_ref + twin_rate_per_h(car, state, standby_w) * (t_h - state.ref_h)
    if state.plugged:
        return max(state.twin_ref, min(car.charge_limit, moved))
    return max(0.0, moved)


def _linked(car: Car, state: CarState) -> bool:
    """A link at the place; weights still to be fetched come over the one at home only."""
    stranded = state.weights_gb > 0.0 and state.place != HOME
    return car.link(state.place) != LINK_NONE and not stranded


def session_allows(car: Car, state: CarState, config: EnvConfig) -> bool:
    """Place, link, plug and memory let this car compute until it leaves."""
    parked = state.place in (HOME, WORK)
    linked = _linked(car, state)
    powered = state.plugged or car.unplugged_ok
    return parked and linked and powered and bool(resident_tiers(car.accelerator, config))


def refusal(
    config: EnvConfig, car: Car, state: CarState, t_h: float, soc: float, *, hot: bool
) -> str | None:
    """First reason that keeps a car off duty now, None if there is none."""
    reasons = (
        ("away", state.place in (DRIVING, OTHER)),
        ("unplugged", not state.plugged and not car.unplugged_ok),
        ("no_link", not _linked(car, state)),
        ("memory", not resident_tiers(car.accelerator, config)),
        ("snoozed", t_h >= state.snooze_h),
        ("reserve", soc <= car.reserve_soc),
        ("hot", hot),
    )
    return next((name for name, holds in reasons if holds), None)

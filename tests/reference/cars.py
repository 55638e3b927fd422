"""One car: its constants, its state, and the closed form of its twin (section 1)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from fleet_env.config import EnvConfig
from fleet_env.types import DRIVING, EVSE_NONE, HOME, LINK_NONE, WORK
from tests.reference.constants import ACCELERATORS, EVSE, MODELS, Accelerator, Evse
from tests.reference.roofline import fitting_tiers, resident_tiers


@dataclass(frozen=True)
class Car:
    """Constants of a car, the scalar face of `FleetParams`, and where it belongs."""

    neighbourhood: int  # of its row
    region: int
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
    enrolled: bool
    quiet: bool
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


def flash_gb(car: Car, config: EnvConfig) -> float:
    """Weights of all tiers that the accelerator serves."""
    return sum(MODELS[i].weights_gb for i in fitting_tiers(car.accelerator, config))


@dataclass
class CarState:
    """What changes, the scalar face of `FleetState`."""

    place: int
    plugged: bool
    event_h: float
    event_no: int
    parked_h: float
    stated_h: float
    snooze_h: float
    trip_kwh: float
    twin_ref: float
    ref_h: float
    dark: bool
    fault: int
    gap: float
    excess_k: float
    anchor: float
    falling: bool
    duty: bool
    ready_min: float
    tail_min: float
    weights_gb: float
    duty_h: float
    left: bool

    @property
    def powered(self) -> bool:
        """Whether it can charge: plugged in, and not at a home in the dark."""
        return self.plugged and not (self.dark and self.place == HOME)

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
    if state.powered:
        return car.evse(state.place).dc_kw / car.pack_kwh
    return -standby_w / 1000.0 / car.pack_kwh


def twin_soc(car: Car, state: CarState, t_h: float, standby_w: float) -> float:
    """Soc of the twin at a time before the next event."""
    moved = state.twin_ref + twin_rate_per_h(car, state, standby_w) * (t_h - state.ref_h)
    if state.powered:
        return max(state.twin_ref, min(car.charge_limit, moved))
    return max(0.0, moved)


def linked(car: Car, state: CarState) -> bool:
    """A link at the place; weights still to be fetched come over the one at home only."""
    stranded = state.weights_gb > 0.0 and state.place != HOME
    return car.link(state.place) != LINK_NONE and not stranded


def session_allows(car: Car, state: CarState, config: EnvConfig) -> bool:
    """Place, link, plug, owner and memory let this car compute until it leaves."""
    parked = state.place in (HOME, WORK)
    powered = state.powered or car.unplugged_ok
    takes_part = car.enrolled and not state.left
    fits = bool(resident_tiers(car.accelerator, config))
    return parked and powered and linked(car, state) and takes_part and fits

"""The state a day starts from: a library of donor cars, played until stationary.

Donors are stratified by what moves their habits (home EVSE, chemistry, worker, habit and drive
rank) and played with the same kernels as the episode. A car of an episode starts as a random donor
of its stratum at the start hour and weekday of the local clock of its area.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import NamedTuple

import numpy as np

from fleet_env import draws
from fleet_env.config import EnvConfig, FleetConfig
from fleet_env.config_world import TelemetryConfig
from fleet_env.dynamics import mobility
from fleet_env.dynamics.localtime import LocalTime
from fleet_env.dynamics.mobility import MobilityTables
from fleet_env.generators import cars
from fleet_env.regions import num_regions, region_of_cars
from fleet_env.types import (
    DRIVING,
    EVSE_L1,
    EVSE_NONE,
    FAULT_NONE,
    HOME,
    LFP,
    WORK,
    BoolArray,
    FleetParams,
    FleetState,
    FloatArray,
    IntArray,
    KeyArray,
)
from fleet_env.units import HOURS_PER_DAY

NUM_EVSE, NUM_CHEMISTRY, NUM_WORKER, NUM_HABIT, NUM_DRIVE = 3, 2, 2, 8, 2
NUM_STRATA = NUM_EVSE * NUM_CHEMISTRY * NUM_WORKER * NUM_HABIT * NUM_DRIVE
DONORS = 64  # per stratum
BURN_IN_DAYS = 21  # several cycles of the slowest cars (public charging every 5 days)
DAYS = 7
START_SOC = 0.7  # of the burn-in; forgotten by its end
LIBRARIES = 32  # kept, of 3 MB: 8 regions, each at up to 4 local hours while clocks change
_FLOATS = ("event_h", "parked_h", "stated_h", "snooze_h", "trip_kwh", "trip_h", "twin_ref", "ref_h")


@dataclass(frozen=True, slots=True)
class StartLibrary:
    """Donors at the start hour of the seven weekdays; times relative to the snapshot.

    Row `weekday * num_donors + donor`, donors sorted by stratum.
    """

    place: IntArray
    plugged: BoolArray
    next_place: IntArray
    floats: FloatArray  # (7 * num_donors, 8 fields): a donor's fields share a cache line
    charge_limit: FloatArray  # (num_donors,)
    plugged_home: FloatArray  # (NUM_STRATA,) mean share of the last week plugged at home
    plugged_work: FloatArray  # (NUM_STRATA,) the same at work


class _Key(NamedTuple):
    """What the library depends on."""

    start_hour: float
    paid_habits: bool
    standby_w: float
    override_per_month: float
    stated_error_scale: float
    work_charger_share: float


def start_state(
    config: EnvConfig,
    key: KeyArray,
    params: FleetParams,
    local: LocalTime,
    *,
    resident_gb: FloatArray,
) -> FleetState:
    """Draw the stationary state at the start of an episode.

    Parameters
    ----------
    key : KeyArray, shape (num_envs,)
        Scenario keys.
    local : LocalTime
        Clocks of the areas, whose hour and weekday at the start count.
    resident_gb : FloatArray, shape (number of accelerators in use,)
        Weights that a car with this accelerator keeps in flash [GB]: what one without the latest
        release (`weights_missing_share`) has still to download.

    Returns
    -------
    FleetState
        The compute part is at rest: no gap, asleep, no tail. All homes have power.
    """
    tables = mobility.tables(config.fleet, config.telemetry)
    keys = draws.car_keys(key, draws.Stream.START, config.num_cars)
    u = draws.uniform(keys, np.zeros(1, np.uint32), 3 if tables.faulty else 2)
    donor = _stratum(params)
    donor *= DONORS
    donor += (u[0] * DONORS).astype(np.int32)
    state = _from_donors(config, params, local, donor)
    missing = u[1] < np.float32(config.fleet.weights_missing_share)
    state.weights_gb[:] = resident_gb.astype(np.float32)[params.accelerator] * missing
    if tables.faulty:  # faults do not depend on the stay: of those in progress as many have one
        state.fault[:] = mobility.fault(tables, u[2])
    return state


def _from_donors(
    config: EnvConfig, params: FleetParams, local: LocalTime, donor: IntArray
) -> FleetState:
    """State of each car: its donor's at the hour and weekday of its area."""
    num, key = len(donor), _key(config)
    area = _area_of_cars(config, len(local.start_h))
    row = (local.weekday[:, 0].astype(np.intp) * (NUM_STRATA * DONORS)).take(area)
    row += donor
    place, next_place = np.empty((2, num), np.uint8)
    plugged, floats = np.empty(num, np.bool_), np.empty((len(_FLOATS), num), np.float32)
    hours, hour_of_area = np.unique(local.start_h, return_inverse=True)
    for number, hour in enumerate(hours):
        library = _library(key._replace(start_hour=float(hour)))
        some = slice(None) if len(hours) == 1 else (hour_of_area == number).take(area).nonzero()[0]
        source = row[some]
        place[some], next_place[some] = library.place[source], library.next_place[source]
        plugged[some] = library.plugged[source]
        floats[:, some] = library.floats.take(source, axis=0).T
    plugged &= (place != WORK) | (params.work_evse != EVSE_NONE)
    tape = dict(zip(_FLOATS, floats, strict=True))
    # a donor that was full stays full under another owner's charge limit
    tape["twin_ref"] *= params.charge_limit / library.charge_limit[donor]
    np.minimum(tape["trip_kwh"], mobility.MAX_TRIP_SHARE * params.pack_kwh, out=tape["trip_kwh"])
    return _at_rest(place, plugged, next_place, tape)


def _area_of_cars(config: EnvConfig, num_areas: int) -> IntArray:
    """Area of every car of a batch; areas of a row follow each other."""
    area = np.arange(num_areas).reshape(-1, num_regions(config))
    return area[:, region_of_cars(config)].ravel()


def mean_plugged_linked(config: EnvConfig) -> float:
    """Stationary mean share of cars that are plugged and have a link, over a week."""
    fleet, library = config.fleet, _library(_key(config))
    home_link, work_link = (
        share + (1.0 - share) * fleet.cellular_share
        for share in (fleet.home_link_share, fleet.work_link_share)
    )
    linked = home_link * library.plugged_home + work_link * library.plugged_work
    return float((_strata_shares(fleet) * linked).sum())


def play(
    state: FleetState,
    params: FleetParams,
    tables: MobilityTables,
    keys: KeyArray,
    until_h: float,
    *,
    area: IntArray,
    local: LocalTime,
) -> None:
    """Play every departure and arrival before a time, car by car in time order (no compute).

    `area` is that of every car, shape (num_envs * num_cars,).
    """
    idx = np.flatnonzero(state.event_h < until_h)
    while idx.size:
        mobility.depart(state, params, tables, idx[state.place[idx] != DRIVING])
        idx = idx[state.event_h[idx] < until_h]  # all of these now drive
        mobility.arrive(state, params, tables, keys, idx, area=area[idx], local=local)
        idx = idx[state.event_h[idx] < until_h]


def parked_at_home(params: FleetParams, soc: float) -> FleetState:
    """Every car about to arrive home at time 0: where the library begins its burn-in."""
    num = len(params.pack_kwh)
    tape = {name: np.zeros(num, np.float32) for name in _FLOATS}
    tape["twin_ref"] += np.float32(soc)
    place = np.full(num, DRIVING, np.uint8)
    none = np.zeros(num, bool)
    return _at_rest(place, none, np.full(num, HOME, np.uint8), tape)


def _at_rest(
    place: IntArray, plugged: BoolArray, next_place: IntArray, tape: dict[str, FloatArray]
) -> FleetState:
    num = len(place)
    return FleetState(
        place=place,
        plugged=plugged,
        event_no=np.zeros(num, np.uint32),
        next_place=next_place,
        dark=np.zeros(num, np.bool_),
        fault=np.full(num, FAULT_NONE, np.uint8),
        gap=np.zeros(num, np.float32),
        excess_k=np.zeros(num, np.float32),
        anchor=tape["twin_ref"].copy(),
        falling=np.zeros(num, bool),
        duty=np.zeros(num, bool),
        ready_min=np.zeros(num, np.float32),
        tail_min=np.zeros(num, np.float32),
        weights_gb=np.zeros(num, np.float32),
        duty_h=np.zeros(num, np.float32),
        left=np.zeros(num, np.bool_),
        resident=np.zeros(num, np.uint8),
        **tape,
    )


def _key(config: EnvConfig) -> _Key:
    fleet = config.fleet
    return _Key(
        config.start_hour,
        fleet.paid_habits,
        fleet.standby_w,
        fleet.override_per_month,
        fleet.stated_error_scale,
        fleet.work_charger_share,
    )


@lru_cache(maxsize=LIBRARIES)
def _library(key: _Key) -> StartLibrary:
    """Play the donors for `BURN_IN_DAYS` and take a snapshot a day for a week."""
    fleet = FleetConfig(
        paid_habits=key.paid_habits,
        standby_w=key.standby_w,
        override_per_month=key.override_per_month,
        stated_error_scale=key.stated_error_scale,
        work_charger_share=key.work_charger_share,
    )
    params = _donor_params(fleet)
    num = len(params.pack_kwh)
    state = parked_at_home(params, soc=START_SOC)
    play_to = partial(
        play,
        state,
        params,
        mobility.tables(fleet, TelemetryConfig()),
        draws.car_keys(_library_key(), draws.Stream.ARRIVAL, num),
        area=np.zeros(num, np.intp),
        local=LocalTime.plain(np.array([key.start_hour]), np.array([0])),
    )
    snapshots, home, work = [], np.zeros(num), np.zeros(num)
    for hour in range(DAYS * int(HOURS_PER_DAY)):
        now_h = BURN_IN_DAYS * HOURS_PER_DAY + hour
        play_to(now_h)
        home += state.plugged & (state.place == HOME)
        work += state.plugged & (state.place == WORK)
        if hour % HOURS_PER_DAY == 0:
            snapshots.append(_snapshot(state, now_h))
    place, plugged, next_place, floats = zip(*snapshots, strict=True)
    return StartLibrary(
        place=np.concatenate(place),
        plugged=np.concatenate(plugged),
        next_place=np.concatenate(next_place),
        floats=np.ascontiguousarray(np.concatenate(floats, axis=1).T),
        charge_limit=params.charge_limit,
        plugged_home=_stratum_mean(home),
        plugged_work=_stratum_mean(work),
    )


def _stratum_mean(hours: FloatArray) -> FloatArray:
    """Mean share of the week by stratum, from plugged hours of each donor."""
    share: FloatArray = hours.reshape(NUM_STRATA, DONORS).mean(axis=1) / (DAYS * HOURS_PER_DAY)
    return share


def _library_key() -> KeyArray:
    return draws.scenario_key("library", np.array([0]))


def _snapshot(state: FleetState, now_h: float) -> tuple[IntArray, BoolArray, IntArray, FloatArray]:
    floats = np.stack([getattr(state, name) for name in _FLOATS])
    for name in ("event_h", "parked_h", "stated_h", "snooze_h", "ref_h"):
        floats[_FLOATS.index(name)] -= now_h
    return state.place.copy(), state.plugged.copy(), state.next_place.copy(), floats


def _donor_params(fleet: FleetConfig) -> FleetParams:
    """Donors by stratum: the stratified uniforms lie inside their stratum, the others are free."""
    num = NUM_STRATA * DONORS
    u = cars.uniforms(draws.car_keys(_library_key(), draws.Stream.CAR, num))
    edges = (
        (cars.U_CHARGER, _charger_edges(fleet)),
        (cars.U_CLASS, (0.0, fleet.lfp_share, 1.0)),
        (cars.U_WORKER, (0.0, cars.WORKER_SHARE, 1.0)),
        (cars.U_HABIT, tuple(np.linspace(0.0, 1.0, NUM_HABIT + 1))),
        (cars.U_DRIVE, tuple(np.linspace(0.0, 1.0, NUM_DRIVE + 1))),
    )
    for stratum, cell in enumerate(product(*(range(len(edge) - 1) for _, edge in edges))):
        span = slice(stratum * DONORS, (stratum + 1) * DONORS)
        for (draw, edge), part in zip(edges, cell, strict=True):
            low, high = edge[part], edge[part + 1]
            u[draw, span] = low + (high - low) * u[draw, span]
    return cars.params_from_uniforms(fleet, u, list(fleet.accelerators))


def _charger_edges(fleet: FleetConfig) -> tuple[float, ...]:
    level1 = fleet.home_charger_share * fleet.level1_share
    return (0.0, level1, fleet.home_charger_share, 1.0)


def _stratum(params: FleetParams) -> IntArray:
    """Stratum of each car, int32; digits in the order of `_donor_params`."""
    code: IntArray = (params.home_evse != EVSE_L1).astype(np.int32)
    code += params.home_evse == EVSE_NONE
    code *= NUM_CHEMISTRY
    code += params.chemistry != LFP
    code *= NUM_WORKER
    code += ~params.worker
    code *= NUM_HABIT
    code += (params.habit * NUM_HABIT).astype(np.int32)
    code *= NUM_DRIVE
    code += params.drive >= cars.drive_factor(np.full(1, 0.5, np.float32), params.habit)
    return code


def _strata_shares(fleet: FleetConfig) -> FloatArray:
    """Share of the fleet's cars in each stratum."""
    shares = np.ones(1)
    for edges in (
        _charger_edges(fleet),
        (0.0, fleet.lfp_share, 1.0),
        (0.0, cars.WORKER_SHARE, 1.0),
        np.linspace(0.0, 1.0, NUM_HABIT + 1),
        np.linspace(0.0, 1.0, NUM_DRIVE + 1),
    ):
        shares = np.outer(shares, np.diff(edges)).ravel()
    return shares

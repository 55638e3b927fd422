"""Where cars are, whether they are plugged and how their no-compute twin fares: two kernels.

A car is a semi-Markov chain over home, work, other and driving. All that is random about a stay and
the trip after it is drawn once, on arrival, from tables fitted to measured sessions
(`experiments/tables_mobility.py`). Nothing here reads what compute changes, so the tape of places,
plugs and trips is the same under every policy.
"""

from __future__ import annotations

import numpy as np

from fleet_env import draws
from fleet_env.dynamics.habits import (
    DEST_ATOMS,
    DWELL_ATOMS,
    HABIT_ATOMS,
    NUM_BANDS,
    STATED_ATOMS,
    STATED_BINS,
    STATED_PER_H,
)
from fleet_env.dynamics.habits import MobilityTables as MobilityTables
from fleet_env.dynamics.habits import tables as tables
from fleet_env.dynamics.localtime import LocalTime
from fleet_env.types import (
    DRIVING,
    EVSE_NONE,
    FAULT_SILENT,
    FAULT_STUCK,
    HOME,
    BoolArray,
    FleetParams,
    FleetState,
    FloatArray,
    IntArray,
    KeyArray,
)

LOW_SOC = 0.05  # no trip may end below it (model.md 2.10)
PUBLIC_SOC = 0.60  # public fast charging goes up to here (model.md 2.10)
PUBLIC_ETA = 0.92  # grid to battery (model.md 2.10)
MAX_TRIP_SHARE = 0.54  # of the pack, so that PUBLIC_SOC less a trip stays above LOW_SOC
KWH_PER_KM = 0.175  # domain 3
MEAN_KM_PER_DAY = 48.0  # domain 3
NEED_DAYS = (
    2.0  # of driving left, or less: plug in by need; fitted to soc at plug-in (domain 3: 1.5)
)
SOC_SLOPE = 1.0  # plug-in chance lost per unit of soc; fitted to soc at plug-in
MID_SOC = 0.65  # where the slope has no effect; about the mean at arrival

NUM_DRAWS = 7  # of one arrival: stay, plug, destination, trip, stated departure, snooze, fault


def twin_soc(
    state: FleetState,
    params: FleetParams,
    tables: MobilityTables,
    t_h: float | FloatArray,
    idx: IntArray | None = None,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """State of charge of the no-compute twins at a time, in closed form.

    `ref + rate (t - ref_h)` within 0 and the charge limit (or `ref`, if that is above the limit),
    with `rate` the EVSE's DC power when plugged, the standby drain when parked unplugged or in
    the dark and 0 on the road (model.md 1, 5.2).

    Parameters
    ----------
    t_h : float or FloatArray, shape (len(idx),)
        Time [h since episode start], not before the cars' last events.
    idx : IntArray, optional
        Cars asked for; all if None.
    out : FloatArray, optional
        Written and returned, float32.

    Returns
    -------
    FloatArray, shape (len(idx),) or (num_envs * num_cars,)
    """
    pick = slice(None) if idx is None else idx
    place, ref = state.place[pick], state.twin_ref[pick]
    powered = state.plugged[pick] & ~state.dark[pick]
    evse = np.where(place == HOME, params.home_evse[pick], params.work_evse[pick])
    kw = np.where(powered, tables.evse_dc_kw.take(evse), np.float32(-tables.standby_kw))
    kw *= place != DRIVING
    kw /= params.pack_kwh[pick]
    kw *= t_h - state.ref_h[pick]
    soc = np.add(ref, kw, out=out)
    np.minimum(soc, np.maximum(params.charge_limit[pick], ref), out=soc)
    return np.maximum(soc, 0.0, out=soc)


def depart(
    state: FleetState, params: FleetParams, tables: MobilityTables, idx: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Send parked cars on the trip drawn at their arrival; only the tape is written.

    A trip that would take the twin below `LOW_SOC` is preceded by public fast charging to
    `PUBLIC_SOC`. The event time moves to the arrival.

    Parameters
    ----------
    idx : IntArray, shape (n,)
        Cars whose `event_h` has come, each once.

    Returns
    -------
    twin : FloatArray, shape (n,)
        Soc of the twins at the departure, before any public charging.
    public_kwh : FloatArray, shape (n,)
        What the twins bought on the way [kWh at the public charger's meter].
    """
    t_h = state.event_h[idx]
    twin = twin_soc(state, params, tables, t_h, idx)
    pack_kwh = params.pack_kwh[idx]
    after, public_kwh = spend_trip(twin, state.trip_kwh[idx], pack_kwh)
    state.twin_ref[idx] = after
    state.ref_h[idx] = t_h
    state.event_h[idx] = t_h + state.trip_h[idx]
    state.place[idx] = DRIVING
    state.plugged[idx] = False
    state.dark[idx] = False
    state.parked_h[idx] = np.inf  # no stay: no time since arrival, nothing stated, no call-back
    state.stated_h[idx] = -np.inf
    state.snooze_h[idx] = np.inf
    return twin, public_kwh


def spend_trip(
    soc: FloatArray, trip_kwh: FloatArray, pack_kwh: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Drive a trip, public charging before it if need be: soc after it and kWh bought.

    The same rule for car and twin; the kWh are those of the public charger's meter.
    """
    used = trip_kwh / pack_kwh
    low = soc - used < LOW_SOC
    public_kwh = np.where(low, (PUBLIC_SOC - soc) * (pack_kwh / PUBLIC_ETA), np.float32(0.0))
    after = np.where(low, np.float32(PUBLIC_SOC), soc)
    after -= used
    return after, public_kwh


def arrive(
    state: FleetState,
    params: FleetParams,
    tables: MobilityTables,
    keys: KeyArray,
    idx: IntArray,
    *,
    area: IntArray,
    local: LocalTime,
) -> None:
    """Park driving cars at their destination and draw the stay and the trip after it.

    All that is random comes from one call of the counter-based generator, keyed by car and arrival
    number. Only the tape is written.

    Parameters
    ----------
    keys : KeyArray, shape (num_envs * num_cars,)
        Car keys of `Stream.ARRIVAL`.
    idx : IntArray, shape (n,)
        Driving cars whose `event_h` has come, each once.
    area : IntArray, shape (n,)
        Area of each of these cars; an area is a region of a row.
    local : LocalTime
        Clocks of the areas.
    """
    t_h = state.event_h[idx]
    place = state.next_place[idx]
    num_draws = NUM_DRAWS if tables.faulty else NUM_DRAWS - 1
    u = draws.uniform(keys[idx], state.event_no[idx], num_draws)
    band = tables.band.take(local.hour_of_week(area, t_h))
    at_home = place == HOME
    kind = place.astype(np.intp)
    owner = (params.habit[idx] * HABIT_ATOMS).astype(np.intp)
    habit = np.where(at_home, tables.habit[owner], np.float32(1.0))
    plugged = _plug(state, params, tables, idx, habit, at_home, kind * NUM_BANDS + band, u[1])
    stay_h = _stay(tables, kind + 3 * plugged, band, u[0], tables.haste[owner] * plugged)
    event_h = t_h + stay_h
    row = kind * 2 + params.worker[idx]
    leaving = tables.band.take(local.hour_of_week(area, event_h))
    _next_trip(state, params, tables, idx, row, leaving, u)
    state.stated_h[idx] = event_h - _stated_error(tables, stay_h, u[4])
    state.snooze_h[idx] = _snooze(tables, t_h, event_h, u[5])
    state.place[idx] = place
    state.plugged[idx] = plugged
    state.parked_h[idx] = t_h
    state.ref_h[idx] = t_h
    state.event_h[idx] = event_h
    state.event_no[idx] += 1
    if tables.faulty:
        state.fault[idx] = fault(tables, u[NUM_DRAWS - 1])


def fault(tables: MobilityTables, u: FloatArray) -> IntArray:
    """How the telemetry of stays fails (`FAULT_*`), from one uniform each."""
    silent = u < np.float32(tables.silent_share)
    failing = u < np.float32(tables.silent_share + tables.stuck_share)
    kind: IntArray = failing * np.uint8(FAULT_STUCK)
    kind[silent] = FAULT_SILENT
    return kind


def _plug(
    state: FleetState,
    params: FleetParams,
    tables: MobilityTables,
    idx: IntArray,
    habit: FloatArray,
    at_home: BoolArray,
    place_band: IntArray,
    u: FloatArray,
) -> BoolArray:
    """Plug in by habit (owner, hour, soc) or by need (less than NEED_DAYS of driving left).

    At work and elsewhere the owner's rank plays no part; elsewhere nobody can (factor -1).
    """
    soc = state.twin_ref[idx]  # nothing drains on the road
    factor = tables.plug_factor[place_band]
    chance = habit * factor
    chance *= np.float32(1.0 + SOC_SLOPE * MID_SOC) - np.float32(SOC_SLOPE) * soc
    need_kwh = np.float32(NEED_DAYS * MEAN_KM_PER_DAY * KWH_PER_KM) * params.drive[idx]
    plugged = u < chance
    plugged |= soc * params.pack_kwh[idx] < need_kwh
    plugged &= np.where(at_home, params.home_evse[idx], params.work_evse[idx]) != EVSE_NONE
    plugged &= factor >= 0
    return plugged


def _stay(
    tables: MobilityTables, kind: IntArray, band: IntArray, u: FloatArray, haste: FloatArray
) -> FloatArray:
    """Stay [h]: rank `u` of the band's law, tilted to `u - haste u (1 - u)`."""
    rank = u - haste * u * (1.0 - u)
    rank *= DWELL_ATOMS
    kind *= NUM_BANDS
    kind += band
    kind *= DWELL_ATOMS
    kind += rank.astype(np.intp)
    return tables.dwell_h[kind]


def _next_trip(
    state: FleetState,
    params: FleetParams,
    tables: MobilityTables,
    idx: IntArray,
    row: IntArray,
    band: IntArray,
    u: FloatArray,
) -> None:
    row *= NUM_BANDS
    row += band
    row *= DEST_ATOMS
    row += (u[2] * DEST_ATOMS).astype(np.intp)
    state.next_place[idx] = tables.destination[row]
    trip = (u[3] * len(tables.trip_km)).astype(np.intp)
    drive = params.drive[idx]
    kwh = tables.trip_km[trip] * drive
    kwh *= KWH_PER_KM
    state.trip_kwh[idx] = np.minimum(kwh, MAX_TRIP_SHARE * params.pack_kwh[idx])
    # long trips are faster: time grows with the square root of distance
    state.trip_h[idx] = tables.trip_h[trip] * np.sqrt(drive)


def _stated_error(tables: MobilityTables, stay_h: FloatArray, u: FloatArray) -> FloatArray:
    """Actual minus stated departure [h], at most the stay."""
    bins = np.minimum(stay_h * STATED_PER_H, STATED_BINS - 1).astype(np.intp)
    atom = tables.stated_share[bins] * u
    atom *= STATED_ATOMS
    return tables.stated_error_h[atom.astype(np.intp)]


def _snooze(
    tables: MobilityTables, t_h: FloatArray, event_h: FloatArray, u: FloatArray
) -> FloatArray:
    """First call-back of the owner in the stay, else inf; the rate is small, so `u / rate` does."""
    if tables.snooze_per_h == 0.0:
        return np.full_like(t_h, np.inf)
    when = t_h + u / np.float32(tables.snooze_per_h)
    return np.where(when < event_h, when, np.float32(np.inf))

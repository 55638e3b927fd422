"""Stays at chargers, measured and simulated, in one shape, and what is counted over them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_env import draws
from fleet_env.config import EnvConfig, FleetConfig
from fleet_env.dynamics import mobility
from fleet_env.dynamics.localtime import LocalTime
from fleet_env.dynamics.mobility import MobilityTables
from fleet_env.generators import cars, start
from fleet_env.types import DRIVING, HOME, BoolArray, FleetState, FloatArray, IntArray, KeyArray
from fleet_env.units import HOURS_PER_DAY, S_PER_H

MONDAY = pd.Timestamp("2018-01-01")  # hour 0 of every measured session; a Monday
HOLDOUT_SITES = ("BAR", "KRO", "TRO")  # small, middle, large; named before the first fit
ACN_PERIODS = ("2019-05", "2019-09")  # before the pandemic
MAX_GAP_DAYS = 14.0  # longer without a session: away or data lost, not active (data README)
MIN_SESSIONS = 15  # of a user that counts
FULL_SOC = 0.95  # at the end of charging, as the authors of the data assume
CHARGE_ETA = 0.88  # grid to battery; domain 2a (gives the authors' quantiles within 0.02)
MIN_BATTERY_KWH = 25.0  # below: plug-in hybrids or under-estimates (data README)
SLOT_H = 0.5
SLOTS_PER_WEEK = 336
BURN_IN_DAYS = 28


@dataclass(frozen=True, slots=True)
class Sessions:
    """Stays at a charger; hours count from a Monday 0 h local time."""

    user: IntArray  # 0 .. num_users - 1
    site: NDArray[np.str_]
    start_h: FloatArray
    end_h: FloatArray
    stated_h: FloatArray  # nan where unknown
    soc: FloatArray  # at plug-in; nan where unknown
    num_users: int
    window_h: tuple[float, float] | None = None  # observed span; None: from a user's first to last

    def masked(self, mask: BoolArray) -> Sessions:
        """Sessions of a mask, users and their active spans as they are."""
        columns = ("user", "site", "start_h", "end_h", "stated_h", "soc")
        return replace(self, **{name: getattr(self, name)[mask] for name in columns})

    def select(self, mask: BoolArray) -> Sessions:
        """Sessions of a mask, users renumbered."""
        known, user = np.unique(self.user[mask], return_inverse=True)
        return replace(self.masked(mask), user=user, num_users=len(known))


@dataclass(frozen=True, slots=True)
class Stays:
    """Every stay of a simulated population after the burn-in."""

    car: IntArray
    place: IntArray
    plugged: BoolArray
    start_h: FloatArray
    end_h: FloatArray
    stated_h: FloatArray
    soc: FloatArray
    trip_kwh: FloatArray  # of the trip that follows
    trip_h: FloatArray
    num_cars: int
    window_h: tuple[float, float]

    def home_plugged(self) -> Sessions:
        """Home plug sessions, every car a user (also those that never plug in)."""
        mask = self.plugged & (self.place == HOME)
        return Sessions(
            user=self.car[mask],
            site=np.full(mask.sum(), "simulated"),
            start_h=self.start_h[mask],
            end_h=self.end_h[mask],
            stated_h=self.stated_h[mask],
            soc=self.soc[mask],
            num_users=self.num_cars,
            window_h=self.window_h,
        )

    def driving(self) -> dict[str, float]:
        """How the cars spend their time and their days."""
        low, high = self.window_h
        span_h = (high - low) * self.num_cars
        parked_h = np.clip(self.end_h, low, high) - np.clip(self.start_h, low, high)
        share = np.bincount(self.place, parked_h, 3) / span_h
        leaves = self.end_h < high
        day = ((self.end_h[leaves] - low) // 24).astype(int)
        num_days = round((high - low) / 24)
        km = np.zeros((self.num_cars, num_days))
        np.add.at(km, (self.car[leaves], day), self.trip_kwh[leaves] / mobility.KWH_PER_KM)
        return {
            "share of time driving": 1.0 - float(share.sum()),
            "share of time at home": float(share[HOME]),
            "share of time elsewhere": float(share[1:].sum()),
            "share of days unused": float((km == 0).mean()),
            "km a day": float(km.mean()),
            "log-sd of km on days used": float(np.log(km[km > 0]).std()),
        }


def _hours(column: pd.Series) -> FloatArray:
    hours: FloatArray = ((column - MONDAY).dt.total_seconds() / S_PER_H).to_numpy()
    return hours


def home_sessions(data: Path) -> Sessions:
    """Norwegian home sessions of users with at least MIN_SESSIONS."""
    frame = pd.read_csv(
        data / "mobility" / "ev_home_sessions_norway.csv.gz",
        parse_dates=["plug_in_local", "plug_out_local"],
    )
    enough = frame.groupby("user").user.transform("size") >= MIN_SESSIONS
    frame = frame[enough].sort_values(["user", "plug_in_local"])
    code, users = pd.factorize(frame.user)
    soc = FULL_SOC - CHARGE_ETA * frame.energy_kwh / frame.battery_kwh_est
    soc = soc.where((frame.battery_kwh_est >= MIN_BATTERY_KWH) & (soc > 0))
    return Sessions(
        code,
        frame.location.to_numpy(str),
        _hours(frame.plug_in_local),
        _hours(frame.plug_out_local),
        np.full(len(frame), np.nan),
        soc.to_numpy(),
        num_users=len(users),
    )


def work_sessions(data: Path) -> Sessions:
    """ACN-JPL sessions with a stated departure, ACN_PERIODS; the user is the station."""
    times = ["arrival_local", "departure_local", "estimated_departure_local"]
    frame = pd.read_csv(data / "mobility" / "ev_work_sessions_acn_jpl.csv.gz", parse_dates=times)
    frame = frame[frame.period.isin(ACN_PERIODS)].dropna(subset=times)
    code, stations = pd.factorize(frame.station)
    start_h, end_h, stated_h = (_hours(frame[name]) for name in times)
    unknown = np.full(len(frame), np.nan)
    site = np.full(len(frame), "JPL")
    return Sessions(code, site, start_h, end_h, stated_h, unknown, num_users=len(stations))


def compared_population(num_cars: int, *, paid: bool = False) -> EnvConfig:
    """Configure the simulated side of the comparison: every car has a Level 2 home charger.

    The Norwegian users charge at home with 2.2 to 11.4 kW; Level 1 (1.44 kW) is outside the data.
    """
    fleet = FleetConfig(home_charger_share=1.0, level1_share=0.0, paid_habits=paid)
    return EnvConfig(num_cars=num_cars, fleet=fleet)


def calibration_key() -> KeyArray:
    """Return the scenario key of the simulated weeks, shape (1,); a split of its own."""
    return draws.scenario_key("calibration", np.array([0]))


def simulate(config: EnvConfig, *, weeks: int, tables: MobilityTables | None = None) -> Stays:
    """Play a population without compute and log every stay.

    Cars begin as one row of an episode that starts on a Monday at 0 h; the first BURN_IN_DAYS are
    dropped, and so are stays that begin after the window.
    """
    num_cars = config.num_cars
    tables = mobility.tables(config.fleet, config.telemetry) if tables is None else tables
    key = calibration_key()
    params = cars.draw_params(config, key, list(config.fleet.accelerators))
    keys = draws.car_keys(key, draws.Stream.ARRIVAL, num_cars)
    state = start.parked_at_home(params, soc=0.7)
    local = LocalTime.plain(np.zeros(1), np.zeros(1, int))
    end_h = HOURS_PER_DAY * (BURN_IN_DAYS + 7 * weeks)
    log = []
    idx = np.arange(num_cars)
    while idx.size:
        mobility.depart(state, params, tables, idx[state.place[idx] != DRIVING])
        mobility.arrive(
            state,
            params,
            tables,
            keys,
            idx,
            area=np.zeros(len(idx), int),
            local=local,
        )
        log.append(_log(state, idx))
        idx = idx[state.event_h[idx] < end_h]
    return _stays(log, num_cars, end_h)


# field of the state -> column of the stays
_LOGGED = {
    "place": "place",
    "plugged": "plugged",
    "parked_h": "start_h",
    "event_h": "end_h",
    "stated_h": "stated_h",
    "twin_ref": "soc",
    "trip_kwh": "trip_kwh",
    "trip_h": "trip_h",
}


def _log(state: FleetState, idx: IntArray) -> dict[str, NDArray[Any]]:
    return {"car": idx, **{name: getattr(state, field)[idx] for field, name in _LOGGED.items()}}


def _stays(log: list[dict[str, NDArray[Any]]], num_cars: int, end_h: float) -> Stays:
    columns = {name: np.concatenate([part[name] for part in log]) for name in log[0]}
    order = np.lexsort((columns["start_h"], columns["car"]))
    first_h = HOURS_PER_DAY * BURN_IN_DAYS
    keep = order[(columns["end_h"][order] > first_h) & (columns["start_h"][order] < end_h)]
    kept = {name: column[keep] for name, column in columns.items()}
    wide = {name: x.astype(float) if x.dtype.kind == "f" else x for name, x in kept.items()}
    return Stays(**wide, num_cars=num_cars, window_h=(first_h, end_h))


def active_spans(sessions: Sessions) -> tuple[IntArray, FloatArray, FloatArray]:
    """Spans in which a user counts as active: users, begins, ends [h].

    From the first to the last session (or over the window), without gaps above MAX_GAP_DAYS.
    """
    user, begin, end = sessions.user, sessions.start_h, sessions.end_h
    if sessions.window_h is not None:
        everyone = np.arange(sessions.num_users)
        low, high = (np.full(len(everyone), float(edge)) for edge in sessions.window_h)
        user = np.concatenate([user, everyone, everyone])
        begin = np.clip(np.concatenate([begin, low, high]), *sessions.window_h)
        end = np.clip(np.concatenate([end, low, high]), *sessions.window_h)
    order = np.lexsort((begin, user))
    user, begin, end = user[order], begin[order], end[order]
    new = np.ones(len(user), bool)
    new[1:] = (user[1:] != user[:-1]) | (begin[1:] - end[:-1] > 24.0 * MAX_GAP_DAYS)
    first = np.flatnonzero(new)
    return user[first], begin[first], np.maximum.reduceat(end, first)


def active_days(sessions: Sessions) -> FloatArray:
    """Active days of each user, at least one."""
    user, begin, end = active_spans(sessions)
    return np.maximum(np.bincount(user, (end - begin) / 24.0, sessions.num_users), 1.0)


def plugins_per_day(sessions: Sessions) -> FloatArray:
    """Plug-ins per active day of each user."""
    return np.bincount(sessions.user, minlength=sessions.num_users) / active_days(sessions)


def _slot_counts(user: IntArray, begin: FloatArray, end: FloatArray, num_users: int) -> IntArray:
    """Count how often a user's spans cover each half-hour instant of the week, (num_users, 336)."""
    first = np.ceil(begin / SLOT_H).astype(int)
    number = np.maximum(np.ceil(end / SLOT_H).astype(int) - first, 0)
    offset = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    slot = (np.repeat(first, number) + offset) % SLOTS_PER_WEEK
    flat = np.repeat(user, number) * SLOTS_PER_WEEK + slot
    return np.bincount(flat, minlength=num_users * SLOTS_PER_WEEK).reshape(num_users, -1)


def plugged_counts(sessions: Sessions) -> tuple[IntArray, IntArray]:
    """Plugged and active instants of each user by day type and half-hour, (num_users, 2, 48)."""
    begin, end = sessions.start_h, sessions.end_h
    if sessions.window_h is not None:
        begin, end = np.clip(begin, *sessions.window_h), np.clip(end, *sessions.window_h)
    plugged = _slot_counts(sessions.user, begin, end, sessions.num_users)
    active = _slot_counts(*active_spans(sessions), sessions.num_users)
    return _day_types(plugged), _day_types(active)


def _day_types(count: IntArray) -> IntArray:
    week = count.reshape(-1, 7, 48)
    return np.stack([week[:, :5].sum(axis=1), week[:, 5:].sum(axis=1)], axis=1)


def uplink_panel(data: Path) -> tuple[FloatArray, FloatArray]:
    """Measured uplinks of UK homes [Mbit/s] and their national weights."""
    panel = pd.read_csv(data / "network" / "uk_home_broadband_panel_2023.csv.gz")
    known = panel.dropna(subset=["up_24h", "national_weight"])
    return known["up_24h"].to_numpy(), known["national_weight"].to_numpy()


def weighted_quantiles(ordered: FloatArray, weight: FloatArray, level: FloatArray) -> FloatArray:
    """Quantiles of a sorted, weighted sample (mid-point rule)."""
    cumulative = np.cumsum(weight)
    mid = (cumulative - 0.5 * weight) / cumulative[-1]
    return np.interp(level, mid, ordered)

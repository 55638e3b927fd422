"""Cars drawn from a scenario key: class, charger, links, owner, age."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import fields
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_env import draws
from fleet_env.config import EnvConfig, FleetConfig
from fleet_env.data import read_table
from fleet_env.dynamics import ageing
from fleet_env.dynamics.owners import opt_in_share
from fleet_env.types import (
    EVSE_L1,
    EVSE_L2_7,
    EVSE_L2_11,
    EVSE_NONE,
    LFP,
    LINK_CELLULAR,
    LINK_NONE,
    LINK_WIFI,
    NCA,
    BoolArray,
    FleetParams,
    FloatArray,
    IntArray,
    KeyArray,
)
from fleet_env.units import DAYS_PER_YEAR

WORKER_SHARE = 0.70  # cars with a workplace to go to; est
DRIVE_SIGMA = 0.50  # log-sd of owners' mean distances; Norwegian home kWh a day: 0.55
DRIVE_HABIT_CORR = (
    0.66  # rank correlation of plug-ins and kWh a day over the same battery-car users
)
MIN_AGE_YEARS = 0.1
UP_TO_DOWN_CAP = 0.5  # Wi-Fi goodput at the car, up over down: 20 over 40 Mbit/s; domain 4
CELLULAR_DOWN_MBPS, CELLULAR_UP_MBPS = 30.0, 5.0  # domain 4
CHARGE_LIMIT_LFP = 1.0
CHARGE_LIMIT_NCA = ((0.80, 0.60), (0.85, 0.15), (0.90, 0.25))  # soc, share of owners; est
BLOCK_CARS = 4096  # drawn at once: their hashes fit the L2 cache
AGE_LEVELS = 1024  # ages share a table of ageing gains this fine (3 days at 8 years)
RANK_ATOMS = 1024  # of the broadband table

# rows of a car's uniforms
(
    U_CLASS,
    U_CHARGER,
    U_WORKER,
    U_WORK_CHARGER,
    U_HOME_LINK,
    U_WORK_LINK,
    U_HOME_CELLULAR,
    U_WORK_CELLULAR,
    U_BROADBAND,
    U_GARAGE,
    U_UNPLUGGED,
    U_HABIT,
    U_DRIVE,
    U_LIMIT,
    U_AGE,
    U_ACCELERATOR,
) = range(16)
NUM_DRAWS = 16
CONSENT_EVENT = 1  # of the stream, with draws of its own; all of event 0 are taken
U_ENROLLED, U_QUIET = range(2)


def draw_params(
    config: EnvConfig,
    key: KeyArray,
    accelerator_names: list[str],
    drawn: Mapping[str, FloatArray] | None = None,
) -> FleetParams:
    """Draw the constants of every car of every row.

    Parameters
    ----------
    config : EnvConfig
    key : KeyArray, shape (num_envs,)
        Scenario keys.
    accelerator_names : list of str
        Order of the accelerators in use; names of `config.fleet.accelerators`.
    drawn : mapping of str to FloatArray, shape (num_envs,), optional
        Shares of `config.fleet` that every row has its own of.

    Returns
    -------
    FleetParams
        Flat arrays, car `i` of row `e` at `e * num_cars + i`; a pure function of key and car.
    """
    keys = draws.car_keys(key, draws.Stream.CAR, config.num_cars)
    columns: dict[str, NDArray[Any]] = {}
    for low in range(0, len(keys), BLOCK_CARS):
        block = slice(low, low + BLOCK_CARS)
        fleet = _own_shares(config, drawn or {}, block, len(keys))
        part = params_from_uniforms(fleet, uniforms(keys[block]), accelerator_names)
        _ask_owners(config, keys[block], part)
        for field in fields(part):
            value = getattr(part, field.name)
            column = columns.setdefault(field.name, np.empty(len(keys), value.dtype))
            column[block] = value
    return FleetParams(**columns)


def _own_shares(
    config: EnvConfig, drawn: Mapping[str, FloatArray], block: slice, num: int
) -> FleetConfig:
    """Give a block of cars their settings: what is drawn by row is one number per car."""
    own = [name for name in drawn if hasattr(config.fleet, name)]
    if not own:
        return config.fleet
    fleet, row = copy(config.fleet), np.arange(num)[block] // config.num_cars
    for name in own:
        setattr(fleet, name, drawn[name][row])
    return fleet


def uniforms(car_keys: KeyArray) -> FloatArray:
    """Draw the uniforms of cars, shape (NUM_DRAWS, len(car_keys)), from keys of Stream.CAR."""
    return draws.uniform(car_keys, np.zeros(1, np.uint32), NUM_DRAWS)


def params_from_uniforms(
    fleet: FleetConfig, u: FloatArray, accelerator_names: list[str]
) -> FleetParams:
    """Cars from their uniforms, shape (NUM_DRAWS, n); rows are the `U_*` constants.

    All owners take part at any hour.
    """
    lfp = u[U_CLASS] < np.float32(fleet.lfp_share)
    worker = u[U_WORKER] < np.float32(WORKER_SHARE)
    full_evse = np.where(lfp, np.uint8(EVSE_L2_7), np.uint8(EVSE_L2_11))
    home_link = _link(u[U_HOME_LINK], fleet.home_link_share, u[U_HOME_CELLULAR], fleet)
    down, up = _broadband(u[U_BROADBAND], home_link, fleet)
    limit = np.where(lfp, np.float32(CHARGE_LIMIT_LFP), _nca_limit(u[U_LIMIT]))
    target = np.where(lfp, np.float32(fleet.target_soc_lfp), np.float32(fleet.target_soc_nca))
    cal_gain, cyc_gain = _gains(u[U_AGE], lfp, fleet.max_age_years)
    lfp_kwh, nca_kwh = read_table("vehicles_classes.csv")["pack_kwh"]
    return FleetParams(
        pack_kwh=np.where(lfp, np.float32(lfp_kwh), np.float32(nca_kwh)),
        chemistry=np.where(lfp, np.uint8(LFP), np.uint8(NCA)),
        accelerator=_accelerator(u[U_ACCELERATOR], fleet, accelerator_names),
        home_evse=_home_evse(u[U_CHARGER], full_evse, fleet),
        work_evse=_work_evse(u[U_WORK_CHARGER], worker, full_evse, fleet),
        home_link=home_link,
        work_link=_link(u[U_WORK_LINK], fleet.work_link_share, u[U_WORK_CELLULAR], fleet),
        down_mbps=down,
        up_mbps=up,
        closed_garage=u[U_GARAGE] < np.float32(fleet.closed_garage_share),
        unplugged_ok=u[U_UNPLUGGED] < np.float32(fleet.unplugged_share),
        worker=worker,
        habit=u[U_HABIT].copy(),
        drive=drive_factor(u[U_DRIVE], u[U_HABIT]),
        charge_limit=limit,
        target_soc=np.minimum(target, limit),
        reserve_soc=np.full(len(limit), fleet.reserve_soc, np.float32),
        enrolled=np.ones(len(limit), np.bool_),
        quiet=np.zeros(len(limit), np.bool_),
        cal_gain=cal_gain,
        cyc_gain=cyc_gain,
    )


def _ask_owners(config: EnvConfig, car_keys: KeyArray, params: FleetParams) -> None:
    """Write who takes part and who wants quiet hours, where the settings leave that to owners."""
    owners = config.owners
    by_pay = owners.opt_in == "by_pay"
    if not by_pay and owners.quiet_share == 0.0:
        return
    u = draws.uniform(car_keys, np.full(1, CONSENT_EVENT, np.uint32), 2)
    params.quiet[:] = u[U_QUIET] < np.float32(owners.quiet_share)
    if by_pay:
        pay = config.reward.pay_usd_per_on_duty_h * owners.expected_duty_h_per_month
        params.enrolled[:] = u[U_ENROLLED] < np.float32(opt_in_share(pay))


def drive_factor(u: FloatArray, habit: FloatArray) -> FloatArray:
    """Lognormal factor on trip distances, mean 1; owners who plug in often drive more."""
    by_habit, own = _drive_atoms()
    factor = by_habit[(habit * RANK_ATOMS).astype(np.intp)]
    factor *= own[(u * RANK_ATOMS).astype(np.intp)]
    return factor


@lru_cache(maxsize=1)
def _drive_atoms() -> tuple[FloatArray, FloatArray]:
    normal = NormalDist()
    z = np.array([normal.inv_cdf((atom + 0.5) / RANK_ATOMS) for atom in range(RANK_ATOMS)])
    by_habit = np.exp(DRIVE_SIGMA * DRIVE_HABIT_CORR * z)
    own = np.exp(DRIVE_SIGMA * np.sqrt(1.0 - DRIVE_HABIT_CORR**2) * z)
    own /= by_habit.mean() * own.mean()
    return by_habit.astype(np.float32), own.astype(np.float32)


def _accelerator(u: FloatArray, fleet: FleetConfig, names: list[str]) -> IntArray:
    edges = np.cumsum([fleet.accelerators[name] for name in names])[:-1].astype(np.float32)
    row = np.zeros(len(u), np.uint8)
    for edge in edges:
        row += u >= edge
    return row


def _home_evse(u: FloatArray, full_evse: IntArray, fleet: FleetConfig) -> IntArray:
    level1 = np.float32(fleet.home_charger_share * fleet.level1_share)
    evse = np.where(u < level1, np.uint8(EVSE_L1), full_evse)
    evse[u >= np.float32(fleet.home_charger_share)] = EVSE_NONE
    return evse


def _work_evse(
    u: FloatArray, worker: BoolArray, full_evse: IntArray, fleet: FleetConfig
) -> IntArray:
    has = worker & (u < np.float32(fleet.work_charger_share))
    return np.where(has, full_evse, np.uint8(EVSE_NONE))


def _link(u: FloatArray, share: float, u_cellular: FloatArray, fleet: FleetConfig) -> IntArray:
    link = np.full(len(u), LINK_NONE, np.uint8)
    if fleet.cellular_share > 0:
        link[u_cellular < np.float32(fleet.cellular_share)] = LINK_CELLULAR
    link[u < np.float32(share)] = LINK_WIFI
    return link


def _broadband(u: FloatArray, link: IntArray, fleet: FleetConfig) -> tuple[FloatArray, FloatArray]:
    """Down and up at the car [Mbit/s]: the household's line, capped by its Wi-Fi at the car.

    One rank serves both directions (their log correlation in the panel is 0.86).
    """
    down, up = _broadband_atoms()
    atom = (u * RANK_ATOMS).astype(np.intp)
    down = np.minimum(down[atom], np.float32(fleet.wifi_cap_mbps))
    up = np.minimum(up[atom], np.float32(fleet.wifi_cap_mbps * UP_TO_DOWN_CAP))
    if fleet.cellular_share > 0:
        cellular = link == LINK_CELLULAR
        down[cellular], up[cellular] = CELLULAR_DOWN_MBPS, CELLULAR_UP_MBPS
    return down, up


@lru_cache(maxsize=1)
def _broadband_atoms() -> tuple[FloatArray, FloatArray]:
    table = read_table("network_broadband.csv")
    mid = (np.arange(RANK_ATOMS) + 0.5) / RANK_ATOMS
    down, up = (np.interp(mid, table["rank"], table[n]) for n in ("down_mbps", "up_mbps"))
    return down.astype(np.float32), up.astype(np.float32)


def _nca_limit(u: FloatArray) -> FloatArray:
    soc = [limit for limit, _ in CHARGE_LIMIT_NCA]
    edges = np.cumsum([share for _, share in CHARGE_LIMIT_NCA])
    atoms = np.repeat(soc, np.diff(np.round(edges * RANK_ATOMS), prepend=0).astype(int))
    return atoms.astype(np.float32)[(u * RANK_ATOMS).astype(np.intp)]


def _gains(u: FloatArray, lfp: BoolArray, max_age_years: float) -> tuple[FloatArray, FloatArray]:
    """Ageing gains at ages uniform from MIN_AGE_YEARS to the oldest, by table."""
    cal, cyc = _gain_tables(max_age_years)
    row = (u * AGE_LEVELS).astype(np.intp)
    row += lfp * AGE_LEVELS
    return cal[row], cyc[row]


@lru_cache(maxsize=16)
def _gain_tables(max_age_years: float) -> tuple[FloatArray, FloatArray]:
    span = max(max_age_years - MIN_AGE_YEARS, 0.0)
    mid = (np.arange(AGE_LEVELS) + 0.5) / AGE_LEVELS
    days = np.tile((MIN_AGE_YEARS + mid * span) * DAYS_PER_YEAR, 2)
    return ageing.gains(np.repeat([NCA, LFP], AGE_LEVELS), days)

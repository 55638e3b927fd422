"""Owners' habits as lookup tables: what the mobility kernel draws from on an arrival."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fleet_env.config import FleetConfig
from fleet_env.config_world import TelemetryConfig
from fleet_env.data import read_table
from fleet_env.types import HOME, WORK, FloatArray, IntArray
from fleet_env.units import DAYS_PER_MONTH, HOURS_PER_DAY, W_PER_KW

WORK_PLUG_PROBABILITY = 0.50  # of a stay at a workplace with a charger; est
NO_PLUG = -1.0  # factor where there is nothing to plug into
HASTE = 0.2  # largest tilt of the rank of a stay; fitted to owners' plugged shares
HOURS_PER_WEEK = 168
NUM_BANDS = 96  # (Monday-Thursday, Friday, Saturday, Sunday) x clock hour
DAY_TYPE = np.array([0, 0, 0, 0, 1, 2, 3])  # by weekday, 0 = Monday
DWELL_ATOMS = 40  # equally likely stays per row of the dwell table
DEST_ATOMS = 64
HABIT_ATOMS = 256
STATED_ATOMS = 512
STATED_PER_H, STATED_BINS = 8, 256  # grid of stay lengths: 1/8 h up to 32 h
STAY_KINDS = ("home_unplugged", "work", "other", "home_plugged", "work")  # place + 3 * plugged


@dataclass(frozen=True, slots=True)
class MobilityTables:
    """Inverse distribution functions as arrays of equally likely values ("atoms"), flattened.

    A draw is one index and one `take`. Rows are bands: day type x clock hour.
    """

    band: IntArray  # (168,) hour of the week, Monday 0 h first -> band
    dwell_h: FloatArray  # (5, 96, 40) rows of STAY_KINDS
    destination: IntArray  # (6, 96, 64) uint8, row 2 * place + worker
    plug_factor: FloatArray  # (3, 96) by place and arrival band
    habit: FloatArray  # (256,) propensity to plug in, by rank of the owner
    haste: FloatArray  # (256,) tilt of the owner's plugged stays: positive is shorter
    trip_km: FloatArray  # (num_trips,) sorted
    trip_h: FloatArray  # (num_trips,) of the same trips
    stated_share: FloatArray  # (256,) share of the stated-error law that fits into a stay
    stated_error_h: FloatArray  # (512,) actual minus stated departure, sorted
    evse_dc_kw: FloatArray  # (4,) by EVSE row
    standby_kw: float
    snooze_per_h: float  # rate at which owners call a parked car back
    silent_share: float  # stays whose arrival is never reported
    stuck_share: float  # stays whose end is not reported

    @property
    def faulty(self) -> bool:
        """Whether telemetry fails at all."""
        return self.silent_share + self.stuck_share > 0.0


def tables(fleet: FleetConfig, telemetry: TelemetryConfig) -> MobilityTables:
    """Tables of the default owners, or of owners paid to plug in (`fleet.paid_habits`)."""
    return _tables(
        "paid" if fleet.paid_habits else "propensity",
        fleet.standby_w,
        fleet.override_per_month,
        fleet.stated_error_scale,
        telemetry.silent_share,
        telemetry.stuck_share,
    )


@lru_cache(maxsize=16)
def _tables(
    habits: str,
    standby_w: float,
    override_per_month: float,
    stated_error_scale: float,
    silent_share: float,
    stuck_share: float,
) -> MobilityTables:
    plug, habit, trip = (read_table(f"mobility_{n}.csv") for n in ("plug", "habit", "trips"))
    stated, charger = read_table("mobility_stated.csv"), read_table("chargers.csv")
    factor = np.full((3, NUM_BANDS), NO_PLUG, np.float32)
    factor[HOME] = plug["factor"]
    factor[WORK] = WORK_PLUG_PROBABILITY
    error_h = _atoms(stated["cumulative"], stated["error_h"], STATED_ATOMS)
    return MobilityTables(
        band=_bands(),
        dwell_h=_dwell_atoms().ravel(),
        destination=_destination_atoms().ravel(),
        plug_factor=factor.ravel(),
        habit=habit_atoms(habit["rank"], habit[habits]),
        haste=_haste(habit["rank"], habit["plugins_per_day"]),
        trip_km=trip["km"].astype(np.float32),
        trip_h=trip["hours"].astype(np.float32),
        stated_share=stated_share(error_h),
        stated_error_h=error_h * np.float32(stated_error_scale),
        evse_dc_kw=(charger["ac_kw"] * charger["eta"]).astype(np.float32),
        standby_kw=standby_w / W_PER_KW,
        snooze_per_h=override_per_month / (DAYS_PER_MONTH * HOURS_PER_DAY),
        silent_share=silent_share,
        stuck_share=stuck_share,
    )


def stated_share(error_h: FloatArray) -> FloatArray:
    """Share of sorted error atoms not above each stay length of the grid, shape (STATED_BINS,).

    Nobody states a departure before arriving, so a stay of `d` hours only draws errors up to `d`.
    """
    stay_h = np.arange(STATED_BINS) / STATED_PER_H
    share = np.searchsorted(error_h, stay_h, side="right") / np.float64(len(error_h))
    return np.asarray(share, dtype=np.float32)


def _bands() -> IntArray:
    hour = np.arange(HOURS_PER_WEEK)
    return DAY_TYPE[hour // 24] * 24 + hour % 24


def habit_atoms(rank: FloatArray, propensity: FloatArray) -> FloatArray:
    """Propensity to plug in of HABIT_ATOMS equally likely owners, by rank."""
    return _atoms(rank, propensity, HABIT_ATOMS)


def _haste(rank: FloatArray, plugins_per_day: FloatArray) -> FloatArray:
    """Tilt of stays by rank: -HASTE sin(2 pi s), with `s` the share of sessions of rarer owners.

    Owners who plug in most stay plugged for less time (the measured mean is 10 h in their top
    third), those of middle rank for longer (17 h), the rarest like all. The sine has mean 0 over
    sessions, so the stays of all sessions together keep their measured law.
    """
    rate = _atoms(rank, plugins_per_day, HABIT_ATOMS).astype(float)
    before = (np.cumsum(rate) - 0.5 * rate) / rate.sum()
    return np.asarray(-HASTE * np.sin(2.0 * np.pi * before), dtype=np.float32)


def _atoms(level: FloatArray, quantile: FloatArray, num: int) -> FloatArray:
    """Middle quantiles of `num` equally likely groups, float32."""
    mid = (np.arange(num) + 0.5) / num
    return np.asarray(np.interp(mid, level, quantile), dtype=np.float32)


def _dwell_atoms() -> FloatArray:
    table = read_table("mobility_dwell.csv")
    stay_h = np.stack([table[f"stay{atom}_h"] for atom in range(DWELL_ATOMS)], axis=1)
    return np.stack([stay_h[table["stay"] == kind] for kind in STAY_KINDS]).astype(np.float32)


def _destination_atoms() -> IntArray:
    """Home first, then work, then other: atoms of the next place, (6, 96, 64)."""
    table = read_table("mobility_destination.csv")
    mid = (np.arange(DEST_ATOMS) + 0.5) / DEST_ATOMS
    home, work = table["p_home"][:, None], (table["p_home"] + table["p_work"])[:, None]
    atoms: IntArray = np.add(mid >= home, mid >= work, dtype=np.uint8)
    return atoms

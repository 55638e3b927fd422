"""Read users' traces by path; a malformed file is refused with line, column, value and the fix.

Three kinds: request files (a row a request), window files (a row a time window) and a folder of
hourly energy files. Nothing is repaired silently: missing windows are filled only by a mode that
the caller names.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fleet_env.config import FILLS
from fleet_env.data.csvfile import Column, Table, TraceError, find_file, read_columns
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.units import HOURS_PER_DAY, KWH_PER_MWH, S_PER_H, S_PER_MIN

__all__ = [
    "FILLS",
    "EnergySeries",
    "Requests",
    "TraceError",
    "Windows",
    "count_windows",
    "fill_missing",
    "load_energy",
    "load_requests",
    "load_windows",
]

_DAY_S = HOURS_PER_DAY * S_PER_H
_MAX_WINDOW_S = S_PER_H

_TIME_S = Column("t_s", 0.0, 1e9, "seconds from the start")
_REQUEST_COLUMNS = (
    _TIME_S,
    Column("input_tokens", 1.0, 1e7, "tokens", "write tokens and drop empty requests"),
    Column("output_tokens", 1.0, 1e7, "tokens", "write tokens and drop empty requests"),
    Column("service", optional=True),
)
_WINDOW_COLUMNS = (
    _TIME_S,
    Column("rate_rps", 0.0, 1e9, "requests per second"),
    Column("rate_interactive_rps", 0.0, 1e9, "requests per second", optional=True),
)
_TIME_UTC = Column("time_utc")
_MARKET_COLUMNS = (
    _TIME_UTC,
    Column("price_usd_mwh", -1000.0, 20_000.0, "USD/MWh", "write USD/MWh, not cents or USD/kWh"),
    Column("temp_c", -60.0, 60.0, "degC", "write degrees Celsius, not Fahrenheit or Kelvin"),
    Column("filled", 0.0, 1.0, "share", optional=True),
)
_CARBON_COLUMNS = (
    _TIME_UTC,
    Column("ci_lca_g_kwh", 0.0, 2000.0, "g CO2 per kWh", "write g/kWh, not g/MWh or kg/kWh"),
)


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of a log, each array of shape (n,)."""

    t_s: FloatArray  # since the start of the log
    input_tokens: FloatArray
    output_tokens: FloatArray
    service: NDArray[np.str_]  # "" where the file has no such column


@dataclass(frozen=True, slots=True)
class Windows:
    """Mean request rates in windows of equal length, from a local midnight on."""

    window_min: int
    rate_rps: FloatArray  # (n,)
    interactive_rps: FloatArray | None  # (n,), part of `rate_rps`; None if the file does not tell
    share_filled: float  # share of the windows that the fill mode made up
    start_weekday: int = 0  # 0 = Monday
    non_working_days: tuple[int, ...] | None = None  # days of the trace; None: Saturday, Sunday


@dataclass(frozen=True, slots=True)
class EnergySeries:
    """Hourly series of a region, each of shape (n,); entry i is the hour `start_utc_h + i`."""

    region: str
    start_utc_h: int  # hours since 1970-01-01T00Z
    price_usd_per_kwh: FloatArray  # day-ahead or spot, without delivery
    temp_c: FloatArray
    carbon_g_per_kwh: FloatArray  # life cycle, average
    share_filled: float  # as the price file says; 0 where it does not


def load_requests(path: str | Path) -> Requests:
    """Read a request log with columns `t_s`, `input_tokens`, `output_tokens` and maybe `service`.

    Parameters
    ----------
    path : str or Path
        A ``.csv`` or ``.csv.gz`` file. Each service has its own clock, on which times never fall.

    Returns
    -------
    Requests

    Raises
    ------
    TraceError
        If the file is missing, cut off or badly encoded, or a value is bad or out of range.
    """
    table = read_columns(Path(path), _REQUEST_COLUMNS)
    t_s = table.numbers["t_s"]
    service = table.texts.get("service", np.zeros(len(t_s), dtype="U1"))
    for name in np.unique(service):
        rows = np.flatnonzero(service == name)
        falls = np.flatnonzero(np.diff(t_s[rows]) < 0)
        if len(falls):
            expected = f"at least {t_s[rows[falls[0]]]:.12g}, the time of the row before"
            raise table.fault(int(rows[falls[0] + 1]), "t_s", expected, "sort each service by t_s")
    return Requests(t_s, table.numbers["input_tokens"], table.numbers["output_tokens"], service)


def load_windows(path: str | Path, *, fill: str = "fail", need_min: float = 0.0) -> Windows:
    """Read window starts `t_s`, rates `rate_rps` and maybe their part `rate_interactive_rps`.

    `t_s` = 0 is a local midnight. ``# start_weekday: 1`` (0 = Monday, the default) and
    ``# non_working_days: 3,4`` (day numbers of the trace; default Saturdays and Sundays) may
    stand above the header.

    Parameters
    ----------
    path : str or Path
        A ``.csv`` or ``.csv.gz`` file.
    fill : {"fail", "hold", "zero", "interpolate"}
        What to do about missing windows; the share filled is part of the result.
    need_min : float
        Least length of the trace [min].

    Returns
    -------
    Windows

    Raises
    ------
    TraceError
        As `load_requests`; also for unsorted, doubled, missing or irregular windows and a trace
        that is too short.
    """
    if fill not in FILLS:
        raise ValueError(f"fill={fill!r}: expected one of {FILLS}")
    table = read_columns(Path(path), _WINDOW_COLUMNS)
    slot, window_s = _window_slots(table)
    rate, part = table.numbers["rate_rps"], table.numbers.get("rate_interactive_rps")
    if part is not None and (part > rate).any():
        row = int(np.argmax(part > rate))
        expected = f"at most rate_rps = {rate[row]:.12g}, of which it is a part"
        raise table.fault(row, "rate_interactive_rps", expected, "correct one of the two")
    missing = np.ones(slot[-1] + 1, dtype=bool)
    missing[slot] = False
    if fill == "fail" and missing.any():
        row = int(np.argmax(np.diff(slot) > 1)) + 1
        expected = f"the next window at {(slot[row - 1] + 1) * window_s:.12g} s"
        raise table.fault(row, "t_s", expected, f"add the windows or ask for fill = {FILLS[1:]}")
    _require_length(path, len(missing) * window_s / S_PER_MIN, need_min)
    return Windows(
        window_min=round(window_s / S_PER_MIN),
        rate_rps=_spread(rate, missing, fill),
        interactive_rps=None if part is None else _spread(part, missing, fill),
        share_filled=float(missing.mean()),
        start_weekday=(table.note("start_weekday", 6) or (0,))[0],
        non_working_days=table.note("non_working_days", 100_000),
    )


def count_windows(path: str | Path, window_min: int, *, need_min: float = 0.0) -> Windows:
    """Count the requests of a log in windows, all services together, t_s = 0 a Monday midnight.

    The last window is dropped: the log may end inside it.
    """
    slot = (load_requests(path).t_s // (window_min * S_PER_MIN)).astype(np.int64)
    num = int(slot.max())
    _require_length(path, num * window_min, need_min)
    rate = np.bincount(slot, minlength=num)[:num] / (window_min * S_PER_MIN)
    return Windows(window_min, rate, None, share_filled=0.0)


def load_energy(folder: str | Path, region: str) -> EnergySeries:
    """Read ``price_weather_<region>_*.csv[.gz]`` and ``carbon_<region>_*.csv[.gz]`` of a folder.

    Parameters
    ----------
    folder : str or Path
        Where both files lie.
    region : str
        Name of the region as in the file names.

    Returns
    -------
    EnergySeries

    Raises
    ------
    TraceError
        As `load_requests`; also for times without zone, missing or doubled hours, and two files
        that do not cover the same hours.
    """
    market = read_columns(
        find_file(Path(folder), f"price_weather_{region}_*.csv*"), _MARKET_COLUMNS
    )
    carbon = read_columns(find_file(Path(folder), f"carbon_{region}_*.csv*"), _CARBON_COLUMNS)
    hours, carbon_hours = _utc_hours(market), _utc_hours(carbon)
    if len(hours) != len(carbon_hours) or hours[0] != carbon_hours[0]:
        expected = f"{len(hours)} hours from {market.texts['time_utc'][0]} on as in {market.path}"
        raise carbon.fault(0, "time_utc", expected, "cut both files to the same hours")
    made_up = market.numbers.get("filled", np.zeros(1))
    return EnergySeries(
        region=region,
        start_utc_h=int(hours[0]),
        price_usd_per_kwh=(market.numbers["price_usd_mwh"] / KWH_PER_MWH).astype(np.float32),
        temp_c=market.numbers["temp_c"].astype(np.float32),
        carbon_g_per_kwh=carbon.numbers["ci_lca_g_kwh"].astype(np.float32),
        share_filled=float((made_up > 0).mean()),
    )


def fill_missing(values: FloatArray, missing: BoolArray, how: str) -> FloatArray:
    """Fill the missing entries: `hold` the value before, put `zero`, or `interpolate` in time."""
    if how not in FILLS[1:]:
        raise ValueError(f"fill={how!r}: expected one of {FILLS[1:]}")
    at, known = np.flatnonzero(missing), np.flatnonzero(~missing)
    filled = np.array(values, dtype=np.float64)
    if how == "zero":
        filled[at] = 0.0
    elif how == "hold":
        filled[at] = filled[known[np.maximum(np.searchsorted(known, at) - 1, 0)]]
    else:
        filled[at] = np.interp(at, known, filled[known])
    return filled


def _require_length(path: str | Path, have_min: float, need_min: float) -> None:
    if have_min < need_min:
        raise TraceError(
            f"{path}: covers {have_min:g} minutes: expected at least {need_min:g}, "
            "fix: give a longer trace, or ask for it to be repeated (demand.short=wrap)"
        )


def _window_slots(table: Table) -> tuple[IntArray, float]:
    """Return the number of each window, from the first on, and the window length [s]."""
    t_s = table.numbers["t_s"]
    steps = np.diff(t_s)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        expected = f"more than {t_s[row - 1]:.12g}, the start of the window before"
        raise table.fault(row, "t_s", expected, "sort by t_s and drop double windows")
    lengths, counts = np.unique(steps, return_counts=True)
    window_s = float(lengths[counts.argmax()]) if len(steps) else 0.0
    if window_s == 0 or window_s % S_PER_MIN or _MAX_WINDOW_S % window_s:
        row = int(np.argmax(steps == window_s)) + 1 if len(steps) else 0
        expected = "windows of 1 to 60 whole minutes that divide an hour"
        raise table.fault(row, "t_s", expected, "resample the trace, for instance to 600 s")
    bad = (t_s - t_s[0] % _DAY_S) % window_s != 0
    if t_s[0] % _DAY_S != 0 or bad.any():
        row = 0 if t_s[0] % _DAY_S else int(np.argmax(bad))
        expected = f"a multiple of {window_s:g} s, the first row at a local midnight"
        raise table.fault(row, "t_s", expected, "shift or resample the trace")
    return ((t_s - t_s[0]) // window_s).astype(np.int64), window_s


def _spread(values: FloatArray, missing: BoolArray, fill: str) -> FloatArray:
    spread = np.zeros(len(missing))
    spread[~missing] = values
    return fill_missing(spread, missing, fill) if missing.any() else spread


def _utc_hours(table: Table) -> IntArray:
    """Hours since 1970 of the column `time_utc`, checked to be consecutive."""
    text = table.texts["time_utc"]
    naive = ~np.char.endswith(text, "Z")
    if naive.any():
        expected = "a UTC time such as 2022-01-01T00:00:00Z"
        raise table.fault(int(np.argmax(naive)), "time_utc", expected, "state UTC with a final Z")
    hours = _full_hours(table)
    steps = np.diff(hours)
    if (steps != 1).any():
        row = int(np.argmax(steps != 1)) + 1
        fix = "sort the hours and drop double ones" if steps[row - 1] < 1 else "add the hours"
        raise table.fault(row, "time_utc", f"the hour after {text[row - 1]}", fix)
    return hours


def _full_hours(table: Table) -> IntArray:
    seconds = np.empty(len(table.lines), dtype=np.int64)
    for row, text in enumerate(table.texts["time_utc"]):
        seconds[row] = _epoch_s(str(text))
    bad = seconds % int(S_PER_H) != 0
    if bad.any():
        expected = "a full hour such as 2022-01-01T00:00:00Z"
        fix = "write ISO 8601 times of full hours"
        raise table.fault(int(np.argmax(bad)), "time_utc", expected, fix)
    return seconds // int(S_PER_H)


def _epoch_s(text: str) -> int:
    """Seconds since 1970 of an ISO 8601 time; -1, no full hour, for what is none."""
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return -1

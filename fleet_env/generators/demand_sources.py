"""Build the demand trace that a scenario card names: shipped weeks, a synthetic one, or a file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from fleet_env.config import EnvConfig
from fleet_env.data import read_table
from fleet_env.data.csvfile import read_header
from fleet_env.data.traces import Windows, count_windows, fill_missing, load_windows
from fleet_env.generators.clock import MIN_PER_DAY, load_zone
from fleet_env.generators.demand import NUM_CLASSES, DemandTrace, make_trace
from fleet_env.regions import regions_of
from fleet_env.types import FloatArray
from fleet_env.units import MIN_PER_H

_SERVEGEN_MIN = 10  # window of both shipped tables
_SERVEGEN_START_WEEKDAY = 1  # Tuesday, inferred; fits the low and high days of the trace
_SERVEGEN_NON_WORKING = (3, 4, 5, 11, 12)  # days of the trace; same note
_SERVEGEN_SPLIT_DAY = 7
_OUTAGE_SHARE = 0.02  # of the median rate; the 37 outage windows of m-small hold exactly 0
_AZURE_START_WEEKDAY = 6  # Sunday 2024-05-12
_AZURE_SPLIT_DAY = 4  # Sunday to Wednesday | Thursday to Saturday: both day types on either side
_LEAST_DAYS = 2  # of a trace by path: one for training, one for the test
_WRAPPED_DAYS = 14  # what a shorter trace is repeated to: every weekday, in both parts
_REQUEST_WINDOW_MIN = 10  # request logs are counted in windows as long as the shipped ones


def load_traces(config: EnvConfig) -> tuple[DemandTrace, ...]:
    """Load the demand of every region of a card, each in its own local clock.

    All sources are local already, but for `azure2024`.
    """
    demand, regions = config.demand, regions_of(config)

    def load(time_zone: str) -> DemandTrace:
        return load_demand(demand.source, time_zone, fill=demand.fill, short=demand.short)

    if demand.source == "azure2024":
        return tuple(load(region.time_zone) for region in regions)
    return (load(regions[0].time_zone),) * len(regions)


def load_demand(
    source: str, time_zone: str, *, fill: str = "fail", short: str = "fail"
) -> DemandTrace:
    """Load the demand of a scenario card.

    Parameters
    ----------
    source : str
        ``servegen``: two weeks of interactive and API clients, local clock.
        ``azure2024``: a week of conversations, recorded in UTC, its users world-wide; turned to
        the local clock of `time_zone` around the week, so up to 14 h of its first day stand after
        its last or the reverse. It tells nothing of batch work: that is constant.
        ``synthetic``: the mean working and non-working day of ServeGen by hour, joined smoothly.
        Anything else: path of a request file (`traces.load_requests`) or a window file
        (`traces.load_windows`), its first half for training, the rest for the test.
    time_zone : str
        IANA name.
    fill, short : str
        Of a file, as in `DemandConfig`: what to do about missing windows, and about a trace of less
        than two days ("wrap" repeats it over two weeks: its own shape, no days to tell apart).

    Returns
    -------
    DemandTrace

    Raises
    ------
    ValueError
        If the source is no known name and no file; `TraceError` if the file is malformed.
    """
    if source == "servegen":
        return _servegen()
    if source == "azure2024":
        return _azure2024(time_zone)
    if source == "synthetic":
        return _synthetic()
    if not Path(source).is_file():
        raise ValueError(
            f"demand.source={source!r}: expected servegen, azure2024, synthetic or an existing file"
        )
    return _from_file(source, fill, short)


@lru_cache(maxsize=1)
def _servegen() -> DemandTrace:
    table = read_table("servegen_weeks.csv")
    rate = np.array([table[c] for c in ("chat_8b_rps", "chat_70b_rps", "batch_70b_rps")])
    outage = rate < _OUTAGE_SHARE * np.median(rate, axis=1, keepdims=True)
    rate = np.array([fill_missing(r, o, "interpolate") for r, o in zip(rate, outage, strict=True)])
    days = rate.shape[1] * _SERVEGEN_MIN // MIN_PER_DAY
    return make_trace(
        "servegen",
        "recorded in local time (UTC+8, inferred) and taken as the local time of the fleet",
        _to_minutes(rate, _SERVEGEN_MIN),
        start_weekday=_SERVEGEN_START_WEEKDAY,
        non_working=np.isin(np.arange(days), _SERVEGEN_NON_WORKING),
        split_day=_SERVEGEN_SPLIT_DAY,
        share_filled=float(outage.any(axis=0).mean()),
    )


@lru_cache(maxsize=16)
def _azure2024(time_zone: str) -> DemandTrace:
    table = read_table("azure2024_conv_week.csv")
    chat = _to_minutes(table["requests"], _SERVEGEN_MIN)
    utc_min = np.datetime64(str(table["time_utc"][0])[:16], "m").astype(np.int64)
    offset = int(load_zone(time_zone, 2024).offset(np.array([utc_min]))[0])
    chat = np.roll(chat, offset)
    weekday = (_AZURE_START_WEEKDAY + np.arange(len(chat) // MIN_PER_DAY)) % 7
    return make_trace(
        "azure2024",
        f"recorded in UTC, users world-wide; turned around the week by {offset} min to {time_zone}",
        np.array([chat, chat, np.ones_like(chat)]),
        start_weekday=_AZURE_START_WEEKDAY,
        non_working=weekday >= 5,
        split_day=_AZURE_SPLIT_DAY,
    )


@lru_cache(maxsize=1)
def _synthetic() -> DemandTrace:
    trace = _servegen()
    by_hour = trace.rate.reshape(NUM_CLASSES, -1, 24, int(MIN_PER_H)).mean(axis=3)
    weekend = np.arange(7) >= 5
    kinds = [by_hour[:, trace.non_working == kind].mean(axis=1) for kind in (False, True)]
    week = np.concatenate([kinds[int(kind)] for kind in weekend], axis=1)
    middle = (np.arange(week.shape[1]) + 0.5) * MIN_PER_H
    minute = np.arange(7 * MIN_PER_DAY)
    rate = np.array([np.interp(minute, middle, r, period=7 * MIN_PER_DAY) for r in week])
    return make_trace(
        "synthetic",
        "mean days of servegen in the local time of the fleet",
        np.tile(rate, 2),
        start_weekday=0,
        non_working=np.tile(weekend, 2),
        split_day=7,
    )


def _from_file(path: str, fill: str, short: str) -> DemandTrace:
    need_min = _LEAST_DAYS * MIN_PER_DAY if short == "fail" else 0
    if "input_tokens" in read_header(path):
        windows = count_windows(path, _REQUEST_WINDOW_MIN, need_min=need_min)
    else:
        windows = load_windows(path, fill=fill, need_min=need_min)
    rate = _to_minutes(_classes(windows), windows.window_min)
    if rate.shape[1] < _LEAST_DAYS * MIN_PER_DAY:
        rate = np.array([np.resize(row, _WRAPPED_DAYS * MIN_PER_DAY) for row in rate])
    days = rate.shape[1] // MIN_PER_DAY
    rate = rate[:, : days * MIN_PER_DAY]
    weekend = (windows.start_weekday + np.arange(days)) % 7 >= 5
    numbers = windows.non_working_days
    return make_trace(
        path,
        "time 0 is a midnight in the local time of the fleet",
        rate,
        start_weekday=windows.start_weekday,
        non_working=weekend if numbers is None else np.isin(np.arange(days), numbers),
        split_day=-(-days // 2),
        share_filled=windows.share_filled,
    )


def _classes(windows: Windows) -> FloatArray:
    """Rates of the three classes: both chat classes alike, batch what is not interactive."""
    total, chat = windows.rate_rps, windows.interactive_rps
    if chat is None:
        return np.array([total, total, total])
    return np.array([chat, chat, total - chat])


def _to_minutes(rate: FloatArray, window_min: int) -> FloatArray:
    return np.repeat(rate, window_min, axis=-1)

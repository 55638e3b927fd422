"""Retail price, carbon intensity and outdoor temperature of every step, and its cheap hours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fleet_env import draws
from fleet_env.config import EnergyConfig
from fleet_env.data import read_table
from fleet_env.data.traces import EnergySeries, TraceError, load_energy
from fleet_env.generators.clock import MIN_PER_DAY, SEASONS, Clock, Zone
from fleet_env.types import BoolArray, FloatArray, IntArray, KeyArray
from fleet_env.units import KWH_PER_MWH, MIN_PER_H

_SLOT_MIN = 30  # tariffs change at full and half hours
_SLOTS = MIN_PER_DAY // _SLOT_MIN
_BINS = (len(SEASONS), 2, 24)  # season, weekend, local hour
_Z_P90 = np.float32(1.2815516)  # standard normal quantile
_MAX_LEVELS = 12  # up to here counting price levels beats sorting windows (measured)
_ANGLE = np.linspace(0.0, np.pi / 2, MIN_PER_DAY, endpoint=False)
_FADE_OUT, _FADE_IN = np.cos(_ANGLE).astype(np.float32), np.sin(_ANGLE).astype(np.float32)
_NOON_MIN = MIN_PER_DAY // 2
_TEMP, _CARBON, _PRICE = range(3)  # draws of one day


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices of a time-of-use tariff."""

    usd_per_kwh: FloatArray  # (profiles, 48) by half hour of the local clock
    first_mmdd: IntArray  # (profiles,) month * 100 + day
    last_mmdd: IntArray  # (profiles,) inclusive; before `first_mmdd` if over the new year
    weekday: BoolArray  # (profiles,) holds Monday to Friday
    weekend: BoolArray  # (profiles,)

    def profile_of_day(self, zone: Zone) -> IntArray:
        """Return the row of `usd_per_kwh` that holds on each day of a calendar."""
        mmdd, weekend = zone.mmdd[:, None], (zone.weekday >= 5)[:, None]
        after, before = mmdd >= self.first_mmdd, mmdd <= self.last_mmdd
        wraps = self.first_mmdd > self.last_mmdd
        holds = np.where(wraps, after | before, after & before)
        holds &= np.where(weekend, self.weekend, self.weekday)
        if not (holds.sum(axis=1) == 1).all():
            raise ValueError("tariff: expected exactly one row of periods for every day")
        profile: IntArray = holds.argmax(axis=1)
        return profile


@dataclass(frozen=True, slots=True)
class Profiles:
    """Seasonal profiles of a region, each of shape (season * weekend * hour = 192,), float32."""

    price_p10: FloatArray  # USD/kWh, without delivery
    price_p50: FloatArray
    price_p90: FloatArray
    carbon_g_per_kwh: FloatArray
    carbon_sd: FloatArray
    temp_c: FloatArray
    temp_sd: FloatArray


@dataclass(frozen=True, slots=True)
class CheapHours:
    """What the energy manager asks about the next 24 h, from prices of shape (num_envs, n)."""

    threshold: FloatArray  # (num_envs, n) dearest of the cheapest hours of the next 24 h
    cheap: BoolArray  # (num_envs, n) price <= threshold
    cum_h: FloatArray  # (num_envs, n + 1) hours of `cheap` before each step


@lru_cache(maxsize=32)
def load_tariff(name: str) -> Tariff:
    """Return a tariff of `tariffs.csv` by name.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    table = read_table("tariffs.csv")
    rows = np.flatnonzero(table["tariff"] == name)
    if len(rows) == 0:
        known = ", ".join(dict.fromkeys(map(str, table["tariff"])))
        raise ValueError(f"energy.tariff={name!r}: expected flat, day_ahead or one of: {known}")
    starts = rows[table["from_hour"][rows] == 0.0]
    slot_h = np.arange(_SLOTS) * _SLOT_MIN / MIN_PER_H
    prices = []
    for start, stop in zip(starts, [*starts[1:], rows[-1] + 1], strict=True):
        at = np.searchsorted(table["from_hour"][start:stop], slot_h, side="right") - 1
        prices.append(table["usd_per_kwh"][start:stop][at])
    days = table["days"][starts]
    return Tariff(
        usd_per_kwh=np.array(prices, dtype=np.float32),
        first_mmdd=table["start_mmdd"][starts],
        last_mmdd=table["end_mmdd"][starts],
        weekday=days != "weekend",
        weekend=days != "weekday",
    )


@lru_cache(maxsize=32)
def load_profiles(region: str) -> Profiles:
    """Return the shipped seasonal profiles of a region.

    Raises
    ------
    ValueError
        If none are shipped for it.
    """
    energy, carbon = read_table("energy_profiles.csv"), read_table("carbon_profiles.csv")
    known = sorted(set(map(str, energy["region"])))
    if region not in known:
        raise ValueError(f"energy.region={region!r}: expected one of {', '.join(known)}")

    def bins(table: str, column: str, scale: float = 1.0) -> FloatArray:
        rows = {"energy": energy, "carbon": carbon}[table]
        of_region = rows["region"] == region
        season = np.array([SEASONS.index(s) for s in rows["season"][of_region]])
        weekend = rows["day_type"][of_region] == "weekend"
        values = np.full(_BINS, np.nan, dtype=np.float32)
        hour = rows["hour_local"][of_region].astype(int)
        values[season, weekend.astype(int), hour] = rows[column][of_region] * scale
        return values.ravel()

    return Profiles(
        price_p10=bins("energy", "price_p10", 1 / KWH_PER_MWH),
        price_p50=bins("energy", "price_p50", 1 / KWH_PER_MWH),
        price_p90=bins("energy", "price_p90", 1 / KWH_PER_MWH),
        carbon_g_per_kwh=bins("carbon", "ci_lca_mean"),
        carbon_sd=bins("carbon", "ci_lca_sd"),
        temp_c=bins("energy", "temp_mean"),
        temp_sd=bins("energy", "temp_sd"),
    )


@lru_cache(maxsize=8)
def load_series(folder: str, region: str) -> EnergySeries:
    """Read the hourly files of a region once per process."""
    return load_energy(folder, region)


def draw_grid(
    config: EnergyConfig, clock: Clock, key: KeyArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw or replay price, carbon intensity and temperature.

    With `config.files` the hours of the scenario's date are replayed. Without, they are the
    seasonal profile plus a drawn number of standard deviations, one per day (at noon) and
    quantity, blended in between so that every hour has variance 1 and days join smoothly. A
    day-ahead price has a different sd above and below its median (two-piece normal through p10,
    p50 and p90), as price spikes are one-sided.

    Parameters
    ----------
    config : EnergyConfig
    clock : Clock
    key : KeyArray, shape (num_envs,)
        Scenario keys; `Stream.WEATHER`, event = day.

    Returns
    -------
    price_usd_per_kwh, carbon_g_per_kwh, ambient_c : FloatArray, shape (num_envs, num), float32
    """
    day_ahead = config.tariff == "day_ahead"
    if config.files:
        series = load_series(config.files, config.region)
        at = _hours_of_series(series, clock)
        carbon, ambient = series.carbon_g_per_kwh[at], series.temp_c[at]
        price = series.price_usd_per_kwh[at] if day_ahead else None
    else:
        profiles = load_profiles(config.region)
        at = _bins_of_clock(clock)
        z = _day_offsets(clock, key, _PRICE + 1 if day_ahead else _PRICE)
        ambient = profiles.temp_c.take(at) + z[_TEMP] * profiles.temp_sd.take(at)
        carbon = profiles.carbon_g_per_kwh.take(at) + z[_CARBON] * profiles.carbon_sd.take(at)
        np.maximum(carbon, 0.0, out=carbon)
        price = _two_piece(profiles, at, z[_PRICE]) if day_ahead else None
    if price is not None:
        price += np.float32(config.delivery_usd_per_kwh)
        return price, carbon, ambient
    return _tariff_price(config, clock), carbon, ambient


def price_levels(config: EnergyConfig) -> FloatArray | None:
    """Return the distinct prices of a tariff, rising; None where prices are continuous."""
    if config.tariff == "day_ahead":
        return None
    if config.tariff == "flat":
        return np.array([config.flat_usd_per_kwh], dtype=np.float32)
    return np.unique(load_tariff(config.tariff).usd_per_kwh)


def find_cheap_hours(
    price: FloatArray, levels: FloatArray | None, num_steps: int, cheap_hours: float, dt_h: float
) -> CheapHours:
    """Mark the cheap steps: at most as dear as the dearest of the cheapest hours of the next 24 h.

    Parameters
    ----------
    price : FloatArray, shape (num_envs, num_steps + n), float32
        Price of every step of the episode and of the 24 h = n steps after it.
    levels : FloatArray or None
        The distinct prices, rising, if known beforehand: only a shortcut.
    num_steps : int
        Steps of the episode. Later steps have no 24 h ahead of them: they are held against the
        threshold of the 24 h that they are.
    cheap_hours : float
        How many hours of 24 count as the cheapest [h].
    dt_h : float
        Length of a step [h].

    Returns
    -------
    CheapHours
    """
    threshold = find_threshold(price, levels, num_steps, cheap_hours, dt_h)
    cheap = price <= threshold
    return CheapHours(threshold, cheap, sum_cheap_hours(cheap, dt_h))


def find_threshold(
    price: FloatArray, levels: FloatArray | None, num_steps: int, cheap_hours: float, dt_h: float
) -> FloatArray:
    """Find the dearest of the cheapest hours of the next 24 h, as `find_cheap_hours` does.

    Returns
    -------
    FloatArray, shape (num_envs, num_steps + n), float32
    """
    window = price.shape[1] - num_steps
    rank = min(max(round(cheap_hours / dt_h), 1), window)
    if levels is not None and len(levels) <= _MAX_LEVELS:
        at_most = np.cumsum(price <= levels[:, None, None], axis=2, dtype=np.int16)
        in_window = at_most[:, :, window - 1 :].copy()
        in_window[:, :, 1:] -= at_most[:, :, :num_steps]
        head = levels[(in_window < rank).sum(axis=0)]
    else:
        windows = np.lib.stride_tricks.sliding_window_view(price, window, axis=1)
        head = np.partition(windows, rank - 1, axis=2)[:, :, rank - 1]
    threshold = np.empty_like(price)
    threshold[:, : num_steps + 1] = head
    threshold[:, num_steps + 1 :] = head[:, -1:]
    return threshold


def sum_cheap_hours(cheap: BoolArray, dt_h: float) -> FloatArray:
    """Hours of `cheap` before each step, (num_envs, n) -> (num_envs, n + 1) float32."""
    cum_h = np.zeros((cheap.shape[0], cheap.shape[1] + 1), dtype=np.float32)
    np.cumsum(cheap, axis=1, out=cum_h[:, 1:])
    cum_h *= np.float32(dt_h)
    return cum_h


def reference_price(price: FloatArray, num_steps: int, dt_h: float) -> FloatArray:
    """Return the mean price of the first 24 h of the episode, the same for every step.

    Owed charge is booked when the gap grows and when it closes; one price for both makes the two
    cancel, on whatever days they fall. Shape (num_envs, num_steps), float32.
    """
    first_day = price[:, : round(24 / dt_h)]
    mean = first_day.mean(axis=1, dtype=np.float64).astype(np.float32)
    return np.repeat(mean[:, None], num_steps, axis=1)


def _tariff_price(config: EnergyConfig, clock: Clock) -> FloatArray:
    if config.tariff == "flat":
        return np.full(clock.day.shape, config.flat_usd_per_kwh, dtype=np.float32)
    prices, row_of_day = _calendar_prices(config.tariff, clock.zone)
    price: FloatArray = np.take(prices, row_of_day[clock.day] + clock.minute // _SLOT_MIN)
    return price


@lru_cache(maxsize=64)
def _calendar_prices(name: str, zone: Zone) -> tuple[FloatArray, IntArray]:
    tariff = load_tariff(name)
    return tariff.usd_per_kwh.ravel(), tariff.profile_of_day(zone) * _SLOTS


def _bins_of_clock(clock: Clock) -> IntArray:
    zone = clock.zone
    bin_of_day = (zone.season.astype(np.int64) * 2 + (zone.weekday >= 5)) * 24
    bins: IntArray = bin_of_day.take(clock.day)
    bins += clock.minute // int(MIN_PER_H)
    return bins


def _hours_of_series(series: EnergySeries, clock: Clock) -> IntArray:
    utc_h = (clock.utc_min[:, None] + clock.elapsed_min) // int(MIN_PER_H)
    at: IntArray = utc_h - series.start_utc_h
    num = len(series.temp_c)
    if at.min() < 0 or at.max() >= num:
        first, last = (np.datetime64(int(series.start_utc_h) + h, "h") for h in (0, num - 1))
        wanted = np.datetime64(int(utc_h.max() if at.max() >= num else utc_h.min()), "h")
        raise TraceError(
            f"energy.files of {series.region}: cover {first}Z to {last}Z, not {wanted}Z: expected "
            "the years 2022 and 2023 (of which scenarios are drawn), fix: give files of both years"
        )
    return at


def _day_offsets(clock: Clock, key: KeyArray, num: int) -> FloatArray:
    """Numbers of standard deviations, shape (num, num_envs, steps).

    One is drawn for every 24 h from the noon before the start on; cosine and sine blend neighbours.
    """
    start = clock.start_min
    start = start[:1] if (start == start[0]).all() else start  # rows alike are worked out once
    past_noon = (start + _NOON_MIN)[:, None] + clock.elapsed_min
    noon, x = np.divmod(past_noon, MIN_PER_DAY)
    first = int(noon.min())
    count = np.arange(first, int(noon.max()) + 2)
    keys = draws.stream_key(key, draws.Stream.WEATHER)
    words = draws.hashes(np.tile(keys, len(count)), np.repeat(count, len(key)), num)
    noons = draws.normal_rough(words).reshape(num, len(count) * len(key))
    at = (noon - first) * len(key) + np.arange(len(key))[:, None]  # place of (noon, row)
    z: FloatArray = noons.take(at, axis=1)
    z *= _FADE_OUT[x]
    at += len(key)
    later = noons.take(at, axis=1)
    later *= _FADE_IN[x]
    z += later
    return z


def _two_piece(profiles: Profiles, at: IntArray, z: FloatArray) -> FloatArray:
    median = profiles.price_p50.take(at)
    up, down = profiles.price_p90.take(at) - median, median - profiles.price_p10.take(at)
    price: FloatArray = median + z / _Z_P90 * np.where(z > 0, up, down)
    return price

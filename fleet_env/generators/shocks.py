"""What befalls many cars at once: storms, outages, hot and cold spells, prices, crowds, releases.

One generator for all kinds. An event is a function of the scenario, its area, kind, node and local
day, and of nothing else: neither of the batch nor of how far back or ahead one looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np

from fleet_env import draws
from fleet_env.config import EnvConfig
from fleet_env.config_world import ShockConfig
from fleet_env.generators.clock import MIN_PER_DAY, Zone
from fleet_env.regions import region_edges
from fleet_env.types import BoolArray, FloatArray, IntArray, KeyArray
from fleet_env.units import DAYS_PER_YEAR, HOURS_PER_DAY, MIN_PER_H

# names of the settings in `ShocksConfig`, by number of the kind
KINDS = (
    "storm",
    "isp",
    "heatwave",
    "coldsnap",
    "ota",
    "price_spike",
    "negative_noon",
    "flash",
    "release",
)
STORM, ISP, HEATWAVE, COLDSNAP, OTA, PRICE_SPIKE, NEGATIVE_NOON, FLASH, RELEASE = range(len(KINDS))
BY_NODE = (ISP,)  # kinds that befall ISP nodes; all others befall whole areas
# kinds that are added to a series, and with which sign
ON_AMBIENT = ((HEATWAVE, 1.0), (COLDSNAP, -1.0))
ON_PRICE = ((PRICE_SPIKE, 1.0), (NEGATIVE_NOON, -1.0))

NEIGHBOURHOODS_PER_NODE = 100  # of an ISP: 500 homes; domain 4, est
FLANK_H = 6.0  # over which a hot or cold spell comes and goes; est
LENGTHS = (0.5, 1.5)  # of an event, in mean lengths; est
SEVERITIES = (0.75, 1.25)  # of an event, in settings of the severity; est
_COUNT_OF_DAY_0 = 4  # count of the draws of the day on which the episode starts
_DAYS_AFTER = 2  # local days after that of the end that the 24 h after it may touch
_BACK_H = 3.0  # before the midnight of the start day, that prices are still asked for
_UNITS_PER_KIND = 2**20  # of the draws of an event
_FIRST_HIT, _HITS_PER_KIND = 2**40, 2**34  # units of what a neighbourhood draws


@dataclass(frozen=True, slots=True, eq=False)
class ShockEvents:
    """The events of a batch by start, area, kind and node; arrays of shape (n,).

    Events of whole days are listed, so some end before the episode starts or begin after its end.
    """

    kind: IntArray  # index into `KINDS`
    area: IntArray  # row * regions + region
    node: IntArray  # ISP node, -1: the whole area
    day: IntArray  # local day on which it starts; 0: that on which the episode does
    start_h: FloatArray  # float64 [h since the start of the episode]
    end_h: FloatArray  # float64
    severity: FloatArray  # float64, unit by kind, see `ShocksConfig`
    extent: FloatArray  # share of the neighbourhoods that are hit
    key: KeyArray  # of the area, for the draws of the neighbourhoods

    def __len__(self) -> int:
        return len(self.kind)

    def hit(self, i: int, neighbourhoods: IntArray) -> BoolArray:
        """Which neighbourhoods event `i` hits, given numbers within the fleet and of its area."""
        kind, node = int(self.kind[i]), int(self.node[i])
        units = _FIRST_HIT + _HITS_PER_KIND * kind + np.asarray(neighbourhoods)
        keys = draws.unit_keys(self.key[i : i + 1], draws.Stream.SHOCK, units)
        drawn = draws.uniform(keys, self.day[i] + _COUNT_OF_DAY_0, 1)[0]
        hit: BoolArray = drawn < self.extent[i]
        if node >= 0:
            hit &= neighbourhoods // NEIGHBOURHOODS_PER_NODE == node
        return hit

    def of_kind(self, kind: int) -> IntArray:
        """Numbers of the events of a kind."""
        return np.flatnonzero(self.kind == kind)


class _Place(NamedTuple):
    """A region of every row: what its events are drawn from."""

    key: KeyArray  # (num_envs,)
    zone: Zone
    utc_min: IntArray  # (num_envs,) start of the episodes
    start_day: IntArray  # (num_envs,) local, days since 1970
    nodes: IntArray  # ISP nodes with neighbourhoods of the region


def draw_shocks(
    config: EnvConfig, key: KeyArray, zone: Zone, utc_min: IntArray, region: int
) -> ShockEvents:
    """Draw the events of a region of each row.

    Parameters
    ----------
    config : EnvConfig
    key : KeyArray, shape (num_envs,)
        Keys of the region (`draws.part_key`); `Stream.SHOCK`.
    zone : Zone
    utc_min : IntArray, shape (num_envs,)
        Start of the episodes, minutes since 1970.
    region : int

    Returns
    -------
    ShockEvents
        The area is the row: see `join_shocks`.
    """
    settings = [getattr(config.shocks, name) for name in KINDS]
    on = [kind for kind, setting in enumerate(settings) if not setting.off]
    if not on:
        return _sorted([])
    start_day = (utc_min + zone.offset(utc_min)) // MIN_PER_DAY
    place = _Place(key, zone, utc_min, start_day, _nodes(config, region))
    return _sorted([_draw_kind(kind, settings[kind], place, config.days) for kind in on])


def join_shocks(by_region: Sequence[ShockEvents]) -> ShockEvents:
    """Put the events of the regions of each row together: area = row * regions + region."""
    return _sorted(
        [
            replace(events, area=events.area * len(by_region) + region)
            for region, events in enumerate(by_region)
        ]
    )


def add_shocks(
    series: FloatArray,
    events: ShockEvents,
    kinds: Sequence[tuple[int, float]],
    t_h: FloatArray,
    flank_h: float = 0.0,
) -> None:
    """Add the severity of events to a series while they last, in place.

    Parameters
    ----------
    series : FloatArray, shape (areas, n)
    kinds : sequence of (int, float)
        Kinds of events, and by how much their severity counts.
    t_h : FloatArray, shape (n,)
        Time [h since the start of the episode].
    flank_h : float
        Time over which an event grows and fades, inside its length [h].
    """
    for kind, sign in kinds:
        which = events.of_kind(kind)
        if not which.size:
            continue
        start_h, end_h = events.start_h[which, None], events.end_h[which, None]
        share: FloatArray | BoolArray = (t_h >= start_h) & (t_h < end_h)
        if flank_h:
            share = np.clip(np.minimum(t_h - start_h, end_h - t_h) / flank_h, 0.0, 1.0)
        change = sign * events.severity[which, None] * share
        np.add.at(series, events.area[which], change.astype(series.dtype))


def crowd(rates: FloatArray, events: ShockEvents, minute0: int) -> None:
    """Multiply the rates of minutes by `1 + severity` in demand flashes, in place.

    Parameters
    ----------
    rates : FloatArray, shape (classes, areas, minutes)
        From minute `minute0` of the episode on.
    """
    if not len(events):
        return
    minute = minute0 + np.arange(rates.shape[2])
    start_min, end_min = events.start_h * MIN_PER_H, events.end_h * MIN_PER_H
    now = (events.kind == FLASH) & (start_min < minute[-1] + 1) & (end_min > minute0)
    which = np.flatnonzero(now)
    if not which.size:
        return
    share = np.minimum(minute + 1, end_min[which, None]) - np.maximum(
        minute, start_min[which, None]
    )
    factor = 1.0 + events.severity[which, None] * np.clip(share, 0.0, 1.0)
    factor = np.maximum(factor, 0.0).astype(rates.dtype)
    np.multiply.at(rates.swapaxes(0, 1), events.area[which], factor[:, None])


def _nodes(config: EnvConfig, region: int) -> IntArray:
    """ISP nodes that serve neighbourhoods of a region."""
    first, stop = region_edges(config)[region : region + 2].tolist()
    if first == stop:
        return np.zeros(0, np.int64)
    return np.arange(first // NEIGHBOURHOODS_PER_NODE, -(-stop // NEIGHBOURHOODS_PER_NODE))


def _draw_kind(kind: int, setting: ShockConfig, place: _Place, num_days: int) -> ShockEvents:
    """Draw the events of a kind in a region."""
    longest_h = setting.mean_h * LENGTHS[1] + _BACK_H
    first = min(-_COUNT_OF_DAY_0, -1 - int(np.ceil(longest_h / HOURS_PER_DAY)))
    days = np.arange(first, num_days + _DAYS_AFTER + 1)
    nodes = place.nodes if kind in BY_NODE else np.zeros(1, np.int64)
    units = kind * _UNITS_PER_KIND + nodes
    keys = draws.unit_keys(place.key[:, None], draws.Stream.SHOCK, units)
    row, node, day = np.nonzero(_happens(setting, keys, days, place.start_day))
    u = draws.uniform(keys[row, node], days[day] + _COUNT_OF_DAY_0, 4).astype(np.float64)
    start_h = _start_h(setting, place, row, days[day], u[1])
    return ShockEvents(
        kind=np.full(len(row), kind),
        area=row,
        node=nodes[node] if kind in BY_NODE else np.full(len(row), -1),
        day=days[day],
        start_h=start_h,
        end_h=start_h + setting.mean_h * _between(LENGTHS, u[2]),
        severity=setting.severity * _between(SEVERITIES, u[3]),
        extent=np.full(len(row), setting.extent),
        key=place.key[row],
    )


def _happens(
    setting: ShockConfig, keys: KeyArray, days: IntArray, start_day: IntArray
) -> BoolArray:
    """Whether an event begins, shape (rows, nodes, days)."""
    counts = np.tile(days + _COUNT_OF_DAY_0, keys.size)
    u = draws.uniform(np.repeat(keys.ravel(), len(days)), counts, 1)
    chance = min(1.0, setting.per_year / DAYS_PER_YEAR)  # at most one a day
    happens: BoolArray = (u.astype(np.float64) < chance).reshape(*keys.shape, len(days))
    if setting.on_day >= 0:
        happens |= days == setting.on_day
    if setting.every_days:
        happens |= ((start_day[:, None] + days) % setting.every_days == 0)[:, None]
    return happens


def _start_h(
    setting: ShockConfig, place: _Place, row: IntArray, day: IntArray, u: FloatArray
) -> FloatArray:
    """Start in hours of the episode, of a time of the local clock on a day."""
    clock_min = MIN_PER_H * (setting.from_h + u * (setting.to_h - setting.from_h))
    minute = np.floor(clock_min).astype(np.int64)
    utc_min = place.zone.to_utc((place.start_day[row] + day) * MIN_PER_DAY + minute)
    start_h: FloatArray = (utc_min - place.utc_min[row] + (clock_min - minute)) / MIN_PER_H
    return start_h


def _between(bounds: tuple[float, float], u: FloatArray) -> FloatArray:
    return bounds[0] + u * (bounds[1] - bounds[0])


def _sorted(parts: Sequence[ShockEvents]) -> ShockEvents:
    """Put all events in order."""
    parts = [part for part in parts if len(part)]
    if not parts:
        whole, real = np.zeros(0, np.int64), np.zeros(0)
        return ShockEvents(
            whole, whole, whole, whole, real, real, real, real, np.zeros(0, np.uint64)
        )
    joined = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(ShockEvents)
    }
    order = np.lexsort([joined[name] for name in ("node", "kind", "area", "start_h")])
    return ShockEvents(**{name: values[order] for name, values in joined.items()})

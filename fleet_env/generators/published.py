"""Prices as they are known at each step: day-ahead prices are published a day at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fleet_env.generators.clock import Clock, by_area
from fleet_env.generators.grid import find_cheap_hours, find_threshold, sum_cheap_hours
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.units import MIN_PER_H

# Local time from which the prices of the next local day are known: day-ahead auctions close in the
# morning and publish about midday (est).
PUBLISHED_FROM_MIN = 13 * int(MIN_PER_H)
_CHANGE_MIN = int(MIN_PER_H)  # longest jump of a local clock: so much shorter a day may be


@dataclass(frozen=True, slots=True, eq=False)
class PriceView:
    """Prices as known from step `first` on until more are published, shape (num_envs, m).

    Column 0 is step `first`, the last one ends 24 h after the episode.
    """

    first: int
    price_usd_per_kwh: FloatArray  # published, else the latest one published for this time of day
    threshold_usd_per_kwh: FloatArray  # dearest of the cheapest hours of the next 24 h
    cheap: BoolArray  # price at most the threshold
    cheap_cum_h: FloatArray  # (num_envs, m + 1) hours of `cheap` before each step


def see_all(
    price: FloatArray, levels: FloatArray | None, num_steps: int, cheap_hours: float, dt_h: float
) -> tuple[PriceView]:
    """Look at prices that are known long ahead; the arguments are those of `find_cheap_hours`."""
    hours = find_cheap_hours(price, levels, num_steps, cheap_hours, dt_h)
    return (PriceView(0, price, hours.threshold, hours.cheap, hours.cum_h),)


def steps_before(start_h: FloatArray, step_min: int) -> int:
    """Count the steps before the episode whose prices may stand in for unpublished hours.

    Those of the start day from its midnight on, or of an hour more where the clock skips one;
    `start_h` is the local hour at which each row starts.
    """
    return -(-(round(float(np.max(start_h)) * MIN_PER_H) + _CHANGE_MIN) // step_min)


def see_published(
    price: FloatArray, clock: Clock, num_steps: int, cheap_hours: float, dt_h: float
) -> tuple[PriceView, ...]:
    """Look at day-ahead prices: of the current local day, from 13:00 on also of the next.

    Hours that are not yet published are taken as the price 24 h earlier, or as many times 24 h as
    it takes to find a published one.

    Parameters
    ----------
    price : FloatArray, shape (num_envs, before + num_steps + n), float32
        Price of `before` steps before the episode, of the episode and of the 24 h = n steps
        after it.
    clock : Clock
        Of the same steps.
    num_steps : int
        Steps of the episode.
    cheap_hours, dt_h : float
        As in `find_cheap_hours`.

    Returns
    -------
    tuple of PriceView
        By rising `first`, the first one 0: a view for every step at which a row learns prices.
    """
    before, per_day = clock.before, round(24 / dt_h)
    until = _published_until(clock)
    asked = until[:, before : before + num_steps + 1]
    news = np.flatnonzero((asked[:, 1:] != asked[:, :-1]).any(axis=0)) + 1
    views = []
    for first in (0, *news.tolist()):
        start, known = before + first, until[:, before + first]
        seen = _fill(price, start, known, per_day)
        # from the last published day on every window of 24 h holds the same prices
        varied = min(max(int(known.max()) - per_day - start, 0), num_steps - first)
        windows = seen[:, : varied + per_day]
        head = find_threshold(windows, None, varied, cheap_hours, dt_h)
        threshold = np.empty_like(seen)
        threshold[:, : head.shape[1]] = head
        threshold[:, head.shape[1] :] = head[:, -1:]
        cheap = seen <= threshold
        views.append(PriceView(first, seen, threshold, cheap, sum_cheap_hours(cheap, dt_h)))
    return tuple(views)


def join_views(by_region: Sequence[tuple[PriceView, ...]], dt_h: float) -> tuple[PriceView, ...]:
    """Look at the prices of several regions at once: a view for every step at which any learns.

    Parameters
    ----------
    by_region : sequence of tuple of PriceView
        Views of each region, shape (num_envs, m); joined, they have the shape (areas, m).
    dt_h : float
        Length of a step [h].
    """
    if len(by_region) == 1:
        return by_region[0]
    joined = []
    for first in sorted({view.first for views in by_region for view in views}):
        now = [[view for view in views if view.first <= first][-1] for views in by_region]
        price, threshold, cheap = (
            by_area([getattr(view, name)[:, first - view.first :] for view in now])
            for name in ("price_usd_per_kwh", "threshold_usd_per_kwh", "cheap")
        )
        joined.append(PriceView(first, price, threshold, cheap, sum_cheap_hours(cheap, dt_h)))
    return tuple(joined)


def views_between(
    views: Sequence[PriceView], start: int, stop: int
) -> Iterator[tuple[PriceView, int, int]]:
    """Split the steps start .. stop - 1 by the view that holds: (view, its first step, its end)."""
    ends = [*(view.first for view in views[1:]), stop]
    for view, end in zip(views, ends, strict=True):
        low, high = max(view.first, start), min(end, stop)
        if low < high:
            yield view, low, high


def cheap_now(views: Sequence[PriceView]) -> tuple[FloatArray, BoolArray]:
    """Put together what each step knows of itself: threshold and cheap, shape (num_envs, n)."""
    if len(views) == 1:
        return views[0].threshold_usd_per_kwh, views[0].cheap
    steps = views[0].price_usd_per_kwh.shape[1]
    threshold, cheap = [], []
    for view, low, high in views_between(views, 0, steps):
        own = slice(low - view.first, high - view.first)
        threshold.append(view.threshold_usd_per_kwh[:, own])
        cheap.append(view.cheap[:, own])
    return np.concatenate(threshold, axis=1), np.concatenate(cheap, axis=1)


def _published_until(clock: Clock) -> IntArray:
    """Count the steps, from the first of the clock on, whose prices are published at each step."""
    day = clock.day - clock.day[:, :1]
    target = day + 1 + (clock.minute >= PUBLISHED_FROM_MIN)
    before_day = [(day < number).sum(axis=1) for number in range(int(target.max()) + 1)]
    until: IntArray = np.take_along_axis(np.stack(before_day, axis=1), target, axis=1)
    return until


def _fill(price: FloatArray, start: int, known: IntArray, per_day: int) -> FloatArray:
    """Prices from step `start` on, of which `known` steps are published in each row."""
    step = np.arange(start, price.shape[1])
    days_back = np.maximum((step - known[:, None]) // per_day + 1, 0)
    filled: FloatArray = np.take_along_axis(price, step - per_day * days_back, axis=1)
    return filled

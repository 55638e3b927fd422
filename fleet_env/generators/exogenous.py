"""Everything a scenario brings from outside: demand, prices, carbon, weather and local time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from fleet_env import draws
from fleet_env.checks import require
from fleet_env.config import EnergyConfig, EnvConfig
from fleet_env.dynamics.localtime import LocalTime
from fleet_env.generators.arrivals import NOISE_MIN, draw_arrivals, rate_noise
from fleet_env.generators.clock import (
    YEAR_OF_SPLIT,
    Clock,
    by_area,
    clock_at,
    load_zone,
    local_hour,
    local_time,
    scenario_days,
    shown_weekdays,
    start_utc_min,
)
from fleet_env.generators.demand import DemandTrace
from fleet_env.generators.grid import (
    draw_grid,
    load_profiles,
    load_series,
    price_levels,
    reference_price,
)
from fleet_env.generators.homes import home_shape
from fleet_env.generators.published import (
    PriceView,
    cheap_now,
    join_views,
    see_all,
    see_published,
    steps_before,
    views_between,
)
from fleet_env.generators.shocks import (
    FLANK_H,
    KINDS,
    ON_AMBIENT,
    ON_PRICE,
    ShockEvents,
    add_shocks,
    crowd,
    draw_shocks,
    join_shocks,
)
from fleet_env.regions import regions_of
from fleet_env.types import BATCH_70B, BoolArray, FloatArray, IntArray, KeyArray
from fleet_env.units import MIN_PER_H

_STAY_DAYS = 9  # local days that a clock is known for after the last day of the episode
_SATURDAY = 5
# fields of `Exogenous` by area, and by class and area
_BY_AREA = (
    "demand_key",
    "start_minute",
    "local_hour",
    "weekday",
    "price_usd_per_kwh",
    "carbon_g_per_kwh",
    "ambient_c",
    "threshold_usd_per_kwh",
    "cheap",
    "ref_price_usd_per_kwh",
)
_BY_CLASS = ("rate_forecast", "noise")


@dataclass(frozen=True, slots=True, eq=False)
class Exogenous:
    """What no policy can change, for a batch of scenarios.

    `n` = steps of the episode and of the 24 h after it; shape (areas, n) and float32 unless said
    otherwise, area = row * regions + region. Values hold from the start of the step to its end.
    """

    traces: tuple[DemandTrace, ...]  # of each region
    step_min: int
    demand_key: KeyArray  # (areas,) of Stream.DEMAND, for the counts of requests
    start_minute: IntArray  # (areas,) minute of the trace at which the episode starts
    rate_forecast: FloatArray  # (3, areas, n) seasonal-naive mean rate, as known 24 h before
    noise: FloatArray | None  # (3, areas, intervals of 10 min) factors on the rate; None: 1
    utc_start_min: IntArray  # (num_envs,) minutes since 1970
    local: LocalTime
    local_hour: FloatArray  # [0, 24)
    weekday: IntArray  # uint8, 0 = Monday; holidays are Sundays
    price_usd_per_kwh: FloatArray  # retail
    carbon_g_per_kwh: FloatArray  # average mix, life cycle
    ambient_c: FloatArray
    price_views: tuple[PriceView, ...]  # prices to come as known at each step
    threshold_usd_per_kwh: FloatArray  # dearest of the cheapest hours of the next 24 h, as known
    cheap: BoolArray  # price at most the threshold
    ref_price_usd_per_kwh: FloatArray  # (areas, num_steps) constant: see `reference_price`
    shocks: ShockEvents
    home_load: FloatArray | None  # load of a home without its car, 1 at its peak; if there are caps

    def price_view(self, step: int) -> PriceView:
        """Prices to come as known at the start of a step."""
        return next(view for view, _, _ in views_between(self.price_views, step, step + 1))

    def cheap_ahead(self, step: int) -> tuple[FloatArray, int]:
        """Cheap hours to come as known at the start of a step.

        Returns
        -------
        cum_h : FloatArray, shape (areas, m)
            Running sum [h].
        column : int
            Of the end of the step; column + i is the end of the i-th step after it.
        """
        view = self.price_view(step)
        return view.cheap_cum_h, step + 1 - view.first

    def demand_rates(self, step: int, num_steps: int = 1) -> FloatArray:
        """Rates of the minutes of some steps, noise and crowds included.

        Returns
        -------
        FloatArray, shape (3, areas, num_steps * step_min), float32
        """
        minute0, num, regions = step * self.step_min, num_steps * self.step_min, len(self.traces)
        by_region = [
            trace.rates(self.start_minute[region::regions], minute0, num)
            for region, trace in enumerate(self.traces)
        ]
        rates = by_area(by_region, axis=1)
        if self.noise is not None:
            interval = np.arange(minute0, minute0 + num) // NOISE_MIN
            rates *= np.take(self.noise, interval, axis=2)
        crowd(rates[:BATCH_70B], self.shocks, minute0)
        return rates

    def mean_rates(self, step: int, num_steps: int) -> FloatArray:
        """Mean rates of some steps, as `demand_rates`: (3, areas, num_steps), float32."""
        rates = self.demand_rates(step, num_steps)
        by_step = rates.reshape(*rates.shape[:2], num_steps, self.step_min)
        mean: FloatArray = by_step.mean(axis=3, dtype=np.float64).astype(np.float32)
        return mean

    def requests(self, level: FloatArray, step: int, num_steps: int) -> FloatArray:
        """Draw the requests of each minute of some steps.

        Parameters
        ----------
        level : FloatArray, shape (3, areas)
            Mean requests per minute of each class and area.
        step, num_steps : int

        Returns
        -------
        FloatArray, shape (3, areas, num_steps * step_min), float32
        """
        mean = self.demand_rates(step, num_steps)
        mean *= level.astype(np.float32)[:, :, None]
        return draw_arrivals(mean, self.demand_key, step * self.step_min)


def check_outside(config: EnvConfig) -> None:
    """Load once what the scenarios of a card need from outside, so that a bad name fails early.

    Raises
    ------
    ValueError
        If a time zone, a tariff or a region is unknown, a file is malformed, a holiday is no date,
        or prices are shocked where none can be.
    """
    energies = _energies(config)
    for region, energy in zip(regions_of(config), energies, strict=True):
        for year in set(YEAR_OF_SPLIT.values()):
            shown_weekdays(load_zone(region.time_zone, year), config.shocks.holidays)
        price_levels(energy)
        if energy.files:
            load_series(energy.files, energy.region)
        else:
            load_profiles(energy.region)
    tariffs = ", ".join(energy.tariff for energy in energies)
    for kind, _ in ON_PRICE:
        acts = getattr(config.shocks, KINDS[kind]).off or "day_ahead" in tariffs
        expected = f"day_ahead in some region, as shocks.{KINDS[kind]} is on"
        require(acts, "energy.tariff", tariffs, expected)


def draw_exogenous(
    config: EnvConfig, split: str, key: KeyArray, traces: tuple[DemandTrace, ...]
) -> Exogenous:
    """Draw the outside world of a batch of scenarios.

    Parameters
    ----------
    config : EnvConfig
    split : str
        train, validation or test.
    key : KeyArray, shape (num_envs,)
        Scenario keys; event 0 of `Stream.SCENARIO` gives the date (draw 0) and the day of the
        trace (draw 1).
    traces : tuple of DemandTrace
        Of `demand_sources.load_traces`.

    Returns
    -------
    Exogenous
        Every row is a function of its key alone.
    """
    first = load_zone(regions_of(config)[0].time_zone, YEAR_OF_SPLIT[split])
    start_day = scenario_days(split, key, config.days, config.season)
    utc_min = start_utc_min(first, start_day, config.start_hour)
    return _join(
        [
            _draw_region(config, split, key, utc_min, number, trace)
            for number, trace in enumerate(traces)
        ]
    )


def _draw_region(
    config: EnvConfig,
    split: str,
    key: KeyArray,
    utc_min: IntArray,
    number: int,
    trace: DemandTrace,
) -> Exogenous:
    """Draw the outside world of one region of every row, as if there were no other."""
    zone = load_zone(regions_of(config)[number].time_zone, YEAR_OF_SPLIT[split])
    weekday = shown_weekdays(zone, config.shocks.holidays)
    local = local_time(zone, weekday, utc_min, config.days + _STAY_DAYS)
    energy, part = _energies(config)[number], draws.part_key(key, number)
    before = steps_before(local.start_h, config.step_min) if energy.tariff == "day_ahead" else 0
    num = config.num_steps + round(24 / config.dt_h)
    clock = clock_at(zone, utc_min, config.step_min, num, before)
    shocks = draw_shocks(config, part, zone, utc_min, number)
    u = draws.uniform(draws.stream_key(key, draws.Stream.SCENARIO), np.array(0), 2)[1]
    minutes = config.num_steps * config.step_min
    non_working = local.weekday[:, : config.days + 1] >= _SATURDAY
    start_minute = trace.start_minute(split, non_working, u, clock.start_min, minutes)
    exact = config.demand.forecast == "exact"
    known_min = num * config.step_min if exact else minutes
    world = Exogenous(
        traces=(trace,),
        step_min=config.step_min,
        demand_key=draws.stream_key(part, draws.Stream.DEMAND),
        start_minute=start_minute,
        rate_forecast=trace.forecast_day_ahead(start_minute, num, config.step_min),
        noise=rate_noise(config.demand, part, -(-known_min // NOISE_MIN)),
        utc_start_min=utc_min,
        local=local,
        local_hour=local_hour(clock)[:, before:],
        weekday=weekday.take(clock.day[:, before:]),
        shocks=shocks,
        home_load=home_shape(clock)[:, before:] if config.feeder.limit else None,
        **_draw_grid(config, energy, clock, part, shocks),
    )
    return replace(world, rate_forecast=world.mean_rates(0, num)) if exact else world


def _draw_grid(
    config: EnvConfig, energy: EnergyConfig, clock: Clock, key: KeyArray, shocks: ShockEvents
) -> dict[str, Any]:
    """Draw and shock price, carbon and temperature; what is known of the prices, and when."""
    price, carbon, ambient = draw_grid(energy, clock, key)
    t_h = clock.elapsed_min / MIN_PER_H
    add_shocks(ambient, shocks, ON_AMBIENT, t_h, FLANK_H)
    seen = (config.num_steps, energy.cheap_hours, config.dt_h)
    if energy.tariff == "day_ahead":
        add_shocks(price, shocks, ON_PRICE, t_h)
        views = see_published(price, clock, *seen)
    else:
        views = see_all(price, price_levels(energy), *seen)
    threshold, cheap = cheap_now(views)
    known = views[0].price_usd_per_kwh
    return {
        "price_usd_per_kwh": price[:, clock.before :],
        "carbon_g_per_kwh": carbon[:, clock.before :],
        "ambient_c": ambient[:, clock.before :],
        "price_views": views,
        "threshold_usd_per_kwh": threshold,
        "cheap": cheap,
        "ref_price_usd_per_kwh": reference_price(known, config.num_steps, config.dt_h),
    }


def _energies(config: EnvConfig) -> tuple[EnergyConfig, ...]:
    """Energy of every region."""
    if not config.regions:
        return (config.energy,)
    return tuple(
        replace(
            config.energy,
            region=region.grid,
            tariff=region.tariff,
            delivery_usd_per_kwh=region.delivery_usd_per_kwh,
        )
        for region in regions_of(config)
    )


def _join(worlds: Sequence[Exogenous]) -> Exogenous:
    """Put the worlds of the regions side by side."""
    first = worlds[0]
    if len(worlds) == 1:
        return first

    def joined(parts: Sequence[Any], names: Sequence[str], axis: int = 0) -> dict[str, Any]:
        return {name: by_area([getattr(part, name) for part in parts], axis) for name in names}

    local = [world.local for world in worlds]
    by_class = _BY_CLASS[: 1 if first.noise is None else 2]
    return replace(
        first,
        traces=tuple(world.traces[0] for world in worlds),
        local=LocalTime(**joined(local, [field.name for field in fields(LocalTime)])),
        price_views=join_views([world.price_views for world in worlds], first.step_min / MIN_PER_H),
        shocks=join_shocks([world.shocks for world in worlds]),
        **joined(worlds, () if first.home_load is None else ("home_load",)),
        **joined(worlds, _BY_AREA),
        **joined(worlds, by_class, axis=1),
    )

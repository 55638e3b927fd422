"""Everything a scenario brings from outside: demand, prices, carbon, weather and local time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env import draws
from fleet_env.config import EnvConfig
from fleet_env.generators.arrivals import NOISE_MIN, draw_arrivals, rate_noise
from fleet_env.generators.clock import (
    YEAR_OF_SPLIT,
    Zone,
    load_zone,
    local_hour,
    make_clock,
    scenario_days,
)
from fleet_env.generators.demand import DemandTrace
from fleet_env.generators.grid import (
    draw_grid,
    load_profiles,
    load_series,
    price_levels,
    reference_price,
)
from fleet_env.generators.published import (
    PriceView,
    cheap_now,
    see_all,
    see_published,
    steps_before,
    views_between,
)
from fleet_env.types import BoolArray, FloatArray, IntArray, KeyArray


@dataclass(frozen=True, slots=True, eq=False)
class Exogenous:
    """What no policy can change, for a batch of scenarios.

    `n` = steps of the episode and of the 24 h after it; shape (num_envs, n) and float32 unless
    said otherwise. Values hold from the start of the step to its end.
    """

    trace: DemandTrace
    step_min: int
    demand_key: KeyArray  # (num_envs,) of Stream.DEMAND, for the counts of requests
    start_minute: IntArray  # (num_envs,) minute of the trace at which the episode starts
    rate_forecast: FloatArray  # (3, num_envs, n) seasonal-naive mean rate, as known 24 h before
    noise: FloatArray | None  # (3, num_envs, intervals of 10 min) factors on the rate; None: 1
    utc_start_min: IntArray  # (num_envs,) minutes since 1970
    local_hour: FloatArray  # [0, 24)
    weekday: IntArray  # uint8, 0 = Monday
    price_usd_per_kwh: FloatArray  # retail
    carbon_g_per_kwh: FloatArray  # average mix, life cycle
    ambient_c: FloatArray
    price_views: tuple[PriceView, ...]  # prices to come as known at each step
    threshold_usd_per_kwh: FloatArray  # dearest of the cheapest hours of the next 24 h, as known
    cheap: BoolArray  # price at most the threshold
    ref_price_usd_per_kwh: FloatArray  # (num_envs, num_steps) constant: see `reference_price`

    def price_view(self, step: int) -> PriceView:
        """Prices to come as known at the start of a step."""
        return next(view for view, _, _ in views_between(self.price_views, step, step + 1))

    def cheap_ahead(self, step: int) -> tuple[FloatArray, int]:
        """Cheap hours to come as known at the start of a step.

        Returns
        -------
        cum_h : FloatArray, shape (num_envs, m)
            Running sum [h].
        column : int
            Of the end of the step; column + i is the end of the i-th step after it.
        """
        view = self.price_view(step)
        return view.cheap_cum_h, step + 1 - view.first

    def demand_rates(self, step: int, num_steps: int = 1) -> FloatArray:
        """Rates of the minutes of some steps, noise included: (3, num_envs, minutes), float32."""
        minute0, num = step * self.step_min, num_steps * self.step_min
        rates = self.trace.rates(self.start_minute, minute0, num)
        if self.noise is not None:
            interval = np.arange(minute0, minute0 + num) // NOISE_MIN
            rates *= np.take(self.noise, interval, axis=2)
        return rates

    def requests(self, level: FloatArray, step: int, num_steps: int) -> FloatArray:
        """Draw the requests of each minute of some steps.

        Parameters
        ----------
        level : FloatArray, shape (3,)
            Mean requests per minute of each class.
        step, num_steps : int

        Returns
        -------
        FloatArray, shape (3, num_envs, num_steps * step_min), float32
        """
        mean = self.demand_rates(step, num_steps)
        mean *= level.astype(np.float32)[:, None, None]
        return draw_arrivals(mean, self.demand_key, step * self.step_min)


def check_outside(config: EnvConfig) -> None:
    """Load once what the scenarios of a card need from outside, so that a bad name fails early.

    Raises
    ------
    ValueError
        If the time zone, the tariff or the region is unknown, or a file is malformed.
    """
    for year in set(YEAR_OF_SPLIT.values()):
        load_zone(config.time_zone, year)
    price_levels(config.energy)
    if config.energy.files:
        load_series(config.energy.files, config.energy.region)
    else:
        load_profiles(config.energy.region)


def draw_exogenous(config: EnvConfig, split: str, key: KeyArray, trace: DemandTrace) -> Exogenous:
    """Draw the outside world of a batch of scenarios.

    Parameters
    ----------
    config : EnvConfig
    split : str
        train, validation or test.
    key : KeyArray, shape (num_envs,)
        Scenario keys; event 0 of `Stream.SCENARIO` gives the date (draw 0) and the day of the
        trace (draw 1).
    trace : DemandTrace
        Of `demand_sources.load_demand`.

    Returns
    -------
    Exogenous
        Every row is a function of its key alone.
    """
    num_steps, per_day = config.num_steps, round(24 / config.dt_h)
    num = num_steps + per_day
    start_day = scenario_days(split, key, config.days)
    zone = load_zone(config.time_zone, YEAR_OF_SPLIT[split])
    clock = make_clock(zone, start_day, config.start_hour, config.step_min, num)
    weekday = zone.weekday[clock.day]
    u = draws.uniform(draws.stream_key(key, draws.Stream.SCENARIO), np.array(0), 2)[1]
    minutes = num_steps * config.step_min
    start_minute = trace.start_minute(
        split, zone.weekday[start_day - zone.first_day], u, config.start_hour, minutes
    )
    price, carbon, ambient = draw_grid(config.energy, clock, key)
    views = _price_views(config, price, start_day, zone, key)
    threshold, cheap = cheap_now(views)
    return Exogenous(
        trace=trace,
        step_min=config.step_min,
        demand_key=draws.stream_key(key, draws.Stream.DEMAND),
        start_minute=start_minute,
        rate_forecast=trace.forecast_day_ahead(start_minute, num, config.step_min),
        noise=rate_noise(config.demand, key, -(-minutes // NOISE_MIN)),
        utc_start_min=clock.utc_min,
        local_hour=local_hour(clock),
        weekday=weekday,
        price_usd_per_kwh=price,
        carbon_g_per_kwh=carbon,
        ambient_c=ambient,
        price_views=views,
        threshold_usd_per_kwh=threshold,
        cheap=cheap,
        ref_price_usd_per_kwh=reference_price(views[0].price_usd_per_kwh, num_steps, config.dt_h),
    )


def _price_views(
    config: EnvConfig, price: FloatArray, start_day: IntArray, zone: Zone, key: KeyArray
) -> tuple[PriceView, ...]:
    """Look at the prices of the episode as each of its steps can."""
    energy, num_steps, dt_h = config.energy, config.num_steps, config.dt_h
    if energy.tariff != "day_ahead":
        return see_all(price, price_levels(energy), num_steps, energy.cheap_hours, dt_h)
    before = steps_before(config.start_hour, config.step_min)
    clock = make_clock(zone, start_day, config.start_hour, config.step_min, price.shape[1], before)
    longer = draw_grid(energy, clock, key)[0]  # the same prices, and those before the start
    return see_published(longer, clock, num_steps, energy.cheap_hours, dt_h)

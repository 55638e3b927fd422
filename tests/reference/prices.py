"""Prices of an area as they are known, hour by hour and by the calendar (section 2.7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from fleet_env import draws
from fleet_env.generators.clock import YEAR_OF_SPLIT, clock_at, load_zone
from fleet_env.generators.grid import draw_grid
from fleet_env.regions import regions_of
from fleet_env.vector_env import FleetVectorEnv
from tests.reference.shocks import Event

AUCTION_H = 13  # local hour from which the prices of the next day are known


def local_clock(env: FleetVectorEnv, region: int, step: int) -> datetime:
    """Local time of a region of row 0 at the start of a step."""
    start = datetime.fromtimestamp(int(env.sim.exo.utc_start_min[0]) * 60, UTC)
    zone = ZoneInfo(regions_of(env.config)[region].time_zone)
    return (start + timedelta(minutes=step * env.config.step_min)).astimezone(zone)


def known_prices(env: FleetVectorEnv, region: int, step: int, events: list[Event]) -> list[float]:
    """Prices of a region of row 0 from a step on, as it knows them."""
    price = [float(usd) for usd in env.sim.exo.price_usd_per_kwh[region]]
    if regions_of(env.config)[region].tariff != "day_ahead":
        return price[step:]
    days = [local_clock(env, region, k).date() for k in range(len(price))]
    auction = local_clock(env, region, step).hour >= AUCTION_H
    last = days[step] + timedelta(days=auction)
    per_day = round(24 / env.config.dt_h)
    known = []
    for k in range(step, len(price)):
        at = k
        while at >= 0 and days[at] > last:
            at -= per_day
        known.append(price[at] if at >= 0 else _before(env, region, at, events))
    return known


def _before(env: FleetVectorEnv, region: int, at: int, events: list[Event]) -> float:
    """Price of a step before the episode, drawn with a clock that starts so much earlier."""
    config, sim, place = env.config, env.sim, regions_of(env.config)[region]
    energy = replace(
        config.energy,
        region=place.grid,
        tariff=place.tariff,
        delivery_usd_per_kwh=place.delivery_usd_per_kwh,
    )
    key = draws.part_key(draws.scenario_key(sim.split, sim.scenario_index[:1]), region)
    zone = load_zone(place.time_zone, YEAR_OF_SPLIT[sim.split])
    clock = clock_at(zone, sim.exo.utc_start_min[:1], config.step_min, 1, -at)
    usd = draw_grid(energy, clock, key)[0][0, 0]
    for event in events:  # what was known was known with its spikes
        sign = {"price_spike": 1.0, "negative_noon": -1.0}.get(event.kind, 0.0)
        if event.region == region and event.start_h <= at * config.dt_h < event.end_h:
            usd += np.float32(sign * event.severity)
    return float(usd)

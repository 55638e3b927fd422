"""The regions of a card: their clocks, grids and places on the globe, and which cars they hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.config import EnvConfig
from fleet_env.types import FloatArray, IntArray

EARTH_RADIUS_KM = 6371.0
FIBRE_KM_PER_S = 200_000.0  # light in glass
PATH_FACTOR = 1.5  # cable over great circle; est


@dataclass(frozen=True, slots=True)
class Region:
    """A region with everything filled in."""

    name: str
    share: float  # of the cars and of the demand; the shares of a card sum to 1
    time_zone: str
    grid: str  # row of the seasonal profiles
    tariff: str
    delivery_usd_per_kwh: float
    latitude_deg: float
    longitude_deg: float


def regions_of(config: EnvConfig) -> tuple[Region, ...]:
    """List the regions of a card; one made of its own settings where it names none."""
    energy = config.energy
    if not config.regions:
        zone, tariff, adder = config.time_zone, energy.tariff, energy.delivery_usd_per_kwh
        return (Region(config.name, 1.0, zone, energy.region, tariff, adder, 0.0, 0.0),)
    total = sum(region.share for region in config.regions.values())
    return tuple(
        Region(
            name=name,
            share=region.share / total,
            time_zone=region.time_zone or config.time_zone,
            grid=region.grid or energy.region,
            tariff=region.tariff or energy.tariff,
            delivery_usd_per_kwh=(
                energy.delivery_usd_per_kwh
                if region.delivery_usd_per_kwh is None
                else region.delivery_usd_per_kwh
            ),
            latitude_deg=region.latitude_deg,
            longitude_deg=region.longitude_deg,
        )
        for name, region in config.regions.items()
    )


def num_regions(config: EnvConfig) -> int:
    """Count the regions of a card."""
    return max(1, len(config.regions))


def num_neighbourhoods(config: EnvConfig) -> int:
    """Count the neighbourhoods of a fleet; the last one may be smaller."""
    return -(-config.num_cars // config.feeder.homes)


def region_edges(config: EnvConfig) -> IntArray:
    """First neighbourhood of each region and the end of the last, shape (num_regions + 1,)."""
    share = np.cumsum([region.share for region in regions_of(config)])
    edges: IntArray = np.round(share * num_neighbourhoods(config)).astype(np.int64)
    return np.concatenate([[0], edges])


def region_of_cars(config: EnvConfig) -> IntArray:
    """Region of every car of a fleet, shape (num_cars,), rising."""
    first = np.minimum(region_edges(config) * config.feeder.homes, config.num_cars)
    return np.repeat(np.arange(num_regions(config)), np.diff(first))


def round_trips_s(config: EnvConfig) -> FloatArray:
    """Round trip between people (rows) and cars (columns) of the regions [s], access included."""
    regions = regions_of(config)
    latitude = np.radians([region.latitude_deg for region in regions])
    longitude = np.radians([region.longitude_deg for region in regions])
    apart = np.sin(latitude)[:, None] * np.sin(latitude)
    apart += np.cos(latitude)[:, None] * np.cos(latitude) * np.cos(longitude[:, None] - longitude)
    km = EARTH_RADIUS_KM * np.arccos(np.clip(apart, -1.0, 1.0))
    np.fill_diagonal(km, 0.0)
    trips_s: FloatArray = config.serving.rtt_s + 2.0 * PATH_FACTOR * km / FIBRE_KM_PER_S
    return trips_s

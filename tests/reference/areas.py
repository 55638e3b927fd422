"""Where a car stands on the globe: its neighbourhood, its region, and who is near (section 5.1)."""

from __future__ import annotations

import math

from fleet_env.config import EnvConfig

EARTH_KM = 6371.0
FIBRE_KM_PER_S = 200_000.0
PATH_FACTOR = 1.5  # of the cable over the great circle; est


def region_shares(config: EnvConfig) -> list[float]:
    """Share of cars and demand of each region; a single one without `regions`."""
    given = [region.share for region in config.regions.values()] or [1.0]
    return [share / sum(given) for share in given]


def neighbourhood_of(config: EnvConfig, car: int) -> int:
    """Neighbourhood of a car of the row."""
    return car // config.feeder.homes


def num_neighbourhoods(config: EnvConfig) -> int:
    """Neighbourhoods of a row; the last may have fewer cars than homes."""
    return math.ceil(config.num_cars / config.feeder.homes)


def region_of(config: EnvConfig, car: int) -> int:
    """Region whose range of neighbourhoods holds the car's."""
    mine, dealt = neighbourhood_of(config, car), 0.0
    shares = region_shares(config)
    for region, share in enumerate(shares):
        dealt += share
        if mine < round(num_neighbourhoods(config) * dealt):
            return region
    return len(shares) - 1


def distance_km(config: EnvConfig, one: int, other: int) -> float:
    """Great circle between two regions, by the haversine formula."""
    if one == other:
        return 0.0
    regions = list(config.regions.values())
    lat1, lon1 = (math.radians(x) for x in _place(regions[one]))
    lat2, lon2 = (math.radians(x) for x in _place(regions[other]))
    across = math.sin(0.5 * (lat2 - lat1)) ** 2
    across += math.cos(lat1) * math.cos(lat2) * math.sin(0.5 * (lon2 - lon1)) ** 2
    return 2.0 * EARTH_KM * math.asin(min(1.0, math.sqrt(across)))


def _place(region: object) -> tuple[float, float]:
    return float(vars(region)["latitude_deg"]), float(vars(region)["longitude_deg"])


def round_trip_s(config: EnvConfig, people: int, cars: int) -> float:
    """From people of one region to cars of another and back, access included."""
    fibre_s = 2.0 * PATH_FACTOR * distance_km(config, people, cars) / FIBRE_KM_PER_S
    return config.serving.rtt_s + fibre_s


def nearest_first(config: EnvConfig, people: int) -> list[int]:
    """All regions in the order in which the chat of one is offered to them: itself first."""
    regions = range(len(region_shares(config)))
    return sorted(regions, key=lambda r: (r != people, distance_km(config, people, r), r))

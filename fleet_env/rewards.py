"""Prices of the data centre and terms of the ledger: plain functions from flows to money."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fleet_env.config import DataCentreConfig, EnvConfig, RewardConfig
from fleet_env.dynamics.capacity import peak_to_mean
from fleet_env.dynamics.roofline import DEFAULT_MIX, datacentre_price
from fleet_env.generators.clock import MIN_PER_DAY, load_zone
from fleet_env.generators.demand import DemandTrace
from fleet_env.regions import regions_of
from fleet_env.sums import weighted
from fleet_env.types import BATCH_70B, CLASS_TIER, TIERS, BoolArray, FloatArray
from fleet_env.units import HOURS_PER_DAY, KB_PER_GB, MIN_PER_H, TOKENS_PER_MTOK

JANUARY_UTC_MIN = np.array(["2022-01-15T00:00"], "M8[m]").astype(np.int64)  # since 1970


def price_factor(config: DataCentreConfig) -> float:
    """Price of a request in the year looked at, over that of the year the prices are from."""
    factor: float = (1.0 - config.price_decline_per_year) ** config.years_ahead
    return factor


def average_prices(config: EnvConfig, usd_per_token: FloatArray) -> FloatArray:
    """Price one request of each class in the data centre, all costs spread evenly [USD].

    Parameters
    ----------
    usd_per_token : FloatArray, shape (2, 2)
        Price of an input and of an output token (columns) by tier (rows), from the roofline of the
        rival.

    Returns
    -------
    FloatArray, shape (3,)
    """
    demand, centre = config.demand, config.datacentre
    per_tier = weighted(usd_per_token, np.array([demand.input_tokens, demand.output_tokens]))
    batch = per_tier[1] * (1.0 - centre.batch_discount)
    prices: FloatArray = np.array([per_tier[0], per_tier[1], batch]) * price_factor(centre)
    return prices


def request_prices(config: EnvConfig, usd_per_token: FloatArray) -> FloatArray:
    """Say what a request done in a car is credited, by class [USD], shape (3,).

    That is what it saves the data centre: `datacentre.dc_cost` (docs/model.md 5.8). Batch work is
    done when there is room, so it never saves capital that is paid by the peak.
    """
    centre = config.datacentre
    if centre.dc_cost == "energy_only":
        usd_per_kwh = centre.electricity_usd_per_kwh * price_factor(centre)
        return request_kwh(config) * usd_per_kwh
    prices = average_prices(config, usd_per_token)
    return prices * (1.0 - centre.capital_share) if centre.dc_cost == "peak" else prices


def request_kwh(config: EnvConfig) -> FloatArray:
    """Energy of a request of each class in the data centre, shape (3,) [kWh].

    The card states it per output token at the default mix of input and output; another mix scales
    it as it scales the price, by the time that the roofline gives to each token.
    """
    centre, demand = config.datacentre, config.demand
    per_token = datacentre_price(DataCentreConfig())  # of the default card: no price is 0 there
    per_request, per_default = (
        weighted(per_token, np.array([mix.input_tokens, mix.output_tokens]))
        for mix in (demand, DEFAULT_MIX)
    )
    kwh_per_mtok = np.array([getattr(centre, f"kwh_per_mtok_{tier}") for tier in TIERS])
    default_kwh = kwh_per_mtok * DEFAULT_MIX.output_tokens / TOKENS_PER_MTOK
    kwh: FloatArray = (default_kwh * per_request / per_default)[list(CLASS_TIER)]
    return kwh


def capacity_charge_h(
    config: EnvConfig, traces: Sequence[DemandTrace], chat_usd_per_min: FloatArray
) -> float:
    """Set the charge on the peak of the load left to the data centre [USD per USD/h].

    With no car, the peaks of the training days then cost on average what the capital in the
    average prices of the same requests does. 0 unless `dc_cost` is "peak".

    Parameters
    ----------
    traces : sequence of DemandTrace
        One per region.
    chat_usd_per_min : FloatArray, shape (2,)
        Mean money by chat class, in any unit: it weighs their rates.
    """
    centre = config.datacentre
    if centre.dc_cost != "peak":
        return 0.0
    ratio = peak_to_mean(training_load(config, traces, chat_usd_per_min), config.dt_h)
    return centre.capital_share * config.days * HOURS_PER_DAY / ratio


def training_load(
    config: EnvConfig, traces: Sequence[DemandTrace], chat_usd_per_min: FloatArray
) -> FloatArray:
    """Chat load of an episode from each training day on, shape (training days, num_steps).

    Regions replay the same day, each at its own clock as in January: which days of theirs fall
    together is drawn by scenario and not looked at here.
    """
    regions = regions_of(config)
    zones = [load_zone(region.time_zone, 2022) for region in regions]
    clock_min = np.concatenate([zone.offset(JANUARY_UTC_MIN) for zone in zones])
    first_min = round(config.start_hour * MIN_PER_H) + clock_min - clock_min[0]
    part_min = traces[0].split_day * MIN_PER_DAY
    day_min = np.arange(traces[0].split_day) * MIN_PER_DAY
    load = np.zeros((len(day_min), config.num_steps))
    for region, trace, first in zip(regions, traces, first_min, strict=True):
        rate = trace.rates((day_min + first) % part_min, 0, config.num_steps * config.step_min)
        steps = rate[:BATCH_70B].reshape(BATCH_70B, *load.shape, config.step_min).mean(axis=3)
        load += region.share * weighted(np.moveaxis(steps, 0, -1), chat_usd_per_min)
    return load


def load_usd_per_h(requests: FloatArray, price_usd: FloatArray, dt_h: float) -> FloatArray:
    """Turn chat requests of a step, shape (rows, 2), into a load at their prices [USD/h].

    Class by class, so that the bits of a row do not depend on the rows beside it.
    """
    return weighted(requests, price_usd[..., :BATCH_70B]) / dt_h


def avoided(on_time: FloatArray, price_usd: FloatArray) -> FloatArray:
    """Data-centre cost of what cars completed in time [USD], from requests (rows, 3).

    Prices are those of all rows, shape (3,), or of each, shape (rows, 3).
    """
    return weighted(on_time, price_usd)


def slo_penalty(missed: FloatArray, price_usd: FloatArray, config: RewardConfig) -> FloatArray:
    """Charge interactive requests lost or late once more [USD, >= 0], from (rows, 3)."""
    chat_usd = price_usd[..., :BATCH_70B]
    return avoided(missed[:, :BATCH_70B], chat_usd) * config.slo_penalty


def shortfall_cost(
    missed: FloatArray | BoolArray,
    short_kwh: FloatArray,
    usd: FloatArray | float,
    usd_per_kwh: float,
) -> FloatArray:
    """Inconvenience of leaving with too little charge [USD, >= 0]: per event, and per kWh."""
    return usd * missed + usd_per_kwh * short_kwh


def wear_usd_per_fade_kwh(config: RewardConfig) -> float:
    """Money per unit of relative fade and kWh of pack: replacement price over the usable fade."""
    return config.pack_usd_per_kwh / (1.0 - config.end_of_life_soh)


def cellular_gb(requests: FloatArray, config: RewardConfig) -> FloatArray:
    """Size the data of requests served over cellular links [GB]."""
    return requests * (config.request_kb / KB_PER_GB)

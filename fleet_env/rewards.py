"""The terms of the ledger: plain functions from the flows of a step to money."""

from __future__ import annotations

import numpy as np

from fleet_env.config import EnvConfig, RewardConfig
from fleet_env.types import BATCH_70B, FloatArray
from fleet_env.units import KB_PER_GB


def request_prices(config: EnvConfig, usd_per_token: FloatArray) -> FloatArray:
    """Price one request of each class in the data centre [USD], shape (3,).

    Parameters
    ----------
    usd_per_token : FloatArray, shape (2, 2)
        Price of an input and of an output token (columns) by tier (rows), from the roofline of the
        rival.
    """
    demand = config.demand
    per_tier = usd_per_token @ np.array([demand.input_tokens, demand.output_tokens])
    batch = per_tier[1] * (1.0 - config.datacentre.batch_discount)
    return np.array([per_tier[0], per_tier[1], batch])


def avoided(on_time: FloatArray, price_usd: FloatArray) -> FloatArray:
    """Data-centre cost of what cars completed in time [USD], from requests (rows, 3)."""
    usd: FloatArray = on_time @ price_usd
    return usd


def slo_penalty(missed: FloatArray, price_usd: FloatArray, config: RewardConfig) -> FloatArray:
    """Charge interactive requests lost or late once more [USD, >= 0], from (rows, 3)."""
    usd: FloatArray = missed[:, :BATCH_70B] @ price_usd[:BATCH_70B] * config.slo_penalty
    return usd


def shortfall_cost(
    shortfalls: FloatArray, short_kwh: FloatArray, config: RewardConfig
) -> FloatArray:
    """Inconvenience of leaving with too little charge [USD, >= 0]."""
    return config.shortfall_usd * shortfalls + config.shortfall_usd_per_kwh * short_kwh


def wear_usd_per_fade_kwh(config: RewardConfig) -> float:
    """Money per unit of relative fade and kWh of pack: replacement price over the usable fade."""
    return config.pack_usd_per_kwh / (1.0 - config.end_of_life_soh)


def cellular_gb(requests: FloatArray, config: RewardConfig) -> FloatArray:
    """Size the data of requests served over cellular links [GB]."""
    return requests * (config.request_kb / KB_PER_GB)

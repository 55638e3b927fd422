"""Money of flows, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fleet_env import rewards
from fleet_env.config import DataCentreConfig, EnvConfig, RewardConfig
from fleet_env.dynamics.roofline import datacentre_price

CONFIG = RewardConfig(shortfall_usd=10, shortfall_usd_per_kwh=2, slo_penalty=0.5, request_kb=8)
REQUESTS = np.array([[10.0, 20.0, 30.0], [0.0, 0.0, 1.0]])
PRICE = np.array([1.0, 2.0, 4.0])


def test_price_of_a_request_by_hand() -> None:
    """0.28 and 0.042 USD per million output tokens with the default mix, prefill included."""
    config = EnvConfig()
    price = rewards.request_prices(config, datacentre_price(config.datacentre))
    out = config.demand.output_tokens
    want = [0.042e-6 * out, 0.28e-6 * out, 0.28e-6 * out]
    np.testing.assert_allclose(price, want, rtol=1e-9)


def test_batch_discount_touches_batch_alone() -> None:
    half = replace(EnvConfig(), datacentre=DataCentreConfig(batch_discount=0.5))
    token = np.array([[1.0, 10.0], [2.0, 20.0]])
    plain = rewards.request_prices(EnvConfig(), token)
    n_in, n_out = EnvConfig().demand.input_tokens, EnvConfig().demand.output_tokens
    np.testing.assert_allclose(plain, [n_in + 10 * n_out, *[2 * n_in + 20 * n_out] * 2])
    np.testing.assert_allclose(rewards.request_prices(half, token), plain * [1, 1, 0.5])


def test_terms_by_hand() -> None:
    assert rewards.avoided(REQUESTS, PRICE).tolist() == [10 + 40 + 120, 4]
    assert rewards.slo_penalty(REQUESTS, PRICE, CONFIG).tolist() == [(10 + 40) * 0.5, 0]
    cost = rewards.shortfall_cost(np.array([0.0, 1.0, 2.0]), np.array([0.0, 3.0, 1.5]), CONFIG)
    assert cost.tolist() == [0, 16, 23]
    assert rewards.cellular_gb(np.array([250_000.0]), CONFIG).tolist() == [2.0]


def test_wear_by_hand() -> None:
    """150 USD/kWh over the 20 % that may fade: 750 USD per kWh and unit of fade."""
    assert rewards.wear_usd_per_fade_kwh(RewardConfig()) == pytest.approx(750.0)

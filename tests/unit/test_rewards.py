"""Money of flows, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fleet_env import rewards
from fleet_env.config import DataCentreConfig, DemandConfig, EnvConfig, RewardConfig
from fleet_env.config_world import RegionConfig
from fleet_env.dynamics.capacity import CapacityCharge
from fleet_env.dynamics.roofline import datacentre_price
from fleet_env.generators.demand import DemandTrace, make_trace
from fleet_env.generators.demand_sources import load_demand
from fleet_env.types import FloatArray

CONFIG = RewardConfig(shortfall_usd=10, shortfall_usd_per_kwh=2, slo_penalty=0.5, request_kb=8)
REQUESTS = np.array([[10.0, 20.0, 30.0], [0.0, 0.0, 1.0]])
PRICE = np.array([1.0, 2.0, 4.0])
TOKEN = np.array([[1.0, 10.0], [2.0, 20.0]])
DAY_H = np.arange(1440) / 60
EQUAL = np.array([1.0, 1.0])


def _card(**datacentre: float | str) -> EnvConfig:
    return EnvConfig(datacentre=DataCentreConfig(**datacentre))  # type: ignore[arg-type]


def _trace(*days: FloatArray, chat_70b: FloatArray | None = None) -> DemandTrace:
    """Trace of the given training days, shape (1440,), and of one loud test day."""
    chat = np.concatenate([*days, 50.0 * DAY_H])
    other = chat if chat_70b is None else np.concatenate([chat_70b, 50.0 * DAY_H])
    return make_trace(
        "hand-made",
        "local",
        np.array([chat, other, np.ones_like(chat)]),
        start_weekday=0,
        non_working=np.zeros(len(days) + 1, np.bool_),
        split_day=len(days),
    )


def test_price_of_a_request_by_hand() -> None:
    """0.28 and 0.042 USD per million output tokens with the default mix, prefill included."""
    config = EnvConfig()
    price = rewards.request_prices(config, datacentre_price(config.datacentre))
    out = config.demand.output_tokens
    want = [0.042e-6 * out, 0.28e-6 * out, 0.28e-6 * out]
    np.testing.assert_allclose(price, want, rtol=1e-9)


def test_batch_discount_touches_batch_alone() -> None:
    half = replace(EnvConfig(), datacentre=DataCentreConfig(batch_discount=0.5))
    plain = rewards.request_prices(EnvConfig(), TOKEN)
    n_in, n_out = EnvConfig().demand.input_tokens, EnvConfig().demand.output_tokens
    np.testing.assert_allclose(plain, [n_in + 10 * n_out, *[2 * n_in + 20 * n_out] * 2])
    np.testing.assert_allclose(rewards.request_prices(half, TOKEN), plain * [1, 1, 0.5])


def test_what_a_request_is_credited_under_each_accounting() -> None:
    average = rewards.request_prices(EnvConfig(), TOKEN)
    peak = rewards.request_prices(_card(dc_cost="peak", capital_share=0.75), TOKEN)
    np.testing.assert_allclose(peak, 0.25 * average, rtol=1e-12)
    # 211 tokens a request at the default mix: 0.032 and 0.21 kWh per million, at 0.1 USD/kWh
    sunk = rewards.request_prices(
        _card(dc_cost="energy_only", electricity_usd_per_kwh=0.1, batch_discount=0.5), TOKEN
    )
    np.testing.assert_allclose(sunk, 211e-6 * 0.1 * np.array([0.032, 0.21, 0.21]), rtol=1e-12)


def test_prices_fall_by_the_year_whatever_they_are_made_of() -> None:
    for dc_cost in ("average", "peak", "energy_only"):
        now = rewards.request_prices(_card(dc_cost=dc_cost), TOKEN)
        rate_only = _card(dc_cost=dc_cost, price_decline_per_year=0.3)
        assert (rewards.request_prices(rate_only, TOKEN) == now).all()
        later = _card(dc_cost=dc_cost, price_decline_per_year=0.3, years_ahead=3)
        np.testing.assert_allclose(rewards.request_prices(later, TOKEN), now * 0.343, rtol=1e-12)
    halved = _card(dc_cost="peak", price_decline_per_year=0.5, years_ahead=1)
    whole = rewards.average_prices(EnvConfig(), TOKEN)  # of which the capital is not taken off
    np.testing.assert_allclose(rewards.average_prices(halved, TOKEN), 0.5 * whole, rtol=1e-12)


def test_energy_of_a_request_grows_with_its_tokens_as_its_price_does() -> None:
    longer = EnvConfig(demand=DemandConfig(input_tokens=2310.0, output_tokens=422.0))
    ratio = rewards.request_kwh(longer) / rewards.request_kwh(EnvConfig())
    np.testing.assert_allclose(ratio, 2.0, rtol=1e-12)
    free = _card(usd_per_mtok_8b=0.0, usd_per_mtok_70b=0.0)
    assert (rewards.request_kwh(free) == rewards.request_kwh(EnvConfig())).all()


def test_charge_on_the_peak_by_hand() -> None:
    """Capital costs as much as in the average price: 0.7 of 24 h for a flat day."""
    flat, card = _trace(np.ones(1440)), _card(dc_cost="peak")
    assert rewards.capacity_charge_h(card, [flat], EQUAL) == pytest.approx(0.7 * 24)
    # on for 12 h: the peak is twice the mean, on the second day, half as loud, as well
    half = np.where(DAY_H < 12, 2.0, 0.0)
    for days in ([half], [half, 0.5 * half]):
        got = rewards.capacity_charge_h(card, [_trace(*days)], EQUAL)
        assert got == pytest.approx(0.7 * 24 / 2)
    # two days from noon, once round: the louder of both days sets the peak of either episode
    long = replace(card, days=2)
    two = rewards.capacity_charge_h(long, [_trace(half, 0.5 * half)], EQUAL)
    assert two == pytest.approx(0.7 * 48 / (2.0 / 0.75))


def test_only_a_peak_is_charged() -> None:
    for dc_cost in ("average", "energy_only"):
        card = _card(dc_cost=dc_cost)
        assert rewards.capacity_charge_h(card, [_trace(DAY_H)], EQUAL) == 0.0


def test_the_charge_weighs_the_chat_classes_by_their_money() -> None:
    """Classes that are on in turn make a flat day together, and a peak where one pays nothing."""
    trace = _trace(np.where(DAY_H < 12, 2.0, 0.0), chat_70b=np.where(DAY_H < 12, 0.0, 2.0))
    weight = 1.0 / trace.rate[:2].max(axis=1)  # rates are scaled to mean 1 with the test day
    card = _card(dc_cost="peak")
    assert rewards.capacity_charge_h(card, [trace], weight) == pytest.approx(0.7 * 24)
    alone = rewards.capacity_charge_h(card, [trace], np.array([1.0, 0.0]))
    assert alone == pytest.approx(0.7 * 24 / 2)


def test_regions_on_the_other_side_of_the_globe_share_a_peak() -> None:
    """Half a day on, half a day off, 12 h apart: together a flat load."""
    trace = _trace(np.where(DAY_H < 12, 2.0, 0.0))
    here, there = RegionConfig(time_zone="UTC"), RegionConfig(time_zone="Etc/GMT-12")
    card = replace(_card(dc_cost="peak"), regions={"here": here, "there": there})
    assert rewards.capacity_charge_h(card, [trace, trace], EQUAL) == pytest.approx(0.7 * 24)
    same = replace(card, regions={"here": here, "there": here})
    assert rewards.capacity_charge_h(same, [trace, trace], EQUAL) == pytest.approx(0.7 * 12)
    small = replace(there, share=1 / 3)  # a quarter of the demand: on for 1.5 against 0.5
    uneven = replace(card, regions={"here": here, "there": small})
    got = rewards.capacity_charge_h(uneven, [trace, trace], EQUAL)
    assert got == pytest.approx(0.7 * 24 / 1.5)


@pytest.mark.parametrize("days", [1, 3])
def test_without_cars_the_peaks_of_the_training_days_cost_what_the_average_price_holds(
    days: int,
) -> None:
    card = replace(_card(dc_cost="peak"), days=days)
    load = rewards.training_load(card, [load_demand("servegen", card.time_zone)], EQUAL)
    charge_h = rewards.capacity_charge_h(card, [load_demand("servegen", card.time_zone)], EQUAL)
    charge = CapacityCharge(charge_h, len(load), card.dt_h)
    # cars that take all the work save the whole peak
    saved = sum(charge.advance(np.zeros(len(load)), step) for step in load.T)
    assert np.mean(saved) == pytest.approx(0.7 * load.mean() * 24 * days)
    assert charge_h < 0.7 * 24 * days


def test_load_left_by_hand() -> None:
    """(10 x 1 + 20 x 2) USD in a quarter of an hour."""
    load = rewards.load_usd_per_h(REQUESTS[:, :2], PRICE, 0.25)
    assert load.tolist() == [200, 0]


def test_terms_by_hand() -> None:
    assert rewards.avoided(REQUESTS, PRICE).tolist() == [10 + 40 + 120, 4]
    assert rewards.slo_penalty(REQUESTS, PRICE, CONFIG).tolist() == [(10 + 40) * 0.5, 0]
    cost = rewards.shortfall_cost(np.array([0.0, 1.0, 2.0]), np.array([0.0, 3.0, 1.5]), 10.0, 2.0)
    assert cost.tolist() == [0, 16, 23]
    assert rewards.cellular_gb(np.array([250_000.0]), CONFIG).tolist() == [2.0]


def test_wear_by_hand() -> None:
    """150 USD/kWh over the 20 % that may fade: 750 USD per kWh and unit of fade."""
    assert rewards.wear_usd_per_fade_kwh(RewardConfig()) == pytest.approx(750.0)

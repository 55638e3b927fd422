"""Earnings and costs of an on-duty hour, by hand in US dollars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.heuristics.demand import Work
from agents.heuristics.merit import MeritSettings, margin_usd_per_h

FULL = MeritSettings(over_provision=1.0, slack_wanted_h=3.0)  # cars are thought fully busy
# 4 dear hours, then cheap: a stay of 10 h holds 6 cheap hours, one of 6 h holds 2
EVENING = {"price": 0.60, "cheap": 0, **{f"price_{h:02d}h": 0.60 for h in range(4)}}
EARNED = 0.28 * (1 - 1.5 / 60 / 4)  # 1.5 min of start, paid off over 4 h
DC_KW = 0.497 * 0.76  # meter power of compute alone, times the charger's efficiency at that power
PAY = 0.03
CHEAP, DEAR = 0.30 / 0.92 + 0.02, 0.60 / 0.92 + 0.02  # USD per DC kWh, with wear of the pack


def _margin(obs: Any, settings: MeritSettings = FULL, work: Work | None = None) -> Any:
    none, some = np.zeros(len(obs["mask"])), np.ones(len(obs["mask"]))
    return margin_usd_per_h(obs, work or Work(none, some, none), settings)


def test_plain_car_pays_the_price_of_now(make_obs: Any) -> None:
    want = EARNED - DC_KW * CHEAP - PAY
    assert want == pytest.approx(0.1175, abs=1e-4)
    np.testing.assert_allclose(_margin(make_obs()), want, rtol=1e-5)


def test_long_stay_in_a_dear_hour_pays_the_refill_and_the_wear(make_obs: Any) -> None:
    obs = make_obs({"stay_h": [10.0, 6.0, 7.0]}, EVENING)
    later = EARNED - DC_KW * CHEAP - PAY
    now = EARNED - DC_KW * DEAR - PAY
    np.testing.assert_allclose(_margin(obs), [[later, now, later]], rtol=1e-3)


def test_charge_still_wanted_takes_cheap_hours_away(make_obs: Any) -> None:
    # 0.1 * 76 kWh at 1.44 kW take 5.7 h of the 6 cheap ones; slack 4.3 h: no shortfall risk
    obs = make_obs({"soc": 0.70, "evse_kw": [7.7, 1.44, 1.44], "stay_h": [10, 10, 16]}, EVENING)
    margin = _margin(obs)[0]
    later, now = (EARNED - DC_KW * p - PAY for p in (CHEAP, DEAR))
    np.testing.assert_allclose(margin, [later, now, later], rtol=1e-2)


def test_slow_plug_that_cannot_finish_bears_the_shortfall(make_obs: Any) -> None:
    # 0.3 * 76 / 1.44 / 0.92 = 17.2 h of charging in a stay of 10 h
    obs = make_obs({"soc": 0.5, "evse_kw": [7.7, 1.44, 7.7], "stay_h": [10, 10, 4.5]})
    plain = EARNED - DC_KW * CHEAP - PAY
    charge_h = 0.3 * 76 / 7.7 / 0.92  # 3.2 h
    risk = 1 - (4.5 - charge_h) / 3
    np.testing.assert_allclose(_margin(obs)[0], [plain, plain - 1, plain - risk], rtol=1e-3)


def test_full_car_has_no_shortfall_risk_even_overdue(make_obs: Any) -> None:
    obs = make_obs({"stay_h": 0.0, "ready_min": 0.0})
    np.testing.assert_allclose(_margin(obs), 0.28 - DC_KW * CHEAP - PAY, rtol=1e-5)


def test_download_eats_the_earnings(make_obs: Any) -> None:
    obs = make_obs({"ready_min": [0, 120, 400]})
    energy = DC_KW * CHEAP
    want = [0.28 * share - energy - PAY for share in (1.0, 0.5, 0.0)]
    np.testing.assert_allclose(_margin(obs)[0], want, rtol=1e-4)


def test_unplugged_car_pays_the_booking_price(make_obs: Any) -> None:
    obs = make_obs({"plugged": 0, "evse_kw": 0})
    want = EARNED - DC_KW * (0.40 / 0.92 + 0.02) - PAY
    np.testing.assert_allclose(_margin(obs), want, rtol=1e-5)


def test_compressor_makes_hot_hours_dear(make_obs: Any) -> None:
    cool, hot = (_margin(make_obs(fleet={"ambient": t})) for t in (29.0, 30.0))
    np.testing.assert_allclose(cool - hot, 0.269 / 0.93 * CHEAP, rtol=1e-4)


def test_value_is_that_of_the_work_the_car_can_do(make_obs: Any) -> None:
    values = {"value_8b_usd_per_h": 0.2, "value_70b_usd_per_h": 0.4, "value_batch_usd_per_h": 0.1}
    cars = {"fits_70b": [1, 0, 0], "fits_8b": [1, 1, 0], "ready_min": 0}
    cars |= {"awake_kw": 0, "busy_kw": 0}
    obs = make_obs(cars, {**values, "pay_usd_per_h": 0.0})
    work = Work(np.array([1.0]), np.array([2.0]), np.array([1.0]))
    # (0.2 + 2 * 0.4 + 0.1) / 4; 8B alone; nothing
    np.testing.assert_allclose(_margin(obs, work=work)[0], [0.275, 0.2, 0.0], atol=1e-6)


def test_room_to_queue_is_idle_time(make_obs: Any) -> None:
    half = MeritSettings(over_provision=2.0, slack_wanted_h=3.0)
    power_kw = (0.26 + 0.5 * (0.497 - 0.26)) * 0.76
    want = 0.5 * EARNED - power_kw * CHEAP - PAY
    np.testing.assert_allclose(_margin(make_obs(), half), want, rtol=1e-4)


def test_every_region_has_its_own_prices_hours_and_weather(make_obs: Any) -> None:
    # dear here, 3 and 4 cheap hours before these cars leave: the fleet's forecast plays no part
    cars = {
        "region": [0, 1, 1, 1], "price": [0.30, 0.60, 0.60, 0.20], "ref_price": 0.5,
        "refill_price": [0.30, 0.25, 0.25, 0.25], "cheap_h": [0, 2.9, 3.0, 0],
        "ambient": [20, 20, 20, 31], "ready_min": 0,
    }  # fmt: skip
    obs = make_obs(cars, {"price": 9.0, "ref_price": 9.0, "ambient": 50.0}, shape=(1, 4))
    energy = [DC_KW * (usd / 0.92 + 0.02) for usd in (0.30, 0.60, 0.25)]
    energy.append((DC_KW + 0.269 / 0.93) * (0.20 / 0.92 + 0.02))
    np.testing.assert_allclose(_margin(obs)[0], 0.28 - np.array(energy) - PAY, rtol=1e-4)

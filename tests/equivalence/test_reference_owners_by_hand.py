"""The reference's owners, transformers and money against numbers by hand (5.3, 5.5, 5.8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleet_env.config import DataCentreConfig, EnvConfig, RewardConfig
from fleet_env.config_world import FeederConfig, OwnersConfig
from fleet_env.types import BATCH_70B, CHAT_8B, CHAT_70B, FAULT_SILENT, OTHER, WORK
from tests.reference import datacentre, energy, feeder, owners
from tests.reference.example import CAR, FULL, PLAIN, STATE
from tests.reference.refusals import refusal
from tests.reference.shocks import Outage
from tests.reference.step import Outcome, Shift

UP, DOWN = Outage(), Outage(home_down=True)


@pytest.mark.parametrize(
    ("usd_per_h", "share"),
    # 3 USD: ln 4 / ln 11 = 0.5781 of the way from logit -3.8918 to -1.0986: -2.2770
    [(0.0, 0.02), (0.03, 0.0930), (0.1, 0.25), (0.3, 0.45), (1.0, 0.65), (9.0, 0.65)],
)
def test_opt_in_by_pay(usd_per_h: float, share: float) -> None:
    config = EnvConfig(
        owners=OwnersConfig(opt_in="by_pay", expected_duty_h_per_month=100.0),
        reward=RewardConfig(pay_usd_per_on_duty_h=usd_per_h),
    )
    assert owners.opt_in_share(config) == pytest.approx(share, abs=5e-5)


@pytest.mark.parametrize(
    ("hour", "bounds", "inside"),
    [
        (22.0, (22.0, 6.0), True),
        (5.99, (22.0, 6.0), True),
        (6.0, (22.0, 6.0), False),
        (12.0, (9.0, 17.0), True),
        (17.0, (9.0, 17.0), False),
    ],
)
def test_hours_wrap_midnight(hour: float, bounds: tuple[float, float], inside: bool) -> None:
    assert owners.inside(hour, *bounds) is inside


def test_hours_that_owners_forbid() -> None:
    quiet, work_day = replace(CAR, quiet=True), OwnersConfig(allowed_from_h=9.0, allowed_to_h=17.0)
    assert owners.hours_forbid(PLAIN, quiet, 23.0)
    assert not owners.hours_forbid(PLAIN, quiet, 12.0)
    assert not owners.hours_forbid(PLAIN, CAR, 23.0)
    assert owners.hours_forbid(EnvConfig(owners=work_day), CAR, 8.5)
    assert not owners.hours_forbid(EnvConfig(owners=work_day), quiet, 9.0)


def test_a_cap_is_given_out_by_the_day() -> None:
    config = EnvConfig(days=2, owners=OwnersConfig(cap_h_per_month=30.4375))  # 1 h a day
    assert not owners.capped(config, replace(STATE, duty_h=1.99))
    assert owners.capped(config, replace(STATE, duty_h=2.0))
    assert not owners.capped(PLAIN, replace(STATE, duty_h=99.0))


def test_an_owner_leaves_once_and_for_good() -> None:
    config = EnvConfig(owners=OwnersConfig(dropout_per_broken_promise=0.5))
    state, out = replace(STATE), Outcome()
    for u in (0.5, 0.4, 0.4):
        owners.break_promise(config, CAR, state, u, out)
    assert state.left
    assert out.metric == {"broken_promises": 3.0, "dropouts": 1.0}
    assert out.reward["owner"] == -50.0


@pytest.mark.parametrize(
    ("car", "state", "outage", "reason"),
    [
        ({}, {}, UP, None),
        ({}, {"place": OTHER, "plugged": False}, DOWN, "away"),
        ({}, {"dark": True}, DOWN, "unplugged"),
        ({"unplugged_ok": True}, {"dark": True}, DOWN, "no_link"),
        ({"enrolled": False}, {}, DOWN, "no_link"),
        ({"enrolled": False}, {"fault": FAULT_SILENT}, UP, "opted_out"),
        ({}, {"left": True}, UP, "opted_out"),
        ({}, {"fault": FAULT_SILENT, "duty_h": 9.0}, UP, "silent"),
        ({"quiet": True}, {"duty_h": 9.0}, UP, "capped"),
        ({"quiet": True}, {"snooze_h": 0.5}, UP, "quiet"),
        ({}, {"snooze_h": 0.5}, UP, "snoozed"),
    ],
)
def test_first_reason_to_refuse(
    car: dict[str, Any], state: dict[str, Any], outage: Outage, reason: str | None
) -> None:
    config = EnvConfig(owners=OwnersConfig(cap_h_per_month=200.0))  # 6.57 h in a day
    mine, its = replace(CAR, **car), replace(STATE, **state)
    assert refusal(config, mine, its, outage, 1.0, 23.0, 0.6, hot=False) == reason


def burst() -> Shift:
    """A car that refills 0.7 kWh and computes with 0.1 kWh: 0.8 / 0.92 kWh at the meter."""
    plug = energy.Wish(7.084, 7.7, 0.92, 0.25, 0.25, 0.0, 0.7, 0.1, 0.13)
    return Shift(plug_h=0.25, wish=plug, flow=energy.fill(plug))


def limited(home_kw: float, *, homes: int = 5, **change: Any) -> tuple[list[Shift], Outcome]:
    """Two bursts behind a 25 kVA transformer: 22.5 kW."""
    config = EnvConfig(num_cars=2, feeder=FeederConfig(limit=True, homes=homes))
    shifts, out = [burst(), burst()], Outcome()
    states = [replace(FULL), replace(FULL, **change)]
    feeder.limit_compute(config, [CAR, CAR], states, shifts, (home_kw,), 1.0, out)
    return shifts, out


def test_a_transformer_with_room_lets_compute_be() -> None:
    shifts, out = limited(10.0)
    assert [shift.flow for shift in shifts] == [burst().flow] * 2
    assert out.metric == {}


def test_a_transformer_cuts_all_compute_alike() -> None:
    """2 kW for a quarter of an hour are 0.5 kWh of 1.7391: 0.25 kWh each."""
    shifts, out = limited(20.5)
    for shift in shifts:
        flow = shift.flow
        assert flow is not None
        assert flow.metered_kwh == pytest.approx(0.25)
        assert flow.stored_kwh == pytest.approx(0.25 * 0.92 - 0.1)
        # 0.23 kWh at full power last 0.23 / 7.084 h, in which the computer takes 0.4 kW
        direct_kwh = 0.4 * 0.23 / 7.084
        assert flow.throughput_kwh == pytest.approx(0.23 + 0.1 - 2.0 * direct_kwh)
    assert out.metric["feeder_cut_kwh"] == pytest.approx(1.6 / 0.92 - 0.5)


def test_a_transformer_beyond_its_rating_leaves_nothing_and_is_counted() -> None:
    shifts, out = limited(23.0)
    assert [shift.flow.metered_kwh for shift in shifts if shift.flow] == pytest.approx([0.0] * 2)
    assert out.metric["feeder_over_h"] == 0.25


def test_charging_of_the_twins_comes_before_compute() -> None:
    """A twin that charges takes 7.7 kW of the 10: what is left is 0.575 kWh."""
    config = EnvConfig(num_cars=2, feeder=FeederConfig(limit=True))
    charging = energy.Wish(7.084, 7.7, 0.92, 0.25, 0.25, 1.771, 0.0, 0.1, 0.13)
    shifts, out = (
        [burst(), Shift(plug_h=0.25, wish=charging, flow=energy.pack(charging))],
        Outcome(),
    )
    states = [replace(FULL), replace(STATE, ref_h=1.0)]
    feeder.limit_compute(config, [CAR, CAR], states, shifts, (12.5,), 1.0, out)
    assert shifts[0].flow is not None
    assert shifts[0].flow.metered_kwh == pytest.approx(2.5 - 7.7 * 0.25)
    assert shifts[1].flow == energy.pack(charging)  # it draws what its twin draws


def test_cars_elsewhere_do_not_load_the_transformer_at_home() -> None:
    shifts, out = limited(20.5, place=WORK)
    assert shifts[1].flow == burst().flow
    assert out.metric["feeder_cut_kwh"] == pytest.approx(0.8 / 0.92 - 0.5)


def centre(**settings: Any) -> EnvConfig:
    """A card with such a data centre."""
    return EnvConfig(num_cars=1, datacentre=DataCentreConfig(**settings))


REQUEST_70B = 0.28 * 211e-6  # USD


def test_prices_decline_year_by_year() -> None:
    config = centre(price_decline_per_year=0.3, years_ahead=2.0)
    assert datacentre.average_usd(config, CHAT_70B) == pytest.approx(0.49 * REQUEST_70B)
    assert datacentre.average_usd(config, CHAT_8B) == pytest.approx(0.49 * 0.042 * 211e-6)


def test_sunk_capital_leaves_the_energy_of_a_request() -> None:
    config = centre(dc_cost="energy_only", electricity_usd_per_kwh=0.10)
    assert datacentre.credited_usd(config, CHAT_70B) == pytest.approx(0.21 * 0.10 * 211e-6)
    assert datacentre.credited_usd(config, CHAT_8B) == pytest.approx(0.032 * 0.10 * 211e-6)


def test_by_its_peak_a_request_is_worth_what_is_not_capital() -> None:
    config = centre(dc_cost="peak", batch_discount=0.5)
    assert datacentre.credited_usd(config, CHAT_70B) == pytest.approx(0.3 * REQUEST_70B)
    assert datacentre.credited_usd(config, BATCH_70B) == pytest.approx(0.15 * REQUEST_70B)


def test_the_running_peak_by_hand() -> None:
    """Steps of 30 min, half of the requests trusted only; in units of one request per step."""
    config = EnvConfig(num_cars=1, step_min=30, datacentre=DataCentreConfig(dc_cost="peak"))
    capital, unit = datacentre.Capital(), REQUEST_70B / 0.5
    saved = [
        capital.step(config, [0.0, eligible], [0.0, taken], [0.0, lost]) / unit
        for eligible, taken, lost in [(10, 4, 0), (20, 20, 2), (15, 0, 0), (15, 15, 0), (10, 8, 0)]
    ]
    # all: 20, 40, 30, 30, 20; hour-means 20, 30, 35, 30, 25: peaks 20, 30, 35, 35, 35
    # left: 16, 22, 30, 15, 12; hour-means 16, 19, 26, 22.5, 13.5: peaks 16, 19, 26, 26, 26
    assert saved == pytest.approx([4.0, 7.0, -2.0, 0.0, 0.0])


def test_without_cars_no_peak_is_saved() -> None:
    config, capital = centre(dc_cost="peak"), datacentre.Capital()
    rates = [[17.3, 3.1], [41.7, 0.7], [5.9, 99.1]]
    assert [capital.step(config, r, [0.0, 0.0], [0.0, 0.0]) for r in rates] == [0.0, 0.0, 0.0]


def test_capital_of_an_average_day() -> None:
    # the largest hour is twice the mean: 0.7 of 24 h of the mean price, over 2 for the peak
    assert datacentre.charge_h(centre(dc_cost="peak"), 2.0) == pytest.approx(8.4)

"""Drawn cars: shares, limits and rules of the classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fleet_env import draws
from fleet_env.config import EnvConfig, FleetConfig, RewardConfig
from fleet_env.config_world import OwnersConfig
from fleet_env.dynamics import ageing
from fleet_env.generators import cars
from fleet_env.types import (
    EVSE_L1,
    EVSE_L2_7,
    EVSE_L2_11,
    EVSE_NONE,
    LFP,
    LINK_CELLULAR,
    LINK_NONE,
    LINK_WIFI,
    NCA,
    FleetParams,
)

NUM = 20_000
SIGMAS = 4.0


def draw(
    fleet: FleetConfig | None = None, names: tuple[str, ...] = ("ai5",), **sections: Any
) -> FleetParams:
    config = EnvConfig(num_cars=NUM, fleet=fleet or FleetConfig(), **sections)
    return cars.draw_params(config, draws.scenario_key("test", np.array([3])), list(names))


@pytest.fixture(scope="module")
def params() -> FleetParams:
    return draw()


def assert_share(mask: np.ndarray, share: float) -> None:
    assert mask.mean() == pytest.approx(share, abs=SIGMAS * (share * (1 - share) / NUM) ** 0.5)


def test_classes_have_their_packs_and_chargers(params: FleetParams) -> None:
    lfp = params.chemistry == LFP
    assert_share(lfp, 0.40)
    assert np.all(params.pack_kwh[lfp] == 57.5)
    assert np.all(params.pack_kwh[params.chemistry == NCA] == 76.0)
    assert not np.any(params.home_evse[lfp] == EVSE_L2_11)
    assert not np.any(params.home_evse[~lfp] == EVSE_L2_7)


def test_home_chargers_come_in_their_shares(params: FleetParams) -> None:
    assert_share(params.home_evse == EVSE_NONE, 0.20)
    assert_share(params.home_evse == EVSE_L1, 0.80 * 0.25)


def test_only_workers_charge_at_work(params: FleetParams) -> None:
    at_work = params.work_evse != EVSE_NONE
    assert not np.any(at_work & ~params.worker)
    assert_share(at_work, 0.15 * cars.WORKER_SHARE)


def test_links_follow_the_shares(params: FleetParams) -> None:
    assert_share(params.home_link == LINK_WIFI, 0.65)
    assert_share(params.work_link == LINK_WIFI, 0.30)
    assert not np.any(params.home_link == LINK_CELLULAR)
    cellular = draw(FleetConfig(cellular_share=0.5))
    assert_share(cellular.home_link == LINK_CELLULAR, 0.35 * 0.5)
    assert_share(cellular.home_link == LINK_NONE, 0.35 * 0.5)
    assert np.all(cellular.down_mbps[cellular.home_link == LINK_CELLULAR] == 30.0)


def test_broadband_is_capped_by_the_wifi(params: FleetParams) -> None:
    assert params.down_mbps.max() == 40.0
    assert params.up_mbps.max() == 20.0
    assert params.up_mbps.min() > 0.0


def test_targets_do_not_exceed_charge_limits(params: FleetParams) -> None:
    eager = draw(FleetConfig(target_soc_nca=0.87))
    assert np.all(eager.target_soc <= eager.charge_limit)
    assert np.any(eager.target_soc == np.float32(0.87))
    assert np.all(params.charge_limit[params.chemistry == LFP] == 1.0)
    limits = np.unique(params.charge_limit[params.chemistry == NCA])
    np.testing.assert_allclose(limits, [0.80, 0.85, 0.90], rtol=1e-6)


def test_drivers_average_one_and_plug_in_more_when_they_drive_more(params: FleetParams) -> None:
    assert params.drive.mean() == pytest.approx(1.0, abs=0.02)
    assert np.log(params.drive).std() == pytest.approx(cars.DRIVE_SIGMA, abs=0.01)
    z = np.argsort(np.argsort(params.habit)), np.argsort(np.argsort(params.drive))
    # Spearman's of a Gaussian copula: 6/pi asin(rho/2)
    expected = 6.0 / np.pi * np.arcsin(cars.DRIVE_HABIT_CORR / 2.0)
    assert np.corrcoef(*z)[0, 1] == pytest.approx(expected, abs=0.02)


def test_gains_match_the_law_at_the_age(params: FleetParams) -> None:
    key = draws.scenario_key("test", np.array([3]))
    u = cars.uniforms(draws.car_keys(key, draws.Stream.CAR, NUM))
    days = (0.1 + u[cars.U_AGE].astype(float) * 7.9) * 365.25
    cal, cyc = ageing.gains(params.chemistry, days)
    old = days > 100.0  # ages share a table in steps of 3 days: coarse only for new packs
    np.testing.assert_allclose(params.cal_gain[old], cal[old], rtol=0.02)
    np.testing.assert_allclose(params.cyc_gain[old], cyc[old], rtol=0.02)


def test_accelerators_follow_the_order_asked_for() -> None:
    mixed = draw(FleetConfig(accelerators={"ai4": 0.3, "ai5": 0.7}), ("ai5", "ai4"))
    assert_share(mixed.accelerator == 0, 0.7)
    assert_share(mixed.accelerator == 1, 0.3)


@pytest.mark.parametrize("field", ["lfp_share", "home_charger_share", "home_link_share"])
def test_shares_of_zero_and_one_are_exact(field: str) -> None:
    read = {
        "lfp_share": lambda p: p.chemistry == LFP,
        "home_charger_share": lambda p: p.home_evse != EVSE_NONE,
        "home_link_share": lambda p: p.home_link == LINK_WIFI,
    }[field]
    assert not read(draw(FleetConfig(**{field: 0.0}))).any()
    assert read(draw(FleetConfig(**{field: 1.0}))).all()


def test_a_car_does_not_depend_on_its_row_or_fleet_size() -> None:
    keys = draws.scenario_key("test", np.arange(7))
    many = cars.draw_params(EnvConfig(num_cars=3000), keys, ["ai5"])
    one = cars.draw_params(EnvConfig(num_cars=10), keys[4:5], ["ai5"])
    for name in FleetParams.__dataclass_fields__:
        row = getattr(many, name).reshape(7, 3000)[4, :10]
        np.testing.assert_array_equal(row, getattr(one, name), err_msg=name)


def draw_owners(pay_usd_per_month: float = 3.0, **owners: Any) -> FleetParams:
    return draw(
        owners=OwnersConfig(expected_duty_h_per_month=100.0, **owners),
        reward=RewardConfig(pay_usd_per_on_duty_h=pay_usd_per_month / 100.0),
    )


def test_by_default_all_take_part_at_any_hour_and_nobody_is_asked(
    params: FleetParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert params.enrolled.all()
    assert not params.quiet.any()
    asked, uniform = [], draws.uniform

    def spy(keys: Any, count: Any, num: int) -> Any:
        asked.append(int(count[0]))
        return uniform(keys, count, num)

    monkeypatch.setattr(draws, "uniform", spy)
    draw()
    assert set(asked) == {0}
    draw_owners(quiet_share=0.1)
    assert set(asked) == {0, cars.CONSENT_EVENT}


@pytest.mark.parametrize(("usd", "share"), [(0.0, 0.02), (10.0, 0.25), (30.0, 0.45), (100.0, 0.65)])
def test_pay_attracts_its_share_of_owners(usd: float, share: float) -> None:
    drawn = draw_owners(usd, opt_in="by_pay")
    assert_share(drawn.enrolled, share)
    assert not drawn.quiet.any()


def test_who_takes_part_for_less_takes_part_for_more() -> None:
    little, much = (draw_owners(usd, opt_in="by_pay").enrolled for usd in (5.0, 20.0))
    assert np.all(much >= little)
    assert much.sum() > little.sum()


def test_quiet_owners_come_in_their_share_whether_or_not_they_take_part() -> None:
    drawn = draw_owners(10.0, opt_in="by_pay", quiet_share=0.3)
    assert_share(drawn.quiet, 0.3)
    assert_share(drawn.quiet & drawn.enrolled, 0.3 * 0.25)
    assert draw_owners(quiet_share=0.3).enrolled.all()
    assert draw_owners(quiet_share=1.0).quiet.all()


def test_asking_owners_changes_nothing_else_about_the_cars(params: FleetParams) -> None:
    asked = draw_owners(10.0, opt_in="by_pay", quiet_share=0.3)
    for name in set(FleetParams.__dataclass_fields__) - {"enrolled", "quiet"}:
        np.testing.assert_array_equal(getattr(asked, name), getattr(params, name), err_msg=name)

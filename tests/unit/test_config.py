"""Settings refuse values outside their range, naming the key; their derived numbers by hand."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from fleet_env.config import (
    DataCentreConfig,
    DemandConfig,
    EnergyConfig,
    EnvConfig,
    FleetConfig,
    RewardConfig,
    ServingConfig,
    ThermalConfig,
)
from fleet_env.config_world import (
    MAX_REGIONS,
    FeederConfig,
    OwnersConfig,
    RegionConfig,
    ShockConfig,
    ShocksConfig,
    TelemetryConfig,
)
from fleet_env.scenarios import scenario

SECTIONS = {
    "fleet": FleetConfig,
    "serving": ServingConfig,
    "demand": DemandConfig,
    "datacentre": DataCentreConfig,
    "energy": EnergyConfig,
    "thermal": ThermalConfig,
    "reward": RewardConfig,
    "owners": OwnersConfig,
    "telemetry": TelemetryConfig,
    "feeder": FeederConfig,
    "shocks": ShockConfig,  # the section of every kind
    "regions": RegionConfig,  # of every region
}


def build(section: type, **settings: Any) -> object:
    """Build a section as a card holds it: a kind of shock and a region have names there."""
    if section is ShockConfig:
        return ShocksConfig(storm=ShockConfig(**settings))
    if section is RegionConfig:
        return EnvConfig(regions={"texas": RegionConfig(**settings)})
    return section(**settings)


NUMBERS = [
    (section, f.name)
    for section, kind in SECTIONS.items()
    for f in fields(kind)
    if type(getattr(kind(), f.name)) in (int, float)
]


@pytest.mark.parametrize(("section", "name"), NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e9])
def test_no_number_goes_unchecked(section: str, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{section}\.(\w+\.)?{name}=.*: expected a number in \["):
        build(SECTIONS[section], **{name: value})


def test_every_section_of_the_card_is_listed_here() -> None:
    named = {f.name for f in fields(EnvConfig) if is_dataclass(getattr(EnvConfig(), f.name))}
    assert {*named, "regions"} == set(SECTIONS)
    kinds = {f.name: getattr(ShocksConfig(), f.name) for f in fields(ShocksConfig)}
    assert kinds.pop("holidays") == []
    assert all(type(kind) is ShockConfig for kind in kinds.values())


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        (OwnersConfig, {"opt_in": "some"}, "owners.opt_in='some': expected all or by_pay"),
        (
            OwnersConfig,
            {"cap_h_per_month": 745.0},
            "owners.cap_h_per_month=745.0: expected a number in [0, 744]",
        ),
        (
            OwnersConfig,
            {"quiet_to_h": 24.5},
            "owners.quiet_to_h=24.5: expected a number in [0, 24]",
        ),
        (
            OwnersConfig,
            {"dropout_per_broken_promise": 1.1},
            "owners.dropout_per_broken_promise=1.1: expected a number in [0, 1]",
        ),
        (
            TelemetryConfig,
            {"silent_share": 0.75, "stuck_share": 0.5},
            "telemetry.silent_share + stuck_share=1.25: expected at most 1",
        ),
        (TelemetryConfig, {"age_s": "60"}, "telemetry.age_s='60': expected a number in [0, 3,600]"),
        (FeederConfig, {"homes": 0}, "feeder.homes=0: expected a number in [1, 100]"),
        (
            FeederConfig,
            {"start_spread_min": 61.0},
            "feeder.start_spread_min=61.0: expected a number in [0, 60]",
        ),
        (
            ShockConfig,
            {"from_h": 8.0, "to_h": 6.0},
            "shocks.storm.from_h=8.0: expected at most to_h",
        ),
        (ShockConfig, {"on_day": 14}, "shocks.storm.on_day=14: expected a number in [-1, 13]"),
        (ShockConfig, {"extent": 1.5}, "shocks.storm.extent=1.5: expected a number in [0, 1]"),
        (
            RegionConfig,
            {"latitude_deg": 91.0},
            "regions.texas.latitude_deg=91.0: expected a number in [-90, 90]",
        ),
        (
            RegionConfig,
            {"delivery_usd_per_kwh": -0.1},
            "regions.texas.delivery_usd_per_kwh=-0.1: expected a number in [0, 2]",
        ),
        (
            ServingConfig,
            {"chat_loss": "retry"},
            "serving.chat_loss='retry': expected restart or resume or checkpoint",
        ),
        (
            ServingConfig,
            {"batch_loss": "lost"},
            "serving.batch_loss='lost': expected restart or resume or checkpoint",
        ),
        (
            DataCentreConfig,
            {"dc_cost": "marginal"},
            "datacentre.dc_cost='marginal': expected average or peak or energy_only",
        ),
        (
            DataCentreConfig,
            {"price_decline_per_year": 1.0},
            "datacentre.price_decline_per_year=1.0: expected a number in [0, 0.99]",
        ),
        (
            DemandConfig,
            {"forecast": "naive"},
            "demand.forecast='naive': expected seasonal or exact",
        ),
        (DemandConfig, {"fill": "guess"}, "demand.fill='guess': expected fail or hold or zero or"),
    ],
)
def test_what_is_wrong_is_said_with_key_value_and_expectation(
    section: type, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        build(section, **settings)


def test_a_region_may_leave_the_delivery_adder_to_the_card() -> None:
    assert RegionConfig().delivery_usd_per_kwh is None
    assert RegionConfig(delivery_usd_per_kwh=2.0).delivery_usd_per_kwh == 2.0
    with pytest.raises(
        ValueError, match=r"regions\.texas\.delivery_usd_per_kwh=nan: expected a number in"
    ):
        build(RegionConfig, delivery_usd_per_kwh=float("nan"))


@pytest.mark.parametrize(
    ("settings", "off"),
    [({}, True), ({"per_year": 0.1}, False), ({"every_days": 1}, False), ({"on_day": 0}, False)],
)
def test_a_shock_without_rate_calendar_and_day_is_off(settings: dict[str, Any], off: bool) -> None:
    assert ShockConfig(**settings).off is off


def test_the_world_is_mild_by_default() -> None:
    config = EnvConfig()
    shocks = [getattr(config.shocks, f.name) for f in fields(ShocksConfig) if f.name != "holidays"]
    assert all(shock.off for shock in shocks)
    assert config.shocks.holidays == []
    assert config.regions == config.randomise == {}
    assert not config.feeder.limit
    assert config.telemetry == TelemetryConfig(age_s=0.0, silent_share=0.0, stuck_share=0.0)
    # the one thing that is on: owners who are let down may leave
    assert config.owners.dropout_per_broken_promise == 0.05


def test_reports_are_at_most_a_step_old() -> None:
    EnvConfig(step_min=5, telemetry=TelemetryConfig(age_s=300.0))
    with pytest.raises(ValueError, match=r"telemetry\.age_s=301\.0: expected at most a step"):
        EnvConfig(step_min=5, telemetry=TelemetryConfig(age_s=301.0))


def test_regions_are_at_most_eight() -> None:
    eight = {f"r{number}": RegionConfig() for number in range(MAX_REGIONS)}
    assert len(EnvConfig(regions=eight).regions) == 8
    with pytest.raises(ValueError, match="regions=9: expected at most 8"):
        EnvConfig(regions={**eight, "r8": RegionConfig()})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_cars": 0}, "num_cars=0"),
        ({"num_cars": 200_000_001}, "num_cars=200000001"),
        ({"days": 0}, "days=0: expected a number in .1, 14"),
        ({"days": 15}, "days=15"),
        ({"step_min": 20}, "step_min=20"),
        ({"start_hour": 24.0}, r"start_hour=24\.0"),
        ({"start_hour": -0.1}, r"start_hour=-0\.1"),
        ({"observation": "all"}, "observation='all'"),
    ],
)
def test_card_is_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EnvConfig(**settings)


@pytest.mark.parametrize(
    "shares", [{}, {"ai5": 0.9}, {"ai5": 1.5, "ai4": -0.5}, {"ai5": float("nan")}]
)
def test_shares_must_be_shares(shares: dict[str, float]) -> None:
    with pytest.raises(
        ValueError, match=r"fleet\.accelerators=.*non-negative shares that sum to 1"
    ):
        FleetConfig(accelerators=shares)


@pytest.mark.parametrize(
    ("step_min", "days", "dt_h", "num_steps"),
    [(15, 1, 0.25, 96), (5, 1, 1 / 12, 288), (10, 2, 1 / 6, 288), (60, 14, 1.0, 336)],
)
def test_steps_by_hand(step_min: int, days: int, dt_h: float, num_steps: int) -> None:
    config = EnvConfig(step_min=step_min, days=days)
    assert config.dt_h == pytest.approx(dt_h)
    assert config.num_steps == num_steps


def test_defaults_are_not_shared_between_configs() -> None:
    FleetConfig().accelerators["ai4"] = 1.0
    DemandConfig().batch_deadline_shares.clear()
    assert EnvConfig().fleet.accelerators == {"ai5": 1.0}
    EnvConfig().regions["texas"] = RegionConfig()
    EnvConfig().shocks.holidays.append("12-25")
    EnvConfig().shocks.storm.per_year = 2.0
    assert EnvConfig().regions == {}
    assert EnvConfig().shocks == ShocksConfig()
    assert ShocksConfig().holidays == []
    assert ShocksConfig().storm.off
    assert EnvConfig().demand.batch_deadline_shares == {"1": 0.2, "4": 0.3, "12": 0.5}


def test_a_card_is_written_as_what_it_changes():
    assert repr(EnvConfig()) == "EnvConfig('suburb', 1,000 cars, 1 d of 15 min steps)"
    card = scenario("paid", num_cars=20, step_min=60)
    assert repr(card) == (
        "EnvConfig('paid', 20 cars, 1 d of 60 min steps; fleet.home_link_share=0.8; "
        "fleet.paid_habits=True; reward.pay_usd_per_on_duty_h=0.1)"
    )
    assert "regions=['" in repr(scenario("world"))

"""Settings refuse values outside their range, naming the key; their derived numbers by hand."""

from __future__ import annotations

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

SECTIONS = {
    "fleet": FleetConfig,
    "serving": ServingConfig,
    "demand": DemandConfig,
    "datacentre": DataCentreConfig,
    "energy": EnergyConfig,
    "thermal": ThermalConfig,
    "reward": RewardConfig,
}
NUMBERS = [
    (section, f.name)
    for section, kind in SECTIONS.items()
    for f in fields(kind)
    if type(getattr(kind(), f.name)) in (int, float)
]


@pytest.mark.parametrize(("section", "name"), NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e9])
def test_no_number_goes_unchecked(section: str, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{section}\.{name}=.*: expected a number in \["):
        SECTIONS[section](**{name: value})


def test_every_section_of_the_card_is_listed_here() -> None:
    named = {f.name for f in fields(EnvConfig) if is_dataclass(getattr(EnvConfig(), f.name))}
    assert named == set(SECTIONS)


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
    assert EnvConfig().demand.batch_deadline_shares == {"1": 0.2, "4": 0.3, "12": 0.5}

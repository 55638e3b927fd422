"""Cards, overrides and splits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleet_env.config import SPLITS, DemandConfig, EnvConfig
from fleet_env.config_world import RegionConfig, ShocksConfig
from fleet_env.regions import regions_of
from fleet_env.scenarios import CARDS, SPLIT_SIZE, check_split, scenario

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "parameters.md").read_text("utf-8")
# setting -> ends of its plausible range, where the page has two numbers
RANGES = {
    key: (float(low), float(high))
    for key, low, high in re.findall(
        r"^\| `([a-z_0-9.]+)` \|[^|]*\|[^|]*\| ([\d.]+)-([\d.]+) ", PAGE, re.MULTILINE
    )
}
NO_70B = {("today", "demand.batch_share"), ("today", "demand.chat_70b_share")}  # too big for it


def test_every_card_builds_and_carries_its_name() -> None:
    for name in CARDS:
        assert scenario(name).name == name


def test_the_suburb_is_the_defaults() -> None:
    assert scenario() == scenario("suburb") == EnvConfig()


def settings(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_every_setting_of_a_card_changes_something() -> None:
    base = dict(settings(asdict(EnvConfig())))
    for name, tree in CARDS.items():
        for key, value in settings(tree):
            # mappings are replaced whole, so a mix may repeat a default share
            if not key.startswith(("regions.", "fleet.accelerators.")):
                assert value != base.get(key), f"{name}: {key}"


def test_cards_stay_within_the_plausible_ranges_of_the_page() -> None:
    held = set()
    for name, tree in CARDS.items():
        for key, value in settings(tree):
            if name != "gauntlet" and (name, key) not in NO_70B and key in RANGES:
                low, high = RANGES[key]
                assert low <= value <= high, f"{name}: {key}={value}, range {low}-{high}"
                held.add(key)
    assert {"fleet.level1_share", "fleet.home_link_share", "demand.load"} <= held


def test_a_card_named_after_a_shock_forces_it_in_every_episode() -> None:
    kinds = {field.name for field in fields(ShocksConfig)} & set(CARDS)
    assert kinds == {"storm", "heatwave", "coldsnap", "flash", "release"}
    for kind in kinds:
        assert getattr(scenario(kind).shocks, kind).on_day == 0
    for name in set(CARDS) - kinds - {"gauntlet"}:
        shocks = scenario(name).shocks
        assert all(getattr(shocks, f.name).off for f in fields(shocks) if f.name != "holidays")


def test_the_world_has_four_regions_alike_in_size_with_delivery_paid_everywhere() -> None:
    regions = regions_of(scenario("world"))
    assert [region.name for region in regions] == ["us_west", "texas", "germany", "new_south_wales"]
    assert {region.share for region in regions} == {0.25}
    assert len({region.time_zone for region in regions}) == 4
    for region in regions:
        assert region.tariff == "california_ev_tou" or region.delivery_usd_per_kwh >= 0.08


def test_the_gauntlet_has_every_feature_on() -> None:
    config, base = scenario("gauntlet"), EnvConfig()
    assert len(config.regions) > 1
    assert not any(
        getattr(config.shocks, f.name).off for f in fields(ShocksConfig) if f.name != "holidays"
    )
    assert config.shocks.holidays
    assert config.randomise
    assert config.feeder.limit
    for section in ("owners", "telemetry", "feeder", "datacentre", "serving", "reward"):
        assert getattr(config, section) != getattr(base, section)
    assert (config.datacentre.dc_cost, config.owners.opt_in) == ("peak", "by_pay")
    assert config.serving.batch_loss == "checkpoint"
    assert config.serving.hedge
    assert config.owners.cap_h_per_month > 0
    assert config.owners.quiet_share > 0
    assert 0 < config.telemetry.age_s <= 60 * config.step_min


def test_building_a_card_leaves_the_table_alone() -> None:
    scenario("mixed").fleet.accelerators["ai5"] = 0.0
    assert scenario("mixed").fleet.accelerators == {"ai4": 0.5, "ai5": 0.5}


def test_regions_are_given_as_mappings_or_whole_and_replace_those_of_the_card() -> None:
    texas = RegionConfig(share=2.0, time_zone="America/Chicago")
    config = scenario("world", regions={"a": {"delivery_usd_per_kwh": 0.1}, "b": texas})
    assert list(config.regions) == ["a", "b"]
    assert config.regions["a"] == RegionConfig(delivery_usd_per_kwh=0.1)
    assert config.regions["b"] is texas


def test_overrides_reach_nested_sections_and_leave_their_neighbours() -> None:
    config = scenario(
        "suburb", num_cars=3, demand={"load": 0.3}, fleet={"accelerators": {"ai4": 1.0}}
    )
    want = replace(EnvConfig(), num_cars=3, demand=DemandConfig(load=0.3))
    assert config.demand == want.demand
    assert config.num_cars == 3
    assert config.fleet.accelerators == {"ai4": 1.0}
    assert config.fleet.lfp_share == EnvConfig().fleet.lfp_share
    assert EnvConfig().fleet.accelerators == {"ai5": 1.0}


def test_a_section_may_be_given_whole() -> None:
    section = DemandConfig(load=0.1)
    assert scenario(demand=section).demand is section


def test_numbers_of_numpy_and_whole_floats_are_taken() -> None:
    config = scenario(num_cars=np.int64(5), start_hour=6, demand={"load": np.float32(0.5)})
    assert (config.num_cars, config.start_hour, config.demand.load) == (5, 6, 0.5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"num_cars": 2.5}, r"num_cars=2\.5: expected a whole number"),
        ({"num_cars": True}, "num_cars=True: expected a whole number"),
        ({"thermal": {"cooling": 1}}, r"thermal\.cooling=1: expected True or False"),
        ({"energy": {"tariff": 3}}, r"energy\.tariff=3: expected a text"),
        ({"fleet": {"accelerators": "ai5"}}, r"fleet\.accelerators='ai5': expected a mapping"),
        ({"demand": "heavy"}, "demand='heavy': expected a mapping or DemandConfig"),
        ({"demand": None}, "demand=None: expected a mapping or DemandConfig"),
        ({"regions": {"a": 3}}, "regions.a=3: expected a mapping or RegionConfig"),
        ({"regions": {"a": {"shar": 1.0}}}, "'regions.a.shar'.*did you mean 'share'"),
        ({"regions": {"a": {"delivery_usd_per_kwh": "x"}}}, "expected a number or None"),
        ({"shocks": {"holidays": "12-25"}}, "shocks.holidays='12-25': expected a list"),
        ({"shocks": {"storm": {"on_day": 0.5}}}, "shocks.storm.on_day=0.5: expected a whole"),
    ],
)
def test_wrong_kinds_are_named(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scenario(**overrides)


def test_splits_are_those_of_the_config_and_have_a_size() -> None:
    assert tuple(SPLIT_SIZE) == SPLITS
    for split in SPLITS:
        assert check_split(split) == split
    with pytest.raises(ValueError, match=r"split='valid'.*did you mean 'validation'\?"):
        check_split("valid")

"""Cards, overrides and splits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fleet_env.config import SPLITS, DemandConfig, EnvConfig
from fleet_env.scenarios import CARDS, SPLIT_SIZE, check_split, scenario


def test_every_card_builds_and_carries_its_name() -> None:
    for name in CARDS:
        assert scenario(name).name == name


def test_the_suburb_is_the_defaults() -> None:
    assert scenario() == scenario("suburb") == EnvConfig()


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

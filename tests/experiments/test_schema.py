from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from agents import registry
from experiments import schema
from experiments.nearest import nearest
from fleet_env.config import EnvConfig
from fleet_env.scenarios import CARDS, scenario

CONF = Path(schema.config_dir())
ENVS = sorted(file.stem for file in (CONF / "env").glob("*.yaml"))
STUDIES = sorted(file.stem for file in (CONF / "study").glob("*.yaml"))


def composed(verb: str, *overrides: str) -> DictConfig:
    schema.register()
    with initialize_config_dir(schema.config_dir(), version_base="1.3"):
        return compose(verb, overrides=list(overrides))


def settings(verb: str, *overrides: str):
    return schema.typed(composed(verb, *overrides), schema.ROOTS[verb])


@pytest.mark.parametrize("verb", schema.ROOTS)
@pytest.mark.parametrize("env", ENVS)
def test_every_card_composes_in_every_verb(verb, env):
    assert settings(verb, f"env={env}").env == scenario(env)


def test_every_card_of_the_library_has_its_file():
    assert sorted(CARDS) == ENVS


def test_the_suburb_is_the_default():
    assert settings("compare").env == EnvConfig()


@pytest.mark.parametrize("name", registry.names())
def test_every_policy_is_an_option_with_the_policys_own_defaults(name):
    policy = settings("evaluate", f"policy={name}").policy
    assert policy.name == name
    assert registry.make(name, **policy.options) == registry.make(name)


@pytest.mark.parametrize("name", STUDIES)
def test_every_variant_of_every_study_changes_the_card(name):
    table = settings("study", f"study={name}").study
    assert table.name == name
    assert table.variants
    for variant in table.variants.values():
        assert variant.note
        assert schema.changed(EnvConfig(), variant.overrides) != EnvConfig()


def test_values_are_typed_and_checked():
    got = settings("compare", "env.num_cars=7", "env.thermal.cooling=false", "policies=[random]")
    assert got.env.num_cars == 7
    assert got.env.thermal.cooling is False
    assert got.policies == ["random"]
    with pytest.raises(ValueError, match=r"num_cars=0: expected a number in"):
        settings("compare", "env.num_cars=0")
    with pytest.raises(ValueError, match="split='tset'"):
        settings("compare", "split=tset")
    with pytest.raises(ValueError, match="num_envs=0"):
        settings("evaluate", "num_envs=0")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+unknown=1", "unknown: no such setting"),
        ("+num_episode=1", "did you mean num_episodes?"),
        ("+env.num_crs=1", "did you mean env.num_cars?"),
        ("+env.fleet.lfp_shar=1", "did you mean env.fleet.lfp_share?"),
        ("+lfp_share=1", "did you mean env.fleet.lfp_share?"),
    ],
)
def test_added_keys_that_do_not_exist_are_errors(override, message):
    with pytest.raises(ValueError, match="no such setting") as caught:
        settings("compare", override)
    assert message in str(caught.value)


def test_a_free_mapping_takes_new_keys():
    mix = ("env.fleet.accelerators.ai5=0.25", "+env.fleet.accelerators.ai4=0.75")
    assert settings("compare", *mix).env.fleet.accelerators == {"ai5": 0.25, "ai4": 0.75}


def test_changed_overrides_by_key_and_leaves_the_card_alone():
    card = EnvConfig()
    got = schema.changed(card, ["serving.overhead_w=0", "energy.tariff=flat"])
    assert (got.serving.overhead_w, got.energy.tariff) == (0.0, "flat")
    assert card == EnvConfig()
    with pytest.raises(ValueError, match=r"env\.serving\.overhead: .*serving\.overhead_w"):
        schema.changed(card, ["serving.overhead=0"])


def test_nearest_says_nothing_where_nothing_is_near():
    assert nearest("zzzz", ["num_cars", "days"]) == ""
    assert nearest("day", ["num_cars", "days"]) == "; did you mean days?"


def test_config_dir_prefers_the_copy_inside_the_package(tmp_path, monkeypatch):
    package = tmp_path / "experiments"
    shutil.copytree(CONF, package / "conf")
    monkeypatch.setattr(schema, "__file__", str(package / "schema.py"))
    assert schema.config_dir() == str(package / "conf")
    shutil.rmtree(package / "conf")
    with pytest.raises(FileNotFoundError, match="no conf"):
        schema.config_dir()

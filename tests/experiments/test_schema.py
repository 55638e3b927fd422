from __future__ import annotations

import re
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest

from agents import registry
from experiments import deck, schema
from experiments.bound_settings import BoundSettings
from experiments.nearest import nearest
from experiments.verbs import cards
from fleet_env.config import EnvConfig
from fleet_env.config_world import RegionConfig, ShocksConfig
from fleet_env.scenarios import CARDS, scenario
from tests.composing import composed, settings_of

CONF = Path(schema.config_dir())
ENVS = sorted(file.stem for file in (CONF / "env").glob("*.yaml"))
CARDS_ALONE = "headroom"  # a study of cards, without variants
STUDIES = sorted({file.stem for file in (CONF / "study").glob("*.yaml")} - {CARDS_ALONE})


SEEN_BY_CAR = [name for name in ENVS if scenario(name).observation == "cars"]
# what each study is for, where it is not the suburb
CARD_OF_STUDY = {"gauntlet": "gauntlet"}


@pytest.mark.parametrize("env", ENVS)
def test_every_file_is_the_card_of_the_library(env):
    assert schema.typed(composed("bench", f"env={env}").env, EnvConfig) == scenario(env)


@pytest.mark.parametrize("verb", [verb for verb in schema.ROOTS if verb != "report"])
def test_every_verb_takes_a_card(verb):
    assert settings_of(verb, "env=world").env == scenario("world")


def test_policies_cannot_choose_from_a_card_without_cars():
    assert set(ENVS) - set(SEEN_BY_CAR) == {"nation"}
    assert settings_of("bench", "env=nation").env.num_cars == 100_000_000
    with pytest.raises(ValueError, match=r"env\.observation='fleet'.*env\.num_cars=1000"):
        settings_of("compare", "env=nation")
    small = deck.small(scenario("nation"), 1000)
    assert (small.num_cars, small.observation, small.demand.load) == (1000, "cars", 0.05)
    assert deck.small(scenario("tiny"), 1000) == scenario("tiny")


@pytest.mark.parametrize("name", ENVS)
def test_every_file_says_what_its_card_stands_for(name):
    text = cards.paragraph(name)
    assert len(text) > 100
    assert 10 < len(cards.title(text)) < 140


def test_every_card_of_the_library_has_its_file():
    assert sorted(CARDS) == ENVS


def test_the_suburb_is_the_default():
    assert settings_of("compare").env == EnvConfig()


@pytest.mark.parametrize("name", registry.names())
def test_every_policy_is_an_option_with_the_policys_own_defaults(name):
    policy = settings_of("evaluate", f"policy={name}").policy
    assert policy.name == name
    assert registry.make(name, **policy.options) == registry.make(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_variant_of_every_study_changes_the_card(name):
    table = settings_of("study", f"study={name}").study
    assert table.name == name
    assert table.variants
    card = scenario(CARD_OF_STUDY.get(name, "suburb"))
    for variant in table.variants.values():
        assert variant.note
        assert schema.changed(card, variant.overrides) != card


@pytest.mark.slow
def test_headroom_is_studied_by_card_and_by_feature():
    cards_alone = settings_of("study", f"study={CARDS_ALONE}")
    assert (cards_alone.measure, cards_alone.cards) == ("headroom", "all")
    assert not cards_alone.study.variants
    assert settings_of("study", f"study={CARDS_ALONE}", "cards=[tiny]").cards == ["tiny"]
    features = settings_of("study", "study=headroom_features")
    parts = [settings_of("study", f"study={name}").study.variants for name in ("ablation", "world")]
    assert features.study.variants == parts[0] | parts[1]
    assert len(features.study.variants) == len(parts[0]) + len(parts[1])
    assert (features.measure, features.cards) == ("headroom", "")
    assert settings_of("study", "measure=headroom").measure == "headroom"
    assert settings_of("study").measure == "money"


@pytest.mark.parametrize("verb", ["compare", "study"])
def test_the_bound_is_an_option_that_can_be_left_out(verb):
    assert settings_of(verb).bound == BoundSettings()
    assert settings_of(verb, "bound=none").bound == BoundSettings(solve=False)
    assert settings_of(verb, "bound.sample_cars=1000").bound == BoundSettings(sample_cars=1000)
    # it does not touch the records of policies, so the folder of a run takes another one
    assert "bound" not in schema.plain(settings_of(verb))


# settings that only shape a feature which another one switches on
SHAPES = {
    "owners.expected_duty_h_per_month", "owners.quiet_from_h", "owners.quiet_to_h",
    "feeder.kva", "feeder.usable_share", "feeder.home_peak_kw",
    "serving.checkpoint_s", "serving.mean_stay_h",
    "datacentre.capital_share", "datacentre.electricity_usd_per_kwh",
}  # fmt: skip


def test_the_studies_switch_every_feature_of_the_world():
    tables = [settings_of("study", f"study={name}").study for name in ("world", "dc_cost")]
    switched = {
        override.partition("=")[0]
        for table in tables
        for variant in table.variants.values()
        for override in variant.overrides
    }
    world = {"regions", "randomise", "shocks.holidays", "reward.noise_usd_per_quiet_h"}
    for section in ("owners", "telemetry", "feeder"):
        world |= {f"{section}.{field.name}" for field in fields(getattr(EnvConfig(), section))}
    world |= {"serving.chat_loss", "serving.batch_loss", "serving.batch_job_min", "serving.hedge"}
    world |= {"serving.checkpoint_s", "serving.mean_stay_h", "datacentre.dc_cost"}
    world |= {"datacentre.price_decline_per_year", "datacentre.years_ahead"}
    missing = world - SHAPES - switched
    kinds = {field.name for field in fields(ShocksConfig)} - {"holidays"}
    missing |= {kind for kind in kinds if f"shocks.{kind}.on_day" not in switched}
    assert not missing
    modes = [o for t in tables for v in t.variants.values() for o in v.overrides]
    for mode in ("dc_cost=peak", "dc_cost=energy_only", "batch_loss=checkpoint"):
        assert any(override.endswith(mode) for override in modes)


def test_values_are_typed_and_checked():
    got = settings_of("compare", "env.num_cars=7", "env.thermal.cooling=false", "policies=[random]")
    assert got.env.num_cars == 7
    assert got.env.thermal.cooling is False
    assert got.policies == ["random"]
    with pytest.raises(ValueError, match=r"num_cars=0: expected a number in"):
        settings_of("compare", "env.num_cars=0")
    with pytest.raises(ValueError, match="split='tset'"):
        settings_of("compare", "split=tset")
    with pytest.raises(ValueError, match="num_envs=0"):
        settings_of("evaluate", "num_envs=0")


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
        settings_of("compare", override)
    assert message in str(caught.value)


def test_keys_of_a_region_are_checked():
    share = settings_of("compare", "env=world", "+env.regions.texas.share=3").env.regions["texas"]
    assert share == replace(scenario("world").regions["texas"], share=3.0)
    flat = settings_of("compare", "env=world", "env.regions.texas.tariff=flat").env.regions["texas"]
    assert flat == replace(scenario("world").regions["texas"], tariff="flat")
    with pytest.raises(ValueError, match=r"regions\.texas='shr': expected .*mean 'share'"):
        settings_of("compare", "env=world", "+env.regions.texas.shr=3")
    two = settings_of("compare", "+env.regions={a: {share: 1}, b: {share: 3}}").env.regions
    assert two == {"a": RegionConfig(share=1.0), "b": RegionConfig(share=3.0)}


def test_a_free_mapping_takes_new_keys():
    mix = ("env.fleet.accelerators.ai5=0.25", "+env.fleet.accelerators.ai4=0.75")
    assert settings_of("compare", *mix).env.fleet.accelerators == {"ai5": 0.25, "ai4": 0.75}


def test_a_mapping_of_a_study_replaces_the_cards_whole():
    got = schema.changed(scenario("gauntlet"), ["regions={a: {share: 3}}", "randomise={}"])
    assert got.regions == {"a": RegionConfig(share=3.0)}
    assert got.randomise == {}
    got = schema.changed(EnvConfig(), ["fleet.accelerators={ai4: 1.0}"])
    assert got.fleet.accelerators == {"ai4": 1.0}


@pytest.mark.parametrize("verb", ["compare", "evaluate", "study", "cards"])
def test_uncertain_parameters_are_an_option_with_ranges_inside_the_plausible(verb):
    assert settings_of(verb).env.randomise == {}
    drawn = settings_of(verb, "randomise=uncertain").env.randomise
    page = (CONF.parent / "docs" / "parameters.md").read_text("utf-8")
    rows = re.findall(r"\.([a-z_0-9]+)` \|[^|]*\|[^|]*\| ([\d.]+)-([\d.]+) ", page)
    plausible = {key: (float(low), float(high)) for key, low, high in rows}
    assert len(set(drawn) & set(plausible)) >= 8
    for name, (low, high) in drawn.items():
        assert low < high
        least, most = plausible.get(name, (low, high))
        assert least <= low
        assert high <= most


def test_a_card_keeps_what_it_draws_itself():
    own = scenario("gauntlet").randomise
    assert settings_of("compare", "env=gauntlet").env.randomise == own
    both = settings_of("compare", "env=gauntlet", "randomise=uncertain").env.randomise
    assert set(own) < set(both)


def test_names_of_cards_are_checked():
    assert deck.card_names("all") == list(CARDS)
    assert deck.card_names("storm") == ["storm"]
    assert deck.card_names(["tiny", "peak"]) == ["tiny", "peak"]
    with pytest.raises(ValueError, match="cards=strom: no such card; did you mean storm"):
        deck.card_names(["strom"])


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


def test_a_training_tells_what_it_changed_of_its_cards():
    cards = {
        "peak": scenario("peak", demand={"rate_noise_cv": 0.3}),
        "suburb": scenario("suburb", fleet={"accelerators": {"ai4": 1.0}}),
    }
    assert deck.changed(cards) == {
        "demand.rate_noise_cv": 0.3,
        "fleet.accelerators.ai4": 1.0,
    }
    assert deck.changed({"peak": scenario("peak")}) == {}

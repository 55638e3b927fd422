"""Who is played: names, names with settings, trainings; and trainings of several seeds as one."""

import re
from importlib import resources

import numpy as np
import pandas as pd
import pytest

from agents import registry
from experiments.entries import Entry, entries, files_of
from experiments.headroom import is_plain, is_planner
from experiments.runner import Days
from experiments.seeds import Pooled
from fleet_env.scenarios import scenario
from tests.agents.trained import policy

CARD = scenario("suburb", num_cars=20)


@pytest.fixture
def trained(tmp_path):
    """Write best.policy of a training into a folder, by seed."""

    def write(seed):
        folder = tmp_path / f"run_{seed}"
        folder.mkdir()
        training = {"cards": ["suburb", "peak"], "seed": seed}
        policy("index", seed, training=training).save(folder / "best.policy")
        return str(folder)

    return write


def test_a_name_is_played_as_it_is():
    assert Entry.parse("mpc") == Entry("mpc", "mpc")


def test_settings_follow_a_colon_and_reach_the_policy():
    entry = Entry.parse("full_cost_first:min_margin_usd_per_h:0.5:start_spread_h:2")
    assert entry.options == {"min_margin_usd_per_h": 0.5, "start_spread_h": 2}
    own = entry.play(CARD, Days("test", 0, 1, 1), seed=0)
    plain = Entry.parse("full_cost_first").play(CARD, Days("test", 0, 1, 1), seed=0)
    assert own["metric/on_duty_h"].item() < plain["metric/on_duty_h"].item()
    assert own["policy"].item() == entry.label


def test_a_folder_of_a_training_and_its_file_are_the_same(trained):
    folder = trained(3)
    entry = Entry.parse(folder)
    assert entry.label == "some_index@suburb+peak#3"
    assert entry == Entry.parse(f"{folder}/best.policy")
    drawn = Entry.parse(f"{folder}:sampled:true")
    assert drawn.label == "some_index@suburb+peak:sampled:true#3"
    assert drawn.options["sampled"] is True


def test_many_cards_are_counted_in_a_label(tmp_path):
    training = {"cards": ["suburb", "peak", "storm"], "seed": 0}
    policy("index", training=training).save(tmp_path / "a.policy")
    assert Entry.parse(str(tmp_path / "a.policy")).label == "some_index@3cards#0"


def test_labels_name_files_by_their_stem(tmp_path):
    index = tmp_path / "mine.yaml"
    index.write_bytes(resources.files("agents.index").joinpath("suburb.yaml").read_bytes())
    assert Entry.parse(f"tuned_index:file:{index}").label == "tuned_index:file:mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mcp", "policies=mcp: no such policy, run or policy file; did you mean mpc?"),
        ("mpc:horizon", "policies=mpc:horizon: not of the form NAME:SETTING:VALUE"),
        ("random:shares:0.5", "unknown setting of random 'shares': did you mean 'share'"),
    ],
)
def test_what_cannot_be_played_is_an_error_that_helps(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        entries([text])


def test_two_policies_of_one_label_are_refused(trained):
    folder = trained(1)
    with pytest.raises(ValueError, match=r"are both some_index@suburb\+peak#1: expected each once"):
        entries([folder, f"{folder}/best.policy"])


def test_nobody_named_means_all_registered_policies():
    assert [entry.label for entry in entries([])] == list(registry.names())


def test_the_content_of_files_is_part_of_the_settings_of_a_run(trained):
    assert files_of(entries(["mpc"])) == {}
    one, other = (files_of([Entry.parse(trained(seed))]) for seed in (0, 1))
    [first], [second] = one["files"].values(), other["files"].values()
    assert first["file"] != second["file"]


def test_trained_policies_are_neither_plain_rules_nor_planners():
    label = "some_index@suburb#0"
    assert not is_plain(label)
    assert not is_planner(label)
    assert is_plain("random:share:0.2")
    assert is_planner("mpc:forecast:exact")


def test_trainings_of_several_seeds_are_the_mean_of_every_day():
    records = pd.DataFrame(
        [
            {"policy": policy, "card": "suburb", "scenario": scenario, "return": usd}
            for policy, money in {"a#0": (1.0, 3.0), "a#1": (2.0, 5.0), "b#0": (7.0, 8.0)}.items()
            for scenario, usd in enumerate(money)
        ]
    )
    pooled = Pooled.of(records)
    assert pooled.members == {"a x2": ["a#0", "a#1"]}
    found = pooled.records.set_index(["policy", "scenario"])["return"].to_dict()
    assert found == {("a x2", 0): 1.5, ("a x2", 1): 4.0, ("b#0", 0): 7, ("b#0", 1): 8}


def test_the_spread_over_seeds_stands_beside_the_mean(trained):
    runs = [trained(seed) for seed in (0, 1)]
    days = Days("test", 0, 2, 2)
    played = [entry.play(CARD, days, seed=0) for entry in entries([*runs, "dc_only"])]
    pooled = Pooled.of(pd.concat(played))
    rows = {row["policy"]: row for row in pooled.summarise(CARD, seed=0)}
    mean = rows["some_index@suburb+peak x2"]
    assert len(set(mean["usd_seeds"])) == 2
    assert np.mean(mean["usd_seeds"]) == pytest.approx(mean["usd"])
    assert rows["dc_only"]["usd_seeds"] == []

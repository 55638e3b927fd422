"""Results: read back, put side by side, shown as tables; `fleet report`; the Python API."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import experiments
from agents.heuristics.always_on import AlwaysOn
from experiments import Results, compare, evaluate, load_policy
from experiments.report import usd_per_car_month
from experiments.schema import card_of
from fleet_env.scenarios import CARDS, scenario

SMALL = {"num_cars": 10, "step_min": 60}
FLAGS = ("env.num_cars=10", "env.step_min=60", "num_episodes=2", "bound.choose_episodes=1")


@pytest.fixture(scope="module")
def two_cards() -> Results:
    names = ["dc_only", "full_cost_first", "always_on"]
    cards = [scenario("suburb", **SMALL), scenario("release", **SMALL)]
    return compare(names, cards, num_episodes=2)


@pytest.mark.parametrize("card", CARDS)
def test_a_card_comes_back_from_its_manifest(card):
    plain = json.loads(json.dumps(asdict(scenario(card))))
    assert card_of(plain) == scenario(card)


def test_the_table_holds_the_means_of_the_records(two_cards):
    table = two_cards.table("suburb")
    part = two_cards.records.query("card == 'suburb' and policy == 'full_cost_first'")
    assert table.loc["full_cost_first", "usd_per_car_month"] == pytest.approx(
        usd_per_car_month(part).mean()
    )
    assert table.index[-1] == "always_on"
    assert table["usd_per_car_month"].is_monotonic_decreasing
    both = two_cards.table()
    assert both.index.names == ["card", "policy"]
    pd.testing.assert_frame_equal(both.loc["suburb"], table)


def test_the_repr_says_what_was_played_and_who_was_best(two_cards):
    text = repr(two_cards)
    assert text.startswith("Results: 3 policies, 2 cards, 2 test days each\n")
    best = two_cards.table("suburb").index[0]
    assert f"  suburb: {best} +" in text
    assert "(bound +" in text


def test_scores_over_cards_are_of_days_over_mean_bounds(two_cards):
    days = two_cards.scored_days()
    part = two_cards.scored_records.query("card == 'release' and policy == 'always_on'")
    want = usd_per_car_month(part) / usd_per_car_month(part, "bound_usd").mean()
    got = days.query("card == 'release' and policy == 'always_on'")["score"]
    np.testing.assert_allclose(got, want)
    rows = two_cards.over_cards()
    assert [row["policy"] for row in rows][-1] == "always_on"
    scores = days[days["policy"] == "always_on"].groupby("card")["score"].mean()
    assert rows[-1]["score_mean"] == pytest.approx(scores.mean())
    assert rows[-1]["score_worst_card"] == pytest.approx(scores.min())
    assert rows[-1]["score_iqm_low"] <= rows[-1]["score_iqm"] <= rows[-1]["score_iqm_high"]


def test_own_policies_and_cards_are_played(two_cards):
    class Mine(AlwaysOn):
        name = "mine"

    found = evaluate(Mine(), scenario("suburb", **SMALL), num_episodes=2, bound=False)
    same = two_cards.records.query("card == 'suburb' and policy == 'always_on'")
    assert found.records["policy"].unique().tolist() == ["mine"]
    assert found.records["return"].tolist() == same["return"].tolist()
    assert found.scale is None


def test_traces_add_up_to_the_records(two_cards):
    trace = two_cards.traces["suburb"]["always_on"]
    [first] = two_cards.records.query(
        "card == 'suburb' and policy == 'always_on' and scenario == 0"
    ).to_dict("records")
    assert len(trace) == scenario("suburb", **SMALL).num_steps
    for name in ("metric/busy_h", "metric/arrived_chat_8b", "reward/energy", "reward/owner"):
        assert trace[name].sum() == pytest.approx(first[name], rel=1e-6), name
    assert (trace["available"] <= 10).all()
    assert ((trace["soc_05"] <= trace["soc_50"]) & (trace["soc_50"] <= trace["soc_95"])).all()


def test_overrides_need_a_card_by_name():
    with pytest.raises(ValueError, match="num_cars: expected in the card that is given"):
        compare(["dc_only"], scenario("suburb"), num_cars=10)


def test_policies_are_built_by_name_and_setting():
    assert load_policy("tuned_index:file:release").name == "tuned_index"
    with pytest.raises(ValueError, match=r"policy=alway_on: .*always_on"):
        load_policy("alway_on")


def test_the_package_knows_what_it_exports():
    assert all(getattr(experiments, name) is not None for name in experiments.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = experiments.nothing


def test_an_api_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    ask = {"num_episodes": 1, "bound": False, "out": tmp_path / "run", **SMALL}
    first = compare(["dc_only", "always_on"], **ask)
    monkeypatch.setattr("experiments.entries.play", None)  # nothing is played again
    again = compare(["dc_only", "always_on"], **ask)
    pd.testing.assert_frame_equal(first.records, again.records)
    with pytest.raises(ValueError, match=r"holds another run: .*seed was 0, is 1"):
        compare(["dc_only", "always_on"], seed=1, **ask)


def test_report_rebuilds_everything_from_records_alone(fleet):
    fleet("compare", "out=run", "policies=[dc_only,full_cost_first]", *FLAGS)
    before = json.loads(Path("run/summary.json").read_text())
    shutil.rmtree("run/records")
    for name in ("summary.json", "compare.png", "report.html"):
        Path("run", name).unlink()
    status, out, err = fleet("report", "run", "out=again")
    assert (status, err) == (0, "")
    assert "full_cost_first" in out
    assert json.loads(Path("again/summary.json").read_text()) == before
    assert Path("again/compare.png").is_file()
    assert Path("again/report.html").is_file()
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert manifest["wall_s"] > 0
    assert manifest["finished"] >= manifest["started"]


def test_cards_come_back_in_the_order_in_which_they_were_played(tmp_path):
    cards = [scenario(name, **SMALL) for name in ("suburb", "release", "storm")]
    played = compare(["dc_only"], cards, num_episodes=1, bound=False, out=tmp_path)
    found = Results.load(tmp_path)
    assert list(found.cards) == ["suburb", "release", "storm"]
    assert found.cards == played.cards
    pd.testing.assert_frame_equal(found.table(), played.table())


def test_a_study_is_rebuilt_from_its_records(fleet):
    flags = ("only=[no_pay]", "policies=[dc_only,always_on]", *FLAGS[:3])
    status, told, _ = fleet("study", "ablation", "out=run", *flags)
    assert status == 0
    shutil.rmtree("run/records")
    status, again, err = fleet("report", "run", "out=again")
    assert (status, err) == (0, "")
    assert again.splitlines()[:-1] == told.splitlines()[:-1]  # the last line names the folder
    for name in ("changes.csv", "summary.json", "results.parquet"):
        assert Path("again", name).read_bytes() == Path("run", name).read_bytes(), name
    assert Path("again/changes.png").is_file()
    assert "expected compare or evaluate" in fleet("report", "run", "again")[2]
    assert "a run of fleet report, expected compare or" in fleet("report", "again")[2]


def test_runs_stand_side_by_side(fleet):
    fleet("compare", "out=a", "policies=[dc_only]", "bound=none", *FLAGS[:3])
    fleet("evaluate", "out=b", "policy=always_on", *FLAGS[:3])
    status, _, err = fleet("report", "a", "b", "out=both")
    assert (status, err) == (0, "")
    records = pd.read_parquet("both/results.parquet")
    assert records["policy"].tolist() == ["dc_only"] * 2 + ["always_on"] * 2
    summary = json.loads(Path("both/summary.json").read_text())
    assert [row["policy"] for row in summary["policies"]] == ["dc_only", "always_on"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"num_cars": 11}, "card suburb differs between the runs: num_cars was 10, is 11"),
        ({"num_episodes": 1}, "on suburb: played on other days"),
        ({"policies": ["dc_only"]}, "dc_only on suburb: in two of the runs"),
    ],
)
def test_runs_that_do_not_fit_are_refused(other, why):
    asked = {"policies": ["always_on"], "num_episodes": 2, "bound": False, **SMALL}
    one = compare(**asked | {"policies": ["dc_only"]})
    with pytest.raises(ValueError, match=why):
        Results.join([one, compare(**asked | other)])


def test_records_of_another_version_are_refused(tmp_path):
    compare(["dc_only"], num_episodes=1, bound=False, out=tmp_path, **SMALL)
    assert len(Results.load(tmp_path).records) == 1
    file = tmp_path / "results.parquet"
    pd.read_parquet(file).drop(columns="available_h").to_parquet(file)
    with pytest.raises(ValueError, match="another version, without available_h: play them anew"):
        Results.load(tmp_path)


def test_a_folder_without_a_run_is_named(fleet, tmp_path):
    (tmp_path / "empty").mkdir()
    assert fleet("report", "empty")[2].startswith("fleet: empty: no run here")
    assert "runs" in fleet("report")[2]

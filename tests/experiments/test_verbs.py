"""Each verb end to end, on a tiny fleet, as a user would call it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agents import registry
from experiments import cli
from experiments.entries import entries
from experiments.runner import Days, play
from fleet_env.config import DataCentreConfig, DemandConfig, EnvConfig
from fleet_env.dynamics.roofline import datacentre_price
from fleet_env.metrics import EPISODE_FIELDS, REWARD_TERMS
from fleet_env.rewards import request_kwh
from fleet_env.types import CLASSES
from fleet_env.vector_env import FleetVectorEnv

pytestmark = pytest.mark.slow  # every test starts the command line at least once

TINY = ("env.num_cars=20", "num_episodes=2")
NO_BOUND = "bound=none"  # test_bound_report.py has it
OPTIONS = ("env.num_cars=3", "num_episodes=2", "policies=[dc_only,always_on]", NO_BOUND)


def test_compare_writes_prints_and_draws(fleet):
    status, out, err = fleet("compare", "env=suburb", "out=run", "bound.choose_episodes=2", *TINY)
    assert (status, err) == (0, "")
    assert "results: " in out
    assert all(name in out for name in registry.names())
    records = pd.read_parquet("run/results.parquet")
    assert len(records) == 2 * len(registry.names())
    assert set(EPISODE_FIELDS) <= set(records)
    terms = records[[f"reward/{term}" for term in REWARD_TERMS]].sum(axis=1)
    pd.testing.assert_series_equal(terms, records["return"], check_names=False, atol=1e-9)
    assert (records.loc[records["policy"] == "dc_only", "return"] == 0).all()
    summary = json.loads(Path("run/summary.json").read_text())
    assert {row["policy"] for row in summary["policies"]} == set(registry.names())
    assert Path("run/compare.png").read_bytes().startswith(b"\x89PNG")
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert manifest["config"]["env"]["num_cars"] == 20


def test_runs_lie_under_verb_and_card_where_no_folder_is_named(fleet, tmp_path):
    status, out, _ = fleet("compare", *OPTIONS)
    assert status == 0
    [folder] = (tmp_path / "runs" / "compare" / "suburb").iterdir()
    assert f"results: {folder}" in out
    assert Path.cwd() == tmp_path


def test_a_rerun_plays_only_what_is_missing(fleet, monkeypatch):
    fleet("compare", "out=run", *OPTIONS)
    before = Path("run/results.parquet").read_bytes()
    Path("run/records/suburb/always_on.parquet").unlink()
    played = []
    monkeypatch.setattr(
        "experiments.entries.play", lambda c, name, *a: played.append(name) or play(c, name, *a)
    )
    status, _, _ = fleet("compare", "out=run", *OPTIONS)
    assert (status, played) == (0, ["always_on"])
    drop = ["decision_s"]  # a time, not a result
    after = pd.read_parquet("run/results.parquet").drop(columns=drop)
    Path("old.parquet").write_bytes(before)
    pd.testing.assert_frame_equal(after, pd.read_parquet("old.parquet").drop(columns=drop))


def test_an_interrupted_run_keeps_the_policies_it_finished(fleet, monkeypatch):
    def interrupted(config, name, *rest):
        if name == "always_on":
            raise KeyboardInterrupt
        return play(config, name, *rest)

    monkeypatch.setattr("experiments.entries.play", interrupted)
    status, _, err = fleet("compare", "out=run", *OPTIONS)
    assert status == 130
    assert err == "fleet: interrupted; what is finished stays in run: go on with out=run\n"
    assert [f.name for f in Path("run/records/suburb").glob("*.*")] == ["dc_only.parquet"]


def test_another_configuration_in_the_same_folder_is_an_error(fleet):
    fleet("compare", "out=run", *OPTIONS)
    status, _, err = fleet("compare", "out=run", *OPTIONS, "env.demand.load=0.4")
    assert status == 2
    assert "env.demand.load was 0.5, is 0.4" in err


def test_evaluate_records_steps_that_sum_to_the_episode(fleet):
    status, out, _ = fleet(
        "evaluate", "policy=random", "policy.options.share=0.9", "record=true", "out=run", *TINY
    )
    assert status == 0
    assert "random" in out
    steps, records = pd.read_csv("run/steps.csv"), pd.read_parquet("run/results.parquet")
    assert len(steps) == 2 * 96
    sums = steps.groupby("scenario")["reward/energy"].sum()
    assert sums.tolist() == pytest.approx(records.set_index("scenario")["reward/energy"].tolist())


def test_study_writes_changes_of_every_variant(fleet):
    status, out, _ = fleet(
        "study", "ablation", "only=[no_pay,no_wear]", "out=run", *OPTIONS, "env.num_cars=20"
    )
    assert status == 0
    assert "no pay" in out or "no_pay" in out
    changes = pd.read_csv("run/changes.csv")
    assert set(zip(changes["variant"], changes["policy"], strict=True)) == {
        (variant, policy)
        for variant in ("no_pay", "no_wear")
        for policy in ("dc_only", "always_on")
    }
    pay = changes[changes["variant"] == "no_pay"].set_index("policy")["change"]
    assert pay["dc_only"] == 0.0
    assert pay["always_on"] > 0.0  # owners lend their cars for nothing
    assert Path("run/changes.png").is_file()


def test_bench_measures_every_size_and_action(fleet):
    sizes = ("sizes=[1x20,3x5]", "repeats=2", "num_steps=4", "copy_mb=1", "cards=[]")
    status, out, _ = fleet("bench", "out=run", *sizes)
    assert status == 0
    assert "3x5" in out
    frame = pd.read_csv("run/bench.csv")
    assert len(frame) == 4
    per_step = frame["num_envs"] * frame["num_cars"] / frame["step_s"]
    assert frame["car_steps_per_s"].tolist() == pytest.approx(per_step.tolist())
    assert (frame["car_steps_per_s_with_reset"] < frame["car_steps_per_s"]).all()


def test_bench_times_cards_in_turns(fleet):
    sizes = ("sizes=[1x5]", "card_sizes=[2x5,1x20]", "repeats=3", "num_steps=4", "copy_mb=1")
    status, out, _ = fleet("bench", "out=run", *sizes, "cards=[suburb,level1]", "env.days=2")
    assert status == 0
    assert "cards in turns" in out
    frame = pd.read_csv("run/cards.csv")
    assert frame["card"].tolist() == ["suburb", "level1"] * 2
    assert frame["num_cars"].tolist() == [5, 5, 20, 20]
    for _, pair in frame.groupby("num_cars"):
        first, second = pair.to_dict("records")
        assert first["ratio"] == first["ratio_with_reset"] == 1.0
        assert second["ratio"] == pytest.approx(second["step_s"] / first["step_s"])


def test_the_bench_has_the_gauntlet_run_beside_the_suburb(fleet):
    status, out, _ = fleet("bench", "--cfg", "job")
    assert status == 0
    assert "- suburb\n- gauntlet" in out
    assert "- 64x256\n- 1x1000" in out.partition("card_sizes")[2]


RULES = "policies=[dc_only,always_on,consolidate]"
CARDS = ("num_episodes=2", RULES, "env.num_cars=20", NO_BOUND)


def test_compare_over_cards_ranks_each_and_names_what_differs(fleet):
    names = ("suburb", "peak", "nation")
    status, out, err = fleet("compare", "cards=[suburb,peak,nation]", "out=run", *CARDS)
    assert (status, err) == (0, "")
    assert "rankings that differ from suburb" in out
    records = pd.read_parquet("run/results.parquet")
    assert set(zip(records["card"], records["policy"], strict=True)) == {
        (card, policy) for card in names for policy in ("dc_only", "always_on", "consolidate")
    }
    assert (records.loc[records["policy"] == "dc_only", "return"] == 0).all()
    money = pd.read_csv("run/money.csv")
    assert len(money) == 9
    assert (money.groupby("card")["minus_best"].count() == 2).all()
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["reference"] == "suburb"
    assert set(summary["cards"]) == set(names)
    assert set(summary["ranking_differs_on"]) == set(pd.read_csv("run/reversals.csv")["card"])
    assert Path("run/cards.png").read_bytes().startswith(b"\x89PNG")


def test_settings_of_the_command_line_hold_for_every_card(fleet):
    fleet("compare", "cards=[level1,nation]", "out=run", "env.demand.load=0.3", *CARDS)
    cards = json.loads(Path("run/manifest.json").read_text())["config"]["cards"]
    assert [card["demand"]["load"] for card in cards.values()] == [0.3, 0.3]
    assert [card["num_cars"] for card in cards.values()] == [20, 20]
    assert cards["level1"]["fleet"]["level1_share"] == 0.5


def test_large_cards_are_played_small_and_the_table_says_so(fleet):
    arguments = ("num_episodes=1", "policies=[dc_only]", "max_cars=7", "reference=nation")
    status, out, _ = fleet("compare", "cards=[nation,tiny]", "out=run", *arguments)
    assert status == 0
    assert "nation (7 cars)" in out
    assert "tiny (" not in out
    nation = json.loads(Path("run/summary.json").read_text())["cards"]["nation"]
    assert (nation["num_cars"], nation["num_cars_played"]) == (100_000_000, 7)


def test_a_rerun_over_cards_plays_only_what_is_missing(fleet, monkeypatch):
    fleet("compare", "cards=[suburb,peak]", "out=run", *CARDS)
    Path("run/records/peak/always_on.parquet").unlink()
    played = []
    monkeypatch.setattr(
        "experiments.entries.play",
        lambda c, name, *a: played.append((c.name, name)) or play(c, name, *a),
    )
    status, _, _ = fleet("compare", "cards=[suburb,peak]", "out=run", *CARDS)
    assert (status, played) == (0, [("peak", "always_on")])


def test_runs_over_cards_have_a_folder_of_their_own(fleet, tmp_path):
    fleet("compare", "cards=[tiny]", "num_episodes=1", "policies=[dc_only]")
    assert [folder.name for folder in (tmp_path / "runs" / "compare").iterdir()] == ["cards"]


def test_cards_are_listed_without_playing(fleet):
    status, out, _ = fleet("cards", "play=false", "out=run", "cards=[suburb,world]")
    assert status == 0
    assert "Follow the sun" in out
    rows = json.loads(Path("run/cards.json").read_text())["cards"]
    assert [(row["card"], row["regions"]) for row in rows] == [("suburb", 1), ("world", 4)]
    assert Path("run/cards.md").read_text().startswith("# Scenario cards")
    assert not Path("run/records").exists()


def test_cards_come_with_figures_of_a_quick_run(fleet):
    quick = ("num_episodes=2", "policies=[dc_only,always_on]", "max_cars=10")
    status, out, _ = fleet("cards", "out=run", "cards=[suburb,paid]", *quick)
    assert status == 0
    assert "A glance, not a result: mean of 2 test days" in out
    rows = pd.read_csv("run/cards.csv").set_index("card")
    assert rows["best"].tolist() == ["dc_only", "dc_only"]
    assert rows["num_cars_played"].tolist() == [10, 10]
    assert rows.loc["paid", "plugged_linked"] > 1.5 * rows.loc["suburb", "plugged_linked"]


def test_uncertain_parameters_change_the_days(fleet):
    arguments = ("policy=always_on", "num_episodes=3", "env.num_cars=20")
    fleet("evaluate", "out=plain", *arguments)
    fleet("evaluate", "out=drawn", "randomise=uncertain", *arguments)
    plain, drawn = (pd.read_parquet(f"{name}/results.parquet") for name in ("plain", "drawn"))
    assert (plain["date"] == drawn["date"]).all()
    assert (plain["reward/energy"] != drawn["reward/energy"]).all()


def test_a_sweep_gives_every_combination_its_folder(fleet, tmp_path):
    status, _, _ = fleet("compare", "-m", "env.num_cars=3,4", *OPTIONS[1:])
    assert status == 0
    [sweep] = (tmp_path / "runs" / "compare" / "sweep").iterdir()
    assert [len(pd.read_parquet(sweep / job / "results.parquet")) for job in ("0", "1")] == [4, 4]


TYPOS = [
    (["compar"], "did you mean compare?"),
    (["compare", "--multirn"], "did you mean --multirun?"),
    (["compare", "env=subrub"], "env=subrub: no such option; did you mean suburb?"),
    (["compare", "env.num_crs=3"], "did you mean env.num_cars?"),
    (["compare", "env.fleet.lfp_shre=1"], "did you mean env.fleet.lfp_share?"),
    (["compare", "lfp_share=1"], "did you mean env.fleet.lfp_share?"),
    (["compare", "+unknown=1"], "unknown: no such setting"),
    (["compare", "+env.fleet.lfp_shar=1"], "did you mean env.fleet.lfp_share?"),
    (["compare", "env.num_cars=many"], "env.num_cars: Value 'many'"),
    (["compare", "env.num_cars=0"], "num_cars=0: expected a number in"),
    (["compare", "policies=[always_onn]"], "did you mean always_on?"),
    (["compare", "foo"], "foo: not of the form key=value"),
    (["compare", "env.observation=fleet"], "env.observation='fleet'"),
    (["evaluate", "policy=always_of"], "did you mean always_on?"),
    (["evaluate", "policy=random", "policy.options.shar=1"], "policy.options.share?"),
    (["evaluate", "policy=random", "policy.options.share=3"], "share=3: expected a number in"),
    (["compare", "cards=[strom]"], "cards=strom: no such card; did you mean storm?"),
    (["compare", "cards=all", "env=peak"], "env=peak: expected cards= alone"),
    (["compare", "cards=[tiny]", "env.num_crs=3"], "did you mean env.num_cars?"),
    (["compare", "env=nation"], "env.observation='fleet'"),
    (["compare", "randomise=uncertan"], "did you mean uncertain?"),
    (["cards", "cards=nowhere"], "cards=nowhere: no such card"),
    (["bench", "cards=[gaunlet]"], "did you mean gauntlet?"),
    (["study", "ablatoin"], "study=ablatoin: no such option; did you mean ablation?"),
    (["study", "only=[no_wke]"], "did you mean no_wake?"),
    (["bench", "sizes=[3y4]"], "sizes=3y4: expected ENVSxCARS"),
]


@pytest.mark.parametrize(("arguments", "message"), TYPOS)
def test_a_mistake_gives_one_line_with_the_nearest_name(fleet, arguments, message, tmp_path):
    status, out, err = fleet(*arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_debug_shows_the_traceback(fleet):
    with pytest.raises(ValueError, match="num_cars=0"):
        fleet("compare", "env.num_cars=0", "debug=true")


def test_help_lists_verbs_groups_and_settings(fleet):
    status, out, _ = fleet("--help")
    assert status == 0
    assert all(verb in out for verb in cli.VERBS)
    assert fleet()[0] == 2
    status, out, _ = fleet("evaluate", "--help")
    assert status == 0
    assert "suburb" in out
    assert "always_on" in out
    assert "num_cars: 1000" in out


CARD = EnvConfig(num_cars=5)


def test_records_do_not_depend_on_the_batch():
    together = play(CARD, "always_on", Days("test", 4, 3, 3), seed=0)
    apart = play(CARD, "always_on", Days("test", 4, 3, 2), seed=0)
    drop = ["decision_s"]
    pd.testing.assert_frame_equal(together.drop(columns=drop), apart.drop(columns=drop))
    assert together["scenario"].tolist() == [4, 5, 6]


def test_records_say_which_days_were_played():
    env = FleetVectorEnv(num_envs=3, split="test", config=CARD)
    env.reset(options={"scenario_seeds": [4, 5, 6]})
    got = play(CARD, "dc_only", Days("test", 4, 3, 2), seed=0)
    assert got["trace_day"].tolist() == (env.sim.exo.start_minute // 1440).tolist()
    weekday = [date.fromisoformat(day).weekday() for day in got["date"]]
    assert weekday == env.sim.exo.weekday[:, 0].tolist()
    assert all(day.startswith("2023-") for day in got["date"])


def test_the_data_centre_does_the_work_of_each_step_on_the_grid_of_that_step():
    steps, carbon = [], []
    env = FleetVectorEnv(num_envs=1, split="test", config=CARD)
    env.reset(options={"scenario_seeds": [4]})
    grid_kg_per_kwh = env.sim.exo.carbon_g_per_kwh[0, : CARD.num_steps] / 1000

    def keep(step, scenarios, obs, info):
        on_time = [info[f"metric/on_time_{name}"][0] for name in CLASSES]
        steps.append(np.dot(on_time, request_kwh(CARD)))
        carbon.append(steps[-1] * grid_kg_per_kwh[step])

    [row] = play(CARD, "always_on", Days("test", 4, 1, 1), 0, None, keep).to_dict("records")
    assert row["dc_kwh"] == pytest.approx(sum(steps))
    assert row["dc_carbon_kg"] == pytest.approx(sum(carbon), rel=1e-6)
    mean_grid = grid_kg_per_kwh.mean()
    assert row["dc_carbon_kg"] != pytest.approx(row["dc_kwh"] * mean_grid, rel=1e-3)


def test_energy_of_a_request_in_the_data_centre_follows_its_mix():
    # at the default mix it is what the card says per output token
    got = request_kwh(CARD)
    assert got.tolist() == pytest.approx([0.032e-6 * 211, 0.21e-6 * 211, 0.21e-6 * 211])
    # twice the input and the output: twice the request; more input alone: in between
    long, wide = (
        replace(CARD, demand=DemandConfig(input_tokens=2310.0, output_tokens=out))
        for out in (422.0, 211.0)
    )
    assert request_kwh(long).tolist() == pytest.approx((2 * got).tolist())
    (a, b), per_input = datacentre_price(CARD.datacentre)[1], request_kwh(wide)
    assert per_input[1] / got[1] == pytest.approx((a * 2310 + b * 211) / (a * 1155 + b * 211))
    free = replace(CARD, datacentre=DataCentreConfig(usd_per_mtok_8b=0.0, usd_per_mtok_70b=0.0))
    assert request_kwh(free).tolist() == got.tolist()


def test_a_random_policy_repeats_itself_and_follows_the_seed():
    days = Days("test", 0, 2, 2)
    first, again, other = (
        play(CARD, "random", days, seed=s)["metric/on_duty_h"] for s in (1, 1, 2)
    )
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_days_are_cut_into_batches():
    assert Days("test", 3, 5, 2).batches() == [[3, 4], [5, 6], [7]]
    with pytest.raises(ValueError, match="expected count >= 1"):
        Days("test", 0, 0, 1).batches()


def test_all_policies_are_played_where_none_is_named():
    assert [entry.label for entry in entries([])] == list(registry.names())


def test_hydra_variable_is_only_set_by_the_command():
    assert os.environ.get("HYDRA_FULL_ERROR") != "1"

"""`fleet bound`: figures by hand, and the verb end to end on a few cars."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from agents.oracle.bound import bounds_usd, case_of, plan_of
from agents.oracle.tape import record
from experiments.bound_settings import BoundSettings
from experiments.bound_table import figures, note, sentence, table
from experiments.records import read_csv
from experiments.report import console
from experiments.settings import BoundVerbSettings
from experiments.verbs import bound
from fleet_env.scenarios import scenario
from tests.composing import settings_of

SMALL = BoundVerbSettings(
    env=scenario("suburb", num_cars=8), num_episodes=2, milp=True, milp_time_s=5.0, sample_cars=4,
    out="unused",
)  # fmt: skip
# two days of ten cars; a month is 30.4375 days, so 1 USD of a day is 3.04375 a car-month
DAYS = pd.DataFrame(
    {
        "split": "test", "scenario": [4, 5], "num_cars": 10, "days": 1, "sample_cars": 5,
        "car_steps": [100, 300], "lp_usd": [1.0, 3.0], "milp_usd": [0.9, 2.9],
        "milp_found_usd": [0.9, 2.7], "price_usd": [1.1, 3.1], "bound_usd": [0.9, 2.9],
        "tape_s": [1.0, 2.0], "lp_s": [0.5, 0.7], "milp_s": [10.0, 60.0], "prices_s": [0.1, 0.3],
        "pass_s": [0.2, 0.2],
    }
)  # fmt: skip


def test_settings_come_from_the_command_line():
    card = ("env=paid", "env.num_cars=64")
    got = settings_of("bound", *card, "num_episodes=7", "milp=true", "lp=false")
    assert got.env == scenario("paid", num_cars=64)
    assert (got.num_episodes, got.milp, got.lp) == (7, True, False)
    # what fleet compare takes
    assert settings_of("bound").sample_cars == BoundSettings().sample_cars


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("split=tset", "split='tset': expected one of train"),
        ("num_episodes=0", "num_episodes=0: expected 1 or more"),
        ("sample_cars=0", "sample_cars=0: expected 1 or more"),
        ("lp_max_cars=0", "lp_max_cars=0: expected 1 or more"),
        ("first_episode=-1", "first_episode=-1: expected 0 or more"),
        ("milp_time_s=0", r"milp_time_s=0\.0: expected more than 0"),
        ("milp=true env.num_cars=1001", "expected at most lp_max_cars=1000 cars"),
    ],
)
def test_settings_are_checked(override, message):
    with pytest.raises(ValueError, match=message):
        settings_of("bound", *override.split())


def test_the_programme_is_solved_up_to_a_size():
    assert settings_of("bound", "env.num_cars=1000").solves_lp
    assert not settings_of("bound", "env.num_cars=1001").solves_lp
    assert settings_of("bound", "env.num_cars=1001", "lp_max_cars=1001").solves_lp
    assert not settings_of("bound", "env.num_cars=10", "lp=false").solves_lp


def test_a_fleet_beyond_the_memory_is_refused_before_anything_is_written(tmp_path):
    huge = replace(SMALL, env=scenario("nation", num_cars=100_000_000), milp=False)
    with pytest.raises(ValueError, match=r"env\.num_cars=100000000: .* 560 GB of memory or more"):
        bound.bound(huge, tmp_path)
    assert not list(tmp_path.iterdir())


def test_figures_by_hand():
    row = figures(DAYS, "mean")
    assert (row["day"], row["car_steps"]) == ("mean", 200.0)
    usd = {name: row[name] for name in ("lp", "milp", "milp_found", "price", "bound")}
    per_usd = 3.04375
    by_hand = {"lp": 2.0, "milp": 1.9, "milp_found": 1.8, "price": 2.1, "bound": 1.9}
    assert usd == pytest.approx({name: per_usd * value for name, value in by_hand.items()})
    assert row["price_over_lp"] == pytest.approx(2.1 / 2.0)
    assert row["milp_gap"] == pytest.approx(0.1 / 1.9)
    assert row["relaxation_low"] == pytest.approx(0.05)
    assert row["relaxation_high"] == pytest.approx(0.1)
    assert (row["tape_s"], row["milp_s"], row["pass_s"]) == pytest.approx((1.5, 35.0, 0.2))


def test_relaxation_is_said_in_a_sentence():
    text = sentence(figures(DAYS, "mean"))
    assert "5.00 to 10.00 % of the LP are lost, at most 0.609 USD" in text  # 0.2 x 3.04375
    without = DAYS.assign(milp_usd=np.nan, milp_found_usd=np.nan, milp_s=np.nan)
    row = figures(without, "mean")
    assert (row["milp"], row["milp_gap"], row["relaxation_high"]) == (None, None, None)
    assert sentence(row) == ""


def text_of(days: pd.DataFrame, capsys) -> str:
    rows = [figures(days[i : i + 1], str(days["scenario"][i])) for i in range(len(days))]
    mean = figures(days, "mean")
    console().print(table([*rows, mean], "title", note(mean, 5, 60.0)))
    return capsys.readouterr().out


def test_a_line_per_day_and_the_mean_last(capsys):
    lines = text_of(DAYS, capsys).splitlines()
    [head] = [line for line in lines if "car-steps" in line]
    assert "MILP" in head
    assert "found" in head
    [mean] = [line for line in lines if line.lstrip().startswith("mean")]
    assert mean.split()[1:5] == ["200", "5.783", "6.088", "5.783"]
    assert [line.split()[0] for line in lines if line.split()[1:2] in (["100"], ["300"])] == [
        "4", "5",
    ]  # fmt: skip


def test_what_was_not_asked_for_has_no_column(capsys):
    gone = ("lp_usd", "lp_s", "milp_usd", "milp_found_usd", "milp_s")
    out = text_of(DAYS.assign(**dict.fromkeys(gone, np.nan)), capsys)
    assert "LP" not in out
    assert "found" not in out
    assert "programme of 5 cars" in out
    assert "proved by 60 s" in text_of(DAYS, capsys)


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """Rows of the verb on `SMALL`, and its folder."""
    folder = tmp_path_factory.mktemp("bound")
    return bound.bound(SMALL, folder), folder


@pytest.mark.slow
def test_bounds_are_those_of_the_oracle_and_in_order(solved):
    _, folder = solved
    days = read_csv(folder / "bound.csv")
    assert list(days.columns) == bound.COLUMNS
    assert days["scenario"].tolist() == [0, 1]
    priced = list(bounds_usd(SMALL.env, "test", [0, 1], sample_cars=4))
    assert days["price_usd"].tolist() == pytest.approx(priced, rel=1e-9)
    for day, tape in enumerate(record(SMALL.env, "test", [0, 1])):
        case = case_of(tape)
        lp = plan_of(case, 8, 8).bound_usd + case.gain_usd
        assert days["lp_usd"][day] == pytest.approx(lp, rel=1e-6)
        assert days["car_steps"][day] == len(tape.visits.car)
    tolerance = 1e-6 * days["lp_usd"]
    assert (days["milp_found_usd"] <= days["milp_usd"]).all()
    assert (days["milp_usd"] <= days["lp_usd"] + tolerance).all()
    assert (days["milp_found_usd"] <= days["price_usd"] + tolerance).all()
    assert days["milp_found_usd"].sum() > 0.5 * days["lp_usd"].sum()
    least = days[["lp_usd", "milp_usd", "price_usd"]].min(axis=1)
    assert days["bound_usd"].tolist() == least.tolist()


@pytest.mark.slow
def test_files_hold_every_day_and_the_mean(solved):
    rows, folder = solved
    summary = json.loads((folder / "summary.json").read_text())
    assert [row["day"] for row in summary["days"]] == ["0", "1"]
    assert summary["mean"] == rows[-1]
    days = read_csv(folder / "bound.csv")
    per_car_month = 30.4375 / 8
    assert rows[-1]["lp"] == pytest.approx(days["lp_usd"].mean() * per_car_month)
    assert json.loads((folder / "manifest.json").read_text())["config"]["milp"] is True


@pytest.mark.slow
def test_a_rerun_solves_only_what_is_missing(solved, monkeypatch):
    rows, folder = solved
    (folder / "records" / "1.parquet").unlink()
    recorded = []

    def counted(config, split, scenarios):
        recorded.extend(scenarios)
        return record(config, split, scenarios)

    monkeypatch.setattr(bound, "record", counted)
    again = bound.bound(SMALL, folder)
    assert recorded == [1]
    assert again[0] == rows[0]
    assert again[1]["lp"] == rows[1]["lp"]


@pytest.mark.slow
def test_worth_of_a_plan_lies_between_nothing_and_the_programme():
    [tape] = record(SMALL.env, "test", [0])
    case = case_of(tape)
    num = len(case.cars.car)
    assert bound.worth_of(case, np.zeros(num, np.bool_)) == pytest.approx(0.0, abs=1e-6)
    plan = plan_of(case, 8, 8)
    assert bound.worth_of(case, plan.duty > 0.5) <= plan.bound_usd * (1 + 1e-6)


@pytest.mark.slow
def test_the_command_line(fleet, tmp_path):
    arguments = ("bound", "env=suburb", "env.num_cars=4", "num_episodes=1", "lp=false")
    status, out, err = fleet(*arguments, "out=run")
    assert (status, err) == (0, "")
    assert "suburb: 4 cars, 1 test days, bounds" in out
    assert out.endswith(f"results: {tmp_path / 'run'}\n")
    assert pd.read_csv(tmp_path / "run" / "bound.csv")["lp_usd"].isna().all()

"""The study of viability: counts by hand, a ledger that adds up, break-evens that break even."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import compare
from experiments.entries import Entry
from experiments.runner import Days
from experiments.viability import figures as numbers
from experiments.viability.funnel import STAGES, Funnel
from experiments.viability.scenes import OPT_IN, scenes
from fleet_env.metrics import REWARD_TERMS
from fleet_env.observations import CAR, FLEET
from fleet_env.scenarios import scenario

SMALL = scenario("suburb", num_cars=20, step_min=60)


def seen(cars: list[dict[str, float]], *, weekend: bool) -> dict[str, np.ndarray]:
    table = np.zeros((1, len(cars), len(CAR)), np.float32)
    for i, fields in enumerate(cars):
        for name, value in fields.items():
            table[0, i, CAR[name]] = value
    fleet = np.zeros((1, len(FLEET)), np.float32)
    fleet[0, FLEET["weekend"]] = weekend
    return {"cars": table, "fleet": fleet, "mask": np.array([[0, 0, 0, 1]], np.int8)}


def test_cars_are_counted_by_hour_and_stage_on_weekdays_alone():
    card = scenario("suburb", num_cars=4, step_min=60)
    funnel = Funnel(card)
    clock = {"local_hour": 3.0}
    cars = [
        clock,  # on the road
        clock | {"soc": 0.5},
        clock | {"soc": 0.5, "plugged": 1.0},
        clock | {"soc": 0.5, "plugged": 1.0, "linked": 1.0, "awake_kw": 0.2, "busy_kw": 0.5},
    ]
    info = {"metric/on_duty_h": np.array([1.0]), "metric/busy_h": np.array([0.5])}
    funnel(0, [0], seen(cars, weekend=False), info)
    funnel(1, [0], seen(cars, weekend=True), info)
    row = funnel.frame().set_index("hour").loc[3]
    assert row[list(STAGES)].tolist() == [1.0, 0.75, 0.5, 0.25, 0.25, 0.125]
    assert (row["awake_kw"], row["busy_kw"]) == pytest.approx((0.2, 0.5))


def test_every_fleet_has_its_computer_and_its_owners():
    found = scenes(SMALL)
    assert list(found) == [f"{h}_{p}" for h in ("ai4", "ai5", "claim") for p in ("today", "paid")]
    for name, card in (("ai4_today", "today"), ("claim_today", "claim"), ("ai5_paid", "paid")):
        mine, shipped = found[name].config, scenario(card, num_cars=20, step_min=60)
        assert (mine.fleet, mine.demand, mine.reward) == (
            shipped.fleet,
            shipped.demand,
            shipped.reward,
        )
    plates = [round(found[f"{name}_today"].nameplate_gw) for name in ("ai4", "ai5", "claim")]
    assert plates == [10, 20, 100]


@pytest.fixture(scope="module")
def played():
    scene = scenes(SMALL)["ai5_today"]
    results = compare(["always_on"], scene.config, num_episodes=2, bound=False)
    sums = numbers._sums(results).loc[("ai5_today", "always_on")]
    funnel = Funnel(scene.config)
    Entry.parse("always_on").play(scene.config, Days("test", 0, 2, 2), 0, funnel)
    return scene, results, sums, funnel


def test_stages_only_lose_cars(played):
    funnel = played[3]
    stages = numbers.stages(funnel.frame().set_index("hour")).dropna()
    assert list(stages) == ["nameplate", "parked", "plugged", "linked", "opted_in", "used"]
    assert (stages["nameplate"] == 1).all()
    assert (stages.diff(axis=1).iloc[:, 1:5] <= 1e-12).all().all()
    assert (stages["opted_in"] / stages["linked"]).dropna().to_numpy() == pytest.approx(OPT_IN)


def test_the_ledger_adds_up_to_the_money(played):
    _, results, sums, _ = played
    line = numbers.ledger_line("ai5_today", "always_on", sums)
    assert sums["mtok"] > 0
    net = (line["data_centre"] - line["cars"]) * sums["mtok"]
    assert net == pytest.approx(results.records["return"].sum())
    terms = [line[term] for term in REWARD_TERMS if term != "avoided"]
    assert sum(terms) == pytest.approx(line["cars"])


def test_at_break_even_nothing_is_left(played):
    scene, _, sums, funnel = played
    kw = tuple(funnel.frame()[["awake_kw", "busy_kw"]].iloc[0])
    row = numbers.break_even(scene, sums, kw)
    duty_h, busy_h = sums["metric/on_duty_h"], sums["metric/busy_h"]
    owners = sums["return"] + scene.config.reward.pay_usd_per_on_duty_h * duty_h
    assert owners == pytest.approx(row["break_even_usd_per_on_duty_h"] * duty_h)
    # the same hours on duty, with that share of them busy
    factor = row["break_even_utilisation"] * duty_h / busy_h
    model = kw[0] * duty_h + (kw[1] - kw[0]) * busy_h
    energy = sums["reward/energy"] / model * (kw[0] * duty_h + (kw[1] - kw[0]) * busy_h * factor)
    other = sums["return"] - sums["reward/avoided"] - sums["reward/energy"]
    assert factor * sums["reward/avoided"] + energy + other == pytest.approx(0, abs=1e-9)


def test_the_best_of_each_kind_on_other_days_stands_for_it(played):
    results = played[1]
    names = {"always_on": 1.0, "cheapest_first": 2.0, "mpc": 9.0, "imitate": 4.0, "ppo_cars": 3.0}
    choice = [
        results.records.assign(policy=name, **{"return": usd, "metric/on_duty_h": 1.0})
        for name, usd in names.items()
    ]
    idle = results.records.assign(policy="dc_only", **{"return": 3.0, "metric/on_duty_h": 0.0})
    asked = replace(results, choice=pd.concat([*choice, idle]))
    found = numbers.stand_ins(asked, "ai5_today")
    assert found == {"rule": "cheapest_first", "learned": "imitate"}
    with pytest.raises(ValueError, match="learned: none of them uses a car of ai5_today"):
        numbers.stand_ins(replace(results, choice=choice[0]), "ai5_today")


def test_estimates_are_mixed_as_the_work_is_and_explained_where_far():
    table = numbers.load_estimates()
    assert table["why"].notna().all()
    row = table.iloc[0]
    near, far = (numbers._beside("s", row, value, 1.0) for value in (1.2, 1.3))
    assert (near["ratio"], near["why"]) == (1.2, "")
    assert far["why"] == row["why"]
    done = {"chat_8b": 1.0, "chat_70b": 2.0, "batch_70b": 1.0}
    one = pd.Series({f"metric/on_time_{name}": value for name, value in done.items()})
    assert numbers.share_70b(one) == 0.75


@pytest.mark.slow
def test_the_study_writes_its_report(fleet):
    status, out, err = fleet(
        "study", "viability", "out=run", "docs=page/viability.md", "env.num_cars=20",
        "env.step_min=60", "num_episodes=1", "bound.choose_episodes=1",
    )  # fmt: skip
    assert (status, err) == (0, "")
    summary = json.loads(Path("run/summary.json").read_text())
    text = Path("page/viability.md").read_text()
    for line in summary["verdict"]:
        assert line in text
        assert line[:30] in out
    for name in ("viability_funnel", "viability_ledger"):
        assert Path(f"page/figures/{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"(figures/{name}.png)" in text
    _, told, _ = fleet("report", "run", "out=again")
    assert told.splitlines()[:-1] == out.splitlines()[:-1]
    for name in ("viability.md", "viability.html", "summary.json", "funnel.parquet"):
        assert Path("again", name).read_bytes() == Path("run", name).read_bytes(), name
    page = Path("run/viability.html").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page
    power = pd.read_csv("run/power.csv")
    assert len(power) == 6 * 6
    estimates = pd.read_csv("run/estimates.csv", keep_default_na=False)
    ratio = pd.to_numeric(estimates["ratio"], errors="coerce")
    assert ((ratio - 1).abs().le(0.25) == (estimates["why they differ"] == "")).all()

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from experiments import report
from experiments.plots.compare import plot_money
from experiments.plots.study import plot_changes
from experiments.runner import Days, jain, play
from experiments.study.money import compute_changes
from fleet_env.config import DemandConfig, EnvConfig, FleetConfig
from fleet_env.dynamics.roofline import Mix, accelerator, model, t_step_s
from fleet_env.metrics import COSTS, EPISODE_FIELDS, METRICS, REWARD_TERMS
from fleet_env.scenarios import scenario
from fleet_env.units import DAYS_PER_MONTH

# 10 cars for a day, 1,000 tokens a request: 1,000 requests are one million tokens
CARD = EnvConfig(num_cars=10, demand=DemandConfig(output_tokens=1000.0, trusted_only_share=0.5))


def records(policy: str, avoided: list[float], **metrics: float) -> pd.DataFrame:
    frame = pd.DataFrame({name: [0.0] * len(avoided) for name in EPISODE_FIELDS})
    frame["reward/avoided"], frame["return"] = avoided, avoided
    head = {"policy": policy, "split": "test", "scenario": range(len(avoided))}
    head |= {"num_cars": 10, "days": 1, "trace_day": range(len(avoided)), "decision_s": 0.001}
    head |= {"dc_kwh": 0.3, "dc_carbon_kg": 0.06, "available_h": 48.0, "jain_duty": 0.5}
    return frame.assign(**head, **{f"metric/{name}": value for name, value in metrics.items()})


SERVING = records(
    "busy",
    [10.0, 20.0, 30.0, 40.0],
    on_time_chat_8b=300.0,
    late_chat_8b=90.0,
    lost_chat_8b=10.0,
    arrived_chat_8b=600.0,
    diverted_chat_8b=200.0,
    ttft_request_s=100.0,
    on_time_batch_70b=200.0,
    expired_batch_70b=50.0,
    arrived_batch_70b=400.0,
    wall_kwh=0.5,
    carbon_kg=0.15,
    shortfalls=1.0,
    broken_promises=0.5,
    dropouts=0.25,
    on_duty_h=20.0,
    busy_h=12.0,
)


def test_figures_by_hand():
    [row] = report.summarise(SERVING, CARD, seed=0)
    # the mean of 10, 20, 30, 40 USD is 25 USD a day for 10 cars
    assert row["usd"] == pytest.approx(2.5 * DAYS_PER_MONTH)
    assert row["usd/avoided"] == pytest.approx(row["usd"])
    assert row["usd_worst_decile"] == pytest.approx(1.0 * DAYS_PER_MONTH)
    assert row["usd_low"] < row["usd"] < row["usd_high"]
    assert row["util_available"] == pytest.approx(12 / 48)
    assert row["util_nameplate"] == pytest.approx(12 / 240)
    # 500 requests of 1,000 tokens a day, by 10 cars
    assert row["goodput_tok_s_per_car"] == pytest.approx(500_000 / 10 / 86_400)
    assert row["jain_duty"] == pytest.approx(0.5)
    assert row["slo/chat_8b"] == pytest.approx(300 / 400)
    assert row["slo/chat_70b"] is None
    assert row["diverted/chat_8b"] == pytest.approx(200 / 600)
    assert row["diverted/chat_70b"] is None
    assert row["ttft_s"] == pytest.approx(100 / (600 - 200))
    assert row["batch_in_cars"] == pytest.approx(200 / (200 + 50))
    assert row["served_eligible"] == pytest.approx(500 / 1000)
    assert row["served_all"] == pytest.approx(500 / (600 / 0.5 + 400))
    assert row["failed_chat_per_car_day"] == pytest.approx(100 / 10)
    assert row["shortfalls_per_1000_car_days"] == pytest.approx(100.0)
    assert row["broken_promises_per_1000_car_days"] == pytest.approx(50.0)
    assert row["dropouts_per_1000_car_days"] == pytest.approx(25.0)
    assert row["on_duty_h_per_car_day"] == pytest.approx(2.0)
    # a day: 0.3 Mtok of 8B and 0.2 of 70B for 0.5 kWh and 150 g
    assert row["kwh_per_mtok"] == pytest.approx(0.5 / 0.5)
    assert row["co2_g_per_mtok"] == pytest.approx(150 / 0.5)
    assert row["dc_kwh_per_mtok"] == pytest.approx(0.3 / 0.5)
    assert row["dc_co2_g_per_mtok"] == pytest.approx(60 / 0.5)


def test_the_mean_ranks_and_counts_the_rare_day_that_the_iqm_leaves_out():
    rare = records("rare", [10.0] * 9 + [-90.0])
    steady = records("steady", [1.0] * 10)
    rows = report.summarise(pd.concat([rare, steady]), CARD, seed=0)
    assert [row["policy"] for row in rows] == ["steady", "rare"]
    assert rows[1]["usd"] == pytest.approx(0.0)
    assert rows[1]["usd_iqm"] == pytest.approx(1.0 * DAYS_PER_MONTH)
    assert rows[1]["usd_worst_decile"] == pytest.approx(-9.0 * DAYS_PER_MONTH)


def test_the_difference_to_the_best_is_paired_by_day_and_says_whether_it_is_one():
    day = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    best = records("best", day)
    below = records("below", [x - 1.0 for x in day])
    near = records("near", [x + (-1.0) ** i - 0.1 for i, x in enumerate(day)])
    rows = report.summarise(pd.concat([near, below, best]), CARD, seed=0)
    found = {row["policy"]: row for row in rows}
    assert [row["policy"] for row in rows] == ["best", "near", "below"]
    assert found["below"]["minus_best"] == pytest.approx(-0.1 * DAYS_PER_MONTH)
    assert found["below"]["minus_best_high"] == pytest.approx(-0.1 * DAYS_PER_MONTH)
    assert [row["ties_best"] for row in rows] == [False, True, False]
    assert found["best"]["minus_best"] is None
    cells = [report.MONEY["minus best"](row) for row in rows]
    assert cells[0] == "best"
    assert cells[1].startswith("~ -0.304 [")
    assert not cells[2].startswith("~")


def test_days_of_one_demand_day_are_resampled_together():
    days = [1.0, 1.1, 5.0, 5.1, 9.0, 9.1]
    alone = records("busy", days)
    shared = alone.assign(trace_day=[3, 3, 4, 4, 5, 5])
    [a], [s] = (report.summarise(frame, CARD, seed=0) for frame in (alone, shared))
    assert (a["demand_days"], s["demand_days"]) == (6, 3)
    assert s["usd"] == a["usd"]
    assert s["usd_high"] - s["usd_low"] > a["usd_high"] - a["usd_low"]


def test_money_is_counted_against_the_data_centre_alone_day_by_day():
    both = pd.concat([SERVING, records("dc_only", [9.0, 19.0, 29.0, 39.0])])
    rows = {row["policy"]: row for row in report.summarise(both, CARD, seed=0)}
    per_car_month = DAYS_PER_MONTH / 10
    assert rows["busy"]["usd_low"] == pytest.approx(per_car_month)
    assert rows["busy"]["usd_high"] == pytest.approx(per_car_month)
    assert rows["dc_only"]["usd"] == 0.0


def test_best_policy_comes_first():
    all_records = pd.concat([records(n, [m] * 4) for n, m in (("low", 1.0), ("high", 2.0))])
    assert [r["policy"] for r in report.summarise(all_records, CARD, 0)] == ["high", "low"]


def test_tables_show_every_column_in_full():
    rows = report.summarise(SERVING.assign(policy="plugged_full_first"), CARD, seed=0)
    console = report.console()
    for columns in (report.MONEY, report.TERMS, report.SERVICE, report.ENERGY):
        with console.capture() as capture:
            console.print(report.table(rows, columns, "title", "note"))
        assert "…" not in capture.get()
        assert max(map(len, capture.get().splitlines())) <= report.MIN_WIDTH
        words = " ".join(name for column in columns for name in column.split("\n"))
        assert all(word in capture.get() for word in words.split())
        assert "plugged_full_first" in capture.get()


def test_tables_with_trainings_fit_as_well():
    name = "recurrent_index@suburb x3"
    [row] = report.summarise(SERVING.assign(policy=name), CARD, seed=0)
    row["usd_seeds"] = [-10.25, -11.5, 12.75]
    console = report.console()
    for columns in (report.money_columns([row]), report.TERMS, report.SERVICE, report.ENERGY):
        with console.capture() as capture:
            console.print(report.table([row], columns, "title", "note"))
        assert "…" not in capture.get()
        assert "recurrent_index" in capture.get()
        assert "@suburb x3" in capture.get()
    with console.capture() as capture:
        console.print(report.table([row], report.money_columns([row]), "title", "note"))
    assert "-11.500 to +12.750" in capture.get()


def test_changes_are_paired_by_day():
    base = records("busy", [10.0, 20.0, 30.0, 40.0]).assign(variant="base")
    no_pay = records("busy", [41.0, 31.0, 11.0, 21.0]).assign(variant="no_pay")
    no_pay["scenario"] = [3, 2, 0, 1]  # rows in another order: pairs go by scenario
    [row] = compute_changes(pd.concat([base, no_pay]), seed=0).to_dict("records")
    assert row["variant"] == "no_pay"
    assert row["change"] == pytest.approx(0.1 * DAYS_PER_MONTH)
    assert row["low"] == pytest.approx(row["high"])
    assert row["base"] == pytest.approx(2.5 * DAYS_PER_MONTH)


def test_the_bars_of_a_policy_end_where_its_money_says():
    row = {"policy": "a", "usd": 1.0, "usd_low": 0.5, "usd_high": 1.5, "ties_best": False}
    row |= {f"usd/{term}": 0.0 for term in REWARD_TERMS}
    row |= {"usd/avoided": 4.0, "usd/energy": -2.0, "usd/owner": -1.0}
    ax = plot_money(Figure().add_subplot(), [row])
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    assert ends == [(0.0, 4.0), (0.0, -2.0), (-2.0, -3.0)]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a"]
    assert "~" not in ax.get_xlabel()


def test_the_figure_marks_what_is_not_distinguishable_from_the_best():
    rows = [
        {"policy": "a", "usd": 1.0, "usd_low": 0.5, "usd_high": 1.5, "ties_best": False},
        {"policy": "b", "usd": 0.9, "usd_low": 0.4, "usd_high": 1.4, "ties_best": True},
    ]
    ax = plot_money(
        Figure().add_subplot(), [row | {f"usd/{t}": 0.0 for t in REWARD_TERMS} for row in rows]
    )
    assert [text.get_text() for text in ax.texts] == [" +0.90 ~", " +1.00"]
    assert "~ not distinguishable from the best" in ax.get_xlabel()


def test_the_heat_map_prints_each_change_in_its_cell():
    changes = pd.DataFrame(
        {
            "variant": ["no_pay", "no_pay", "no_wear", "no_wear"],
            "policy": ["a", "b", "a", "b"],
            "change": [1.0, -0.5, 0.001, 0.0],
            "low": [0.9, -0.6, -0.01, 0.0],
            "high": [1.1, -0.4, 0.01, 0.0],
        }
    )
    ax = plot_changes(Figure().add_subplot(), changes)
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert texts == {(0, 0): "+1.00", (1, 0): "-0.50", (0, 1): "0", (1, 1): "0"}
    assert [text.get_color() == "grey" for text in ax.texts] == [False, False, True, True]


def test_time_per_output_token_is_that_of_the_largest_model_a_car_holds():
    chip, mix = accelerator("ai5"), Mix(1155.0, 211.0)
    both = EnvConfig(fleet=FleetConfig(accelerators={"ai5": 0.75, "ai4": 0.25}))
    want = t_step_s(chip, model("70b"), both.serving.batch_slots, mix)
    assert report.tpot_s(both) == pytest.approx(want)  # ai4 does not hold the 70B model
    small = EnvConfig(fleet=FleetConfig(accelerators={"ai4": 1.0}))
    want = t_step_s(accelerator("ai4"), model("8b"), small.serving.batch_slots, mix)
    assert report.tpot_s(small) == pytest.approx(want)


def test_jain_by_hand():
    shares = np.array([[2.0, 2.0, 2.0, 2.0], [4.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0], [0.0] * 4])
    np.testing.assert_allclose(jain(shares), [1.0, 0.25, 16 / 40, np.nan])


def test_available_hours_and_fairness_are_those_of_the_day():
    card = scenario("suburb", num_cars=20, step_min=60)
    seen = []

    def keep(step, scenarios, obs, info):
        seen.append((obs["mask"][0] != 0).astype(float))

    [row] = play(card, "always_on", Days("test", 2, 1, 1), 0, None, keep).to_dict("records")
    hours = np.sum(seen, axis=0)  # always_on puts every car on duty that may be
    assert row["available_h"] == pytest.approx(hours.sum())
    assert row["jain_duty"] == pytest.approx(hours.sum() ** 2 / (20 * (hours**2).sum()))


def test_every_metric_is_defined_once_on_its_page():
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")
    defined = re.findall(r"^\| `([^`]+)`", text, re.M)
    wanted = {f"metric/{name}" for name in METRICS} | {f"reward/{term}" for term in REWARD_TERMS}
    wanted |= {f"cost/{name}" for name in COSTS}
    [row] = report.summarise(SERVING, CARD, seed=0)
    wanted |= {name for name in row if not name.endswith(("_low", "_high"))}
    wanted -= {"policy", *(f"usd/{term}" for term in REWARD_TERMS)}
    wanted -= {f"{kind}/{name}" for kind in ("slo", "diverted") for name in report.CHAT}
    wanted |= {"slo/<class>", "diverted/<class>", "usd/<term>", "score", "gap_usd"}
    assert sorted(defined) == sorted(set(defined))
    assert wanted - set(defined) == set()

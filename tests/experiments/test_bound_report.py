"""Bound, score, gap, headroom and the gate: arithmetic by hand, and records that are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from agents import registry
from experiments import bounds, headroom, headroom_report, report, score
from experiments.bound_settings import BoundSettings
from experiments.headroom import Headroom
from experiments.matrix import Matrix
from experiments.plots.compare import plot_money
from experiments.plots.headroom import plot_headroom, plot_headroom_changes
from experiments.records import RunFolder, read_csv
from experiments.runner import Days, play
from experiments.stats import Interval, ratio, ratio_change
from fleet_env.config import EnvConfig
from fleet_env.metrics import EPISODE_FIELDS
from fleet_env.units import DAYS_PER_MONTH

CARD = EnvConfig(num_cars=10)
PER_CAR_MONTH = DAYS_PER_MONTH / 10  # of a dollar a day for 10 cars


def records(policy: str, money: list[float], bound: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame({name: [0.0] * len(money) for name in EPISODE_FIELDS})
    head = {"policy": policy, "split": "test", "scenario": range(len(money))}
    head |= {"num_cars": 10, "days": 1, "trace_day": range(len(money)), "decision_s": 0.001}
    head |= {"dc_kwh": 0.0, "dc_carbon_kg": 0.0, "available_h": 0.0, "jain_duty": 1.0}
    return frame.assign(**head, **{"return": money, "bound_usd": bound})


def solved(bound: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"scenario": range(len(bound)), "bound_usd": bound, "solve_s": 2.0, "sample_cars": 250}
    )


BOUND = [10.0, 20.0, 30.0, 20.0]  # mean 20 USD a day


# --- ratios of means


def test_ratio_is_of_means_and_not_the_mean_of_ratios(rng):
    got = ratio(np.array([9.0, 0.0]), np.array([10.0, 90.0]), rng)
    assert got.point == pytest.approx(0.09)  # the mean of the ratios would be 0.45
    assert got.low <= got.point <= got.high


def test_ratio_resamples_both_ends_together(rng):
    # good days are good for both: the ratio is the same on every day, so there is no doubt
    whole = rng.uniform(1.0, 100.0, size=20)
    got = ratio(0.7 * whole, whole, rng)
    assert (got.low, got.point, got.high) == pytest.approx((0.7, 0.7, 0.7))


def test_ratio_matches_the_interval_of_the_delta_method(rng):
    whole = rng.normal(20.0, 2.0, size=400)
    part = 0.5 * whole + rng.normal(0.0, 2.0, size=400)
    got = ratio(part, whole, np.random.default_rng(0))
    error = np.std(part - got.point * whole, ddof=1) / np.sqrt(400) / whole.mean()
    assert got.high - got.low == pytest.approx(2 * 1.96 * error, rel=0.08)


def test_ratio_resamples_whole_clusters(rng):
    whole, part = np.full(12, 2.0), np.repeat([0.0, 1.0, 2.0], 4)
    clusters = np.repeat([5, 6, 7], 4)
    assert ratio(part, whole, np.random.default_rng(0), clusters).low == 0.0
    assert ratio(part, whole, np.random.default_rng(0)).low > 0.0


def test_ratio_needs_a_whole_and_the_same_days(rng):
    with pytest.raises(ValueError, match="expected a positive sum"):
        ratio(np.ones(3), np.zeros(3), rng)
    with pytest.raises(ValueError, match="same days"):
        ratio(np.ones(3), np.ones(4), rng)
    # days without a bound: resamples of them alone have no ratio, and none is invented
    got = ratio(np.array([1.0, 0.0, 0.0]), np.array([2.0, 0.0, 0.0]), rng)
    assert (got.low, got.point, got.high) == (0.5, 0.5, 0.5)


def test_change_of_a_ratio_is_paired(rng):
    whole = rng.uniform(1.0, 100.0, size=20)
    got = ratio_change((0.7 * whole, whole), (0.6 * whole, whole), rng)
    assert (got.low, got.point, got.high) == pytest.approx((0.1, 0.1, 0.1))
    with pytest.raises(ValueError, match="same days"):
        ratio_change((whole, whole), (whole[:3], whole[:3]), rng)


# --- scores


def test_score_and_gap_by_hand():
    busy = records("busy", [5.0, 10.0, 25.0, 20.0], BOUND)  # mean 15 of 20
    nobody = records("dc_only", [0.0] * 4, BOUND)
    bad = records("bad", [-20.0] * 4, BOUND)
    found = score.scores(pd.concat([busy, nobody, bad]), seed=0)
    assert found["busy"]["score"] == pytest.approx(0.75)
    assert found["busy"]["score_low"] < 0.75 < found["busy"]["score_high"]
    assert found["busy"]["gap"] == pytest.approx(0.25)
    assert found["busy"]["gap_usd"] == pytest.approx(5.0 * PER_CAR_MONTH)
    assert found["dc_only"]["score"] == found["dc_only"]["score_high"] == 0.0
    assert found["bad"]["score"] == pytest.approx(-1.0)  # never clipped
    assert found["bad"]["gap"] == pytest.approx(2.0)


def test_a_score_above_one_is_not_clipped():
    [found] = score.scores(records("busy", [30.0] * 4, BOUND), seed=0).values()
    assert found["score"] == pytest.approx(1.5)


def test_row_of_the_bound_by_hand():
    row = score.bound_row(records("busy", [1.0] * 4, BOUND), solved(BOUND), seed=0)
    assert row["usd"] == pytest.approx(20.0 * PER_CAR_MONTH)
    assert row["usd_worst_decile"] == pytest.approx(10.0 * PER_CAR_MONTH)
    assert (row["policy"], row["score"], row["gap_usd"]) == ("bound", 1.0, 0.0)
    assert (row["worth_it"], row["solve_s"]) == (True, 2.0)


@pytest.mark.parametrize(("usd_per_car_day", "worth"), [(0.0101, True), (0.0099, False)])
def test_a_card_below_a_cent_per_car_day_has_no_score(usd_per_car_day, worth):
    frame = records("koopman", [0.0] * 4, [10 * usd_per_car_day] * 4)
    assert score.worth_it(frame) is worth
    [found] = score.scores(frame, seed=0).values()
    assert (found["score"] is not None) is worth
    assert (found["gap"] is not None) is worth
    assert found["gap_usd"] == pytest.approx(usd_per_car_day * DAYS_PER_MONTH)
    measured = headroom.measure(frame, "koopman", None, seed=0)
    assert (measured.verdict == "not worth it") is not worth
    if not worth:
        assert headroom.sentence(measured).startswith("Not worth it: the mean bound is 0.0099 USD")


def test_a_card_without_any_bound_is_not_worth_it():
    frame = records("dc_only", [0.0] * 4, [0.0] * 4)
    assert headroom.measure(frame, "dc_only", None, seed=0).verdict == "not worth it"
    assert score.scores(frame, seed=0)["dc_only"]["score"] is None


def test_the_table_has_the_bound_on_top_and_says_that_it_is_no_policy():
    frame = pd.concat([records("mpc", [15.0] * 4, BOUND), records("dc_only", [0.0] * 4, BOUND)])
    rows = report.summarise(frame, CARD, seed=0)
    rows = [row | score.scores(frame, 0)[row["policy"]] for row in rows]
    bound = score.bound_row(frame, solved(BOUND), 0)
    lines = printed(score.table(rows, bound, "title"))
    first = {
        name: next(i for i, line in enumerate(lines) if name in line)
        for name in ("bound (no policy)", "mpc (reachable)", "dc_only")
    }
    assert first["bound (no policy)"] < first["mpc (reachable)"] < first["dc_only"]
    assert "0.750" in lines[first["mpc (reachable)"]]
    assert "0.001" in lines[first["mpc (reachable)"]]  # seconds per decision
    assert all("…" not in line for line in lines)


def printed(table: object) -> list[str]:
    console = report.console()
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


# --- headroom and the gate


def measured(rule: float, *planners: tuple[str, list[float]], bound: float = 20.0) -> Headroom:
    """The last of the planners is the one that was best on other days."""
    frames = [records("cheapest_first", [rule] * 4, [bound] * 4)]
    frames += [records(name, money, [bound] * 4) for name, money in planners]
    planner = planners[-1][0] if planners else None
    return headroom.measure(pd.concat(frames), "cheapest_first", planner, seed=0)


@pytest.fixture
def planners(monkeypatch):
    """Let mpc and price_index be planners, whether or not they are registered yet."""
    monkeypatch.setattr(headroom, "is_planner", lambda name: name in ("mpc", "price_index"))


def test_headroom_by_hand():
    rule = records("cheapest_first", [5.0, 10.0, 25.0, 20.0], BOUND)
    other = records("koopman", [9.0, 19.0, 29.0, 19.0], BOUND)  # better here, but not chosen
    found = headroom.measure(pd.concat([rule, other]), "cheapest_first", None, seed=0)
    assert found.rule_usd.point == pytest.approx(15.0 * PER_CAR_MONTH)
    assert found.usd.point == pytest.approx(5.0 * PER_CAR_MONTH)
    assert found.share is not None
    assert found.share.point == pytest.approx(0.25)
    assert found.share.low < 0.25 < found.share.high


def test_gate_verdicts_by_hand(planners):
    above, near = [17.0, 17.1, 16.9, 17.0], [14.0, 18.0, 13.0, 16.0]
    assert measured(15.0, ("mpc", above)).verdict == "worth learning"
    assert measured(15.0, ("mpc", near), ("price_index", above)).verdict == "worth learning"
    # a planner that happens to be better here was not chosen
    assert measured(15.0, ("price_index", above), ("mpc", near)).verdict == "out of reach"
    assert measured(15.0, ("mpc", near)).verdict == "out of reach"  # its interval holds 0
    assert measured(15.0, ("mpc", [14.0] * 4)).verdict == "out of reach"
    assert measured(18.1, ("mpc", [19.0] * 4)).verdict == "little headroom"  # 9.5 %
    assert measured(17.9, ("mpc", [19.0] * 4)).verdict == "worth learning"  # 10.5 %
    assert measured(15.0).verdict == "no planner"
    assert [measured(15.0, ("mpc", money)).passes for money in (above, near)] == [True, False]


def test_the_verdict_comes_in_words(planners):
    text = headroom.sentence(measured(15.0, ("mpc", [17.0] * 4)))
    assert text.startswith("Headroom 25.0% [25%, 25%] of the bound, +15.22 [")
    assert "above cheapest_first, the best plain rule of other days" in text
    assert "Passes the gate: above that rule by mpc +6.09" in text
    assert "Under the gate: less than 10%" in headroom.sentence(measured(19.0))
    assert "no planner was played" in headroom.sentence(measured(15.0))
    assert "out of reach" in headroom.sentence(measured(15.0, ("mpc", [15.0] * 4)))


def test_the_rule_is_the_best_of_its_days_and_the_first_of_equal_ones():
    choice = pd.concat(
        records(name, money, [9.0] * 2)
        for name, money in (("dc_only", [0.0, 0.0]), ("a", [3.0, 1.0]), ("b", [0.0, 4.0]))
    )
    assert headroom.choose(choice, lambda _: True) == "a"


def test_headroom_of_cards_takes_each_cards_own_rule():
    def of(card: str, a: float, b: float) -> pd.DataFrame:
        frames = [records(n, [m] * 2, [10.0] * 2) for n, m in (("random", a), ("koopman", b))]
        return pd.concat(frames).assign(card=card)

    choice = pd.concat([of("x", 2.0, 1.0), of("y", 1.0, 2.0)])
    found = headroom.measure_all(pd.concat([of("x", 6.0, 7.0), of("y", 6.0, 7.0)]), choice, 0)
    assert {card: row.rule for card, row in found.items()} == {"x": "random", "y": "koopman"}
    assert found["x"].share is not None
    assert found["x"].share.point == pytest.approx(0.4)
    assert headroom.measure_all(choice, None, 0) == {}


def test_plain_rules_are_all_but_planners_tuned_and_privileged_policies():
    plain = {name for name in registry.names() if headroom.is_plain(name)}
    assert {"dc_only", "koopman", "cheapest_first", "consolidate", "myopic_lp"} <= plain
    assert not plain & {"mpc", "price_index", "tuned_index"}
    planners = {name for name in registry.names() if headroom.is_planner(name)}
    assert planners == {"mpc", "price_index"} & set(registry.names())


def test_change_of_headroom_by_hand():
    base = records("a", [5.0, 10.0, 25.0, 20.0], BOUND)  # 5 left of 20
    now = records("b", [4.0, 8.0, 23.0, 17.0], [9.0, 18.0, 27.0, 18.0])  # 5 left of 18
    now = now.iloc[::-1]  # pairs go by scenario
    found = headroom.change(now, base, ("b", "a"), seed=0)
    assert found.bound.point == pytest.approx(-2.0 * PER_CAR_MONTH)
    assert found.usd.point == pytest.approx(0.0)
    assert found.share is not None
    assert found.share.point == pytest.approx(5 / 18 - 5 / 20)


def test_change_of_a_share_needs_two_cards_that_are_worth_it():
    base = records("a", [5.0] * 4, BOUND)
    poor = records("a", [0.0] * 4, [0.01] * 4)
    assert headroom.change(poor, base, ("a", "a"), seed=0).share is None


# --- other days


def test_rules_are_chosen_on_other_days_than_they_are_scored_on():
    days = Days("test", 10, 20, 7)
    assert BoundSettings().other_days(days) == Days("validation", 0, 20, 7)
    for first in (0, 10, 29):
        with pytest.raises(ValueError, match="must be chosen on other days"):
            BoundSettings(choose_split="test", choose_first=first).other_days(days)
    beside = BoundSettings(choose_split="test", choose_first=30).other_days(days)
    assert beside == Days("test", 30, 20, 7)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"choose_split": "tset"}, "choose_split='tset'"),
        ({"sample_cars": 0}, "sample_cars=0"),
        ({"choose_episodes": 0}, "choose_episodes=0"),
        ({"choose_first": -1}, "choose_first=-1"),
    ],
)
def test_settings_are_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        BoundSettings(**wrong)


# --- records of bounds


@pytest.fixture
def solver(monkeypatch):
    """Count the scenarios that are solved; the bound of scenario n is n + 0.1."""
    calls: list[int] = []

    def bounds_usd(config, split, scenarios, sample_cars):
        for scenario in scenarios:
            if scenario == 13:
                raise KeyboardInterrupt
            calls.append(scenario)
            yield scenario + 0.1

    monkeypatch.setattr(bounds, "bounds_usd", bounds_usd)
    return calls


def test_bounds_are_solved_once_and_kept_bit_for_bit(tmp_path, solver):
    file, days = tmp_path / "bounds.csv", Days("test", 4, 3, 2)
    first = bounds.solve(CARD, days, 250, file)
    again = bounds.solve(CARD, days, 250, file)
    assert solver == [4, 5, 6]
    assert first["bound_usd"].tolist() == [4.1, 5.1, 6.1]
    pd.testing.assert_frame_equal(first, again, check_exact=True, check_dtype=False)
    more = bounds.solve(CARD, Days("test", 3, 5, 5), 250, file)
    assert solver == [4, 5, 6, 3, 7]
    assert more["scenario"].tolist() == [3, 4, 5, 6, 7]


def test_an_interrupted_run_keeps_the_bounds_it_solved(tmp_path, solver):
    file = tmp_path / "bounds.csv"
    with pytest.raises(KeyboardInterrupt):
        bounds.solve(CARD, Days("test", 10, 5, 5), 250, file)
    assert pd.read_csv(file)["scenario"].tolist() == [10, 11, 12]
    assert [path.name for path in tmp_path.iterdir()] == ["bounds.csv"]


@pytest.mark.parametrize(
    ("config", "split", "sample"),
    [(replace(CARD, num_cars=11), "test", 250), (CARD, "train", 250), (CARD, "test", 100)],
)
def test_another_card_split_or_sample_is_solved_anew(tmp_path, solver, config, split, sample):
    file = tmp_path / "bounds.csv"
    bounds.solve(CARD, Days("test", 0, 2, 2), 250, file)
    got = bounds.solve(config, Days(split, 0, 2, 2), sample, file)
    assert solver == [0, 1, 0, 1]
    assert len(got) == 2
    bounds.solve(CARD, Days("test", 0, 2, 2), 250, file)  # the old ones are still there
    assert solver == [0, 1, 0, 1]


def test_other_code_solves_anew(tmp_path, solver, monkeypatch):
    """A file that many runs share outlives the code that wrote it."""
    file, days = tmp_path / "bounds.csv", Days("test", 0, 2, 2)
    bounds.solve(CARD, days, 250, file)
    monkeypatch.setattr(bounds, "code_digest", lambda packages: "other")
    bounds.solve(CARD, days, 250, file)
    assert solver == [0, 1, 0, 1]


def test_every_day_is_a_task_of_its_own_until_it_is_solved(tmp_path, solver):
    folder = RunFolder.open(tmp_path, "compare", {})
    played = Matrix({"suburb": CARD}, [], Days("test", 3, 3, 3), 0, folder)
    settings = BoundSettings()
    first = headroom.bound_tasks(played, settings)
    assert [task.label for task in first] == ["suburb bound"] * 3
    first[1].do()
    assert (len(headroom.bound_tasks(played, settings)), solver) == (2, [4])
    found = headroom.solve_bounds(played, settings)
    assert found[["card", "scenario"]].to_numpy().tolist() == [["suburb", n] for n in (3, 4, 5)]
    assert (headroom.bound_tasks(played, settings), solver) == ([], [4, 3, 5])


def test_a_bound_goes_to_the_records_of_its_scenario_and_card():
    frame = pd.concat([records("a", [1.0, 2.0], [0, 0]), records("b", [3.0, 4.0], [0, 0])])
    frame = frame.drop(columns="bound_usd").iloc[[3, 0, 2, 1]]
    got = bounds.with_bounds(frame, solved([7.0, 8.0]))
    assert got["bound_usd"].tolist() == [8.0, 7.0, 7.0, 8.0]
    cards = pd.concat([frame.assign(card="x"), frame.assign(card="y")])
    two = pd.concat([solved([7.0, 8.0]).assign(card="x"), solved([1.0, 2.0]).assign(card="y")])
    got = bounds.with_bounds(cards, two)
    assert got["bound_usd"].tolist() == [8.0, 7.0, 7.0, 8.0, 2.0, 1.0, 1.0, 2.0]


# --- violations


def test_more_than_the_bound_is_flagged_beyond_the_tolerance():
    limit = 10.0 * (1 + 1e-6) + 1e-9
    money = [limit - 1e-10, limit + 1e-8, -5.0, 10.5]
    found = bounds.violations(records("busy", money, [10.0] * 4))
    assert found["scenario"].tolist() == [3, 1]  # the worst first
    assert bounds.violations(records("busy", [1e-10], [0.0])).empty
    assert len(bounds.violations(records("busy", [1e-8], [0.0]))) == 1


def test_a_violation_names_policy_scenario_and_both_numbers(tmp_path):
    frame = records("busy", [1.0, 12.5, 11.0], [10.0] * 3).assign(card="peak")
    found = bounds.violations(frame)
    with pytest.raises(bounds.BoundViolationError) as caught:
        bounds.refuse(found, tmp_path)
    text = str(caught.value)
    assert "busy earns 12.5 USD in peak, test scenario 1, above the bound of 10 USD" in text
    assert "(and 1 more, violations.csv)" in text
    assert "a bug in the bound or the ledger, please report" in text
    assert pd.read_csv(tmp_path / "violations.csv")["scenario"].tolist() == [1, 2]
    bounds.refuse(found.iloc[:0], tmp_path / "nowhere")


# --- figures


def test_the_figure_shows_the_bound_as_a_line_and_the_scores_beside():
    frame = pd.concat([records("busy", [15.0] * 4, BOUND), records("dc_only", [0.0] * 4, BOUND)])
    rows = report.summarise(frame, CARD, seed=0)
    rows = [row | score.scores(frame, 0)[row["policy"]] for row in rows]
    bound = score.bound_row(frame, solved(BOUND), 0)
    ax = plot_money(Figure().add_subplot(), rows, bound)
    assert any(line.get_xdata()[0] == pytest.approx(bound["usd"]) for line in ax.lines[:-1])
    assert sorted(text.get_text()[-6:] for text in ax.texts) == ["(0.00)", "(0.75)"]
    assert f"bound {bound['usd']:+.2f} (no policy)" in ax.get_legend_handles_labels()[1]


def test_large_losses_are_cut_off_beside_a_bound():
    frame = pd.concat([records("busy", [15.0] * 4, BOUND), records("bad", [-900.0] * 4, BOUND)])
    rows = report.summarise(frame, CARD, seed=0)
    ax = plot_money(Figure().add_subplot(), rows, score.bound_row(frame, solved(BOUND), 0))
    left, right = ax.get_xlim()
    assert left == pytest.approx(-1.5 * right)
    assert "cut off" in ax.get_xlabel()
    whole = plot_money(Figure().add_subplot(), rows)
    assert whole.get_xlim()[0] < -900.0 * PER_CAR_MONTH
    assert "cut off" not in whole.get_xlabel()


def test_the_bars_of_headroom_split_the_bound(planners):
    found = {"x": measured(15.0, ("mpc", [17.0] * 4)), "y": measured(0.0, bound=0.01)}
    ax = plot_headroom(Figure().add_subplot(), found)
    ends = {
        (round(bar.get_x(), 6), round(bar.get_x() + bar.get_width(), 6))
        for bar in ax.patches
        if bar.get_width()
    }
    assert ends == {(0.0, 0.75), (0.75, 0.85), (0.85, 1.0)}  # nothing of the second card
    texts = " ".join(text.get_text() for text in ax.texts)
    assert "worth learning" in texts
    assert "not worth it" in texts


def test_changes_of_headroom_are_drawn_the_largest_first():
    base = records("a", [5.0, 10.0, 25.0, 20.0], BOUND)
    changes = {
        name: headroom.change(base.assign(**{"return": base["return"] - less}), base, ("a", "a"), 0)
        for name, less in (("little", 1.0), ("much", 3.0), ("none", 0.0))
    }
    assert list(headroom_report.ordered(changes)) == ["much", "little", "none"]
    ax = plot_headroom_changes(Figure().add_subplot(), headroom_report.ordered(changes))
    colours = [line.get_color() for line in ax.lines if line.get_marker() == "D"]
    assert colours == ["black", "black", "grey"]
    text = "\n".join(printed(headroom_report.changes_table(changes, "title")))
    assert f"{3 * PER_CAR_MONTH:+.2f}" in text


def test_tables_of_headroom_are_shown_in_full(planners):
    long = Interval(-12.345, -0.1, 112.345)
    wide = replace(measured(15.0, ("mpc", [17.0] * 4)), rule="plugged_full_first", usd=long)
    lines = printed(
        headroom_report.table({"nation (1,000 cars)": wide}, "title", "20 validation days")
    )
    assert all("…" not in line for line in lines)
    assert max(map(len, lines)) <= report.MIN_WIDTH
    assert any("worth learning" in line for line in lines)


def test_columns_are_cut_into_blocks_that_fit():
    names = [f"rule_{i}" for i in range(25)]
    got = list(report.blocks(names, width=8, beside=40))
    assert [name for block in got for name in block] == names
    assert all(
        40 + 8 * len(block) <= max(report.MIN_WIDTH, report.console().width) for block in got
    )


# --- the verbs, on tiny fleets

PLAY = ("num_episodes=2", "env.num_cars=12", "bound.choose_episodes=2")
RULES = "policies=[dc_only,cheapest_first,consolidate]"


def not_again(*arguments):
    raise AssertionError(f"played again: {arguments[1]}")


@pytest.mark.slow
def test_compare_scores_against_the_bound(fleet):
    status, out, err = fleet("compare", "out=run", RULES, *PLAY)
    assert (status, err) == (0, "")
    assert "bound (no policy)" in out
    assert "2 validation days" in out
    played = pd.read_parquet("run/results.parquet")
    solved_days = read_csv(Path("run/bounds.csv")).set_index("scenario")["bound_usd"]
    assert (played["bound_usd"] == played["scenario"].map(solved_days)).all()
    assert (played["return"] <= played["bound_usd"] * (1 + 1e-6) + 1e-9).all()
    choice = pd.read_parquet("run/choice.parquet")
    assert set(choice["split"]) == {"validation"}
    summary = json.loads(Path("run/summary.json").read_text())
    best = choice.groupby("policy", sort=False)["return"].mean().idxmax()
    assert summary["headroom"]["rule"] == best
    rule = played[played["policy"] == best]
    share = 1 - rule["return"].sum() / rule["bound_usd"].sum()
    assert summary["headroom"]["share"]["point"] == pytest.approx(share)
    row = next(row for row in summary["policies"] if row["policy"] == best)
    assert row["score"] == pytest.approx(1 - share)
    assert summary["bound"]["sample_cars"] == 250
    assert summary["violations"] == []


@pytest.mark.slow
def test_the_bound_can_be_left_out_and_added_later(fleet, monkeypatch):
    status, out, _ = fleet("compare", "out=run", "bound=none", RULES, *PLAY)
    assert status == 0
    assert "score" not in out
    assert not Path("run/bounds.csv").exists()
    assert "bound_usd" not in pd.read_parquet("run/results.parquet")

    def only_the_choice(config, name, days, *rest):
        assert days.split == "validation"  # no test day is played again
        return play(config, name, days, *rest)

    monkeypatch.setattr("experiments.entries.play", only_the_choice)
    status, out, err = fleet("compare", "out=run", RULES, *PLAY)
    assert (status, err) == (0, "")
    assert Path("run/bounds.csv").exists()
    monkeypatch.setattr("experiments.bounds.bounds_usd", lambda *_: iter(()))  # nor solved
    assert fleet("compare", "out=run", RULES, *PLAY) == (0, out, "")


@pytest.mark.slow
def test_a_policy_above_the_bound_is_an_error_after_the_table(fleet, monkeypatch):
    def too_low(config, split, scenarios, sample_cars):
        yield from (-1.0 for _ in scenarios)

    monkeypatch.setattr("experiments.bounds.bounds_usd", too_low)
    status, out, err = fleet("compare", "out=run", "policies=[dc_only]", *PLAY)
    assert status == 2
    assert err.startswith("fleet: dc_only earns 0 USD in suburb, test scenario ")
    assert err.count("\n") == 1
    assert "USD/car-month" in out
    assert len(pd.read_csv("run/violations.csv")) == 2
    summary = json.loads(Path("run/summary.json").read_text())
    assert len(summary["violations"]) == 2
    assert Path("run/compare.png").is_file()


@pytest.mark.slow
def test_compare_over_cards_has_bound_and_headroom_of_each(fleet):
    status, out, err = fleet("compare", "cards=[suburb,level1]", "out=run", RULES, *PLAY)
    assert (status, err) == (0, "")
    assert "head-" in out
    rows = pd.read_csv("run/headroom.csv")
    assert rows["card"].tolist() == ["suburb", "level1"]
    assert rows["usd.point"].tolist() == pytest.approx(
        (rows["bound.point"] - rows["rule_usd.point"]).tolist()
    )
    summary = json.loads(Path("run/summary.json").read_text())
    assert set(summary["cards"]["level1"]["headroom"]) >= {"share", "verdict", "sentence"}
    assert summary["passes_gate"] == []
    money = pd.read_csv("run/money.csv")
    assert {"score", "gap_usd"} <= set(money)
    assert Path("run/headroom.png").read_bytes().startswith(b"\x89PNG")
    again = fleet("report", "run", "out=again")
    assert again[1].splitlines()[:-1] == out.splitlines()[:-1]
    for name in ("headroom.csv", "summary.json", "choice.parquet", "bounds.csv"):
        assert Path("again", name).read_bytes() == Path("run", name).read_bytes(), name


@pytest.mark.slow
def test_study_headroom_measures_cards(fleet):
    cards = ("cards=[suburb,nation]", "max_cars=10", "num_episodes=2", "bound.choose_episodes=2")
    status, out, err = fleet("study", "headroom", "out=run", RULES, *cards)
    assert (status, err) == (0, "")
    assert "Played with 10 cars: suburb, nation." in " ".join(out.split())
    assert pd.read_csv("run/headroom.csv")["card"].tolist() == ["suburb", "nation"]
    assert set(json.loads(Path("run/summary.json").read_text())["cards"]) == {"suburb", "nation"}
    assert Path("run/headroom.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_study_of_features_measures_what_each_does_to_headroom(fleet, monkeypatch):
    only = "only=[no_pay,cap]"  # one of the ablation, one of the world
    status, out, err = fleet("study", "headroom_features", "out=run", only, RULES, *PLAY)
    assert (status, err) == (0, "")
    assert "change of headroom" in out
    rows = pd.read_csv("run/headroom.csv").set_index("variant")
    assert rows.index.tolist() == ["base", "no_pay", "cap"]
    changes = pd.read_csv("run/changes.csv").set_index("variant")
    for name in ("no_pay", "cap"):
        expected = rows.loc[name, "usd.point"] - rows.loc["base", "usd.point"]
        assert changes.loc[name, "usd.point"] == pytest.approx(expected)
    assert rows.loc["no_pay", "bound.point"] > rows.loc["base", "bound.point"]
    assert Path("run/changes.png").is_file()
    monkeypatch.setattr("experiments.bounds.bounds_usd", lambda *_: iter(()))
    monkeypatch.setattr("experiments.entries.play", not_again)
    again = fleet("study", "headroom_features", "out=run", only, RULES, *PLAY)
    assert again == (0, out, "")
    rebuilt = fleet("report", "run", "out=again")
    assert rebuilt[1].splitlines()[:-1] == out.splitlines()[:-1]
    assert Path("again/changes.csv").read_bytes() == Path("run/changes.csv").read_bytes()


@pytest.mark.slow
def test_any_study_of_variants_can_measure_headroom(fleet):
    arguments = ("ablation", "measure=headroom", "only=[no_pay]", "out=run", RULES)
    assert fleet("study", *arguments, *PLAY)[0] == 0
    assert pd.read_csv("run/changes.csv")["variant"].tolist() == ["no_pay"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", "bound=non"), "bound=non: no such option; did you mean none?"),
        (("compare", "bound.sample_crs=3"), "did you mean bound.sample_cars?"),
        (("compare", "bound.choose_split=test"), "must be chosen on other days"),
        (("study", "headroom", "measure=head"), "measure=head: expected one of money, headroom"),
        (("study", "ablation", "cards=[suburb]"), "only with measure=headroom"),
        (("study", "headroom", "policies=[tuned_index]", "cards=[tiny]"), "expected a plain rule"),
    ],
)
def test_mistakes_are_named_before_anything_is_played(fleet, arguments, message):
    status, out, err = fleet(*arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err

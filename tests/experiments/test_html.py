"""The page of a comparison: complete, self-contained, and alive in a real browser."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import compare, pages
from experiments.html.page import TEMPLATE, write_page
from experiments.html.payload import TABLE, payload
from fleet_env.scenarios import scenario
from tests.experiments.browsers import browser, opened

__all__ = ["browser"]

POLICIES = ["dc_only", "full_cost_first", "cheapest_first", "always_on"]
CHARTS = {"heat", "over", "profile", "scores", "waterfall", "gap", "day", "fan", "short"}


@pytest.fixture(scope="module")
def results():
    cards = [scenario(name, num_cars=10, step_min=60) for name in ("suburb", "release")]
    return compare(POLICIES, cards, num_episodes=2)


@pytest.fixture(scope="module")
def page(results, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    write_page(results, file)
    return file


def embedded(text: str) -> dict:
    [data] = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    return json.loads(data)


def test_the_page_holds_the_figures_of_the_results(results, page):
    data = embedded(page.read_text("utf-8"))
    assert list(data["cards"]) == ["suburb", "release"]
    table = results.table("suburb")
    rows = {row["policy"]: row for row in data["cards"]["suburb"]["rows"]}
    assert list(rows) == list(table.index)
    for policy, row in rows.items():
        assert row["usd"] == pytest.approx(table.loc[policy, "usd_per_car_month"], rel=1e-5)
        assert sum(row[f"usd/{term}"] for term in data["terms"]) == pytest.approx(
            row["usd"], rel=1e-4, abs=1e-5
        )
    trace = data["cards"]["suburb"]["traces"]["always_on"]
    assert {len(values) for values in trace.values()} == {24}
    assert set(data["profiles"]["policies"]) == set(POLICIES)


def test_nothing_is_fetched_from_anywhere(page):
    text = page.read_text("utf-8")
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.findall(r'(?:src|href)\s*=\s*["\']', outside)
    assert "@import" not in outside
    assert "url(" not in outside


def test_names_cannot_break_out_of_the_page():
    bad = "</script><script>alert(1)</script>"
    data = pages.embedded({"name": bad})
    text = pages.page(TEMPLATE, title="<b>", plotly="", data=data)
    assert bad not in text
    assert embedded(text) == {"name": bad}
    assert "&lt;b&gt;" in text


def test_every_column_is_a_figure(results):
    [row, *_] = results.rows["suburb"]
    assert {key for key, *_ in TABLE} - {"ms"} <= set(row)


def test_without_bounds_the_page_has_no_scores(results):
    data = payload(replace(results, bounds=None, choice=None))
    assert data["over"] == []
    assert data["profiles"] == {}
    assert all(card["bound"] is None for card in data["cards"].values())


def report_of(browser, page: Path, **settings):
    tab, errors = opened(browser, page, **settings)
    tab.wait_for_function(
        "n => document.querySelectorAll('.chart[data-drawn]').length === n", arg=len(CHARTS)
    )
    return tab, errors


def column(tab, key: str) -> list[str]:
    place = tab.evaluate(
        "key => [...document.querySelectorAll('#table th')].findIndex(t => t.dataset.key === key)",
        key,
    )
    return [row.split("\t")[place] for row in tab.locator("#table tbody").inner_text().split("\n")]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_every_chart_without_an_error(browser, page, scheme):
    tab, errors = report_of(browser, page, color_scheme=scheme)
    assert errors == []
    assert tab.evaluate("document.documentElement.dataset.theme") == scheme
    drawn = tab.evaluate(
        "[...document.querySelectorAll('.chart')]"
        ".filter(c => c.querySelector('.cartesianlayer .trace, .cartesianlayer .hm'))"
        ".map(c => c.id)"
    )
    assert set(drawn) == CHARTS
    dots = tab.locator("#scores .points path").count()
    assert 1 <= dots <= len(POLICIES)


@pytest.mark.slow
def test_sorting_choosing_and_themes_work(browser, page):
    tab, errors = report_of(browser, page)
    values = [float(v) for v in column(tab, "usd")]
    assert values == sorted(values, reverse=True)
    tab.locator('#table th[data-key="usd"]').click()
    assert [float(v) for v in column(tab, "usd")] == sorted(values)
    assert tab.locator('#table th[data-key="usd"]').get_attribute("aria-sort") == "ascending"
    tab.locator('#table th[data-key="policy"]').click()
    names = [name.removesuffix(" ~") for name in column(tab, "policy")]
    assert names == sorted(POLICIES)
    tab.select_option("#card", "release")
    tab.select_option("#policy", "always_on")
    assert set(tab.locator(".who").all_inner_texts()) == {"always_on"}
    before = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.locator("#theme").click()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert errors == []


@pytest.mark.slow
def test_a_phone_does_not_scroll_sideways(browser, page):
    tab, errors = report_of(browser, page, viewport={"width": 390, "height": 844})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert errors == []

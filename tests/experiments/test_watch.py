"""`fleet watch`: the record is the day, the page holds it and works in a real browser."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents import registry
from experiments.runner import Days, play
from experiments.watch.page import FULL, packed, write_page
from experiments.watch.record import PLACES, record_day
from fleet_env.scenarios import scenario
from fleet_env.viewer import MAX_DOTS, STATUS
from tests.experiments.browsers import browser, opened

__all__ = ["browser"]

CARD = scenario("suburb", num_cars=12, step_min=60)


@pytest.fixture(scope="module")
def day():
    return record_day(CARD, registry.make("always_on"), 3)


@pytest.fixture(scope="module")
def page(day, tmp_path_factory):
    file = tmp_path_factory.mktemp("watch") / "watch.html"
    write_page(day, file)
    return file


def test_the_record_is_the_day_that_is_played(day):
    [row] = play(CARD, "always_on", Days("test", 3, 1, 1), seed=0).to_dict("records")
    assert sum(money[-1] for money in day.usd.values()) == pytest.approx(row["return"])
    assert day.usd["energy"][-1] == pytest.approx(row["reward/energy"])
    assert day.duty.sum() * day.step_h == pytest.approx(row["metric/on_duty_h"], rel=1e-5)
    assert day.busy.sum() * day.step_h == pytest.approx(row["metric/busy_h"], rel=1e-5)
    assert day.soc.shape == day.status.shape == (24, 12)
    assert (day.status < len(STATUS)).all()
    assert ((day.soc >= 0) & (day.soc <= 1)).all()
    assert day.hour.tolist() == [(12 + k) % 24 for k in range(24)]


def test_only_serving_cars_have_a_rate(day):
    serving = day.status == list(STATUS).index("serving")
    assert serving.any()
    assert (day.rate[~serving] == 0).all()
    assert day.rate[serving].max() > 0


def test_shares_survive_packing(rng):
    share = rng.random((5, 7))
    back = np.frombuffer(base64.b64decode(packed(share)), np.uint8) / FULL
    np.testing.assert_allclose(back.reshape(5, 7), share, atol=0.5 / FULL)


def test_the_page_holds_the_record_and_fetches_nothing(day, page):
    text = page.read_text("utf-8")
    [found] = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    data = json.loads(found)
    status = np.frombuffer(base64.b64decode(data["cars"]["status"]), np.uint8)
    assert status.reshape(24, 12).tolist() == day.status.tolist()
    place = np.frombuffer(base64.b64decode(data["cars"]["place"]), np.uint8)
    assert place.max() < len(PLACES)
    assert data["usd"]["avoided"][-1] == pytest.approx(day.usd["avoided"][-1], rel=1e-4)
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.findall(r'(?:src|href)\s*=\s*["\']|@import|url\(', outside)


def test_a_fleet_too_large_to_look_at_is_refused():
    card = scenario("suburb", num_cars=MAX_DOTS + 1)
    with pytest.raises(ValueError, match=f"env.num_cars={MAX_DOTS + 1}: expected at most"):
        record_day(card, registry.make("dc_only"), 0)


@pytest.mark.slow
def test_the_verb_writes_a_page_and_a_moving_picture(fleet):
    flags = ("env.num_cars=8", "env.step_min=60", "policy=full_cost_first", "gif=true")
    status, out, err = fleet("watch", "out=run", *flags)
    assert (status, err) == (0, "")
    assert "watch.html" in out
    assert "full_cost_first on suburb, test day 0" in Path("run/watch.html").read_text("utf-8")
    with Image.open("run/watch.gif") as gif:
        assert gif.n_frames == 12
    assert fleet("watch", "num_episodes=2")[2].startswith("fleet: num_episodes=2: expected 1")


@pytest.mark.slow
def test_a_browser_plays_the_day(browser, page):
    tab, errors = opened(browser, page)
    shown = "Number(document.documentElement.dataset.shown)"
    assert tab.evaluate(shown) == 0
    tab.locator("#play").click()
    tab.wait_for_function(f"{shown} > 0.3")
    tab.locator("#play").click()
    tab.locator("#time").fill("23")
    assert tab.evaluate(shown) == 23
    assert tab.locator("#clock").inner_text() == "11:00"
    drawn = "document.getElementById('cars').getContext('2d').getImageData(0, 0, 900, 400).data"
    assert tab.evaluate(f"new Set({drawn}).size") > 20
    assert errors == []


@pytest.mark.slow
def test_pointing_at_a_car_tells_its_fields(browser, page):
    tab, errors = opened(browser, page)
    at = tab.evaluate(
        "(() => { const box = document.getElementById('cars').getBoundingClientRect();"
        " const car = [...Array(N).keys()].find((c) => CARS.soc[c] > 0);"
        " const p = place(car, box); return [box.left + p.x, box.top + p.y]; })()"
    )
    tab.mouse.move(*at)
    text = tab.locator("#hover").inner_text()
    assert "charge" in text
    assert "kWh" in text
    assert errors == []


@pytest.mark.slow
def test_a_phone_does_not_scroll_sideways(browser, page):
    tab, _ = opened(browser, page, viewport={"width": 390, "height": 844})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390

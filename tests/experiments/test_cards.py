"""What is written about the cards, and how their comparison is put together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from experiments import schema
from experiments.across import find_reversals
from experiments.plots.cards import plot_cards
from experiments.verbs import cards
from fleet_env.scenarios import CARDS, scenario

PAGE = Path(schema.config_dir()).parent / "docs" / "cards.md"


def test_the_page_of_the_cards_is_up_to_date():
    # `fleet cards play=false headroom=docs/headroom.csv` writes it anew, as cards.md in its folder
    measured = cards.read_headroom(str(PAGE.with_name("headroom.csv")))
    assert set(measured) == set(CARDS)
    assert PAGE.read_text("utf-8") == cards.page({n: scenario(n) for n in CARDS}, measured)


def test_a_file_that_holds_no_headroom_is_refused(tmp_path):
    (tmp_path / "money.csv").write_text("card,usd\nsuburb,1.0\n")
    with pytest.raises(ValueError, match=r"money.csv: no column sentence; expected the headroom"):
        cards.read_headroom(str(tmp_path / "money.csv"))


def test_the_page_names_every_change_with_the_value_before():
    assert list(cards.changes(scenario("suburb"))) == []
    assert list(cards.changes(scenario("level1"))) == ["`fleet.level1_share` 0.5 (0.25)"]
    assert list(cards.changes(scenario("tiny"))) == ["`num_cars` 3 (1,000)"]
    assert list(cards.changes(scenario("claim"))) == ["`fleet.accelerators.claim` 1.0"]
    assert list(cards.changes(scenario("world"))) == [
        "`regions` us_west, texas, germany, new_south_wales"
    ]


def test_a_title_ends_at_the_first_colon_or_full_stop():
    assert cards.title("A suburb of 1.44 kW outlets: half are weak. All else") == (
        "A suburb of 1.44 kW outlets"
    )
    assert cards.title("Follow the sun.") == "Follow the sun"


def test_headlines_of_a_card():
    world = cards.headline(scenario("world"))
    assert (world["regions"], world["tariffs"]) == (4, "california_ev_tou, day_ahead")
    assert cards.headline(scenario("mixed"))["computers"] == "50% ai4 + 50% ai5"
    mix = scenario("suburb", fleet={"accelerators": {"ai4": 0.0, "ai5": 1.0}})
    assert cards.headline(mix)["computers"] == "ai5"


def frame(**money: list[float]) -> pd.DataFrame:
    parts = []
    for policy, usd in money.items():
        days = range(len(usd))
        head = {"policy": policy, "scenario": days, "trace_day": days, "num_cars": 1, "days": 1}
        parts.append(pd.DataFrame({**head, "return": usd}))
    # rows in any order: pairs go by scenario
    return pd.concat(parts, ignore_index=True).sample(frac=1.0, random_state=1)


def test_rankings_are_compared_with_the_reference_pair_by_pair(rng):
    day = rng.normal(0.0, 50.0, size=20)  # what the days have in common cancels
    parts = {
        "suburb": frame(a=list(day + 2.0), b=list(day), c=list(day + rng.normal(size=20))),
        "turned": frame(a=list(day), b=list(day + 1.0), c=list(day + rng.normal(size=20))),
        "alike": frame(a=list(day + 3.0), b=list(day), c=list(day + rng.normal(size=20))),
    }
    found = find_reversals(parts, "suburb", seed=0)
    assert set(found) == {"turned", "alike"}
    assert next((r.higher, r.lower) for r in found["turned"]) == ("b", "a")
    assert not any({r.higher, r.lower} == {"a", "b"} for r in found["alike"])


def test_the_heat_map_frames_the_best_and_marks_what_ties_with_it():
    rows = {
        "one": [
            {"policy": "a", "usd": 2.0, "ties_best": False},
            {"policy": "b", "usd": -30.0, "ties_best": False},
        ],
        "two": [
            {"policy": "b", "usd": 0.2, "ties_best": False},
            {"policy": "a", "usd": 0.1, "ties_best": True},
        ],
    }
    ax = plot_cards(Figure().add_subplot(), rows, ["a", "b"])
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert texts == {(0, 0): "+2.00", (1, 0): "-30.00", (0, 1): "+0.10 ~", (1, 1): "+0.20"}
    frames = [(np.mean(line.get_xdata()[:4]), np.mean(line.get_ydata()[:4])) for line in ax.lines]
    np.testing.assert_allclose(frames, [(0.0, 0.0), (1.0, 1.0)], atol=1e-12)

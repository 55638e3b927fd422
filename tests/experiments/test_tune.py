"""`fleet tune agent=index`, on a tiny fleet."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from agents.index import parameters
from agents.index.scores import earned
from experiments.plots.tune import plot_search
from experiments.report import usd_per_car_month
from experiments.runner import Days, play
from experiments.settings import TuneSettings
from experiments.verbs import tune
from fleet_env.scenarios import scenario
from tests.composing import settings_of

SMALL = TuneSettings(
    env=scenario("suburb"), generations=2, popsize=4, num_days=2, num_cars=20,
    validation_days=2, rivals=["cheapest_first"], out="unused",
)  # fmt: skip


def test_settings_come_from_the_command_line():
    settings = settings_of(
        "tune", "env=paid", "agent=index", "generations=7", "num_cars=99", "seed=3"
    )
    assert settings.env == scenario("paid")
    assert (settings.generations, settings.num_cars, settings.seed) == (7, 99, 3)


@pytest.mark.parametrize("name", ["num_days", "num_cars", "validation_days"])
def test_nothing_to_play_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}=0: expected 1 or more"):
        settings_of("tune", f"{name}=0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"agent": "indx"}, r"agent=indx: no such agent; did you mean index\? \(index\)"),
        ({"rivals": ["cheepest_first"]}, "rivals=cheepest_first: no such.*mean cheapest_first"),
        ({"popsize": 2}, r"popsize=2: expected 3 or more"),
    ],
)
def test_errors_come_before_anything_is_played(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        tune.tune(replace(SMALL, **change), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_curve_shows_generations_choice_and_rival():
    curve = pd.DataFrame(
        {
            "generation": [1, 2, 3],
            "best": [1.0, 2.0, 2.5],
            "median": [0.5, 1.0, 2.0],
            "mean": [-9.0, 1.0, 2.0],
            "validation": [np.nan, 1.5, 2.2],
        }
    )
    ax = plot_search(Figure().add_subplot(), curve, (2.0, 2.2, 2.4), ("cheapest_first", 1.9))
    labels = {text.get_text() for text in ax.get_legend().get_texts()}
    assert "cheapest_first, validation days" in labels
    low, high = ax.get_ylim()
    assert -1 < low < 0.5  # one bad generation does not squeeze the curve
    assert high > 2.5


@pytest.mark.slow
def test_tune_writes_a_policy_that_earns_what_it_says(tmp_path, capsys):
    tuned = tune.tune(SMALL, tmp_path)
    assert "tuned_index" in capsys.readouterr().out
    assert parameters.read(str(tmp_path / "index.yaml")) == tuned
    card = replace(SMALL.env, num_cars=20)
    records = play(
        card, "tuned_index", Days("validation", 0, 2, 2), 0, {"file": str(tmp_path / "index.yaml")}
    )
    usd = usd_per_car_month(records)
    assert tuned.found["validation"]["usd"] == pytest.approx(usd.mean(), abs=1e-4)
    searched = earned(card, "validation", [0, 1], tuned.vector()[None])[0]
    np.testing.assert_allclose(searched, usd, rtol=1e-12)
    assert tuned.found["num_cars"] == 20
    assert set(tuned.found["same_for_all_cars"]) >= {"plugged", "fits_70b", "feeder"}
    curve = pd.read_csv(tmp_path / "curve.csv")
    assert list(curve["generation"]) == [1, 2]
    assert (curve["best"] >= curve["median"]).all()
    assert curve["validation"].notna().any()
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads((tmp_path / "summary.json").read_text())["policies"]
    assert {row["policy"] for row in rows} == {"tuned_index", "cheapest_first"}
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["config"]["num_days"] == 2


@pytest.mark.slow
def test_an_interrupted_tuning_goes_on_to_the_same_end(tmp_path, monkeypatch):
    whole = tune.tune(SMALL, tmp_path / "whole")
    played = []

    def counted(card, split, days, rows):
        played.append((split, tuple(days)))
        if len(played) == 2:
            raise KeyboardInterrupt
        return earned(card, split, days, rows)

    monkeypatch.setattr(tune, "earned", counted)
    with pytest.raises(KeyboardInterrupt):
        tune.tune(SMALL, tmp_path / "parts")
    assert not (tmp_path / "parts" / "index.yaml").exists()
    again = tune.tune(SMALL, tmp_path / "parts")
    assert again == whole
    assert played[:3] == [("train", (0, 1)), ("train", (2, 3)), ("train", (2, 3))]
    texts = [Path(tmp_path / part / "index.yaml").read_text() for part in ("whole", "parts")]
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_more_generations_go_on_and_another_seed_is_refused(tmp_path):
    tune.tune(SMALL, tmp_path)
    longer = tune.tune(replace(SMALL, generations=3), tmp_path)
    assert longer.found["generations"] == 3
    assert len(pd.read_csv(tmp_path / "curve.csv")) == 3
    with pytest.raises(ValueError, match="seed was 0, is 1"):
        tune.tune(replace(SMALL, seed=1), tmp_path)

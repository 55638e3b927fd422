"""`fleet tune agent=ppo_index`: a search that is kept, cut short and gone on with."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

import yaml

from experiments.records import read_csv
from experiments.train_settings import RangeSettings, TuneAgentSettings, ValidationSettings
from experiments.verbs import tune_agent
from tests.composing import settings_of

DAY = 48  # decisions of two small fleets


@pytest.fixture
def settings(make_agent, make_card) -> TuneAgentSettings:
    """Return a search of three trials of two rollouts."""
    space = {
        "gamma": {"choices": [0.9, 0.99]},
        "options": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
    }
    validation = ValidationSettings(days=1, num_cars=8, every_steps=DAY, score=False)
    return TuneAgentSettings(
        env=make_card(), agent=make_agent(), trials=3, total_steps=2 * DAY, first_trials=1,
        space=space, validation=validation, out="unused",
    )  # fmt: skip


def test_settings_come_from_the_command_line():
    overrides = [
        "agent=sac_index", "trials=3", "space.gamma.choices=[0.5]",
        "+space.num_fleets={low: 4, high: 8, whole: true}",
    ]  # fmt: skip
    settings = settings_of("tune_agent", *overrides)
    assert settings.agent.algorithm == "sac"
    assert settings.ranges == {
        "gamma": RangeSettings(choices=[0.5]),
        "options.learning_rate": RangeSettings(low=1e-4, high=3e-3, log=True),
        "num_fleets": RangeSettings(low=4, high=8, whole=True),
    }


def test_a_proposal_changes_the_agent_and_nothing_else(make_agent):
    agent = make_agent()
    got = tune_agent.changed(agent, {"gamma": 0.5, "options.learning_rate": 1e-3, "net": [8]})
    assert got == replace(
        agent, gamma=0.5, net=[8], options=agent.options | {"learning_rate": 1e-3}
    )
    assert agent.gamma == 0.99
    with pytest.raises(ValueError, match=r"space\.gama: no such setting of agent; did you mean"):
        tune_agent.changed(agent, {"gama": 0.5})


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ({}, "expected either choices, or low and high"),
        ({"choices": [1], "low": 0.0, "high": 1.0}, "expected either choices"),
        ({"low": 1.0}, "expected either choices"),
        ({"low": 2.0, "high": 1.0}, "expected low below high"),
        ({"low": 0.0, "high": 1.0, "log": True}, "expected more than 0 with log=true"),
    ],
)
def test_a_range_without_sense_is_refused(span, message):
    with pytest.raises(ValueError, match=message):
        TuneAgentSettings(space={"gamma": span})


def test_a_search_of_nothing_is_refused():
    with pytest.raises(ValueError, match="expected at least one setting"):
        TuneAgentSettings()
    with pytest.raises(ValueError, match=r"space\.gamma\.hgh: expected one of choices, low"):
        TuneAgentSettings(space={"gamma": {"low": 0.5, "hgh": 0.9}})
    with pytest.raises(ValueError, match=r"space\.gamma=0\.5: expected"):
        TuneAgentSettings(space={"gamma": 0.5})


@pytest.mark.slow
def test_a_search_is_kept_and_gone_on_with(settings, tmp_path, monkeypatch, capsys):
    cards = {"suburb": settings.env}
    begun = []

    def broken(training, *rest):
        begun.append(training.agent)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return train(training, *rest)

    train = tune_agent.train
    monkeypatch.setattr(tune_agent, "train", broken)
    with pytest.raises(KeyboardInterrupt):
        tune_agent.tune_agent(settings, cards, tmp_path)
    study = tune_agent.tune_agent(settings, cards, tmp_path)
    assert begun[2] == begun[1]  # what was broken off is begun again
    assert len(begun) == 4
    trials = read_csv(tmp_path / "trials.csv")
    assert len(trials) == 3
    assert set(trials["state"]) <= {"complete", "pruned"}
    best = yaml.safe_load((tmp_path / "best.yaml").read_text())
    top = (
        trials[trials["state"] == "complete"]
        .sort_values("value", kind="stable", ascending=False)
        .iloc[0]
    )
    assert best == {"gamma": top["gamma"], "options.learning_rate": top["options.learning_rate"]}
    assert top["value"] == study.best_value
    assert "best: agent." in capsys.readouterr().out
    summary = json.loads((tmp_path / "trials" / "0000" / "summary.json").read_text())
    assert trials["value"][0] == pytest.approx(summary["best"]["validation/usd"])
    more = tune_agent.tune_agent(replace(settings, trials=4), cards, tmp_path)
    assert len(more.trials) == 5  # one of them broken off
    with pytest.raises(ValueError, match="seed was 0, is 1"):
        tune_agent.tune_agent(replace(settings, seed=1), cards, tmp_path)


@pytest.mark.slow
def test_a_bad_trial_is_cut_short(settings, tmp_path, monkeypatch):
    played = []

    def train(training, cards, out, overrides, told):
        played.append([])
        for steps in (1, 2, 3):
            played[-1].append(steps)
            told(steps, -float(len(played)))  # each trial worse than those before

    monkeypatch.setattr(tune_agent, "train", train)
    study = tune_agent.tune_agent(settings, {"suburb": settings.env}, tmp_path)
    assert played == [[1, 2, 3], [1], [1]]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "PRUNED"]

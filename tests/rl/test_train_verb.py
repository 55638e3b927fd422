"""`fleet train`: one training from settings to files, stopped and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("torch")

from agents.learned.policy_file import PolicyFile
from experiments import cli, schema
from experiments.records import read_csv
from experiments.report import usd_per_car_month
from experiments.runner import Days, play
from experiments.signals import InterruptedBySignal, StopRequests
from experiments.train_settings import CheckpointSettings, TrainSettings, ValidationSettings
from experiments.training import train
from experiments.validate import Validator, headline
from fleet_env.scenarios import scenario
from tests.composing import settings_of

AGENTS = schema.agent_names()
LOGGERS = sorted(file.stem for file in (Path(schema.config_dir()) / "logger").glob("*.yaml"))
ENVS = ("suburb", "storm", "world")
ROLLOUT = 48  # decisions of two small fleets in a day


@pytest.fixture
def settings(make_agent, make_card) -> TrainSettings:
    """Return a training of four rollouts, validated and saved after each second one."""
    card = make_card()
    validation = ValidationSettings(days=2, num_cars=8, every_steps=2 * ROLLOUT, score=False)
    return TrainSettings(
        env=card, agent=make_agent(), total_steps=4 * ROLLOUT, validation=validation,
        checkpoint=CheckpointSettings(every_steps=2 * ROLLOUT), seed=1, out="unused",
    )  # fmt: skip


def run(settings, out, *, stop_at=0, number=signal.SIGTERM):
    """Train; ask it to stop while it validates at some step."""

    def told(steps, value):
        if steps == stop_at:
            signal.raise_signal(number)

    return train(settings, {settings.env.name: settings.env}, out, (), told)


def untimed(out):
    metrics = read_csv(out / "metrics.csv")
    return metrics[[name for name in metrics if not name.startswith("time/")]]


def test_a_stopped_and_resumed_training_is_the_same_as_one_without_a_stop(settings, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    summary = run(settings, whole)
    with pytest.raises(InterruptedBySignal) as stopped:
        run(settings, parts, stop_at=2 * ROLLOUT)
    assert stopped.value.status == 143
    assert len(untimed(parts)) == 2
    again = run(replace(settings, resume=str(parts)), parts)
    pd.testing.assert_frame_equal(untimed(parts), untimed(whole), check_exact=True)
    for name in ("best.policy", "last.policy"):
        one, other = PolicyFile.load(whole / name), PolicyFile.load(parts / name)
        assert one.card == other.card
        assert all((one.weights[key] == other.weights[key]).all() for key in one.weights)
    for key in ("steps", "best", "last"):
        assert again[key] == summary[key]
    # what was trained differs from what it began with, or all of this would say nothing
    returns = untimed(whole)["return"]
    assert returns.nunique() == 4

    _check_rows(whole, settings)


def _check_rows(out, settings):
    """One row per rollout; the validation is what `play` gives for the file."""
    metrics = read_csv(out / "metrics.csv")
    assert metrics["steps"].tolist() == [ROLLOUT, 2 * ROLLOUT, 3 * ROLLOUT, 4 * ROLLOUT]
    assert metrics["validation/usd"].notna().tolist() == [False, True, False, True]
    terms = metrics[[name for name in metrics if name.startswith("reward/")]].sum(axis=1)
    assert terms.tolist() == pytest.approx(metrics["return"].tolist())
    assert {"cost/slo", "train/loss", "train/learning_rate", "time/fps"} <= set(metrics)
    days, file = Days("validation", 0, 2, 2), str(out / "last.policy")
    usd = usd_per_car_month(play(settings.env, "learned", days, 1, {"file": file}))
    assert metrics["validation/usd"].iloc[-1] == pytest.approx(usd.mean(), rel=1e-12)
    card = PolicyFile.load(out / "last.policy").card
    assert card["training"]["steps"] == 4 * ROLLOUT
    assert card["training"]["validation"]["validation/usd"] == metrics["validation/usd"].iloc[-1]


def test_a_folder_is_only_gone_on_with_by_the_same_configuration(settings, tmp_path):
    short = replace(settings, total_steps=ROLLOUT)
    run(short, tmp_path)
    with pytest.raises(ValueError, match=r"holds a run: resume="):
        run(short, tmp_path)
    resumed = replace(short, resume=str(tmp_path))
    agent = replace(settings.agent, gamma=0.9)
    with pytest.raises(ValueError, match=r"agent\.gamma was 0\.99, is 0\.9"):
        run(replace(resumed, agent=agent), tmp_path)
    card = replace(settings.env, num_cars=9)
    with pytest.raises(ValueError, match=r"cards\.suburb\.num_cars was 8, is 9"):
        run(replace(resumed, env=card), tmp_path)
    with pytest.raises(ValueError, match=r"total_steps was 48, is 1"):
        run(replace(resumed, total_steps=1), tmp_path)
    with pytest.raises(ValueError, match="expected the folder of a run of fleet train"):
        run(replace(resumed, resume="nowhere"), tmp_path / "nowhere")
    longer = run(replace(resumed, total_steps=2 * ROLLOUT), tmp_path)
    assert longer["steps"] == 2 * ROLLOUT
    assert len(untimed(tmp_path)) == 2


def test_requests_to_stop_wait_and_the_second_does_not():
    with StopRequests() as stop:
        stop.heed()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(InterruptedBySignal) as asked:
            stop.heed()
        with pytest.raises(InterruptedBySignal):
            signal.raise_signal(signal.SIGTERM)
    assert asked.value.status == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_composes_with_every_logger_and_card(agent):
    for logger, env in product(LOGGERS, ENVS):
        settings = settings_of("train", f"agent={agent}", f"logger={logger}", f"env={env}")
        assert settings.agent.name == agent
        assert settings.env == scenario(env)
        assert settings.logger.tensorboard == (logger == "tensorboard")
        assert settings.logger.mode == ("offline" if logger == "wandb" else "disabled")


@pytest.mark.parametrize("number", range(len(AGENTS)))
def test_every_agent_composes(number):
    """Each with a logger and a card; the slow test has all combinations."""
    agent, logger = AGENTS[number], LOGGERS[number % len(LOGGERS)]
    env = ENVS[number // len(LOGGERS) % len(ENVS)]
    settings = settings_of("train", f"agent={agent}", f"logger={logger}", f"env={env}")
    assert settings.agent.name == agent


def test_the_agents_of_the_issue_are_there():
    named = "ppo_index sac_index tqc_index recurrent_index ppo_cohort ppo_cars ppo_set imitate"
    assert set(f"{named} lagrangian ppo_binary ppo_tuned".split()) == set(AGENTS)
    assert {"none", "wandb"} < set(LOGGERS)


def test_settings_of_a_training_come_from_the_command_line():
    settings = settings_of(
        "train", "agent=sac_index", "agent.options.batch_size=64", "seed=3", "cards=[storm,peak]",
        "validation.days=5",
    )  # fmt: skip
    assert settings.agent.options["batch_size"] == 64
    assert (settings.seed, settings.cards, settings.validation.days) == (3, ["storm", "peak"], 5)
    with pytest.raises(ValueError, match=r"validation\.days=0: expected 1 or more"):
        settings_of("train", "validation.days=0")
    with pytest.raises(ValueError, match="total_steps=0: expected 1 or more"):
        settings_of("train", "total_steps=0")


def test_a_verb_of_two_words_has_its_own_settings():
    assert cli.check(["bench", "train", "episodes=1"]) == ("bench_train", ["episodes=1"])
    assert cli.check(["bench", "repeats=1"]) == ("bench", ["repeats=1"])
    assert cli.check(["tune", "agent=ppo_index"]) == ("tune_agent", ["agent=ppo_index"])
    assert cli.check(["tune", "agent=index"]) == ("tune", ["agent=index"])
    with pytest.raises(ValueError, match="agent=index: a rule, for fleet tune; learners are"):
        cli.check(["bench", "train", "agent=index"])


@pytest.mark.slow
def test_the_score_is_return_over_bound_of_the_same_days(settings, tmp_path):
    short = replace(settings, total_steps=ROLLOUT)
    run(short, tmp_path / "run")
    file = tmp_path / "bounds.csv"
    validation = replace(settings.validation, score=True, bounds_file=str(file), sample_cars=8)
    cards = {"suburb": settings.env, "peak": replace(settings.env, name="peak")}
    got = Validator(cards, validation, 0).play(tmp_path / "run" / "last.policy")
    bounds = read_csv(file)
    assert len(bounds) == 4
    usd = bounds["bound_usd"].to_numpy().reshape(2, 2).mean(axis=1) / (8 / 30.4375)
    for name, bound in zip(cards, usd, strict=True):
        expected = got[f"validation/usd/{name}"] / bound
        assert got[f"validation/score/{name}"] == pytest.approx(expected, rel=0.01)
    scores = [got["validation/score/suburb"], got["validation/score/peak"]]
    assert headline(got) == got["validation/score"] == pytest.approx(sum(scores) / 2)


SMALL = (
    "env.num_cars=8", "env.step_min=60", "agent.num_cars=8", "agent.num_fleets=2", "agent.copies=2",
    "agent.net=[8]",
    "validation.days=1", "validation.num_cars=8", "validation.score=false",
)  # fmt: skip
PPO = ("agent.options.batch_size=16", "agent.options.n_epochs=1")
OFF = ("agent.options.learning_starts=8", "agent.options.batch_size=8")
SHORT = (*SMALL, f"total_steps={2 * ROLLOUT}")


@pytest.mark.slow
@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_trains_and_its_policy_is_played(fleet, agent):
    more = OFF if agent in ("sac_index", "tqc_index") else PPO
    if agent in ("imitate", "ppo_cohort"):  # those with a teacher
        more = (*more, "agent.imitate.teacher=full_cost_first", "agent.imitate.rounds=2")
        more = (*more, "agent.imitate.days=1")
    status, out, err = fleet("train", f"agent={agent}", "out=run", *SHORT, *more)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].endswith("/run")
    for name in ("manifest.json", "config.yaml", "curve.png", "best.policy", "last.policy"):
        assert (Path("run") / name).is_file()
    arguments = ("policy=learned", "policy.options.file=run/best.policy")
    card = ("env.num_cars=8", "env.step_min=60", "num_episodes=1")
    status, out, err = fleet("evaluate", *arguments, *card)
    assert (status, err) == (0, "")


@pytest.mark.slow
def test_cards_share_one_policy(fleet):
    status, _, err = fleet("train", "cards=[storm,peak]", "out=run", *SHORT, "agent.copies=1", *PPO)
    assert (status, err) == (0, "")
    metrics = read_csv(Path("run/metrics.csv"))
    mean = metrics[["return/storm", "return/peak"]].mean(axis=1)
    assert metrics["return"].tolist() == pytest.approx(mean.tolist())
    assert {"validation/usd/storm", "validation/usd/peak"} <= set(metrics)
    cards = json.loads(Path("run/manifest.json").read_text())["config"]["cards"]
    assert (cards["storm"]["step_min"], cards["peak"]["num_cars"]) == (60, 8)
    status, _, err = fleet("train", "resume=run", f"total_steps={4 * ROLLOUT}")
    assert (status, err) == (0, "")
    assert read_csv(Path("run/metrics.csv"))["steps"].tolist()[-1] == 4 * ROLLOUT
    status, _, err = fleet("train", "resume=run", "agent.gamma=0.5")
    assert status == 2
    assert "agent.gamma was 0.999, is 0.5" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        (),
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        ("hydra/launcher=submitit_local",),
    ],
    ids=["basic", "joblib", "submitit_local"],
)
def test_seeds_are_swept_with_every_launcher(tmp_path, launcher):
    if launcher:
        name = launcher[0].removeprefix("hydra/launcher=").removesuffix("_local")
        pytest.importorskip(f"hydra_plugins.hydra_{name}_launcher")
    sweep = ("hydra.sweep.dir=sweep", *launcher)
    done = _start(tmp_path, "-m", "seed=0,1", *sweep, *SHORT, *PPO)
    out, _ = done.communicate(timeout=300)
    assert done.returncode == 0, out
    folders = sorted(path.parent for path in (tmp_path / "sweep").glob("*/summary.json"))
    assert [folder.name for folder in folders] == ["0_ppo_index_suburb_0", "1_ppo_index_suburb_1"]
    one, other = (read_csv(folder / "metrics.csv")["return"].tolist() for folder in folders)
    assert one != other


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "experiments.cli", "train", *arguments]
    root = str(Path(cli.__file__).resolve().parents[1])
    env = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=env, **pipes)


LONG = (
    *SMALL, *PPO, f"total_steps={10**7}", f"validation.every_steps={10**6}",
    f"checkpoint.every_steps={4 * ROLLOUT}",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_stopped_or_killed_training_goes_on(fleet, tmp_path, number, status):
    process = _start(tmp_path, "out=run", *LONG)
    _wait_for(process, tmp_path / "run" / "checkpoints")
    process.send_signal(number)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == status, told
    if number != signal.SIGKILL:
        assert "go on with resume=run" in told
    [*_, newest] = sorted((tmp_path / "run" / "checkpoints").glob("[0-9]*"))
    state = json.loads((newest / "state.json").read_text())
    before = untimed(tmp_path / "run").iloc[: state["rows"]]
    again = _start(tmp_path, "resume=run")
    _wait_for(again, tmp_path / "run" / "checkpoints", beyond=newest.name)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=120)
    after = untimed(tmp_path / "run")
    assert len(after) > len(before)
    steps = after["steps"].tolist()
    assert steps == [ROLLOUT * (i + 1) for i in range(len(steps))]  # none missing, none twice
    pd.testing.assert_frame_equal(after.iloc[: len(before)], before, check_exact=True)


def _wait_for(process: subprocess.Popen[str], folder: Path, beyond: str = "") -> None:
    """Wait until a checkpoint newer than `beyond` lies in a folder."""
    for _ in range(1200):
        if any(path.name > beyond for path in folder.glob("[0-9]*")):
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    process.kill()
    pytest.fail(f"no checkpoint beyond {beyond or 'nothing'}: {process.communicate()[0]}")


@pytest.mark.slow
def test_bench_train_says_where_the_time_goes(fleet):
    status, out, err = fleet("bench", "train", "out=run", *SMALL[:5], *PPO)
    assert (status, err) == (0, "")
    assert "environment" in out
    [row] = read_csv(Path("run/bench_train.csv")).to_dict("records")
    shares = row["env_share"] + row["policy_share"] + row["learner_share"]
    assert shares == pytest.approx(1.0)
    assert min(row["env_share"], row["policy_share"], row["learner_share"]) > 0
    assert row["fps"] == pytest.approx(row["steps"] / row["seconds"])
    assert row["steps"] == 3 * ROLLOUT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "agent=ppo_indx"], "agent=ppo_indx: no such option; did you mean ppo_index?"),
        (["train", "agent=index"], "agent=index: a rule, for fleet tune; learners are imitate"),
        (["train", "agent.gama=0.9"], "agent.gama: no such setting of train; did you mean"),
        (["train", "agent.num_fleets=0"], "agent.num_fleets=0: expected"),
        (["train", "+agent.options.n_stps=96"], "agent.options.n_stps: did you mean 'n_steps'?"),
        (["train", "logger=wandb", "logger.mode=onlin"], "logger.mode=onlin: expected one of"),
        (["train", "cards=[stom]"], "cards=stom: no such card; did you mean storm?"),
        (["train", "cards=[storm]", "env=peak"], "env=peak: expected cards= alone"),
        (["train", "resume=nowhere"], "nowhere: expected the folder of a run"),
        (["train", "valdation.days=3"], "valdation.days: no such setting of train; did you mean"),
        (["tune", "agent=indx"], "agent=indx: no such option; did you mean index?"),
        (["tune", "agent=ppo_index", "trials=0"], "trials=0: expected 1 or more"),
        (["bench", "train", "episodes=0"], "episodes=0: expected 1 or more"),
    ],
)
def test_a_mistake_gives_one_line_and_leaves_nothing(fleet, tmp_path, arguments, message):
    status, out, err = fleet(*arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]

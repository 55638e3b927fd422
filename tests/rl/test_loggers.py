"""Rows of a training in files: metrics.csv always, tensorboard and wandb if wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from experiments import loggers
from experiments.loggers import MetricsFile
from experiments.train_settings import LoggerSettings


def test_rows_are_in_the_file_as_soon_as_they_are_written(tmp_path):
    file = tmp_path / "metrics.csv"
    metrics = MetricsFile(file, 0)
    metrics.write({"steps": 10, "return": 0.1})
    assert file.read_text() == "steps,return\n10,0.1\n"
    metrics.write({"steps": 20, "return": 1 / 3})
    assert file.read_text() == "steps,return\n10,0.1\n20,0.3333333333333333\n"


def test_a_column_that_comes_later_is_empty_before(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.csv", 0)
    for row in ({"steps": 1, "a": 1.0}, {"steps": 2, "b": 2.0}, {"steps": 3, "a": 3.0}):
        metrics.write(row)
    assert (tmp_path / "metrics.csv").read_text() == "steps,a,b\n1,1.0,\n2,,2.0\n3,3.0,\n"


def test_a_resumed_run_drops_the_rows_after_its_checkpoint(tmp_path):
    file = tmp_path / "metrics.csv"
    before = MetricsFile(file, 0)
    before.write({"steps": 1, "a": 0.1})
    before.write({"steps": 2, "a": 0.2, "b": 7.0})
    with file.open("a") as stream:
        stream.write("3,0.")  # killed while it wrote
    again = MetricsFile(file, 1)
    assert file.read_text() == "steps,a\n1,0.1\n"
    again.write({"steps": 2, "a": 0.2})
    assert file.read_text() == "steps,a\n1,0.1\n2,0.2\n"


def test_rows_of_the_checkpoint_must_be_there(tmp_path):
    MetricsFile(tmp_path / "metrics.csv", 0).write({"steps": 1})
    with pytest.raises(ValueError, match=r"metrics\.csv: 1 rows, expected the 2"):
        MetricsFile(tmp_path / "metrics.csv", 2)


def test_nobody_else_hears_of_rows_unless_asked(tmp_path):
    assert loggers.others(LoggerSettings(), tmp_path, {}, 0) == []
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(loggers, "import_module", absent)
    with pytest.raises(ValueError, match=r"logger\.mode=offline: wandb is not installed"):
        loggers.others(LoggerSettings(mode="offline"), tmp_path, {}, 0)
    with pytest.raises(ValueError, match=r"tensorboard=true: tensorboard is not installed"):
        loggers.others(LoggerSettings(tensorboard=True), tmp_path, {}, 0)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"logger\.mode=onlin: expected one of disabled, offline"):
        LoggerSettings(mode="onlin")


@pytest.mark.slow
def test_tensorboard_reads_the_rows_and_drops_what_a_resumed_run_repeats(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings = LoggerSettings(tensorboard=True)
    for begin, rows in ((0, (10, 20, 30)), (20, (25, 35))):
        [log] = loggers.others(settings, tmp_path, {}, begin)
        for steps in rows:
            log.write({"steps": steps, "return": steps + begin + 0.5})
        log.close()
    reader = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    reader.Reload()
    events = [(event.step, event.value) for event in reader.Scalars("return")]
    assert events == [(10, 10.5), (25, 45.5), (35, 55.5)]


def test_a_resumed_run_keeps_its_id(monkeypatch, tmp_path):
    begun = []
    fake = SimpleNamespace(init=lambda **told: begun.append(told["id"]), Settings=dict)
    monkeypatch.setattr(loggers, "import_module", lambda name: fake)
    config = {"agent": {"gamma": 0.9}, "total_steps": 10, "resume": "", "out": "run"}
    again = config | {"total_steps": 20, "resume": "run"}
    for one in (config, again, config | {"agent": {"gamma": 0.8}}):
        loggers.others(LoggerSettings(mode="online"), tmp_path, one, 0)
    assert begun[0] == begun[1] != begun[2]


OFFLINE = """
from pathlib import Path
from experiments import loggers
from experiments.train_settings import LoggerSettings
out = Path.cwd()
(out / "best.policy").write_bytes(b"x")
settings = LoggerSettings(mode="offline", group="of_group", name="of_run", tags=["of_tag"])
[log] = loggers.others(settings, out, {"agent": {"gamma": 0.875}}, 0)
log.write({"steps": 10, "validation/usd": 1.53125})
log.close()
"""


@pytest.mark.slow
def test_wandb_offline_needs_neither_key_nor_network(tmp_path):
    pytest.importorskip("wandb")
    root = str(Path(loggers.__file__).resolve().parents[1])
    env = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    env |= {"HOME": str(tmp_path), "PYTHONPATH": root}  # no key of this machine
    command = [sys.executable, "-c", OFFLINE]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    [file] = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    kept = file.read_bytes()  # records one after the other, texts as they are
    for text in ("of_group", "of_run", "of_tag", "gamma", "0.875", "validation/usd", "1.53125"):
        assert text.encode() in kept, text
    assert b"of_run-best" in kept


def test_a_metrics_file_reads_back_bit_for_bit(tmp_path):
    value = 0.1 + 0.2
    MetricsFile(tmp_path / "metrics.csv", 0).write({"steps": 1, "a": value})
    frame = pd.read_csv(tmp_path / "metrics.csv", float_precision="round_trip")
    assert frame["a"][0] == value

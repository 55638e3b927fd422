"""Where the rows of a training run go: always metrics.csv; tensorboard and wandb if wanted."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from experiments.records import digest, write_atomic
from experiments.train_settings import LoggerSettings, lasting

Row = Mapping[str, float]
METRICS = "metrics.csv"


class Log(Protocol):
    """Somebody who hears of every row."""

    def write(self, row: Row) -> None:
        """Take a row; its ``steps`` never go back."""
        ...

    def close(self) -> None:
        """Finish; nothing follows."""
        ...


class MetricsFile:
    """A CSV file that is whole after every row, and that a resumed run cuts to its checkpoint.

    Parameters
    ----------
    file : Path
    keep : int
        Rows of an earlier part of the run that stay; later ones are dropped.
    """

    def __init__(self, file: Path, keep: int) -> None:
        self._file = file
        self._columns, self._rows = _read(file, keep)
        self._rewrite()

    def write(self, row: Row) -> None:
        """Append a row; a column that is new to the file is empty in the rows before."""
        new = [name for name in row if name not in self._columns]
        self._columns += new
        self._rows.append({name: _text(value) for name, value in row.items()})
        if new:
            self._rewrite()
            return
        with self._file.open("a", encoding="utf-8", newline="") as stream:
            self._writer(stream).writerow(self._rows[-1])
            stream.flush()
            os.fsync(stream.fileno())

    def close(self) -> None:
        """Do nothing: the file is whole."""

    def _rewrite(self) -> None:
        def fill(path: Path) -> None:
            with path.open("w", encoding="utf-8", newline="") as stream:
                writer = self._writer(stream)
                writer.writeheader()
                writer.writerows(self._rows)

        write_atomic(self._file, fill)

    def _writer(self, stream: Any) -> csv.DictWriter[str]:
        return csv.DictWriter(stream, self._columns, restval="", lineterminator="\n")


def _read(file: Path, keep: int) -> tuple[list[str], list[dict[str, str]]]:
    if not file.is_file() or not keep:
        return [], []
    with file.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        rows = [row for row, _ in zip(reader, range(keep), strict=False)]
    if len(rows) < keep:
        raise ValueError(f"{file}: {len(rows)} rows, expected the {keep} of the checkpoint")
    columns = [name for name in reader.fieldnames or () if any(row[name] for row in rows)]
    return columns, [{name: row[name] for name in columns} for row in rows]


def _text(value: float) -> str:
    """Every digit of a float, and whole numbers as they are."""
    return str(value) if isinstance(value, int) else repr(float(value))


class Tensorboard:
    """Event files, which `tensorboard --logdir` reads.

    Parameters
    ----------
    folder : Path
    steps : int
        Where the run begins: what an earlier part wrote from there on is not shown.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        writer = _need("tensorboard.summary.writer.event_file_writer", "logger.tensorboard=true")
        events = import_module("tensorboard.compat.proto.event_pb2")
        summaries = import_module("tensorboard.compat.proto.summary_pb2")
        self._event, self._summary = events.Event, summaries.Summary
        self._writer = writer.EventFileWriter(str(folder))
        begin = events.SessionLog(status=events.SessionLog.START)
        self._add(steps, session_log=begin)

    def write(self, row: Row) -> None:
        """Write every number of the row under its name."""
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in row.items()]
        self._add(int(row["steps"]), summary=self._summary(value=values))
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()

    def _add(self, steps: int, **content: Any) -> None:
        self._writer.add_event(self._event(wall_time=time.time(), step=steps, **content))


class Wandb:
    """A run of Weights & Biases; offline it needs neither key nor network.

    A resumed run keeps its id: online it goes on, offline it is a second folder of the same run.
    """

    def __init__(self, settings: LoggerSettings, out: Path, config: Mapping[str, Any]) -> None:
        wandb = _need("wandb", f"logger.mode={settings.mode}")
        self._wandb, self._out = wandb, out
        # it takes our package `agents` for that of another project, and recommends its own tracing
        os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")
        self._run = wandb.init(
            project=settings.project,
            group=settings.group,
            name=settings.name,
            tags=list(settings.tags),
            job_type="train",
            config=dict(config),
            dir=str(out),
            mode=settings.mode,
            id=digest([str(out.resolve()), lasting(config)]),
            resume="allow" if settings.mode == "online" else None,
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )

    def write(self, row: Row) -> None:
        """Log the row at its steps."""
        self._run.log(dict(row), step=int(row["steps"]))

    def close(self) -> None:
        """Hand over the policies that were written, and finish."""
        for alias in ("best", "last"):
            file = self._out / f"{alias}.policy"
            if file.is_file():
                artifact = self._wandb.Artifact(f"{self._run.name}-{alias}", type="policy")
                artifact.add_file(str(file))
                self._run.log_artifact(artifact, aliases=[alias])
        self._run.finish()


def others(
    settings: LoggerSettings, out: Path, config: Mapping[str, Any], steps: int
) -> Sequence[Log]:
    """Open what is wanted besides metrics.csv.

    Raises
    ------
    ValueError
        If a package is not installed.
    """
    logs: list[Log] = []
    if settings.tensorboard:
        logs.append(Tensorboard(out / "tensorboard", steps))
    if settings.mode != "disabled":
        logs.append(Wandb(settings, out, config))
    return logs


def _need(module: str, asked: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise ValueError(
            f"{asked}: {package} is not installed; pip install 'fleet-env[rl]'"
        ) from None

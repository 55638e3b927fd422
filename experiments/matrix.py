"""Every policy on every card (or variant of one), on the same scenarios, resumable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from experiments.entries import Entry
from experiments.pool import Task, do_all
from experiments.records import RunFolder, read_parquet, write_parquet
from experiments.runner import Days
from experiments.traces import Trace
from fleet_env.config import EnvConfig


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is played: cells of one card and one policy each."""

    cards: Mapping[str, EnvConfig]
    policies: Sequence[Entry]
    days: Days
    seed: int
    folder: RunFolder
    under: str = ""  # folder of the records, with its slash, where they are not the main ones
    traced: bool = False  # also keep the first day of each cell step by step

    def tasks(self) -> list[Task]:
        """List the cells that no earlier run has finished."""
        return [
            Task(f"{name} {policy.label}", partial(self._play, name, policy))
            for name in self.cards
            for policy in self.policies
            if not self._file(name, policy).is_file()
        ]

    def records(self, column: str = "card") -> pd.DataFrame:
        """Read all cells, which are finished; the name of the card stands first, in `column`."""
        frames = []
        for name in self.cards:
            for policy in self.policies:
                frame = read_parquet(self._file(name, policy))
                frame.insert(0, column, name)
                frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def traces(self) -> dict[str, dict[str, pd.DataFrame]]:
        """Read the days that were kept step by step: card -> policy -> `Trace.frame`."""
        return read_traces(self.folder, self.cards, [one.label for one in self.policies])

    def _play(self, name: str, policy: Entry) -> None:
        trace = Trace(self.days.first) if self.traced else None
        found = policy.play(self.cards[name], self.days, self.seed, trace)
        if trace is not None:  # first: a cell with records is finished
            write_parquet(trace_file(self.folder, name, policy.label), trace.frame())
        write_parquet(self._file(name, policy), found)

    def _file(self, name: str, policy: Entry) -> Path:
        return self.folder.part(f"{name}/{self.under}{policy.label}")


def trace_file(folder: RunFolder, card: str, policy: str) -> Path:
    """Name the file of the day that is kept step by step."""
    return folder.part(f"{card}/traces/{policy}")


def read_traces(
    folder: RunFolder, cards: Iterable[str], policies: Sequence[str]
) -> dict[str, dict[str, pd.DataFrame]]:
    """Read the days that a run kept step by step: card -> policy -> `Trace.frame`."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for card in cards:
        files = {policy: trace_file(folder, card, policy) for policy in policies}
        found[card] = {name: read_parquet(file) for name, file in files.items() if file.is_file()}
    return found


def play_matrix(title: str, matrix: Matrix, column: str = "card", workers: int = 1) -> pd.DataFrame:
    """Play what the folder does not hold yet, behind a progress bar; return all records.

    Parameters
    ----------
    title : str
        Of the bar.
    matrix : Matrix
    column : str
        Where the name of the card goes.
    workers : int
        Processes; 0: one per core.

    Returns
    -------
    pandas.DataFrame
        Rows of `experiments.runner.play` with the name of the card.
    """
    do_all(title, matrix.tasks(), workers)
    return matrix.records(column)

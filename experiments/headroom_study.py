"""`fleet study headroom`: what the best rule leaves to the bound, by card or by feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments import headroom_report, report
from experiments.bounds import refuse, violations, with_bounds
from experiments.entries import entries
from experiments.headroom import (
    Change,
    Headroom,
    bound_tasks,
    change,
    choice_matrix,
    measure_all,
    plain_row,
    solve_bounds,
)
from experiments.matrix import Matrix
from experiments.pool import do_all
from experiments.records import RunFolder, write_csv, write_json, write_parquet
from experiments.settings import StudySettings
from fleet_env.config import EnvConfig


@dataclass(frozen=True, slots=True)
class Measured:
    """Headroom of all cards or variants of a study."""

    headroom: dict[str, Headroom]
    changes: dict[str, Change]  # of variants against the base; empty for cards
    violations: pd.DataFrame


def headroom_study(
    settings: StudySettings,
    cards: Mapping[str, EnvConfig],
    folder: RunFolder,
    base: str | None = None,
    absent: str = "",
) -> dict[str, Headroom]:
    """Measure the headroom of every card; print, write and draw it.

    Parameters
    ----------
    settings : StudySettings
        Its `env` is not played.
    cards : mapping
        Name -> card, or variant of one.
    folder : RunFolder
        Receives results.parquet (records with bounds), choice.parquet (records of the days on
        which rules are chosen), bounds.csv, headroom.csv, summary.json and headroom.png; for
        variants also changes.csv and changes.png. A rerun into the same folder does only what is
        missing.
    base : str, optional
        Variant that the others are held against.
    absent : str
        What the note says of variants that are left out.

    Returns
    -------
    dict
        Name -> headroom.

    Raises
    ------
    BoundViolationError
        After all is written, if a policy earned more than its day's bound.
    """
    column = "card" if base is None else "variant"
    measured = _measure(settings, cards, folder, column, base)
    _write(settings, measured, folder.path, column)
    _show(settings, measured, folder.path, column, absent)
    refuse(measured.violations, folder.path)
    return measured.headroom


def _measure(
    settings: StudySettings,
    cards: Mapping[str, EnvConfig],
    folder: RunFolder,
    column: str,
    base: str | None,
) -> Measured:
    played = Matrix(cards, entries(settings.policies), settings.days, settings.seed, folder)
    bound = settings.bound
    matrix = choice_matrix(played, bound)
    if matrix is None:
        raise ValueError(f"policies={settings.policies}: expected a plain rule among them")
    tasks = [*bound_tasks(played, bound), *played.tasks(), *matrix.tasks()]
    do_all(f"{settings.study.name}:", tasks, settings.workers)
    choice, bounds = matrix.records(column), solve_bounds(played, bound, column)
    records = with_bounds(played.records(column), bounds)
    write_csv(folder.path / "bounds.csv", bounds)
    write_parquet(folder.path / "choice.parquet", choice)
    write_parquet(folder.path / "results.parquet", records)
    folder.close()
    found = measure_all(records, choice, settings.seed, column)
    parts = {str(name): part for name, part in records.groupby(column, sort=False)}
    changes = {}
    if base is not None:
        changes = {
            name: change(part, parts[base], (found[name].rule, found[base].rule), settings.seed)
            for name, part in parts.items()
            if name != base
        }
    return Measured(found, changes, violations(records))


def _write(settings: StudySettings, measured: Measured, out: Path, column: str) -> None:
    found = measured.headroom
    write_csv(out / "headroom.csv", headroom_report.frame(found, column))
    notes = {name: entry.note for name, entry in settings.study.variants.items()}
    summary: dict[str, Any] = {
        "study": settings.study.name,
        "bound": asdict(settings.bound),
        f"{column}s": {name: plain_row(card) for name, card in found.items()},
        "passes_gate": [name for name, card in found.items() if card.passes],
        "notes": notes,
        "violations": measured.violations.to_dict("records"),
    }
    title = f"headroom, {settings.num_episodes} {settings.split} days per {column}"
    headroom_report.draw(found, title, out / "headroom.png")
    if measured.changes:
        summary["changes"] = {name: asdict(row) for name, row in measured.changes.items()}
        write_csv(out / "changes.csv", headroom_report.changes_frame(measured.changes))
        title = f"{settings.study.name} of {settings.env.name}: {title}"
        headroom_report.draw_changes(measured.changes, title, out / "changes.png")
    write_json(out / "summary.json", summary)


def _show(settings: StudySettings, measured: Measured, out: Path, column: str, absent: str) -> None:
    console = report.console()
    days = f"{settings.num_episodes} {settings.split} days"
    choice = f"{settings.bound.choose_episodes} {settings.bound.choose_split} days"
    title = f"headroom, {days} per {column}"
    console.print(headroom_report.table(measured.headroom, title, choice, column, absent))
    if measured.changes:
        title = f"{settings.study.name} of {settings.env.name}: change of headroom, {days}"
        console.print(headroom_report.changes_table(measured.changes, title))
    console.print(f"results: {out}", soft_wrap=True, highlight=False)

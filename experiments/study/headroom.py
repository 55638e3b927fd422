"""What the best plain rule leaves to the bound, by card or by variant of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from experiments import headroom_report, report
from experiments.bounds import refuse, violations
from experiments.headroom import Change, Headroom, change, measure_all, plain_row
from experiments.records import write_csv, write_json
from experiments.study.run import BASE, StudyRun


def report_headroom(run: StudyRun, out: Path) -> dict[str, Headroom]:
    """Write, draw and print the headroom of every card or variant.

    Parameters
    ----------
    run : StudyRun
        Its records with bounds, and a choice.
    out : Path
        Receives headroom.csv, summary.json and headroom.png; for variants also changes.csv and
        changes.png.

    Returns
    -------
    dict
        Name -> headroom.

    Raises
    ------
    BoundViolationError
        After all is written, if a policy earned more than its day's bound.
    """
    found = measure_all(run.records, run.choice, run.seed, run.column)
    changes = _changes(run, found) if run.column == "variant" else {}
    above = violations(run.records)
    _write(run, found, changes, above, out)
    _show(run, found, changes, out)
    refuse(above, out)
    return found


def _changes(run: StudyRun, found: Mapping[str, Headroom]) -> dict[str, Change]:
    groups = run.records.groupby(run.column, sort=False)
    parts = {str(name): part for name, part in groups}
    return {
        name: change(part, parts[BASE], (found[name].rule, found[BASE].rule), run.seed)
        for name, part in parts.items()
        if name != BASE
    }


def _write(
    run: StudyRun,
    found: Mapping[str, Headroom],
    changes: Mapping[str, Change],
    above: pd.DataFrame,
    out: Path,
) -> None:
    write_csv(out / "headroom.csv", headroom_report.frame(found, run.column))
    summary: dict[str, Any] = {
        "study": run.name,
        "choice": run.choice_days,
        f"{run.column}s": {name: plain_row(one) for name, one in found.items()},
        "passes_gate": [name for name, one in found.items() if one.passes],
        "notes": run.notes,
        "violations": above.to_dict("records"),
    }
    title = f"headroom, {run.days} per {run.column}"
    headroom_report.draw(found, title, out / "headroom.png")
    if changes:
        summary["changes"] = {name: asdict(row) for name, row in changes.items()}
        write_csv(out / "changes.csv", headroom_report.changes_frame(changes))
        headroom_report.draw_changes(changes, f"{run.title}: {title}", out / "changes.png")
    write_json(out / "summary.json", summary)


def _show(
    run: StudyRun, found: Mapping[str, Headroom], changes: Mapping[str, Change], out: Path
) -> None:
    console = report.console()
    title = f"headroom, {run.days} per {run.column}"
    console.print(headroom_report.table(found, title, run.choice_days, run.column, run.absent))
    if changes:
        title = f"{run.title}: change of headroom, {run.days}"
        console.print(headroom_report.changes_table(changes, title))
    console.print(f"results: {out}", soft_wrap=True, highlight=False)

"""What every variant of a card does to the money of every policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from experiments import report
from experiments.plots.study import plot_changes
from experiments.records import write_atomic, write_csv, write_json
from experiments.stats import Interval, paired
from experiments.study.run import BASE, StudyRun

HEAD_WIDTH, CELL_WIDTH = 22, 11  # of the table, most [characters]: a variant; a rule
CHANGE_NOTE = (
    "Variant minus base, mean over days; *: paired 95 % bootstrap interval (by demand day) "
    "excludes 0."
)


def report_money(run: StudyRun, out: Path) -> pd.DataFrame:
    """Write, draw and print the changes.

    Parameters
    ----------
    run : StudyRun
    out : Path
        Receives changes.csv, summary.json and changes.png.

    Returns
    -------
    pandas.DataFrame
        One row per variant and policy: `base` (USD per car-month of the card itself), `change`
        (variant minus base, mean over the same days), `low`, `high` (95 %).
    """
    changes = compute_changes(run.records, run.seed)
    write_csv(out / "changes.csv", changes)
    write_json(out / "summary.json", _summary(run, changes))
    moving = changes[changes["policy"] != report.REFERENCE]  # 0 by construction, on every card
    _draw(moving, run.title, out / "changes.png")
    _show(moving, run, out)
    return changes


def compute_changes(records: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Compare each variant with the card itself, policy by policy, paired by day.

    Days are resampled by the demand day that they replay on the card itself.
    """
    return pd.DataFrame(list(_changes(records, seed)))


def _changes(records: pd.DataFrame, seed: int) -> Iterator[dict[str, Any]]:
    parts = {
        key: part.sort_values("scenario")
        for key, part in records.groupby(["variant", "policy"], sort=False)
    }
    for (variant, policy), part in parts.items():
        if variant != BASE:
            before = parts[BASE, policy]
            base, now = report.usd_per_car_month(before), report.usd_per_car_month(part)
            days = before["trace_day"].to_numpy()
            change = paired(now, base, np.random.default_rng(seed), days)
            row = {"variant": variant, "policy": policy, "base": float(base.mean())}
            yield row | {"change": change.point, "low": change.low, "high": change.high}


def _summary(run: StudyRun, changes: pd.DataFrame) -> dict[str, Any]:
    moved = changes[(changes["low"] > 0) | (changes["high"] < 0)]["variant"].unique()
    still = [name for name in changes["variant"].unique() if name not in moved]
    head = {"study": run.name, "env": run.env, "notes": run.notes}
    return {**head, "changes_no_policy": still, "changes": changes.to_dict("records")}


def _draw(changes: pd.DataFrame, title: str, file: Path) -> None:
    size = (3.5 + 0.8 * changes["policy"].nunique(), 2.0 + 0.32 * changes["variant"].nunique())
    figure = Figure(figsize=size, layout="constrained")
    plot_changes(figure.add_subplot(), changes)
    figure.suptitle(title, x=0.01, ha="left")
    write_atomic(file, lambda path: figure.savefig(path, dpi=150, format="png"))


def _show(changes: pd.DataFrame, run: StudyRun, out: Path) -> None:
    console = report.console()
    if run.show_money:
        title = f"{run.title}: USD per car-month (mean over days)"
        for table in _tables(title, "", _with_base(changes), _money):
            console.print(table)
    title = f"{run.title}: change of USD per car-month (mean over days)"
    for table in _tables(title, CHANGE_NOTE + run.absent, changes, _cell):
        console.print(table)
    console.print(f"results: {out}", soft_wrap=True, highlight=False)


def _tables(
    title: str, note: str, rows: pd.DataFrame, cell: Callable[[Any], str]
) -> Iterator[Table]:
    """Lay out variants down and policies across, in blocks that fit, the note below the last."""
    policies = list(rows["policy"].unique())
    for block in report.blocks(policies, width=CELL_WIDTH, beside=HEAD_WIDTH):
        table = report.new_table(title, note if block[-1] == policies[-1] else "")
        table.add_column("variant", no_wrap=True)
        for policy in block:
            table.add_column(policy.replace("_", "\n"), justify="right", no_wrap=True)
        for variant, part in rows.groupby("variant", sort=False):
            cells = part.set_index("policy").loc[block]
            table.add_row(str(variant), *(cell(row) for row in cells.itertuples()))
        yield table


def _with_base(changes: pd.DataFrame) -> pd.DataFrame:
    """Put the card itself first, as a variant that changes nothing."""
    base = changes.drop_duplicates("policy").assign(variant=BASE, change=0.0)
    return pd.concat([base, changes], ignore_index=True)


def _money(row: Any) -> str:
    return f"{row.base + row.change:+.3f}"


def _cell(row: Any) -> str:
    mark = "*" if Interval(row.low, row.change, row.high).excludes_zero else " "
    return f"{row.change:+.3f}{mark}"

"""Headroom of several cards or variants: their table, their rows of a CSV file, their figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from experiments import report
from experiments.headroom import NOTE, Change, Headroom, sentence, share_text, usd_text
from experiments.plots.headroom import plot_headroom, plot_headroom_changes
from experiments.records import flat, write_atomic

CHANGE_NOTE = (
    "Variant minus base, paired by day; *: 95 % bootstrap interval by demand day excludes 0. Bound "
    "and headroom in USD per car-month, headroom also as a share of the bound."
)


def table(
    found: Mapping[str, Headroom], title: str, choice: str, column: str = "card", extra: str = ""
) -> Table:
    """Lay out the headroom of every card, one line each.

    Parameters
    ----------
    found : mapping
        Label of the card -> its headroom.
    title : str
    choice : str
        Days on which the rules were chosen.
    column : str
        What the lines are: cards or variants.
    extra : str
        More of the note.
    """
    out = report.new_table(title, NOTE.format(choice=choice) + extra)
    out.add_column(column, no_wrap=True)
    for name in ("best plain rule\nUSD/car-month", "bound", "headroom\nUSD/car-month"):
        out.add_column(name, justify="right", no_wrap=True)
    out.add_column("best planner,\nabove the rule", justify="right", no_wrap=True)
    out.add_column("verdict", no_wrap=True)
    for label, card in found.items():
        rule = f"{card.rule}\n{card.rule_usd.point:+.2f}"
        share = "-" if card.share is None else share_text(card.share)
        left, bound = f"{share}\n{usd_text(card.usd)}", f"\n{card.bound.point:+.2f}"
        out.add_row(label, rule, bound, left, _planner(card), card.verdict)
    return out


def _planner(card: Headroom) -> str:
    name = card.planner
    return "-" if name is None else f"{name}\n{usd_text(card.planners[name])}"


def changes_table(changes: Mapping[str, Change], title: str, extra: str = "") -> Table:
    """Lay out what every variant does to the headroom, the largest change first."""
    out = report.new_table(title, CHANGE_NOTE + extra)
    out.add_column("variant", no_wrap=True)
    for name in ("bound", "headroom", "share"):
        out.add_column(name, justify="right", no_wrap=True)
    for label, change in ordered(changes).items():
        share = "-" if change.share is None else _points(change)
        out.add_row(label, f"{change.bound.point:+.3f}", _marked(change), share)
    return out


def ordered(changes: Mapping[str, Change]) -> dict[str, Change]:
    """Sort variants by how much headroom they bring, the most first."""
    return dict(sorted(changes.items(), key=lambda item: -item[1].usd.point))


def _marked(change: Change) -> str:
    return usd_text(change.usd) + ("*" if change.usd.excludes_zero else " ")


def _points(change: Change) -> str:
    share = change.share
    if share is None:
        return "-"
    low, point, high = (f"{100 * end:+.1f}" for end in (share.low, share.point, share.high))
    return f"{point} [{low}, {high}] points" + ("*" if share.excludes_zero else " ")


def frame(found: Mapping[str, Headroom], column: str = "card") -> pd.DataFrame:
    """One row per card, every figure in a column of its own; `best_planner` beside all planners."""
    return pd.DataFrame([{column: label} | row for label, row in _rows(found)])


def _rows(found: Mapping[str, Headroom]) -> Iterator[tuple[str, dict[str, Any]]]:
    for label, card in found.items():
        row = dict(flat(asdict(card)))
        row = {key: value for key, value in row.items() if value not in ({}, None)}
        verdict = {"verdict": card.verdict, "sentence": sentence(card)}
        yield label, row | {"best_planner": card.planner} | verdict


def changes_frame(changes: Mapping[str, Change]) -> pd.DataFrame:
    """One row per variant."""
    rows = [{"variant": label} | dict(flat(asdict(change))) for label, change in changes.items()]
    return pd.DataFrame(rows)


def draw(found: Mapping[str, Headroom], title: str, file: Path) -> None:
    """Draw the headroom of all cards into a PNG file."""
    figure = Figure(figsize=(11, 1.8 + 0.42 * len(found)), layout="constrained")
    plot_headroom(figure.add_subplot(), found)
    figure.suptitle(title, x=0.01, ha="left")
    write_atomic(file, lambda path: figure.savefig(path, dpi=150, format="png"))


def draw_changes(changes: Mapping[str, Change], title: str, file: Path) -> None:
    """Draw the change of headroom of all variants into a PNG file."""
    figure = Figure(figsize=(8, 1.6 + 0.26 * len(changes)), layout="constrained")
    plot_headroom_changes(figure.add_subplot(), ordered(changes))
    figure.suptitle(title, x=0.01, ha="left")
    write_atomic(file, lambda path: figure.savefig(path, dpi=150, format="png"))

"""What a comparison on one card writes, draws and prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.figure import Figure

from experiments import report, score
from experiments.bounds import refuse
from experiments.headroom import NOTE, sentence
from experiments.html.page import write_page
from experiments.plots.compare import plot_money
from experiments.records import write_atomic, write_json
from experiments.results import Results
from experiments.scale import Scale

WIDTH_OF_TITLE = 110  # of the figure [characters]


def report_card(results: Results, out: Path) -> list[dict[str, Any]]:
    """Write, draw and print what came out on the one card that was played.

    Parameters
    ----------
    results : Results
    out : Path
        Receives summary.json, compare.png and report.html.

    Returns
    -------
    list of dict
        Figures of `experiments.report.summarise`, best policy first; with bounds also those of
        `experiments.score.scores`.

    Raises
    ------
    BoundViolationError
        After all is written, if a policy earned more than its day's bound.
    """
    [(card, rows)], scale = results.rows.items(), results.scale
    summary: dict[str, Any] = {"env": card}
    if scale is not None:
        summary |= scale.of_all() | scale.of_card(card)
    write_json(out / "summary.json", summary | {"policies": rows})
    draw(rows, card, out / "compare.png", scale)
    write_page(results, out / "report.html")
    title = f"{card}: {results.days}"
    if scale is not None:
        show_scale(rows, card, title, scale)
    show(rows, title, out)
    if scale is not None:
        refuse(scale.violations, out)
    return rows


def draw(rows: Sequence[dict[str, Any]], env: str, file: Path, scale: Scale | None = None) -> None:
    """Draw the comparison into a PNG file."""
    figure = Figure(figsize=(9, 1.9 + 0.45 * len(rows)), layout="constrained")
    plot_money(figure.add_subplot(), rows, None if scale is None else scale.bound[env])
    title = "{episodes} days per policy ({demand_days} distinct demand days)".format(**rows[0])
    title = f"{env}: {title}"
    if scale is not None and scale.headroom:
        title += "\n" + fill(sentence(scale.headroom[env]), WIDTH_OF_TITLE)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    write_atomic(file, lambda path: figure.savefig(path, dpi=150, format="png"))


def show_scale(rows: Sequence[dict[str, Any]], env: str, title: str, scale: Scale) -> None:
    """Print the scores and the headroom of the card."""
    console = report.console()
    console.print(score.table(rows, scale.bound[env], f"{title}, score"))
    if scale.headroom:
        console.print(sentence(scale.headroom[env]), highlight=False)
        console.print(NOTE.format(choice=scale.choice), style="dim italic", highlight=False)
    console.print()


def show(rows: Sequence[dict[str, Any]], title: str, out: Path) -> None:
    """Print the tables and where the files lie."""
    console = report.console()
    for name, columns, note in (
        ("money, mean over days", report.money_columns(rows), report.MONEY_NOTE.format(**rows[0])),
        ("money by term, mean over days", report.TERMS, report.TERMS_NOTE),
        ("service", report.SERVICE, report.SERVICE_NOTE),
        ("energy", report.ENERGY, report.ENERGY_NOTE),
    ):
        console.print(report.table(rows, columns, f"{title}, {name}", note))
    console.print(f"results: {out}", soft_wrap=True, highlight=False)

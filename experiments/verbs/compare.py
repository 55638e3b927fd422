"""`fleet compare`: every rule on the same test days, on one card or on several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import hydra
from matplotlib.figure import Figure
from omegaconf import DictConfig

from experiments import deck, report, schema, score
from experiments.across import compare_cards
from experiments.bounds import refuse
from experiments.entries import entries, files_of
from experiments.headroom import NOTE, sentence
from experiments.matrix import play_matrix
from experiments.plots.compare import plot_money
from experiments.records import RunFolder, write_atomic, write_csv, write_json
from experiments.scale import Scale, measure_scale
from experiments.seeds import Pooled
from experiments.settings import CompareSettings, RunSettings

WIDTH_OF_TITLE = 110  # of the figure [characters]

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="compare")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, CompareSettings, _one_or_several)


def _one_or_several(settings: CompareSettings, out: Path) -> None:
    if settings.cards:
        compare_cards(settings, deck.compose_cards(settings.cards), out)
    else:
        compare(settings, out)


def compare(settings: CompareSettings, out: Path) -> list[dict[str, Any]]:
    """Play all policies on the same days; print, write and draw what came out.

    Parameters
    ----------
    settings : CompareSettings
    out : Path
        Receives results.csv, summary.json, compare.png and manifest.json, and with `bound` also
        bounds.csv and choice.csv (records of the days on which the best plain rule is chosen); a
        rerun into the same folder plays and solves only what is missing.

    Returns
    -------
    list of dict
        Figures of `experiments.report.summarise`, best policy first; with `bound` also those of
        `experiments.score.scores`.

    Raises
    ------
    BoundViolationError
        After all is written, if a policy earned more than its day's bound.
    """
    card, played = settings.env, entries(settings.policies)
    folder = RunFolder.open(out, "compare", schema.plain(settings) | files_of(played))
    cards, days, seed = {card.name: card}, settings.days, settings.seed
    records = play_matrix("compare:", cards, played, days, seed, folder)
    pooled, scale = Pooled.of(records), None
    if settings.bound.solve:
        scale = measure_scale(cards, played, records, settings.bound, days, seed, folder)
        records, pooled = scale.records, Pooled.of(scale.records)
    write_csv(out / "results.csv", records.drop(columns="card"))
    rows = pooled.summarise(card, seed)
    summary: dict[str, Any] = {"env": card.name}
    if scale is not None:
        rows = scale.scored(card.name, rows)
        summary |= scale.of_all() | scale.of_card(card.name)
    write_json(out / "summary.json", summary | {"policies": rows})
    draw(rows, settings.env.name, out / "compare.png", scale)
    if scale is not None:
        show_scale(rows, settings, scale)
    show(rows, settings, out)
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


def show_scale(rows: Sequence[dict[str, Any]], settings: RunSettings, scale: Scale) -> None:
    """Print the scores and the headroom of the card."""
    console, env = report.console(), settings.env.name
    title = f"{env}: {settings.num_episodes} {settings.split} days, score"
    console.print(score.table(rows, scale.bound[env], title))
    if scale.headroom:
        console.print(sentence(scale.headroom[env]), highlight=False)
        console.print(NOTE.format(choice=scale.choice), style="dim italic", highlight=False)
    console.print()


def show(rows: Sequence[dict[str, Any]], settings: RunSettings, out: Path) -> None:
    """Print the tables and where the files lie."""
    console = report.console()
    title = f"{settings.env.name}: {settings.num_episodes} {settings.split} days"
    for name, columns, note in (
        ("money, mean over days", report.money_columns(rows), report.MONEY_NOTE.format(**rows[0])),
        ("money by term, mean over days", report.TERMS, report.TERMS_NOTE),
        ("service", report.SERVICE, report.SERVICE_NOTE),
        ("energy", report.ENERGY, report.ENERGY_NOTE),
    ):
        console.print(report.table(rows, columns, f"{title}, {name}", note))
    console.print(f"results: {out}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()

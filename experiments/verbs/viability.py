"""`fleet study viability`: of 100 GW of parked cars, what is left, and at what price."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import hydra
import pandas as pd
from omegaconf import DictConfig

from experiments import deck, report, schema
from experiments.bounds import refuse
from experiments.entries import Entry, entries, files_of
from experiments.gather import gather
from experiments.matrix import Matrix
from experiments.records import (
    RunFolder,
    read_config,
    read_parquet,
    write_csv,
    write_json,
    write_parquet,
)
from experiments.results import Results
from experiments.settings import ViabilitySettings
from experiments.viability.figures import Viability, figures, stand_ins
from experiments.viability.funnel import Funnel
from experiments.viability.scenes import scenes
from experiments.viability.verdict import verdict
from experiments.viability.write import tables, write
from fleet_env.config import EnvConfig

FUNNEL = "funnel.parquet"

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="viability")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, ViabilitySettings, viability)


def viability(settings: ViabilitySettings, out: Path) -> Viability:
    """Play all fleets, work out the numbers and write the report.

    Parameters
    ----------
    settings : ViabilitySettings
    out : Path
        Receives what `fleet compare` leaves (results.parquet, bounds.csv, choice.parquet),
        funnel.parquet, manifest.json, and what `report_viability` writes; a rerun plays only what
        is missing.
    """
    found = scenes(deck.small(settings.env, settings.max_cars))
    cards = {name: scene.config for name, scene in found.items()}
    played = entries([*settings.rules, *settings.learned], "rules")
    content = deck.plain_cards(settings, cards) | files_of(played)
    folder = RunFolder.open(out, "viability", content)
    matrix = Matrix(cards, played, settings.days, settings.seed, folder)
    bound, title = settings.bound, "viability:"
    results = gather(matrix, bound, workers=settings.workers, title=title, choose_learned=True)
    write_parquet(out / FUNNEL, _funnel(matrix, results))
    return report_viability(out, out, Path(settings.docs) if settings.docs else None)


def report_viability(path: Path, out: Path, docs: Path | None = None) -> Viability:
    """Print and write what the study found, from its records alone.

    Parameters
    ----------
    path : Path
        Folder of the run.
    out : Path
        Receives one CSV per table, viability.md and viability.html with their figures, and
        summary.json.
    docs : Path, optional
        File that also receives the Markdown.

    Raises
    ------
    BoundViolationError
        After all is written, if a policy earned more than its day's bound.
    """
    read_config(path, ("viability",), needs=(FUNNEL,))
    results, funnel = Results.load(path), read_parquet(path / FUNNEL)
    if path != out:
        results.save(out)
        write_parquet(out / FUNNEL, funnel)
    found = figures(results, funnel)
    _write(found, out, docs)
    if results.scale is not None:
        refuse(results.scale.violations, out)
    return found


def _funnel(matrix: Matrix, results: Results) -> pd.DataFrame:
    """Play the rule of every fleet once more, and count cars at every step."""
    frames = []
    for name, card in matrix.cards.items():
        rule = stand_ins(results, name)["rule"]
        count = partial(_count, card, Entry.parse(rule), matrix)
        frames.append(matrix.folder.get(f"{name}/funnel/{rule}", count).assign(scene=name))
    return pd.concat(frames, ignore_index=True)


def _count(card: EnvConfig, rule: Entry, matrix: Matrix) -> pd.DataFrame:
    funnel = Funnel(card)
    rule.play(card, matrix.days, matrix.seed, funnel)
    return funnel.frame()


def _write(found: Viability, out: Path, docs: Path | None) -> None:
    console = report.console()
    for name, frame in tables(found).items():
        write_csv(out / f"{name}.csv", frame)
        shown = report.new_table(f"viability, {name.replace('_', ' ')}", "")
        for column in frame:
            shown.add_column(str(column), overflow="fold")
        for row in frame.itertuples(index=False):
            shown.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row))
        console.print(shown)
    lines = verdict(found)
    write_json(out / "summary.json", {"verdict": lines, "policies": found.policies})
    write(found, out, docs)
    for line in lines:
        console.print(f"- {line}", highlight=False)
    console.print(f"results: {out}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()

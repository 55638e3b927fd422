"""`fleet study NAME`: a table of changed settings, and what each does to money or headroom."""

from __future__ import annotations

from pathlib import Path

import hydra
import pandas as pd
from omegaconf import DictConfig

from experiments import deck, schema
from experiments.bounds import with_bounds
from experiments.entries import entries, files_of
from experiments.headroom import Headroom, bound_tasks, choice_matrix, solve_bounds
from experiments.matrix import Matrix, play_matrix
from experiments.nearest import nearest
from experiments.pool import do_all
from experiments.records import (
    BOUNDS,
    CHOICE,
    RECORDS,
    RunFolder,
    write_csv,
    write_parquet,
)
from experiments.settings import StudySettings
from experiments.study.headroom import report_headroom
from experiments.study.money import report_money
from experiments.study.run import BASE, StudyRun
from fleet_env.config import EnvConfig

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="study")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, StudySettings, study)


def study(settings: StudySettings, out: Path) -> pd.DataFrame | dict[str, Headroom]:
    """Play every policy on the card and on every variant of it, or on cards; report what came out.

    Parameters
    ----------
    settings : StudySettings
    out : Path
        Receives results.parquet (all records) and manifest.json; with measure=headroom also
        bounds.csv and choice.parquet (records of the days on which rules are chosen); and what
        `report_study` writes. A rerun into the same folder does only what is missing.

    Returns
    -------
    pandas.DataFrame or dict
        As of `report_study`, which also raises.
    """
    if settings.measure == "money" and settings.cards:
        raise ValueError(f"cards={settings.cards}: only with measure=headroom")
    matrix, column = _matrix(settings, out)
    if settings.measure == "money":
        records = play_matrix(f"{settings.study.name}:", matrix, column, settings.workers)
    else:
        records = _play_bounded(settings, matrix, column, out)
    write_parquet(out / RECORDS, records)  # last: a run that has them is finished
    matrix.folder.close()
    return report_study(out, out)


def report_study(path: Path, out: Path) -> pd.DataFrame | dict[str, Headroom]:
    """Print, write and draw what a study found, from its records alone.

    Parameters
    ----------
    path : Path
        Folder of the run.
    out : Path
        Receives what `experiments.study.money.report_money` or
        `experiments.study.headroom.report_headroom` writes.
    """
    run = StudyRun.load(path)
    if path != out:
        run.save(out)
    return report_money(run, out) if run.measure == "money" else report_headroom(run, out)


def _matrix(settings: StudySettings, out: Path) -> tuple[Matrix, str]:
    """Lay out what is played, and say what its cards are: variants of one, or cards."""
    policies = entries(settings.policies)
    if settings.cards:
        cards, content = deck.cut(settings, deck.compose_cards(settings.cards))
    else:
        cards, content = variants(settings), schema.plain(settings)
    folder = RunFolder.open(out, "study", content | files_of(policies))
    matrix = Matrix(cards, policies, settings.days, settings.seed, folder)
    return matrix, "card" if settings.cards else "variant"


def _play_bounded(settings: StudySettings, played: Matrix, column: str, out: Path) -> pd.DataFrame:
    """Play and bound all days, and play those on which rules are chosen."""
    choice = choice_matrix(played, settings.bound)
    if choice is None:
        raise ValueError(f"policies={settings.policies}: expected a plain rule among them")
    tasks = [*bound_tasks(played, settings.bound), *played.tasks(), *choice.tasks()]
    do_all(f"{settings.study.name}:", tasks, settings.workers)
    bounds = solve_bounds(played, settings.bound, column)
    write_csv(out / BOUNDS, bounds)
    write_parquet(out / CHOICE, choice.records(column))
    return with_bounds(played.records(column), bounds)


def variants(settings: StudySettings) -> dict[str, EnvConfig]:
    """Cards of the study by name, the unchanged one first; what changes nothing is left out.

    Raises
    ------
    ValueError
        If `only` names an unknown variant or a variant changes an unknown setting.
    """
    table = settings.study.variants
    for name in settings.only:
        if name not in table:
            raise ValueError(f"only={name}: no such variant{nearest(name, table)}")
    names = settings.only or list(table)
    changed = {name: schema.changed(settings.env, table[name].overrides) for name in names}
    return {BASE: settings.env} | {n: card for n, card in changed.items() if card != settings.env}


if __name__ == "__main__":
    main()

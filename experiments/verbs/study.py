"""`fleet study NAME`: a table of changed settings, and what each does to money or headroom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.table import Table

from experiments import deck, report, schema
from experiments.entries import entries, files_of
from experiments.headroom import Headroom
from experiments.headroom_study import headroom_study
from experiments.matrix import Matrix, play_matrix
from experiments.nearest import nearest
from experiments.plots.study import plot_changes
from experiments.records import RunFolder, write_atomic, write_csv, write_json, write_parquet
from experiments.settings import StudySettings
from experiments.stats import Interval, paired
from fleet_env.config import EnvConfig

BASE = "base"
HEAD_WIDTH, CELL_WIDTH = 22, 11  # of the table, most [characters]: a variant; a rule

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="study")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, StudySettings, _study)


def _study(settings: StudySettings, out: Path) -> None:
    if settings.measure == "money":
        if settings.cards:
            raise ValueError(f"cards={settings.cards}: only with measure=headroom")
        study(settings, out)
    elif settings.cards:
        headroom_of_cards(settings, deck.compose_cards(settings.cards), out)
    else:
        headroom_of_variants(settings, out)


def headroom_of_cards(
    settings: StudySettings, cards: Mapping[str, EnvConfig], out: Path
) -> dict[str, Headroom]:
    """Measure the headroom of every card; see `experiments.headroom_study`."""
    played = {name: deck.small(card, settings.max_cars) for name, card in cards.items()}
    files = files_of(entries(settings.policies))
    folder = RunFolder.open(out, "study", deck.plain_cards(settings, played) | files)
    cut = [name for name in cards if played[name].num_cars < cards[name].num_cars]
    note = f" Played with {settings.max_cars:,} cars: {', '.join(cut)}." if cut else ""
    return headroom_study(settings, played, folder, absent=note)


def headroom_of_variants(settings: StudySettings, out: Path) -> dict[str, Headroom]:
    """Measure what every variant does to the headroom; see `experiments.headroom_study`."""
    cards = variants(settings)
    files = files_of(entries(settings.policies))
    folder = RunFolder.open(out, "study", schema.plain(settings) | files)
    return headroom_study(settings, cards, folder, BASE, _absent(settings, cards))


def study(settings: StudySettings, out: Path) -> pd.DataFrame:
    """Play every policy on the card and on every variant of it; print and write the changes.

    Parameters
    ----------
    settings : StudySettings
    out : Path
        Receives results.parquet (all records), changes.csv, summary.json, changes.png and
        manifest.json; a rerun into the same folder plays only what is missing.

    Returns
    -------
    pandas.DataFrame
        One row per variant and policy: `base` (USD per car-month of the card itself), `change`
        (variant minus base, mean over the same days), `low`, `high` (95 %).
    """
    cards = variants(settings)
    policies = entries(settings.policies)
    folder = RunFolder.open(out, "study", schema.plain(settings) | files_of(policies))
    title = f"{settings.study.name}:"
    matrix = Matrix(cards, policies, settings.days, settings.seed, folder)
    records = play_matrix(title, matrix, "variant", settings.workers)
    write_parquet(out / "results.parquet", records)
    folder.close()
    changes = compute_changes(records, settings.seed)
    write_csv(out / "changes.csv", changes)
    write_json(out / "summary.json", _summary(settings, changes))
    moving = changes[changes["policy"] != report.REFERENCE]  # 0 by construction, on every card
    _draw(moving, settings, out / "changes.png")
    _show(moving, settings, out)
    return changes


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


def _summary(settings: StudySettings, changes: pd.DataFrame) -> dict[str, Any]:
    notes = {name: entry.note for name, entry in settings.study.variants.items()}
    moved = changes[(changes["low"] > 0) | (changes["high"] < 0)]["variant"].unique()
    still = [name for name in changes["variant"].unique() if name not in moved]
    head = {"study": settings.study.name, "env": settings.env.name, "notes": notes}
    return {**head, "changes_no_policy": still, "changes": changes.to_dict("records")}


def _draw(changes: pd.DataFrame, settings: StudySettings, file: Path) -> None:
    size = (3.5 + 0.8 * changes["policy"].nunique(), 2.0 + 0.32 * changes["variant"].nunique())
    figure = Figure(figsize=size, layout="constrained")
    plot_changes(figure.add_subplot(), changes)
    figure.suptitle(f"{settings.study.name} of {settings.env.name}", x=0.01, ha="left")
    write_atomic(file, lambda path: figure.savefig(path, dpi=150, format="png"))


def _show(changes: pd.DataFrame, settings: StudySettings, out: Path) -> None:
    note = (
        "Variant minus base, mean over days; *: paired 95 % bootstrap interval (by demand day) "
        "excludes 0."
    )
    note += _absent(settings, changes["variant"])
    head = f"{settings.study.name} of {settings.env.name}"
    console = report.console()
    if settings.study.show_money:
        title = f"{head}: USD per car-month (mean over days)"
        for table in _tables(title, "", _with_base(changes), _money):
            console.print(table)
    title = f"{head}: change of USD per car-month (mean over days)"
    for table in _tables(title, note, changes, _cell):
        console.print(table)
    console.print(f"results: {out}", soft_wrap=True, highlight=False)


def _absent(settings: StudySettings, played: Iterable[str]) -> str:
    """Name the variants that are left out."""
    absent = set(settings.only or settings.study.variants) - set(played)
    return f" Left out, as they change nothing here: {', '.join(sorted(absent))}." if absent else ""


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


if __name__ == "__main__":
    main()

"""`fleet study viability`: of 100 GW of parked cars, what is left, and at what price."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import hydra
import pandas as pd
from omegaconf import DictConfig

from experiments import deck, report, schema
from experiments.bounds import refuse
from experiments.entries import Entry, entries, files_of
from experiments.gather import gather
from experiments.headroom import choose, is_plain
from experiments.matrix import Matrix
from experiments.records import RunFolder, write_csv, write_json
from experiments.results import Results
from experiments.settings import ViabilitySettings
from experiments.viability.figures import Viability, figures
from experiments.viability.funnel import Funnel
from experiments.viability.scenes import Scene, scenes
from experiments.viability.verdict import verdict
from experiments.viability.write import tables, write

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
        Receives results.parquet, bounds.csv, choice.parquet, one CSV per table, viability.md and
        viability.html with their figures, summary.json and manifest.json; a rerun plays only what
        is missing.
    """
    found_scenes = scenes(deck.small(settings.env, settings.max_cars))
    played = entries([*settings.rules, settings.learned], "rules")
    folder = RunFolder.open(out, "viability", schema.plain(settings) | files_of(played))
    cards = {name: scene.config for name, scene in found_scenes.items()}
    matrix = Matrix(cards, played, settings.days, settings.seed, folder)
    results = gather(matrix, settings.bound, workers=settings.workers, title="viability:")
    policies = {name: {"rule": _rule(results, name), "learned": settings.learned} for name in cards}
    funnels, kw = _funnels(found_scenes, policies, settings)
    found = figures(found_scenes, results, policies, funnels, kw)
    _write(found, settings, out)
    if results.scale is not None:
        refuse(results.scale.violations, out)
    return found


def _rule(results: Results, card: str) -> str:
    """Name the plain rule that was best on other days, of those that use cars."""
    choice = results.choice
    records = results.records if choice is None else choice
    part = records[records["card"] == card]
    used_h = part.groupby("policy")["metric/on_duty_h"].transform("sum")
    rule = choose(part[used_h > 0], is_plain)
    if rule is None:
        raise ValueError(f"rules: none of them uses a car of {card}; name one more")
    return rule


def _funnels(
    found: Mapping[str, Scene],
    policies: Mapping[str, Mapping[str, str]],
    settings: ViabilitySettings,
) -> tuple[dict[str, pd.DataFrame], dict[str, tuple[float, float]]]:
    """Play the rule of every fleet once more, and count cars at every step."""
    frames, kw = {}, {}
    for name, scene in found.items():
        funnel = Funnel(scene.config)
        rule = Entry.parse(policies[name]["rule"])
        rule.play(scene.config, settings.days, settings.seed, funnel)
        frames[name] = funnel.frame()
        count, awake, busy = funnel.kw
        kw[name] = (float(awake / count), float(busy / count))
    return frames, kw


def _write(found: Viability, settings: ViabilitySettings, out: Path) -> None:
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
    write(found, out, Path(settings.docs) if settings.docs else None)
    for line in lines:
        console.print(f"- {line}", highlight=False)
    console.print(f"results: {out}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()

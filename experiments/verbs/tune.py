"""`fleet tune agent=index`: search the weights of the tuned index on train days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from omegaconf import DictConfig

import fleet_env
from agents.index.parameters import Space, TunedFile
from agents.index.scores import earned, same_for_all, train_days
from agents.index.search import History, SearchSettings, finalists, search
from experiments import report, schema
from experiments.entries import Entry, entries
from experiments.nearest import nearest
from experiments.plots.tune import plot_search
from experiments.records import RunFolder, write_atomic, write_csv, write_json, write_parquet
from experiments.runner import Days, play, progress
from experiments.settings import TuneSettings
from fleet_env.config import EnvConfig
from fleet_env.types import FloatArray

AGENTS = ("index",)
TUNED = "tuned_index"
SEEN_DAYS = 4  # of the train days, on which features are looked at; est
NOTE = (
    " {tuned} was searched on train days, but chosen on these days among {count} candidates, "
    "which flatters it a little: compare it on test days."
)

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="tune")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, TuneSettings, tune)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the validation days chose."""

    parameters: FloatArray  # (n,)
    where: str  # which candidate it was
    num_finalists: int
    curve: pd.DataFrame


def tune(settings: TuneSettings, out: Path) -> TunedFile:
    """Search, choose on validation days, and hold the choice against the best rules.

    Parameters
    ----------
    settings : TuneSettings
    out : Path
        Receives index.yaml (the policy), search.npz (all that is needed to go on), curve.csv,
        curve.png, results.parquet, summary.json and manifest.json. A rerun into the same folder
        goes on where it stopped, also with more generations.

    Returns
    -------
    TunedFile
        As written into index.yaml.
    """
    if settings.agent not in AGENTS:
        learners = schema.agent_names()  # experiments.verbs.tune_agent searches theirs
        hint, listed = nearest(settings.agent, [*AGENTS, *learners]), ", ".join(AGENTS)
        raise ValueError(
            f"agent={settings.agent}: no such agent{hint} ({listed}) or learner "
            f"({', '.join(learners)})"
        )
    asked = SearchSettings(settings.generations, settings.popsize, settings.sigma, settings.seed)
    rivals = [rival for rival in entries(settings.rivals, "rivals") if rival.label != TUNED]
    card = replace(settings.env, num_cars=settings.num_cars)
    content = schema.plain(settings, without=("out", "debug", "generations", "rivals"))
    folder = RunFolder.open(out, "tune", content)
    same = same_for_all(card, train_days(0, min(settings.num_days, SEEN_DAYS)))
    space = Space.without(same)
    history = find(card, asked, settings.num_days, space, out / "search.npz")
    choice = choose(card, settings, space, history)
    write_csv(out / "curve.csv", choice.curve)
    rows = _compare(card, settings, choice, rivals, folder)
    found = _found(card, settings, choice, rows) | {"same_for_all_cars": list(same)}
    tuned = TunedFile.of_vector(choice.parameters, found)
    _write(out / "index.yaml", tuned)
    write_json(out / "summary.json", {"env": card.name, "policies": rows})
    _draw(choice.curve, rows, card.name, out / "curve.png")
    _show(rows, choice, card, out)
    return tuned


def find(
    card: EnvConfig, asked: SearchSettings, num_days: int, space: Space, file: Path
) -> History:
    """Search, or go on with the search in `file`, which is written after every generation."""
    known = History.load(file) if file.is_file() else None
    with progress(f"{card.name}:", asked.generations) as begin:
        for _ in range(min(len(known or ()), asked.generations)):
            begin("known")()

        def evaluate(generation: int, candidates: FloatArray) -> FloatArray:
            done = begin(f"generation {generation + 1}")
            days = train_days(generation, num_days)
            usd: FloatArray = earned(card, "train", days, space.parameters(candidates)).mean(axis=1)
            done()
            return usd

        def keep(history: History) -> None:
            write_atomic(file, history.save)

        return search(evaluate, *space.limits(), asked, known, keep)


def choose(card: EnvConfig, settings: TuneSettings, space: Space, history: History) -> _Choice:
    """Play the finalists on the validation days; the highest mean wins."""
    final = finalists(history)
    candidates = space.parameters(final.candidates)
    usd = earned(card, "validation", range(settings.validation_days), candidates).mean(axis=1)
    best = int(np.argmax(usd))
    curve = pd.DataFrame(
        {
            "generation": np.arange(1, len(history) + 1),
            "best": history.scores.max(axis=1),
            "median": np.median(history.scores, axis=1),
            "mean": history.scores.mean(axis=1),
            "validation": np.nan,
        }
    )
    for kind, generation, score in zip(final.kinds, final.generations, usd, strict=True):
        if kind == "middle":
            curve.loc[generation - 1, "validation"] = score
    where = f"{final.kinds[best]} after generation {final.generations[best]}"
    return _Choice(candidates[best], where, len(candidates), curve)


def _compare(
    card: EnvConfig,
    settings: TuneSettings,
    choice: _Choice,
    rivals: Sequence[Entry],
    folder: RunFolder,
) -> list[dict[str, Any]]:
    """Play the choice as the policy it becomes, and its rivals, on the validation days."""
    count, file = settings.validation_days, folder.path / "index.yaml"
    _write(file, TunedFile.of_vector(choice.parameters))
    days = Days("validation", 0, count, count)
    own = play(card, TUNED, days, settings.seed, {"file": str(file)})
    others = [folder.get(o.label, partial(o.play, card, days, settings.seed)) for o in rivals]
    records = pd.concat([own, *others], ignore_index=True)
    write_parquet(folder.path / "results.parquet", records)
    return report.summarise(records, card, settings.seed)


def _found(
    card: EnvConfig,
    settings: TuneSettings,
    choice: _Choice,
    rows: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Say how the index was found, for people to read."""
    [row] = [row for row in rows if row["policy"] == TUNED]
    unseen = train_days(settings.generations, settings.num_days)
    train = earned(card, "train", unseen, choice.parameters[None])
    usd = {key: round(float(row[key]), 4) for key in ("usd", "usd_low", "usd_high")}
    return {
        "command": command(settings),
        "card": card.name,
        "num_cars": card.num_cars,
        "generations": settings.generations,
        "popsize": settings.popsize,
        "train_days_per_generation": settings.num_days,
        "seed": settings.seed,
        "sigma": settings.sigma,
        "chosen": f"{choice.where}, of {choice.num_finalists} candidates",
        "train": {"unseen_days": len(unseen), "usd": round(float(train.mean()), 4)},
        "validation": {"days": settings.validation_days, **usd},
        "validation_of_rules_usd": {
            str(row["policy"]): round(float(row["usd"]), 4)
            for row in rows
            if row["policy"] != TUNED
        },
        "fleet_env": fleet_env.__version__,
        "cma": metadata.version("cma"),
    }


def command(settings: TuneSettings) -> str:
    """Write the command that searches so, on the card as it stands in `conf/env`."""
    told = ("generations", "popsize", "sigma", "num_days", "num_cars", "validation_days", "seed")
    given = [f"{name}={getattr(settings, name)}" for name in told]
    return " ".join(["fleet tune", f"agent={settings.agent}", f"env={settings.env.name}", *given])


def _write(file: Path, tuned: TunedFile) -> None:
    write_atomic(file, lambda path: path.write_text(tuned.text(), "utf-8"))


def _draw(curve: pd.DataFrame, rows: Sequence[dict[str, Any]], env: str, file: Path) -> None:
    [own] = [row for row in rows if row["policy"] == TUNED]
    others = [row for row in rows if row["policy"] != TUNED]
    best = max(others, key=lambda row: float(row["usd"]))
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    chosen = (own["usd_low"], own["usd"], own["usd_high"])
    plot_search(figure.add_subplot(), curve, chosen, (best["policy"], best["usd"]))
    figure.suptitle(f"{env}: search of the tuned index", x=0.01, ha="left")
    write_atomic(file, lambda path: figure.savefig(path, dpi=150, format="png"))


def _show(rows: Sequence[dict[str, Any]], choice: _Choice, card: EnvConfig, out: Path) -> None:
    days = rows[0]["episodes"]
    title = f"{card.name}: {card.num_cars} cars, {days} validation days, money, mean over days"
    note = report.MONEY_NOTE.format(**rows[0])
    note += NOTE.format(tuned=TUNED, count=choice.num_finalists)
    console = report.console()
    console.print(report.table(rows, report.MONEY, title, note))
    console.print(f"results: {out}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()

"""`fleet evaluate`: one policy on the test days, step by step where wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import pandas as pd
from omegaconf import DictConfig

from agents import registry
from agents.base import Obs
from experiments import schema
from experiments.entries import Entry, file_hashes
from experiments.one_card import show
from experiments.records import RunFolder, write_csv, write_json
from experiments.results import Results
from experiments.settings import EvaluateSettings

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="evaluate")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, EvaluateSettings, evaluate)


def evaluate(settings: EvaluateSettings, out: Path) -> dict[str, Any]:
    """Play one policy; print and write what came out.

    Parameters
    ----------
    settings : EvaluateSettings
    out : Path
        Receives results.parquet, summary.json and manifest.json; with `record` also steps.csv, one
        row per step and scenario with every `reward/`, `metric/` and `cost/` of the step.

    Returns
    -------
    dict
        Figures of `experiments.report.summarise`.
    """
    registry.make(settings.policy.name, **settings.policy.options)  # an error here, not half-way
    content = schema.plain(settings) | {"files": file_hashes(settings.policy.options)}
    folder = RunFolder.open(out, "evaluate", content)
    records = folder.get(settings.policy.name, lambda: _play(settings, out))
    card = settings.env
    records.insert(0, "card", card.name)
    results = Results({card.name: card}, {card.name: card.num_cars}, records, settings.seed)
    results.save(out)
    folder.close()
    return report_policy(results, out)


def report_policy(results: Results, out: Path) -> dict[str, Any]:
    """Write and print the figures of the one policy that was played; return them."""
    [(card, rows)] = results.rows.items()
    write_json(out / "summary.json", {"env": card, "policies": rows})
    show(rows, f"{card}: {results.days}", out)
    return rows[0]


def _play(settings: EvaluateSettings, out: Path) -> pd.DataFrame:
    steps: list[pd.DataFrame] = []

    def keep(step: int, scenarios: Sequence[int], _: Obs, info: dict[str, Any]) -> None:
        flows = {key: info[key] for key in info if key.startswith(("reward/", "metric/", "cost/"))}
        steps.append(pd.DataFrame({"scenario": scenarios, "step": step, **flows}))

    policy, hook = settings.policy, keep if settings.record else None
    days = settings.days
    entry = Entry(policy.name, policy.name, policy.options)
    records = entry.play(settings.env, days, settings.seed, hook)
    if settings.record:
        write_csv(out / "steps.csv", pd.concat(steps).sort_values(["scenario", "step"]))
    return records


if __name__ == "__main__":
    main()

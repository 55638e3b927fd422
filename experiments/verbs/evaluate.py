"""`fleet evaluate`: one policy on the test days, step by step where wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import pandas as pd
from omegaconf import DictConfig

from agents import registry
from experiments import report, schema
from experiments.entries import file_hashes
from experiments.records import RunFolder, write_csv, write_json
from experiments.runner import play
from experiments.settings import EvaluateSettings
from experiments.verbs.compare import show

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
        Receives results.csv, summary.json and manifest.json; with `record` also steps.csv, one
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
    write_csv(out / "results.csv", records)
    rows = report.summarise(records, settings.env, settings.seed)
    write_json(out / "summary.json", {"env": settings.env.name, "policies": rows})
    show(rows, settings, out)
    return rows[0]


def _play(settings: EvaluateSettings, out: Path) -> pd.DataFrame:
    steps: list[pd.DataFrame] = []

    def keep(step: int, scenarios: Sequence[int], info: dict[str, Any]) -> None:
        flows = {key: info[key] for key in info if key.startswith(("reward/", "metric/", "cost/"))}
        steps.append(pd.DataFrame({"scenario": scenarios, "step": step, **flows}))

    policy, hook = settings.policy, keep if settings.record else None
    days = settings.days
    records = play(settings.env, policy.name, days, settings.seed, policy.options, hook)
    if settings.record:
        write_csv(out / "steps.csv", pd.concat(steps).sort_values(["scenario", "step"]))
    return records


if __name__ == "__main__":
    main()

"""`fleet report RUN ...`: every table, figure and page of a run, anew from its records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig

from experiments import schema
from experiments.across import report_cards
from experiments.one_card import report_card
from experiments.records import RunFolder, read_config
from experiments.results import Results
from experiments.settings import ReportSettings
from experiments.verbs.study import report_study
from experiments.verbs.viability import report_viability

COMPARED = ("compare", "evaluate")
STUDIES: dict[str, Callable[[Path, Path], object]] = {
    "study": report_study,
    "viability": report_viability,
}

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="report")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, ReportSettings, rebuild)


def rebuild(settings: ReportSettings, out: Path) -> object:
    """Rebuild what a run wrote; several comparisons are put side by side.

    Parameters
    ----------
    settings : ReportSettings
        Its `runs`: the folder of one run of `fleet compare`, `evaluate` or `study`, or several of
        compare and evaluate, which must have played the same days of the cards that they share,
        with different policies.
    out : Path
        Receives what the verb writes, but for records of single cells and traces.

    Returns
    -------
    Results or what the report of a study returns

    Raises
    ------
    ValueError
        If a run does not exist or is not finished, or runs do not fit together.
    """
    runs = [Path(run) for run in settings.runs]
    one = len(runs) == 1
    verbs = [read_config(run, (*COMPARED, *STUDIES) if one else COMPARED)[0] for run in runs]
    folder = RunFolder.open(out, "report", {"runs": settings.runs})
    study = STUDIES.get(verbs[0])
    found = _compared(runs, out) if study is None else study(runs[0], out)
    folder.close()
    return found


def _compared(runs: Sequence[Path], out: Path) -> Results:
    parts = [Results.load(run) for run in runs]
    results = parts[0] if len(parts) == 1 else Results.join(parts)
    results.save(out)
    if len(results.cards) == 1:
        report_card(results, out)
    else:
        report_cards(results, out)
    return results


if __name__ == "__main__":
    main()

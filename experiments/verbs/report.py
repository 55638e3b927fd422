"""`fleet report RUN ...`: every table, figure and page of a run, anew from its records."""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

from experiments import schema
from experiments.across import report_cards
from experiments.one_card import report_card
from experiments.records import RunFolder
from experiments.results import Results
from experiments.settings import ReportSettings

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="report")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, ReportSettings, rebuild)


def rebuild(settings: ReportSettings, out: Path) -> Results:
    """Rebuild what a run wrote; several runs are put side by side.

    Parameters
    ----------
    settings : ReportSettings
        Its `runs`: folders of `fleet compare` or `fleet evaluate`. Several of them must have
        played the same days of the cards that they share, with different policies.
    out : Path
        Receives what `fleet compare` writes, but for records of single cells and traces.

    Returns
    -------
    Results

    Raises
    ------
    ValueError
        If a run does not exist or is not finished, or runs do not fit together.
    """
    parts = [Results.load(run) for run in settings.runs]
    results = parts[0] if len(parts) == 1 else Results.join(parts)
    folder = RunFolder.open(out, "report", {"runs": settings.runs})
    results.save(out)
    folder.close()
    if len(results.cards) == 1:
        report_card(results, out)
    else:
        report_cards(results, out)
    return results


if __name__ == "__main__":
    main()

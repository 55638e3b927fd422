"""`fleet train agent=NAME env=CARD`: train a policy, or go on with it (resume=FOLDER)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from matplotlib.figure import Figure
from omegaconf import DictConfig

from experiments import deck, report, schema, training
from experiments.loggers import METRICS
from experiments.plots.train import plot_training
from experiments.records import read_csv, write_atomic
from experiments.train_bar import told
from experiments.train_folder import read_manifest
from experiments.train_settings import TrainSettings
from fleet_env.config import EnvConfig

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="train")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, TrainSettings, _train)


def _train(settings: TrainSettings, out: Path) -> None:
    overrides = list(HydraConfig.get().overrides.task)
    if settings.resume:
        overrides = [*read_manifest(out)["overrides"], *overrides]
        composed = compose("train", overrides=overrides)
        settings = schema.typed(composed, TrainSettings)
    train(settings, deck.learnt_cards(settings, overrides), out, overrides)


def train(
    settings: TrainSettings,
    cards: Mapping[str, EnvConfig],
    out: Path,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Train, draw the curve and say what came out; see `experiments.training.train`."""
    try:
        summary = training.train(settings, cards, out, overrides)
    finally:
        draw(out)
    console = report.console()
    for name in ("best", "last"):
        figures = summary[name]
        line = f"{name}.policy: {told(figures)} after {figures['steps']:,} steps"
        console.print(line, highlight=False)
    console.print(f"results: {out}", soft_wrap=True, highlight=False)
    return summary


def draw(out: Path) -> None:
    """Draw metrics.csv of the run in a folder into curve.png, if there are rows."""
    if not (out / METRICS).is_file() or (out / METRICS).stat().st_size <= 1:
        return
    config = read_manifest(out)["config"]
    title = f"{config['agent']['name']} on {', '.join(config['cards'])}, seed {config['seed']}"
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    plot_training(figure.add_subplot(), read_csv(out / METRICS))
    figure.suptitle(title, x=0.01, ha="left")
    write_atomic(out / "curve.png", lambda path: figure.savefig(path, dpi=150, format="png"))


if __name__ == "__main__":
    main()

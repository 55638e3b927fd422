"""`fleet tune agent=ppo_index`: search the settings of a learner with Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import optuna
import pandas as pd
import yaml
from omegaconf import DictConfig, OmegaConf
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from agents.rl.settings import AgentSettings
from experiments import deck, report, schema
from experiments.nearest import nearest
from experiments.records import RunFolder, write_atomic, write_csv
from experiments.runner import progress
from experiments.train_settings import RangeSettings, TrainSettings, TuneAgentSettings
from experiments.training import train
from fleet_env.config import EnvConfig

JOURNAL, BEST, TRIALS = "study.journal", "best.yaml", "trials.csv"
OVER = (TrialState.COMPLETE, TrialState.PRUNED)
NOTE = (
    "Value: score on validation days (USD per car-month without a bound), the best of the trial's "
    "validations. It is the best of many on the same days, which flatters it: train with other "
    "seeds and compare on test days."
)

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="tune_agent")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, TuneAgentSettings, _tune)


def _tune(settings: TuneAgentSettings, out: Path) -> None:
    tune_agent(settings, deck.learnt_cards(settings), out)


def tune_agent(
    settings: TuneAgentSettings, cards: Mapping[str, EnvConfig], out: Path
) -> optuna.Study:
    """Train with settings that Optuna proposes; keep the best.

    Proposals come from the tree-structured Parzen estimator (Bergstra et al. 2011). A trial whose
    best validation so far is below the median of the others at the same steps is cut short.

    Parameters
    ----------
    settings : TuneAgentSettings
    cards : mapping
        Name -> card.
    out : Path
        Receives study.journal, trials.csv, best.yaml (settings below `agent`), a folder of
        training per trial, and manifest.json. A rerun into the same folder goes on where it
        stopped, also with more trials; a trial that was broken off is begun again.

    Returns
    -------
    optuna.Study
    """
    for key, span in settings.ranges.items():
        changed(settings.agent, {key: _first(span)})  # an error here, not half-way
    content = deck.plain_cards(settings, cards)
    del content["trials"]  # a rerun may have more
    folder = RunFolder.open(out, "tune_agent", content)
    study = open_study(settings, folder.path / JOURNAL)
    with progress(f"{settings.agent.name}:", settings.trials) as begin:
        for known in _over(study):
            begin(f"trial {known.number}")()
        while len(_over(study)) < settings.trials:
            trial = study.ask()
            done = begin(f"trial {trial.number}")
            _run(study, trial, settings, cards, out)
            done()
            _write(study, out)
    _show(study, settings, out)
    return study


def open_study(settings: TuneAgentSettings, file: Path) -> optuna.Study:
    """Create the study or load it from its journal; what was broken off is queued again."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(file)))
    study = optuna.create_study(
        storage=storage, study_name="study", direction="maximize", load_if_exists=True
    )
    # the sampler has no state to go on from: each part of the search draws its own numbers
    study.sampler = optuna.samplers.TPESampler(seed=settings.seed + len(study.trials))
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=settings.first_trials)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return study


def _over(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=OVER)


def _run(
    study: optuna.Study,
    trial: optuna.Trial,
    settings: TuneAgentSettings,
    cards: Mapping[str, EnvConfig],
    out: Path,
) -> None:
    """Train one trial and tell the study its best validation."""
    proposed = {key: _suggest(trial, key, span) for key, span in settings.ranges.items()}
    values: list[float] = []

    def report_value(steps: int, value: float) -> None:
        values.append(value)
        trial.report(max(values), steps)
        if trial.should_prune():
            raise optuna.TrialPruned

    training = TrainSettings(
        env=settings.env,
        agent=changed(settings.agent, proposed),
        seed=settings.seed,
        total_steps=settings.total_steps,
        validation=settings.validation,
    )
    try:
        train(training, cards, out / "trials" / f"{trial.number:04d}", (), report_value)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, max(values))


def _suggest(trial: optuna.Trial, key: str, span: RangeSettings) -> Any:
    if span.choices:
        return trial.suggest_categorical(key, span.choices)
    low, high = span.low, span.high
    if low is None or high is None:
        raise ValueError(f"space.{key}: expected choices, or low and high")
    if span.whole:
        return trial.suggest_int(key, round(low), round(high), log=span.log)
    return trial.suggest_float(key, low, high, log=span.log)


def _first(span: RangeSettings) -> Any:
    return span.choices[0] if span.choices else span.low


def changed(agent: AgentSettings, values: Mapping[str, Any]) -> AgentSettings:
    """Copy the settings of a learner with some changed, by dotted key.

    Raises
    ------
    ValueError
        If a key is unknown.
    """
    known = list(schema.setting_keys(AgentSettings))
    node = OmegaConf.structured(agent)
    for key, value in values.items():
        if key not in known and not key.startswith("options."):
            raise ValueError(f"space.{key}: no such setting of agent{nearest(key, known)}")
        OmegaConf.update(node, key, value)
    made = OmegaConf.to_object(node)
    if not isinstance(made, AgentSettings):
        raise TypeError(f"{type(made).__name__}: expected AgentSettings")
    return made


def _write(study: optuna.Study, out: Path) -> None:
    rows = [
        {"trial": t.number, "state": t.state.name.lower(), "value": t.value, **t.params}
        for t in _over(study)
    ]
    write_csv(out / TRIALS, pd.DataFrame(rows))
    best = _best(study)
    if best is not None:
        text = yaml.safe_dump(best.params, sort_keys=True)
        write_atomic(out / BEST, lambda file: file.write_text(text, "utf-8"))


def _best(study: optuna.Study) -> FrozenTrial | None:
    complete = [t for t in _over(study) if t.state is TrialState.COMPLETE]
    return max(complete, key=lambda t: t.value or float("-inf"), default=None)


def _show(study: optuna.Study, settings: TuneAgentSettings, out: Path) -> None:
    table = report.new_table(f"{settings.agent.name}: {settings.total_steps:,} steps each", NOTE)
    for name in ("trial", "state", "value", *settings.ranges):
        table.add_column(name, justify="right", no_wrap=True)
    for trial in _over(study):
        value = "-" if trial.value is None else f"{trial.value:+.4f}"
        given = (f"{trial.params[key]:.4g}" if isinstance(trial.params[key], float)
                 else str(trial.params[key]) for key in settings.ranges)  # fmt: skip
        table.add_row(str(trial.number), trial.state.name.lower(), value, *given)
    console = report.console()
    console.print(table)
    best = _best(study)
    if best is not None:
        told = " ".join(f"agent.{key}={value}" for key, value in best.params.items())
        console.print(f"best: {told}", soft_wrap=True, highlight=False)
    console.print(f"results: {out}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()

"""The training of one policy: learn, validate, keep what is needed to go on (no Hydra)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from agents.learned.policy_file import PolicyFile
from agents.rl import checkpoint
from agents.rl.callback import BetweenRollouts
from agents.rl.clone import clone_teacher, hold_near, steps_of_teaching
from agents.rl.export import export
from agents.rl.lagrangian import LagrangianVecEnv, MultiplierCallback
from agents.rl.models import make_env, make_model
from agents.rl.schedule import let_rate_fall
from experiments.deck import changed
from experiments.loggers import METRICS, Log, MetricsFile, others
from experiments.records import write_json
from experiments.signals import StopRequests
from experiments.train_bar import TrainBar
from experiments.train_folder import describe, open_folder
from experiments.train_settings import TrainSettings
from experiments.validate import Validator, headline
from fleet_env.config import EnvConfig
from fleet_env.units import DAYS_PER_MONTH

OnValidation = Callable[[int, float], None]  # steps, headline
BEST, LAST, CLONE = "best.policy", "last.policy", "clone.policy"
LOGGED = ("train/", "constraint/")  # of SB3's own log: losses; costs, multipliers, violations


def train(
    settings: TrainSettings,
    cards: Mapping[str, EnvConfig],
    out: Path,
    overrides: Sequence[str] = (),
    on_validation: OnValidation | None = None,
) -> dict[str, Any]:
    """Train a policy, or go on with its training.

    Parameters
    ----------
    settings : TrainSettings
        With `resume`, `out` holds an earlier part of the run.
    cards : mapping
        Name -> card; days of training and validation come from each of them.
    out : Path
        Receives manifest.json, config.yaml, metrics.csv, best.policy, last.policy, summary.json,
        checkpoints/ and, where they apply, clone.policy, tensorboard/ and wandb/.
    overrides : sequence of str
        Of the command line, for a `resume` that names none.
    on_validation : callable, optional
        Called after each validation; what it raises ends the run.

    Returns
    -------
    dict
        ``steps``, ``best`` and ``last`` (steps and figures of their validation), ``train_s``.

    Raises
    ------
    ValueError
        If `out` holds another run, or one and `resume` is not set.
    InterruptedBySignal
        After SIGINT or SIGTERM, at the end of the rollout, when all is saved.
    """
    config = describe(settings, cards)
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequests())
        run = _Run(settings, cards, out, stop, on_validation)
        run.begin(open_folder(out, settings, config, overrides), config)
        for log in run.logs:
            stack.callback(log.close)
        return run.learn(stack.enter_context(TrainBar(run.title, run.steps, run.total_steps)))


class _Run:
    """A training under way."""

    def __init__(
        self,
        settings: TrainSettings,
        cards: Mapping[str, EnvConfig],
        out: Path,
        stop: StopRequests,
        on_validation: OnValidation | None,
    ) -> None:
        agent = settings.agent
        self._settings, self._agent, self._out, self._stop = settings, agent, out, stop
        self._cards, self._on_validation = cards, on_validation
        self._env = make_env(agent, list(cards.values()), settings.seed)
        self._fleets = checkpoint.fleets_of(self._env)
        self._model = make_model(agent, self._env, settings.seed)
        let_rate_fall(self._model)
        self._rows_per_fleet = self._env.num_envs // agent.num_fleets
        self._days = next(iter(cards.values())).days
        self.title = f"{agent.name} on {', '.join(cards)}"
        self._taught_steps = steps_of_teaching(agent, list(cards.values()))
        self.total_steps = self._whole_episodes(settings.total_steps)
        self._validation = settings.validation
        if agent.view == "bits":  # a policy with an output for each car plays no other fleet
            self._validation = dataclasses.replace(self._validation, num_cars=agent.num_cars)
        self._validator = Validator(cards, self._validation, settings.seed)
        self.steps = self._episodes = 0
        self._train_s, self._rollout_s, self._updates_s = 0.0, 0.0, 0.0
        self._best: dict[str, float] | None = None
        self._last: dict[str, float] = {}
        self._num_rows = 0
        self._resumed = False
        self._since = time.perf_counter()
        self.logs: list[Log] = []

    def begin(self, found: Path | None, config: Mapping[str, Any]) -> None:
        """Start from a checkpoint, if there is one, and open the logs."""
        self._resumed = found is not None
        if found is not None:
            self._go_on(found)
        logger = _named(self._settings, self._cards)
        self.logs.append(MetricsFile(self._out / METRICS, self._num_rows))
        self.logs += others(logger, self._out, config, self.steps)
        self._since = time.perf_counter()

    def _whole_episodes(self, steps: int) -> int:
        """Round up to whole episodes of all fleets, beyond the steps of a teacher."""
        episodes = self._agent.num_fleets * self._fleets.num_steps
        rest = max(steps - self._taught_steps, 0)
        return self._taught_steps + -(-rest // episodes) * episodes

    def _go_on(self, found: Path) -> None:
        """Restore a checkpoint."""
        state = checkpoint.restore(found, self._model, self._env)
        self.steps, self._episodes = state["steps"], state["episodes"]
        self._train_s, self._best, self._last = state["train_s"], state["best"], state["last"]
        self._num_rows = state["rows"]

    def learn(self, bar: TrainBar) -> dict[str, Any]:
        """Learn until all steps are done."""
        self._bar = bar
        if self._agent.imitate.rounds:
            self._begin_with_clone()
        hooks: list[Any] = [BetweenRollouts(self._between)]
        multipliers = checkpoint.wrapped(self._env, LagrangianVecEnv)
        if multipliers is not None:
            hooks.insert(0, MultiplierCallback(multipliers))
        rest = (self.total_steps - self.steps) * self._rows_per_fleet
        if rest > 0:
            never: Any = None  # SB3 writes no log of its own
            self._model.learn(rest, hooks, never, reset_num_timesteps=False)
        return self._finish()

    def _begin_with_clone(self) -> None:
        """Learn from the teacher, unless that is done; stay near the clone from here on."""
        file = self._out / CLONE
        if not self._resumed:
            reports = clone_teacher(
                self._model, self._agent, list(self._cards.values()), self._settings.seed
            )
            self.steps = self._taught_steps
            row = {"steps": self.steps, "imitate/loss": reports[-1].loss}
            row["imitate/fresh_loss"] = reports[-1].fresh_loss
            row |= self._validate()
            self._export(file, self._last)
            self._write(row)
            self._save()
            self._stop.heed()
        hold_near(self._env, PolicyFile.load(file))

    def _between(self, rollout_s: float, updates_s: float) -> None:
        """Do what is due between two rollouts."""
        self._rollout_s += rollout_s
        self._updates_s += updates_s
        if not self._fleets.finished:
            return  # in the middle of a day: learners that update more often
        before = self.steps
        self.steps = self._taught_steps + self._model.num_timesteps // self._rows_per_fleet
        row = self._figures(before)
        over = self.steps >= self.total_steps
        if over or _due(self._settings.validation.every_steps, before, self.steps):
            row |= self._validate()
        self._write(row)
        asked = self._stop.asked is not None
        if over or asked or _due(self._settings.checkpoint.every_steps, before, self.steps):
            self._save()
        self._stop.heed()

    def _figures(self, before: int) -> dict[str, float]:
        """Figures of the episodes that ended since the last row, per car."""
        episodes = self._fleets.drain()
        self._episodes += len(episodes)
        per_month = DAYS_PER_MONTH / self._days
        now = time.perf_counter()
        passed_s, self._since = now - self._since, now
        self._train_s += passed_s
        row: dict[str, float] = {"steps": self.steps, "episodes": self._episodes}
        for key in episodes[0]:
            if key == "return" or key.startswith("reward/"):
                row[key] = per_month * _mean(episodes, key)
            elif key.startswith("cost/"):
                row[key] = _mean(episodes, key)
        if len(self._cards) > 1:
            for card in self._cards:
                own = [episode for episode in episodes if episode["card"] == card]
                row[f"return/{card}"] = per_month * _mean(own, "return")
        row["length"] = self._fleets.num_steps
        row |= _logged(self._model.logger.name_to_value)
        row["time/fps"] = (self.steps - before) / passed_s
        row["time/train_s"] = self._train_s
        row["time/rollout_s"], row["time/updates_s"] = self._rollout_s, self._updates_s
        self._rollout_s = self._updates_s = 0.0
        return row

    def _validate(self) -> dict[str, float]:
        file = self._out / LAST
        self._export(file, {})
        figures = self._validator.play(file)
        self._last = {"steps": self.steps, **figures}
        self._export(file, self._last)
        if self._best is None or headline(figures) > headline(self._best):
            self._best = self._last
            self._export(self._out / BEST, self._last)
        if self._on_validation is not None:
            self._on_validation(self.steps, headline(figures))
        return figures

    def _export(self, file: Path, validation: Mapping[str, float]) -> None:
        """Write the policy as it is now."""
        days = {"days": self._validation.days, "num_cars": self._validation.num_cars}
        told = {
            "steps": self.steps,
            "seed": self._settings.seed,
            "cards": list(self._cards),
            "changed": changed(self._cards),
            "num_cars": self._agent.num_cars,
            "validation": {**days, **validation},
            "date": datetime.now(UTC).date().isoformat(),
        }
        export(self._model, self._agent, told).save(file)

    def _write(self, row: Mapping[str, float]) -> None:
        for log in self.logs:
            log.write(row)
        self._num_rows += 1
        self._bar.show({**self._last, **row})

    def _save(self) -> None:
        state = {
            "steps": self.steps,
            "episodes": self._episodes,
            "rows": self._num_rows,
            "train_s": self._train_s,
            "best": self._best,
            "last": self._last,
        }
        kept = self._settings.checkpoint
        checkpoint.save(
            self._out / "checkpoints", self._model, self._env, state,
            replay=kept.replay, keep=kept.keep,
        )  # fmt: skip

    def _finish(self) -> dict[str, Any]:
        summary = {
            "steps": self.steps,
            "train_s": self._train_s,
            "best": self._best,
            "last": self._last,
        }
        write_json(self._out / "summary.json", summary)
        return summary


def _named(settings: TrainSettings, cards: Mapping[str, EnvConfig]) -> Any:
    """Fill in the names under which other loggers know the run."""
    logger, played = settings.logger, "-".join(cards)
    group = logger.group or f"{settings.agent.name}-{played}"
    name = logger.name or f"{settings.agent.name}-{played}-{settings.seed}"
    return dataclasses.replace(logger, group=group, name=name)


def _due(every: int, before: int, now: int) -> bool:
    return now // every > before // every


def _mean(episodes: Sequence[Mapping[str, Any]], key: str) -> float:
    return float(np.mean([episode[key] for episode in episodes]))


def _logged(values: Mapping[str, Any]) -> dict[str, float]:
    """Pick out what SB3 logged of the newest updates."""
    return {key: float(values[key]) for key in sorted(values) if key.startswith(LOGGED)}

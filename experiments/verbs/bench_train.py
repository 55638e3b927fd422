"""`fleet bench train agent=NAME`: where the time of a training goes, environment or learner."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import hydra
import pandas as pd
from omegaconf import DictConfig

from agents.rl import checkpoint
from agents.rl.callback import BetweenRollouts
from agents.rl.models import make_env, make_model
from experiments import report, schema
from experiments.records import RunFolder, write_csv
from experiments.train_settings import BenchTrainSettings

Result = TypeVar("Result")
NOTE = (
    "Shares of the time of whole episodes of all fleets, without validation or files. Environment: "
    "simulation, view and the adapter to SB3; policy: forward passes and SB3's books of a rollout; "
    "learner: updates. Aim: environment below 25 % with 64 fleets of 256 cars."
)

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="bench_train")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, BenchTrainSettings, bench_train)


@dataclass
class _Clock:
    """Seconds spent inside a function."""

    seconds: float = 0.0

    def around(self, call: Callable[..., Result]) -> Callable[..., Result]:
        """Wrap a function so that its time is counted."""

        @wraps(call)
        def timed(*arguments: Any) -> Result:
            start = time.perf_counter()
            result = call(*arguments)
            self.seconds += time.perf_counter() - start
            return result

        return timed


def bench_train(settings: BenchTrainSettings, out: Path) -> dict[str, Any]:
    """Train for a few episodes and measure; print the shares and write them.

    Learners that begin with random actions are timed after these.

    Parameters
    ----------
    settings : BenchTrainSettings
    out : Path
        Receives bench_train.csv and manifest.json.

    Returns
    -------
    dict
        `fps`: decisions of fleets per second; `env_share`, `policy_share`, `learner_share`;
        `seconds` and `steps` that were timed.
    """
    RunFolder.open(out, "bench_train", schema.plain(settings))
    row = measure(settings)
    write_csv(out / "bench_train.csv", pd.DataFrame([row]))
    table = report.new_table(f"training of {settings.agent.name} on {settings.env.name}", NOTE)
    for name in ("fleets x cars", "steps/s", "environment", "policy", "learner"):
        table.add_column(name, justify="right", no_wrap=True)
    shares = (f"{row[name]:.1%}" for name in ("env_share", "policy_share", "learner_share"))
    size = f"{row['num_fleets']}x{row['num_cars']}"
    table.add_row(size, f"{row['fps']:,.0f}", *shares)
    console = report.console()
    console.print(table)
    console.print(f"results: {out}", soft_wrap=True, highlight=False)
    return row


def measure(settings: BenchTrainSettings) -> dict[str, Any]:
    """Time the episodes of a training, after those of the warm-up."""
    agent = settings.agent
    env = make_env(agent, [settings.env], settings.seed)
    model = make_model(agent, env, settings.seed)
    fleets, clock = checkpoint.fleets_of(env), _Clock()
    fleets.step_wait = clock.around(fleets.step_wait)  # type: ignore[method-assign]
    episode_rows = env.num_envs * fleets.num_steps
    random_rows = int(getattr(model, "learning_starts", 0))
    warm_up = max(settings.warm_up_episodes, -(-random_rows // episode_rows))
    spent = {"rollout_s": 0.0, "updates_s": 0.0}

    def count(rollout_s: float, updates_s: float) -> None:
        spent["rollout_s"] += rollout_s
        spent["updates_s"] += updates_s

    def learn(episodes: int) -> None:
        clock.seconds, spent["rollout_s"], spent["updates_s"] = 0.0, 0.0, 0.0
        never: Any = None  # SB3 writes no log of its own
        hook = BetweenRollouts(count)
        model.learn(episodes * episode_rows, hook, never, reset_num_timesteps=False)

    if warm_up:
        learn(warm_up)
    learn(settings.episodes)
    env.close()
    seconds = spent["rollout_s"] + spent["updates_s"]
    steps = settings.episodes * agent.num_fleets * fleets.num_steps
    return {
        "agent": agent.name,
        "env": settings.env.name,
        "num_fleets": agent.num_fleets,
        "num_cars": agent.num_cars,
        "steps": steps,
        "seconds": seconds,
        "fps": steps / seconds,
        "env_share": clock.seconds / seconds,
        "policy_share": (spent["rollout_s"] - clock.seconds) / seconds,
        "learner_share": spent["updates_s"] / seconds,
    }


if __name__ == "__main__":
    main()

"""`fleet bench`: car-steps and env-steps per second, beside a memory copy of the same minute."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig

from experiments import deck, report, schema
from experiments.records import RunFolder, write_csv
from experiments.runner import progress
from experiments.settings import BenchSettings
from fleet_env.config import EnvConfig
from fleet_env.vector_env import FleetVectorEnv

LARGEST_SEEN_CARS = 100_000  # rows with more cars are watched through the fleet vector alone
ACTIONS = ("random", "all_on")

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="bench")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, BenchSettings, _bench)


def _bench(settings: BenchSettings, out: Path) -> None:
    bench(settings, deck.compose_cards(settings.cards or [], beside_env=True), out)


@dataclass(frozen=True, slots=True)
class Size:
    """Rows of a batch and cars of each."""

    num_envs: int
    num_cars: int

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read ENVSxCARS, for instance 64x256."""
        rows, _, cars = text.partition("x")
        if not (rows.isdecimal() and cars.isdecimal() and int(rows) and int(cars)):
            raise ValueError(f"sizes={text}: expected ENVSxCARS, for instance 64x256")
        return cls(int(rows), int(cars))

    def env(self, card: EnvConfig) -> FleetVectorEnv:
        """Build the environment of this size."""
        seen = "cars" if self.num_cars <= LARGEST_SEEN_CARS else "fleet"
        config = replace(card, num_cars=self.num_cars, observation=seen)
        return FleetVectorEnv(num_envs=self.num_envs, split="train", config=config)


def bench(settings: BenchSettings, cards: Mapping[str, EnvConfig], out: Path) -> pd.DataFrame:
    """Measure all sizes, and cards against each other; print the tables and write the files.

    Parameters
    ----------
    settings : BenchSettings
    cards : mapping
        Name -> card; none: no comparison of cards.
    out : Path
        Receives bench.csv, cards.csv (see `bench_cards`) and manifest.json.

    Returns
    -------
    pandas.DataFrame
        One row per size and action: medians over `repeats` of `step_s` and `reset_s` (seconds
        per call), `car_steps_per_s` and `env_steps_per_s` (steps alone), `..._with_reset` (one
        reset per `num_steps` steps included), `copy_gb_per_s` and `copied_bytes_per_car_step`.
    """
    sizes = [Size.parse(text) for text in settings.sizes]
    card_sizes = [Size.parse(text) for text in settings.card_sizes]
    RunFolder.open(out, "bench", schema.plain(settings))
    gb_per_s = copy_gb_per_s(settings.copy_mb, settings.repeats)
    rows: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    with progress("bench:", len(sizes) + len(card_sizes) * bool(cards)) as begin:
        for size in sizes:
            done = begin(f"{size.num_envs}x{size.num_cars}")
            rows.extend(_measure(size, settings, gb_per_s))
            done()
        for size in card_sizes if cards else []:
            done = begin(f"cards {size.num_envs}x{size.num_cars}")
            turns.extend(bench_cards(size, cards, settings))
            done()
    frame = pd.DataFrame(rows)
    write_csv(out / "bench.csv", frame)
    _show(frame, gb_per_s, settings)
    if turns:
        write_csv(out / "cards.csv", pd.DataFrame(turns))
        _show_cards(turns, settings)
    report.console().print(f"results: {out}", soft_wrap=True, highlight=False)
    return frame


def bench_cards(
    size: Size, cards: Mapping[str, EnvConfig], settings: BenchSettings
) -> Iterator[dict[str, Any]]:
    """Time episodes of several cards in turns, so that all meet the same moods of the machine.

    Yields
    ------
    dict
        Per card: medians over `repeats` of `step_s`, `reset_s` and `episode_s` (one reset and all
        steps), and `ratio`, `ratio_with_reset`: of steps and of episodes, to the first card.
    """
    envs = {name: size.env(card) for name, card in cards.items()}
    num_steps = min(settings.num_steps, *(env.config.num_steps for env in envs.values()))
    actions = {
        name: _actions(env, "random", num_steps, settings.seed) for name, env in envs.items()
    }
    turns = [
        [_episode_s(env, actions[name], num_steps) for name, env in envs.items()]
        for _ in range(settings.repeats)
    ]
    reset_s, steps_s = np.median(turns, axis=0).T
    episode_s = np.median(np.sum(turns, axis=2), axis=0)
    for i, name in enumerate(cards):
        yield {
            "num_envs": size.num_envs,
            "num_cars": size.num_cars,
            "card": name,
            "num_steps": num_steps,
            "step_s": steps_s[i] / num_steps,
            "reset_s": reset_s[i],
            "episode_s": episode_s[i],
            "ratio": steps_s[i] / steps_s[0],
            "ratio_with_reset": episode_s[i] / episode_s[0],
        }
    for env in envs.values():
        env.close()


def copy_gb_per_s(size_mb: int, repeats: int) -> float:
    """Gigabytes per second that one thread copies from array to array (counted once, not twice)."""
    source = np.ones(size_mb * 1_000_000 // 4, dtype=np.float32)
    target = np.zeros_like(source)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - start)
    return source.nbytes / 1e9 / float(np.median(seconds))


def _measure(size: Size, settings: BenchSettings, gb_per_s: float) -> Iterator[dict[str, Any]]:
    env = size.env(settings.env)
    num_steps = min(settings.num_steps, env.config.num_steps)
    for kind in ACTIONS:
        actions = _actions(env, kind, num_steps, settings.seed)
        timings = np.array([_episode_s(env, actions, num_steps) for _ in range(settings.repeats)])
        reset_s, steps_s = np.median(timings, axis=0)
        total_s = float(np.median(timings.sum(axis=1)))
        env_steps = size.num_envs * num_steps
        car_steps_per_s = env_steps * size.num_cars / steps_s
        yield {
            "num_envs": size.num_envs,
            "num_cars": size.num_cars,
            "observation": env.config.observation,
            "action": kind,
            "num_steps": num_steps,
            "step_s": steps_s / num_steps,
            "reset_s": reset_s,
            "env_steps_per_s": env_steps / steps_s,
            "car_steps_per_s": car_steps_per_s,
            "env_steps_per_s_with_reset": env_steps / total_s,
            "car_steps_per_s_with_reset": env_steps * size.num_cars / total_s,
            "copy_gb_per_s": gb_per_s,
            "copied_bytes_per_car_step": gb_per_s * 1e9 / car_steps_per_s,
        }
    env.close()


def _reset(env: FleetVectorEnv) -> Any:
    return env.reset(options={"scenario_seeds": list(range(env.num_envs))})[0]


def _actions(env: FleetVectorEnv, kind: str, num_steps: int, seed: int) -> list[NDArray[np.int8]]:
    """Actions of an episode, made before anything is timed.

    `random`: every feasible car with probability one half (without a view of the cars: every
    car); the masks come from playing the same episode once. `all_on`: every bit set.
    """
    shape = (env.num_envs, env.config.num_cars)
    if kind == "all_on":
        return [np.ones(shape, np.int8)] * num_steps
    rng = np.random.default_rng(seed)
    obs = _reset(env)
    actions = []
    for _ in range(num_steps):
        bits = rng.integers(0, 2, size=shape, dtype=np.int8)
        if isinstance(obs, dict):
            bits &= obs["mask"].astype(np.int8)
        actions.append(bits)
        obs = env.play(bits)[0]
    return actions


def _episode_s(
    env: FleetVectorEnv, actions: list[NDArray[np.int8]], num_steps: int
) -> tuple[float, float]:
    """Seconds of one reset and of all steps."""
    start = time.perf_counter()
    _reset(env)
    ready = time.perf_counter()
    for action in actions[:num_steps]:
        env.play(action)
    return ready - start, time.perf_counter() - ready


def _show(frame: pd.DataFrame, gb_per_s: float, settings: BenchSettings) -> None:
    note = (
        f"Median of {settings.repeats}. One thread copies memory at {gb_per_s:.1f} GB/s in this "
        "run; the last column is what it would copy in the time of one car-step."
    )
    table = report.new_table("steps per second", note)
    for name in ("envs x cars", "action"):
        table.add_column(name, no_wrap=True)
    heads = (
        "car-steps/s",
        "env-steps/s",
        "with reset",
        "reset [ms]",
        "step [ms]",
        "bytes/car-step",
    )
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    for row in frame.itertuples():
        table.add_row(
            f"{row.num_envs}x{row.num_cars}",
            str(row.action),
            f"{row.car_steps_per_s:,.0f}",
            f"{row.env_steps_per_s:,.1f}",
            f"{row.env_steps_per_s_with_reset:,.1f}",
            f"{1e3 * row.reset_s:.2f}",
            f"{1e3 * row.step_s:.3f}",
            f"{row.copied_bytes_per_car_step:,.0f}",
        )
    report.console().print(table)


def _show_cards(rows: Sequence[dict[str, Any]], settings: BenchSettings) -> None:
    note = (
        f"Medians of {settings.repeats} episodes of each card, played in turns, random actions; "
        "ratios to the first card. Aim for every feature at once: 1.6."
    )
    table = report.new_table("cards in turns", note)
    for name in ("envs x cars", "card"):
        table.add_column(name, no_wrap=True)
    for name in ("step [ms]", "reset [ms]", "ratio", "with reset"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            f"{row['num_envs']}x{row['num_cars']}",
            row["card"],
            f"{1e3 * row['step_s']:.3f}",
            f"{1e3 * row['reset_s']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['ratio_with_reset']:.2f}",
        )
    report.console().print(table)


if __name__ == "__main__":
    main()

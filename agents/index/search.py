"""CMA-ES on noisy scores: a new batch of common random days each generation, resumable.

Hansen & Ostermeier 2001, "Completely derandomized self-adaptation in evolution strategies"
(package `cma`). What a search has done so far is the score of every candidate; from these and the
seed it is played again up to where it stopped, so that a saved search holds numbers only: nothing
of the package's inside, and nothing that is run when it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cma
import numpy as np

from fleet_env.checks import at_least
from fleet_env.types import FloatArray

Evaluate = Callable[[int, FloatArray], FloatArray]  # generation, candidates -> scores
Keep = Callable[["History"], None]

SAME_WITHIN = 1e-9  # of a step: a replay on the same package differs by rounding at most
FINAL_PART = 1 / 3  # of the generations, whose middles and elites may win
NUM_MIDDLES = 4  # of these generations, evenly spaced; est
NUM_ELITES = 4  # best candidates of the last generations; est


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How long and how wide a search goes; coordinates are in steps of each parameter."""

    generations: int = 200
    popsize: int = 24  # 4 + 3 ln n is 13 for n = 22 (Hansen 2016); more against noise
    sigma: float = 1.0  # of the first candidates, in steps
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, "", generations=1, popsize=3, seed=0)
        if not 0 < self.sigma < 100:
            raise ValueError(f"sigma={self.sigma}: expected a number in (0, 100)")


@dataclass(frozen=True, slots=True)
class History:
    """What a search has done: one row per generation."""

    scores: FloatArray  # (generations, popsize), of each candidate on the days of its generation
    means: FloatArray  # (generations, n), middle of the distribution after the generation
    elites: FloatArray  # (generations, n), its best candidate

    @classmethod
    def empty(cls, popsize: int, num_parameters: int) -> History:
        """Return the history of a search that has not begun."""
        nothing = np.empty((0, num_parameters))
        return cls(np.empty((0, popsize)), nothing, nothing)

    def __len__(self) -> int:
        """Count the generations."""
        return len(self.scores)

    def save(self, path: Path) -> None:
        """Write the arrays into an npz file."""
        with path.open("wb") as file:
            np.savez(file, scores=self.scores, means=self.means, elites=self.elites)

    @classmethod
    def load(cls, path: Path) -> History:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["scores"], arrays["means"], arrays["elites"])


@dataclass(slots=True)
class _Rows:
    """The history while it grows."""

    scores: list[FloatArray] = field(default_factory=list)
    means: list[FloatArray] = field(default_factory=list)
    elites: list[FloatArray] = field(default_factory=list)

    def add(self, scores: FloatArray, mean: FloatArray, elite: FloatArray) -> None:
        self.scores.append(np.asarray(scores, np.float64))
        self.means.append(np.array(mean, np.float64))
        self.elites.append(np.array(elite, np.float64))

    def history(self) -> History:
        return History(*(np.stack(rows) for rows in (self.scores, self.means, self.elites)))


def search(
    evaluate: Evaluate,
    low: FloatArray,
    high: FloatArray,
    settings: SearchSettings,
    history: History | None = None,
    keep: Keep | None = None,
) -> History:
    """Look for the highest mean score, starting from 0 in every coordinate.

    Parameters
    ----------
    evaluate : callable
        Given the number of the generation and its candidates, shape (popsize, n), returns their
        scores, shape (popsize,), higher is better. All candidates of a generation must meet the
        same days, other days than those of the generation before.
    low, high : FloatArray, shape (n,)
        Limits of the coordinates; candidates never lie outside.
    settings : SearchSettings
    history : History, optional
        Of an interrupted search with the same seed: it is played again without `evaluate`.
    keep : callable, optional
        Called with the history after every new generation, to save it.

    Returns
    -------
    History
        Bit-equal for the same seed, interrupted or not, whatever else draws random numbers.

    Raises
    ------
    ValueError
        If the history is that of another search, or a score is not a number.
    """
    strategy, rows = _strategy(low, high, settings), _Rows()
    known = History.empty(settings.popsize, len(low)) if history is None else history
    for generation in range(settings.generations):
        candidates = np.array(strategy.ask())
        fresh = generation >= len(known)
        scores = evaluate(generation, candidates) if fresh else known.scores[generation]
        _check(scores, candidates, generation)
        strategy.tell(list(candidates), list(-scores))
        rows.add(scores, strategy.result.xfavorite, candidates[int(np.argmax(scores))])
        if not fresh:
            _check_replay(known, rows, generation)
        elif keep is not None:
            keep(rows.history())
    return rows.history()


def _strategy(low: FloatArray, high: FloatArray, settings: SearchSettings) -> Any:
    rng = np.random.default_rng([settings.seed, 0])
    options = {
        "popsize": settings.popsize,
        "bounds": [low.tolist(), high.tolist()],
        "randn": lambda *shape: rng.standard_normal(shape),
        "seed": np.nan,  # leave numpy's global generator alone
        "verbose": -9,  # no files, no prints
        "verb_log": 0,
        "signals_filename": "",
    }
    return cma.CMAEvolutionStrategy(np.zeros(len(low)), settings.sigma, options)


def _check(scores: FloatArray, candidates: FloatArray, generation: int) -> None:
    if np.shape(scores) != (len(candidates),) or not np.isfinite(scores).all():
        raise ValueError(
            f"scores {scores!r} of generation {generation}: expected {len(candidates)} numbers"
        )


def _check_replay(known: History, rows: _Rows, generation: int) -> None:
    gap = np.abs(rows.means[-1] - known.means[generation])
    if known.means.shape[1:] != rows.means[-1].shape or (gap > SAME_WITHIN).any():
        raise ValueError(
            f"generation {generation} of the saved search does not come out again: it belongs to "
            "another seed, start or version of cma"
        )


@dataclass(frozen=True, slots=True)
class Finalists:
    """Candidates that the validation days choose from."""

    candidates: FloatArray  # (k, n)
    kinds: tuple[str, ...]  # start, middle, mean of middles or elite
    generations: tuple[int, ...]  # after which each stood, 0 for the start


def finalists(history: History) -> Finalists:
    """Choose who goes into the final round.

    The start; of the last third of the generations some middles of the distribution and the mean
    of all of them (noise averages out); and the best candidates of the last generations.
    """
    last = len(history) - 1
    first = int(len(history) * (1 - FINAL_PART))
    spaced: list[int] = (
        np.unique(np.linspace(first, last, NUM_MIDDLES).round()).astype(int).tolist()
    )
    newest = list(range(max(0, last + 1 - NUM_ELITES), last + 1))
    start = np.zeros((1, history.means.shape[1]))
    mean = history.means[first:].mean(axis=0, keepdims=True)
    parts = [start, history.means[spaced], mean, history.elites[newest]]
    kinds = ["start", *["middle"] * len(spaced), "mean of middles", *["elite"] * len(newest)]
    generations = [0, *(g + 1 for g in spaced), last + 1, *(g + 1 for g in newest)]
    return Finalists(np.concatenate(parts), tuple(kinds), tuple(generations))

"""Play a comparison: all cells and bounds of it, on several processes."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.bound_settings import BoundSettings
from experiments.headroom import bound_tasks, choice_matrix, solve_bounds
from experiments.matrix import Matrix
from experiments.pool import do_all
from experiments.results import Results
from fleet_env.config import EnvConfig


def gather(
    played: Matrix,
    bound: BoundSettings,
    whole: Mapping[str, EnvConfig] | None = None,
    reference: str = "",
    workers: int = 1,
    title: str = "compare:",
    *,
    choose_learned: bool = False,
) -> Results:
    """Do what the folder does not hold yet, and return all of it, saved.

    Parameters
    ----------
    played : Matrix
        Cards as they are played, policies and days.
    bound : BoundSettings
        Whether days are bounded, and on which other days the best plain rule is chosen.
    whole : mapping, optional
        Card -> the card with all of its cars, where fewer are played.
    reference : str
        Card that the others are held against; the first where it is not played.
    workers : int
        Processes; 0: one per core.
    title : str
        Of the progress bar.
    choose_learned : bool
        Also play learned policies on the days of the choice.
    """
    choice = choice_matrix(played, bound, learned=choose_learned) if bound.solve else None
    # the longest first, so that no process is left with one of them at the end
    tasks = bound_tasks(played, bound) if bound.solve else []
    tasks += played.tasks() + (choice.tasks() if choice is not None else [])
    do_all(title, tasks, workers)
    cards = dict(played.cards)
    results = Results(
        cards=cards,
        whole_cars={name: card.num_cars for name, card in (whole or cards).items()},
        records=played.records(),
        seed=played.seed,
        reference=reference if reference in cards else next(iter(cards)),
        bounds=solve_bounds(played, bound) if bound.solve else None,
        choice=None if choice is None else choice.records(),
        traces=played.traces(),
    )
    results.save(played.folder.path)
    played.folder.close()
    return results

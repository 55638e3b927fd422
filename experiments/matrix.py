"""Every policy on every card (or variant of one), on the same scenarios, resumable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from experiments.entries import Entry
from experiments.records import RunFolder
from experiments.runner import Days, progress
from fleet_env.config import EnvConfig


def play_matrix(
    title: str,
    cards: Mapping[str, EnvConfig],
    policies: Sequence[Entry],
    days: Days,
    seed: int,
    folder: RunFolder,
    column: str = "card",
    under: str = "",
) -> pd.DataFrame:
    """Play what the folder does not hold yet, behind a progress bar.

    Parameters
    ----------
    title : str
        Of the bar.
    cards : mapping
        Name -> card; a record is kept as `<name>/<under><label>`.
    policies : sequence of Entry
    days : Days
    seed : int
    folder : RunFolder
    column : str
        Where the name of the card goes.
    under : str
        Folder of the records, with its slash, where they are not the main ones.

    Returns
    -------
    pandas.DataFrame
        Rows of `experiments.runner.play` with the name of the card.
    """
    frames = []
    with progress(title, len(cards) * len(policies)) as begin:
        for name, card in cards.items():
            for policy in policies:
                done = begin(f"{name} {policy.label}")
                make = partial(policy.play, card, days, seed)
                part = folder.get(f"{name}/{under}{policy.label}", make)
                frames.append(part.assign(**{column: name}))
                done()
    return pd.concat(frames, ignore_index=True)

"""The scale that policies are held against: bound, scores and headroom of every card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments import headroom_report, score
from experiments.bound_settings import BoundSettings
from experiments.bounds import violations, with_bounds
from experiments.entries import Entry
from experiments.headroom import Headroom, measure_all, plain_row, play_choice, solve_bounds
from experiments.records import RunFolder, write_csv
from experiments.runner import Days
from experiments.seeds import Pooled
from fleet_env.config import EnvConfig


@dataclass(frozen=True, slots=True)
class Scale:
    """What the policies of every card are held against."""

    records: pd.DataFrame  # with `bound_usd`
    bound: dict[str, dict[str, Any]]  # card -> figures of its bound
    scores: dict[str, dict[str, dict[str, Any]]]  # card -> policy, seeds pooled -> figures
    headroom: dict[str, Headroom]  # of the cards; empty if no plain rule was played
    choice: str  # days on which the best plain rules were chosen
    violations: pd.DataFrame

    def scored(self, card: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add the scores of a card to its figures of `experiments.report.summarise`."""
        return [row | self.scores[card][row["policy"]] for row in rows]

    def of_card(self, card: str) -> dict[str, Any]:
        """Bound and headroom of a card as JSON data."""
        found = self.headroom.get(card)
        return {
            "bound": self.bound[card],
            "headroom": None if found is None else plain_row(found),
        }

    def of_all(self) -> dict[str, Any]:
        """Turn what holds for all cards into JSON data."""
        passed = [name for name, card in self.headroom.items() if card.passes]
        wrong = self.violations.to_dict("records")
        return {"choice": self.choice, "passes_gate": passed, "violations": wrong}


def measure_scale(
    cards: Mapping[str, EnvConfig],
    policies: Sequence[Entry],
    records: pd.DataFrame,
    settings: BoundSettings,
    days: Days,
    seed: int,
    folder: RunFolder,
) -> Scale:
    """Choose the best plain rule of every card on other days, solve the bounds, score everybody.

    Parameters
    ----------
    cards : mapping
        Name -> card.
    policies : sequence of Entry
        Those that were played.
    records : pandas.DataFrame
        Of `days`, with the name of the card.
    settings : BoundSettings
    days : Days
    seed : int
        Of random policies and of the bootstrap.
    folder : RunFolder
        Receives bounds.csv, choice.csv and headroom.csv.
    """
    other, out = settings.other_days(days), folder.path
    choice = play_choice(cards, policies, settings, days, seed, folder)
    bounds = solve_bounds(cards, settings, days, folder)
    write_csv(out / "bounds.csv", bounds)
    records = with_bounds(records, bounds)
    found = measure_all(records, choice, seed)
    if choice is not None:
        write_csv(out / "choice.csv", choice)
        write_csv(out / "headroom.csv", headroom_report.frame(found))
    pooled = Pooled.of(records).records
    parts = {str(name): part for name, part in pooled.groupby("card", sort=False)}
    bound_rows = {
        name: score.bound_row(part, bounds[bounds["card"] == name], seed)
        for name, part in parts.items()
    }
    return Scale(
        records=records,
        bound=bound_rows,
        scores={name: score.scores(part, seed) for name, part in parts.items()},
        headroom=found,
        choice=f"{other.count} {other.split} days",
        violations=violations(records),
    )

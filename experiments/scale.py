"""The scale that policies are held against: bound, scores and headroom of every card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments import score
from experiments.bounds import violations, with_bounds
from experiments.headroom import Headroom, measure_all, plain_row
from experiments.seeds import Pooled


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

    @classmethod
    def of(
        cls, records: pd.DataFrame, bounds: pd.DataFrame, choice: pd.DataFrame | None, seed: int
    ) -> Scale:
        """Score everybody, and the best plain rule of other days, against the bounds.

        Parameters
        ----------
        records : pandas.DataFrame
            Of `experiments.matrix.Matrix`.
        bounds : pandas.DataFrame
            Of the same cards and days.
        choice : pandas.DataFrame, optional
            Records of the days on which the best plain rule of every card is chosen.
        seed : int
            Of the bootstrap.
        """
        records = with_bounds(records.drop(columns="bound_usd", errors="ignore"), bounds)
        pooled = Pooled.of(records).records
        parts = {str(name): part for name, part in pooled.groupby("card", sort=False)}
        bound = {
            name: score.bound_row(part, bounds[bounds["card"] == name], seed)
            for name, part in parts.items()
        }
        return cls(
            records=records,
            bound=bound,
            scores={name: score.scores(part, seed) for name, part in parts.items()},
            headroom=measure_all(records, choice, seed),
            choice="" if choice is None else _days(choice),
            violations=violations(records),
        )


def _days(choice: pd.DataFrame) -> str:
    return f"{choice['scenario'].nunique()} {choice['split'].iloc[0]} days"

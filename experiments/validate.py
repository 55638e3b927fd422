"""Validation of a policy in training: the file people use, on days it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from experiments import bounds, report
from experiments.runner import Days, play
from experiments.score import MIN_USD_PER_CAR_DAY
from experiments.train_settings import ValidationSettings
from fleet_env.config import EnvConfig
from fleet_env.units import DAYS_PER_MONTH


class Validator:
    """Plays policy files on the validation days of every card.

    Parameters
    ----------
    cards : mapping
        Name -> card.
    settings : ValidationSettings
    seed : int
        Of policies that draw.
    """

    def __init__(
        self, cards: Mapping[str, EnvConfig], settings: ValidationSettings, seed: int
    ) -> None:
        self._settings, self._seed = settings, seed
        self._cards = {
            name: replace(card, num_cars=settings.num_cars, observation="cars")
            for name, card in cards.items()
        }
        self._days = Days("validation", 0, settings.days, settings.days)

    def play(self, file: Path) -> dict[str, float]:
        """Play a policy file deterministically.

        Returns
        -------
        dict
            ``validation/usd``: USD per car-month, mean over days and cards; ``validation/score``:
            mean over cards of return / bound, missing where scores are not wanted or a card is not
            worth it; with several cards also ``validation/usd/<card>`` and
            ``validation/score/<card>``.
        """
        options = {"file": str(file)}
        usd = {
            name: float(
                report.usd_per_car_month(
                    play(card, "learned", self._days, self._seed, options)
                ).mean()
            )
            for name, card in self._cards.items()
        }
        figures = {"validation/usd": float(np.mean(list(usd.values())))}
        score = {name: usd[name] / bound for name, bound in self._bounds.items()}
        if score:
            figures["validation/score"] = float(np.mean(list(score.values())))
        if len(usd) > 1:
            figures |= {f"validation/usd/{name}": value for name, value in usd.items()}
            figures |= {f"validation/score/{name}": value for name, value in score.items()}
        return figures

    @cached_property
    def _bounds(self) -> dict[str, float]:
        """Mean bound of each card [USD per car-month]; empty without a score for every card."""
        if not self._settings.score:
            return {}
        found = {name: self._bound(card) for name, card in self._cards.items()}
        worth = all(usd >= MIN_USD_PER_CAR_DAY * DAYS_PER_MONTH for usd in found.values())
        return found if worth else {}

    def _bound(self, card: EnvConfig) -> float:
        settings = self._settings
        file = Path(settings.bounds_file)
        solved = bounds.solve(card, self._days, settings.sample_cars, file)
        car_months = card.num_cars * card.days / DAYS_PER_MONTH
        return float(solved["bound_usd"].mean()) / car_months


def headline(figures: Mapping[str, float]) -> float:
    """Return what policies are chosen by: the score, or USD where there is none."""
    return figures.get("validation/score", figures["validation/usd"])

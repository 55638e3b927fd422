"""`fleet compare`: every rule on the same test days, on one card or on several."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from experiments import deck, schema
from experiments.across import reference_of, report_cards
from experiments.entries import entries, files_of
from experiments.gather import gather
from experiments.matrix import Matrix
from experiments.one_card import report_card
from experiments.records import RunFolder
from experiments.settings import CompareSettings
from fleet_env.config import EnvConfig

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="compare")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, CompareSettings, _one_or_several)


def _one_or_several(settings: CompareSettings, out: Path) -> None:
    if settings.cards:
        compare_cards(settings, deck.compose_cards(settings.cards), out)
    else:
        compare(settings, out)


def compare(settings: CompareSettings, out: Path) -> list[dict[str, Any]]:
    """Play all policies on the same days of one card; print, write and draw what came out.

    Parameters
    ----------
    settings : CompareSettings
    out : Path
        Receives results.parquet (records), what `experiments.one_card.report_card` writes, and
        manifest.json, with `bound` also bounds.csv, choice.parquet (records of the days on which
        the best plain rule is chosen) and headroom.csv; a rerun into the same folder plays and
        solves only what is missing.

    Returns
    -------
    list of dict
        As of `report_card`, which also raises.
    """
    card, policies = settings.env, entries(settings.policies)
    folder = RunFolder.open(out, "compare", schema.plain(settings) | files_of(policies))
    cards, days = {card.name: card}, settings.days
    played = Matrix(cards, policies, days, settings.seed, folder, traced=True)
    return report_card(gather(played, settings.bound, workers=settings.workers), out)


def compare_cards(
    settings: CompareSettings, cards: Mapping[str, EnvConfig], out: Path
) -> dict[str, Any]:
    """Play all policies on all cards; print, write and draw what came out.

    Parameters
    ----------
    settings : CompareSettings
        Its `env` is not played.
    cards : mapping
        Name -> card.
    out : Path
        Receives what `compare` writes, with the files of `experiments.across.report_cards`.

    Returns
    -------
    dict
        As of `report_cards`, which also raises.
    """
    policies, reference = entries(settings.policies), reference_of(settings.reference, cards)
    small, content = deck.cut(settings, cards)
    folder = RunFolder.open(out, "compare", content | files_of(policies))
    played = Matrix(small, policies, settings.days, settings.seed, folder, traced=True)
    results = gather(played, settings.bound, cards, reference, settings.workers, "cards:")
    return report_cards(results, out)


if __name__ == "__main__":
    main()

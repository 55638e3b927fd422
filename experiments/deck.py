"""Several cards in one run: which, composed with the settings of the command, and how large."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from hydra import compose
from hydra.core.hydra_config import HydraConfig

from experiments import schema
from experiments.nearest import nearest
from experiments.records import flat
from experiments.train_settings import TrainSettings, TuneAgentSettings
from fleet_env.config import EnvConfig
from fleet_env.scenarios import CARDS, scenario

_ABSENT = object()


def card_names(cards: object) -> list[str]:
    """List the cards that a setting means: `all`, a name or a list of names.

    Raises
    ------
    ValueError
        If a name is no card; with the nearest one.
    """
    names = [cards] if isinstance(cards, str) else list(cast("list[str]", cards))
    if names == ["all"]:
        return list(CARDS)
    for name in names:
        if name not in CARDS:
            raise ValueError(f"cards={name}: no such card{nearest(str(name), CARDS)}")
    return names


def compose_cards(
    cards: object, overrides: Sequence[str] | None = None, *, beside_env: bool = False
) -> dict[str, EnvConfig]:
    """Compose cards with what a command sets: its `env.` settings apply to each of them.

    Parameters
    ----------
    cards : object
        As in `card_names`.
    overrides : sequence of str, optional
        Of the command; those of the running one if not given.
    beside_env : bool
        Whether the command may also choose a card by `env=`.

    Raises
    ------
    ValueError
        If a card is unknown, or chosen by `env=` where that has no meaning.
    """
    hydra = HydraConfig.get()
    overrides = hydra.overrides.task if overrides is None else overrides
    chosen = [override for override in overrides if override.startswith("env=")]
    if chosen and not beside_env:
        raise ValueError(f"{chosen[0]}: expected cards= alone, or env= alone")
    kept = [override for override in overrides if override not in chosen]
    composed = {}
    for name in card_names(cards):
        cfg = compose(hydra.job.config_name, overrides=[*kept, f"env={name}"])
        composed[name] = schema.typed(cfg.env, EnvConfig)
    return composed


def learnt_cards(
    settings: TrainSettings | TuneAgentSettings, overrides: Sequence[str] | None = None
) -> dict[str, EnvConfig]:
    """Cards of a training, by name: `cards` composed as by `compose_cards`, or `env` alone."""
    if not settings.cards:
        return {settings.env.name: settings.env}
    return compose_cards(settings.cards, overrides)


def changed(cards: Mapping[str, EnvConfig]) -> dict[str, Any]:
    """List the settings, by dotted key, in which cards differ from those of the package."""
    found: dict[str, Any] = {}
    for name, card in cards.items():
        shipped = dict(flat(dataclasses.asdict(scenario(name)))) if name in CARDS else {}
        mine = flat(dataclasses.asdict(card))
        found |= {key: value for key, value in mine if shipped.get(key, _ABSENT) != value}
    return found


def small(card: EnvConfig, max_cars: int) -> EnvConfig:
    """Cut a card to `max_cars` cars at the most, seen one by one, which policies choose from."""
    return dataclasses.replace(card, num_cars=min(card.num_cars, max_cars), observation="cars")


def cut(
    settings: Any, whole: Mapping[str, EnvConfig]
) -> tuple[dict[str, EnvConfig], dict[str, Any]]:
    """Cut cards to `max_cars` of the settings; also return what is played, as JSON data."""
    cards = {name: small(card, settings.max_cars) for name, card in whole.items()}
    whole_cars = {name: card.num_cars for name, card in whole.items()}
    return cards, plain_cards(settings, cards) | {"whole_cars": whole_cars}


def plain_cards(settings: Any, cards: Mapping[str, EnvConfig]) -> dict[str, Any]:
    """Turn the settings of a run over cards into JSON data: the cards instead of `env`."""
    rest = schema.plain(settings, without=("env", "cards", *schema.UNTOUCHED))
    return {**rest, "cards": {name: dataclasses.asdict(card) for name, card in cards.items()}}

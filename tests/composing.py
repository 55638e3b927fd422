"""Settings of a verb as the command line would compose them."""

from __future__ import annotations

from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from experiments import schema

schema.register()


def composed(verb: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(schema.config_dir(), version_base="1.3"):
        return compose(verb, overrides=list(overrides))


def settings_of(verb: str, *overrides: str) -> Any:
    return schema.typed(composed(verb, *overrides), schema.ROOTS[verb])

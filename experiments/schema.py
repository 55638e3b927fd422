"""The border to Hydra: typed settings of every verb, and the checks Hydra does not make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from agents import registry
from agents.rl.settings import AgentSettings
from experiments.bound_settings import BoundSettings
from experiments.nearest import nearest
from experiments.settings import (
    BenchSettings,
    BoundVerbSettings,
    CardsSettings,
    CompareSettings,
    EvaluateSettings,
    PolicySettings,
    ReportSettings,
    StudySettings,
    StudyTable,
    TuneSettings,
    ViabilitySettings,
    WatchSettings,
)
from experiments.train_settings import (
    BenchTrainSettings,
    LoggerSettings,
    TrainSettings,
    TuneAgentSettings,
)
from fleet_env.config import EnvConfig

Settings = TypeVar("Settings")
UNTOUCHED = ("out", "debug", "bound", "workers", "docs")  # settings that records do not depend on


ROOTS: dict[str, type] = {
    "bound": BoundVerbSettings,
    "report": ReportSettings,
    "cards": CardsSettings,
    "compare": CompareSettings,
    "evaluate": EvaluateSettings,
    "study": StudySettings,
    "watch": WatchSettings,
    "viability": ViabilitySettings,
    "bench": BenchSettings,
    "tune": TuneSettings,
    "train": TrainSettings,
    "bench_train": BenchTrainSettings,
    "tune_agent": TuneAgentSettings,
}


@cache
def register() -> None:
    """Make the schemas known to Hydra; the YAML files extend them by name."""
    store, card = ConfigStore.instance(), _no_accelerators()
    for verb, root in ROOTS.items():
        settings = OmegaConf.structured(root)
        if "env" in get_type_hints(root):
            settings.env = card
        store.store(name=f"{verb}_schema", node=settings)
    store.store(group="env", name="env_schema", node=card)
    store.store(group="study", name="study_schema", node=StudyTable)
    store.store(group="agent", name="agent_schema", node=AgentSettings)
    store.store(group="logger", name="logger_schema", node=LoggerSettings)
    # no learner: `fleet tune` alone knows it, by its name
    store.store(group="agent", name="index", node={"agent": "index"}, package="_global_")
    for option, bound in (("foresight", BoundSettings()), ("none", BoundSettings(solve=False))):
        store.store(group="bound", name=option, node=bound)
    for name in registry.all_names():  # the defaults of a policy stand in its class alone
        node = PolicySettings(name, registry.defaults(name))
        store.store(group="policy", name=name, node=node)
    OmegaConf.register_new_resolver("played", _played, replace=True)
    OmegaConf.register_new_resolver("either", _either, replace=True)


def _no_accelerators() -> DictConfig:
    """Build the schema of a card; Hydra merges mappings, so each card names its mix itself."""
    node = OmegaConf.structured(EnvConfig)
    node.fleet.accelerators = {}
    return cast("DictConfig", node)


def _played(cards: object, env: str) -> str:
    """Name what is played in the path of a run: one card, or several."""
    return "cards" if cards else env


def _either(first: str, second: str) -> str:
    """Return the first of two settings that is not empty."""
    return first or second


def config_dir() -> str:
    """Folder of the YAML files: inside the package in a wheel, beside it in a checkout."""
    here = Path(__file__).resolve().parent
    for candidate in (here / "conf", here.parent / "conf"):
        if (candidate / "compare.yaml").is_file():
            return str(candidate)
    raise FileNotFoundError(f"no conf/compare.yaml inside or beside {here}")


def agent_names() -> list[str]:
    """Options of the group `agent`: the learners."""
    return sorted(file.stem for file in (Path(config_dir()) / "agent").glob("*.yaml"))


class VerbError(SystemExit):
    """A verb stopped early; the reason is the cause, the run's folder the attribute.

    Hydra reports an `Exception` of a job on its own, in several lines; this one it lets pass.
    """

    def __init__(self, reason: BaseException, folder: Path) -> None:
        super().__init__(str(reason) or type(reason).__name__)
        self.folder = folder


def run(cfg: DictConfig, root: type[Settings], verb: Callable[[Settings, Path], object]) -> None:
    """Call a verb with typed settings and the folder of the run: the border, and all of it.

    Raises
    ------
    VerbError
        From whatever went wrong; a folder that is still empty is removed. In a sweep, which goes on
        with its other runs, an error is raised as it is.
    """
    out = Path(HydraConfig.get().runtime.output_dir)
    try:
        verb(typed(cfg, root), out)
    except (Exception, KeyboardInterrupt) as reason:
        if not any(out.iterdir()):
            out.rmdir()
        if isinstance(reason, Exception) and HydraConfig.get().mode is RunMode.MULTIRUN:
            raise
        raise VerbError(reason, out) from reason


def typed(cfg: DictConfig, root: type[Settings]) -> Settings:
    """Turn composed settings into their dataclasses; unknown keys are errors.

    Hydra itself rejects `key=1` for an unknown key, but lets `+key=1` through and drops it.

    Raises
    ------
    ValueError
        With the nearest valid key if a key is unknown; with the range if a value is outside it.
    """
    for key in _unknown(OmegaConf.to_container(cfg), root):
        raise ValueError(f"{key}: no such setting{nearest(key, setting_keys(root))}")
    settings = OmegaConf.to_object(cfg)
    if not isinstance(settings, root):
        raise TypeError(f"settings of type {type(settings).__name__}: expected {root.__name__}")
    return settings


def plain(settings: Any, *, without: tuple[str, ...] = UNTOUCHED) -> dict[str, Any]:
    """Turn typed settings into JSON data, without what does not touch the records of policies."""
    content = dataclasses.asdict(settings)
    return {key: value for key, value in content.items() if key not in without}


def changed(config: EnvConfig, overrides: list[str]) -> EnvConfig:
    """Copy a card with settings changed, each written `key=value`; mappings are replaced whole.

    Raises
    ------
    ValueError
        If a key is unknown or a value does not fit.
    """
    card = OmegaConf.structured(config)
    for override in overrides:
        key = override.partition("=")[0]
        if key not in set(setting_keys(EnvConfig)):
            raise ValueError(f"env.{key}: no such setting{nearest(key, setting_keys(EnvConfig))}")
        change = OmegaConf.from_dotlist([override])
        if OmegaConf.is_dict(OmegaConf.select(change, key)):
            OmegaConf.update(card, key, {}, merge=False)
        card = OmegaConf.merge(card, change)
    return cast("EnvConfig", OmegaConf.to_object(card))


def card_of(content: Mapping[str, Any]) -> EnvConfig:
    """Turn the plain data of a card, from a manifest, back into the card."""
    card = _no_accelerators()
    card.demand.batch_deadline_shares = {}
    return cast("EnvConfig", OmegaConf.to_object(OmegaConf.merge(card, content)))


def setting_keys(root: type, prefix: str = "") -> Iterator[str]:
    """Yield the dotted key of every setting below a dataclass."""
    for name, hint in get_type_hints(root).items():
        yield f"{prefix}{name}"
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from setting_keys(hint, f"{prefix}{name}.")


def _unknown(content: Any, node: Any, prefix: str = "") -> Iterator[str]:
    if not isinstance(content, Mapping):
        return  # leaf or list, or missing as a whole: OmegaConf says so
    if get_origin(node) is dict:
        for key, value in content.items():
            yield from _unknown(value, get_args(node)[1], f"{prefix}{key}.")
        return
    if not (dataclasses.is_dataclass(node) and isinstance(node, type)):
        return  # anything may stand here
    hints = get_type_hints(node)
    for key, value in content.items():
        if key not in hints:
            yield f"{prefix}{key}"
        else:
            yield from _unknown(value, hints[key], f"{prefix}{key}.")

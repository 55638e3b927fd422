"""The border to Hydra: typed settings of every verb, and the checks Hydra does not make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf

from agents import registry
from agents.rl.settings import AgentSettings
from experiments.bound_settings import BoundSettings
from experiments.nearest import nearest
from experiments.runner import Days
from experiments.train_settings import (
    BenchTrainSettings,
    LoggerSettings,
    TrainSettings,
    TuneAgentSettings,
)
from fleet_env.config import SPLITS, EnvConfig

__all__ = ["BenchTrainSettings", "TrainSettings", "TuneAgentSettings"]  # from train_settings

Settings = TypeVar("Settings")
MEASURES = ("money", "headroom")  # of a study


@dataclass
class PolicySettings:
    """One option of the group `policy`."""

    name: str = MISSING  # a name of agents.registry
    options: dict[str, Any] = field(default_factory=dict)  # keyword arguments of the policy


@dataclass
class RunSettings:
    """What all verbs that play episodes share."""

    env: EnvConfig = MISSING
    split: str = "test"  # train | validation | test
    num_episodes: int = 20  # scenarios of the split
    first_episode: int = 0  # number of the first one
    num_envs: int = 20  # scenarios played side by side
    seed: int = 0  # of random policies and of the bootstrap; scenarios have their own numbers
    out: str = MISSING  # folder of the run
    debug: bool = False  # traceback instead of a one-line error

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split={self.split!r}: expected one of {', '.join(SPLITS)}")
        for name in ("num_episodes", "num_envs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 or more")
        if self.first_episode < 0:
            raise ValueError(f"first_episode={self.first_episode}: expected 0 or more")
        if self.env.observation != "cars":
            raise ValueError(
                "env.observation='fleet': expected cars, which policies choose from "
                "(env.observation=cars env.num_cars=1000 plays a large card small)"
            )


@dataclass
class CompareSettings(RunSettings):
    """Root of `conf/compare.yaml`."""

    policies: list[str] = field(default_factory=list)  # none named: all registered
    cards: Any = ""  # all or a list of cards, compared with each other; none named: `env` alone
    reference: str = "suburb"  # card whose ranking the others' are held against
    max_cars: int = 1000  # larger cards of `cards` are played with so many cars
    bound: BoundSettings = field(default_factory=BoundSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bound.solve:
            self.bound.other_days(days_of(self))


@dataclass
class CardsSettings(RunSettings):
    """Root of `conf/cards.yaml`."""

    num_episodes: int = 4
    num_envs: int = 4
    policies: list[str] = field(default_factory=list)  # none named: all registered
    cards: Any = "all"  # all or a list of cards
    max_cars: int = 100  # larger cards are played with so many cars
    play: bool = True  # False: the settings alone
    headroom: str = ""  # headroom.csv of a run over the cards, quoted on the page


@dataclass
class EvaluateSettings(RunSettings):
    """Root of `conf/evaluate.yaml`."""

    policy: PolicySettings = MISSING
    record: bool = False  # also write steps.csv, one row per step and scenario


@dataclass
class BoundVerbSettings:
    """Root of `conf/bound.yaml`."""

    env: EnvConfig = MISSING
    split: str = "test"  # train | validation | test
    num_episodes: int = 3  # scenarios of the split
    first_episode: int = 0  # number of the first one
    lp: bool = True  # solve the programme of the whole fleet, up to lp_max_cars
    lp_max_cars: int = 1000
    milp: bool = False  # also with whole cars: how much of the LP is relaxation
    milp_time_s: float = 60.0  # at which it stops; its own bound is then reported with the gap
    sample_cars: int = 250  # whose programme sets the prices of the price bound
    out: str = MISSING
    debug: bool = False

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split={self.split!r}: expected one of {', '.join(SPLITS)}")
        for name in ("num_episodes", "lp_max_cars", "sample_cars"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 or more")
        if self.first_episode < 0:
            raise ValueError(f"first_episode={self.first_episode}: expected 0 or more")
        if not self.milp_time_s > 0:
            raise ValueError(f"milp_time_s={self.milp_time_s}: expected more than 0")
        if self.milp and self.env.num_cars > self.lp_max_cars:
            raise ValueError(
                f"milp=true with env.num_cars={self.env.num_cars}: expected at most "
                f"lp_max_cars={self.lp_max_cars} cars"
            )

    @property
    def solves_lp(self) -> bool:
        """Whether the programme of the whole fleet is wanted, and small enough."""
        return self.lp and self.env.num_cars <= self.lp_max_cars


@dataclass
class VariantSettings:
    """A named change of the card."""

    overrides: list[str] = MISSING  # key=value below `env`
    note: str = ""  # what the change takes away


@dataclass
class StudyTable:
    """One option of the group `study`."""

    name: str = MISSING
    measure: str = "money"  # money of every rule, or headroom: what the best rule leaves
    cards: Any = ""  # headroom of cards instead of variants: all or a list
    show_money: bool = False  # also print what every variant earns, not only what it changes
    variants: dict[str, VariantSettings] = field(default_factory=dict)


@dataclass
class StudySettings(RunSettings):
    """Root of `conf/study.yaml`."""

    study: StudyTable = MISSING
    policies: list[str] = field(default_factory=list)  # none named: all registered
    only: list[str] = field(default_factory=list)  # variants to run; none named: all
    measure: str = "money"  # money | headroom; the study has its own default
    cards: Any = ""  # cards whose headroom is measured; the study has its own default
    max_cars: int = 100  # larger cards of `cards` are played with so many cars
    bound: BoundSettings = field(default_factory=BoundSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.measure not in MEASURES:
            raise ValueError(f"measure={self.measure}: expected one of {', '.join(MEASURES)}")
        if self.measure == "headroom":
            self.bound.other_days(days_of(self))


@dataclass
class BenchSettings:
    """Root of `conf/bench.yaml`."""

    env: EnvConfig = MISSING
    sizes: list[str] = MISSING  # ENVSxCARS
    cards: Any = ""  # all or a list of cards, timed in turns against the first
    card_sizes: list[str] = MISSING  # ENVSxCARS of these
    repeats: int = 5  # the median is reported
    num_steps: int = 96  # timed steps per repeat, at most an episode
    copy_mb: int = 256  # size of the array of the memory-copy yardstick
    seed: int = 0
    out: str = MISSING
    debug: bool = False

    def __post_init__(self) -> None:
        for name in ("repeats", "num_steps", "copy_mb"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 or more")


@dataclass
class TuneSettings:
    """Root of `conf/tune.yaml`."""

    env: EnvConfig = MISSING
    agent: str = "index"  # what is tuned; learners have settings of their own (tune_agent)
    generations: int = 150
    popsize: int = 20  # candidates of a generation
    sigma: float = 0.5  # of the first candidates, in steps of each parameter
    num_days: int = 32  # train days of a generation, new ones each time
    num_cars: int = 250  # of each fleet, in place of the card's
    validation_days: int = 40
    # held against the result on the validation days; none named: all registered
    rivals: list[str] = field(
        default_factory=lambda: ["cheapest_first", "warm_first", "consolidate"]
    )
    seed: int = 0
    out: str = MISSING
    debug: bool = False

    def __post_init__(self) -> None:
        for name in ("num_days", "num_cars", "validation_days"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 or more")


ROOTS: dict[str, type] = {
    "bound": BoundVerbSettings,
    "cards": CardsSettings,
    "compare": CompareSettings,
    "evaluate": EvaluateSettings,
    "study": StudySettings,
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


def days_of(settings: RunSettings) -> Days:
    """Scenarios that the settings ask for."""
    return Days(settings.split, settings.first_episode, settings.num_episodes, settings.num_envs)


def plain(settings: Any, *, without: tuple[str, ...] = ("out", "debug", "bound")) -> dict[str, Any]:
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

"""Settings of the verbs; those of trainings stand in `experiments.train_settings`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from experiments.bound_settings import BoundSettings
from experiments.runner import Days
from fleet_env.checks import at_least, require
from fleet_env.config import SPLITS, EnvConfig

MEASURES = ("money", "headroom")  # of a study


@dataclass
class PolicySettings:
    """One option of the group `policy`."""

    name: str = MISSING  # a name of agents.registry
    options: dict[str, Any] = field(default_factory=dict)  # keyword arguments of the policy


@dataclass
class DaySettings:
    """What all verbs share that look at days of one split."""

    env: EnvConfig = MISSING
    split: str = "test"  # train | validation | test
    num_episodes: int = 20  # scenarios of the split
    first_episode: int = 0  # number of the first one
    out: str = MISSING  # folder of the run
    debug: bool = False  # traceback instead of a one-line error

    def __post_init__(self) -> None:
        require(self.split in SPLITS, "split", self.split, f"one of {', '.join(SPLITS)}")
        at_least(self, "", num_episodes=1, first_episode=0)


@dataclass
class RunSettings(DaySettings):
    """What all verbs share that play episodes."""

    num_envs: int = 20  # scenarios played side by side
    seed: int = 0  # of random policies and of the bootstrap; scenarios have their own numbers
    workers: int = 0  # processes; 0: one per core (timings of decisions are steadier with 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, "", num_envs=1, workers=0)
        if self.env.observation != "cars":
            raise ValueError(
                "env.observation='fleet': expected cars, which policies choose from "
                "(env.observation=cars env.num_cars=1000 plays a large card small)"
            )

    @property
    def days(self) -> Days:
        """Scenarios that are played."""
        return Days(self.split, self.first_episode, self.num_episodes, self.num_envs)


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
            self.bound.other_days(self.days)


@dataclass
class ReportSettings:
    """Root of `conf/report.yaml`."""

    runs: list[str] = field(default_factory=list)  # folders of compare, evaluate or study
    out: str = MISSING
    debug: bool = False

    def __post_init__(self) -> None:
        require(
            bool(self.runs), "runs", self.runs, "a folder of fleet compare: fleet report FOLDER"
        )


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
class WatchSettings(RunSettings):
    """Root of `conf/watch.yaml`."""

    policy: PolicySettings = MISSING
    num_episodes: int = 1
    num_envs: int = 1
    max_cars: int = 1000  # of a larger card
    gif: bool = False  # also a moving picture, of what render() draws

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.num_episodes == 1, "num_episodes", self.num_episodes, "1: one day is shown")


@dataclass
class BoundVerbSettings(DaySettings):
    """Root of `conf/bound.yaml`."""

    num_episodes: int = 3
    lp: bool = True  # solve the programme of the whole fleet, up to lp_max_cars
    lp_max_cars: int = 1000
    milp: bool = False  # also with whole cars: how much of the LP is relaxation
    milp_time_s: float = 60.0  # at which it stops; its own bound is then reported with the gap
    sample_cars: int = 250  # whose programme sets the prices of the price bound

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, "", lp_max_cars=1, sample_cars=1)
        require(self.milp_time_s > 0, "milp_time_s", self.milp_time_s, "more than 0")
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
            self.bound.other_days(self.days)


@dataclass
class ViabilitySettings(RunSettings):
    """Root of `conf/viability.yaml`."""

    num_episodes: int = 7  # a week of days
    num_envs: int = 7
    # of which the best on the days of the choice stands for plain rules
    rules: list[str] = field(
        default_factory=lambda: [
            "dc_only",
            "full_cost_first",
            "consolidate",
            "cheapest_first",
            "lowest_price",
            "plugged_full_first",
            "idle_gate",
            "koopman",
        ]
    )
    # of which the best on the days of the choice stands for learned policies
    learned: list[str] = field(
        default_factory=lambda: [
            "imitate_hardware",
            "imitate_cards",
            "imitate_release",
            "imitate",
            "ppo_tuned",
        ]
    )
    max_cars: int = 300  # of each fleet, which stands for 100 million
    docs: str = ""  # file that also receives the report, with figures/ beside it
    bound: BoundSettings = field(default_factory=BoundSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bound.solve:
            self.bound.other_days(self.days)


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
        at_least(self, "", repeats=1, num_steps=1, copy_mb=1)


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
        at_least(self, "", num_days=1, num_cars=1, validation_days=1)

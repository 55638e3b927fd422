"""Settings of `fleet train` and of what builds on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

from agents.rl.settings import AgentSettings
from fleet_env.checks import at_least
from fleet_env.config import EnvConfig

# what may differ between a training and its continuation: none of it changes what is learnt so far
FREE = ("total_steps", "checkpoint", "logger", "resume", "out", "debug")
WANDB_MODES = ("disabled", "offline", "online")


@dataclass
class ValidationSettings:
    """Held-out days on which a policy in training is played, as `fleet evaluate` plays it."""

    days: int = 20  # of the validation split, of each card
    num_cars: int = 256  # of each fleet
    every_steps: int = 50_000  # and at the end
    # also divide by the bound of the same days, which takes about 3 s a day, once: they are kept
    score: bool = True
    bounds_file: str = "runs/validation_bounds.csv"  # of any cards and sizes; runs share it
    sample_cars: int = 250  # as in `bound.sample_cars`

    def __post_init__(self) -> None:
        at_least(self, "validation.", days=1, num_cars=1, every_steps=1, sample_cars=1)


@dataclass
class CheckpointSettings:
    """What a run that is killed can go on from."""

    every_steps: int = 50_000  # and when stopped, and at the end
    keep: int = 2  # the newest ones stay
    replay: bool = True  # with the replay buffer of sac and tqc (hundreds of MB)

    def __post_init__(self) -> None:
        at_least(self, "checkpoint.", every_steps=1, keep=1)


@dataclass
class LoggerSettings:
    """One option of the group `logger`: who hears of the rows of metrics.csv besides."""

    tensorboard: bool = False  # event files in the folder of the run
    mode: str = "disabled"  # of wandb: disabled | offline | online (needs a key)
    project: str = "fleet_env"
    group: str = ""  # of runs that belong together; none given: agent and card
    name: str = ""  # none given: agent, card and seed
    tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.mode not in WANDB_MODES:
            raise ValueError(f"logger.mode={self.mode}: expected one of {', '.join(WANDB_MODES)}")


@dataclass
class TrainSettings:
    """Root of `conf/train.yaml`."""

    env: EnvConfig = MISSING
    cards: Any = ""  # all or a list of cards for one policy; none named: `env` alone
    agent: AgentSettings = MISSING
    seed: int = 0  # of weights, actions and the order of train days
    # decisions of fleets, whatever the view; rounded up to whole episodes of all fleets
    total_steps: int = 1_000_000
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    logger: LoggerSettings = field(default_factory=LoggerSettings)
    resume: str = ""  # folder of a run to go on with, with its settings; total_steps may grow
    out: str = MISSING
    debug: bool = False

    def __post_init__(self) -> None:
        at_least(self, "", total_steps=1, seed=0)


def lasting(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run and its continuation have in common, of a training as JSON data."""
    return {key: value for key, value in config.items() if key not in FREE}


@dataclass
class BenchTrainSettings:
    """Root of `conf/bench_train.yaml`."""

    env: EnvConfig = MISSING
    agent: AgentSettings = MISSING
    episodes: int = 3  # of all fleets, that are timed
    warm_up_episodes: int = 1  # before
    seed: int = 0
    out: str = MISSING
    debug: bool = False

    def __post_init__(self) -> None:
        at_least(self, "", episodes=1, warm_up_episodes=0)


@dataclass
class RangeSettings:
    """Values of a setting that a search may try: those named, or between two ends."""

    choices: list[Any] = field(default_factory=list)
    low: float | None = None
    high: float | None = None
    log: bool = False  # steps are factors
    whole: bool = False  # whole numbers only

    def __post_init__(self) -> None:
        ends = (self.low, self.high)
        if bool(self.choices) == all(end is not None for end in ends):
            raise ValueError(f"{self}: expected either choices, or low and high")
        if self.choices:
            return
        if self.low is None or self.high is None or self.low >= self.high:
            raise ValueError(f"low={self.low}, high={self.high}: expected low below high")
        if self.log and self.low <= 0:
            raise ValueError(f"low={self.low}: expected more than 0 with log=true")


@dataclass
class TuneAgentSettings:
    """Root of `conf/tune_agent.yaml`."""

    env: EnvConfig = MISSING
    cards: Any = ""  # as in `TrainSettings`
    agent: AgentSettings = MISSING
    trials: int = 20
    total_steps: int = 200_000  # of each trial
    first_trials: int = 5  # that are never cut short; from then on the worse half is
    # below `agent`, as that is nested; at the leaves the fields of `RangeSettings`
    space: dict[str, Any] = field(default_factory=dict)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    seed: int = 0  # of the trainings and of the search
    out: str = MISSING
    debug: bool = False

    def __post_init__(self) -> None:
        at_least(self, "", trials=1, total_steps=1, first_trials=1)
        if not self.ranges:
            raise ValueError("space={}: expected at least one setting of the agent")

    @property
    def ranges(self) -> dict[str, RangeSettings]:
        """What is searched, by dotted key."""
        return dict(_ranges(self.space))


def _ranges(space: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, RangeSettings]]:
    known = [field.name for field in fields(RangeSettings)]
    for key, value in space.items():
        name = f"{prefix}{key}"
        if not isinstance(value, Mapping):
            raise ValueError(f"space.{name}={value}: expected {', '.join(known)}")
        if any(isinstance(inner, Mapping) for inner in value.values()):
            yield from _ranges(value, f"{name}.")
            continue
        for inner in value:
            if inner not in known:
                raise ValueError(f"space.{name}.{inner}: expected one of {', '.join(known)}")
        try:
            yield name, RangeSettings(**value)
        except ValueError as error:
            raise ValueError(f"space.{name}: {error}") from None

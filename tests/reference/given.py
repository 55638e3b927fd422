"""What is drawn for a step and not worked out: the reference takes it as it comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.reference.queueing import Demand
from tests.reference.shocks import NOTHING_OUT, Outage
from tests.reference.step import Weather


@dataclass(frozen=True)
class CarGiven:
    """One car in one step."""

    outage: Outage = NOTHING_OUT
    start_u: float = 0.0  # uniform: when in the step it wakes
    recalled: bool = False  # it served until new weights were released, at the start of the step


@dataclass(frozen=True)
class Next:
    """What begins for one car with the next step."""

    dark: bool = False  # its home is without power
    release: bool = False  # new weights


@dataclass(frozen=True)
class Given:
    """A row in one step."""

    weather: tuple[Weather, ...]  # by region
    demand: Demand
    cars: tuple[CarGiven, ...]
    next: tuple[Next, ...]  # by car
    home_kw: tuple[float, ...]  # load of the homes, by neighbourhood
    # uniform of an owner by car and number of the stay: whether a broken promise is the last one
    owner_u: Callable[[int, int], float]
    charge_h: float = 0.0  # USD that a peak of 1 USD/h costs in the episode

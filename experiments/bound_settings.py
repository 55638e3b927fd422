"""Settings of the scale that policies are held against: the bound, and the best rule's days."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.runner import Days
from fleet_env.checks import at_least, require
from fleet_env.config import SPLITS


@dataclass
class BoundSettings:
    """One option of the group `bound`: the upper end of the scale, and the best rule below it."""

    solve: bool = True  # False: USD alone, no scores and no headroom
    # whose programme sets the prices of shared demand; 1,000 bring the bound 0.7 % closer, in ten
    # times the time (suburb, 1,000 cars)
    sample_cars: int = 250
    choose_split: str = "validation"  # days on which the best plain rule is chosen
    choose_first: int = 0  # number of the first one
    choose_episodes: int = 20

    def __post_init__(self) -> None:
        splits = f"one of {', '.join(SPLITS)}"
        require(self.choose_split in SPLITS, "bound.choose_split", self.choose_split, splits)
        at_least(self, "bound.", sample_cars=1, choose_episodes=1, choose_first=0)

    def other_days(self, days: Days) -> Days:
        """Days on which the rule is chosen that is scored on `days`.

        Raises
        ------
        ValueError
            If some of them are the same.
        """
        first, count = self.choose_first, self.choose_episodes
        together = first < days.first + days.count and days.first < first + count
        if self.choose_split == days.split and together:
            raise ValueError(
                f"bound.choose_split={self.choose_split}: a rule must be chosen on other days than "
                "it is scored on; choose another split, or another bound.choose_first"
            )
        return Days(self.choose_split, first, count, days.num_envs)

"""Settings of the scale that policies are held against: the bound, and the best rule's days."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.runner import Days
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
        if self.choose_split not in SPLITS:
            raise ValueError(
                f"bound.choose_split={self.choose_split!r}: expected one of {', '.join(SPLITS)}"
            )
        for name in ("sample_cars", "choose_episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"bound.{name}={getattr(self, name)}: expected 1 or more")
        if self.choose_first < 0:
            raise ValueError(f"bound.choose_first={self.choose_first}: expected 0 or more")

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

"""The fleets that are looked at: three computers, two habits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from experiments.schema import changed
from fleet_env.config import EnvConfig
from fleet_env.dynamics.roofline import accelerator

HARDWARE: dict[str, list[str]] = {  # as the cards today, suburb and claim set them
    "ai4": ["fleet.accelerators={ai4: 1.0}", "demand.batch_share=0.0", "demand.chat_70b_share=0.0"],
    "ai5": ["fleet.accelerators={ai5: 1.0}"],
    "claim": ["fleet.accelerators={claim: 1.0}"],
}
HABITS: dict[str, list[str]] = {  # as the card paid sets them
    "today": [],
    "paid": [
        "fleet.paid_habits=true",
        "fleet.home_link_share=0.80",
        "reward.pay_usd_per_on_duty_h=0.10",
    ],
}
NUM_CARS = 100e6  # of the question
OPT_IN = 0.25  # of owners, at 10 USD a month; assumed (domain 8)
W_PER_GW = 1e9


@dataclass(frozen=True, slots=True)
class Scene:
    """One fleet of the study."""

    hardware: str
    habits: str
    config: EnvConfig

    @property
    def name(self) -> str:
        """Name in records and tables."""
        return f"{self.hardware}_{self.habits}"

    @property
    def chip_w(self) -> float:
        """Power of the computer at full work [W]."""
        return accelerator(self.hardware).busy_w

    @property
    def nameplate_gw(self) -> float:
        """Power of 100 million such computers [GW]."""
        return self.chip_w * NUM_CARS / W_PER_GW


def scenes_of(cards: Mapping[str, EnvConfig]) -> dict[str, Scene]:
    """Name computer and habits of the cards of a run."""
    found = {}
    for name, config in cards.items():
        hardware, habits = name.split("_")
        found[name] = Scene(hardware, habits, config)
    return found


def scenes(base: EnvConfig) -> dict[str, Scene]:
    """All fleets by name, each the card `base` with another computer and other habits."""
    found = {}
    for hardware, computer in HARDWARE.items():
        for habits, owners in HABITS.items():
            config = changed(base, [*computer, *owners])
            scene = Scene(hardware, habits, config)
            found[scene.name] = replace(scene, config=replace(config, name=scene.name))
    return found

"""What goes through a step: the weather, each car's shift, and the outcome."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet_env.config import EnergyConfig
from fleet_env.metrics import REWARD_TERMS
from tests.reference import energy, queueing


@dataclass(frozen=True)
class Weather:
    """What the outside does to one area in one step: given, not computed."""

    usd_per_kwh: float
    ref_usd_per_kwh: float
    threshold_usd_per_kwh: float
    cheap_now: bool
    cheap_later: tuple[bool, ...]  # the steps after this one
    carbon_kg_per_kwh: float
    ref_carbon_kg_per_kwh: float
    ambient_c: float
    pack_c: float  # of the twins
    local_h: float  # clock of the area at the start of the step

    def tariff(self, manager: EnergyConfig) -> energy.Tariff:
        """What the energy manager knows."""
        return energy.Tariff(
            self.usd_per_kwh,
            self.threshold_usd_per_kwh,
            self.cheap_now,
            manager.pack_wear_usd_per_kwh,
            manager.margin_h,
        )


@dataclass
class Shift:
    """One car's part of a step: filled from top to bottom."""

    duty: bool = False
    stays: bool = False  # on duty to the end of the step
    allowed: bool = False  # by the truth
    on_min: float = 0.0  # on duty
    serve_from: float = 0.0
    serve_min: float = 0.0
    awake_min: float = 0.0  # the first part of the step (but for a car that wakes later)
    plug_h: float = 0.0
    air_c: float = 0.0  # at the inlet
    derate: float = 1.0
    cut: bool = False  # was serving until a departure, a call-back or a link that failed
    stopped: bool = False  # taken off duty by the agent, or given new weights, while it served
    cold_start: bool = False
    downloaded_gb: float = 0.0
    compute_kwh: float = 0.0
    compute_wall_kwh: float = 0.0
    wish: energy.Wish | None = None
    flow: energy.Flow | None = None
    twin_after_trip: float | None = None  # soc with which the twin set out, less the trip

    @property
    def serve_until(self) -> float:
        """Minute of the step at which it serves no more."""
        return self.serve_from + self.serve_min


@dataclass
class Outcome:
    """Everything a step reports about its row."""

    reward: dict[str, float] = field(default_factory=lambda: dict.fromkeys(REWARD_TERMS, 0.0))
    metric: dict[str, float] = field(default_factory=dict)
    shifts: list[Shift] = field(default_factory=list)
    service: queueing.Service | None = None

    def count(self, name: str, amount: float = 1.0) -> None:
        """Add to a metric."""
        self.metric[name] = self.metric.get(name, 0.0) + amount

    def pay(self, term: str, usd: float) -> None:
        """Add to a term of the ledger; costs are negative."""
        self.reward[term] = self.reward.get(term, 0.0) + usd

"""Settings of a world that fights back: regions, owners, telemetry, transformers, shocks.

All are off or at their mildest by default, so that a card names what makes it hard. Sources as in
`fleet_env.config`: "domain N" is section N of docs/parameters.md, "est" has no source.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fleet_env.checks import in_range, one_of, require

MAX_REGIONS = 8
HOURS = (0.0, 24.0)
SHARE = (0.0, 1.0)


@dataclass
class RegionConfig:
    """A part of the fleet with its own clock, grid and demand. Empty: as the card says."""

    share: float = 1.0  # of the cars and of the demand, relative to the other regions
    time_zone: str = ""  # IANA; "": `time_zone` of the card
    grid: str = ""  # row of the seasonal profiles; "": `energy.region`
    tariff: str = ""  # "": `energy.tariff`
    delivery_usd_per_kwh: float | None = None  # null: `energy.delivery_usd_per_kwh`
    latitude_deg: float = 37.4  # where requests arise: round trips follow from distances
    longitude_deg: float = -122.0

    def check(self, name: str) -> None:
        """Raise ValueError unless all is inside its limits; `name` is the region."""
        in_range(
            self,
            f"regions.{name}.",
            share=(1e-6, 1e6),
            latitude_deg=(-90.0, 90.0),
            longitude_deg=(-180.0, 180.0),
        )
        if self.delivery_usd_per_kwh is not None:
            in_range(self, f"regions.{name}.", delivery_usd_per_kwh=(0.0, 2.0))


def as_region(name: str, settings: RegionConfig | Mapping[str, Any]) -> RegionConfig:
    """Build a checked region from its settings.

    Raises
    ------
    ValueError
        If a setting is unknown or outside its limits.
    """
    if isinstance(settings, Mapping):
        valid = [entry.name for entry in fields(RegionConfig)]
        for key in settings:
            close = difflib.get_close_matches(str(key), valid, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            require(key in valid, f"regions.{name}", key, f"one of {', '.join(valid)}{hint}")
        settings = RegionConfig(**settings)
    require(isinstance(settings, RegionConfig), f"regions.{name}", settings, "a mapping")
    settings.check(name)
    return settings


@dataclass
class OwnersConfig:
    """Who takes part, when, and how they react."""

    opt_in: str = "all"  # all: every car is enrolled | by_pay: the share that the pay attracts
    expected_duty_h_per_month: float = 34.0  # what owners reckon with; as the suburb's best rule
    dropout_per_broken_promise: float = 0.05  # chance to leave for good; domain 7, est
    cap_h_per_month: float = 0.0  # on-duty hours an owner allows, given out by the day; 0: no cap
    quiet_share: float = 0.0  # owners who forbid compute in quiet hours (domain 7: 0.1 of homes)
    quiet_from_h: float = 22.0  # local clock; est
    quiet_to_h: float = 6.0
    allowed_from_h: float = 0.0  # local hours in which any owner allows compute
    allowed_to_h: float = 24.0  # equal bounds or 0 to 24: always

    def __post_init__(self) -> None:
        one_of(self, "owners.", opt_in=("all", "by_pay"))
        in_range(
            self,
            "owners.",
            expected_duty_h_per_month=(0.0, 744.0),
            dropout_per_broken_promise=SHARE,
            cap_h_per_month=(0.0, 744.0),
            quiet_share=SHARE,
            quiet_from_h=HOURS,
            quiet_to_h=HOURS,
            allowed_from_h=HOURS,
            allowed_to_h=HOURS,
        )


@dataclass
class TelemetryConfig:
    """What the dispatcher is told about the cars, and how late."""

    age_s: float = (
        0.0  # age of what a report shows: 0, 20, 60, 300 s or up to a step (scheduling 4)
    )
    silent_share: float = 0.0  # stays whose arrival is never reported; est
    stuck_share: float = 0.0  # stays whose end is not reported: the plugged flag is stuck; est

    def __post_init__(self) -> None:
        in_range(self, "telemetry.", age_s=(0.0, 3600.0), silent_share=SHARE, stuck_share=SHARE)
        total = self.silent_share + self.stuck_share
        require(total <= 1.0, "telemetry.silent_share + stuck_share", total, "at most 1")


@dataclass
class FeederConfig:
    """Homes of a neighbourhood on one service transformer, one car of the fleet in each."""

    limit: bool = False  # compute must leave the transformer within its rating
    homes: int = 5  # on one transformer; domain 6 (3 to 10)
    kva: float = 25.0  # rating; domain 6
    usable_share: float = 0.9  # of the rating in kW; domain 6, est
    home_peak_kw: float = 3.5  # diversified peak of a home without its car; domain 6
    start_spread_min: float = 0.0  # cars put on duty start at a random second of so many minutes

    def __post_init__(self) -> None:
        in_range(
            self,
            "feeder.",
            homes=(1, 100),
            kva=(1.0, 1e4),
            usable_share=SHARE,
            home_peak_kw=(0.0, 100.0),
            start_spread_min=(0.0, 60.0),
        )


@dataclass
class ShockConfig:
    """How often something common to many cars happens, how long and how hard.

    An event may begin on any local day: by chance (`per_year`), by calendar (`every_days`), or on
    a set day of every episode (`on_day`). Its length is `mean_h` times 0.5 to 1.5, its severity
    `severity` times 0.75 to 1.25.
    """

    per_year: float = 0.0  # mean number per domain (region or ISP node) and year
    every_days: int = 0  # days since 1970 that it divides; 0: not by calendar
    on_day: int = -1  # day of the episode, 0 = its first local day; -1: not forced
    from_h: float = 0.0  # it begins between these hours of the local clock
    to_h: float = 24.0
    mean_h: float = 2.0
    severity: float = 1.0  # unit by kind, see `ShocksConfig`
    extent: float = 1.0  # share of the neighbourhoods of the domain that are hit

    def check(self, name: str) -> None:
        """Raise ValueError unless all is inside its limits; `name` is the kind."""
        in_range(
            self,
            f"shocks.{name}.",
            per_year=(0.0, 36525.0),
            every_days=(0, 3650),
            on_day=(-1, 13),
            from_h=HOURS,
            to_h=HOURS,
            mean_h=(0.25, 240.0),
            severity=(-100.0, 100.0),
            extent=SHARE,
        )
        require(self.from_h <= self.to_h, f"shocks.{name}.from_h", self.from_h, "at most to_h")

    @property
    def off(self) -> bool:
        """Whether it never happens."""
        return self.per_year == 0.0 and self.every_days == 0 and self.on_day < 0


@dataclass
class ShocksConfig:
    """Shocks by kind. Rates are 0 by default; what is typical stands beside each."""

    # power and home link out; typical 2 a year (est), 8 h, a third of the transformers; est
    storm: ShockConfig = field(default_factory=lambda: ShockConfig(mean_h=8.0, extent=0.35))
    # home link out, per node of 500 homes; typical 6 a year of 2 h; domain 4, est
    isp: ShockConfig = field(default_factory=lambda: ShockConfig(mean_h=2.0))
    # severity: K above the season; typical 3 a year (est); 3 days, +8 K; est
    heatwave: ShockConfig = field(default_factory=lambda: ShockConfig(mean_h=72.0, severity=8.0))
    # severity: K below the season; typical 2 a year (est); 3 days, -12 K; est
    coldsnap: ShockConfig = field(default_factory=lambda: ShockConfig(mean_h=72.0, severity=12.0))
    # cars install an over-the-air update: unreachable; typical every 30 days, a third a night; est
    ota: ShockConfig = field(
        default_factory=lambda: ShockConfig(from_h=1.0, to_h=3.0, mean_h=0.75, extent=0.33)
    )
    # severity: USD/kWh on top of a day-ahead price; typical 10 a year (est), early evening; est
    price_spike: ShockConfig = field(
        default_factory=lambda: ShockConfig(from_h=16.0, to_h=18.0, mean_h=3.0, severity=0.5)
    )
    # severity: USD/kWh off a day-ahead price; typical 90 a year: 457 h in Germany 2024; domain 6
    negative_noon: ShockConfig = field(
        default_factory=lambda: ShockConfig(from_h=10.0, to_h=11.0, mean_h=5.0, severity=0.15)
    )
    # severity: interactive requests more, relative; typical 12 a year (est), 1.5 h, x3; est
    flash: ShockConfig = field(default_factory=lambda: ShockConfig(mean_h=1.5, severity=2.0))
    # a model release: all weights must be fetched again; typical every 60 days; domain 4, est
    release: ShockConfig = field(
        default_factory=lambda: ShockConfig(from_h=18.0, to_h=18.0, mean_h=0.25)
    )
    # local dates MM-DD that run like a Sunday: plugging, trips and demand
    holidays: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for kind in fields(self):
            shock = getattr(self, kind.name)
            if isinstance(shock, ShockConfig):
                shock.check(kind.name)

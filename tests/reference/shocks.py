"""What shocks do to cars: links that fail, homes in the dark, weights to fetch again (5.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fleet_env.config import EnvConfig
from fleet_env.types import HOME, LINK_WIFI
from tests.reference.cars import Car, CarState, flash_gb, load_min, twin_soc


@dataclass(frozen=True)
class Event:
    """A shock: what, where, from when to when [h since the start], and whom it hits."""

    kind: str
    region: int
    start_h: float
    end_h: float
    hit: frozenset[int] = frozenset()  # neighbourhoods of the row
    severity: float = 0.0


@dataclass(frozen=True)
class Outage:
    """What is out for one car in one step, by its place: at home, anywhere."""

    home_down: bool = False  # Wi-Fi at home at the start of the step
    down: bool = False  # link anywhere
    home_fails_h: float = math.inf  # when in the step the Wi-Fi at home fails
    fails_h: float = math.inf
    dark: bool = False  # home without power

    def link_down(self, car: Car, place: int) -> bool:
        """Whether the car cannot be reached at the start of the step."""
        return self.down or (_on_wifi_at_home(car, place) and self.home_down)

    def link_fails_h(self, car: Car, place: int) -> float:
        """Time inside the step at which the car can be reached no more."""
        at_home = _on_wifi_at_home(car, place)
        return min(self.fails_h, self.home_fails_h) if at_home else self.fails_h


def _on_wifi_at_home(car: Car, place: int) -> bool:
    return place == HOME and car.home_link == LINK_WIFI


NOTHING_OUT = Outage()


def outage_of(events: list[Event], car: Car, t_h: float, dt_h: float) -> Outage:
    """What is out for a car in the step from `t_h` on."""
    mine = [e for e in events if e.region == car.region and car.neighbourhood in e.hit]
    home = [e for e in mine if e.kind in ("storm", "isp")]
    anywhere = [e for e in mine if e.kind == "ota"]
    return Outage(
        home_down=_on(home, t_h),
        down=_on(anywhere, t_h),
        home_fails_h=_fails_h(home, t_h, dt_h),
        fails_h=_fails_h(anywhere, t_h, dt_h),
        dark=_on([e for e in home if e.kind == "storm"], t_h),
    )


def _on(events: list[Event], t_h: float) -> bool:
    return any(e.start_h <= t_h < e.end_h for e in events)


def _fails_h(events: list[Event], t_h: float, dt_h: float) -> float:
    """First failure inside the step; what is down from its start on fails no more."""
    starts = [e.start_h for e in events if t_h < e.start_h < t_h + dt_h]
    return min(starts) if starts and not _on(events, t_h) else math.inf


def released(events: list[Event], region: int, before_h: float, t_h: float) -> bool:
    """Whether the step at `t_h`, and not the one at `before_h`, begins at or after a release."""
    releases = [e for e in events if e.kind == "release" and e.region == region]
    return any(before_h < e.start_h <= t_h for e in releases)


def change_power(config: EnvConfig, car: Car, state: CarState, t_h: float, *, dark: bool) -> None:
    """Power at home fails or is back at `t_h`: the twin goes on from where it is."""
    if dark != state.dark and state.place == HOME and state.plugged:
        state.twin_ref = twin_soc(car, state, t_h, config.fleet.standby_w)
        state.ref_h = t_h
        state.anchor, state.falling = state.twin_ref - state.gap, False
    state.dark = dark


def release(config: EnvConfig, car: Car, state: CarState) -> bool:
    """New weights for all; return whether the car served with the old ones.

    A car in its tail loses what it had in memory: it wakes from cold.
    """
    served = state.duty and state.ready_min == 0.0
    state.weights_gb = flash_gb(car, config)
    download_min = state.weights_gb * 8000.0 / car.down_mbps / 60.0
    state.ready_min = load_min(car, config) + download_min if state.duty else 0.0
    state.tail_min = 0.0
    return served

"""Links and power that fail for many homes at once, laid out by step from the shocks of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.config import EnvConfig
from fleet_env.generators.shocks import (
    ISP,
    NEIGHBOURHOODS_PER_NODE,
    OTA,
    RELEASE,
    STORM,
    ShockEvents,
)
from fleet_env.regions import num_neighbourhoods, num_regions, region_edges
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.units import MIN_PER_H


@dataclass(frozen=True, slots=True)
class StepOutages:
    """What is out in a step, by neighbourhood of the batch; None: nowhere."""

    home_down: BoolArray | None = None  # no link at home at the start of the step
    down: BoolArray | None = None  # no link anywhere at the start of the step
    home_fails_h: FloatArray | None = None  # when in the step it fails [h], inf if not; float32
    fails_h: FloatArray | None = None  # the same for `down`
    dark: BoolArray | None = None  # no power at home in the step


class Outages:
    """Outages of an episode: storms and ISP outages (homes), updates over the air (cars anywhere).

    Links fail and return at any second, power at the starts of steps. Overlapping events of a
    neighbourhood are one.

    Parameters
    ----------
    config : EnvConfig
    shocks : ShockEvents
        Of all rows of the batch.
    num_envs : int
        Rows of the batch.
    """

    def __init__(self, config: EnvConfig, shocks: ShockEvents, num_envs: int) -> None:
        self._step_min = config.step_min
        self._size = num_envs * num_neighbourhoods(config)
        wanted = np.isin(shocks.kind, (STORM, ISP, OTA))
        wanted &= (shocks.end_h > 0) & (shocks.start_h < self._time_h(config.num_steps + 1))
        places = _places(config, shocks, wanted.nonzero()[0])
        self._places = [place for place in places if place.size]  # hit by each event
        events = wanted.nonzero()[0][[place.size > 0 for place in places]]
        self._kind = shocks.kind[events]
        self._start_h, self._end_h = shocks.start_h[events], shocks.end_h[events]
        released = shocks.kind == RELEASE
        self._release_h, self._release_area = shocks.start_h[released], shocks.area[released]

    def at(self, step: int) -> StepOutages | None:
        """Return what is out in a step, or None where nothing is out or fails in all the batch."""
        t_h = self._time_h(step)
        active = (self._start_h < self._time_h(step + 1)) & (self._end_h > t_h)
        if not active.any():
            return None
        anywhere, before = self._kind == OTA, self._start_h <= t_h
        home_down = self._out(active & before & ~anywhere)
        down = self._out(active & before & anywhere)
        return StepOutages(
            home_down=home_down,
            down=down,
            home_fails_h=self._fails_h(active & ~before & ~anywhere, home_down),
            fails_h=self._fails_h(active & ~before & anywhere, down),
            dark=self._out(self._is_dark(step)),
        )

    def dark_changes(self, step: int) -> bool:
        """Tell whether the power of any home may go or return at the start of a step.

        Before step 0 there is power everywhere.
        """
        now = self._is_dark(step)
        return bool((now != self._is_dark(step - 1)).any() if step else now.any())

    def releases(self, step: int) -> IntArray:
        """Areas with a model release at the start of a step, rising; none twice."""
        due = self._release_h <= self._time_h(step)
        due &= self._release_h > self._time_h(step - 1)
        areas: IntArray = np.unique(self._release_area[due])
        return areas

    def _time_h(self, step: int) -> float:
        return step * self._step_min / MIN_PER_H

    def _is_dark(self, step: int) -> BoolArray:
        """Which events leave homes without power: storms that have begun and are not over."""
        t_h = self._time_h(step)
        dark: BoolArray = (self._kind == STORM) & (self._start_h <= t_h) & (self._end_h > t_h)
        return dark

    def _out(self, events: BoolArray) -> BoolArray | None:
        """Neighbourhoods that some events hit."""
        if not events.any():
            return None
        out = np.zeros(self._size, np.bool_)
        out[np.concatenate([self._places[i] for i in events.nonzero()[0]])] = True
        return out

    def _fails_h(self, events: BoolArray, down: BoolArray | None) -> FloatArray | None:
        """Earliest start of some events in each neighbourhood that is not down already."""
        if not events.any():
            return None
        fails_h = np.full(self._size, np.inf, np.float32)
        for i in events.nonzero()[0]:
            place = self._places[i]
            fails_h[place] = np.minimum(fails_h[place], np.float32(self._start_h[i]))
        if down is not None:
            fails_h[down] = np.inf
        return fails_h


def _places(config: EnvConfig, shocks: ShockEvents, events: IntArray) -> list[IntArray]:
    """Neighbourhoods of the batch that each of some events hits."""
    edges, num = region_edges(config).tolist(), num_neighbourhoods(config)
    places = []
    for i in events.tolist():
        row, region = divmod(int(shocks.area[i]), num_regions(config))
        first, stop = edges[region : region + 2]
        node = int(shocks.node[i])
        if node >= 0:
            first = max(first, node * NEIGHBOURHOODS_PER_NODE)
            stop = min(stop, (node + 1) * NEIGHBOURHOODS_PER_NODE)
        near = np.arange(first, stop)
        places.append(near[shocks.hit(i, near)] + row * num)
    return places

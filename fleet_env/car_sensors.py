"""What the dispatcher reads of every car: slow columns change at events, fast ones each step."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from fleet_env.config import EnvConfig
from fleet_env.generators.exogenous import Exogenous
from fleet_env.observations import AREA_FIELDS, CAR, CAR_FIELDS, FEEDER_MAX_KW, REPORT_MAX_MIN
from fleet_env.regions import num_regions, region_of_cars
from fleet_env.sensors import AreaSensors
from fleet_env.types import (
    DRIVING,
    EVSE_NONE,
    HOME,
    LFP,
    LINK_NONE,
    WORK,
    BoolArray,
    FloatArray,
    IntArray,
)
from fleet_env.units import MIN_PER_H
from fleet_env.world import World

STAY_MAX_H = 48.0  # bound of the stated stay shown
PARKED_MAX_H = 96.0  # bound of the time since arrival shown
READY_MAX_MIN = 1440.0

_AREA = slice(CAR[AREA_FIELDS[0].name], CAR[AREA_FIELDS[-1].name] + 1)
_FAST = ("on_duty", "snoozed", "soc", "stay_h", "parked_h", "cheap_h")


def _slow_columns() -> tuple[slice, ...]:
    """Find the runs of columns that change at events only."""
    fast = {CAR[name] for name in _FAST} | set(range(_AREA.start, _AREA.stop))
    runs = pairwise([-1, *sorted(fast), len(CAR_FIELDS)])
    return tuple(slice(low + 1, high) for low, high in runs if low + 1 < high)


_SLOW = _slow_columns()


class CarSensors:
    """What is known of every car, field-major: column j of all cars lies together in memory."""

    def __init__(self, config: EnvConfig, num_envs: int) -> None:
        self._config, self._shape = config, (num_envs, config.num_cars)
        self._columns = np.zeros((len(CAR_FIELDS), num_envs * config.num_cars), np.float32)
        region = region_of_cars(config)
        self._set("region", np.tile(region, num_envs))
        self._set("feeder_kw", np.float32(FEEDER_MAX_KW))
        edges = np.searchsorted(region, np.arange(num_regions(config) + 1)).tolist()
        self._region_cars = [slice(a, b) for a, b in pairwise(edges)]
        self._areas = AreaSensors(config, num_envs * len(self._region_cars))

    def begin(self, told: World, exo: Exogenous, awake_kw: FloatArray, busy_kw: FloatArray) -> None:
        """Start an episode; powers are per accelerator [kW].

        Parameters
        ----------
        told : World
            The world as the dispatcher has been told it: `Telemetry.told`.
        """
        self._told, self._exo = told, exo
        self._areas.begin(exo)
        params, setup = told.params, told.setup
        self._set("pack_kwh", params.pack_kwh)
        self._set("lfp", params.chemistry == LFP)
        self._set("fits_8b", setup.tier_fits[params.accelerator, 0])
        self._set("fits_70b", setup.tier_fits[params.accelerator, 1])
        self._set("awake_kw", awake_kw[params.accelerator])
        self._set("busy_kw", busy_kw[params.accelerator])
        self._set("reserve_soc", params.reserve_soc)
        self._set("target_soc", params.target_soc)
        everyone = np.arange(self._columns.shape[1])
        self._parked = np.empty(everyone.shape, np.float32)
        self._stay_end = np.empty(everyone.shape, np.intp)  # element of `cheap_cum_h`
        self._view = exo.price_view(0)
        self.moved(everyone)
        self.worked(everyone)

    def moved(self, cars: IntArray) -> None:
        """Refresh what changes when cars are reported to have departed or arrived."""
        told = self._told
        place, evse = told.state.place[cars], told.derived.evse[cars]
        home, work = place == HOME, place == WORK
        link = np.where(home, told.params.home_link[cars], told.params.work_link[cars])
        self._set("at_home", home, cars)
        self._set("at_work", work, cars)
        self._set("garage", home * told.params.closed_garage[cars], cars)
        self._set("plugged", evse != EVSE_NONE, cars)
        self._set("linked", (link != LINK_NONE) & (home | work), cars)
        self._set("evse_kw", told.evse_table.ac_kw.take(evse), cars)
        self._parked[cars] = place != DRIVING
        self._find_stay_end(cars)

    def worked(self, cars: IntArray) -> None:
        """Refresh what changes when cars are on duty or refill."""
        told, state = self._told, self._told.state
        self._set("gap_kwh", state.gap[cars] * told.params.pack_kwh[cars], cars)
        warm = state.duty[cars] | (state.tail_min[cars] > 0)
        ready_min = np.where(warm, state.ready_min[cars], told.derived.cold_min[cars])
        self._set("ready_min", np.minimum(ready_min, READY_MAX_MIN), cars)

    def read(
        self,
        step: int,
        soc: FloatArray,
        seen_h: FloatArray | float,
        cut: BoolArray | None = None,
        feeder_kw: FloatArray | None = None,
    ) -> FloatArray:
        """Observation of all cars at the start of a step, shape (num_envs, num_cars, F), fresh.

        Parameters
        ----------
        step : int
        soc : FloatArray, shape (num_envs * num_cars,)
            State of charge that the cars show.
        seen_h : FloatArray, shape (num_envs * num_cars,), or float
            Time of which the reports are [h]; a number where all are of now.
        cut : BoolArray, shape (num_envs * num_cars,), optional
            Cars whose link is down.
        feeder_kw : FloatArray, shape (neighbourhoods,), optional
            Power left for compute on the transformers in the step before.
        """
        state, now_h = self._told.state, np.float32(step * self._config.dt_h)
        out = np.empty(self._columns.shape, np.float32)
        for run in _SLOW:
            out[run] = self._columns[run]
        out[CAR["on_duty"]] = state.duty
        out[CAR["snoozed"]] = state.snooze_h <= seen_h
        np.multiply(soc, self._parked, out=out[CAR["soc"]])  # the trip is not known yet
        stay_h = np.subtract(state.stated_h, now_h, out=out[CAR["stay_h"]])
        np.clip(stay_h, 0.0, STAY_MAX_H, out=stay_h)
        parked_h = np.subtract(now_h, state.parked_h, out=out[CAR["parked_h"]])
        np.clip(parked_h, 0.0, PARKED_MAX_H, out=parked_h)
        self._cheap_h(step, out=out[CAR["cheap_h"]])
        by_area = self._areas.at(step).reshape(len(AREA_FIELDS), self._shape[0], -1)
        by_car = out[_AREA].reshape(len(AREA_FIELDS), *self._shape)
        for region, cars in enumerate(self._region_cars):
            by_car[..., cars] = by_area[..., region, None]
        if isinstance(seen_h, np.ndarray):
            report_min = (now_h - seen_h) * np.float32(MIN_PER_H)
            np.minimum(report_min, REPORT_MAX_MIN, out=out[CAR["report_min"]])
        if cut is not None:
            np.putmask(out[CAR["linked"]], cut, 0.0)
        if feeder_kw is not None:
            shown_kw = np.minimum(feeder_kw, FEEDER_MAX_KW).astype(np.float32)
            home = self._told.derived.neighbourhood
            shown_kw.take(home, out=out[CAR["feeder_kw"]], mode="clip")
        return out.reshape(len(CAR_FIELDS), *self._shape).transpose(1, 2, 0)

    def _cheap_h(self, step: int, out: FloatArray) -> None:
        """Cheap hours between the end of the step and the stated departure, as `settle` counts."""
        view = self._exo.price_view(step)
        if view is not self._view:
            self._view = view
            self._find_stay_end(slice(None))
        end = step + 1 - view.first
        hours = view.cheap_cum_h - view.cheap_cum_h[:, end, None]
        hours[:, :end] = 0.0
        hours.ravel().take(self._stay_end, out=out, mode="clip")

    def _find_stay_end(self, cars: IntArray | slice) -> None:
        """Look up the step of the stated departures in the running sum of cheap hours."""
        columns = self._view.cheap_cum_h.shape[1]
        end = self._told.state.stated_h[cars] / np.float32(self._config.dt_h)
        end -= self._view.first
        np.clip(end, 0.0, columns - 1, out=end)
        self._stay_end[cars] = self._told.derived.area[cars] * columns + end.astype(np.intp)

    def _set(
        self,
        name: str,
        value: FloatArray | BoolArray | IntArray | np.float32,
        cars: IntArray | None = None,
    ) -> None:
        column = self._columns[CAR[name]]
        column[slice(None) if cars is None else cars] = value

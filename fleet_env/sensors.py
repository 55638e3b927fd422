"""What the dispatcher reads about areas and about the fleet as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fleet_env.config import EnvConfig
from fleet_env.dynamics.serving import QueueState, ServiceFlows
from fleet_env.generators.exogenous import Exogenous
from fleet_env.generators.published import PriceView, views_between
from fleet_env.observations import (
    AREA_FIELDS,
    BATCH_00H,
    CHAT_00H,
    FLEET,
    FLEET_FIELDS,
    FORECAST_H,
    PRICE_00H,
)
from fleet_env.regions import regions_of
from fleet_env.types import BATCH_70B, CHAT_8B, CHAT_70B, FloatArray
from fleet_env.units import G_PER_KG, HOURS_PER_DAY, MIN_PER_H

DUE_H = (1, 4, 12)  # horizons of the batch backlog shown
MAX_STEPS = 64  # steps worked out at once
ROW_STEPS = 1024  # areas times steps worked out at once: their arrays stay small


class AreaSensors:
    """What all cars of an area share, worked out for some steps at a time."""

    def __init__(self, config: EnvConfig, num_areas: int) -> None:
        self._num_steps = config.num_steps
        self._chunk = max(1, min(MAX_STEPS, ROW_STEPS // num_areas))

    def begin(self, exo: Exogenous) -> None:
        """Start an episode."""
        self._exo = exo
        self._ahead = range(0)

    def at(self, step: int) -> FloatArray:
        """Values at the start of a step, shape (len(AREA_FIELDS), areas); not to be changed."""
        if step not in self._ahead:
            stop = min(step + self._chunk, self._num_steps + 1)
            self._ahead = range(step, stop)
            table = area_values(self._exo, step, stop - step, self._num_steps)
            self._table = np.ascontiguousarray(table.transpose(2, 0, 1))
        values: FloatArray = self._table[step - self._ahead.start]
        return values


def area_values(exo: Exogenous, step: int, num: int, num_steps: int) -> FloatArray:
    """`AREA_FIELDS` of the steps from `step` on, shape (fields, areas, num), float32."""
    now = slice(step, step + num)
    known = np.minimum(np.arange(step, step + num), num_steps - 1)  # the last look is at the end
    return np.stack(
        [
            exo.price_usd_per_kwh[:, now],
            exo.ref_price_usd_per_kwh[:, known],
            exo.threshold_usd_per_kwh[:, known],
            exo.carbon_g_per_kwh[:, now] / np.float32(G_PER_KG),
            exo.ambient_c[:, now],
            exo.local_hour[:, now],
        ]
    ).astype(np.float32, copy=False)


class FleetSensors:
    """What the dispatcher reads about the fleet as a whole, in numbers that do not grow with it.

    Parameters
    ----------
    work_car_h : FloatArray, shape (3,)
        Car-hours per request, by class.
    price_usd : FloatArray, shape (3,)
        What is credited for a request.
    requests_per_min : FloatArray, shape (3,)
        Mean requests per minute and car.
    max_due : int
        Last column of the batch backlog.
    peak_charge_usd : float
        For each USD/h by which the peak of the data centre grows; 0 unless `dc_cost` is peak.
    """

    def __init__(
        self,
        config: EnvConfig,
        work_car_h: FloatArray,
        price_usd: FloatArray,
        requests_per_min: FloatArray,
        max_due: int,
        num_envs: int,
        *,
        peak_charge_usd: float = 0.0,
    ) -> None:
        self._config = config
        self._fleet = np.zeros((num_envs, len(FLEET_FIELDS)), np.float32)
        self._work_car_h = work_car_h  # per request, by class
        value = np.where(work_car_h > 0, price_usd / np.where(work_car_h > 0, work_car_h, 1.0), 0.0)
        self._fleet[:, FLEET["value_8b_usd_per_h"]] = value[0]
        self._fleet[:, FLEET["value_70b_usd_per_h"]] = value[1]
        self._fleet[:, FLEET["value_batch_usd_per_h"]] = value[2]
        self._fleet[:, FLEET["pay_usd_per_h"]] = config.reward.pay_usd_per_on_duty_h
        self._fleet[:, FLEET["peak_usd_per_usd_h"]] = peak_charge_usd
        # rate multipliers -> cars' worth of work per car of the fleet
        self._work_per_rate = (requests_per_min * MIN_PER_H * work_car_h).astype(np.float32)
        self._due_steps = np.minimum(
            np.round(np.array(DUE_H) / config.dt_h).astype(np.intp) - 1, max_due
        )
        self._share = [region.share for region in regions_of(config)]
        self._chunk = max(1, min(MAX_STEPS, ROW_STEPS // (num_envs * len(self._share))))

    def begin(self, exo: Exogenous) -> None:
        """Start an episode; what comes from outside is worked out for some steps at a time."""
        self._exo = exo
        self._ahead = range(0)
        self._rate = self._mean(exo.rate_forecast)
        self._views = tuple(self._mean_view(view) for view in exo.price_views)

    def read(
        self,
        step: int,
        flows: ServiceFlows,
        queue: QueueState,
        util: FloatArray,
        shares: FloatArray,
        dc_usd_per_h: FloatArray | None = None,
    ) -> FloatArray:
        """Observation of the rows at the start of a step, shape (num_envs, G), freshly allocated.

        Parameters
        ----------
        util : FloatArray, shape (num_envs,)
            Busy share of the serving cars in the step before.
        shares : FloatArray, shape (3, num_envs)
            Cars on duty in the step before, cars the mask allows, cars plugged; per car of the
            fleet and as told.
        dc_usd_per_h : FloatArray, shape (2, num_envs), optional
            Interactive load left to the data centre: mean of the last hour, running peak [USD/h].
        """
        if step not in self._ahead:
            stop = min(step + self._chunk, self._config.num_steps + 1)
            self._ahead = range(step, stop)
            self._outside = self._look_outside(step, stop - step)
        out: FloatArray = self._outside[step - self._ahead.start].copy()
        config, per_car = self._config, 1.0 / self._config.num_cars
        first = FLEET["chat_8b_last"]
        out[:, first : first + 3] = flows.arrived * (self._work_car_h * (per_car / config.dt_h))
        due = np.add.accumulate(queue.batch_due, axis=1)
        due *= self._work_car_h[BATCH_70B] * per_car
        first = FLEET["batch_due_1h"]
        out[:, first : first + len(DUE_H)] = due.take(self._due_steps, axis=1)
        out[:, FLEET["util"]] = util
        first = FLEET["duty"]
        out[:, first : first + len(shares)] = shares.T
        if dc_usd_per_h is not None:
            out[:, FLEET["dc_load"]], out[:, FLEET["dc_peak"]] = dc_usd_per_h * per_car
        return out

    def _look_outside(self, step: int, num: int) -> FloatArray:
        """Fields of the steps from `step` on that no action changes, shape (num, num_envs, G)."""
        exo, num_steps, regions = self._exo, self._config.num_steps, len(self._share)
        out = np.repeat(self._fleet[None], num, axis=0)
        now = slice(step, step + num)
        known = np.minimum(np.arange(step, step + num), num_steps - 1)
        values = area_values(exo, step, num, num_steps)
        shown = [i for i, field in enumerate(AREA_FIELDS) if field.name in FLEET]
        for i, mean in zip(shown, self._mean(values[shown]), strict=True):
            out[..., FLEET[AREA_FIELDS[i].name]] = mean.T
        angle = exo.local_hour[::regions, now].T * np.float32(2.0 * np.pi / HOURS_PER_DAY)
        out[..., FLEET["hour_sin"]] = np.sin(angle)
        out[..., FLEET["hour_cos"]] = np.cos(angle)
        out[..., FLEET["weekend"]] = exo.weekday[::regions, now].T >= 5
        out[..., FLEET["left"]] = 1.0 - np.arange(step, step + num)[:, None] / num_steps
        out[..., FLEET["cheap"]] = self._mean(exo.cheap[:, known].astype(np.float32)).T
        for view, low, high in views_between(self._views, step, step + num):
            price = self._hourly(view.price_usd_per_kwh[None], low - view.first, high - low)[0]
            out[low - step : high - step, :, PRICE_00H : PRICE_00H + FORECAST_H] = price
        work = self._hourly(self._rate * self._work_per_rate[:, None, None], step, num)
        out[..., CHAT_00H : CHAT_00H + FORECAST_H] = work[CHAT_8B] + work[CHAT_70B]
        out[..., BATCH_00H : BATCH_00H + FORECAST_H] = work[BATCH_70B]
        return out

    def _mean(self, values: FloatArray) -> FloatArray:
        """Mean over the regions, weighted by their shares: (..., areas, n) -> (..., rows, n)."""
        if len(self._share) == 1:
            return values
        regions = len(self._share)
        parts = (values[..., r::regions, :] * self._share[r] for r in range(regions))
        total = sum(parts, np.zeros((), np.float64))
        return np.asarray(total).astype(np.float32)

    def _mean_view(self, view: PriceView) -> PriceView:
        if len(self._share) == 1:
            return view
        return replace(view, price_usd_per_kwh=self._mean(view.price_usd_per_kwh))

    def _hourly(self, series: FloatArray, step: int, num: int) -> FloatArray:
        """Hourly means of the next 24 h, (k, num_envs, n) -> (k, num, num_envs, 24)."""
        per_h = round(1.0 / self._config.dt_h)
        length = num + (FORECAST_H - 1) * per_h
        hour = series[..., step : step + length].copy()  # of the hour that begins with each step
        for later in range(1, per_h):
            hour += series[..., step + later : step + later + length]
        hour *= np.float32(1.0 / per_h)
        windows = np.lib.stride_tricks.sliding_window_view(hour, length - num + 1, axis=2)
        return windows[..., ::per_h].swapaxes(1, 2)

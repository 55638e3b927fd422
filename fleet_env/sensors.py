"""Fills observations: slow columns are refreshed at events, fast ones computed each step."""

from __future__ import annotations

import numpy as np

from fleet_env.config import EnvConfig
from fleet_env.dynamics.serving import QueueState, ServiceFlows
from fleet_env.generators.exogenous import Exogenous
from fleet_env.generators.published import views_between
from fleet_env.observations import (
    BATCH_00H,
    CAR,
    CAR_FIELDS,
    CHAT_00H,
    FLEET,
    FLEET_FIELDS,
    FORECAST_H,
    PRICE_00H,
)
from fleet_env.types import (
    BATCH_70B,
    CHAT_8B,
    CHAT_70B,
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
from fleet_env.units import G_PER_KG, HOURS_PER_DAY, MIN_PER_H
from fleet_env.world import ALLOWED, World

STAY_MAX_H = 48.0  # bound of the stated stay shown
PARKED_MAX_H = 96.0  # bound of the time since arrival shown
READY_MAX_MIN = 1440.0
DUE_H = (1, 4, 12)  # horizons of the batch backlog shown
MAX_STEPS = 64  # steps worked out at once
ROW_STEPS = 1024  # rows times steps worked out at once: their arrays stay small


class CarSensors:
    """Telemetry of every car, field-major: column j of all cars lies together in memory."""

    def __init__(self, num_envs: int, num_cars: int) -> None:
        self._shape = (num_envs, num_cars)
        self._columns = np.zeros((len(CAR_FIELDS), num_envs * num_cars), np.float32)

    def begin(self, world: World, awake_kw: FloatArray, busy_kw: FloatArray) -> None:
        """Write the columns that an episode does not change; powers are per accelerator [kW]."""
        params, setup = world.params, world.setup
        self._set("pack_kwh", params.pack_kwh)
        self._set("lfp", params.chemistry == LFP)
        self._set("fits_8b", setup.tier_fits[params.accelerator, 0])
        self._set("fits_70b", setup.tier_fits[params.accelerator, 1])
        self._set("awake_kw", awake_kw[params.accelerator])
        self._set("busy_kw", busy_kw[params.accelerator])
        self._set("reserve_soc", params.reserve_soc)
        self._set("target_soc", params.target_soc)
        everyone = np.arange(self._columns.shape[1])
        self.moved(world, everyone)
        self.worked(world, everyone)

    def moved(self, world: World, cars: IntArray) -> None:
        """Refresh what changes when cars depart or arrive."""
        place, evse = world.state.place[cars], world.derived.evse[cars]
        home, work = place == HOME, place == WORK
        link = np.where(home, world.params.home_link[cars], world.params.work_link[cars])
        self._set("at_home", home, cars)
        self._set("at_work", work, cars)
        self._set("plugged", evse != EVSE_NONE, cars)
        self._set("linked", (link != LINK_NONE) & (home | work), cars)
        self._set("evse_kw", world.evse_table.ac_kw.take(evse), cars)

    def worked(self, world: World, cars: IntArray) -> None:
        """Refresh what changes when cars are on duty or refill."""
        state = world.state
        self._set("gap_kwh", state.gap[cars] * world.params.pack_kwh[cars], cars)
        warm = state.duty[cars] | (state.tail_min[cars] > 0)
        ready_min = np.where(warm, state.ready_min[cars], world.derived.cold_min[cars])
        self._set("ready_min", np.minimum(ready_min, READY_MAX_MIN), cars)

    def read(self, world: World, soc: FloatArray, t_h: float) -> FloatArray:
        """Observation of all cars, shape (num_envs, num_cars, F), freshly allocated."""
        state, now_h = world.state, np.float32(t_h)
        out = self._columns.copy()
        out[CAR["on_duty"]] = state.duty
        np.less_equal(state.snooze_h, now_h, out=out[CAR["snoozed"]], casting="unsafe")
        np.multiply(soc, state.place != DRIVING, out=out[CAR["soc"]])  # the trip is not known yet
        stay_h = np.subtract(state.stated_h, now_h, out=out[CAR["stay_h"]])
        np.maximum(stay_h, 0.0, out=stay_h)
        np.minimum(stay_h, STAY_MAX_H, out=stay_h)
        parked_h = np.subtract(now_h, state.parked_h, out=out[CAR["parked_h"]])
        np.maximum(parked_h, 0.0, out=parked_h)
        np.minimum(parked_h, PARKED_MAX_H, out=parked_h)
        return out.reshape(len(CAR_FIELDS), *self._shape).transpose(1, 2, 0)

    def _set(
        self, name: str, value: FloatArray | BoolArray | IntArray, cars: IntArray | None = None
    ) -> None:
        column = self._columns[CAR[name]]
        column[slice(None) if cars is None else cars] = value


class FleetSensors:
    """What the dispatcher reads about the fleet as a whole, in numbers that do not grow with it."""

    def __init__(
        self,
        config: EnvConfig,
        work_car_h: FloatArray,
        price_usd: FloatArray,
        requests_per_min: FloatArray,
        max_due: int,
        num_envs: int,
    ) -> None:
        self._config = config
        self._fleet = np.zeros((num_envs, len(FLEET_FIELDS)), np.float32)
        self._work_car_h = work_car_h  # per request, by class
        value = np.where(work_car_h > 0, price_usd / np.where(work_car_h > 0, work_car_h, 1.0), 0.0)
        self._fleet[:, FLEET["value_8b_usd_per_h"]] = value[0]
        self._fleet[:, FLEET["value_70b_usd_per_h"]] = value[1]
        self._fleet[:, FLEET["value_batch_usd_per_h"]] = value[2]
        self._fleet[:, FLEET["pay_usd_per_h"]] = config.reward.pay_usd_per_on_duty_h
        # rate multipliers -> cars' worth of work per car of the fleet
        self._work_per_rate = (requests_per_min * MIN_PER_H * work_car_h).astype(np.float32)
        self._due_steps = np.minimum(
            np.round(np.array(DUE_H) / config.dt_h).astype(np.intp) - 1, max_due
        )
        self._chunk = max(1, min(MAX_STEPS, ROW_STEPS // num_envs))

    def begin(self, exo: Exogenous) -> None:
        """Start an episode; what comes from outside is worked out for some steps at a time."""
        self._exo = exo
        self._ahead = range(0)

    def read(
        self,
        step: int,
        flows: ServiceFlows,
        queue: QueueState,
        util: FloatArray,
        shares: FloatArray,
    ) -> FloatArray:
        """Observation of the rows at the start of a step, shape (num_envs, G), freshly allocated.

        Parameters
        ----------
        util : FloatArray, shape (num_envs,)
            Busy share of the serving cars in the step before.
        shares : FloatArray, shape (3, num_envs)
            Cars on duty in the step before, cars the mask allows, cars plugged; per car of the
            fleet.
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
        return out

    def _look_outside(self, step: int, num: int) -> FloatArray:
        """Fields of the steps from `step` on that no action changes, shape (num, num_envs, G)."""
        exo, num_steps = self._exo, self._config.num_steps
        out = np.repeat(self._fleet[None], num, axis=0)
        now = slice(step, step + num)
        known = np.minimum(
            np.arange(step, step + num), num_steps - 1
        )  # the last look is at the end
        angle = exo.local_hour[:, now].T * np.float32(2.0 * np.pi / HOURS_PER_DAY)
        out[..., FLEET["hour_sin"]] = np.sin(angle)
        out[..., FLEET["hour_cos"]] = np.cos(angle)
        out[..., FLEET["weekend"]] = exo.weekday[:, now].T >= 5
        out[..., FLEET["left"]] = 1.0 - np.arange(step, step + num)[:, None] / num_steps
        out[..., FLEET["price"]] = exo.price_usd_per_kwh[:, now].T
        out[..., FLEET["ref_price"]] = exo.ref_price_usd_per_kwh[:, known].T
        out[..., FLEET["refill_price"]] = exo.threshold_usd_per_kwh[:, known].T
        out[..., FLEET["cheap"]] = exo.cheap[:, known].T
        out[..., FLEET["carbon"]] = exo.carbon_g_per_kwh[:, now].T / G_PER_KG
        out[..., FLEET["ambient"]] = exo.ambient_c[:, now].T
        for view, low, high in views_between(exo.price_views, step, step + num):
            price = self._hourly(view.price_usd_per_kwh[None], low - view.first, high - low)[0]
            out[low - step : high - step, :, PRICE_00H : PRICE_00H + FORECAST_H] = price
        rate = exo.rate_forecast
        work = self._hourly(rate * self._work_per_rate[:, None, None], step, num)
        out[..., CHAT_00H : CHAT_00H + FORECAST_H] = work[CHAT_8B] + work[CHAT_70B]
        out[..., BATCH_00H : BATCH_00H + FORECAST_H] = work[BATCH_70B]
        return out

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


def duty_mask(
    world: World,
    cars: slice,
    soc: FloatArray,
    hot: BoolArray | None,
    t_h: float,
    *,
    out: BoolArray,
) -> None:
    """Find the cars that may be on duty now, among some that lie together; `out` is written.

    Stay, link and plug allow it, charge is above reserve, nobody called the car back.

    Parameters
    ----------
    soc : FloatArray, shape (n,)
        State of charge of these cars now.
    hot : BoolArray, shape (num_envs * num_accelerators * 2,), optional
        By `Derived.air`: the inlet is too hot to compute. None: nowhere.
    """
    mask = np.equal(world.derived.reason[cars], ALLOWED, out=out)
    mask &= soc > world.params.reserve_soc[cars]
    mask &= world.state.snooze_h[cars] > t_h
    if hot is not None:
        mask &= ~hot[world.derived.air[cars]]

"""Fills observations: slow columns are kept and refreshed at events, fast ones are computed each step."""

from __future__ import annotations

import numpy as np

from fleet_env.config import EnvConfig
from fleet_env.dynamics.serving import QueueState, ServiceFlows, ServingSetup
from fleet_env.generators.exogenous import Exogenous
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
from fleet_env.types import EVSE_NONE, HOME, LFP, LINK_NONE, WORK, BoolArray, FloatArray, IntArray
from fleet_env.units import G_PER_KG, MIN_PER_H, S_PER_H
from fleet_env.world import ALLOWED, World

STAY_MAX_H = 48.0  # bound of the stated stay shown
PARKED_MAX_H = 96.0  # bound of the time since arrival shown
READY_MAX_MIN = 1440.0


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
        self._set("evse_kw", world.evse_table.ac_kw[evse], cars)

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
        out[CAR["soc"]] = soc
        stay_h = np.subtract(state.stated_h, now_h, out=out[CAR["stay_h"]])
        np.clip(stay_h, 0.0, STAY_MAX_H, out=stay_h)
        parked_h = np.subtract(now_h, state.parked_h, out=out[CAR["parked_h"]])
        np.clip(parked_h, 0.0, PARKED_MAX_H, out=parked_h)
        return out.reshape(len(CAR_FIELDS), *self._shape).transpose(1, 2, 0)

    def _set(self, name: str, value: FloatArray | BoolArray | IntArray, cars: IntArray | None = None) -> None:
        self._columns[CAR[name], slice(None) if cars is None else cars] = value


class FleetSensors:
    """What the dispatcher reads about the fleet as a whole, in numbers that do not grow with it."""

    def __init__(
        self,
        config: EnvConfig,
        setup: ServingSetup,
        price_usd: FloatArray,
        requests_per_min: FloatArray,
        num_envs: int,
    ) -> None:
        self._config = config
        self._fleet = np.zeros((num_envs, len(FLEET_FIELDS)), np.float32)
        self._work_car_h = setup.work_car_s / S_PER_H  # per request, by class
        value = price_usd / self._work_car_h
        self._fleet[:, FLEET["value_8b_usd_per_h"]] = value[0]
        self._fleet[:, FLEET["value_70b_usd_per_h"]] = value[1]
        self._fleet[:, FLEET["value_batch_usd_per_h"]] = value[2]
        self._fleet[:, FLEET["pay_usd_per_h"]] = config.reward.pay_usd_per_on_duty_h
        eligible = 1.0 - config.demand.trusted_only_share
        rate = requests_per_min * np.array([eligible, eligible, 1.0])
        # rate multipliers -> cars' worth of work per car of the fleet
        self._work_per_rate = (rate * MIN_PER_H * self._work_car_h).astype(np.float32)

    def read(
        self,
        exo: Exogenous,
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
            Cars on duty in the step before, cars the mask allows, cars plugged; per car of the fleet.
        """
        out = self._fleet.copy()
        self._read_clock(out, exo, step)
        self._read_prices(out, exo, step)
        self._read_work(out, exo, step, flows, queue)
        out[:, FLEET["util"]] = util
        for name, share in zip(("duty", "available", "plugged"), shares, strict=True):
            out[:, FLEET[name]] = share
        return out

    def _read_clock(self, out: FloatArray, exo: Exogenous, step: int) -> None:
        angle = exo.local_hour[:, step] * np.float32(2.0 * np.pi / 24.0)
        out[:, FLEET["hour_sin"]] = np.sin(angle)
        out[:, FLEET["hour_cos"]] = np.cos(angle)
        out[:, FLEET["weekend"]] = exo.weekday[:, step] >= 5
        out[:, FLEET["left"]] = 1.0 - step / self._config.num_steps

    def _read_prices(self, out: FloatArray, exo: Exogenous, step: int) -> None:
        day = min(step, self._config.num_steps - 1)
        out[:, FLEET["price"]] = exo.price_usd_per_kwh[:, step]
        out[:, FLEET["ref_price"]] = exo.ref_price_usd_per_kwh[:, day]
        out[:, FLEET["refill_price"]] = exo.threshold_usd_per_kwh[:, day]
        out[:, FLEET["cheap"]] = exo.cheap[:, day]
        out[:, FLEET["carbon"]] = exo.carbon_g_per_kwh[:, step] / G_PER_KG
        out[:, FLEET["ambient"]] = exo.ambient_c[:, step]
        out[:, PRICE_00H : PRICE_00H + FORECAST_H] = self._hourly(exo.price_usd_per_kwh, step)

    def _read_work(
        self, out: FloatArray, exo: Exogenous, step: int, flows: ServiceFlows, queue: QueueState
    ) -> None:
        """Work in cars' worth per car: what arrived, what waits, what is forecast."""
        config, per_car = self._config, 1.0 / self._config.num_cars
        arrived = flows.arrived * (self._work_car_h * (per_car / config.dt_h))
        first = FLEET["chat_8b_last"]
        out[:, first : first + 3] = arrived
        per_h = round(1.0 / config.dt_h)
        due = np.cumsum(queue.batch_due, axis=1) * (self._work_car_h[2] * per_car)
        for hours in (1, 4, 12):
            out[:, FLEET[f"batch_due_{hours}h"]] = due[:, min(hours * per_h, due.shape[1]) - 1]
        rate = exo.demand_forecast(step, FORECAST_H * per_h)
        hourly = rate.reshape(3, len(out), FORECAST_H, per_h).mean(axis=3)
        hourly *= self._work_per_rate[:, None, None]
        out[:, CHAT_00H : CHAT_00H + FORECAST_H] = hourly[0] + hourly[1]
        out[:, BATCH_00H : BATCH_00H + FORECAST_H] = hourly[2]

    def _hourly(self, series: FloatArray, step: int) -> FloatArray:
        per_h = round(1.0 / self._config.dt_h)
        ahead = series[:, step : step + FORECAST_H * per_h]
        return ahead.reshape(len(series), FORECAST_H, per_h).mean(axis=2)


def duty_mask(world: World, soc: FloatArray, hot: BoolArray, t_h: float) -> BoolArray:
    """Cars that may be on duty now, flat: stay, link and plug allow it, charge above reserve, nobody called it back.

    Parameters
    ----------
    soc : FloatArray, shape (num_envs * num_cars,)
        State of charge now.
    hot : BoolArray, shape (num_envs * num_accelerators * 2,)
        By `World.air`: the inlet is too hot to compute.
    """
    mask = world.derived.reason == ALLOWED
    mask &= soc > world.params.reserve_soc
    mask &= world.state.snooze_h > np.float32(t_h)
    if hot.any():
        mask &= ~hot[world.air(slice(None))]
    return mask


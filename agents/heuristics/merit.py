"""What an on-duty hour of each car earns and costs, as far as a dispatcher can know it.

The energy manager of the environment decides the source of the energy; the rules here expect what
it does by default (docs/model.md 2.7): fill at full power when the step is cheap or the stay short,
compute from the pack and refill later when the stay holds enough cheap hours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.base import Obs, car_field, check_settings, fleet_field
from agents.heuristics.demand import DemandSettings, Work
from fleet_env.types import BoolArray, FloatArray
from fleet_env.units import MIN_PER_H

_LIGHT_ETA = 0.76  # on-board charger at the 0.38 kW DC of compute alone; domain 2a curve
_FULL_ETA = 0.92  # at Level 2 power; domain 2a curve
_COMPRESSOR_FROM_C = 30.0  # outdoor temperature; domain 2b
# 300 W at the least instead of 15 W + 8 % of a 200 W chip, through the DC-DC stage; domain 2b, 1b
_COMPRESSOR_KW = (0.300 - 0.031) / 0.93
_NO_CHARGER_KW = 1e-3  # avoids 0 / 0; such a car never finishes charging
_MIN_STAY_H = 0.25  # one decision step


@dataclass(frozen=True, kw_only=True)
class MeritSettings(DemandSettings):
    """Settings of every rule that compares what cars earn and cost."""

    min_margin_usd_per_h: float = 0.0  # a car must promise more than this to be woken
    defer_margin_h: float = 3.0  # cheap hours spare before the pack is drawn; design
    pack_wear_usd_per_kwh: float = 0.02  # marginal wear of a kWh through the pack; domain 2c
    overdue_stay_h: float = 1.0  # expected rest of a stay past its stated end; est
    start_spread_h: float = 4.0  # on-duty hours over which a start is paid off, at most; est
    slack_wanted_h: float = 8.0  # beyond charging, 2 sd of stated departures; of 3-12 on train
    shortfall_usd_per_h: float = 1.0  # no time to spare: 10 USD per 10 on-duty hours; domain 7

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(
            self,
            min_margin_usd_per_h=(-100.0, 100.0),
            defer_margin_h=(0.0, 48.0),
            pack_wear_usd_per_kwh=(0.0, 5.0),
            overdue_stay_h=(0.0, 48.0),
            start_spread_h=(0.25, 48.0),
            slack_wanted_h=(0.01, 48.0),
            shortfall_usd_per_h=(0.0, 1000.0),
        )


def margin_usd_per_h(obs: Obs, work: Work, settings: MeritSettings) -> FloatArray:
    """Expect what an on-duty hour of each car earns less what it costs [USD/h].

    The car is thought busy for `1 / over_provision` of the hour::

        margin = busy * value * (1 - start / spread) - energy - pay - shortfall

    Returns
    -------
    FloatArray, shape (num_envs, num_cars)
        Compare only among cars of the same row and step.
    """
    margin = busy_share(settings) * _value(obs, work)
    margin *= serving_share(obs, settings)
    margin -= cost_usd_per_h(obs, settings)
    return margin


def cost_usd_per_h(obs: Obs, settings: MeritSettings) -> FloatArray:
    """Expect what an on-duty hour of each car costs [USD/h]: energy, pay and risk of a shortfall.

    Returns
    -------
    FloatArray, shape (num_envs, num_cars)
    """
    wanted_h = charge_h(obs)
    cost = _energy(obs, busy_share(settings), _can_defer(obs, wanted_h, settings), settings)
    cost += _shortfall(_stay_h(obs, settings), wanted_h, settings)
    cost += fleet_field(obs, "pay_usd_per_h")[:, None]
    return cost


def busy_share(settings: MeritSettings) -> np.float32:
    """Share of an on-duty hour in which there is work, as cars are over-provisioned."""
    return np.float32(min(1.0, 1.0 / max(settings.over_provision, 1e-6)))


def _stay_h(obs: Obs, settings: MeritSettings) -> FloatArray:
    return np.maximum(car_field(obs, "stay_h"), np.float32(settings.overdue_stay_h))


def _value(obs: Obs, work: Work) -> FloatArray:
    """Price of an hour of work in the mix at hand: of all classes, or of 8B chat alone."""
    value_8b = fleet_field(obs, "value_8b_usd_per_h")
    total = work.chat_8b + work.chat_70b + work.batch_70b
    paid = work.chat_8b * value_8b + work.chat_70b * fleet_field(obs, "value_70b_usd_per_h")
    paid = paid + work.batch_70b * fleet_field(obs, "value_batch_usd_per_h")
    mixed = np.divide(paid, total, out=np.zeros_like(paid), where=total > 0).astype(np.float32)
    value = car_field(obs, "fits_70b") * (mixed - value_8b)[:, None]
    value += value_8b[:, None]
    value *= car_field(obs, "fits_8b")
    return value


def charge_h(obs: Obs) -> FloatArray:
    """Hours at full power until the car has its target."""
    wanted_kwh = car_field(obs, "target_soc") - car_field(obs, "soc")
    np.maximum(wanted_kwh, 0, out=wanted_kwh)
    wanted_kwh *= car_field(obs, "pack_kwh")
    wanted_kwh /= np.maximum(car_field(obs, "evse_kw"), np.float32(_NO_CHARGER_KW))
    wanted_kwh *= np.float32(1 / _FULL_ETA)
    return wanted_kwh


def serving_share(obs: Obs, settings: MeritSettings) -> FloatArray:
    """Share of the on-duty hours left after wake-up, weight download and load."""
    stay_h = _stay_h(obs, settings)
    share = car_field(obs, "ready_min") * np.float32(-1 / MIN_PER_H)
    share /= np.clip(stay_h, np.float32(_MIN_STAY_H), np.float32(settings.start_spread_h))
    share += 1
    np.maximum(share, 0, out=share)
    return share


def _can_defer(obs: Obs, wanted_h: FloatArray, settings: MeritSettings) -> BoolArray:
    """Cars whose stated stay holds enough cheap hours to refill what compute draws."""
    left_h = car_field(obs, "cheap_h") - wanted_h
    enough: BoolArray = left_h >= settings.defer_margin_h
    enough &= car_field(obs, "plugged") > 0
    return enough


def _energy(
    obs: Obs, busy: np.float32, can_defer: BoolArray, settings: MeritSettings
) -> FloatArray:
    """Energy cost of an on-duty hour [USD/h]: DC energy at the price that will really be paid."""
    power_kw = car_field(obs, "busy_kw") - car_field(obs, "awake_kw")
    power_kw *= busy
    power_kw += car_field(obs, "awake_kw")
    power_kw *= np.float32(_LIGHT_ETA)  # the fields are at the meter of a car that only computes
    hot = car_field(obs, "ambient") >= _COMPRESSOR_FROM_C
    if hot.any():
        power_kw += hot * np.float32(_COMPRESSOR_KW)
    now, booked = car_field(obs, "price"), car_field(obs, "ref_price")
    # weighted by flags: several times faster than `np.where` on shuffled cars
    price = np.minimum(now, car_field(obs, "refill_price"))
    price -= now
    price *= can_defer
    price += now - booked
    price *= car_field(obs, "plugged")
    price += booked
    price *= np.float32(1 / _FULL_ETA)
    price += np.float32(settings.pack_wear_usd_per_kwh)  # filled or deferred, it passes the pack
    power_kw *= price
    return power_kw


def _shortfall(stay_h: FloatArray, wanted_h: FloatArray, settings: MeritSettings) -> FloatArray:
    """Risk of leaving short [USD/h]: compute delays charging, and there is little time to spare.

    Falls linearly to zero at `slack_wanted_h` beyond the time that charging needs; zero for a
    car that has its target. Short stays and Level 1 plugs come out dear.
    """
    risk = wanted_h - stay_h
    risk *= np.float32(1 / settings.slack_wanted_h)
    risk += 1
    np.clip(risk, 0, 1, out=risk)
    risk *= wanted_h > 0
    risk *= np.float32(settings.shortfall_usd_per_h)
    return risk

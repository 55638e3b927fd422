"""What an on-duty hour of each car costs, as far as a dispatcher can know it.

Energy at the price that is paid in the end; wear of the pack by what goes through it and by heat:
in a closed garage, and everywhere in the cold, the computer warms the pack (docs/model.md 2.6,
2.8); and charge owed at a departure. Within the deadband it costs nothing; beyond it an event is
due at this departure and at every later one until the car is charged again, so what counts is the
chance to leave before the refill.

The features of the index read it, and rules and planners that price cars in full (`agents.costs`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from fleet_env.dynamics import ageing
from fleet_env.observations import FLEET, FORECAST_H, PRICE_00H
from fleet_env.types import LFP, NCA, BoolArray, FloatArray, IntArray
from fleet_env.units import DAYS_PER_YEAR, HOURS_PER_DAY, KELVIN_AT_0_C, MIN_PER_H, W_PER_KW
from fleet_env.views.leaving import chance_of_leaving
from fleet_env.views.seen import Seen

LIGHT_ETA = 0.76  # on-board charger at the 0.38 kW DC of compute alone; domain 2a curve
FULL_ETA = 0.92  # at Level 2 power; domain 2a curve
LEVEL1_MAX_KW = 2.0  # between Level 1 (1.44 kW) and Level 2 (7.7 kW); domain 2a
PACK_TAU_H = 7.0  # ThermalConfig, est
PRICE_SLACK_USD = 1e-5  # float32 copies of one tariff price count as equal
DEPARTURES = ("usual", "stated")
_NO_CHARGER_KW = 1e-3  # avoids 0 / 0; such a car never finishes charging
_NO_PACK_KWH = 1e-3  # avoids 0 / 0
_COMPRESSOR_FROM_C = 30.0  # outdoor temperature; domain 2b
# 300 W at the least instead of 15 W + 8 % of a 200 W chip, through the DC-DC stage; domain 2b, 1b
_COMPRESSOR_KW = (0.300 - 0.031) / 0.93
_GARAGE_W_PER_K = 80.0  # ThermalConfig; domain 2b, est
_COLD_K_PER_W = 0.5 / 16.0  # below 10 degC: share of the heat over conductance; ThermalConfig, est
_COLD_BELOW_C = 10.0  # domain 2b, est
_MID_LIFE_DAYS = 4.0 * DAYS_PER_YEAR  # ages are uniform up to 8 years; FleetConfig, est
_FADE_USD_PER_KWH = 150.0 / (1.0 - 0.80)  # replacement over the life sold; domain 2c
_DEADBAND_SOC = 0.01  # RewardConfig.shortfall_deadband_soc, design
_FULL_LFP_SOC, _FULL_NCA_SOC = 1.0, 0.9  # highest charge limits; domain 7
_LIMIT_STEPS = 20.0  # owners set charge limits in steps of 1/20; a twin at rest on one is full
_ON_LIMIT = 1e-4  # soc; of float32 sums


@dataclass(frozen=True, kw_only=True)
class CostSettings:
    """How cars are priced."""

    # the manager draws on the pack with 3 h to spare (EnergyConfig); 4 on train: +0.006 +- 0.003
    defer_margin_h: float = 4.0
    pack_wear_usd_per_kwh: float = 0.02  # marginal wear of a kWh through the pack; domain 2c
    heat_weight: float = 1.0  # on the wear by heat; of 1, 1.3, 1.6, 2 on train, all within 0.003
    shortfall_usd: float = 12.0  # of an event: 10 USD and some kWh; domain 7
    # events until a car that left with charge owed is whole again; (3, 1.5), (5, 2), (10, 3) on
    # train: 2.90, 2.95, 2.945 USD per car-month
    events_level1: float = 5.0
    events_level2: float = 2.0
    guard: float = 0.7  # of the deadband, free to use; 0.9, 0.8, 0.7: 2.77, 2.94, 2.95 on train
    risk_spread_h: float = 3.0  # on-duty hours that share a crossing; 1, 2, 3, 4 on train
    crossed_share: float = 0.02  # of its price for a car beyond; 1, 0.2, 0.05, 0.02 on train
    departures: str = "usual"  # usual: as often early or late as measured; stated: as owners say
    linger_h: float = 0.5  # of duty before the refill can begin; two steps
    start_cost: bool = True  # count what starts and stops cost (off: a trap that has a test)


@dataclass(frozen=True)
class CarCosts:
    """Costs of the cars of `Seen`, shape (m,)."""

    kw: FloatArray  # DC power at full work
    idle_kw: FloatArray  # DC power awake without work
    price_usd_per_kwh: FloatArray  # of the energy if it is bought as of now
    late_usd_per_kwh: FloatArray  # if it waits for the cheap hours; the same where it may not wait
    defers: BoolArray
    kwh_usd: FloatArray  # wear of a kWh: of the pack and by heat
    risk_usd_per_h: FloatArray  # of a shortfall
    safe_h: FloatArray  # from then on the car is charged: no risk left [h from now]
    start_h: FloatArray  # from duty to service
    pay_usd_per_h: FloatArray

    @property
    def kwh_price_usd(self) -> FloatArray:
        """Price of a kWh of compute in the end, by way of a charger at full power."""
        price = np.where(self.defers, self.late_usd_per_kwh, self.price_usd_per_kwh)
        through: FloatArray = price / FULL_ETA
        return through

    @property
    def usd_per_h(self) -> FloatArray:
        """Cost of an on-duty hour now, fully busy, without the start."""
        cost: FloatArray = self.kw * (self.kwh_price_usd + self.kwh_usd)
        cost += self.pay_usd_per_h + self.risk_usd_per_h
        return cost


def price_cars(cars: Seen, pack_c: FloatArray, settings: CostSettings, step_h: float) -> CarCosts:
    """Work out what each car costs.

    Parameters
    ----------
    cars : Seen
    pack_c : FloatArray, shape (m,)
        Pack temperature without compute [degC].
    settings : CostSettings
    step_h : float
        Length of a step [h].
    """
    kw, idle_kw = _power_kw(cars)
    plugged, now = cars("plugged") > 0, cars("price")
    refill, booked = cars("refill_price"), cars("ref_price")
    defers = plugged & (cars("cheap_h") - wanted_h(cars) >= settings.defer_margin_h)
    defers &= now > refill + PRICE_SLACK_USD
    price = np.where(plugged, now, booked)
    risk, safe_h = _risk(cars, kw, defers, settings, step_h)
    heat = heat_usd_per_kwh(cars, pack_c) * np.float32(settings.heat_weight)
    return CarCosts(
        kw=kw,
        idle_kw=idle_kw,
        price_usd_per_kwh=price,
        late_usd_per_kwh=np.where(defers, refill, price),
        defers=defers,
        kwh_usd=heat + np.float32(settings.pack_wear_usd_per_kwh),
        risk_usd_per_h=risk,
        safe_h=safe_h,
        start_h=cars("ready_min") / np.float32(MIN_PER_H) * settings.start_cost,
        pay_usd_per_h=cars.fleet("pay_usd_per_h"),
    )


def wanted_h(cars: Seen) -> FloatArray:
    """Hours at full power up to the charge that the owner wants."""
    return _charge_h(cars, cars("target_soc"))


def _power_kw(cars: Seen) -> tuple[FloatArray, FloatArray]:
    """DC power at full work and without; the fields are behind the charger of compute alone."""
    extra_kw = (cars("ambient") >= _COMPRESSOR_FROM_C) * np.float32(_COMPRESSOR_KW)
    busy_kw = cars("busy_kw") * np.float32(LIGHT_ETA) + extra_kw
    return busy_kw, cars("awake_kw") * np.float32(LIGHT_ETA) + extra_kw


def _charge_h(cars: Seen, up_to_soc: FloatArray) -> FloatArray:
    """Hours at full power up to a soc."""
    wanted_kwh = np.maximum(up_to_soc - cars("soc"), 0) * cars("pack_kwh")
    wanted_kwh /= np.maximum(cars("evse_kw") * np.float32(FULL_ETA), np.float32(_NO_CHARGER_KW))
    return wanted_kwh


def heat_usd_per_kwh(cars: Seen, pack_c: FloatArray) -> FloatArray:
    """Wear by heat of a kWh of compute [USD/kWh], shape (m,).

    A kWh holds the pack warmer by `1000 per_w` kelvin for an hour in all, spread by its lag; what
    the departure cuts off does not count. The calendar law is taken as linear in the temperature,
    for a pack of middle age (its age is not shown).
    """
    lfp, soc = cars("lfp") > 0, cars("soc")
    per_w = cars("garage") / np.float32(_GARAGE_W_PER_K)
    per_w += (cars("ambient") < _COLD_BELOW_C) * np.float32(_COLD_K_PER_W)
    kelvin_days = per_w * np.float32(W_PER_KW / HOURS_PER_DAY)
    kelvin_days *= -np.expm1(-np.maximum(cars("stay_h"), 1.0) / np.float32(PACK_TAU_H))
    per_k = np.zeros(soc.shape, np.float32)
    for code in (LFP, NCA):
        some = np.flatnonzero((lfp == (code == LFP)) & (per_w > 0))
        per_k[some] = _fade_per_kelvin_day(code, soc[some], pack_c[some])
    usd: FloatArray = per_k * kelvin_days * cars("pack_kwh") * np.float32(_FADE_USD_PER_KWH)
    return usd


def _fade_per_kelvin_day(code: int, soc: FloatArray, pack_c: FloatArray) -> FloatArray:
    """Slope of the calendar fade of a mid-life pack over its temperature [1/(K day)]."""
    law, kelvin = ageing.LAWS[code], pack_c + np.float32(KELVIN_AT_0_C)
    stress = ageing.ua_v(soc) if law.stress_is_potential else soc
    exponent = (law.cal_t_k + law.cal_u_k * stress) / law.cal_p
    rate = np.exp(np.log(law.cal_k0) / law.cal_p - exponent / kelvin)
    slope: FloatArray = _mid_life_gain(code) * rate * exponent / kelvin**2
    return slope


@cache
def _mid_life_gain(code: int) -> np.float64:
    """Slope of the power law of calendar fade for a pack of middle age."""
    gain: np.float64 = ageing.gains(np.array([code]), np.array([_MID_LIFE_DAYS]))[0][0]
    return gain


def _risk(
    cars: Seen, kw: FloatArray, defers: BoolArray, settings: CostSettings, step_h: float
) -> tuple[FloatArray, FloatArray]:
    """Risk of a shortfall [USD per on-duty hour] and time until it is over [h].

    The gap grows while the twin charges, while the refill is put off, and without a plug. Until it
    is closed again the car is exposed if it owes more than the deadband.
    """
    pack_kwh, gap_kwh = cars("pack_kwh"), cars("gap_kwh")
    twin, limit = _twin_and_limit(cars)
    plugged = cars("plugged") > 0
    fill_h = _charge_h(cars, limit)
    safe_h = np.where(plugged, fill_h + np.where(defers, _wait_h(cars), 0), np.float32(1e3))
    safe_h = (safe_h + settings.linger_h).astype(np.float32)
    grows = defers | ~plugged | (twin < limit - _ON_LIMIT)
    over = grows & (gap_kwh + kw * step_h > settings.guard * _DEADBAND_SOC * pack_kwh)
    usd, some = np.zeros(over.shape, np.float32), np.flatnonzero(over)
    usd[some] = _shortfall_usd_per_h(cars, some, safe_h[some], settings)
    return usd, safe_h


def _twin_and_limit(cars: Seen) -> tuple[FloatArray, FloatArray]:
    """Soc of the car without compute, and where it is thought to stop charging."""
    twin = cars("soc") + cars("gap_kwh") / np.maximum(cars("pack_kwh"), np.float32(_NO_PACK_KWH))
    limit = np.where(cars("lfp") > 0, np.float32(_FULL_LFP_SOC), np.float32(_FULL_NCA_SOC))
    resting = np.abs(twin * _LIMIT_STEPS - np.round(twin * _LIMIT_STEPS)) < _ON_LIMIT * _LIMIT_STEPS
    resting &= twin > cars("target_soc") - _ON_LIMIT
    return twin, np.where(resting, twin, np.maximum(limit, twin))


def _shortfall_usd_per_h(
    cars: Seen, some: IntArray, safe_h: FloatArray, settings: CostSettings
) -> FloatArray:
    """Chance that some cars leave before they are safe, times what that costs [USD/h]."""
    stay_h = cars("stay_h")[some]
    if settings.departures == "stated":
        chance: FloatArray = (safe_h > stay_h).astype(np.float32)
    else:
        hour = np.floor(cars("local_hour")[some] + np.float32(1e-3)).astype(np.intp) % 24
        chance = chance_of_leaving(hour, stay_h, safe_h)
    level1 = cars("evse_kw")[some] < LEVEL1_MAX_KW
    events = np.where(level1, settings.events_level1, settings.events_level2)
    once_usd = settings.shortfall_usd / settings.risk_spread_h
    # a car beyond the deadband already: its event is no longer caused by this hour
    crossed = cars("gap_kwh")[some] > np.float32(_DEADBAND_SOC) * cars("pack_kwh")[some]
    price = np.where(crossed, settings.crossed_share * once_usd, once_usd)
    usd: FloatArray = chance * events * price
    return usd


def _wait_h(cars: Seen) -> FloatArray:
    """Hours until the next one whose price is that of a refill, in the mean of the regions."""
    series = cars.obs["fleet"][:, PRICE_00H : PRICE_00H + FORECAST_H]
    cheap = series <= cars.obs["fleet"][:, [FLEET["refill_price"]]] + PRICE_SLACK_USD
    wait_h = np.where(cheap.any(axis=1), np.argmax(cheap, axis=1), FORECAST_H)
    by_car: FloatArray = wait_h.astype(np.float32).take(cars.row)
    return by_car

"""Neighbourhoods behind one service transformer: what homes, twins and compute ask of it.

Home load comes first, then charging as the no-compute twins charge, then what compute adds
(docs/model.md 5.3). Power and energy are those of the meter (AC).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fleet_env.blocks import DENSE_CARS
from fleet_env.config_world import FeederConfig
from fleet_env.dynamics.energy import TINY_KWH, Metered, PlugStep
from fleet_env.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Twins:
    """What the twins of a block do until their next event, shape (n,); times [h]."""

    ref_h: FloatArray  # time of the last event
    ref_soc: FloatArray  # soc then
    rate: FloatArray  # soc per hour; <= 0 unless it charges
    cap: FloatArray  # soc at which it stops
    event_h: FloatArray  # departure
    at_home: BoolArray
    meter_kwh: FloatArray  # at its home per unit of soc: pack energy over the efficiency there


def base_load_kw(
    config: FeederConfig, shape: FloatArray, level: FloatArray, area: IntArray
) -> FloatArray:
    """Load of the homes of each neighbourhood; the last of a fleet has as many homes as all.

    Parameters
    ----------
    shape : FloatArray, shape (areas,)
        Load of a home in this step, 1 at its peak.
    level : FloatArray, shape (m,)
        Level of each neighbourhood, mean 1.
    area : IntArray, shape (m,)
        Its area.

    Returns
    -------
    FloatArray, shape (m,) [kW], dtype of `shape` and `level`
    """
    peak_kw = shape * (config.homes * config.home_peak_kw)
    load: FloatArray = peak_kw.take(area)
    load *= level
    return load


def charging_kwh(twins: Twins, t_h: float, dt_h: float, *, num_rows: int, homes: int) -> FloatArray:
    """Meter energy of the twins at home in a step, summed by neighbourhood.

    A plugged twin charges at full power until it is full or departs; without power its rate is
    not positive. Sums run in float64 over the cars in order, whatever the batch or block.

    Parameters
    ----------
    twins : Twins
        Whole rows, or one part of one row that begins with a neighbourhood.
    t_h, dt_h : float
        Start and length of the step [h].
    num_rows : int
        Rows (or the one part) in the block.
    homes : int
        Cars of a neighbourhood; the last one of a row may have fewer.

    Returns
    -------
    FloatArray, shape (num_rows * neighbourhoods of a row,), float64
    """
    kwh = np.empty(twins.rate.shape, twins.rate.dtype)
    spare = np.empty(min(kwh.size, DENSE_CARS), kwh.dtype)
    for lo in range(0, kwh.size, DENSE_CARS):
        _meter_kwh(twins, slice(lo, min(lo + DENSE_CARS, kwh.size)), t_h, dt_h, kwh, spare)
    return sum_neighbourhoods(kwh, num_rows, homes)


def _meter_kwh(
    twins: Twins, some: slice, t_h: float, dt_h: float, out: FloatArray, spare: FloatArray
) -> None:
    """Meter energy of some twins, written to the same places of `out`."""
    rate, soc_room = twins.rate[some], out[some]
    np.subtract(t_h, twins.ref_h[some], out=soc_room)
    soc_room *= rate
    soc_room += twins.ref_soc[some]
    np.subtract(twins.cap[some], soc_room, out=soc_room)
    rise = np.subtract(twins.event_h[some], t_h, out=spare[: rate.size])
    np.minimum(rise, dt_h, out=rise)
    rise *= rate
    np.minimum(soc_room, rise, out=soc_room)
    np.maximum(soc_room, 0.0, out=soc_room)
    soc_room *= twins.meter_kwh[some]
    soc_room *= twins.at_home[some]


def sum_neighbourhoods(values: FloatArray, num_rows: int, homes: int) -> FloatArray:
    """Sum over the cars of each neighbourhood in order, `homes` at a time along a row.

    Parameters
    ----------
    values : FloatArray, shape (num_rows * cars of a row,)

    Returns
    -------
    FloatArray, shape (num_rows * neighbourhoods of a row,), float64
    """
    by_row = values.reshape(num_rows, -1)
    sums = by_row[:, ::homes].astype(np.float64)
    for home in range(1, min(homes, by_row.shape[1])):
        cars = by_row[:, home::homes]
        sums[:, : cars.shape[1]] += cars
    return sums.ravel()


def headroom_kwh(
    config: FeederConfig, base_kw: FloatArray, twins_kwh: FloatArray, dt_h: float
) -> FloatArray:
    """Energy that homes and twins leave to compute in a step.

    Returns
    -------
    FloatArray, shape (m,) [kWh], float64
        Negative where homes and twins alone ask for more than the transformer may give.
    """
    headroom: FloatArray = np.subtract(config.usable_share * config.kva, base_kw, dtype=np.float64)
    headroom *= dt_h
    headroom -= twins_kwh
    return headroom


def limit(
    plug: PlugStep,
    flow: Metered,
    neighbourhood: IntArray,
    at_home: BoolArray,
    headroom: FloatArray,
) -> tuple[Metered, FloatArray]:
    """Cut what compute adds at the meters of a neighbourhood to what its transformer has left.

    All cars of a neighbourhood are cut by the same share; the pack feeds what the meter no longer
    does, so the gap grows by it. Elsewhere nothing changes, to the bit.

    Parameters
    ----------
    plug : PlugStep, flow : Metered
        The active cars, ascending, and what they would draw.
    neighbourhood : IntArray, shape (n,)
        Row of `headroom`.
    at_home : BoolArray, shape (n,)
    headroom : FloatArray, shape (m,)
        From `headroom_kwh` [kWh].

    Returns
    -------
    flow : Metered
    cut_kwh : FloatArray, shape (n,)
        What is missing at each meter.
    """
    cut_kwh = np.zeros_like(flow.meter_kwh)
    cars = ((flow.meter_kwh > flow.twin_meter_kwh) & at_home).nonzero()[0]
    place = neighbourhood.take(cars)
    added_kwh = flow.meter_kwh.take(cars) - flow.twin_meter_kwh.take(cars)
    wanted_kwh = np.bincount(place, weights=added_kwh, minlength=headroom.size)
    tight = (wanted_kwh > headroom).take(place)
    if not tight.any():
        return flow, cut_kwh
    cars, place, added_kwh = cars[tight], place[tight], added_kwh[tight]
    kept_share = np.maximum(headroom.take(place), 0.0) / wanted_kwh.take(place)
    added_kwh *= kept_share.astype(added_kwh.dtype)
    missing_kwh = flow.meter_kwh.take(cars) - (flow.twin_meter_kwh.take(cars) + added_kwh)
    felt = missing_kwh > 0.0  # a share just below 1 may round to nothing
    cars, missing_kwh = cars[felt], missing_kwh[felt]
    cut_kwh[cars] = missing_kwh
    return _cut(plug, flow, cars, missing_kwh), cut_kwh


def _cut(plug: PlugStep, flow: Metered, cars: IntArray, cut_kwh: FloatArray) -> Metered:
    """Take `cut_kwh` from the meters of some cars: their packs give it instead."""
    compute_kwh, eta = plug.compute_kwh.take(cars), plug.eta.take(cars)
    before_kwh = flow.battery_kwh.take(cars)
    # A pack gives no more than compute takes: losses of a charger that does less are not paid.
    wanted_kwh = before_kwh + compute_kwh
    least_kwh = np.minimum(wanted_kwh, plug.need_kwh.take(cars))
    charge_kwh = np.maximum(wanted_kwh - cut_kwh * eta, least_kwh)
    battery_kwh = charge_kwh - compute_kwh
    lost_kwh = before_kwh - battery_kwh
    awake_dc_kwh = plug.dc_kw.take(cars) * plug.awake_h.take(cars)
    longest_kwh = np.maximum(np.maximum(charge_kwh, awake_dc_kwh), TINY_KWH)
    direct_kwh = np.minimum(compute_kwh, awake_dc_kwh) * (charge_kwh / longest_kwh)
    # The first is that of a burst; where compute is fed first, each kWh cut adds one at most.
    throughput_kwh = np.minimum(
        charge_kwh + compute_kwh - 2.0 * direct_kwh, flow.throughput_kwh.take(cars) + lost_kwh
    )
    gap = flow.gap.take(cars) + lost_kwh / plug.pack_kwh.take(cars)
    return replace(
        flow,
        battery_kwh=_with(flow.battery_kwh, cars, battery_kwh),
        meter_kwh=_with(flow.meter_kwh, cars, flow.meter_kwh.take(cars) - cut_kwh),
        throughput_kwh=_with(flow.throughput_kwh, cars, throughput_kwh),
        gap=_with(flow.gap, cars, gap),
    )


def _with(values: FloatArray, cars: IntArray, new: FloatArray) -> FloatArray:
    changed = values.copy()
    changed[cars] = new
    return changed

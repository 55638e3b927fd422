"""What a dispatcher sees: one table of fields that generates spaces, docs and buffers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from fleet_env.config_world import MAX_REGIONS

FORECAST_H = 24  # hours of prices and of demand forecasts shown
# retail prices of all cards, negative noons and spikes at the cap of a market included
PRICE_LOW, PRICE_HIGH = -2.0, 20.0  # [USD/kWh]
REPORT_MAX_MIN = 1440.0  # of a report that never comes
FEEDER_MAX_KW = 100.0  # where there is no limit


@dataclass(frozen=True, slots=True)
class Field:
    """One column of an observation."""

    name: str
    unit: str
    low: float
    high: float
    doc: str


def _price(name: str, doc: str) -> Field:
    return Field(name, "USD/kWh", PRICE_LOW, PRICE_HIGH, doc)


# What all cars of an area share, in the order of the columns.
AREA_FIELDS = (
    _price("price", "retail price of this step, where the car belongs"),
    _price("ref_price", "there: mean of the first 24 h, at which owed charge is booked"),
    _price("refill_price", "there: dearest of the cheap hours ahead, at which it is refilled"),
    Field("carbon", "kg/kWh", 0, 2, "there: life-cycle carbon intensity of the grid now"),
    Field("ambient", "degC", -60, 60, "there: outdoor temperature now"),
    Field("local_hour", "h", 0, 24, "there: local clock"),
)
# Per car; what a car's app, its charger and the dispatcher's own book-keeping know. What reports
# bring is as old as `report_min` says; duty, gap and readiness are the dispatcher's books.
CAR_FIELDS = (
    Field("at_home", "flag", 0, 1, "parked at home"),
    Field("at_work", "flag", 0, 1, "parked at work"),
    Field("plugged", "flag", 0, 1, "plug in the car"),
    Field("linked", "flag", 0, 1, "a link the owner allows at this place"),
    Field("on_duty", "flag", 0, 1, "on duty in the step before (after projection)"),
    Field("snoozed", "flag", 0, 1, "called back by the owner for the rest of this stay"),
    Field("soc", "1", 0, 1, "state of charge, 0 on the road (not reported)"),
    Field("gap_kwh", "kWh", -200, 200, "charge owed: twin without compute minus car"),
    Field("stay_h", "h", 0, 48, "stated departure minus now, 0 when overdue or away"),
    Field("parked_h", "h", 0, 96, "time since arrival, 0 while driving"),
    Field("ready_min", "min", 0, 1440, "minutes until it serves if on duty from now"),
    Field("evse_kw", "kW", 0, 25, "AC power of the plug in use, 0 unplugged"),
    Field("pack_kwh", "kWh", 0, 200, "usable pack"),
    Field("lfp", "flag", 0, 1, "LFP cells, else NCA"),
    Field("fits_8b", "flag", 0, 1, "memory holds the 8B tier"),
    Field("fits_70b", "flag", 0, 1, "memory holds the 70B tier"),
    Field("awake_kw", "kW", 0, 10, "wall power awake without work at 20 degC"),
    Field("busy_kw", "kW", 0, 10, "wall power at full work at 20 degC"),
    Field("reserve_soc", "1", 0, 1, "never below for compute"),
    Field("target_soc", "1", 0, 1, "wanted at departure"),
    *AREA_FIELDS,
    Field("cheap_h", "h", 0, 360, "cheap hours after this step, up to the stated departure"),
    Field("report_min", "min", 0, REPORT_MAX_MIN, "age of what the car reports"),
    Field(
        "feeder_kw",
        "kW",
        0,
        FEEDER_MAX_KW,
        "left for compute on the transformer of its home in the step before; 100: no limit",
    ),
    Field("region", "1", 0, MAX_REGIONS - 1, "number of the region the car belongs to"),
    Field("garage", "flag", 0, 1, "stands in a closed garage, as told: its heat stays"),
)
CAR = {field.name: i for i, field in enumerate(CAR_FIELDS)}


def _series(name: str, unit: str, low: float, high: float, doc: str) -> tuple[Field, ...]:
    return tuple(
        Field(f"{name}_{h:02d}h", unit, low, high, f"{doc}, hour +{h}") for h in range(FORECAST_H)
    )


# Per fleet; work is in cars' worth per car of the fleet: 0.1 means a tenth of all cars fully busy.
# With several regions clock and weekday are those of the first; prices, carbon and weather are
# means over the regions, weighted by their shares.
FLEET_FIELDS = (
    Field("hour_sin", "1", -1, 1, "sine of the local clock hour"),
    Field("hour_cos", "1", -1, 1, "cosine of the local clock hour"),
    Field("weekend", "flag", 0, 1, "local Saturday or Sunday"),
    Field("left", "1", 0, 1, "share of the episode still to play"),
    _price("price", "retail price of this step"),
    _price("ref_price", "mean retail price of the first 24 h, at which owed charge is booked"),
    _price("refill_price", "dearest of the cheap hours ahead, at which owed charge is refilled"),
    Field("cheap", "1", 0, 1, "this step counts as cheap; of several regions, the share where so"),
    Field("carbon", "kg/kWh", 0, 2, "life-cycle carbon intensity of the grid now"),
    Field("ambient", "degC", -60, 60, "outdoor temperature now"),
    Field("chat_8b_last", "cars/car", 0, 1e4, "eligible work that arrived in the step before"),
    Field("chat_70b_last", "cars/car", 0, 1e4, "eligible work that arrived in the step before"),
    Field("batch_70b_last", "cars/car", 0, 1e4, "work that arrived in the step before"),
    Field("batch_due_1h", "car-h/car", 0, 1e5, "batch work due within 1 h"),
    Field("batch_due_4h", "car-h/car", 0, 1e5, "batch work due within 4 h"),
    Field("batch_due_12h", "car-h/car", 0, 1e5, "batch work due within 12 h (all of it)"),
    Field("util", "1", 0, 1, "busy share of the serving cars in the step before"),
    Field("duty", "1", 0, 1, "share of the cars on duty in the step before"),
    Field("available", "1", 0, 1, "share of the cars the mask allows"),
    Field("plugged", "1", 0, 1, "share of the cars plugged"),
    Field(
        "value_70b_usd_per_h",
        "USD/h",
        0,
        100,
        "credit for an hour of a fully busy car, 70B chat",
    ),
    Field(
        "value_8b_usd_per_h",
        "USD/h",
        0,
        100,
        "credit for an hour of a fully busy car, 8B chat",
    ),
    Field("value_batch_usd_per_h", "USD/h", 0, 100, "the same for batch work, discount included"),
    Field("pay_usd_per_h", "USD/h", 0, 100, "owner pay per on-duty hour"),
    Field(
        "dc_load",
        "USD/h/car",
        0,
        100,
        "interactive load left to the data centre, mean of the last hour; 0 unless dc_cost=peak",
    ),
    Field("dc_peak", "USD/h/car", 0, 100, "largest `dc_load` so far; 0 unless dc_cost=peak"),
    Field(
        "peak_usd_per_usd_h",
        "h",
        0,
        400,
        "charge for each USD/h by which that peak grows; 0 unless dc_cost=peak",
    ),
    *_series("price", "USD/kWh", PRICE_LOW, PRICE_HIGH, "retail price (published)"),
    *_series("chat", "cars/car", 0, 1e4, "forecast of eligible interactive work, both tiers"),
    *_series("batch", "cars/car", 0, 1e4, "forecast of batch work"),
)
FLEET = {field.name: i for i, field in enumerate(FLEET_FIELDS)}
PRICE_00H, CHAT_00H, BATCH_00H = FLEET["price_00h"], FLEET["chat_00h"], FLEET["batch_00h"]


def _box(fields: tuple[Field, ...], num_rows: int | None) -> spaces.Box:
    low = np.array([f.low for f in fields], np.float32)
    high = np.array([f.high for f in fields], np.float32)
    if num_rows is None:
        return spaces.Box(low, high, dtype=np.float32)
    shape = (num_rows, len(fields))
    return spaces.Box(np.broadcast_to(low, shape), np.broadcast_to(high, shape), dtype=np.float32)


def observation_space(kind: str, num_cars: int) -> spaces.Dict | spaces.Box:
    """Space of one row: `cars` gives Dict(cars, fleet, mask), `fleet` the fleet vector alone.

    The fleet of a million is watched through `fleet`: its observation does not grow with the cars.
    """
    fleet = _box(FLEET_FIELDS, None)
    if kind == "fleet":
        return fleet
    return spaces.Dict(
        cars=_box(CAR_FIELDS, num_cars),
        fleet=fleet,
        mask=spaces.MultiBinary(num_cars),
    )


def field_docs(fields: tuple[Field, ...]) -> str:
    """Write a field table as text, one line per field, for the class docstring."""
    rows = [
        f"{i:3d}  {f.name:<22} [{f.low:g}, {f.high:g}] {f.unit:<10} {f.doc}"
        for i, f in enumerate(fields)
    ]
    return "\n".join(rows)

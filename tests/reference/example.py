"""A car at home, plugged in on a mild night: what the tests by hand change in one place or two."""

from __future__ import annotations

import math
from dataclasses import replace

from fleet_env.config import EnvConfig
from fleet_env.types import EVSE_L2_7, EVSE_NONE, HOME, LINK_WIFI, NCA
from tests.reference.cars import Car, CarState
from tests.reference.step import Weather

CAR = Car(
    neighbourhood=0,
    region=0,
    pack_kwh=50.0,
    chemistry=NCA,
    chip="ai5",
    home_evse=EVSE_L2_7,
    work_evse=EVSE_NONE,
    home_link=LINK_WIFI,
    work_link=LINK_WIFI,
    down_mbps=40.0,
    closed_garage=False,
    unplugged_ok=False,
    charge_limit=0.8,
    target_soc=0.8,
    reserve_soc=0.3,
    enrolled=True,
    quiet=False,
    cal_gain=1e-3,
    cyc_gain=1e-3,
)
STATE = CarState(
    place=HOME,
    plugged=True,
    event_h=20.0,
    event_no=7,
    parked_h=-2.0,
    stated_h=20.0,
    snooze_h=math.inf,
    trip_kwh=10.0,
    twin_ref=0.5,
    ref_h=-2.0,
    dark=False,
    fault=0,
    gap=0.0,
    excess_k=0.0,
    anchor=0.5,
    falling=False,
    duty=False,
    ready_min=0.0,
    tail_min=0.0,
    weights_gb=0.0,
    duty_h=0.0,
    left=False,
)
WEATHER = Weather(
    usd_per_kwh=0.3,
    ref_usd_per_kwh=0.25,
    threshold_usd_per_kwh=0.2,
    cheap_now=False,
    cheap_later=(),
    carbon_kg_per_kwh=0.2,
    ref_carbon_kg_per_kwh=0.3,
    ambient_c=20.0,
    pack_c=20.0,
    local_h=23.0,
)
PLAIN = EnvConfig(num_cars=5)
FULL = replace(STATE, twin_ref=0.8)

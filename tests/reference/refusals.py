"""Why a car may not be on duty: the first reason that applies (sections 2.1 and 5.5)."""

from __future__ import annotations

from fleet_env.config import EnvConfig
from fleet_env.types import DRIVING, FAULT_SILENT, OTHER
from tests.reference.cars import Car, CarState, linked
from tests.reference.owners import capped, hours_forbid
from tests.reference.roofline import resident_tiers
from tests.reference.shocks import Outage


def refusal(
    config: EnvConfig,
    car: Car,
    state: CarState,
    outage: Outage,
    t_h: float,
    hour: float,
    soc: float,
    *,
    hot: bool,
) -> str | None:
    """First reason that keeps a car off duty now, None if there is none; `hour` is local."""
    reasons = (
        ("away", state.place in (DRIVING, OTHER)),
        ("unplugged", not state.powered and not car.unplugged_ok),
        ("no_link", not linked(car, state) or outage.link_down(car, state.place)),
        ("opted_out", not car.enrolled or state.left),
        ("memory", not resident_tiers(car.accelerator, config)),
        ("silent", state.fault == FAULT_SILENT),
        ("capped", capped(config, state)),
        ("quiet", hours_forbid(config, car, hour)),
        ("snoozed", t_h >= state.snooze_h),
        ("reserve", soc <= car.reserve_soc),
        ("hot", hot),
    )
    return next((name for name, holds in reasons if holds), None)

"""What owners allow, and when they leave (section 5.5)."""

from __future__ import annotations

import math
from itertools import pairwise

from fleet_env.config import EnvConfig
from fleet_env.types import HOME
from tests.reference.cars import Car, CarState
from tests.reference.step import Outcome

DAYS_PER_MONTH = 30.4375
OPT_IN = ((0.0, 0.02), (10.0, 0.25), (30.0, 0.45), (100.0, 0.65))  # USD/month -> share; domain 7


def opt_in_share(config: EnvConfig) -> float:
    """Share of the owners who take part, lines of the logit in ln(1 + pay) between the points."""
    if config.owners.opt_in == "all":
        return 1.0
    pay = config.reward.pay_usd_per_on_duty_h * config.owners.expected_duty_h_per_month
    x = math.log1p(pay)
    points = [(math.log1p(usd), math.log(share / (1.0 - share))) for usd, share in OPT_IN]
    if x >= points[-1][0]:
        return OPT_IN[-1][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x <= x1:
            return 1.0 / (1.0 + math.exp(-(y0 + (y1 - y0) * (x - x0) / (x1 - x0))))
    raise AssertionError


def inside(hour: float, from_h: float, to_h: float) -> bool:
    """Whether a local hour lies in `[from_h, to_h)`, which may go over midnight."""
    if from_h <= to_h:
        return from_h <= hour < to_h
    return hour >= from_h or hour < to_h


def in_quiet_hours(config: EnvConfig, hour: float) -> bool:
    """Whether neighbours sleep."""
    return inside(hour, config.owners.quiet_from_h, config.owners.quiet_to_h)


def hours_forbid(config: EnvConfig, car: Car, hour: float) -> bool:
    """Whether the clock keeps this car off duty."""
    owners = config.owners
    always = owners.allowed_from_h == owners.allowed_to_h
    allowed = always or inside(hour, owners.allowed_from_h, owners.allowed_to_h)
    return not allowed or (car.quiet and in_quiet_hours(config, hour))


def capped(config: EnvConfig, state: CarState) -> bool:
    """Whether a car has had all hours that its owner allows for these days."""
    cap_h = config.owners.cap_h_per_month * config.days / DAYS_PER_MONTH
    return cap_h > 0.0 and state.duty_h >= cap_h


def book_quiet_hours(
    config: EnvConfig, state: CarState, on_duty_h: float, hour: float, out: Outcome
) -> None:
    """Pay for noise at home while others sleep, whoever the owner."""
    if state.place == HOME and in_quiet_hours(config, hour):
        out.count("quiet_h", on_duty_h)
        out.pay("owner", -config.reward.noise_usd_per_quiet_h * on_duty_h)


def break_promise(config: EnvConfig, car: Car, state: CarState, u: float, out: Outcome) -> None:
    """Book a broken promise; the owner may leave for good."""
    out.count("broken_promises")
    takes_part = car.enrolled and not state.left
    if takes_part and u < config.owners.dropout_per_broken_promise:
        state.left = True
        out.count("dropouts")
        out.pay("owner", -config.reward.dropout_usd)

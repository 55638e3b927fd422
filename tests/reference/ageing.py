"""Capacity fade, laws B (LFP) and C (NCA) of domain 2d, as a slope at the car's own age."""

from __future__ import annotations

import math
from math import exp, tanh

from fleet_env.types import LFP

P_CALENDAR = {True: 0.526, False: 0.512}  # keyed by "is LFP"
P_CYCLE = {True: 0.828, False: 0.699}


def anode_v(soc: float) -> float:
    """Graphite potential (Safari and Delacourt 2011, in domain 2d)."""
    x = 0.0085 + 0.7715 * soc
    return (
        0.6379
        + 0.5416 * exp(-305.5309 * x)
        + 0.044 * tanh(-(x - 0.1958) / 0.1088)
        - 0.1978 * tanh((x - 1.0571) / 0.0854)
        - 0.6875 * tanh((x + 0.0117) / 0.0529)
        - 0.0175 * tanh((x - 0.5692) / 0.0875)
    )


def calendar_k(chemistry: int, soc: float, temperature_c: float) -> float:
    """Rate constant of the calendar law, days^-p."""
    kelvin = temperature_c + 273.15
    if chemistry == LFP:
        return 8.37e4 * exp(-5210.0 / kelvin) * exp(-3560.0 * anode_v(soc) / kelvin)
    return 75.4 * exp(-3340.0 / kelvin) * exp(353.0 * soc / kelvin)


def cycle_k(chemistry: int, depth: float, c_rate: float, temperature_c: float) -> float:
    """Rate constant of the cycle law, EFC^-p."""
    kelvin = temperature_c + 273.15
    if chemistry == LFP:
        heat = exp(2190.0 / kelvin) + exp(-1.55e5 / kelvin)
        return (4.38e-8 + 1.55e-8 * depth + 1.68e-7 * c_rate) * heat
    return 2.0 * (1.86e-6 + 4.74e-11 * c_rate + 1.77e-4 * depth)


def calendar_fade(
    chemistry: int, gain: float, soc: float, temperature_c: float, hours: float
) -> float:
    """Fade of `hours` at rest; `gain` is `p q^((p-1)/p)`."""
    p = P_CALENDAR[chemistry == LFP]
    return gain * math.pow(calendar_k(chemistry, soc, temperature_c), 1.0 / p) * hours / 24.0


def cycle_fade(
    chemistry: int, gain: float, depth: float, c_rate: float, temperature_c: float, efc: float
) -> float:
    """Fade of `efc` equivalent full cycles; `gain` is `p q^((p-1)/p)`."""
    p = P_CYCLE[chemistry == LFP]
    tested_c = min(45.0, max(10.0, temperature_c))  # range of the cycle tests
    return gain * math.pow(cycle_k(chemistry, depth, c_rate, tested_c), 1.0 / p) * efc

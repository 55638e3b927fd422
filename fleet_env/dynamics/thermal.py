"""Heat of the computer: inlet air, derating, and the temperature of the pack.

Every kernel is a first-order lag or a static map on arrays of any one shape, dtype-generic.
"""

from __future__ import annotations

import math

import numpy as np

from fleet_env.config import ThermalConfig
from fleet_env.types import BoolArray, FloatArray

DERATE_SPAN_K = 10.0  # from full speed to the slowest; domain 2b, est
DERATE_FLOOR = 0.5  # slowest speed before it switches off; domain 2b, est
COLD_BELOW_C = 10.0  # chip heat warms the pack below this ambient; domain 2b, est


def inlet_c(
    ambient_c: FloatArray, heat_w: FloatArray, closed_garage: BoolArray, config: ThermalConfig
) -> FloatArray:
    """Temperature of the air that cools the computer [degC].

    A closed garage is as much warmer than outdoors as the heat of a car at full load makes it in
    the long run (`energy.full_load_heat_w`): it stays so through short idle spells.
    """
    rise_k = np.asarray(closed_garage) * np.asarray(heat_w) / config.garage_w_per_k
    inlet: FloatArray = ambient_c + rise_k
    return inlet


def derate(inlet_air_c: FloatArray, config: ThermalConfig) -> FloatArray:
    """Share of full speed at an inlet temperature: 1, falling to 0.5 over 10 K, 0 when too hot."""
    inlet_air_c = np.asarray(inlet_air_c)
    slope_per_k = (1.0 - DERATE_FLOOR) / DERATE_SPAN_K
    slowed = 1.0 - slope_per_k * (inlet_air_c - config.derate_from_c)
    speed: FloatArray = np.clip(slowed, DERATE_FLOOR, 1.0) * (inlet_air_c < config.off_from_c)
    return speed


def lag_share(dt_h: float, config: ThermalConfig) -> float:
    """Share of the way to its target that a pack temperature goes in a step."""
    return -math.expm1(-dt_h / config.pack_tau_h)


def twin_pack_c(
    pack_c: FloatArray, ambient_c: FloatArray, dt_h: float, config: ThermalConfig
) -> FloatArray:
    """Pack temperature of the twins after a step [degC], one number per row: lagged ambient."""
    after: FloatArray = pack_c + (ambient_c - pack_c) * lag_share(dt_h, config)
    return after


def excess_k(
    excess_before_k: FloatArray,
    compute_w: FloatArray,
    closed_garage: BoolArray,
    ambient_c: FloatArray,
    dt_h: float,
    config: ThermalConfig,
) -> FloatArray:
    """Pack temperature of a car above its twin's after a step [K].

    It follows with the pack's lag what the heat of compute holds in the long run: the garage air is
    warmer, and below 10 degC part of the heat is led into the pack.

    Parameters
    ----------
    excess_before_k : FloatArray, shape (n,)
        At the start of the step [K], >= 0.
    compute_w : FloatArray, shape (n,)
        Mean DC power of compute in the step [W].
    closed_garage : BoolArray, shape (n,)
        True where the car stands in one now.
    ambient_c : FloatArray, shape (n,)
        Outdoor temperature [degC].
    dt_h : float
        Length of the step [h].
    config : ThermalConfig

    Returns
    -------
    FloatArray, shape (n,)
    """
    pack_k_per_w = config.pack_heat_share / config.pack_ua_w_per_k
    target_k = compute_w * closed_garage / config.garage_w_per_k
    target_k += compute_w * (ambient_c < COLD_BELOW_C) * pack_k_per_w
    target_k -= excess_before_k
    target_k *= lag_share(dt_h, config)
    target_k += excess_before_k
    return target_k

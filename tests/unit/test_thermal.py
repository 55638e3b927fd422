"""Heat by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fleet_env.config import ThermalConfig
from fleet_env.dynamics import thermal

CONFIG = ThermalConfig()


def test_closed_garage_warms_by_heat_over_loss_coefficient() -> None:
    air_c = thermal.inlet_c(
        np.array([20.0, 20.0, 20.0]),
        np.array([500.0, 1500.0, 1500.0]),
        np.array([True, True, False]),
        CONFIG,
    )
    np.testing.assert_allclose(air_c, [26.25, 38.75, 20.0])  # domain 2b: +6 and +19 K


@pytest.mark.parametrize(
    ("air_c", "speed"),
    [(-20, 1), (35, 1), (37, 0.9), (40, 0.75), (45, 0.5), (49.9, 0.5), (50, 0), (60, 0)],
)
def test_derate(air_c: float, speed: float) -> None:
    assert thermal.derate(np.array(air_c), CONFIG) == pytest.approx(speed)


def test_twin_pack_follows_ambient_with_its_lag() -> None:
    pack_c = np.array([10.0])
    for _ in range(28):  # 7 h, one time constant
        pack_c = thermal.twin_pack_c(pack_c, np.array([20.0]), 0.25, CONFIG)
    assert pack_c[0] == pytest.approx(20 - 10 * math.exp(-1))


def test_excess_settles_at_the_target_by_hand() -> None:
    # AI5 0.4 kW: 5 K in a closed garage; 12.5 K more below 10 degC (0.5 of the heat over 16 W/K)
    compute_w = np.full(4, 400.0, dtype=np.float32)
    garage = np.array([False, True, False, True])
    ambient_c = np.array([10.0, 10.0, 9.9, 9.9], dtype=np.float32)
    excess = np.zeros(4, dtype=np.float32)
    for _ in range(2000):
        excess = thermal.excess_k(excess, compute_w, garage, ambient_c, 0.25, CONFIG)
    np.testing.assert_allclose(excess, [0.0, 5.0, 12.5, 17.5], rtol=1e-5)
    assert excess.dtype == np.float32


def test_excess_after_one_step_and_cooling_down() -> None:
    up = thermal.excess_k(
        np.zeros(1), np.array([400.0]), np.array([True]), np.array([20.0]), 0.25, CONFIG
    )
    assert up[0] == pytest.approx(5 * (1 - math.exp(-0.25 / 7)))
    down = thermal.excess_k(up, np.zeros(1), np.array([True]), np.array([20.0]), 7.0, CONFIG)
    assert down[0] == pytest.approx(up[0] * math.exp(-1))


def test_excess_keeps_its_input_and_zero_stays_zero() -> None:
    before = np.zeros(3, dtype=np.float32)
    after = thermal.excess_k(
        before, np.zeros(3, np.float32), np.ones(3, bool), np.zeros(3, np.float32), 0.25, CONFIG
    )
    assert (after == 0.0).all()
    assert after is not before


def test_float32_is_float64(rng: np.random.Generator) -> None:
    draws = [rng.uniform(0, 20, 500), rng.uniform(0, 1500, 500), rng.uniform(-20, 45, 500)]
    garage = rng.random(500) < 0.5
    result = []
    for dtype in (np.float32, np.float64):
        excess, watt, ambient = (d.astype(np.float32).astype(dtype) for d in draws)
        air = thermal.inlet_c(ambient, watt, garage, CONFIG)
        warm = thermal.excess_k(excess, watt, garage, ambient, 0.25, CONFIG)
        result.append((air, thermal.derate(ambient, CONFIG), warm))
    for single, double in zip(*result, strict=True):
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, double, rtol=2e-6, atol=2e-6)

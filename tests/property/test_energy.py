"""Laws of the meter: no energy unbooked, soc within bounds, nothing done means exactly nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_env.dynamics import energy
from fleet_env.dynamics.energy import FILL, GRID, PACK
from fleet_env.types import EVSE_L1, EVSE_L2_11, EVSE_NONE

MODES = (GRID, PACK, FILL)
# what a closed gap rounds away, and float32 of energies up to 12 kWh
TOLERANCE_KWH = {np.float32: 2e-5, np.float64: energy.CLOSED_GAP_KWH + 1e-12}


@dataclass
class Car:
    """One drawn car and its step, in float64."""

    row: int
    twin_soc: float
    charge_limit: float
    gap: float
    pack_kwh: float
    p_dc_kw: float
    plug_h: float
    awake_share: float

    def step(self, dtype: type) -> energy.PlugStep:
        evse = energy.load_evse(np.float64)
        rate = evse.dc_kw[self.row] / self.pack_kwh
        rise = max(0.0, min(self.charge_limit - self.twin_soc, rate * self.plug_h))
        awake_h = self.awake_share * self.plug_h
        fields = {
            "need_kwh": rise * self.pack_kwh,
            "gap": self.gap,
            "pack_kwh": self.pack_kwh,
            "compute_kwh": self.p_dc_kw * awake_h,
            "wall_kwh": float(energy.wall_kw(np.array(self.p_dc_kw))) * awake_h,
            "plug_h": self.plug_h,
            "awake_h": awake_h,
            "ac_kw": evse.ac_kw[self.row],
            "eta": evse.eta[self.row],
            "dc_kw": evse.dc_kw[self.row],
        }
        return energy.PlugStep(**{k: np.array([v], dtype=dtype) for k, v in fields.items()})


@st.composite
def cars(draw: st.DrawFn, first_row: int = EVSE_NONE) -> Car:
    limit = draw(st.floats(0.8, 1.0))
    twin_soc = draw(st.floats(0.06, 1.0)) * limit
    soc = draw(st.floats(0.06, 1.0)) * limit  # owed and ahead alike
    return Car(
        row=draw(st.integers(first_row, EVSE_L2_11)),
        twin_soc=twin_soc,
        charge_limit=limit,
        gap=draw(st.sampled_from([0.0, twin_soc - soc])),
        pack_kwh=draw(st.floats(39.0, 120.0)),
        p_dc_kw=draw(st.floats(0.15, 1.6)),
        plug_h=draw(st.sampled_from([0.0, 0.01, 0.1, 0.25, 1.0])),
        awake_share=draw(st.sampled_from([0.0, 0.02, 0.33, 0.7, 1.0])),
    )


def _run(step: energy.PlugStep, mode: int) -> energy.Metered:
    return energy.meter(step, np.array([mode], dtype=np.uint8))


def _booked_kwh(step: energy.PlugStep, done: energy.Metered) -> float:
    """Metered difference and growth of the gap at its nominal efficiency."""
    bought = float(done.meter_kwh[0]) - float(done.twin_meter_kwh[0])
    growth = float(done.gap[0]) - float(step.gap[0])
    return bought + growth * float(step.pack_kwh[0]) / float(step.eta[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(car=cars(), mode=st.sampled_from(MODES))
@settings(max_examples=400)
def test_every_kwh_of_compute_is_booked(dtype: type, car: Car, mode: int) -> None:
    step = car.step(dtype)
    compute, eta = float(step.compute_kwh[0]), float(step.eta[0])
    outlet_dc = float(step.dc_kw[0] * step.awake_h[0])
    alone = min(float(step.wall_kwh[0]), float(step.ac_kw[0] * step.awake_h[0]))
    lowest = highest = compute / eta
    if mode == GRID and car.row != EVSE_NONE:
        # Where compute outgrows the outlet, the pack's share is booked at the nominal efficiency.
        highest = max(alone + max(0.0, compute - outlet_dc) / eta, lowest)
    booked = _booked_kwh(step, _run(step, mode))
    tolerance = TOLERANCE_KWH[dtype] / eta
    assert lowest - tolerance <= booked <= highest + tolerance
    assert highest <= max(float(step.wall_kwh[0]), lowest) + tolerance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(car=cars(), mode=st.sampled_from(MODES))
@settings(max_examples=300)
def test_soc_meter_and_throughput_stay_within_bounds(dtype: type, car: Car, mode: int) -> None:
    step = car.step(dtype)
    done = _run(step, mode)
    tolerance = TOLERANCE_KWH[dtype]
    soc = car.twin_soc - car.gap
    after = soc + float(done.battery_kwh[0]) / car.pack_kwh
    assert after <= max(soc, car.charge_limit) + tolerance / car.pack_kwh
    assert after >= soc - float(step.compute_kwh[0]) / car.pack_kwh - tolerance / car.pack_kwh
    assert after >= 0.0
    twin_after = car.twin_soc + float(step.need_kwh[0]) / car.pack_kwh
    assert twin_after - float(done.gap[0]) == pytest.approx(after, abs=2 * tolerance / car.pack_kwh)
    assert -tolerance <= done.meter_kwh[0] <= step.ac_kw[0] * step.plug_h[0] + tolerance
    assert done.throughput_kwh[0] >= abs(done.battery_kwh[0]) - tolerance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(car=cars(), mode=st.sampled_from(MODES))
@settings(max_examples=300)
def test_a_car_that_does_nothing_is_its_twin_bit_for_bit(dtype: type, car: Car, mode: int) -> None:
    car.gap = car.awake_share = 0.0
    step = car.step(dtype)
    done = _run(step, mode)
    assert done.meter_kwh[0] - done.twin_meter_kwh[0] == 0.0
    assert done.gap[0] == 0.0
    assert done.battery_kwh[0] == step.need_kwh[0] == done.throughput_kwh[0]


@given(car=cars(first_row=EVSE_L1), ulps=st.integers(-3, 3))
@settings(max_examples=200)
def test_rounding_of_the_twins_charge_opens_no_gap(car: Car, ulps: int) -> None:
    car.gap = car.awake_share = 0.0
    step = car.step(np.float32)
    need = step.dc_kw * step.plug_h
    for _ in range(abs(ulps)):
        need = np.nextafter(need, np.float32(np.sign(ulps) * np.inf))
    step.need_kwh[:] = np.maximum(need, np.float32(0.0))
    for mode in MODES:
        done = _run(step, mode)
        assert done.gap[0] == 0.0
        assert done.meter_kwh[0] == done.twin_meter_kwh[0]


@given(car=cars(), mode=st.sampled_from(MODES))
@settings(max_examples=300)
def test_float32_is_float64(car: Car, mode: int) -> None:
    single, double = (_run(car.step(dtype), mode) for dtype in (np.float32, np.float64))
    for name in energy.Metered.__slots__:
        assert getattr(single, name).dtype == np.float32
        scale = car.pack_kwh if name == "gap" else 1.0
        difference = float(getattr(single, name)[0]) - float(getattr(double, name)[0])
        assert abs(difference) * scale < TOLERANCE_KWH[np.float32]


@given(
    car=cars(first_row=EVSE_L1),
    plan=st.lists(st.tuples(st.sampled_from(MODES), st.booleans()), min_size=1, max_size=8),
)
@settings(max_examples=150)
def test_a_stay_that_refills_has_bought_its_compute(car: Car, plan: list[tuple[int, bool]]) -> None:
    """Over a stay that ends with the gap closed, the meter alone has paid for the compute."""
    car.gap, car.plug_h, car.twin_soc = 0.0, 0.25, 0.75
    bought = compute = alone = gap = 0.0
    for mode, awake in [*plan, *[(FILL, False)] * 60]:
        car.gap, car.awake_share = gap, float(awake)
        step = car.step(np.float64)
        done = _run(step, mode)
        bought += float(done.meter_kwh[0] - done.twin_meter_kwh[0])
        compute += float(step.compute_kwh[0] / step.eta[0])
        alone += max(float(step.wall_kwh[0]), float(step.compute_kwh[0] / step.eta[0]))
        car.twin_soc += float(step.need_kwh[0]) / car.pack_kwh
        gap = float(done.gap[0])
    if car.twin_soc >= car.charge_limit - 1e-9:
        assert gap == 0.0
    booked = bought + gap * car.pack_kwh / float(step.eta[0])
    slack = 70 * energy.CLOSED_GAP_KWH
    assert compute - slack <= booked <= alone + slack


@given(car=cars())
@settings(max_examples=200)
def test_inputs_are_left_alone(car: Car) -> None:
    step = car.step(np.float32)
    before = {name: getattr(step, name).copy() for name in energy.PlugStep.__slots__}
    for mode in MODES:
        _run(step, mode)
    for name, value in before.items():
        assert np.array_equal(getattr(step, name), value)

"""Laws of the transformer: against a loop in float64, and for any fleet behind any rating."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_env.config_world import FeederConfig
from fleet_env.dynamics import feeder
from fleet_env.dynamics.energy import FILL, GRID, PACK, Metered, PlugStep, load_evse, meter
from fleet_env.types import EVSE_NONE, BoolArray, FloatArray, IntArray

T_H, DT_H = 30.25, 0.25
TOLERANCE_KWH = 3e-5  # of one car: float32 of its soc (76 kWh x 2 ulp), over the efficiency


@dataclass
class Fleet:
    """Rows of cars in float32 as the simulation has them, and their step."""

    num_rows: int
    homes: int
    evse: IntArray
    twins: feeder.Twins
    plug: PlugStep
    mode: IntArray
    place: IntArray  # neighbourhood of the batch
    base_kw: FloatArray

    @property
    def flow(self) -> Metered:
        return meter(self.plug, self.mode)

    @property
    def charging_kwh(self) -> FloatArray:
        return feeder.charging_kwh(self.twins, T_H, DT_H, num_rows=self.num_rows, homes=self.homes)

    def config(self, kva: float) -> FeederConfig:
        return FeederConfig(limit=True, homes=self.homes, kva=kva)

    def limit(self, kva: float) -> tuple[Metered, FloatArray]:
        left = feeder.headroom_kwh(self.config(kva), self.base_kw, self.charging_kwh, DT_H)
        return feeder.limit(self.plug, self.flow, self.place, self.twins.at_home, left)


def _twin_soc(twins: feeder.Twins, t_h: FloatArray) -> FloatArray:
    soc = (t_h - twins.ref_h) * twins.rate + twins.ref_soc
    return np.maximum(np.minimum(soc, twins.cap), np.float32(0.0))


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    num_rows, homes = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3, 5, 10, 100]))
    num_cars = draw(st.integers(1, 23))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num, table = num_rows * num_cars, load_evse()

    def uniform(low: float, high: float) -> FloatArray:
        return rng.uniform(low, high, num).astype(np.float32)

    evse = rng.choice(4, num, p=[0.2, 0.2, 0.4, 0.2])
    plugged = evse != EVSE_NONE
    pack_kwh = rng.choice([57.5, 76.0], num).astype(np.float32)
    eta = table.eta[evse]
    ref_soc = uniform(0.1, 0.9)
    twins = feeder.Twins(
        ref_h=uniform(T_H - 12.0, T_H),
        ref_soc=ref_soc,
        rate=np.where(plugged, table.dc_kw[evse], np.float32(-0.01)) / pack_kwh,
        cap=np.where(plugged, np.maximum(np.float32(0.8), ref_soc), np.float32(1.0)),
        event_h=np.where(rng.random(num) < 0.2, uniform(T_H, T_H + 0.25), uniform(T_H, T_H + 9.0)),
        at_home=rng.random(num) < 0.8,
        meter_kwh=pack_kwh / eta,
    )
    here_h = np.minimum(twins.event_h - np.float32(T_H), np.float32(DT_H))
    start = np.full(num, T_H, np.float32)
    need = np.maximum(_twin_soc(twins, start + here_h) - _twin_soc(twins, start), 0.0)
    awake_h = here_h * rng.choice([0.0, 0.3, 1.0], num).astype(np.float32)
    compute_kwh = awake_h * uniform(0.2, 1.5)
    plug = PlugStep(
        need_kwh=need * pack_kwh * plugged,
        gap=uniform(-0.05, 0.15) * (rng.random(num) < 0.5).astype(np.float32),
        pack_kwh=pack_kwh,
        compute_kwh=compute_kwh,
        wall_kwh=compute_kwh * np.float32(1.25),
        plug_h=here_h * plugged,
        awake_h=awake_h,
        ac_kw=table.ac_kw[evse],
        eta=eta,
        dc_kw=table.dc_kw[evse],
    )
    per_row = -(-num_cars // homes)
    place = (np.arange(num_rows)[:, None] * per_row + np.arange(num_cars) // homes).ravel()
    base_kw = rng.uniform(0.0, 12.0, num_rows * per_row).astype(np.float32)
    mode = rng.choice([GRID, PACK, FILL], num).astype(np.uint8)
    return Fleet(num_rows, homes, evse, twins, plug, mode, place, base_kw)


def _loop_charging(fleet: Fleet) -> FloatArray:
    """Energy of every twin, by the time at which it stops: full, or away."""
    evse, twins, sums = load_evse(np.float64), fleet.twins, np.zeros(fleet.base_kw.size)
    for car, row in enumerate(fleet.evse):
        if row == EVSE_NONE or not twins.at_home[car]:
            continue
        rate = evse.dc_kw[row] / float(fleet.plug.pack_kwh[car])
        room = float(twins.cap[car]) - float(twins.ref_soc[car])
        stop_h = min(float(twins.ref_h[car]) + room / rate, float(twins.event_h[car]), T_H + DT_H)
        sums[fleet.place[car]] += evse.ac_kw[row] * max(0.0, stop_h - T_H)
    return sums


@given(fleet=fleets())
@settings(max_examples=150)
def test_charging_is_the_float64_loop(fleet: Fleet) -> None:
    expected = _loop_charging(fleet)
    assert fleet.charging_kwh == pytest.approx(expected, abs=TOLERANCE_KWH * fleet.homes)


@given(fleet=fleets())
@settings(max_examples=150)
def test_charging_is_what_the_meter_says_of_the_twins(fleet: Fleet) -> None:
    """Active cars bring `need_kwh / eta`: the same energy by another road."""
    twin_kwh = fleet.flow.twin_meter_kwh * fleet.twins.at_home
    sums = np.bincount(fleet.place, weights=twin_kwh, minlength=fleet.base_kw.size)
    assert fleet.charging_kwh == pytest.approx(sums, abs=TOLERANCE_KWH * fleet.homes)


@given(fleet=fleets())
@settings(max_examples=100)
def test_sums_do_not_depend_on_the_block(fleet: Fleet) -> None:
    whole, names = fleet.charging_kwh, feeder.Twins.__slots__
    num_cars, per_row = fleet.evse.size // fleet.num_rows, whole.size // fleet.num_rows
    for row in range(fleet.num_rows):
        for first in range(per_row):  # cut a row in two at every neighbourhood
            lo = row * num_cars + first * fleet.homes
            part = slice(lo, (row + 1) * num_cars)
            twins = feeder.Twins(*(getattr(fleet.twins, name)[part] for name in names))
            sums = feeder.charging_kwh(twins, T_H, DT_H, num_rows=1, homes=fleet.homes)
            assert np.array_equal(sums, whole[row * per_row + first : (row + 1) * per_row])


def _loop_limit(fleet: Fleet, left: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Meter, gap and throughput after the cut, car by car (docs/model.md 5.3)."""
    flow, plug = fleet.flow, fleet.plug
    fields = [flow.meter_kwh, flow.gap, flow.throughput_kwh]
    meter_kwh, gap, throughput_kwh = (values.astype(np.float64) for values in fields)
    added = np.maximum(0.0, meter_kwh - flow.twin_meter_kwh) * fleet.twins.at_home
    for car, place in enumerate(fleet.place):
        wanted = sum(added[other] for other in np.flatnonzero(fleet.place == place))
        if added[car] == 0.0 or wanted <= left[place]:
            continue
        cut = (1.0 - max(0.0, left[place]) / wanted) * added[car]
        compute, before = float(plug.compute_kwh[car]), float(flow.battery_kwh[car])
        least = min(before, float(plug.need_kwh[car]) - compute)
        after = max(before - cut * float(plug.eta[car]), least)
        charge = after + compute
        awake = float(plug.dc_kw[car]) * float(plug.awake_h[car])
        direct = min(compute, awake) * min(1.0, charge / awake if awake else 0.0)
        burst = charge + compute - 2.0 * direct
        meter_kwh[car] -= cut
        gap[car] += (before - after) / float(plug.pack_kwh[car])
        throughput_kwh[car] = min(burst, throughput_kwh[car] + before - after)
        if fleet.mode[car] != GRID:
            assert throughput_kwh[car] == pytest.approx(burst, abs=TOLERANCE_KWH)
    return meter_kwh, gap * plug.pack_kwh, throughput_kwh


@given(fleet=fleets(), kva=st.floats(1.0, 60.0))
@settings(max_examples=150)
def test_limit_is_the_float64_loop(fleet: Fleet, kva: float) -> None:
    config = fleet.config(kva)
    left = feeder.headroom_kwh(config, fleet.base_kw, fleet.charging_kwh, DT_H)
    cap_kw = config.usable_share * kva
    assert left == pytest.approx((cap_kw - fleet.base_kw) * DT_H - fleet.charging_kwh, abs=1e-5)
    limited, cut = fleet.limit(kva)
    meter_kwh, gap_kwh, throughput_kwh = _loop_limit(fleet, left)
    assert limited.meter_kwh == pytest.approx(meter_kwh, abs=TOLERANCE_KWH)
    assert limited.gap * fleet.plug.pack_kwh == pytest.approx(gap_kwh, abs=TOLERANCE_KWH)
    assert limited.throughput_kwh == pytest.approx(throughput_kwh, abs=TOLERANCE_KWH)
    assert cut == pytest.approx(fleet.flow.meter_kwh - meter_kwh, abs=TOLERANCE_KWH)
    for name in Metered.__slots__:
        assert getattr(limited, name).dtype == np.float32
        same = getattr(limited, name) == getattr(fleet.flow, name)
        assert same[cut == 0].all()
    assert not cut[~fleet.twins.at_home].any()


@given(fleet=fleets(), kva=st.floats(1.0, 60.0))
@settings(max_examples=150)
def test_no_kwh_is_lost_in_the_cut(fleet: Fleet, kva: float) -> None:
    """Meter plus what is owed stay the same; only part-load losses of a charger can be saved."""
    flow, (limited, cut) = fleet.flow, fleet.limit(kva)
    owed = (limited.gap - flow.gap).astype(np.float64) * fleet.plug.pack_kwh / fleet.plug.eta
    burst = fleet.mode != GRID
    assert owed[burst] == pytest.approx(cut[burst], abs=TOLERANCE_KWH)
    assert (owed <= cut + TOLERANCE_KWH).all()
    saved = cut - owed > TOLERANCE_KWH
    plug = fleet.plug
    least = np.minimum(flow.battery_kwh, plug.need_kwh - plug.compute_kwh)
    none_left = limited.battery_kwh <= least + 1e-6
    assert none_left[saved].all()
    stored = fleet.plug.need_kwh - limited.battery_kwh
    closed = np.abs(fleet.plug.gap * fleet.plug.pack_kwh + stored) < 2e-5
    gap = fleet.plug.gap + stored / fleet.plug.pack_kwh
    assert limited.gap[~closed] == pytest.approx(gap[~closed], abs=1e-6)
    assert (limited.throughput_kwh >= np.abs(limited.battery_kwh) - TOLERANCE_KWH).all()


@given(fleet=fleets(), kva=st.floats(1.0, 60.0))
@settings(max_examples=150)
def test_compute_never_takes_a_transformer_over_its_limit(fleet: Fleet, kva: float) -> None:
    limited, _ = fleet.limit(kva)
    alone_kwh = fleet.base_kw * DT_H + fleet.charging_kwh
    added = np.maximum(0.0, limited.meter_kwh - limited.twin_meter_kwh) * fleet.twins.at_home
    total_kwh = alone_kwh + np.bincount(fleet.place, weights=added, minlength=alone_kwh.size)
    cap_kwh = fleet.config(kva).usable_share * kva * DT_H
    assert (total_kwh <= np.maximum(alone_kwh, cap_kwh) + TOLERANCE_KWH).all()


@given(fleet=fleets(), kva=st.floats(1.0, 60.0), more=st.floats(0.0, 20.0))
@settings(max_examples=120)
def test_a_larger_transformer_never_gives_less(fleet: Fleet, kva: float, more: float) -> None:
    small, large = fleet.limit(kva)[0], fleet.limit(kva + more)[0]
    assert (large.meter_kwh >= small.meter_kwh).all()
    assert (large.gap <= small.gap + 1e-7).all()
    assert (large.meter_kwh <= fleet.flow.meter_kwh).all()


@given(fleet=fleets(), kva=st.floats(1.0, 60.0))
@settings(max_examples=50)
def test_inputs_are_left_alone(fleet: Fleet, kva: float) -> None:
    flow = fleet.flow
    left = feeder.headroom_kwh(fleet.config(kva), fleet.base_kw, fleet.charging_kwh, DT_H)
    owners: tuple[PlugStep | Metered | feeder.Twins, ...] = (fleet.plug, flow, fleet.twins)
    before = [[getattr(o, name).copy() for name in o.__slots__] for o in owners]
    given_left, home = left.copy(), fleet.twins.at_home
    feeder.limit(fleet.plug, flow, fleet.place, home, left)
    assert np.array_equal(left, given_left)
    for owner, copies in zip(owners, before, strict=True):
        for name, copy in zip(owner.__slots__, copies, strict=True):
            assert np.array_equal(getattr(owner, name), copy)


def test_no_car_is_cut_by_another_neighbourhood() -> None:
    """A tight transformer next to an empty one: only its own cars feel it."""
    homes: BoolArray = np.ones(2, np.bool_)
    refill = {
        "need_kwh": 0.0,
        "gap": 0.1,
        "pack_kwh": 57.5,
        "compute_kwh": 0.0,
        "wall_kwh": 0.0,
        "plug_h": DT_H,
        "awake_h": 0.0,
        "ac_kw": 7.7,
        "eta": 0.92,
        "dc_kw": 7.084,
    }
    plug = PlugStep(**{name: np.full(2, value) for name, value in refill.items()})
    flow = meter(plug, np.full(2, FILL, np.uint8))
    _, cut = feeder.limit(plug, flow, np.arange(2), homes, np.array([0.0, 5.0]))
    assert cut.tolist() == [pytest.approx(1.925), 0.0]

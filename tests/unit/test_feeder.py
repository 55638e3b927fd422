"""Transformers by hand: what homes, twins and compute ask of one, and who is cut."""

from __future__ import annotations

import numpy as np
import pytest

from fleet_env.config_world import FeederConfig
from fleet_env.dynamics import feeder
from fleet_env.dynamics.energy import FILL, GRID, PACK, Metered, PlugStep, load_evse, meter
from fleet_env.types import EVSE_L1, EVSE_L2_7, EVSE_L2_11, EVSE_NONE

EVSE = load_evse(np.float64)
PACK_KWH = 57.5
T_H, DT_H = 3.0, 0.25


def _twins(
    evse: list[int],
    *,
    soc: list[float] | None = None,
    stay_h: list[float] | None = None,
    at_home: list[bool] | None = None,
) -> feeder.Twins:
    """Twins of 57.5 kWh packs with limit 0.8 that reached `soc` at the start of the step."""
    num, row = len(evse), np.array(evse)
    rate = np.where(row == EVSE_NONE, -0.01, EVSE.dc_kw[row]) / PACK_KWH
    ref_h = T_H - 1.0
    return feeder.Twins(
        ref_h=np.full(num, ref_h),
        ref_soc=np.array(soc or [0.4] * num) - rate,
        rate=rate,
        cap=np.where(row == EVSE_NONE, 1.0, 0.8),
        event_h=T_H + np.array(stay_h or [9.0] * num),
        at_home=np.array(at_home or [True] * num),
        meter_kwh=PACK_KWH / np.where(row == EVSE_NONE, 0.88, EVSE.eta[row]),
    )


def _charging(twins: feeder.Twins, rows: int = 1, homes: int = 5) -> list[float]:
    sums = feeder.charging_kwh(twins, T_H, DT_H, num_rows=rows, homes=homes)
    assert sums.dtype == np.float64
    return sums.tolist()


def test_charging_of_three_homes_by_hand() -> None:
    # Level 2 all step 1.925, Level 1 all step 0.36; full after 0.1 kWh: 0.1 / 0.92;
    # leaves after 0.1 h: 1.15; at work, unplugged or dark, full: nothing
    twins = _twins(
        [EVSE_L2_7, EVSE_L1, EVSE_L2_11, EVSE_L2_11, EVSE_L2_7, EVSE_NONE, EVSE_L2_7],
        soc=[0.4, 0.4, 0.8 - 0.1 / PACK_KWH, 0.4, 0.4, 0.4, 0.8],
        stay_h=[9.0, 9.0, 9.0, 0.1, 9.0, 9.0, 9.0],
        at_home=[True, True, True, True, False, True, True],
    )
    assert _charging(twins, homes=3) == pytest.approx([1.925 + 0.36 + 0.1 / 0.92, 1.15, 0.0])


def test_the_last_neighbourhood_of_each_row_may_be_smaller() -> None:
    twins = _twins([EVSE_L1] * 14)  # two rows of 7 cars: 5 and 2
    assert _charging(twins, rows=2) == pytest.approx([1.8, 0.72, 1.8, 0.72])
    assert _charging(twins, rows=2, homes=10) == pytest.approx([2.52, 2.52])
    assert _charging(twins, rows=14, homes=3) == pytest.approx([0.36] * 14)


def test_charging_runs_in_chunks_of_any_place() -> None:
    num = feeder.DENSE_CARS + 3
    sums = _charging(_twins([EVSE_L1] * num), homes=10)
    assert sums == pytest.approx([3.6] * (num // 10) + [0.36 * (num % 10)])


def test_sums_are_in_the_order_of_the_cars_in_float64() -> None:
    values = np.array([1.0, 1e-9, -1.0, 1e8, 1.0, -1e8, 7.0], np.float32)
    tiny = np.float64(np.float32(1e-9))
    expected = [1.0 + tiny - 1.0, 1e8 + 1.0 - 1e8, 7.0]
    assert feeder.sum_neighbourhoods(values, 1, 3).tolist() == expected


def test_base_load_by_hand() -> None:
    # 5 homes of 3.5 kW: 17.5 kW at the peak of an average neighbourhood
    config = FeederConfig(homes=5, home_peak_kw=3.5)
    load = feeder.base_load_kw(
        config, np.array([0.4, 1.0]), np.array([1.0, 1.25, 0.8]), np.array([0, 0, 1])
    )
    assert load.tolist() == pytest.approx([7.0, 8.75, 14.0])


def test_headroom_by_hand() -> None:
    # 0.9 x 25 kVA = 22.5 kW; 3 homes over a small transformer: less than nothing is left
    config = FeederConfig(kva=25.0, usable_share=0.9)
    left = feeder.headroom_kwh(config, np.array([8.75, 22.0]), np.array([2.285, 0.36]), DT_H)
    assert left.tolist() == pytest.approx([3.4375 - 2.285, 0.125 - 0.36])
    small = FeederConfig(homes=3, kva=10.0)
    base = feeder.base_load_kw(small, np.ones(1), np.ones(1), np.zeros(1, np.intp))
    assert feeder.headroom_kwh(small, base, np.zeros(1), DT_H).tolist() == pytest.approx([-0.375])


def _plug(
    row: int,
    *,
    need_kwh: float = 0.0,
    owed_kwh: float = 0.0,
    compute_kwh: float = 0.0,
    wall_kwh: float = 0.0,
) -> PlugStep:
    awake_h = DT_H if compute_kwh else 0.0
    fields = {
        "need_kwh": need_kwh,
        "gap": owed_kwh / PACK_KWH,
        "pack_kwh": PACK_KWH,
        "compute_kwh": compute_kwh,
        "wall_kwh": wall_kwh,
        "plug_h": DT_H,
        "awake_h": awake_h,
        "ac_kw": EVSE.ac_kw[row],
        "eta": EVSE.eta[row],
        "dc_kw": EVSE.dc_kw[row],
    }
    return PlugStep(**{name: np.array([value]) for name, value in fields.items()})


def _join(*steps: PlugStep) -> PlugStep:
    names = PlugStep.__slots__
    return PlugStep(**{n: np.concatenate([getattr(step, n) for step in steps]) for n in names})


REFILL = _plug(EVSE_L2_7, owed_kwh=5.0, compute_kwh=0.1, wall_kwh=0.131)


def _limit(
    plug: PlugStep,
    mode: int,
    headroom: list[float],
    place: list[int] | None = None,
    at_home: list[bool] | None = None,
) -> tuple[Metered, Metered, np.ndarray]:
    num = plug.gap.size
    flow = meter(plug, np.full(num, mode, np.uint8))
    limited, cut = feeder.limit(
        plug,
        flow,
        np.array(place or [0] * num),
        np.array(at_home or [True] * num),
        np.array(headroom),
    )
    return flow, limited, cut


def _car(plug: PlugStep, flow: Metered, i: int = 0) -> tuple[float, ...]:
    """Battery, meter, throughput, gap, all in kWh."""
    return (
        float(flow.battery_kwh[i]),
        float(flow.meter_kwh[i]),
        float(flow.throughput_kwh[i]),
        float(flow.gap[i] * plug.pack_kwh[i]),
    )


def test_a_refill_cut_in_half_by_hand() -> None:
    # wants 1.925 kWh: 1.771 DC, 0.1 of it past the pack; half: 0.8855 DC, 0.05 of it past the pack
    _, limited, cut = _limit(REFILL, FILL, [0.9625])
    assert cut[0] == pytest.approx(0.9625)
    assert _car(REFILL, limited) == pytest.approx((0.7855, 0.9625, 0.8855, 4.2145))


def test_a_refill_cut_to_nothing_by_hand() -> None:
    for headroom in (0.0, -3.0):
        _, limited, cut = _limit(REFILL, FILL, [headroom])
        assert cut[0] == 1.925
        assert _car(REFILL, limited) == pytest.approx((-0.1, 0.0, 0.1, 5.1))


def test_compute_first_draws_on_the_pack_for_what_is_cut() -> None:
    # 0.1 kWh DC for 0.131 kWh at the wall. Half of that: 0.0655 x 0.92 = 0.06026 from the pack;
    # all of it: 0.1, not 0.12052, as a charger that is off loses nothing
    plug = _plug(EVSE_L2_7, compute_kwh=0.1, wall_kwh=0.131)
    _, half, cut = _limit(plug, GRID, [0.0655])
    assert cut[0] == pytest.approx(0.0655)
    assert _car(plug, half) == pytest.approx((-0.06026, 0.0655, 0.06026, 0.06026))
    _, none, _ = _limit(plug, GRID, [0.0])
    assert _car(plug, none) == pytest.approx((-0.1, 0.0, 0.1, 0.1))


def test_five_homes_by_hand() -> None:
    # 22.5 kW less homes 8.75 and twins 7.7 + 1.44 kW: 1.1525 kWh for 1.925 + 0.38 kWh: one half
    config = FeederConfig(homes=5, kva=25.0)
    twins = _twins([EVSE_L2_7, EVSE_L1, EVSE_NONE, EVSE_L2_7, EVSE_L2_7], soc=[0.4] * 3 + [0.8] * 2)
    base = feeder.base_load_kw(config, np.array([0.5]), np.ones(1), np.zeros(1, np.intp))
    headroom = feeder.headroom_kwh(config, base, np.array(_charging(twins)), DT_H)
    assert headroom.tolist() == pytest.approx([1.1525])
    burst = _plug(EVSE_L2_7, compute_kwh=0.3496, wall_kwh=0.4)
    plug = _join(_plug(EVSE_L2_7, need_kwh=1.771), REFILL, burst)
    flow, limited, cut = _limit(plug, FILL, headroom.tolist())
    assert cut.tolist() == pytest.approx([0.0, 0.9625, 0.19])
    assert _car(plug, limited, 0) == _car(plug, flow, 0)  # the twin's own charge is never cut
    added = (limited.meter_kwh - limited.twin_meter_kwh).sum()
    total = base[0] * DT_H + _charging(twins)[0] + added
    assert total == pytest.approx(22.5 * DT_H)


def test_ten_homes_whose_twins_alone_are_too_much() -> None:
    # homes 10 x 3.5 x 0.5 = 17.5 kW, three twins of 11.5 kW: 52 of 45 kW
    config = FeederConfig(homes=10, kva=50.0)
    twins = _twins([EVSE_L2_11] * 3 + [EVSE_NONE] * 7)
    base = feeder.base_load_kw(config, np.array([0.5]), np.ones(1), np.zeros(1, np.intp))
    headroom = feeder.headroom_kwh(config, base, np.array(_charging(twins, homes=10)), DT_H)
    assert headroom.tolist() == pytest.approx([-7.0 * DT_H])
    charging = _plug(EVSE_L2_11, need_kwh=10.58 * DT_H, compute_kwh=0.1, wall_kwh=0.13)
    plug = _join(charging, REFILL)
    _, limited, cut = _limit(plug, PACK, headroom.tolist())
    assert cut.tolist() == [0.0, 0.0]  # the pack feeds compute: nothing is added
    _, limited, cut = _limit(plug, FILL, headroom.tolist())
    assert cut.tolist() == [0.0, 1.925]
    assert limited.meter_kwh[0] == limited.twin_meter_kwh[0] == 10.58 * DT_H / 0.92


def test_only_cars_at_home_behind_a_tight_transformer_are_cut() -> None:
    plug = _join(REFILL, REFILL, REFILL)
    place, at_home = [0, 0, 2], [True, False, True]
    flow, limited, cut = _limit(plug, FILL, [1.0, 0.0, 1.925], place, at_home)
    assert cut.tolist() == pytest.approx([0.925, 0.0, 0.0])
    for name in Metered.__slots__:
        assert np.array_equal(getattr(limited, name)[1:], getattr(flow, name)[1:])
    assert _limit(plug, FILL, [1.925, 0.0, 1.925], place, at_home)[2].tolist() == [0.0, 0.0, 0.0]


def test_nothing_to_cut_gives_the_same_flows_back() -> None:
    plug = _join(REFILL, REFILL)
    flow = meter(plug, np.full(2, FILL, np.uint8))
    limited, cut = feeder.limit(plug, flow, np.zeros(2, int), np.ones(2, bool), np.array([9.0]))
    assert limited is flow
    assert not cut.any()
    nobody = PlugStep(**{name: getattr(plug, name)[:0] for name in PlugStep.__slots__})
    flow = meter(nobody, np.zeros(0, np.uint8))
    limited, cut = feeder.limit(
        nobody, flow, np.zeros(0, int), np.zeros(0, bool), np.array([-1.0, 2.0])
    )
    assert limited is flow
    assert cut.size == 0

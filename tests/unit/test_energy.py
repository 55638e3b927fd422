"""Charger, bus power and meter by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fleet_env.dynamics import energy
from fleet_env.dynamics.energy import FILL, GRID, PACK
from fleet_env.types import EVSE_L1, EVSE_L2_7, EVSE_L2_11, EVSE_NONE

BUS = {"overhead_w": 120.0, "eta_dcdc": 0.93}
EVSE = energy.load_evse(np.float64)


def test_charger_efficiency_meets_its_points() -> None:
    p_dc_kw = np.array([0.2, 0.5, 1.0, 1.4, 3.3, 7.7, 11.0])
    expected = [0.70, 0.80, 0.85, 0.87, 0.90, 0.92, 0.92]
    np.testing.assert_allclose(energy.charger_efficiency(p_dc_kw), expected)
    assert energy.charger_efficiency(np.array(0.35)) == pytest.approx(0.75)


def test_charger_keeps_its_loss_below_the_first_point() -> None:
    loss_kw = 0.2 / 0.7 - 0.2
    p_dc_kw = np.array([0.0, 0.01, 0.1, 0.2])
    np.testing.assert_allclose(
        energy.wall_kw(p_dc_kw), [0.0, 0.01 + loss_kw, 0.1 + loss_kw, 0.2 + loss_kw]
    )
    assert energy.charger_efficiency(np.array([0.0, 0.1]))[0] == 0.0


def test_wall_power_rises_with_dc_power() -> None:
    p_dc_kw = np.linspace(0.0, 12.0, 2001, dtype=np.float32)
    wall = energy.wall_kw(p_dc_kw)
    assert wall.dtype == np.float32
    assert (np.diff(wall) > 0).all()
    assert (wall >= p_dc_kw).all()


@pytest.mark.parametrize(
    ("chip_w", "wall_w"),
    [
        (200.0, 497.0),  # AI5
        (1000.0, 1510.0),  # the 1 kW car
        (175.0, 464.0),  # AI4: 275 W awake less 120 W of overhead, and 20 W of work (domain 1a, 1b)
    ],
)
def test_wall_power_of_a_serving_car_is_that_of_the_survey(chip_w: float, wall_w: float) -> None:
    busy_w = np.array([chip_w])
    p_dc_kw = energy.bus_power_kw(np.ones(1), 0 * busy_w, busy_w, np.array([20.0]), **BUS)
    assert 1000 * energy.wall_kw(p_dc_kw)[0] == pytest.approx(wall_w, rel=0.005)
    assert energy.full_load_heat_w(busy_w, **BUS)[0] == pytest.approx(wall_w, rel=0.005)


@pytest.mark.parametrize(
    ("inlet_c", "cooling_w"),
    [
        (29.9, 15 + 0.08 * 115),
        (30.0, 300.0),  # 235 / 3 is less than the smallest compressor
        (60.0, 300.0),
    ],
)
def test_bus_power_of_a_half_used_ai5_by_hand(inlet_c: float, cooling_w: float) -> None:
    # chip 30 + 0.5 * 170 = 115 W, overhead 120 W
    power = energy.bus_power_kw(
        np.array([0.5]), np.array([30.0]), np.array([200.0]), np.array([inlet_c]), **BUS
    )
    assert power[0] == pytest.approx((115 + 120 + cooling_w) / 930)


@pytest.mark.parametrize(("inlet_c", "cop"), [(30.0, 3.0), (40.0, 2.2), (48.75, 1.5), (60.0, 1.5)])
def test_compressor_of_the_1_kw_car(inlet_c: float, cop: float) -> None:
    watt = np.array([1000.0])
    power = energy.bus_power_kw(np.ones(1), watt, watt, np.array([inlet_c]), **BUS)
    assert power[0] == pytest.approx((1120 + 1120 / cop) / 930)


def test_cooling_off_leaves_chip_and_overhead() -> None:
    watt = np.array([200.0])
    hot = np.array([40.0])
    power = energy.bus_power_kw(np.ones(1), watt, watt, hot, cooling=False, **BUS)
    assert power[0] == pytest.approx(320 / 930)


def test_bus_power_broadcasts_rows_accelerators_and_garages() -> None:
    util = np.full((4, 3, 1), 0.5, dtype=np.float32)
    idle_w, busy_w = (np.full((3, 1), w, dtype=np.float32) for w in (30.0, 200.0))
    inlet = np.zeros((4, 1, 2), dtype=np.float32)
    power = energy.bus_power_kw(util, idle_w, busy_w, inlet, **BUS)
    assert power.shape == (4, 3, 2)
    assert power.dtype == np.float32


def test_evse_table() -> None:
    assert (EVSE.ac_kw[EVSE_NONE], EVSE.dc_kw[EVSE_NONE], EVSE.eta[EVSE_NONE]) == (0, 0, 0.88)
    assert EVSE.dc_kw[EVSE_L1] == pytest.approx(1.44 * 0.87)
    assert EVSE.dc_kw[EVSE_L2_7] == pytest.approx(7.7 * 0.92)
    assert EVSE.dc_kw[EVSE_L2_11] == pytest.approx(11.5 * 0.92)
    # at full power no charger is better than its own table says for compute alone
    for row in (EVSE_L1, EVSE_L2_7, EVSE_L2_11):
        p_dc_kw = np.linspace(0.01, EVSE.dc_kw[row], 500)
        assert (energy.charger_efficiency(p_dc_kw) <= EVSE.eta[row] + 1e-12).all()


def _step(row: int = EVSE_L2_7, **given: float) -> energy.PlugStep:
    fields = {
        "need_kwh": 0.0,
        "gap": 0.0,
        "pack_kwh": 57.5,
        "compute_kwh": 0.0,
        "wall_kwh": 0.0,
        "plug_h": 0.25,
        "awake_h": 0.0,
        "ac_kw": float(EVSE.ac_kw[row]),
        "eta": float(EVSE.eta[row]),
        "dc_kw": float(EVSE.dc_kw[row]),
    } | given
    return energy.PlugStep(**{name: np.array([value]) for name, value in fields.items()})


def _meter(step: energy.PlugStep, mode: int) -> tuple[float, float, float, float]:
    """Battery, meter and throughput [kWh], gap [kWh]."""
    done = energy.meter(step, np.array([mode], dtype=np.uint8))
    assert done.twin_meter_kwh[0] == pytest.approx(step.need_kwh[0] / step.eta[0])
    gap_kwh = done.gap[0] * step.pack_kwh[0]
    return done.battery_kwh[0], done.meter_kwh[0], done.throughput_kwh[0], gap_kwh


def test_level_1_cannot_carry_the_1_kw_car_and_the_pack_supplements() -> None:
    # twin charges 1.2528 kW x 0.25 h; compute takes 1.306 kW: 0.0133 kWh more than the outlet has
    step = _step(EVSE_L1, need_kwh=0.3132, compute_kwh=0.3265, wall_kwh=0.3775, awake_h=0.25)
    battery, metered, throughput, gap = _meter(step, GRID)
    assert battery == pytest.approx(-0.0133)
    assert metered == pytest.approx(1.44 * 0.25)
    assert throughput == pytest.approx(0.0133)
    assert gap == pytest.approx(0.3265)


def test_level_1_refills_what_it_lacked_once_the_1_kw_car_sleeps() -> None:
    # awake half of the step: 0.16325 kWh asked, 0.1566 there; the pack is full again later
    step = _step(EVSE_L1, compute_kwh=0.16325, wall_kwh=0.189, awake_h=0.125)
    battery, metered, throughput, gap = _meter(step, GRID)
    assert battery == pytest.approx(0.0, abs=1e-12)
    assert metered == pytest.approx(1.44 * 0.125 + 0.00665 / 0.87)
    assert throughput == pytest.approx(2 * 0.00665)
    assert gap == 0.0


def test_grid_full_pack_pays_the_light_load_charger() -> None:
    step = _step(compute_kwh=0.0943, wall_kwh=0.1242, awake_h=0.25)
    assert _meter(step, GRID) == pytest.approx((0.0, 0.1242, 0.0, 0.0))


def test_grid_meter_never_exceeds_the_outlet() -> None:
    # 1.25 kW DC alone would take 1.25 / 0.8625 = 1.449 kW at the wall of a 1.44 kW outlet
    step = _step(EVSE_L1, compute_kwh=0.3125, wall_kwh=0.3623, awake_h=0.25)
    assert _meter(step, GRID)[1] == pytest.approx(1.44 * 0.25)


def test_grid_charging_that_finishes_inside_the_step() -> None:
    # beside 0.4 kW of compute 6.684 kW charge 1 kWh in 0.1496 h; then compute is alone for 0.1004 h
    step = _step(need_kwh=1.0, compute_kwh=0.1, wall_kwh=0.131, awake_h=0.25)
    full_h = 1.0 / (7.084 - 0.4)
    battery, metered, throughput, gap = _meter(step, GRID)
    assert battery == pytest.approx(1.0)
    assert metered == pytest.approx(7.7 * full_h + 0.131 * (1 - full_h / 0.25))
    assert throughput == pytest.approx(1.0)
    assert gap == 0.0


def test_grid_tail_minutes_delay_charging_by_their_energy() -> None:
    # 5 min at 0.4 kW on Level 1: the meter runs at full power all step, the gap is what was taken
    step = _step(EVSE_L1, need_kwh=0.3132, compute_kwh=0.4 / 12, wall_kwh=0.045, awake_h=1 / 12)
    battery, metered, throughput, gap = _meter(step, GRID)
    assert battery == pytest.approx(0.3132 - 0.4 / 12)
    assert metered == pytest.approx(1.44 * 0.25)
    assert throughput == pytest.approx(0.3132 - 0.4 / 12)
    assert gap == pytest.approx(0.4 / 12)


def test_grid_compute_for_part_of_the_step_charges_later_in_it() -> None:
    # Level 2, owed 1 kWh, awake 0.1 h at 0.4 kW: 0.6684 kWh while awake, the rest asleep
    step = _step(gap=1 / 57.5, compute_kwh=0.04, wall_kwh=0.0524, awake_h=0.1)
    battery, metered, _, gap = _meter(step, GRID)
    assert battery == pytest.approx(1.0)
    assert metered == pytest.approx(7.7 * 0.1 + (1 - 0.6684) / 0.92)
    assert gap == 0.0


def test_fill_limited_by_the_charger() -> None:
    step = _step(gap=5 / 57.5, compute_kwh=0.1, wall_kwh=0.131, awake_h=0.25)
    battery, metered, throughput, gap = _meter(step, FILL)
    assert battery == pytest.approx(7.084 * 0.25 - 0.1)
    assert metered == pytest.approx(7.7 * 0.25)
    assert throughput == pytest.approx(7.084 * 0.25 - 0.1)  # compute is fed past the pack
    assert gap == pytest.approx(5 - 1.671)


def test_fill_of_a_full_pack_is_one_short_burst() -> None:
    # 0.1 kWh in a burst of 0.1 / 7.084 h, 1/17.71 of the awake time: all else goes through the pack
    step = _step(compute_kwh=0.1, wall_kwh=0.131, awake_h=0.25)
    battery, metered, throughput, gap = _meter(step, FILL)
    assert battery == pytest.approx(0.0)
    assert metered == pytest.approx(0.1 / 0.92)
    assert throughput == pytest.approx(0.2 * (1 - 1 / 17.71))
    assert gap == 0.0


def test_burst_on_level_1_feeds_the_1_kw_car_no_more_than_the_outlet_has() -> None:
    # compute 0.3265 kWh, outlet 0.3132 kWh in the same time: all of it goes past the pack
    step = _step(EVSE_L1, need_kwh=0.3132, compute_kwh=0.3265, wall_kwh=0.3775, awake_h=0.25)
    for mode in (PACK, FILL):
        assert _meter(step, mode) == pytest.approx((-0.0133, 0.36, 0.0133, 0.3265))


def test_fill_closes_the_gap_exactly() -> None:
    step = _step(need_kwh=0.3, gap=0.7 / 57.5, compute_kwh=0.1, wall_kwh=0.131, awake_h=0.25)
    battery, metered, _, gap = _meter(step, FILL)
    assert battery == pytest.approx(1.0)
    assert metered == pytest.approx(1.1 / 0.92)
    assert gap == 0.0


def test_pack_draws_the_twins_meter() -> None:
    step = _step(need_kwh=1.0, compute_kwh=0.1, wall_kwh=0.131, awake_h=0.25)
    battery, metered, throughput, gap = _meter(step, PACK)
    assert battery == pytest.approx(0.9)
    assert metered == 1.0 / 0.92
    assert throughput == pytest.approx(1.1 - 0.2 * (1.0 / 1.771))
    assert gap == pytest.approx(0.1)


@pytest.mark.parametrize("mode", [GRID, PACK, FILL])
def test_unplugged_compute_comes_from_the_pack(mode: int) -> None:
    step = _step(EVSE_NONE, gap=0.02, compute_kwh=0.1, wall_kwh=0.131, plug_h=0.2, awake_h=0.2)
    assert _meter(step, mode) == pytest.approx((-0.1, 0.0, 0.1, 0.02 * 57.5 + 0.1))


@pytest.mark.parametrize("mode", [GRID, PACK, FILL])
def test_an_empty_step_changes_nothing(mode: int) -> None:
    for gap in (0.0, 0.1, -0.1):
        battery, metered, throughput, gap_kwh = _meter(_step(gap=gap, plug_h=0.0), mode)
        assert (battery, metered, throughput) == (0.0, 0.0, 0.0)
        assert gap_kwh == gap * 57.5


@pytest.mark.parametrize("mode", [GRID, PACK, FILL])
def test_a_car_fuller_than_its_twin_waits_for_it(mode: int) -> None:
    # after public charging: 5.75 kWh ahead, the twin stores 1.771 kWh
    battery, metered, throughput, gap = _meter(_step(need_kwh=1.771, gap=-0.1), mode)
    assert (battery, metered, throughput) == (0.0, 0.0, 0.0)
    assert gap == pytest.approx(-5.75 + 1.771)


@pytest.mark.parametrize("mode", [GRID, PACK, FILL])
def test_a_car_slightly_ahead_charges_the_difference(mode: int) -> None:
    battery, metered, _, gap = _meter(_step(need_kwh=1.771, gap=-1 / 57.5), mode)
    assert battery == pytest.approx(0.771)
    assert metered == pytest.approx(0.771 / 0.92)
    assert gap == 0.0


def test_modes_may_be_mixed() -> None:
    step = _step(need_kwh=1.0, compute_kwh=0.1, wall_kwh=0.131, awake_h=0.25)
    three = energy.PlugStep(
        **{name: np.repeat(getattr(step, name), 3) for name in energy.PlugStep.__slots__}
    )
    done = energy.meter(three, np.array([GRID, PACK, FILL], dtype=np.uint8))
    for i, mode in enumerate((GRID, PACK, FILL)):
        alone = energy.meter(step, np.array([mode], dtype=np.uint8))
        for name in energy.Metered.__slots__:
            assert getattr(done, name)[i] == getattr(alone, name)[0]


# not cheap unless said; Level 2, pack 57.5 kWh, soc 0.7, limit 0.8: refill (5.75 + 0.1) / 7.084 kW
# = 0.826 h, so 3.83 cheap hours are needed; a refill costs 0.25 / 0.92 + 0.02 = 0.2917 USD per kWh
MANAGER = {
    "draws while dear": ({}, PACK, PACK),
    "cheap hour": ({"cheap": True}, FILL, FILL),
    "too few cheap hours left": ({"cheap_left_h": 3.82}, FILL, FILL),
    "just enough": ({"cheap_left_h": 3.83}, PACK, PACK),
    "would end below the reserve": ({"soc": 0.301}, FILL, FILL),
    "refill costs more": ({"price": 0.26, "wall_kwh": 0.104}, FILL, PACK),
    "light load tips it": ({"price": 0.26, "wall_kwh": 0.125}, PACK, PACK),
    "asleep waits": ({"gap": 0.05, "compute_kwh": 0.0, "wall_kwh": 0.0}, PACK, PACK),
    "asleep, cheap, refills": (
        {"gap": 0.05, "compute_kwh": 0.0, "wall_kwh": 0.0, "cheap": True},
        FILL,
        FILL,
    ),
    "unplugged": ({"row": EVSE_NONE}, FILL, FILL),
}


@pytest.mark.parametrize("case", MANAGER)
def test_manager_by_hand(case: str) -> None:
    given, managed, always = MANAGER[case]
    row = int(given.get("row", EVSE_L2_7))
    step = _step(
        row,
        gap=given.get("gap", 0.0),
        compute_kwh=given.get("compute_kwh", 0.1),
        wall_kwh=given.get("wall_kwh", 0.131),
    )
    outlook = energy.Outlook(
        soc=np.array([given.get("soc", 0.7)]),
        charge_limit=np.array([0.8]),
        reserve_soc=np.array([0.3]),
        price_usd_per_kwh=np.array([given.get("price", 0.40)]),
        cheap=np.array([given.get("cheap", False)]),
        threshold_usd_per_kwh=np.array([0.25]),
        cheap_left_h=np.array([given.get("cheap_left_h", 10.0)]),
    )
    rule = {"margin_h": 3.0, "wear_usd_per_kwh": 0.02}
    chosen = [
        int(energy.choose_mode(source, step, outlook, **rule)[0])
        for source in ("managed", "pack", "grid")
    ]
    assert chosen == [managed, always, GRID]


def test_the_manager_keeps_a_margin_by_car() -> None:
    step = _step(EVSE_L2_7, gap=0.0, compute_kwh=0.1, wall_kwh=0.131)
    step = energy.PlugStep(*(getattr(step, n).repeat(3) for n in energy.PlugStep.__slots__))
    outlook = energy.Outlook(
        soc=np.full(3, 0.7),
        charge_limit=np.full(3, 0.8),
        reserve_soc=np.full(3, 0.3),
        price_usd_per_kwh=np.full(3, 0.40),
        cheap=np.zeros(3, np.bool_),
        threshold_usd_per_kwh=np.full(3, 0.25),
        cheap_left_h=np.full(3, 3.5),  # 2.674 h beyond the refill of 0.826 h
    )
    margin_h = np.array([0.0, 2.67, 2.68])
    chosen = energy.choose_mode("managed", step, outlook, margin_h=margin_h, wear_usd_per_kwh=0.02)
    assert chosen.tolist() == [PACK, PACK, FILL]

"""The float64 reference against numbers by hand or published: right before it judges."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import astuple
from importlib import resources

import pytest

from fleet_env.config import DemandConfig, ServingConfig, ThermalConfig
from fleet_env.types import LFP, NCA
from tests.reference import ageing, energy, physics, road, roofline
from tests.reference.constants import ACCELERATORS, CHARGER_DC_KW, CHARGER_ETA, EVSE, MODELS

AI5 = ACCELERATORS["ai5"]
SERVING, THERMAL = ServingConfig(), ThermalConfig()


@pytest.mark.parametrize(
    ("p_dc_kw", "eta"), [(0.1, 0.70), (0.2, 0.70), (0.35, 0.75), (2.35, 0.885), (50.0, 0.92)]
)
def test_charger_curve(p_dc_kw: float, eta: float) -> None:
    assert physics.charger_eta(p_dc_kw) == pytest.approx(eta, rel=1e-12)


def test_serving_ai5_takes_497_w_at_the_wall() -> None:
    # chip 200 + overhead 120 + cooling 15 + 16 = 351 W, behind 0.93; domain 2a gives 497 W
    p_dc_kw = physics.bus_kw(AI5, 1.0, 20.0, SERVING, THERMAL)
    assert p_dc_kw == pytest.approx(0.351 / 0.93, rel=1e-12)
    assert 1000.0 * physics.wall_kw(p_dc_kw) == pytest.approx(497.0, abs=0.6)


@pytest.mark.parametrize(
    ("ambient_c", "watts"),
    [(29.9, 31.0), (30.0, 300.0), (45.0, 300.0), (48.75, 300.0)],
)
def test_cooling_of_a_busy_ai5(ambient_c: float, watts: float) -> None:
    assert physics.cooling_w(200.0, 120.0, ambient_c) == pytest.approx(watts)


def test_cooling_of_a_busy_claim_car_follows_the_cop() -> None:
    # 1120 W over a COP of 3.0 - 0.08 x 10 = 2.2
    assert physics.cooling_w(1000.0, 120.0, 40.0) == pytest.approx(1120.0 / 2.2)
    assert physics.cooling_w(1000.0, 120.0, 49.0) == pytest.approx(1120.0 / 1.5)


@pytest.mark.parametrize(
    ("inlet_c", "share"), [(20, 1.0), (35, 1.0), (40, 0.75), (45, 0.5), (49.9, 0.5), (50, 0.0)]
)
def test_derating(inlet_c: float, share: float) -> None:
    assert physics.derating(inlet_c, THERMAL) == pytest.approx(share)


def test_closed_garage_warms_by_six_kelvin() -> None:
    heat_w = physics.full_heat_w(AI5, SERVING, THERMAL)  # 497 W at the wall
    assert physics.inlet_c(20.0, True, heat_w, THERMAL) == pytest.approx(20.0 + 6.21, abs=0.01)
    assert physics.inlet_c(20.0, False, heat_w, THERMAL) == 20.0


def test_excess_after_one_time_constant() -> None:
    target_k = physics.excess_target_k(400.0, True, 5.0, THERMAL)
    assert target_k == pytest.approx(400.0 / 80.0 + 400.0 * 0.5 / 16.0)
    assert physics.lag(0.0, target_k, 7.0, 7.0) == pytest.approx(target_k * (1 - math.exp(-1)))


@pytest.mark.parametrize(
    ("chemistry", "celsius", "year_percent", "decade_percent"),
    [
        (LFP, 15, 0.6, 1.9),
        (LFP, 25, 1.1, 3.7),
        (LFP, 35, 2.0, 6.8),
        (NCA, 15, 2.6, 8.6),
        (NCA, 25, 3.8, 12.4),
        (NCA, 35, 5.4, 17.5),
    ],
)
def test_calendar_law_gives_the_surveyed_losses(
    chemistry: int, celsius: float, year_percent: float, decade_percent: float
) -> None:
    # table of domain 2d, quoted to 0.1 points
    p = ageing.P_CALENDAR[chemistry == LFP]
    k = ageing.calendar_k(chemistry, 0.5, celsius)
    assert 100 * k * 365.25**p == pytest.approx(year_percent, abs=0.06)
    assert 100 * k * 3652.5**p == pytest.approx(decade_percent, abs=0.06)


@pytest.mark.parametrize("chemistry", [LFP, NCA])
def test_slope_at_own_age_is_the_derivative_of_the_law(chemistry: int) -> None:
    p, k = ageing.P_CALENDAR[chemistry == LFP], ageing.calendar_k(chemistry, 0.6, 18.0)
    days = 1000.0
    gain = p * (k * days**p) ** ((p - 1) / p)
    slope = ageing.calendar_fade(chemistry, gain, 0.6, 18.0, 24.0)
    difference = k * ((days + 0.5) ** p - (days - 0.5) ** p)
    assert slope == pytest.approx(difference, rel=1e-6)


def wish(**changes: float) -> energy.Wish:
    """A Level 2 plug for a quarter of an hour, car awake all the time at 0.4 kW."""
    plug = EVSE[2]
    base = {
        "dc_kw": plug.dc_kw,
        "ac_kw": plug.ac_kw,
        "eta": plug.eta,
        "plug_h": 0.25,
        "awake_h": 0.25,
        "need_kwh": 0.0,
        "owed_kwh": 0.0,
        "compute_kwh": 0.1,
        "compute_wall_kwh": 0.13,
    }
    return energy.Wish(**{**base, **changes})


def test_grid_with_a_full_pack_pays_the_light_load_charger() -> None:
    flow = energy.grid(wish())
    assert (flow.stored_kwh, flow.metered_kwh, flow.throughput_kwh) == (0.0, 0.13, 0.0)


def test_grid_in_the_middle_of_a_charge_delays_it_and_leaves_the_meter_alone() -> None:
    full_kwh = 7.084 * 0.25
    flow = energy.grid(wish(need_kwh=full_kwh))
    assert flow.metered_kwh == pytest.approx(7.7 * 0.25)  # as the twin
    assert flow.twin_metered_kwh == pytest.approx(7.7 * 0.25)
    assert flow.stored_kwh == pytest.approx(full_kwh - 0.1)


def test_grid_that_ends_its_charge_inside_the_step() -> None:
    # 1 kWh at 7.084 - 0.4 kW takes 0.14961 h at the full 7.7 kW, then 0.52 kW at the wall
    flow = energy.grid(wish(need_kwh=1.0))
    full_h = 1.0 / 6.684
    assert flow.stored_kwh == 1.0
    assert flow.metered_kwh == pytest.approx(7.7 * full_h + 0.52 * (0.25 - full_h))


def test_claim_car_discharges_on_level_one() -> None:
    # Level 1 gives 1.2528 kW DC; the car takes 1.31: the pack supplements 0.0572 kW
    flow = energy.grid(
        wish(ac_kw=1.44, dc_kw=1.2528, eta=0.87, compute_kwh=0.3275, compute_wall_kwh=0.38)
    )
    assert flow.stored_kwh == pytest.approx(-0.0143)
    assert flow.metered_kwh == pytest.approx(0.36)


def test_burst_of_a_weak_outlet_passes_only_the_shortage_through_the_pack() -> None:
    flow = energy.fill(wish(ac_kw=1.44, dc_kw=1.2528, eta=0.87, compute_kwh=0.3275))
    assert flow.stored_kwh == pytest.approx(-0.0143)
    assert flow.throughput_kwh == pytest.approx(0.0143)


def test_unplugged_car_lives_on_its_pack() -> None:
    none = {"ac_kw": 0.0, "dc_kw": 0.0, "eta": 0.88}
    for play in (energy.grid, energy.pack, energy.fill):
        flow = play(wish(**none))
        assert (flow.stored_kwh, flow.metered_kwh) == (-0.1, 0.0)
        assert flow.throughput_kwh == pytest.approx(0.1)


def test_claim_car_refills_on_level_one_after_it_fell_asleep() -> None:
    # awake 6 min: the pack gives 0.0572 x 0.1 kWh; asleep it takes 1.2528 kW until full again
    flow = energy.grid(
        wish(
            ac_kw=1.44,
            dc_kw=1.2528,
            eta=0.87,
            awake_h=0.1,
            compute_kwh=0.131,
            compute_wall_kwh=0.15,
        )
    )
    assert flow.stored_kwh == 0.0
    assert flow.metered_kwh == pytest.approx(0.144 + 1.44 * 0.00572 / 1.2528)


def test_pack_leaves_the_meter_to_the_twin() -> None:
    flow = energy.pack(wish(need_kwh=0.5))
    assert flow.metered_kwh == flow.twin_metered_kwh == pytest.approx(0.5 / 0.92)
    assert flow.stored_kwh == pytest.approx(0.4)
    # 0.5 kWh of charge reach 0.5 / 7.084 h into the step and feed that much of the 0.4 kW directly
    direct_kwh = 0.4 * 0.5 / 7.084
    assert flow.throughput_kwh == pytest.approx(0.6 - 2 * direct_kwh)


def test_fill_bursts_for_compute_and_debt() -> None:
    flow = energy.fill(wish(owed_kwh=0.7))
    assert flow.metered_kwh == pytest.approx(0.8 / 0.92)
    assert flow.stored_kwh == pytest.approx(0.7)
    full = energy.fill(wish(owed_kwh=9.0))
    assert full.metered_kwh == pytest.approx(7.7 * 0.25)
    assert full.stored_kwh == pytest.approx(7.084 * 0.25 - 0.1)


@pytest.mark.parametrize("play", [energy.grid, energy.pack, energy.fill])
@pytest.mark.parametrize("need_kwh", [0.0, 0.3, 1.5, 1.771])
@pytest.mark.parametrize("owed_kwh", [0.0, 0.2, 3.0])
def test_all_energy_is_booked_within_the_charger(
    play: Callable[[energy.Wish], energy.Flow], need_kwh: float, owed_kwh: float
) -> None:
    asked = wish(need_kwh=need_kwh, owed_kwh=owed_kwh)
    flow = play(asked)
    growth_kwh = need_kwh - flow.stored_kwh
    booked = flow.metered_kwh - flow.twin_metered_kwh + growth_kwh / asked.eta
    assert asked.compute_kwh / asked.eta - 1e-12 <= booked <= asked.compute_wall_kwh + 1e-12


TARIFF = {"pack_wear_usd_per_kwh": 0.02, "margin_h": 3.0}


@pytest.mark.parametrize(
    ("source", "price", "cheap", "left_h", "want"),
    [
        ("grid", 0.60, False, 9.0, "grid"),
        ("managed", 0.30, True, 9.0, "fill"),
        ("managed", 0.60, False, 9.0, "pack"),  # 0.60 x 1.3 = 0.78 > 0.30 / 0.92 + 0.02
        ("managed", 0.26, False, 9.0, "fill"),  # 0.26 x 1.3 = 0.338 < 0.346
        ("managed", 0.60, False, 3.0, "fill"),  # 3 h margin and something to refill
        ("pack", 0.26, False, 9.0, "pack"),
        ("pack", 0.26, True, 9.0, "fill"),
    ],
)
def test_manager(source: str, price: float, cheap: bool, left_h: float, want: str) -> None:
    tariff = energy.Tariff(price, 0.30, cheap, **TARIFF)
    got = energy.mode(
        source, wish(), tariff, refill_kwh=0.1, cheap_left_h=left_h, above_reserve=True
    )
    assert got == want


@pytest.mark.parametrize(
    ("chip", "tier", "batch", "tokens"),
    [
        ("hw3", 0, 8, 104),
        ("hw3", 0, 32, 225),
        ("ai4", 0, 8, 292),
        ("ai4", 0, 32, 538),
        ("ai5", 0, 32, 2004),
        ("ai5", 1, 8, 109),
        ("ai5", 1, 32, 276),
        ("claim", 1, 32, 1103),
    ],
)
def test_roofline_gives_the_surveyed_rates(chip: str, tier: int, batch: int, tokens: int) -> None:
    # table of domain 1c, quoted to three digits
    got = roofline.tokens_per_s(ACCELERATORS[chip], MODELS[tier], DemandConfig(), batch)
    assert got == pytest.approx(tokens, rel=5e-3)


def test_constants_are_those_of_the_shipped_tables() -> None:
    """Two hands typed them; a difference is a slip in one of the two."""
    chips = rows("accelerators.csv")
    for name, mine in ACCELERATORS.items():
        names = ("dense_tops", "bandwidth_gb_per_s", "memory_gb", "idle_w", "busy_w")
        assert astuple(mine) == tuple(float(chips[name][column]) for column in names)
        assert (float(chips[name]["eta_bw"]), float(chips[name]["eta_c"])) == (0.60, 0.35)
    models = rows("models.csv")
    for name, model in zip(("8b", "70b"), MODELS, strict=True):
        row = [float(models[name][c]) for c in ("params_b", "weights_gb", "kv_bytes_per_token")]
        assert [model.params / 1e9, model.weights_gb, model.kv_bytes_per_token] == row
    plugs = [(float(row["ac_kw"]), float(row["eta"])) for row in rows("chargers.csv").values()]
    assert [(EVSE[i].ac_kw, EVSE[i].eta) for i in range(4)] == plugs
    curve = [(float(k), float(row["efficiency"])) for k, row in rows("obc_efficiency.csv").items()]
    assert list(zip(CHARGER_DC_KW, CHARGER_ETA, strict=True)) == curve


def rows(table: str) -> dict[str, dict[str, str]]:
    """Rows of a shipped table by their first column, read as plain text."""
    text = (resources.files("fleet_env.data") / table).read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {next(iter(row.values())): row for row in csv.DictReader(lines)}


def test_trip_without_public_charging() -> None:
    assert road.after_trip(0.5, 0.2, 60.0) == (pytest.approx(0.3), 0.0)


def test_trip_that_would_empty_the_pack_is_charged_for_first() -> None:
    # 0.20 - 0.16 < 0.05: from 0.20 to 0.60 of 60 kWh are 24 kWh, 26.09 at the meter
    soc, public_kwh = road.after_trip(0.2, 0.16, 60.0)
    assert soc == pytest.approx(0.44)
    assert public_kwh == pytest.approx(24.0 / 0.92)

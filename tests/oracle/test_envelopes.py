"""Each optimistic piece of the bound against the kernels of the simulation (docs/bounds.md 2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.oracle.bound import Case, bound_usd, case_of
from agents.oracle.economics import _cheap_left_h, _may_draw, car_steps
from agents.oracle.tape import Tape
from fleet_env.dynamics import energy, feeder, thermal, wear
from fleet_env.dynamics.energy import FILL, GRID, PACK
from fleet_env.dynamics.serving_setup import serving_setup
from fleet_env.rewards import wear_usd_per_fade_kwh
from fleet_env.types import EVSE_L1, EVSE_L2_11, EVSE_NONE, BoolArray, FloatArray
from fleet_env.world import EXCESS_ZERO_K
from tests.oracle.plays import (
    CARDS,
    ROUNDING,
    ROUNDING_USD,
    hard_plans,
    play,
    safe_cars,
    small,
    tapes_of,
    worth_of,
)

EVSE = energy.load_evse(np.float64)
KWH = energy.CLOSED_GAP_KWH + 1e-9  # what a closed gap may lose


@st.composite
def plug_steps(draw: st.DrawFn, first_row: int = EVSE_NONE) -> energy.PlugStep:
    """Some cars in a step, owed energy in each (what public charging does is `public.py`)."""
    num = draw(st.integers(1, 4))
    one = {"min_size": num, "max_size": num}
    row = np.array(draw(st.lists(st.integers(first_row, EVSE_L2_11), **one)))
    share = [np.array(draw(st.lists(st.floats(0.0, 1.0), **one))) for _ in range(4)]
    pack_kwh = np.full(num, 60.0)
    plug_h = 0.25 * np.maximum(share[0], 0.01)
    awake_h = plug_h * share[1]
    need_kwh = np.minimum(EVSE.dc_kw[row] * plug_h, 2.0 * share[2])
    p_dc_kw = 0.2 + 1.3 * share[3]
    owed = np.array(draw(st.lists(st.floats(0.0, 6.0), **one)))
    return energy.PlugStep(
        need_kwh=need_kwh,
        gap=owed / pack_kwh,
        pack_kwh=pack_kwh,
        compute_kwh=p_dc_kw * awake_h,
        wall_kwh=energy.wall_kw(p_dc_kw) * awake_h,
        plug_h=plug_h,
        awake_h=awake_h,
        ac_kw=EVSE.ac_kw[row],
        eta=EVSE.eta[row],
        dc_kw=EVSE.dc_kw[row],
    )


def _refill_kwh(step: energy.PlugStep, flow: energy.Metered) -> FloatArray:
    """Energy of compute and of the gap that was made up for in the step."""
    refill: FloatArray = step.compute_kwh - (flow.gap - step.gap) * step.pack_kwh
    return refill


@given(step=plug_steps(), mode=st.sampled_from((GRID, PACK, FILL)))
@settings(max_examples=400)
def test_the_meter_bills_at_least_what_is_refilled(step: energy.PlugStep, mode: int) -> None:
    flow = energy.meter(step, np.full(step.gap.shape, mode, np.uint8))
    refill = _refill_kwh(step, flow)
    bought = flow.meter_kwh - flow.twin_meter_kwh
    assert (bought >= refill / step.eta - 2 * KWH).all()
    room = np.maximum(step.dc_kw * step.plug_h - step.need_kwh, 0.0)
    assert (refill <= room + KWH).all()
    assert (refill >= -KWH).all()
    assert (flow.gap >= -KWH).all()  # a car that owes nothing is never fuller than its twin


@given(step=plug_steps(EVSE_L1), mode=st.sampled_from((GRID, FILL)), more=st.floats(1.0, 3.0))
@settings(max_examples=300)
def test_without_drawing_on_the_pack_the_forced_share_is_bought(
    step: energy.PlugStep, mode: int, more: float
) -> None:
    flow = energy.meter(step, np.full(step.gap.shape, mode, np.uint8))
    room = np.maximum(step.dc_kw * step.plug_h - step.need_kwh, 0.0)
    most = step.compute_kwh * more
    share = np.minimum(1.0, room / np.maximum(most, 1e-12))
    assert (_refill_kwh(step, flow) >= share * step.compute_kwh - KWH).all()


@given(step=plug_steps(EVSE_L1), mode=st.sampled_from((GRID, FILL)), left=st.floats(0.0, 4.0))
@settings(max_examples=300)
def test_transformers_bill_and_limit_what_is_refilled(
    step: energy.PlugStep, mode: int, left: float
) -> None:
    flow = energy.meter(step, np.full(step.gap.shape, mode, np.uint8))
    near, home = np.zeros(step.gap.size, np.intp), np.ones(step.gap.size, np.bool_)
    flow, _ = feeder.limit(step, flow, near, home, np.array([left]))
    refill = _refill_kwh(step, flow)
    bought = flow.meter_kwh - flow.twin_meter_kwh
    assert (bought >= refill / step.eta - 2 * KWH).all()
    assert (np.maximum(refill, 0.0) / step.eta).sum() <= left + 4 * KWH * step.gap.size


@pytest.fixture(scope="module", params=[0.0, 3.0])
def managed(request: pytest.FixtureRequest) -> tuple[Tape, FloatArray, BoolArray, float]:
    """A tape, the least power on duty [kW], `_may_draw`, and the margin it is for [h]."""
    tape = tapes_of(small("suburb", 80), [1])[0][0]
    cars = car_steps(tape)
    awake_kw = np.divide(
        cars.duty_kwh, cars.on_h, out=np.full(cars.on_h.shape, 0.3), where=cars.on_h > 0
    )
    return tape, awake_kw, _may_draw(tape, awake_kw, request.param), request.param


@given(
    seed=st.integers(0, 2**31),
    owed_kwh=st.floats(0.0, 10.0),
    more_kw=st.floats(0.0, 1.5),
    more_h=st.floats(0.0, 6.0),
)
@settings(max_examples=60)
def test_where_the_manager_draws_on_the_pack_the_share_is_not_forced(
    managed: tuple[Tape, FloatArray, BoolArray, float],
    seed: int,
    owed_kwh: float,
    more_kw: float,
    more_h: float,
) -> None:
    tape, awake_kw, may_draw, margin_h = managed
    rng, num = np.random.default_rng(seed), awake_kw.size
    p_dc_kw = awake_kw + more_kw * rng.random(num)
    step, outlook = _manager_sees(tape, p_dc_kw, owed_kwh * rng.random(num))
    mode = energy.choose_mode(
        "managed",
        step,
        outlook,
        margin_h=margin_h + more_h * rng.random(num),  # what a policy sets, above the least
        wear_usd_per_kwh=tape.config.energy.pack_wear_usd_per_kwh,
    )
    draws = (mode == PACK) & (step.compute_kwh > 0)
    assert not (draws & ~may_draw).any()
    if owed_kwh < 0.1 and more_h < 0.1:  # else cars may owe too much
        assert draws.any()


def _manager_sees(
    tape: Tape, p_dc_kw: FloatArray, owed_kwh: FloatArray
) -> tuple[energy.PlugStep, energy.Outlook]:
    """All car-steps of a tape as the simulation shows them to the manager, with charge owed."""
    v, sim = tape.visits, tape.sim
    params, table, plug, car = sim.world.params, sim.table, sim.world.evse_table, v.car
    pack_kwh = params.pack_kwh[car].astype(np.float64)
    awake_h = v.on_h.astype(np.float64)
    step = energy.PlugStep(
        need_kwh=v.need_kwh.astype(np.float64),
        gap=owed_kwh / pack_kwh,
        pack_kwh=pack_kwh,
        compute_kwh=p_dc_kw * awake_h,
        wall_kwh=sim.chips.wall_kw(p_dc_kw) * awake_h,
        plug_h=v.here_h.astype(np.float64),
        awake_h=awake_h,
        ac_kw=plug.ac_kw[v.evse],
        eta=plug.eta[v.evse],
        dc_kw=plug.dc_kw[v.evse],
    )
    outlook = energy.Outlook(
        soc=v.twin_soc - step.gap,
        charge_limit=params.charge_limit[car],
        reserve_soc=params.reserve_soc[car],
        price_usd_per_kwh=table.price[v.step, v.area],
        cheap=table.cheap[v.step, v.area],
        threshold_usd_per_kwh=table.refill_price[v.step, v.area],
        cheap_left_h=_cheap_left_h(tape),
    )
    return step, outlook


def test_a_lower_margin_of_the_manager_never_lowers_the_bound() -> None:
    tape = tapes_of(small("suburb", 80), [1])[0][0]
    free, plain = case_of(tape, margin_h=0.0), case_of(tape)
    assert tape.config.energy.margin_h == 3.0
    assert (free.cars.forced <= plain.cars.forced).all()
    assert (free.cars.forced < plain.cars.forced).any()
    assert bound_usd(free, 80) >= bound_usd(case_of(tape, margin_h=3.0), 80) * (1 - ROUNDING)
    np.testing.assert_array_equal(case_of(tape, margin_h=3.0).cars.forced, plain.cars.forced)


@given(
    util=st.floats(0.0, 1.0),
    idle_w=st.floats(5.0, 200.0),
    more_w=st.floats(5.0, 900.0),
    inlet_c=st.floats(-20.0, 60.0),
    overhead_w=st.floats(30.0, 300.0),
)
@settings(max_examples=400)
def test_power_is_above_its_slope_at_no_work(
    util: float, idle_w: float, more_w: float, inlet_c: float, overhead_w: float
) -> None:
    def kw(share: float) -> float:
        chip = (np.array([share]), np.array([idle_w]), np.array([idle_w + more_w]))
        air = np.array([inlet_c])
        return float(energy.bus_power_kw(*chip, air, overhead_w=overhead_w, eta_dcdc=0.93)[0])

    slope = min((kw(1e-3) - kw(0.0)) / 1e-3, kw(1.0) - kw(0.0))
    assert kw(util) >= kw(0.0) + slope * util - 1e-6  # a bend below 0.1 % of work
    assert kw(util) <= kw(1.0) + 1e-12


@pytest.mark.parametrize("card", ["suburb", "mixed", "claim", "gauntlet"])
def test_more_servers_admit_a_larger_load_each(card: str) -> None:
    config = small(card, 10)
    setup = serving_setup(config, list(config.fleet.accelerators))
    slots = np.concatenate([np.linspace(1e-3, 64.0, 4001), np.geomspace(64.0, 1e10, 4001)])
    for pool in setup.pools:
        share = pool.table.rho_max(pool.table.locate(slots))
        highest = np.maximum.accumulate(share)
        from_one = slots >= 1.0  # `market` counts at least one slot
        assert (highest[from_one] <= share[from_one] + 1e-9).all()
        assert (share <= 1.0).all()


@pytest.fixture(scope="module", params=["coldsnap", "suburb"])
def heated(request: pytest.FixtureRequest) -> tuple[Tape, Case]:
    tapes, cases = tapes_of(small(request.param, 60), [1])
    return tapes[0], cases[0]


@pytest.mark.parametrize("seed", range(6))
def test_wear_of_a_stay_is_above_its_floor(heated: tuple[Tape, Case], seed: int) -> None:
    tape, case = heated
    cars = case.cars
    rng = np.random.default_rng(seed)
    num, num_stays = cars.may.size, len(case.stays.car)
    works = rng.random(num_stays)[cars.stay] > rng.random(num)
    spent = cars.most_kwh * rng.random(num) * works * rng.integers(0, 2, num_stays)[cars.stay]
    spent *= cars.may
    owed = _owed_kwh(tape, cars.stay, spent, rng)
    usd, starts = _wear_usd(tape, case, spent, owed)
    before = np.where(cars.same, np.concatenate([[0.0], owed[:-1]]), 0.0)
    floor = cars.heat_usd * spent - cars.gap_usd * (owed + before) / 2 + cars.start_usd * starts
    by_stay = [np.bincount(cars.stay, values, num_stays) for values in (usd, floor)]
    followed = ~np.bincount(cars.stay, cars.lifted, num_stays).astype(np.bool_)
    assert (by_stay[0] >= by_stay[1] - ROUNDING_USD * 0.1)[followed].all()
    assert tape.config.name != "coldsnap" or (cars.heat_usd > 0).any()


def _owed_kwh(
    tape: Tape, stay: np.ndarray, spent: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Charge owed at the end of each car-step if random shares are refilled (any speed)."""
    owed, now, last = np.zeros(spent.size), 0.0, -1
    refills = rng.random(spent.size) < 0.2
    for i in range(spent.size):
        now = (now if stay[i] == last else 0.0) + spent[i]
        now *= 1.0 - refills[i] * rng.random()
        owed[i], last = now, stay[i]
    return owed


def _wear_usd(
    tape: Tape, case: Case, spent: FloatArray, owed: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Wear of every car-step [USD] with the kernels of the simulation; and where duty starts."""
    cars, v, sim = case.cars, tape.visits, tape.sim
    usd, starts = np.zeros(spent.size), np.zeros(spent.size)
    excess, was_on = 0.0, False
    for i in range(spent.size):
        if not cars.same[i]:
            excess, was_on = 0.0, False
        starts[i] = spent[i] > 0 and not (was_on and cars.runs_on[i])
        was_on = spent[i] > 0
        before = owed[i - 1] if cars.same[i] else 0.0
        if spent[i] == 0 and excess <= EXCESS_ZERO_K and before == 0:
            continue  # nobody looks after it
        excess, usd[i] = _step_wear(tape, i, excess, spent[i], before, owed[i])
    assert sim.config.name == tape.config.name
    assert v.car.size == usd.size
    return usd, starts


def _step_wear(
    tape: Tape, i: int, excess: float, spent: float, before: float, after: float
) -> tuple[float, float]:
    v, sim, config = tape.visits, tape.sim, tape.config
    params, car = sim.world.params, int(v.car[i]) + tape.cars.start
    pack_kwh = float(params.pack_kwh[car])
    region = int(v.area[i]) - tape.row * tape.num_regions
    ambient = np.array([float(sim.table.ambient_c[v.step[i], v.area[i]])])
    warm = thermal.excess_k(
        np.array([excess]),
        np.array([spent * 1000.0 / config.dt_h]),
        v.garage[[i]],
        ambient,
        config.dt_h,
        config.thermal,
    )
    rise = float(v.need_kwh[i]) / pack_kwh
    twin = np.array([float(v.twin_soc[i]), float(v.twin_soc[i]) + rise])
    car_soc = twin - np.array([before, after]) / pack_kwh
    packs = wear.Packs(
        *(
            np.array([value])
            for value in (
                params.chemistry[car],
                pack_kwh,
                float(params.cal_gain[car]),
                float(params.cyc_gain[car]),
            )
        )
    )
    through = abs(float(v.need_kwh[i]) + before - after) + spent
    fade = wear.extra_fade(
        packs,
        wear.Strain(np.array([car_soc.mean()]), np.array([0.05]), np.array([through])),
        wear.Strain(np.array([twin.mean()]), np.array([0.02]), v.need_kwh[[i]].astype(float)),
        pack_c=np.array([float(tape.pack_c[v.step[i], region])]),
        excess_k=warm,
        hours=np.array([float(v.here_h[i])]),
        days=config.dt_h / 24.0,
    )
    usd = float(fade[0]) * pack_kwh * wear_usd_per_fade_kwh(config.reward)
    return float(warm[0]), max(usd, 0.0)


def _check_plans(card: str, num_cars: int, seeds: list[int], **overrides: object) -> None:
    """Hold the programme to what was played: it must make at least as much of it."""
    config = small(card, num_cars, **overrides)
    _, cases = tapes_of(config, seeds)
    for name, plan in hard_plans(config, len(seeds), seed=3):
        played = play(config, seeds, plan)
        for row, case in enumerate(cases):
            worth = worth_of(case, played.duty[:, row])
            slack = ROUNDING * abs(worth) + ROUNDING_USD
            assert worth >= played.returns[row] - slack, f"{card}, row {row}: {name}"


def test_the_programme_makes_at_least_as_much_of_any_duty() -> None:
    _check_plans("suburb", 6, [0])


def test_that_check_finds_pieces_that_are_too_dear() -> None:
    config = small("suburb", 30, demand={"load": 3.0})
    case = tapes_of(config, [3])[1][0]
    played = play(config, [3], lambda step, sim: safe_cars(sim))
    duty, earned = played.duty[:, 0], played.returns[0]
    cars = case.cars
    assert earned > 0.0
    assert worth_of(case, duty) >= earned
    room = np.minimum(1.0, cars.refill_kwh / np.maximum(cars.most_kwh, 1e-9))
    for worse in (
        replace(case, cars=replace(cars, busy_kwh=1.3 * cars.busy_kwh)),
        replace(case, cars=replace(cars, forced=room)),
        replace(case, shop=replace(case.shop, per_h=0.9 * case.shop.per_h)),
    ):
        assert worth_of(worse, duty) < earned


@pytest.mark.long
@pytest.mark.parametrize("card", CARDS)
def test_the_programme_makes_at_least_as_much_of_any_duty_on_all_cards(card: str) -> None:
    _check_plans(card, 50, [1, 2, 3])


# worlds in which a piece that is small on the cards decides
CHEAP_PUBLIC = {
    "reward": {"shortfall_usd": 0.5, "shortfall_usd_per_kwh": 0.0, "pay_usd_per_on_duty_h": 0.0},
    "fleet": {"unplugged_share": 1.0, "reserve_soc": 0.0, "home_charger_share": 0.5},
    "energy": {"public_usd_per_kwh": 0.05},
    "demand": {"load": 2.0},
}
NEGATIVE = {"energy": {"tariff": "flat", "flat_usd_per_kwh": -0.2}, "season": "JJA"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        CHEAP_PUBLIC,
        NEGATIVE,
        {**NEGATIVE, "energy": {**NEGATIVE["energy"], "source": "grid"}},
        {"energy": {"source": "grid"}},
        {"energy": {"source": "pack"}},
        {"reward": {"shortfall_usd": 0.0, "slo_penalty": 0.0}, "demand": {"load": 3.0}},
        {"step_min": 5, "serving": {"tail_min": 15.0}},
        {"feeder": {"start_spread_min": 10.0}},
        {"serving": {"hedge": True}, "demand": {"load": 0.1}},
        {"fleet": {"weights_missing_share": 0.5, "cellular_share": 0.5}},
        {"owners": {"cap_h_per_month": 60.0}, "demand": {"load": 2.0}},
        {"energy": {"tariff": "flat"}, "demand": {"batch_share": 1.0}},
    ],
    ids=[
        "public",
        "negative",
        "negative grid",
        "grid",
        "pack",
        "harmless",
        "warm",
        "spread",
        "hedge",
        "downloads and cellular links",
        "capped",
        "flat, batch alone",
    ],
)
def test_the_programme_holds_in_strange_worlds(overrides: dict[str, object]) -> None:
    card = "claim" if overrides is CHEAP_PUBLIC else "suburb"
    _check_plans(card, 50, [0, 1], **overrides)


@pytest.mark.slow
def test_the_programme_holds_where_parameters_are_drawn_by_row() -> None:
    ranges = {"load": [0.25, 1.0], "level1_share": [0.15, 0.5], "shortfall_usd": [5.0, 50.0]}
    _check_plans("suburb", 50, [0, 1, 2], randomise=ranges)

"""Traps of modelling that a throwaway prototype fell into: the bound must not."""

from __future__ import annotations

import numpy as np
import pytest

from agents.oracle.bound import bound_usd
from agents.oracle.lp import foresight
from fleet_env.scenarios import scenario
from tests.oracle.plays import CARDS, ROUNDING_USD, play, small, tapes_of, worth_of
from tests.oracle.test_lp import car_steps, one_stay, shop_of

HOUR_USD = 0.75 * 2.0 - 0.1  # what an hour of work earns beyond its energy (`test_lp`)
HOUR_KWH = 1.75


def test_charge_still_owed_at_the_horizon_is_billed() -> None:
    # no room to refill in the last hour: what it takes is billed at the mean price, not free
    plan = foresight(car_steps(1, refill_kwh=0.0), one_stay(1), shop_of(np.ones(1)))
    assert plan.bound_usd == pytest.approx(HOUR_USD - HOUR_KWH * 0.5, abs=1e-6)


def test_work_just_before_the_horizon_is_worth_no_more_than_it_earns() -> None:
    config, seeds = small("suburb", 20), [0, 1]
    _, cases = tapes_of(config, seeds)
    for hours in (1.0, 3.0, 8.0):
        first = config.num_steps - round(hours / config.dt_h)
        played = play(config, seeds, lambda k, sim, first=first: np.full((2, 20), k >= first))
        for row, case in enumerate(cases):
            worth = worth_of(case, played.duty[:, row])
            assert played.returns[row] <= worth + ROUNDING_USD


def test_a_car_whose_charger_is_busy_buys_its_energy_later() -> None:
    # its twin takes all the outlet gives in the first hour, at 0.1; the next one costs 0.4
    room = {"refill_kwh": np.array([0.0, 10.0]), "refill_usd": np.array([0.1, 0.4])}
    plan = foresight(car_steps(2, **room), one_stay(2), shop_of(np.array([1.0, 0.0])))
    assert plan.bound_usd == pytest.approx(HOUR_USD - HOUR_KWH * 0.4, abs=1e-6)


def test_unplugged_energy_costs_what_a_later_refill_or_the_mean_price_does() -> None:
    config = small("suburb", 40, fleet={"unplugged_share": 1.0})
    tapes, cases = tapes_of(config, [2])
    cars, v, table = cases[0].cars, tapes[0].visits, tapes[0].sim.table
    unplugged = v.evse == 0
    assert unplugged.any()
    assert (cars.refill_kwh[unplugged] == 0).all()
    eta = tapes[0].sim.world.evse_table.eta
    mean_usd = table.ref_price[0, 0] / eta.max()
    assert (cars.ref_usd >= mean_usd - 1e-6).all()
    cheapest_usd = table.price.min() / eta.max()
    wear_usd = 0.02  # that a kWh owed for a day may spare
    least_usd = cars.ref_usd + cases[0].stays.carry_usd[cars.stay] + wear_usd
    assert (least_usd >= min(cheapest_usd, mean_usd)).all()


def test_a_shortfall_needs_more_than_the_tolerance() -> None:
    # owed at the departure: 1.75 kWh, nothing can be refilled; 10 USD and 1 USD/kWh beyond `free`
    cars = car_steps(1, refill_kwh=0.0)
    shop = shop_of(np.ones(1), price_usd=np.array([0.0, 30.0, 30.0]))
    energy_usd = 0.1 + HOUR_KWH * 0.5

    def worth(free_kwh: float, *, whole: bool) -> float:
        stay = one_stay(1, leaves=[True], free_kwh=[free_kwh])
        return foresight(cars, stay, shop, whole=whole).bound_usd

    income = 0.75 * 30.0 - energy_usd
    assert worth(1.8, whole=True) == pytest.approx(income, abs=1e-6)
    assert worth(1.0, whole=True) == pytest.approx(income - 10.0 - 0.75, abs=1e-6)
    # the chord of the relaxed programme reaches to 2 kWh, full work for a whole hour
    assert worth(1.0, whole=False) == pytest.approx(income - 7.5 - 0.75, abs=1e-5)


@pytest.mark.parametrize("card", CARDS)
def test_days_are_cut_at_noon_and_nights_are_whole(card: str) -> None:
    config = scenario(card)
    assert config.start_hour == 12.0
    assert config.num_steps * config.dt_h == 24.0 * config.days


def test_there_is_nothing_to_earn_by_shifting_the_twins_own_charging() -> None:
    # no work at all: however prices differ, nothing can be bought early or sold back
    prices = {"refill_usd": np.array([0.0, 1.0, 0.05, 2.0]), "ref_usd": 0.5}
    plan = foresight(car_steps(4, **prices), one_stay(4), shop_of(np.zeros(4)))
    assert plan.bound_usd == pytest.approx(0.0, abs=1e-6)
    assert plan.owed_kwh == pytest.approx(np.zeros(4), abs=1e-5)


def test_a_card_on_which_nobody_can_earn_has_the_bound_zero_dollars() -> None:
    # shares of such a bound mean nothing: whoever shows them shows USD beside them
    config = small("suburb", 20, datacentre={"usd_per_mtok_8b": 0.0, "usd_per_mtok_70b": 0.0})
    _, cases = tapes_of(config, [0])
    assert bound_usd(cases[0], 20) - cases[0].gain_usd == pytest.approx(0.0, abs=1e-6)

"""The programme of a sample of cars: its share of the demand and the prices it finds."""

from __future__ import annotations

import numpy as np
import pytest

from agents.oracle.bound import Case, bound_usd, plan_of
from agents.oracle.lp import foresight
from agents.oracle.market import share_of
from tests.oracle.plays import small, tapes_of
from tests.oracle.test_lp import car_steps, no_limits, one_stay, shop_of


def test_a_sample_gets_the_share_of_demand_that_it_could_serve() -> None:
    # car 0 is here in both hours, car 1 in the second only: of one car, all of the first hour's
    # demand and half of the second's
    cars = car_steps(3, car=[0, 0, 1], step=[0, 1, 1], stay=[0, 0, 1], start_h=0.0,
                     same=[False, True, False], runs_on=[False, True, False])  # fmt: skip
    stays = one_stay(3, car=np.array([0, 1]), last=np.array([1, 2]), leaves=np.zeros(2, bool),
                     free_kwh=np.full(2, np.inf), carry_usd=np.zeros(2),
                     shortfall_usd=np.full(2, 10.0))  # fmt: skip
    case = Case(cars, stays, shop_of(np.array([0.5, 1.0])), no_limits(3), 0.0)
    plan = plan_of(case, 2, 1)
    assert plan.busy_h == pytest.approx([0.5, 0.5], abs=1e-5)
    everyone = plan_of(case, 2, 2)
    assert everyone.busy_h.sum() == pytest.approx(1.5, abs=1e-5)


def test_a_share_is_that_of_work_on_offer_while_requests_wait() -> None:
    # due two steps later: batch work of the first hour may use hours 0 to 2
    part, everyone = np.array([0.0, 1.0, 2.0, 0.0]), np.array([0.0, 4.0, 2.0, 0.0])
    shop = shop_of(np.ones(4), batch=np.ones((4, 1)), due_steps=(2,))
    cut = share_of(shop, part, everyone, 0.3)
    assert cut.chat[:, 1] == pytest.approx([0.3, 0.25, 1.0, 0.3])  # nobody there: by heads
    assert cut.batch[:, 0] == pytest.approx([0.5, 0.5, 1.0, 0.3])
    assert cut.chat_all[:, 1] == pytest.approx(cut.chat[:, 1])


def test_an_accelerator_that_a_sample_lacks_is_priced_by_what_requests_would_pay() -> None:
    # the second accelerator does half a lot an hour and has no car: its hour is worth half of the
    # first's, which with requests for two hours is worth what it serves, 2 USD
    cars, per_h = car_steps(1, start_h=0.0), np.array([[0.0, 1.0, 1.0], [0.0, 0.5, 0.5]])
    for lots in (0.5, 2.0):
        shop = shop_of(np.zeros(1), batch=np.full((1, 1), lots), per_h=per_h)
        work_usd = foresight(cars, one_stay(1), shop).prices.work_usd[0]
        assert work_usd[1] == pytest.approx(0.5 * work_usd[0], abs=1e-5)
    assert work_usd[0] == pytest.approx(2.0, abs=1e-5)


@pytest.mark.slow
def test_prices_of_a_sample_are_near_those_of_all() -> None:
    ratios = []
    for case in tapes_of(small("suburb", 120), [0, 1])[1]:
        plan = plan_of(case, 120, 120)
        ratios.append(bound_usd(case, 120, 40) / (plan.bound_usd + case.gain_usd))
    assert max(ratios) <= 1.1

"""The greedy solution of the one-step program against a solver, and the rule by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import agents
from agents.heuristics.myopic_lp import on_duty_shares

linprog = pytest.importorskip("scipy.optimize").linprog
RNG = np.random.default_rng(0)


def _solve(capacity: Any, cost: Any, big: Any, work: Any, value: Any) -> float:
    """Optimal value of one row, from the program as the module states it."""
    allowed = np.isfinite(cost)
    num = len(cost)
    objective = np.concatenate([np.where(allowed, cost, 0.0), -value])
    all_work = np.concatenate([-capacity, [1, 1, 1]])
    work_70b = np.concatenate([-capacity * big, [0, 1, 1]])
    bounds = [(0, 1 if ok else 0) for ok in allowed] + [(0, amount) for amount in work]
    found = linprog(objective, A_ub=[all_work, work_70b], b_ub=[0, 0], bounds=bounds)
    assert found.status == 0
    assert len(found.x) == num + 3
    return float(-found.fun)


def _worth(share: Any, capacity: Any, cost: Any, big: Any, work: Any, value: Any) -> float:
    """Value of a plan: its cars serve the dearest work that they can."""
    supply = share * capacity
    fixed = np.where(share > 0, np.where(np.isfinite(cost), cost, 0.0) * share, 0.0).sum()
    bounds = [(0, amount) for amount in work]
    limits = [supply.sum(), (supply * big).sum()]
    found = linprog(-value, A_ub=[[1, 1, 1], [0, 1, 1]], b_ub=limits, bounds=bounds)
    return float(-found.fun - fixed)


def _case(seed: int, num_cars: int, share_70b: float, load: float) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    cost = rng.uniform(-0.02, 0.4, num_cars)
    cost[rng.random(num_cars) < 0.2] = np.inf
    return {
        "capacity": rng.uniform(0, 1, num_cars) * (rng.random(num_cars) < 0.9),
        "cost": cost,
        "big": rng.random(num_cars) < share_70b,
        "work": rng.exponential(load * num_cars / 3, 3) * (rng.random(3) < 0.8),
        "value": rng.choice([0.0, 0.1, 0.25, 0.3, 0.31], 3),
    }


def _share(case: dict[str, Any]) -> Any:
    return on_duty_shares(
        capacity=case["capacity"][None], cost_usd_per_h=case["cost"][None],
        holds_70b=case["big"][None], work=case["work"][None], value_usd_per_h=case["value"][None],
    )[0]  # fmt: skip


@given(
    seed=st.integers(0, 100_000),
    num_cars=st.integers(1, 30),
    share_70b=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    load=st.floats(0.05, 2.0),
)
@example(seed=0, num_cars=30, share_70b=0.3, load=1.0)
@settings(max_examples=60)
def test_greedy_is_the_optimum(seed: int, num_cars: int, share_70b: float, load: float) -> None:
    case = _case(seed, num_cars, share_70b, load)
    share = _share(case)
    assert ((share >= 0) & (share <= 1)).all()
    assert (share[np.isinf(case["cost"])] == 0).all()
    # paid to run: all the step (a car without capacity adds nothing but its pay)
    assert (share[case["cost"] < 0] == 1).all()
    assert ((share > 0) & (share < 1)).sum() <= 2
    assert _worth(share, **case) == pytest.approx(_solve(**case), abs=1e-7)


def test_both_branches_are_met() -> None:
    """The random cases hold rows where the nested tier binds and rows where it does not."""
    bound = 0
    for seed in range(50):
        case = _case(seed, 20, 0.3, 1.0)
        free = case | {"big": np.ones(20, bool)}
        bound += bool((_share(case) != _share(free)).any())
    assert 5 <= bound <= 45


def test_cars_by_hand() -> None:
    # unit costs 0.1, 0.2, 0.5; work of 1.5 at 0.3 and 1 at 0.15: the second class pays on no car
    case = {
        "capacity": np.array([1.0, 1.0, 1.0]), "cost": np.array([0.2, 0.1, 0.5]),
        "big": np.array([True, True, True]),
        "work": np.array([1.5, 1.0, 0.0]), "value": np.array([0.3, 0.15, 0.9]),
    }  # fmt: skip
    assert _share(case).tolist() == pytest.approx([0.5, 1.0, 0.0])
    # 1.5 of 70B and one car that holds it: the small car gets the 8B alone
    case |= {"big": np.array([False, True, False]), "work": np.array([0.2, 1.5, 0.0])}
    case["value"] = np.array([0.3, 0.3, 0.0])
    assert _share(case).tolist() == pytest.approx([0.2, 1.0, 0.0])


def test_no_thought_of_later_and_nothing_at_a_loss(make_obs: Any) -> None:
    due = {"batch_due_12h": 0.6}
    dear = {"price": 0.35, "cheap": 0, "price_00h": 0.35}
    policy = agents.make("myopic_lp", over_provision=1.0, backlog_h=1.0)
    ready = {"ready_min": 0}
    assert policy.act(make_obs(ready, due | dear), RNG).tolist() == [[1, 1, 0]]  # 1.8 cars' worth
    assert policy.act(make_obs(ready, {"batch_due_12h": 0.45}), RNG).tolist() == [[1, 0, 0]]  # 1.35
    costly = {**ready, "busy_kw": [1.3, 0.5, 1.3]}
    assert policy.act(make_obs(costly, due), RNG).tolist() == [[0, 1, 0]]
    discount = due | {"value_batch_usd_per_h": 0.1}  # chat would pay
    assert policy.act(make_obs(ready, discount), RNG).tolist() == [[0, 0, 0]]
    chat = discount | {"chat_00h": 1 / 3, "left": 1.0}
    assert policy.act(make_obs(ready, chat), RNG).tolist() == [[1, 0, 0]]


def test_a_car_that_holds_nothing_stays_asleep(make_obs: Any) -> None:
    chat = {"chat_00h": 1.0, "left": 1.0}
    policy = agents.make("myopic_lp", over_provision=1.0)
    obs = make_obs({"fits_8b": [0, 1, 1], "fits_70b": [0, 0, 1], "ready_min": 0}, chat)
    assert policy.act(obs, RNG).tolist() == [[0, 1, 1]]

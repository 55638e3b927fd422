"""The price-directed index: prices from the plan, then each car by its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agents import registry
from agents.base import Obs
from agents.oracle.price_index import PriceIndex
from fleet_env.scenarios import scenario
from fleet_env.vector_env import FleetVectorEnv

RNG = np.random.default_rng(0)
MakeObs = Callable[..., dict[str, NDArray[Any]]]


def test_nobody_works_without_work(make_obs: MakeObs) -> None:
    assert PriceIndex().act(make_obs(shape=(2, 20)), RNG).sum() == 0


def test_the_cars_of_the_highest_index_work(make_obs: MakeObs) -> None:
    busy = np.full(10, 0.55)
    busy[3:6] = 0.40
    chat = {f"chat_{h:02d}h": 0.29 for h in range(24)}
    obs = make_obs({"busy_kw": busy}, chat, shape=(1, 10))
    assert np.flatnonzero(PriceIndex().act(obs, RNG)[0]).tolist() == [3, 4, 5]


def test_cars_that_cost_more_than_work_pays_stay_off(make_obs: MakeObs) -> None:
    # 0.378 kW at 0.60 USD/kWh and pay: 0.284 USD/h, work pays 0.28 (70B)
    dear = {"price": 0.60, "cheap": 0, "refill_price": 0.60}
    dear |= {f"price_{h:02d}h": 0.60 for h in range(24)} | {"value_8b_usd_per_h": 0.28}
    chat = {f"chat_{h:02d}h": 0.4 for h in range(24)}
    assert PriceIndex().act(make_obs({}, {**dear, **chat}, shape=(1, 30)), RNG).sum() == 0
    fair = dear | {"price": 0.30, "refill_price": 0.30}
    assert PriceIndex().act(make_obs({}, {**fair, **chat}, shape=(1, 30)), RNG).sum() > 0


def test_a_cheaper_hour_later_is_waited_for(make_obs: MakeObs) -> None:
    dear_now = {"price": 0.50, "cheap": 0, "refill_price": 0.30}
    dear_now |= {f"price_{h:02d}h": 0.50 if h < 3 else 0.30 for h in range(24)}
    stuck = {"cheap_h": 0.0, "stay_h": 20.0}  # cars that may not put their refill off
    waits = make_obs(stuck, {**dear_now, "batch_due_12h": 0.3}, shape=(1, 50))
    assert PriceIndex().act(waits, RNG).sum() == 0


def test_a_plan_holds_for_its_time(make_obs: MakeObs) -> None:
    policy = PriceIndex(replan_h=1.0)
    obs = make_obs({}, {f"chat_{h:02d}h": 0.1 for h in range(24)}, shape=(1, 30))
    plans = []
    for _ in range(5):
        policy.act(obs, RNG)
        plans.append(policy._memory.plans[0][1])
    assert all(plan is plans[0] for plan in plans[:4])
    assert plans[4] is not plans[0]


@given(st.integers(0, 10_000))
@settings(max_examples=6, derandomize=True, deadline=None)
def test_never_outside_the_mask(random_obs: MakeObs, seed: int) -> None:
    policy, again = PriceIndex(), PriceIndex()
    for step in range(5):
        obs = random_obs(seed + step, 2, 30)
        action = policy.act(obs, RNG)
        assert (action <= obs["mask"]).all()
        assert (action == again.act(obs, RNG)).all()


def test_a_row_is_played_alone_as_in_a_batch() -> None:
    env = FleetVectorEnv("suburb", num_envs=3, num_cars=40, split="train")
    together, alone = PriceIndex(), [PriceIndex() for _ in range(3)]
    obs, _ = env.reset(options={"scenario_seeds": [0, 1, 2]})
    for _ in range(12):
        seen = cast("Obs", obs)
        action = together.act(seen, RNG)
        for row, policy in enumerate(alone):
            single = {name: values[row : row + 1] for name, values in seen.items()}
            assert (policy.act(single, RNG)[0] == action[row]).all()
        obs, _, _, _, _ = env.step(action)


@pytest.mark.slow
@pytest.mark.parametrize("card", ["world", "gauntlet", "peak", "tiny", "mixed", "suburb"])
def test_it_plays_every_kind_of_card(card: str) -> None:
    config = scenario(card, num_cars=3 if card == "tiny" else 60)
    env = FleetVectorEnv(num_envs=2, split="train", config=config)
    policy, total = PriceIndex(), np.zeros(2)
    obs, _ = env.reset(options={"scenario_seeds": [0, 1]})
    for _ in range(config.num_steps):
        action = policy.act(cast("Obs", obs), RNG)
        obs, reward, _, _ = env.play(action)
        total += reward
    assert np.isfinite(total).all()


@pytest.mark.slow
def test_it_earns_more_than_the_ranking_rules_on_train_days() -> None:
    config = scenario("suburb", num_cars=150)
    means = {}
    for name in ("price_index", "cheapest_first", "consolidate"):
        policy = PriceIndex() if name == "price_index" else registry.make(name)
        env = FleetVectorEnv(num_envs=12, split="train", config=config)
        obs, _ = env.reset(options={"scenario_seeds": list(range(12))})
        total = 0.0
        for _ in range(config.num_steps):
            obs, reward, _, _ = env.play(policy.act(cast("Obs", obs), RNG))
            total += float(reward.sum())
        means[name] = total
    assert means["price_index"] > max(means["cheapest_first"], means["consolidate"])

"""Nobody beats the bound: every rule, replayed plans, and plans made to find a hole in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import agents
from agents.oracle.bound import bound_usd, plan_of
from agents.registry import policy_class
from fleet_env.config import EnvConfig
from fleet_env.scenarios import scenario
from fleet_env.types import FloatArray
from fleet_env.vector_env import FleetVectorEnv
from tests.oracle.plays import CARDS, ROUNDING, hard_plans, play, small, table_of, tapes_of

COMPETITORS = tuple(n for n in agents.names() if not getattr(policy_class(n), "privileged", False))
# the best of the families, and everybody on duty; all others in the long run
STRONG = ("full_cost_first", "mpc", "tuned_index", "cheapest_first", "peak_shaver", "always_on")
REPLAYS = (0.05, 0.5, 0.95)  # shares on duty from which a relaxed plan is played


def _returns(name: str, config: EnvConfig, seeds: list[int]) -> FloatArray:
    env = FleetVectorEnv(config=config, num_envs=len(seeds), split="test")
    policy, rng = agents.make(name), np.random.default_rng(1)
    obs, _ = env.reset(options={"scenario_seeds": seeds})
    policy.reset(np.ones(len(seeds), np.bool_))
    for _ in range(config.num_steps):
        assert isinstance(obs, dict)
        obs, _, _, info = env.play(policy.act(obs, rng))
    returns: FloatArray = info["episode_sums"]["return"]
    return returns


def _check(name: str, returns: FloatArray, bound: FloatArray) -> None:
    over = returns > bound * (1.0 + ROUNDING)
    assert not over.any(), f"{name}: {returns[over]} USD, bound {bound[over]}"


def _check_card(
    card: str, num_cars: int, seeds: list[int], names: tuple[str, ...], num_hard: int
) -> None:
    """Play rules on all seeds, and plans that were told everything on the first few."""
    config = small(card, num_cars)
    _, cases = tapes_of(config, seeds)
    plans = [plan_of(case, num_cars, num_cars) for case in cases]
    pairs = list(zip(cases, plans, strict=True))
    bound = np.array([bound_usd(case, num_cars, plan=plan) for case, plan in pairs])
    for name in names:
        _check(name, _returns(name, replace(config, observation="cars"), seeds), bound)
    seeds, pairs, bound = seeds[:num_hard], pairs[:num_hard], bound[:num_hard]
    for name, hard in hard_plans(config, num_hard, seed=7):
        _check(name, play(config, seeds, hard).returns, bound)
    for share in REPLAYS:
        bits = [table_of(case, config, plan.duty >= share) for case, plan in pairs]
        table = np.stack(bits, axis=1)
        played = play(config, seeds, lambda step, sim, table=table: table[step])
        _check(f"plan replayed from {share}", played.returns, bound)


def test_bound_is_above_every_play() -> None:
    _check_card("suburb", 10, [3], ("cheapest_first", "always_on"), num_hard=1)


@pytest.mark.slow
@pytest.mark.parametrize("card", CARDS)
def test_bound_is_above_the_best_policies(card: str) -> None:
    _check_card(card, 16, [0], STRONG, num_hard=1)


@pytest.mark.long
@pytest.mark.parametrize("card", CARDS)
def test_bound_is_above_every_policy_on_twenty_days(card: str) -> None:
    _check_card(card, 40, list(range(20)), COMPETITORS, num_hard=4)


@pytest.mark.long
@pytest.mark.parametrize("card", [c for c in CARDS if c not in ("tiny", "nation")])
def test_bound_is_above_every_policy_at_a_thousand_cars(card: str) -> None:
    config, seeds = scenario(card, num_cars=1000, observation="cars"), list(range(20))
    _, cases = tapes_of(config, seeds)
    bound = np.array([bound_usd(case, 1000, sample_cars=250) for case in cases])
    for name in COMPETITORS:
        _check(name, _returns(name, config, seeds), bound)

"""The view whose action is a tuned index: what a constant action plays, and what it may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.index.parameters import PARAMETERS, read
from agents.index.policy import TunedIndex
from agents.index.view import TunedIndexVectorEnv, to_action, to_parameters
from fleet_env import EnvConfig, FleetVectorEnv, scenario
from fleet_env.types import FloatArray

DAYS = [3, 4]
CARDS = ("suburb", "peak", "mixed")


def returns(env: FleetVectorEnv | TunedIndexVectorEnv, act: object) -> FloatArray:
    obs, _ = env.reset(options={"scenario_seeds": DAYS})
    info = {}
    for _ in range(env.config.num_steps):
        obs, _, _, info = env.play(act(obs))  # type: ignore[operator]
    return np.asarray(info["episode_sums"]["return"])


@pytest.mark.parametrize("card", CARDS)
def test_a_constant_action_is_a_tuned_index(card: str) -> None:
    config: EnvConfig = scenario(card, num_cars=60)
    index = "peak" if card == "peak" else "suburb"
    action = np.tile(to_action(read(index).vector()), (2, 1)).astype(np.float32)
    view = TunedIndexVectorEnv(num_envs=2, config=config)
    rule, rng = TunedIndex(file=index), np.random.default_rng(0)
    plain = FleetVectorEnv(num_envs=2, config=config)
    ours = returns(view, lambda _: action)
    assert (ours != 0).any()
    np.testing.assert_allclose(ours, returns(plain, lambda obs: rule.act(obs, rng)), rtol=1e-5)


def test_each_row_has_its_own_index() -> None:
    config = scenario("suburb", num_cars=60)
    good = to_action(read("suburb").vector()).astype(np.float32)
    idle = good.copy()
    idle[[p.name for p in PARAMETERS].index("min_score")] = 1.0  # no car scores so high
    view = TunedIndexVectorEnv(num_envs=2, config=config)
    alone = returns(view, lambda _: np.stack([good, good]))
    mixed = returns(view, lambda _: np.stack([good, idle]))
    assert mixed[0] == alone[0]
    assert mixed[1] == 0.0


def test_ends_of_the_action_are_the_limits_of_the_parameters() -> None:
    low, high = to_parameters(np.array([-np.ones(len(PARAMETERS)), np.ones(len(PARAMETERS))]))
    np.testing.assert_allclose(low, [p.low for p in PARAMETERS])
    np.testing.assert_allclose(high, [p.high for p in PARAMETERS])


@given(st.lists(st.floats(-1, 1), min_size=len(PARAMETERS), max_size=len(PARAMETERS)))
def test_actions_and_parameters_are_inverse(numbers: list[float]) -> None:
    action = np.array(numbers)
    np.testing.assert_allclose(to_action(to_parameters(action)), action, atol=1e-12)


def test_actions_beyond_the_limits_are_refused() -> None:
    view = TunedIndexVectorEnv(num_envs=2, config=scenario("suburb", num_cars=10))
    view.reset()
    with pytest.raises(ValueError, match=r"actions\[0, 0\] = 2.0: expected -1 to 1"):
        view.play(np.full((2, len(PARAMETERS)), 2.0))

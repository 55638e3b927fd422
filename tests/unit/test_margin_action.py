"""The margin of the energy managers as a number of the action: by row, by step, else the card's."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from fleet_env import FleetCohortVectorEnv, FleetIndexVectorEnv
from fleet_env.registration import INDEX_ID
from fleet_env.views import INDEX_FEATURES
from tests.contract.plays import assert_same

NUM, STEPS = len(INDEX_FEATURES), 24
SMALL = {"num_cars": 60, "step_min": 60}
CARDS = ("suburb", "gauntlet")  # of one region and of two


def _env(num_envs: int, card: str = "suburb", **settings: Any) -> FleetIndexVectorEnv:
    return FleetIndexVectorEnv(card, num_envs, **{**SMALL, **settings})


def _actions(num_envs: int, seed: int = 0) -> Any:
    """Weights and shares of a day: most feasible cars work, at all hours."""
    action = np.random.default_rng(seed).uniform(-1, 1, (STEPS, num_envs, NUM + 1))
    action[..., NUM] = 0.6
    return action.astype(np.float32)


def _with_margin(action: Any, margin: Any) -> Any:
    """Append a number to each row of an action."""
    column = np.broadcast_to(np.asarray(margin, np.float32), action.shape[:-1])
    return np.concatenate([action, column[..., None]], axis=-1)


def _day(env: FleetIndexVectorEnv, actions: Any, seed: int = 3) -> list[Any]:
    obs, info = env.reset(seed=seed)
    return [(obs, info), *(env.play(action) for action in actions)]


@pytest.mark.parametrize("card", CARDS)
def test_at_zero_it_is_the_index_bit_for_bit(card: str) -> None:
    plain, managed = _env(2, card), _env(2, card, margin_action=True)
    actions = _actions(2)
    expected, got = _day(plain, actions), _day(managed, _with_margin(actions, 0.0))
    for mine, theirs in zip(got, expected, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert_same(a, b)


@pytest.mark.parametrize("card", CARDS)
def test_every_row_is_run_as_a_card_with_its_margin_would(card: str) -> None:
    margins_h = {-1.0: 0.0, 0.5: 4.5, 1.0: 6.0}
    actions = _actions(3)
    managed = _day(
        _env(3, card, margin_action=True), _with_margin(actions, list(margins_h))
    )  # rows 0 to 2 play scenarios 3 to 5
    metered_kwh = []
    for row, margin_h in enumerate(margins_h.values()):
        alone = _env(1, card, energy={"margin_h": margin_h})
        own = _day(alone, actions[:, row : row + 1], seed=3 + row)
        for mine, theirs in zip(managed, own, strict=True):
            np.testing.assert_array_equal(mine[0][row], theirs[0][0])
        for (_, reward, _, info), (_, expected, _, told) in zip(managed[1:], own[1:], strict=True):
            assert reward[row] == expected[0]
            for name in ("reward/energy", "reward/wear", "metric/metered_kwh"):
                assert info[name][row] == told[name][0]
        metered_kwh.append(sum(info["metric/metered_kwh"][0] for *_, info in own[1:]))
    assert all(metered_kwh)


def test_another_margin_costs_other_money_in_its_row_alone() -> None:
    actions = _actions(2)
    usual = _day(_env(2, margin_action=True), _with_margin(actions, 0.0))
    bold = _day(_env(2, margin_action=True), _with_margin(actions, [0.0, -1.0]))
    usd = np.array([reward for _, reward, _, _ in usual[1:]])
    bold_usd = np.array([reward for _, reward, _, _ in bold[1:]])
    np.testing.assert_array_equal(bold_usd[:, 0], usd[:, 0])
    assert (bold_usd[:, 1] != usd[:, 1]).any()


def test_it_holds_for_the_coming_step_alone() -> None:
    env, actions = _env(1, margin_action=True), _actions(1)
    env.reset(seed=3)
    for step, margin in enumerate((1.0, 0.0, -1.0, 0.25)):
        env.play(_with_margin(actions[step], margin))
        assert env.fleet.sim.margin_h == pytest.approx([3.0 * (margin + 1.0)])
    env.reset(seed=3)
    assert env.fleet.sim.margin_h.tolist() == [3.0]
    other = _env(2, energy={"margin_h": 5.0})
    other.reset(seed=0)
    other.step(_actions(2)[0])
    assert other.fleet.sim.margin_h.tolist() == [5.0, 5.0]  # the plain index leaves the card's


def test_the_action_has_one_number_more_and_the_observation_none() -> None:
    plain, managed = _env(2), _env(2, margin_action=True)
    assert plain.single_action_space.shape == (NUM + 1,)
    assert managed.single_action_space.shape == (NUM + 2,)
    assert managed.action_space.shape == (2, NUM + 2)
    assert managed.single_observation_space == plain.single_observation_space
    managed.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected shape \(2, 18\), got \(2, 17\)"):
        managed.step(np.zeros((2, NUM + 1)))
    with pytest.raises(ValueError, match=r"actions\[1, 17\] = 1.5: expected -1 to 1"):
        managed.step(_with_margin(np.zeros((2, NUM + 1)), [0.0, 1.5]))
    assert managed.fleet.sim.margin_h.tolist() == [3.0, 3.0]


def test_it_is_an_argument_of_the_index_alone() -> None:
    env = gym.make(INDEX_ID, num_cars=5, margin_action=True)
    assert env.action_space.shape == (NUM + 2,)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    with pytest.raises(ValueError, match="unknown setting 'margin_action'"):
        FleetCohortVectorEnv(margin_action=True)


def test_no_share_is_no_money_at_any_margin() -> None:
    env = _env(1, margin_action=True)
    env.reset(seed=1)
    for margin in np.linspace(-1, 1, STEPS):
        nobody = np.full((1, NUM + 1), -1, np.float32)
        _, reward, *_ = env.play(_with_margin(nobody, margin))
        assert reward[0] == 0.0

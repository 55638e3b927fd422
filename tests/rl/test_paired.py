"""Copies of a day: they meet the same luck, and are paid what they earn more than each other."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from stable_baselines3.common.vec_env import unwrap_vec_wrapper

from agents.rl.models import make_env, make_model
from agents.rl.paired import PairedVecEnv
from agents.rl.vec_env import FleetVecEnv
from fleet_env import CarsAsRows, FleetIndexVectorEnv
from tests.rl.small import MakeAgent, MakeCard
from tests.rl.toys import ToyVecEnv


class Payroll(ToyVecEnv):
    """Pays every row a number of its own."""

    def __init__(self, pay: list[float]) -> None:
        from gymnasium.spaces import Box

        box = Box(-1, 1, (1,), np.float32)
        super().__init__(len(pay), box, box)
        self.pay = np.array(pay, np.float32)

    def reset(self):  # type: ignore[no-untyped-def]
        return np.zeros((self.num_envs, 1), np.float32)

    def step_wait(self):  # type: ignore[no-untyped-def]
        return self.reset(), self.pay, np.zeros(self.num_envs, np.bool_), [{}] * self.num_envs


def test_pay_is_what_a_copy_earns_above_the_mean_of_the_others() -> None:
    env = PairedVecEnv(Payroll([1, 2, 6, 10, 10, 10]), copies=3)
    pay = env.step(np.zeros((6, 1)))[1]
    np.testing.assert_allclose(pay, [1 - 4, 2 - 3.5, 6 - 1.5, 0, 0, 0])
    assert pay.dtype == np.float32


def test_a_car_is_held_against_itself_in_the_other_copies() -> None:
    env = PairedVecEnv(Payroll([1, 20, 3, 50]), copies=2, rows_per_fleet=2)
    np.testing.assert_allclose(env.step(np.zeros((4, 1)))[1], [-2, -30, 2, 30])


@pytest.mark.parametrize("copies", [1, 4])
def test_rows_are_whole_groups(copies: int) -> None:
    with pytest.raises(ValueError, match=f"copies={copies}: expected 2 or more, and whole groups"):
        PairedVecEnv(Payroll([1.0] * 6), copies)


@pytest.mark.parametrize("rows", [False, True])
def test_copies_of_a_day_who_do_the_same_earn_the_same(rows: bool, make_card: MakeCard) -> None:
    """Over the end of an episode too; with other actions, and on other days, they do not."""
    card = make_card(num_cars=8)
    view = (
        CarsAsRows(num_fleets=4, config=card)
        if rows
        else FleetIndexVectorEnv(num_envs=4, config=card)
    )
    env = FleetVecEnv([view], first_scenario=5, copies=2)
    rng, shape = np.random.default_rng(0), (2, 2, env.num_envs // 4)
    differ = np.zeros(2, np.bool_)  # between copies, between days
    env.reset()
    for step in range(card.num_steps + 5):
        space = env.action_space
        one = rng.uniform(-1, 1, (1, *space.shape)) if not rows else rng.integers(0, 2, shape[2])
        actions = np.tile(one, 4) if rows else np.repeat(one, 4, axis=0).astype(np.float32)
        if step == card.num_steps:  # the new day; one copy goes its own way from here
            assert not differ[0]
            actions[: shape[2]] = 1 - actions[: shape[2]] if rows else -actions[: shape[2]]
        pay = env.step(actions)[1].reshape(shape)
        differ |= [(pay[:, 0] != pay[:, 1]).any(), (pay[0] != pay[1]).any()]
    assert differ.tolist() == [True, True]


def test_an_agent_learns_from_copies(make_agent: MakeAgent, make_card: MakeCard) -> None:
    agent = make_agent(num_fleets=4, copies=2)
    env = make_env(agent, [make_card()], 0)
    assert unwrap_vec_wrapper(env, PairedVecEnv) is not None
    make_model(agent, env, 0).learn(2 * 4 * 24)
    scenarios = [episode["scenario"] for episode in env.unwrapped.finished]
    assert scenarios == [0, 0, 1, 1, 4, 4, 5, 5]


def test_copies_are_checked(make_agent: MakeAgent, make_card: MakeCard) -> None:
    with pytest.raises(ValueError, match=r"agent.copies=3: expected a divisor of agent.num_fleets"):
        make_agent(num_fleets=4, copies=3)
    agent = make_agent(num_fleets=4, copies=4)
    with pytest.raises(ValueError, match=r"agent.copies=4: expected one day or more for each"):
        make_env(agent, [make_card(), make_card("storm")], 0)

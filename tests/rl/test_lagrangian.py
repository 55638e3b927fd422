"""Multipliers: the controller by hand, what rewards become, a known answer, and state."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize, unwrap_vec_wrapper

from agents.rl.extras import ConstraintSettings
from agents.rl.lagrangian import ConstraintReport, LagrangianVecEnv, MultiplierCallback
from agents.rl.models import make_env
from agents.rl.settings import AgentSettings
from fleet_env import FleetIndexVectorEnv, scenario
from tests.rl.toys import ToyVecEnv

NUM_STEPS = 4  # of an episode


class Mill(ToyVecEnv):
    """Earns the mean of what it is told to run at, 0 to 1 a step; costs are its square.

    A day at level x earns 4 x and costs ``slo`` 4 x^2 and ``shortfall`` 0.4 x. Under a limit d on
    ``slo`` the best is x = sqrt(d / 4), where the multiplier is 4 / (8 x).
    """

    def __init__(self, num_envs: int = 2) -> None:
        super().__init__(num_envs, spaces.Box(0, 1, (1,)), spaces.Box(-1, 1, (1,)))
        self.costs: dict[str, NDArray[np.float64]] = {}
        self.step = 0

    def reset(self) -> NDArray[np.float32]:
        self.step = 0
        return np.zeros((self.num_envs, 1), np.float32)

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        level = (np.asarray(self.actions)[:, 0].astype(np.float64) + 1) / 2
        self.costs = {"slo": level**2, "shortfall": level / 10, "feeder": np.zeros_like(level)}
        self.step = (self.step + 1) % NUM_STEPS
        dones = np.full(self.num_envs, self.step == 0)
        infos: list[dict[str, Any]] = [{} for _ in dones]
        if dones.any():
            infos = [{"terminal_observation": np.zeros(1, np.float32)} for _ in dones]
        return np.zeros((self.num_envs, 1), np.float32), level.astype(np.float32), dones, infos


def wrap(limits: dict[str, float], **gains: float) -> LagrangianVecEnv:
    return LagrangianVecEnv(Mill(), ConstraintSettings(limits=limits, **gains))


def play_episode(env: LagrangianVecEnv, level: float) -> NDArray[Any]:
    """Play a day at one level; return the rewards of its last step."""
    for _ in range(NUM_STEPS):
        _, rewards, _, _ = env.step(np.full((env.num_envs, 1), 2 * level - 1, np.float32))
    return rewards


def test_multipliers_follow_the_controller_by_hand() -> None:
    env = wrap({"slo": 2.0, "shortfall": 0.1}, kp=0.3, ki=0.2, kd=0.5)
    env.reset()
    play_episode(env, 1.0)  # slo 4, shortfall 0.4
    report = env.update()
    # errors 1 and 3; integrals 0.2 and 0.6; no rise yet
    assert report["slo"] == ConstraintReport(4.0, 2.0, pytest.approx((0.3 + 0.2) / 2.0))
    assert report["shortfall"].multiplier == pytest.approx((0.3 * 3 + 0.6) / 0.1)
    assert report["slo"].violation == 2.0
    play_episode(env, 0.5)  # slo 1, shortfall 0.2: both fell
    report = env.update()
    # errors -0.5 and 1; integrals 0.1 and 0.8
    assert report["slo"].multiplier == 0.0  # -0.15 + 0.1 < 0
    assert report["shortfall"].multiplier == pytest.approx((0.3 + 0.8) / 0.1)
    assert report["slo"].violation == 0.0
    play_episode(env, 1.0)  # slo rises by 3, shortfall by 0.2
    report = env.update()
    # errors 1 and 3; integrals 0.3 and 1.4; rises in parts of the limit 1.5 and 2
    assert report["slo"].multiplier == pytest.approx((0.3 + 0.3 + 0.75) / 2.0)
    assert report["shortfall"].multiplier == pytest.approx((0.9 + 1.4 + 1.0) / 0.1)


def test_rewards_are_charged_at_the_multipliers() -> None:
    env = wrap({"slo": 2.0, "shortfall": 0.1})
    env.reset()
    np.testing.assert_allclose(play_episode(env, 0.5), 0.5)  # nothing yet
    env.multipliers = np.array([0.4, 3.0])
    rewards = play_episode(env, 0.5)
    np.testing.assert_allclose(rewards, 0.5 - 0.4 * 0.25 - 3.0 * 0.05, rtol=1e-6)
    assert rewards.dtype == np.float32


def test_mean_cost_is_of_the_episodes_that_ended() -> None:
    env = wrap({"slo": 1.0})
    env.reset()
    assert env.update() == {}
    env.step(np.ones((2, 1), np.float32))
    assert env.update() == {}  # none has ended
    assert env.multipliers.tolist() == [0.0]
    env.reset()  # the broken one does not count
    play_episode(env, 0.5)
    play_episode(env, 1.0)
    assert env.update()["slo"].cost == pytest.approx((1.0 + 4.0) / 2)
    assert env.update() == {}  # each counts once


def learn(env: LagrangianVecEnv, rounds: int) -> NDArray[np.float64]:
    """Let a learner with inertia climb the charged reward; return cost and multiplier by round."""
    level, speed, seen = 1.0, 0.0, []
    env.reset()
    for _ in range(rounds):
        play_episode(env, level)
        env.update()
        slope = 4 - env.multipliers[0] * 8 * level
        speed = 0.8 * speed + 0.01 * slope  # answers late, as learners do
        level = float(np.clip(level + speed, 0.0, 1.0))
        seen.append((4 * level**2, env.multipliers[0]))
    return np.array(seen)


def test_controller_reaches_the_limit_and_the_known_multiplier() -> None:
    seen = learn(wrap({"slo": 1.0}, kp=0.5, ki=0.1, kd=1.0), 300)
    cost, multiplier = seen[-1]
    assert cost == pytest.approx(1.0, abs=0.01)
    assert multiplier == pytest.approx(1.0, abs=0.02)  # 4 / (8 x) at x = 0.5


def test_proportional_and_derivative_parts_damp_what_the_integral_alone_overshoots() -> None:
    damped = learn(wrap({"slo": 1.0}, kp=0.5, ki=0.1, kd=1.0), 300)
    bare = learn(wrap({"slo": 1.0}, kp=0.0, ki=0.1, kd=0.0), 300)
    excess = [np.abs(seen[:, 0] - 1.0).mean() for seen in (damped, bare)]
    assert excess[0] < 0.5 * excess[1]
    late = [np.ptp(seen[50:, 0]) for seen in (damped, bare)]
    assert late[0] < 0.1 * late[1]


def test_kept_limit_costs_nothing_in_the_end() -> None:
    seen = learn(wrap({"slo": 8.0}), 50)  # more than anything costs
    assert seen[-1, 1] == 0.0
    assert seen[-1, 0] == pytest.approx(4.0)  # the free optimum


def test_state_goes_round_through_json() -> None:
    one, other = (wrap({"slo": 2.0, "shortfall": 0.1}) for _ in range(2))
    other.set_multiplier_state(json.loads(json.dumps(one.multiplier_state())))  # none yet
    one.reset(), other.reset()
    play_episode(one, 1.0), one.update()
    play_episode(one, 0.9), one.update()
    other.set_multiplier_state(json.loads(json.dumps(one.multiplier_state())))
    np.testing.assert_array_equal(play_episode(one, 0.95), play_episode(other, 0.95))
    assert one.update() == other.update()
    assert one.multiplier_state() == other.multiplier_state()


def test_state_of_other_limits_is_refused() -> None:
    state = wrap({"slo": 2.0}).multiplier_state()
    with pytest.raises(ValueError, match=r"\['slo'\].*expected those of .*\['feeder'\]"):
        wrap({"feeder": 1.0}).set_multiplier_state(state)


def test_no_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one cost"):
        LagrangianVecEnv(Mill(), ConstraintSettings())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limits": {"late": 1.0}}, r"constraint.limits='late': expected costs of shortfall"),
        ({"limits": {"slo": 0.0}}, r"constraint.limits.slo=0.0: expected a number above 0"),
        ({"limits": {"slo": float("nan")}}, r"constraint.limits.slo=nan"),
        ({"limits": {"slo": True}}, r"constraint.limits.slo=True"),
        ({"kp": -1.0}, r"constraint.kp=-1.0: expected a number in \[0, "),
        ({"limits": {"slo": 1.0}, "ki": 0.0}, r"constraint.ki=0.0: expected above 0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConstraintSettings(**settings)


class Costs(MultiplierCallback):
    def __init__(self, env: LagrangianVecEnv) -> None:
        super().__init__(env)
        self.costs: list[float] = []

    def _on_rollout_end(self) -> None:
        super()._on_rollout_end()
        self.costs.append(self.reports["slo"].cost)


@pytest.mark.slow
def test_ppo_under_a_limit_stays_near_it() -> None:
    """Stock PPO below stock normalisation finds the level that costs its limit."""
    settings = ConstraintSettings(limits={"slo": 0.5}, kp=0.5, ki=0.1, kd=0.5)
    env = VecNormalize(LagrangianVecEnv(Mill(16), settings), gamma=0.9)
    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy", env, n_steps=16, batch_size=256, n_epochs=4, learning_rate=0.02, gamma=0.9,
        seed=0, device="cpu", policy_kwargs={"net_arch": [4], "log_std_init": -1.0},
    )  # fmt: skip
    inside = unwrap_vec_wrapper(env, LagrangianVecEnv)
    assert inside is not None
    callback = Costs(inside)
    model.learn(60 * 256, callback=callback)
    assert len(callback.costs) == 60
    assert np.mean(callback.costs[:4]) > 1.0  # it begins beyond the limit
    assert np.mean(callback.costs[20:]) == pytest.approx(0.5, abs=0.05)
    assert callback.reports["slo"].multiplier > 0.5  # free, it would go to a cost of 4


def test_it_charges_the_fleets() -> None:
    """The costs of `FleetVecEnv` are what its infos say, and so are the charges."""
    agent = AgentSettings(
        num_fleets=3,
        num_cars=30,
        constraint=ConstraintSettings(limits={"slo": 0.1, "shortfall": 0.01}),
        normalize_obs=False,
        normalize_reward=False,
    )
    card = scenario("suburb", step_min=60)
    charged = make_env(agent, [card], 0)
    assert isinstance(charged, LagrangianVecEnv)
    free = FleetIndexVectorEnv(num_envs=3, config=replace(card, num_cars=30))
    charged.multipliers = np.array([0.5, 2.0])
    charged.reset(), free.reset(seed=0)
    action = np.zeros((3, free.num_actions), np.float32)
    action[:, -1] = 1.0  # every car
    costs = np.zeros((2, 3))
    for _ in range(card.num_steps):
        _, rewards, dones, _ = charged.step(action)
        _, reward, _, _, info = free.step(action)
        cost = np.stack([info[f"cost/{name}"] for name in ("slo", "shortfall")]) / 30
        costs += cost
        np.testing.assert_allclose(rewards, reward - [0.5, 2.0] @ cost, rtol=1e-4, atol=1e-7)
    assert dones.all()
    assert costs.any(axis=1).all()  # both were paid
    report = charged.update()
    np.testing.assert_allclose(
        [report["slo"].cost, report["shortfall"].cost], costs.mean(axis=1), rtol=1e-5
    )

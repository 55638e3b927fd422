"""The set policy: order of the cars, mask, numpy against torch, and that it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO

from agents.learned.set_net import CAR_SCALE, FLEET_SCALE, set_duty, set_logits
from agents.rl.export import set_weights
from agents.rl.set_policy import MaskedBernoulli, SetPolicy
from fleet_env import FleetVectorEnv
from fleet_env.observations import CAR, observation_space
from tests.rl.toys import ToyVecEnv

Obs = dict[str, NDArray[Any]]
NUM_CARS = 20


def build(num_cars: int = NUM_CARS, **settings: Any) -> SetPolicy:
    torch.manual_seed(0)
    space = observation_space("cars", num_cars)
    policy = SetPolicy(space, spaces.MultiBinary(num_cars), lambda _: 3e-3, **settings)
    # far from its start, where all logits are nearly 0
    torch.nn.init.normal_(policy.mlp_extractor.head.weight)
    torch.nn.init.normal_(policy.mlp_extractor.head.bias)
    return policy


def draw_obs(rng: np.random.Generator, num_envs: int = 6, num_cars: int = NUM_CARS) -> Obs:
    """Cars and fleets with any numbers, a third of them feasible; none in the first fleet."""
    mask = rng.random((num_envs, num_cars)) < 1 / 3
    mask[0] = False
    cars = rng.normal(size=(num_envs, num_cars, len(CAR_SCALE))).astype(np.float32) * CAR_SCALE
    cars[..., CAR["plugged"]] = rng.random(mask.shape) < 0.5
    fleet = rng.normal(size=(num_envs, len(FLEET_SCALE))).astype(np.float32) * FLEET_SCALE
    return {"cars": cars, "fleet": fleet, "mask": mask.astype(np.int8)}


def tensors(obs: Obs) -> dict[str, torch.Tensor]:
    return {key: torch.as_tensor(value) for key, value in obs.items()}


def torch_logits(policy: SetPolicy, obs: Obs) -> NDArray[np.float32]:
    with torch.no_grad():
        return policy.mlp_extractor.forward_actor(tensors(obs)).numpy()


def permuted(obs: Obs, order: NDArray[np.int64]) -> Obs:
    return {"cars": obs["cars"][:, order], "fleet": obs["fleet"], "mask": obs["mask"][:, order]}


@pytest.fixture
def obs(rng: np.random.Generator) -> Obs:
    return draw_obs(rng)


def test_permuting_cars_permutes_actions_and_leaves_the_value(
    obs: Obs, rng: np.random.Generator
) -> None:
    policy, order = build(), rng.permutation(NUM_CARS)
    assert not np.array_equal(order, np.arange(NUM_CARS))
    with torch.no_grad():
        action, value, log_prob = policy(tensors(obs), deterministic=True)
        moved = policy(tensors(permuted(obs, order)), deterministic=True)
    assert 0 < action.sum() < obs["mask"].sum()  # a choice, so that the order can show
    torch.testing.assert_close(moved[0], action[:, order], rtol=0, atol=0)
    torch.testing.assert_close(moved[1], value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(moved[2], log_prob, rtol=1e-5, atol=1e-5)
    logits, of_moved = torch_logits(policy, obs), torch_logits(policy, permuted(obs, order))
    np.testing.assert_allclose(of_moved, logits[:, order], rtol=1e-5, atol=1e-5)


def test_numpy_logits_permute_with_the_cars(obs: Obs, rng: np.random.Generator) -> None:
    weights, order = set_weights(build()), rng.permutation(NUM_CARS)
    logits, moved = set_logits(weights, obs), set_logits(weights, permuted(obs, order))
    np.testing.assert_allclose(moved, logits[:, order], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(set_duty(moved), set_duty(logits)[:, order])


def test_other_cars_and_the_fleet_matter(obs: Obs) -> None:
    policy = build()
    before = torch_logits(policy, obs)
    row, car = np.argwhere(obs["mask"])[0]
    others = [i for i in np.flatnonzero(obs["mask"][row]) if i != car]
    for key, place in (("cars", (row, others)), ("fleet", (row, 0))):
        changed = {k: v.copy() for k, v in obs.items()}
        changed[key][place] += 100.0
        assert abs(torch_logits(policy, changed)[row, car] - before[row, car]) > 1e-4


def test_infeasible_cars_do_not_matter(obs: Obs) -> None:
    policy, changed = build(), {k: v.copy() for k, v in obs.items()}
    changed["cars"][obs["mask"] == 0] = 1e6
    np.testing.assert_array_equal(torch_logits(policy, changed), torch_logits(policy, obs))
    weights = set_weights(policy)
    np.testing.assert_array_equal(set_logits(weights, changed), set_logits(weights, obs))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("net_arch", [[8], [32, 16], [16, 16, 16]])
def test_numpy_equals_torch(obs: Obs, activation: str, net_arch: list[int]) -> None:
    kind = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[activation]
    policy = build(net_arch=net_arch, activation_fn=kind)
    ours, theirs = set_logits(set_weights(policy), obs, activation), torch_logits(policy, obs)
    allowed = obs["mask"] != 0
    np.testing.assert_array_equal(ours[~allowed], -np.inf)
    np.testing.assert_allclose(ours[allowed], theirs[allowed], rtol=1e-5, atol=1e-5)
    action, _ = policy.predict(obs, deterministic=True)
    np.testing.assert_array_equal(set_duty(ours), action)


def test_numpy_chunks_change_nothing(
    obs: Obs, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = set_weights(build())
    whole = set_logits(weights, obs)
    monkeypatch.setattr("agents.learned.nets.CHUNK_CARS", 3)
    np.testing.assert_allclose(set_logits(weights, obs), whole, rtol=1e-5, atol=1e-5)


def test_exported_weights_are_copies() -> None:
    policy = build()
    weights = set_weights(policy)
    kept = weights["car.weight"].copy()
    with torch.no_grad():
        policy.mlp_extractor.car.weight += 1.0  # training goes on
    np.testing.assert_array_equal(weights["car.weight"], kept)


def test_infeasible_cars_are_never_chosen(obs: Obs, rng: np.random.Generator) -> None:
    policy, forbidden = build(), obs["mask"] == 0
    torch.nn.init.constant_(policy.mlp_extractor.head.bias, 50.0)  # wants every car
    logits = set_logits(set_weights(policy), obs)
    for _ in range(20):
        drawn, _ = policy.predict(obs, deterministic=False)
        assert not drawn[forbidden].any()
        assert drawn[~forbidden].all()
        assert not set_duty(logits, rng)[forbidden].any()
    assert not policy.predict(obs, deterministic=True)[0][forbidden].any()
    assert not set_duty(logits)[forbidden].any()


def test_infeasible_cars_have_no_part_in_log_prob_entropy_or_gradient() -> None:
    logits = torch.tensor([[0.3, -torch.inf, -1.2], [-torch.inf] * 3], requires_grad=True)
    bits = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    dist = MaskedBernoulli(3).proba_distribution(logits)
    p = 1 / (1 + np.exp([-0.3, 1.2]))
    log_prob = np.log(p[0]) + np.log(1 - p[1])
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
    np.testing.assert_allclose(dist.log_prob(bits).detach(), [log_prob, 0.0], rtol=1e-6)
    np.testing.assert_allclose(dist.entropy().detach(), [entropy, 0.0], rtol=1e-6)
    (dist.log_prob(bits).sum() + dist.entropy().sum()).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[torch.isinf(logits)] == 0).all()
    assert (logits.grad[0, [0, 2]] != 0).all()


def test_evaluating_a_drawn_action_gives_its_log_prob(obs: Obs) -> None:
    policy = build()
    with torch.no_grad():
        action, value, log_prob = policy(tensors(obs))
        again = policy.evaluate_actions(tensors(obs), action)
    torch.testing.assert_close(again[0], value)
    torch.testing.assert_close(again[1], log_prob)
    assert log_prob[0] == 0.0  # no feasible car, nothing to choose
    assert (log_prob[1:] < 0).all()


def test_drawn_bits_follow_the_logits(rng: np.random.Generator) -> None:
    logits = np.repeat(np.array([[-np.inf, -2.0, 0.0, 2.0]], np.float32), 20_000, axis=0)
    wanted = 1 / (1 + np.exp(-logits[0].astype(np.float64)))
    dist = MaskedBernoulli(4).proba_distribution(torch.as_tensor(logits))
    torch.manual_seed(0)
    for share in (set_duty(logits, rng).mean(axis=0), dist.sample().numpy().mean(axis=0)):
        np.testing.assert_allclose(share, wanted, atol=0.012)  # 3.4 standard deviations
        assert share[0] == 0.0


@pytest.mark.parametrize("net_arch", [[], {"pi": [64], "vf": [64]}])
def test_other_widths_are_refused(net_arch: Any) -> None:
    with pytest.raises(ValueError, match=r"net_arch=.*expected a list of one or more widths"):
        build(net_arch=net_arch)


def test_other_actions_are_refused() -> None:
    space = observation_space("cars", 3)
    with pytest.raises(ValueError, match=r"expected one bit a car"):
        SetPolicy(space, spaces.Box(-1, 1, (3,)), lambda _: 1e-3)


def test_supervised_learning_finds_the_plugged_cars(rng: np.random.Generator) -> None:
    policy = build(net_arch=[16, 16])
    for _ in range(100):
        obs = draw_obs(rng, num_envs=64)
        wanted = (obs["cars"][..., CAR["plugged"]] > 0) & (obs["mask"] != 0)
        _, log_prob, _ = policy.evaluate_actions(
            tensors(obs), torch.as_tensor(wanted, dtype=torch.float32)
        )
        policy.optimizer.zero_grad()
        (-log_prob.mean()).backward()
        policy.optimizer.step()
    new = draw_obs(np.random.default_rng(1), num_envs=64, num_cars=50)  # of another size
    chosen = set_duty(set_logits(set_weights(policy), new))
    right = (chosen != 0) == (new["cars"][..., CAR["plugged"]] > 0)
    assert right[new["mask"] != 0].mean() > 0.97


class PlugTask(ToyVecEnv):
    """Every step a new fleet; a plugged car on duty earns 1, another one costs 1, per car."""

    def __init__(self, num_envs: int, num_cars: int) -> None:
        space = observation_space("cars", num_cars)
        super().__init__(num_envs, space, spaces.MultiBinary(num_cars))
        self.rng, self.seen = np.random.default_rng(0), {}

    def reset(self) -> Obs:
        self.seen = draw_obs(self.rng, self.num_envs, self.action_space.n)
        return self.seen

    def step_wait(self) -> tuple[Obs, NDArray[Any], NDArray[Any], list[dict[str, Any]]]:
        assert not self.actions[self.seen["mask"] == 0].any()
        worth = 2 * self.seen["cars"][..., CAR["plugged"]] - 1
        reward = (self.actions * worth).mean(axis=1).astype(np.float32)
        return self.reset(), reward, np.ones(self.num_envs, np.bool_), [{}] * self.num_envs


def test_ppo_learns_to_choose_the_plugged_cars() -> None:
    env = PlugTask(num_envs=64, num_cars=10)
    torch.set_num_threads(1)
    model = PPO(
        SetPolicy, env, n_steps=16, batch_size=1024, n_epochs=4, learning_rate=0.01, seed=0,
        gamma=0.0, gae_lambda=0.0, policy_kwargs={"net_arch": [16]}, device="cpu",
    )  # fmt: skip
    model.learn(16 * 1024)
    obs = env.reset()
    action, _ = model.predict(obs, deterministic=True)
    allowed = obs["mask"] != 0
    right = (action != 0) == (obs["cars"][..., CAR["plugged"]] > 0)
    assert right[allowed].mean() > 0.95


def test_saved_models_come_back(tmp_path: Any, rng: np.random.Generator) -> None:
    env = PlugTask(num_envs=2, num_cars=10)
    model = PPO(SetPolicy, env, n_steps=8, batch_size=16, policy_kwargs={"net_arch": [8, 4]})
    model.save(tmp_path / "model.zip")
    again = PPO.load(tmp_path / "model.zip")
    ours, theirs = set_weights(model.policy), set_weights(again.policy)
    assert set(ours) == set(theirs)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert ours["encoder.1.weight"].shape == (4, 8)


def test_it_plays_the_real_environment() -> None:
    env = FleetVectorEnv("suburb", num_cars=40, step_min=60)
    obs, _ = env.reset(seed=0)
    weights, chosen, allowed = set_weights(build()), 0, 0
    for _ in range(24):
        assert isinstance(obs, dict)
        bits = set_duty(set_logits(weights, obs))
        assert (bits <= obs["mask"]).all()
        chosen, allowed = chosen + bits.sum(), allowed + obs["mask"].sum()
        obs, _, _, _, _ = env.step(bits)
    assert 0 < chosen < allowed  # there was something to choose

"""Imitation: what is wanted of the clone, that DAgger teaches it, and the price of leaving it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("torch")

import gymnasium as gym
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, unwrap_vec_wrapper

from agents.base import Obs, Policy
from agents.heuristics.always_on import AlwaysOn
from agents.heuristics.full_cost import FullCostFirst
from agents.index.parameters import PLACE, WEIGHTS, read
from agents.index.policy import TunedIndex
from agents.learned.policy import Learned
from agents.rl.export import export
from agents.rl.extras import ImitateSettings
from agents.rl.imitate import (
    TEACHERS,
    Clone,
    NearReferenceVecEnv,
    RoundReport,
    imitate,
    mean_of,
    visit,
)
from agents.rl.labels import CohortLabels, num_actions
from agents.rl.models import make_env, make_model
from agents.rl.settings import AgentSettings
from fleet_env import EnvConfig, FleetIndexVectorEnv, FleetVectorEnv, scenario
from fleet_env.types import FloatArray
from fleet_env.views.cohort import cohort_of_cars
from fleet_env.views.index import index_score
from fleet_env.views.seen import Seen
from fleet_env.views.summary import SUMMARY, summary

NUM_CARS, NUM_DAYS = 60, 16
NUM_ACTIONS = num_actions("index")
TEACHER = "full_cost_first"  # takes a thousandth of the time of a planner


def hourly(num_cars: int = NUM_CARS) -> EnvConfig:
    return scenario("suburb", num_cars=num_cars, step_min=60)


def learner(**imitate: Any) -> AgentSettings:
    settings = {"teacher": TEACHER, "rounds": 3, "days": NUM_DAYS, "epochs": 20} | imitate
    return AgentSettings(
        num_fleets=4, num_cars=NUM_CARS, net=[32, 32], imitate=ImitateSettings(**settings)
    )


def taught(agent: AgentSettings, seed: int = 0) -> tuple[OnPolicyAlgorithm, list[RoundReport]]:
    card = hourly()
    model = cast("OnPolicyAlgorithm", make_model(agent, make_env(agent, [card], seed), seed))
    return model, imitate(model, agent, [card], seed)


@pytest.fixture(scope="module")
def clone() -> tuple[OnPolicyAlgorithm, AgentSettings, list[RoundReport]]:
    agent = learner()
    model, reports = taught(agent)
    return model, agent, reports


@pytest.mark.parametrize("rule", [FullCostFirst, AlwaysOn])
def test_teacher_is_written_down_as_index_and_share(
    rule: Callable[[], Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(hourly(), observation="cars")
    monkeypatch.setitem(TEACHERS, "rule", rule)
    visits = visit(config, "rule", [3, 4])
    parameters = read("suburb").vector()
    weights = parameters[: len(WEIGHTS)].astype(np.float32)
    np.testing.assert_array_equal(visits.wanted[:, :-1], np.tile(weights, (len(visits.seen), 1)))
    env, policy = FleetVectorEnv(num_envs=2, split="train", config=config), rule()
    obs = cast("Obs", env.reset(options={"scenario_seeds": [3, 4]})[0])
    policy.reset(np.ones(2, np.bool_))
    row, num_capped = 0, 0
    for _ in range(config.num_steps):
        bits = policy.act(obs, np.random.default_rng(0))
        score = index_score(obs, np.tile(weights, (2, 1)))
        for seen, chosen, allowed, of_cars in zip(
            summary(obs), bits, obs["mask"], score, strict=True
        ):
            if allowed.any():
                np.testing.assert_array_equal(visits.seen[row], seen)
                good = (of_cars > parameters[PLACE["min_score"]]) & (allowed != 0)
                num = min(chosen.sum(), good.sum())
                share = (visits.wanted[row, -1] + 1) / 2
                assert share * allowed.sum() == pytest.approx(num, abs=1e-4)
                row, num_capped = row + 1, num_capped + (num < chosen.sum())
        obs = cast("Obs", env.play(bits)[0])
    assert row == len(visits.seen) > config.num_steps
    assert (num_capped > 0) == (rule is AlwaysOn)  # cars that the index would not take


def test_learner_plays_and_teacher_labels() -> None:
    """Nobody on duty, as the learner wants: the fleet shows it, and the teacher wants otherwise."""
    config = replace(hourly(), observation="cars")

    def idle(seen: FloatArray) -> FloatArray:
        return np.full((len(seen), NUM_ACTIONS), -1.0, np.float32)

    visits = visit(config, TEACHER, [3, 4], idle)
    assert (visits.seen[:, SUMMARY["duty"]] == 0).all()
    assert (visit(config, TEACHER, [3, 4]).seen[:, SUMMARY["duty"]] > 0).any()
    assert (visits.wanted[:, -1] > -1).any()


def test_actions_mean_what_the_view_makes_of_them() -> None:
    """A constant action earns the same days in `visit` as in `FleetIndex-v0`."""
    config = hourly()
    action = np.zeros((2, NUM_ACTIONS), np.float32)
    action[:, 5], action[:, -1] = -1.0, 0.3
    env = FleetIndexVectorEnv(num_envs=2, config=config)
    seen = [env.reset(options={"scenario_seeds": [3, 4]})[0]]
    seen += [env.step(action)[0] for _ in range(config.num_steps - 1)]
    visits = visit(replace(config, observation="cars"), TEACHER, [3, 4], lambda x: action[: len(x)])
    some = {part.tobytes() for part in np.concatenate(seen)}
    assert {part.tobytes() for part in visits.seen} <= some
    assert len(visits.seen) > config.num_steps


def test_cohort_labels_say_how_many_of_each_cohort_the_teacher_chose() -> None:
    config = replace(hourly(), observation="cars")
    env, rule = FleetVectorEnv(num_envs=2, split="train", config=config), FullCostFirst()
    obs = cast("Obs", env.reset(options={"scenario_seeds": [3, 4]})[0])
    labels, rng, num_seen = CohortLabels(), np.random.default_rng(0), 0
    for _ in range(config.num_steps):
        bits = rule.act(obs, rng)
        wanted, counts = labels.wanted(obs, bits)
        again = labels.duty(obs, wanted)
        cars = Seen.look(obs)
        cohort = cars.spread(cohort_of_cars(cars), 0)
        for row, allowed in enumerate(obs["mask"] != 0):
            present = np.unique(cohort[row, allowed])
            np.testing.assert_array_equal(np.flatnonzero(counts[row]), present)
            for one in present:  # as many cars of the cohort, perhaps others
                mine = allowed & (cohort[row] == one)
                share = bits[row, mine].mean()
                assert (wanted[row, one] + 1) / 2 == pytest.approx(share, abs=1e-6)
                assert again[row, mine].sum() == bits[row, mine].sum()
                num_seen += 0 < share < 1
        obs = cast("Obs", env.play(bits)[0])
    assert num_seen > 0  # cohorts of which some cars were chosen


def test_what_does_not_count_is_not_learned() -> None:
    """Numbers of empty cohorts are neither in the loss nor pull at the clone."""
    agent = replace(learner(rounds=1, days=2, epochs=2), view="cohort")
    config = replace(hourly(), observation="cars")
    visits = visit(config, TEACHER, [3, 4], view="cohort")
    assert 0 < visits.counts.mean() < 1
    wrong = replace(visits, wanted=np.where(visits.counts, visits.wanted, 7.0))
    found = []
    for shown in (visits, wrong):
        model = make_model(agent, make_env(agent, [hourly()], 0), 0)
        clone = Clone(cast("OnPolicyAlgorithm", model), "cohort")
        clone.begin(shown)
        clone.fit(shown, agent.imitate, np.random.default_rng(0))
        found.append(clone.loss(shown))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_a_cohort_clone_earns_nearly_what_its_teacher_does(tmp_path: Path) -> None:
    agent = replace(learner(teacher="tuned_index", epochs=40), view="cohort")
    model, _ = taught(agent)
    export(model, agent, {}).save(tmp_path / "clone.policy")
    players: dict[str, Policy] = {
        "clone": Learned(file=str(tmp_path / "clone.policy")),
        "teacher": TunedIndex(),
        "always": AlwaysOn(),
    }
    usd = {name: usd_per_car(player, num_days=16).mean() for name, player in players.items()}
    assert usd["teacher"] - usd["clone"] < 0.2 * (usd["teacher"] - usd["always"])


def test_dagger_lowers_the_loss_on_days_it_has_not_seen(
    clone: tuple[OnPolicyAlgorithm, AgentSettings, list[RoundReport]],
) -> None:
    model, agent, reports = clone
    assert [report.number for report in reports] == [1, 2, 3]
    assert reports[-1].num_steps > 2.5 * reports[0].num_steps
    # each round meets new days, before it learns from them
    fresh = [report.fresh_loss for report in reports]
    assert fresh[1] < 0.5 * fresh[0]
    assert fresh[2] < 0.8 * fresh[1]
    assert all(report.loss < report.fresh_loss for report in reports)
    config = replace(hourly(), observation="cars")
    held_out = visit(config, TEACHER, range(8), Clone(model).mean, split="validation")
    new = cast("OnPolicyAlgorithm", make_model(agent, make_env(agent, [hourly()], 0), 0))
    untaught = Clone(new)
    untaught.meet(held_out)
    untaught.begin(held_out)  # knows the best constant action
    assert Clone(model).loss(held_out) < 0.9 * untaught.loss(held_out)


def usd_per_car(policy: Policy, num_days: int) -> FloatArray:
    config, rng = replace(hourly(), observation="cars"), np.random.default_rng(0)
    env = FleetVectorEnv(num_envs=num_days, split="validation", config=config)
    obs = cast("Obs", env.reset(options={"scenario_seeds": list(range(num_days))})[0])
    policy.reset(np.ones(num_days, np.bool_))
    total = np.zeros(num_days)
    for _ in range(config.num_steps):
        after, reward, _, _ = env.play(policy.act(obs, rng))
        obs, total = cast("Obs", after), total + reward
    return total / config.num_cars


def test_exported_clone_earns_nearly_what_its_teacher_does(
    clone: tuple[OnPolicyAlgorithm, AgentSettings, list[RoundReport]], tmp_path: Path
) -> None:
    model, agent, _ = clone
    export(model, agent, {}).save(tmp_path / "clone.policy")
    players: dict[str, Policy] = {
        "clone": Learned(file=str(tmp_path / "clone.policy")),
        "teacher": TEACHERS[TEACHER](),
        "always": AlwaysOn(),
    }
    usd = {name: usd_per_car(player, num_days=16).mean() for name, player in players.items()}
    # margin: a fifth of what the teacher earns more than having all cars on duty
    assert usd["teacher"] - usd["clone"] < 0.2 * (usd["teacher"] - usd["always"])


def test_torch_and_file_give_the_same_means(
    clone: tuple[OnPolicyAlgorithm, AgentSettings, list[RoundReport]],
) -> None:
    model, agent, _ = clone
    seen = visit(replace(hourly(), observation="cars"), TEACHER, [5]).seen
    mean = mean_of(export(model, agent, {}))(seen)
    np.testing.assert_allclose(mean, Clone(model).mean(seen), rtol=1e-5, atol=1e-5)
    action, _ = model.predict(model.get_vec_normalize_env().normalize_obs(seen), deterministic=True)
    np.testing.assert_allclose(np.clip(mean, -1, 1), action, rtol=1e-5, atol=1e-5)


def test_imitation_sets_the_deviation_and_the_statistics(
    clone: tuple[OnPolicyAlgorithm, AgentSettings, list[RoundReport]],
) -> None:
    model, agent, reports = clone
    assert torch.exp(model.policy.log_std).detach().numpy() == pytest.approx(agent.imitate.std)
    statistics = model.get_vec_normalize_env().obs_rms
    assert statistics.count == pytest.approx(reports[-1].num_steps, abs=1e-3)


def test_imitation_is_the_same_for_a_seed_and_draws_from_no_global_generator() -> None:
    agent = learner(rounds=2, days=2, epochs=2)
    one, _ = taught(agent, seed=3)
    model = cast("OnPolicyAlgorithm", make_model(agent, make_env(agent, [hourly()], 3), 3))
    before = torch.get_rng_state()
    imitate(model, agent, [hourly()], 3)
    assert torch.equal(torch.get_rng_state(), before)
    again, other = taught(agent, seed=3)[0], taught(agent, seed=4)[0]
    weights = [m.policy.state_dict()["action_net.weight"] for m in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_other_models_are_refused() -> None:
    agent = AgentSettings(view="cohort", num_fleets=1, num_cars=8)
    model = make_model(agent, make_env(agent, [hourly()], 0), 0)
    with pytest.raises(ValueError, match=r"expected agent.algorithm=ppo with agent.view=index"):
        Clone(cast("OnPolicyAlgorithm", model))


def test_files_of_another_kind_are_no_reference() -> None:
    agent = AgentSettings(view="index", algorithm="recurrent_ppo", num_fleets=1, num_cars=8)
    agent.net = [8]
    model = make_model(agent, make_env(agent, [hourly()], 0), 0)
    with pytest.raises(ValueError, match=r"\(index, lstm, gaussian\): expected index or tuned or"):
        mean_of(export(model, agent, {}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": "oracle"}, r"imitate.teacher='oracle': expected mpc or price_index or"),
        ({"days": 0}, r"imitate.days=0: expected a number in \[1, "),
        ({"beta_usd": -1.0}, r"imitate.beta_usd=-1.0"),
        ({"std": 0.0}, r"imitate.std=0.0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImitateSettings(**settings)


def near(beta_usd: float) -> tuple[NearReferenceVecEnv, FleetIndexVectorEnv]:
    agent = learner(beta_usd=beta_usd, std=0.2)
    held = unwrap_vec_wrapper(make_env(agent, [hourly()], 0), NearReferenceVecEnv)
    assert held is not None
    free = FleetIndexVectorEnv(num_envs=4, config=hourly())
    free.reset(seed=0)
    return held, free


def test_charge_is_beta_times_kl_by_hand() -> None:
    held, free = near(beta_usd=1e-3)
    seen = held.reset()
    action = np.zeros((4, NUM_ACTIONS), np.float32)
    free_reward = [free.step(action)[1] for _ in range(3)]
    np.testing.assert_allclose(held.step(action)[1], free_reward[0], rtol=1e-5, atol=1e-9)

    def reference(raw: FloatArray) -> FloatArray:
        mean = np.zeros((len(raw), NUM_ACTIONS), np.float32)
        mean[:, 0], mean[:, 1] = raw[:, 0] / 2, 1.7  # beyond what an action can be: counts as 1
        return mean

    held.hold(reference)
    for step in (1, 2):
        seen, rewards, _, _ = (held._seen, *held.step(action)[1:])
        # KL(N(m, s) || N(n, s)) = |m - n|^2 / (2 s^2)
        kl = ((seen[:, 0] / 2) ** 2 + 1.0**2) / (2 * 0.2**2)
        np.testing.assert_allclose(held.kl_nats, kl, rtol=1e-5)
        np.testing.assert_allclose(rewards, free_reward[step] - 1e-3 * kl, rtol=1e-5)
        assert rewards.dtype == np.float32


def test_charge_uses_what_was_seen_before_the_step_also_across_episodes() -> None:
    held, _ = near(beta_usd=1.0)
    wanted: list[FloatArray] = []

    def reference(raw: FloatArray) -> FloatArray:
        wanted.append(raw.copy())
        return np.zeros((len(raw), NUM_ACTIONS), np.float32)

    held.hold(reference)
    first, action = held.reset(), np.zeros((4, NUM_ACTIONS), np.float32)
    seen = [first, *(held.step(action)[0].copy() for _ in range(hourly().num_steps + 2))]
    assert len(wanted) == len(seen) - 1
    for before, raw in zip(seen, wanted, strict=False):
        np.testing.assert_array_equal(raw, before)


class Pull(gym.Env[FloatArray, FloatArray]):
    """One step; earns the first number of the action."""

    observation_space = gym.spaces.Box(0, 1, (1,))
    action_space = gym.spaces.Box(-1, 1, (2,))

    def reset(self, **_: Any) -> tuple[FloatArray, dict[str, Any]]:
        return np.zeros(1, np.float32), {}

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), float(action[0]), True, False, {}


@pytest.mark.slow
@pytest.mark.parametrize(("beta_usd", "wanted"), [(0.0, 1.0), (0.2, 0.4)])
def test_ppo_settles_where_reward_and_charge_balance(beta_usd: float, wanted: float) -> None:
    """``x - beta (x - m)^2 / (2 s^2)`` is largest at m + s^2 / beta: here 0.2 + 0.04 / 0.2."""
    env = NearReferenceVecEnv(DummyVecEnv([Pull] * 32), ImitateSettings(std=0.2, beta_usd=beta_usd))
    env.hold(lambda seen: np.tile([0.2, -0.5], (len(seen), 1)).astype(np.float32))
    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy", env, n_steps=16, batch_size=512, n_epochs=4, learning_rate=0.01, seed=0,
        device="cpu", policy_kwargs={"net_arch": [4], "log_std_init": -1.6},
    )  # fmt: skip
    model.learn(60 * 512)
    action, _ = model.predict(np.zeros((1, 1), np.float32), deterministic=True)
    assert action[0, 0] == pytest.approx(wanted, abs=0.05)
    if beta_usd:
        assert action[0, 1] == pytest.approx(-0.5, abs=0.05)

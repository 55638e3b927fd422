"""Checkpoints: what goes on from one is what would have been, and torn ones are passed over."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import json

import numpy as np
import torch

from agents.rl import checkpoint
from agents.rl.callback import BetweenRollouts
from agents.rl.extras import ConstraintSettings
from agents.rl.lagrangian import LagrangianVecEnv, MultiplierCallback
from agents.rl.models import make_env, make_model
from agents.rl.schedule import let_rate_fall

LIMITS = ConstraintSettings(limits={"slo": 0.5, "shortfall": 0.01})
# off-policy learners with updates inside the day: six vector steps, then some
KINDS = {
    "ppo": ("ppo", "index", {}),
    "sac": ("sac", "index", {"options": {"train_freq": 6, "gradient_steps": 2}}),
    "tqc": ("tqc", "index", {"options": {"train_freq": 6, "gradient_steps": 1}}),
    "recurrent": ("recurrent_ppo", "index", {}),
    "cohort": ("ppo", "cohort", {}),
    "cars": ("ppo", "cars", {"num_cars": 4}),
    "set": ("ppo", "fleet", {}),
    "binary": ("maskable_ppo", "bits", {}),
    "limits": ("ppo", "index", {"constraint": LIMITS}),
}
PLAIN = ("ppo", "sac", "limits")


class EnoughError(Exception):
    """Ends a training, as a signal would."""


class Learner:
    """A model with its environment, that learns whole days and may save after each."""

    def __init__(self, agent, card, seed=3):
        self.env = make_env(agent, [card], seed)
        self.model = make_model(agent, self.env, seed)
        let_rate_fall(self.model)

    def learn(self, until_days, total_days, folder=None):
        fleets = checkpoint.fleets_of(self.env)
        day = self.env.num_envs * fleets.num_steps

        def between(rollout_s, updates_s):
            if fleets.drain():
                if folder is not None:
                    state = {"steps": self.model.num_timesteps, "note": [1.5, None]}
                    checkpoint.save(folder, self.model, self.env, state)
                if self.model.num_timesteps >= until_days * day:
                    raise EnoughError

        hooks = [BetweenRollouts(between)]
        multipliers = checkpoint.wrapped(self.env, LagrangianVecEnv)
        if multipliers is not None:
            hooks.insert(0, MultiplierCallback(multipliers))
        rest = total_days * day - self.model.num_timesteps
        with pytest.raises(EnoughError):
            self.model.learn(rest, hooks, None, reset_num_timesteps=False)

    def numbers(self):
        """All that must be equal: weights, optimisers, statistics, cursor, multipliers."""
        found = {"cursor": np.array(checkpoint.fleets_of(self.env).cursor)}
        for name, part in self.model.get_parameters().items():
            for key, value in _flat(part):
                found[f"{name}.{key}"] = value
        if getattr(self.model, "log_ent_coef", None) is not None:
            found["log_ent_coef"] = self.model.log_ent_coef.detach().numpy()
        normalizer = self.model.get_vec_normalize_env()
        if normalizer is not None:
            found["return_var"] = np.array(normalizer.ret_rms.var)
            if normalizer.norm_obs and not isinstance(normalizer.obs_rms, dict):
                found["mean"], found["var"] = normalizer.obs_rms.mean, normalizer.obs_rms.var
        multipliers = checkpoint.wrapped(self.env, LagrangianVecEnv)
        if multipliers is not None:
            found["multipliers"] = multipliers.multipliers
        return found


def _flat(tree, prefix=""):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _flat(value, f"{prefix}{key}.")
    elif isinstance(tree, torch.Tensor):
        yield prefix, tree.detach().numpy()


@pytest.mark.parametrize(
    "kind", [k if k in PLAIN else pytest.param(k, marks=pytest.mark.slow) for k in KINDS]
)
def test_a_restored_learner_goes_on_bit_for_bit(kind, make_agent, make_card, tmp_path):
    algorithm, view, settings = KINDS[kind]
    agent = make_agent(algorithm, view, **settings)
    card = make_card()
    whole = Learner(agent, card)
    whole.learn(4, 4)
    first = Learner(agent, card)
    first.learn(2, 4, tmp_path)
    second = Learner(agent, card)
    np.random.seed(99)  # noqa: NPY002 - whatever came between
    torch.manual_seed(99)
    path = checkpoint.newest(tmp_path)
    assert path is not None
    state = checkpoint.restore(path, second.model, second.env)
    assert state["note"] == [1.5, None]
    assert second.model.num_timesteps == first.model.num_timesteps
    second.learn(4, 4)
    expected, got = whole.numbers(), second.numbers()
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
    apart = first.numbers()
    assert any((apart[name] != value).any() for name, value in expected.items())


@pytest.fixture
def saved(make_agent, make_card, tmp_path):
    """Return a folder with checkpoints of two days, 48 and 96 steps."""
    Learner(make_agent(), make_card()).learn(2, 2, tmp_path)
    return tmp_path


def test_the_newest_checkpoint_is_found_by_its_steps(saved):
    assert [path.name for path in sorted(saved.iterdir())] == ["0000000048", "0000000096"]
    assert checkpoint.newest(saved) == saved / "0000000096"
    assert checkpoint.read_state(saved / "0000000048")["steps"] == 48
    assert checkpoint.newest(saved / "nothing") is None


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: (path / "complete.json").unlink(), r"no readable complete\.json"),
        (lambda path: (path / "complete.json").write_text("{"), r"no readable complete\.json"),
        (lambda path: (path / "model.zip").unlink(), r"model\.zip is missing"),
        (lambda path: (path / "state.json").write_text("{}"), r"state\.json is not what was"),
        (
            lambda path: (path / "random.pt").write_bytes((path / "random.pt").read_bytes()[:-7]),
            r"random\.pt is not what was written",
        ),
    ],
)
def test_a_torn_checkpoint_is_passed_over(saved, harm, message):
    harm(saved / "0000000096")
    with pytest.warns(UserWarning, match=message):
        assert checkpoint.newest(saved) == saved / "0000000048"


def test_an_unfinished_checkpoint_has_no_name(saved):
    (saved / ".123.0000000072").mkdir()
    (saved / ".123.0000000072" / "complete.json").write_text("{}")
    assert checkpoint.newest(saved) == saved / "0000000096"


def test_only_the_newest_are_kept(make_agent, make_card, tmp_path):
    learner = Learner(make_agent(), make_card())
    learner.learn(1, 1)
    for steps in (10, 20, 30, 30):
        checkpoint.save(tmp_path, learner.model, learner.env, {"steps": steps}, keep=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0000000020", "0000000030"]


def test_the_replay_buffer_is_an_option(make_agent, make_card, tmp_path):
    learner = Learner(make_agent("sac", options={"train_freq": 6}), make_card())
    learner.learn(1, 1)
    path = checkpoint.save(tmp_path, learner.model, learner.env, {"steps": 1}, replay=False)
    assert not (path / "replay.pkl").exists()
    fresh = Learner(make_agent("sac", options={"train_freq": 6}), make_card())
    checkpoint.restore(path, fresh.model, fresh.env)
    assert fresh.model.replay_buffer.size() == 0
    path = checkpoint.save(tmp_path, learner.model, learner.env, {"steps": 2})
    checkpoint.restore(path, fresh.model, fresh.env)
    assert fresh.model.replay_buffer.size() == learner.model.replay_buffer.size() > 0
    assert "replay.pkl" in json.loads((path / "complete.json").read_text())


def test_the_rate_of_an_on_policy_learner_falls_to_nothing(make_agent, make_card):
    card = make_card()
    ppo, sac = (Learner(make_agent(name), card).model for name in ("ppo", "sac"))
    assert [ppo.lr_schedule(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([3e-4, 1.5e-4, 0])
    assert [sac.lr_schedule(left) for left in (1.0, 0.0)] == pytest.approx([3e-4, 3e-4])

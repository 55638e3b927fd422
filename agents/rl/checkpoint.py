"""Checkpoints: all that a training run needs to go on as if it had never stopped."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file, recursive_setattr
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_wrapper

from agents.rl.lagrangian import LagrangianVecEnv
from agents.rl.vec_env import FleetVecEnv

MODEL, NORMALIZE, RANDOM, STATE = "model.zip", "normalize.pkl", "random.pt", "state.json"
REPLAY = "replay.pkl"
COMPLETE = "complete.json"  # sha256 of every other file: without it, a checkpoint is torn
COUNTERS = ("num_timesteps", "_n_updates", "_episode_num")  # of the model, beside its weights
_CHUNK = 1 << 20  # bytes hashed at a time

wrapped = unwrap_vec_wrapper  # for experiments, which import nothing of SB3


def save(
    folder: Path,
    model: BaseAlgorithm,
    env: VecEnv,
    state: Mapping[str, Any],
    *,
    replay: bool = True,
    keep: int = 2,
) -> Path:
    """Write a checkpoint whole or not at all.

    Between two episodes only: what happens inside a day is not part of it.

    Parameters
    ----------
    folder : Path
        Receives a folder named after ``state["steps"]``, moved there when all of it is on disk.
    model : BaseAlgorithm
    env : VecEnv
        Of the model; the outermost wrapper.
    state : mapping
        JSON data to get back; ``steps`` is needed.
    replay : bool
        Also keep the replay buffer of an off-policy learner. Without it a resumed run refills it.
    keep : int
        Checkpoints that stay; older ones are removed.

    Returns
    -------
    Path
        Folder of the checkpoint.
    """
    target = folder / f"{state['steps']:010d}"
    temporary = folder / f".{os.getpid()}.{target.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    model.save(temporary / MODEL)
    normalizer = model.get_vec_normalize_env()
    if normalizer is not None:
        normalizer.save(str(temporary / NORMALIZE))
    if replay and isinstance(model, OffPolicyAlgorithm):
        model.save_replay_buffer(temporary / REPLAY)
    torch.save(_random_states(model), temporary / RANDOM)
    _write_json(temporary / STATE, {**state, **_of_training(model, env)})
    _write_json(temporary / COMPLETE, {file.name: _sha256(file) for file in temporary.iterdir()})
    for path in (*temporary.iterdir(), temporary):
        _sync(path)
    shutil.rmtree(target, ignore_errors=True)  # of the same steps: a run that was resumed there
    temporary.rename(target)
    _sync(folder)
    for old in _all(folder)[keep:]:
        shutil.rmtree(old)
    return target


def newest(folder: Path) -> Path | None:
    """Find the newest checkpoint that is whole; one that is not is passed over with a warning."""
    for path in _all(folder):
        wrong = _problem(path)
        if wrong is None:
            return path
        warnings.warn(f"{path}: {wrong}; going back to the one before", stacklevel=2)
    return None


def read_state(path: Path) -> dict[str, Any]:
    """Return what was given to `save` as `state`, and the books of the training itself."""
    content: dict[str, Any] = json.loads((path / STATE).read_text("utf-8"))
    return content


def restore(path: Path, model: BaseAlgorithm, env: VecEnv) -> dict[str, Any]:
    """Put a fresh model and its environment where a checkpoint was written.

    Weights, optimiser, counters, normaliser, replay buffer, multipliers, scenario cursor and
    random states; then ``model.learn(..., reset_num_timesteps=False)`` goes on.

    Parameters
    ----------
    path : Path
        As `newest` finds it.
    model : BaseAlgorithm
        Made by the same settings.
    env : VecEnv
        Of the model; begins the episode that was to come.

    Returns
    -------
    dict
        As `read_state`.
    """
    state = read_state(path)
    _, weights, variables = load_from_zip_file(path / MODEL, load_data=False, device=model.device)
    model.set_parameters(weights, device=model.device)
    for name, tensor in (variables or {}).items():
        recursive_setattr(model, f"{name}.data", tensor.data)
    for name in COUNTERS:
        if name in state["counters"]:
            setattr(model, name, state["counters"][name])
    if isinstance(model, OffPolicyAlgorithm) and (path / REPLAY).is_file():
        model.load_replay_buffer(path / REPLAY)
    _begin(path, model, env, state)
    _set_random_states(model, torch.load(path / RANDOM, weights_only=False))
    return state


def _begin(path: Path, model: BaseAlgorithm, env: VecEnv, state: Mapping[str, Any]) -> None:
    """Reset the environment to the saved cursor, and only then restore what a reset touches."""
    fleets_of(env).set_cursor(state["cursor"])
    obs = env.reset()
    multipliers = wrapped(env, LagrangianVecEnv)
    if multipliers is not None:
        multipliers.set_multiplier_state(state["multipliers"])
    normalizer = model.get_vec_normalize_env()
    if normalizer is not None:
        with (path / NORMALIZE).open("rb") as file:  # of our own making: VecNormalize.save
            kept: VecNormalize = pickle.load(file)
        normalizer.ret_rms = kept.ret_rms
        if normalizer.norm_obs:
            normalizer.obs_rms = kept.obs_rms
        model._last_original_obs = normalizer.get_original_obs()
        obs = normalizer.normalize_obs(normalizer.get_original_obs())
    model._last_obs = obs  # type: ignore[assignment]  # SB3 says it is no tuple
    model._last_episode_starts = np.ones(env.num_envs, dtype=bool)


def _of_training(model: BaseAlgorithm, env: VecEnv) -> dict[str, Any]:
    counters = {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)}
    found: dict[str, Any] = {"counters": counters, "cursor": fleets_of(env).cursor}
    multipliers = wrapped(env, LagrangianVecEnv)
    if multipliers is not None:
        found["multipliers"] = multipliers.multiplier_state()
    return found


def fleets_of(env: VecEnv) -> FleetVecEnv:
    """Return the fleets below all wrappers."""
    fleets = env.unwrapped
    if not isinstance(fleets, FleetVecEnv):
        raise TypeError(f"{type(fleets).__name__}: expected an environment of agents.rl.make_env")
    return fleets


def _random_states(model: BaseAlgorithm) -> dict[str, Any]:
    return {
        "python": random.getstate(),
        # SB3 draws minibatches from the global generator
        "numpy": np.random.get_state(),  # noqa: NPY002
        "torch": torch.get_rng_state(),
        "actions": model.action_space.np_random.bit_generator.state,
    }


def _set_random_states(model: BaseAlgorithm, states: Mapping[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    model.action_space.np_random.bit_generator.state = states["actions"]


def _all(folder: Path) -> list[Path]:
    """Checkpoints of a folder, the newest first; unfinished ones have other names."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.name.isdecimal()), reverse=True)


def _problem(path: Path) -> str | None:
    """Say what is wrong with a checkpoint, or None."""
    try:
        expected = json.loads((path / COMPLETE).read_text("utf-8"))
    except (OSError, ValueError):
        return f"no readable {COMPLETE}"
    for name, digest in expected.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if _sha256(path / name) != digest:
            return f"{name} is not what was written"
    return None


def _sha256(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")


def _sync(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

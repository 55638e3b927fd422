"""What both views share: a batch of fleets, or one fleet, with few numbers in and out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from fleet_env.config import EnvConfig
from fleet_env.env import FleetEnv
from fleet_env.types import FloatArray
from fleet_env.vector_env import FleetVectorEnv, Info
from fleet_env.views.index import Obs, check_numbers
from fleet_env.views.summary import summary, summary_space


class ViewVectorEnv(VectorEnv[FloatArray, FloatArray, NDArray[Any]]):
    """A batch of fleets behind a view; a subclass says what the numbers of an action mean.

    Rows end together at the horizon and are reset in the same step, as in `FleetVectorEnv`, which
    plays; its infos are passed on.

    Parameters
    ----------
    scenario, num_envs, split, config, render_mode, car_reward, **overrides
        As for `FleetVectorEnv`. The setting `observation` is of no effect: a view always reads
        the cars and always shows their summary.
    """

    metadata: dict[str, Any] = FleetVectorEnv.metadata
    num_actions: ClassVar[int]

    def __init__(
        self,
        scenario: str = "suburb",
        num_envs: int = 1,
        *,
        split: str = "train",
        config: EnvConfig | None = None,
        render_mode: str | None = None,
        car_reward: bool = False,
        **overrides: Any,
    ) -> None:
        if config is None:
            overrides["observation"] = "cars"
        else:
            config = replace(config, observation="cars")
        self.fleet = FleetVectorEnv(
            scenario,
            num_envs,
            split=split,
            config=config,
            render_mode=render_mode,
            car_reward=car_reward,
            **overrides,
        )
        self.config, self.num_envs, self.render_mode = self.fleet.config, num_envs, render_mode
        self.single_action_space = spaces.Box(-1, 1, (self.num_actions,), np.float32)
        self.single_observation_space = summary_space()
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._seen: Obs | None = None  # what the fleets show at the start of the coming step

    def duty(self, obs: Obs, action: FloatArray) -> NDArray[np.int8]:
        """Duty bits of every car, shape (num_envs, num_cars).

        Parameters
        ----------
        obs : mapping
            The batched observation of Fleet-v0.
        action : FloatArray, shape (num_envs, num_actions)
            float32 in [-1, 1].
        """
        raise NotImplementedError

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, Info]:
        """Start an episode in every row: see `FleetVectorEnv.reset`."""
        super().reset(seed=seed)
        obs, info = self.fleet.reset(seed=seed, options=options)
        return self._look(obs), info

    def step(
        self, actions: ArrayLike
    ) -> tuple[FloatArray, NDArray[Any], NDArray[Any], NDArray[Any], Info]:
        """Play one step in every row; the reset at the horizon is that of `FleetVectorEnv`."""
        obs, reward, truncated, info = self.play(actions)
        terminated = np.zeros(self.num_envs, np.bool_)
        if truncated.any():
            final = {"final_obs": _as_objects(obs), "final_info": info}
            obs, begun = self.reset()
            info = {key: value for key, value in info.items() if key != "episode_sums"}
            info.update(final, _final_obs=truncated.copy(), _final_info=truncated.copy(), **begun)
        return obs, reward, terminated, truncated, info

    def play(self, actions: ArrayLike) -> tuple[FloatArray, NDArray[Any], NDArray[Any], Info]:
        """Play one step without the reset at the horizon: obs, reward, truncated, info.

        Raises
        ------
        gymnasium.error.ResetNeeded
            Before the first reset and after the horizon.
        ValueError
            If the action has another shape or numbers outside [-1, 1].
        """
        if self._seen is None:
            raise ResetNeeded("call reset() before step()")
        action = read_action(actions, (self.num_envs, self.num_actions))
        obs, reward, truncated, info = self.fleet.play(self.duty(self._seen, action))
        return self._look(obs), reward / self.config.num_cars, truncated, info

    def render(self) -> tuple[NDArray[np.uint8], ...]:
        """Draw every row: see `FleetVectorEnv.render`."""
        return self.fleet.render()

    def _look(self, obs: NDArray[Any] | dict[str, NDArray[Any]]) -> FloatArray:
        self._seen = cast("Obs", obs)
        return summary(self._seen)


class ViewEnv(gym.Env[FloatArray, FloatArray]):
    """One fleet behind a view: a batch of one."""

    metadata: dict[str, Any] = FleetEnv.metadata
    batch: ClassVar[type[ViewVectorEnv]]

    def __init__(
        self, scenario: str = "suburb", *, render_mode: str | None = None, **settings: Any
    ) -> None:
        self.vector = self.batch(scenario, 1, render_mode=render_mode, **settings)
        self.config = self.vector.config
        self.render_mode = render_mode
        self.action_space = self.vector.single_action_space
        self.observation_space = self.vector.single_observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, Info]:
        """Start an episode; ``{"scenario_seeds": [s]}`` in `options` names it instead of `seed`."""
        super().reset(seed=seed)
        obs, info = self.vector.reset(seed=seed, options=options)
        return obs[0], _first(info)

    def step(self, action: ArrayLike) -> tuple[FloatArray, float, bool, bool, Info]:
        """Play one step of the fleet."""
        obs, reward, truncated, info = self.vector.play(np.asarray(action)[None])
        return obs[0], float(reward[0]), False, bool(truncated[0]), _first(info)

    def render(self) -> NDArray[np.uint8]:
        """Draw the fleet: see `FleetVectorEnv.render`."""
        return self.vector.render()[0]


def read_action(actions: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Check an action and return it as float32.

    Raises
    ------
    ValueError
        If the shape differs or a number is not in [-1, 1]; the message names the first one.
    """
    numbers = check_numbers("actions", actions, shape)
    outside = np.abs(numbers) > 1
    if outside.any():
        row, place = np.argwhere(outside)[0]
        raise ValueError(f"actions[{row}, {place}] = {numbers[row, place]}: expected -1 to 1")
    return numbers.astype(np.float32)


def _as_objects(obs: FloatArray) -> NDArray[Any]:
    """Put every row of an observation into an object array, as Gymnasium passes final ones."""
    rows = np.empty(len(obs), dtype=object)
    for row, seen in enumerate(obs):
        rows[row] = seen
    return rows


def _first(info: Info) -> Info:
    """Row 0 of a batched info."""
    return {k: _first(v) if isinstance(v, dict) else v[0] for k, v in info.items()}

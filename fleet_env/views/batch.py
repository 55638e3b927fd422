"""What both views share: a batch of fleets, or one fleet, with few numbers in and out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from fleet_env.config import EnvConfig
from fleet_env.env import BatchOfOne
from fleet_env.types import FloatArray
from fleet_env.vector_env import FleetVectorEnv, Info, SameStepVectorEnv
from fleet_env.views.index import Candidates, check_numbers
from fleet_env.views.summary import summary, summary_space


def fleets_with_cars(
    scenario: str, num_envs: int, *, config: EnvConfig | None, **settings: Any
) -> FleetVectorEnv:
    """Build the batch under a view, which reads the cars whatever its card shows."""
    if config is None:
        settings["observation"] = "cars"
    else:
        config = replace(config, observation="cars")
    return FleetVectorEnv(scenario, num_envs, config=config, **settings)


class ViewVectorEnv(SameStepVectorEnv[FloatArray]):
    """A batch of fleets behind a view; a subclass says what the numbers of an action mean.

    Rows end together at the horizon and are reset in the same step, as in `FleetVectorEnv`, which
    plays; its infos are passed on.

    Parameters
    ----------
    scenario, num_envs, split, config, render_mode, car_reward, **overrides
        As for `FleetVectorEnv`. The setting `observation` is of no effect: a view always reads
        the cars and always shows their summary.
    """

    num_actions: int

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
        self.fleet = fleets_with_cars(
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
        self._seen: Candidates | None = None  # what the fleets show before the coming step

    def duty(self, cars: Candidates, action: FloatArray) -> NDArray[np.int8]:
        """Duty bits of every car, shape (num_envs, num_cars).

        Parameters
        ----------
        cars : Candidates
            Of the batched observation of Fleet-v0 that the last summary was of.
        action : FloatArray, shape (num_envs, num_actions)
            float32 in [-1, 1].
        """
        raise NotImplementedError

    def manage(self, action: FloatArray) -> None:
        """Set what an action says beyond duty, before the step is played: here, nothing."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, Info]:
        """Start an episode in every row: see `FleetVectorEnv.reset`."""
        super().reset(seed=seed)
        obs, info = self.fleet.reset(seed=seed, options=options)
        return self._look(obs), info

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
        self.manage(action)
        obs, reward, truncated, info = self.fleet.play(self.duty(self._seen, action))
        return self._look(obs), reward / self.config.num_cars, truncated, info

    def render(self) -> tuple[NDArray[np.uint8], ...]:
        """Draw every row: see `FleetVectorEnv.render`."""
        return self.fleet.render()

    def _look(self, obs: NDArray[Any] | dict[str, NDArray[Any]]) -> FloatArray:
        # the coming action is worked out from what the summary has worked out already
        self._seen = Candidates.of(cast("dict[str, NDArray[Any]]", obs))
        return summary(self._seen)


class ViewEnv(BatchOfOne[FloatArray]):
    """One fleet behind a view."""

    batch: ClassVar[type[ViewVectorEnv]]
    vector: ViewVectorEnv

    def __init__(
        self, scenario: str = "suburb", *, render_mode: str | None = None, **settings: Any
    ) -> None:
        super().__init__(self.batch(scenario, 1, render_mode=render_mode, **settings))


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

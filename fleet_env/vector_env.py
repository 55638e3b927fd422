"""The environment: a batch of fleets played in step, as a Gymnasium `VectorEnv`."""

from __future__ import annotations

import reprlib
from typing import Any, TypeVar, cast

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from fleet_env.actions import action_space, read_duty_bits
from fleet_env.config import EnvConfig
from fleet_env.metrics import COSTS, METRICS, REWARD_TERMS
from fleet_env.observations import observation_space
from fleet_env.scenarios import SPLIT_SIZE, check_split, scenario
from fleet_env.sim import FleetSim

Obs = dict[str, NDArray[Any]] | NDArray[Any]
Info = dict[str, Any]
ObsT = TypeVar("ObsT")


class SameStepVectorEnv(VectorEnv[ObsT, Any, NDArray[Any]]):
    """A batch whose rows end together and begin again in the same step; a subclass plays it."""

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    config: EnvConfig

    def play(self, actions: ArrayLike) -> tuple[ObsT, NDArray[Any], NDArray[Any], Info]:
        """Play one step without the reset at the horizon: obs, reward, truncated, info."""
        raise NotImplementedError

    def step(
        self, actions: ArrayLike
    ) -> tuple[ObsT, NDArray[Any], NDArray[Any], NDArray[Any], Info]:
        """Play one step in every row, and at the horizon reset them all.

        Then the observation and the scenarios are those of the next episode;
        ``info["final_obs"]`` and ``info["final_info"]`` hold the end of the last one.
        """
        obs, reward, truncated, info = self.play(actions)
        terminated = np.zeros(self.num_envs, np.bool_)
        if truncated.any():
            final: Info = {"final_obs": _as_objects(obs, self.num_envs), "final_info": info}
            final |= {f"_{key}": truncated.copy() for key in final}
            obs, begun = self.reset()
            info = _begin_again(info, begun) | final
        return obs, reward, terminated, truncated, info


class FleetVectorEnv(SameStepVectorEnv[Obs]):
    """A batch of fleets of parked cars, each deciding which cars to put on duty; see `FleetEnv`.

    All rows share one card and play different scenarios of one split. They end together, at the
    horizon, and are reset in the same step (`AutoresetMode.SAME_STEP`): the observation returned by
    the last step is the first of the next episode, and ``info["final_obs"]`` and
    ``info["final_info"]`` hold the end of the last one.

    Parameters
    ----------
    scenario : str
        Card, for instance ``"suburb"``; ignored where `config` is given.
    num_envs : int
        Rows of the batch.
    split : str
        ``"train"``, ``"validation"`` or ``"test"``.
    config : EnvConfig, optional
        A whole configuration instead of a card.
    render_mode : str, optional
        ``"rgb_array"``.
    car_reward : bool
        Also report every car's own share of the reward in ``info["car_reward"]``, and what it was
        worth at the margin in ``info["car_marginal"]`` (docs/model.md 6) [USD].
    **overrides
        Fields of `EnvConfig`, for instance ``num_cars=256`` or ``demand={"load": 0.3}``.
    """

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
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs}: expected at least 1")
        self.config = _configure(config, scenario, overrides)
        self.split = check_split(split)
        self.num_envs = num_envs
        self.render_mode = _check_render_mode(render_mode, self.metadata["render_modes"])
        self.sim = FleetSim(self.config, num_envs, self.split, car_reward=car_reward)
        self.single_action_space = action_space(self.config.num_cars)
        self.single_observation_space = observation_space(
            self.config.observation, self.config.num_cars
        )
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._next_index = np.arange(num_envs, dtype=np.int64)
        self._started = False
        self._returns = np.zeros(num_envs)
        self._sums = np.zeros((len(REWARD_TERMS) + len(METRICS), num_envs))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, Info]:
        """Start an episode in every row.

        Parameters
        ----------
        seed : int, optional
            Row i plays scenario ``seed + i`` of the split. Without it the rows go on to their next
            scenario.
        options : dict, optional
            ``{"scenario_seeds": [...]}`` names the scenario of each row instead.

        Returns
        -------
        obs, info
            ``info["scenario"]`` is the scenario index of each row; ``info["uncertain"]`` holds what
            `randomise` drew for each row, by name.
        """
        super().reset(seed=seed)
        size = SPLIT_SIZE[self.split]
        if seed is not None:
            self._next_index = np.arange(self.num_envs, dtype=np.int64) + seed % size
        chosen = _scenario_seeds(options, self.num_envs, size)
        index = self._next_index % size if chosen is None else chosen
        self._next_index = index + self.num_envs
        self.sim.reset(index)
        self._returns[:] = 0.0
        self._sums[:] = 0.0
        self._started = True
        info: Info = {"scenario": index.copy()}
        if self.sim.drawn:
            info["uncertain"] = {name: value.copy() for name, value in self.sim.drawn.items()}
        return self.sim.observe(), info

    def play(self, actions: ArrayLike) -> tuple[Obs, NDArray[Any], NDArray[Any], Info]:
        """Play one step without the reset at the horizon: obs, reward, truncated, info.

        Raises
        ------
        gymnasium.error.ResetNeeded
            Before the first reset and after the horizon.
        ValueError
            If the action has another shape or other values than zeros and ones.
        """
        if not self._started:
            raise ResetNeeded("call reset() before step()")
        duty = read_duty_bits(actions, self.num_envs, self.config.num_cars)
        sim = self.sim
        sim.step(duty)
        reward = sim.ledger.reward
        self._returns += reward
        self._sums += sim.ledger.values
        info = self._info()
        done = sim.step_index >= self.config.num_steps
        if done:
            self._started = False
            info["episode_sums"] = self._episode()
        truncated = np.full(self.num_envs, done)
        return sim.observe(), reward, truncated, info

    def _info(self) -> Info:
        ledger = self.sim.ledger.values.copy()
        info: Info = dict(zip(_LEDGER_KEYS, ledger, strict=True))
        info.update(zip(_COST_KEYS, self.sim.ledger.costs.values(), strict=True))
        car_usd = self.sim.world.car_usd
        if car_usd is not None:
            info["car_reward"] = car_usd.reshape(self.num_envs, -1).copy()
        if self.sim.marginal_usd is not None:
            info["car_marginal"] = self.sim.marginal_usd.reshape(self.num_envs, -1).copy()
        return info

    def _episode(self) -> Info:
        sums = self._sums.copy()
        length = np.full(self.num_envs, self.config.num_steps)
        return {
            "return": self._returns.copy(),
            "length": length,
            "scenario": self.sim.scenario_index.copy(),
            **dict(zip(_LEDGER_KEYS, sums, strict=True)),
        }

    def render(self) -> tuple[NDArray[np.uint8], ...]:
        """Draw every row: soc against stated stay, and demand and supply over the day."""
        from fleet_env.viewer import draw_fleet  # matplotlib is not needed to simulate

        return tuple(draw_fleet(self.sim, row) for row in range(self.num_envs))


_LEDGER_KEYS = (
    *(f"reward/{term}" for term in REWARD_TERMS),
    *(f"metric/{name}" for name in METRICS),
)
_COST_KEYS = tuple(f"cost/{name}" for name in COSTS)


def _configure(config: EnvConfig | None, card: str, overrides: dict[str, Any]) -> EnvConfig:
    if config is None:
        return scenario(card, **overrides)
    if overrides:
        raise ValueError(
            f"config and overrides {sorted(overrides)} exclude each other: set them in the config"
        )
    return config


def _check_render_mode(mode: str | None, valid: list[str]) -> str | None:
    if mode is not None and mode not in valid:
        raise ValueError(f"render_mode={mode!r}: expected one of {valid} or None")
    return mode


def _scenario_seeds(
    options: dict[str, Any] | None, num_envs: int, size: int
) -> NDArray[np.int64] | None:
    if not options:
        return None
    unknown = set(options) - {"scenario_seeds"}
    if unknown:
        raise ValueError(f"reset options {sorted(unknown)}: expected only 'scenario_seeds'")
    seeds = np.asarray(options["scenario_seeds"])
    expected = (
        f"expected {num_envs} integers >= 0 and < {size} (the size of the split), one per row"
    )
    if seeds.shape != (num_envs,) or seeds.dtype.kind not in "iu":
        given = reprlib.repr(options["scenario_seeds"])
        raise ValueError(f"scenario_seeds={given}: {expected}")
    outside = (seeds < 0) | (seeds >= size)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(f"scenario_seeds[{row}]={seeds[row]}: {expected}")
    return seeds.astype(np.int64)


def _begin_again(info: Info, begun: Info) -> Info:
    """Join the info of a last step, without the sums of its episode, and that of the reset."""
    joined = {key: value for key, value in info.items() if key != "episode_sums"}
    for key, value in begun.items():
        inner = joined.get(key)
        joined[key] = _begin_again(inner, value) if isinstance(inner, dict) else value
    return joined


def _as_objects(obs: Any, num_envs: int) -> NDArray[Any]:
    """Split a batched observation into an object array with one observation per row."""
    rows = np.empty(num_envs, dtype=object)
    for row in range(num_envs):
        rows[row] = {k: v[row] for k, v in obs.items()} if isinstance(obs, dict) else obs[row]
    return cast("NDArray[Any]", rows)

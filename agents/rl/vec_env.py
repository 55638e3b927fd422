"""Batches of fleets as one environment of Stable-Baselines3, without processes and copies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from fleet_env import CarsAsRows, FleetVectorEnv
from fleet_env.metrics import COSTS, REWARD_TERMS
from fleet_env.scenarios import SPLIT_SIZE
from fleet_env.types import BoolArray, FloatArray
from fleet_env.vector_env import Info
from fleet_env.views.batch import ViewVectorEnv

Obs = NDArray[Any] | dict[str, NDArray[Any]]
Episode = dict[str, Any]  # card, scenario, return, reward/<term>, cost/<name>
Indices = None | int | Iterable[int]
View = FleetVectorEnv | ViewVectorEnv | CarsAsRows

_TERMS = tuple(f"reward/{term}" for term in REWARD_TERMS)


class _Fleets:
    """Books of one environment: what its fleets earn and cost per car, by row and by episode."""

    def __init__(self, env: View, copies: int) -> None:
        self._fleet: FleetVectorEnv = env if isinstance(env, FleetVectorEnv) else env.fleet
        self.num, self._num_cars = self._fleet.num_envs, env.config.num_cars
        self._as_rows, self._copies = isinstance(env, CarsAsRows), copies
        self.cars_in_reward = self._num_cars if env is self._fleet else 1
        self._env = env
        self._spent = np.zeros((len(COSTS), self.num))

    def reset(self, first: int) -> Any:
        """Begin an episode in every fleet, the first one on scenario `first`."""
        days = first + np.arange(self.num) // self._copies
        seeds = days % SPLIT_SIZE[self._fleet.split]
        return self._env.reset(options={"scenario_seeds": seeds})[0]

    def after(self, first: int) -> int:
        """Scenario of fleet 0 in the episode after the one in which it is `first`.

        Fleets go on by their number, copies or not, as `FleetVectorEnv` does by itself.
        """
        return (first + self.num) % SPLIT_SIZE[self._fleet.split]

    def begin(self) -> None:
        """Forget the costs of an episode that was broken off."""
        self._spent[:] = 0.0

    def book(self, info: Info) -> FloatArray:
        """Return the costs of a step per car, shape (len(COSTS), rows of the environment)."""
        told = info["fleet"] if self._as_rows else info
        costs = np.stack([told[f"cost/{name}"] for name in COSTS]) / self._num_cars
        self._spent += costs
        return costs.repeat(self._num_cars, axis=1) if self._as_rows else costs

    def end(self, info: Info) -> list[Episode]:
        """Sum up the episodes that have just ended, one per fleet."""
        final = info["final_info"]
        sums = (final["fleet"] if self._as_rows else final)["episode_sums"]
        columns = {key: (sums[key] / self._num_cars).tolist() for key in ("return", *_TERMS)}
        spent = zip(COSTS, self._spent, strict=True)
        columns |= {f"cost/{name}": cost.tolist() for name, cost in spent}
        columns["scenario"] = sums["scenario"].tolist()
        self.begin()
        rows = zip(*columns.values(), strict=True)
        return [
            {"card": self._env.config.name, **dict(zip(columns, row, strict=True))} for row in rows
        ]

    def action_masks(self) -> BoolArray:
        """Off and on of each car side by side, shape (rows, 2) or (rows, 2 num_cars)."""
        if isinstance(self._env, CarsAsRows):
            return self._env.action_masks()
        allowed = self._fleet.sim.mask.reshape(self.num, -1)
        pairs: BoolArray = np.stack([np.ones_like(allowed), allowed], axis=-1)
        return pairs.reshape(self.num, -1)


class FleetVecEnv(VecEnv):
    """Views or `FleetVectorEnv`s, one per card, as the rows of one `VecEnv`.

    Rows of the first environment come first. All end and begin together, in the same step, so that
    SB3 sees what it expects: the first observation of the next episode, and the last one of this
    episode in ``infos[i]["terminal_observation"]``. Infos are filled only then.

    Rewards are USD per car and step, float32: those of `FleetVectorEnv` are divided by its cars;
    views earn that already.

    Parameters
    ----------
    envs : sequence of FleetVectorEnv, FleetIndexVectorEnv, FleetCohortVectorEnv or CarsAsRows
        Of the same spaces and number of steps.
    first_scenario : int
        Fleet i of each environment begins with this scenario plus ``i // copies``.
    copies : int
        Fleets that play the same scenario, one after the other.

    Attributes
    ----------
    num_steps : int
        Decision steps of an episode.

    Raises
    ------
    ValueError
        If the environments differ in spaces or steps.
    """

    def __init__(self, envs: Sequence[View], first_scenario: int = 0, copies: int = 1) -> None:
        self.envs = tuple(envs)
        _check_alike(self.envs)
        self.num_steps = self.envs[0].config.num_steps
        self._fleets = tuple(_Fleets(env, copies) for env in self.envs)
        stops = np.cumsum([env.num_envs for env in self.envs])
        self._rows = tuple(slice(b - e.num_envs, b) for b, e in zip(stops, self.envs, strict=True))
        self._first = [first_scenario] * len(self.envs)  # scenario of row 0 in the episode
        self._begun = False
        self._actions: NDArray[Any] | None = None
        space = self.envs[0]
        super().__init__(int(stops[-1]), space.single_observation_space, space.single_action_space)
        self._returns = np.zeros(self.num_envs)  # of the rows, for SB3's logs
        self._nothing: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self._costs: dict[str, FloatArray] = {n: np.zeros(self.num_envs) for n in COSTS}
        self._finished: list[Episode] = []

    @property
    def cursor(self) -> list[int]:
        """Scenario of the first row of each environment in the episode now under way.

        With `set_cursor` a resumed run begins this episode (again): at the end of a rollout of
        whole episodes nothing of it has been played yet.
        """
        return list(self._first)

    def set_cursor(self, cursor: Sequence[int]) -> None:
        """Let the next reset begin with these scenarios, as `cursor` gave them.

        Raises
        ------
        ValueError
            If there is not one for each environment.
        """
        if len(cursor) != len(self.envs):
            cards = ", ".join(env.config.name for env in self.envs)
            raise ValueError(
                f"cursor {list(cursor)}: expected {len(self.envs)} scenarios, one per card "
                f"({cards}): it belongs to a run with other cards"
            )
        self._first, self._begun = [int(first) for first in cursor], False

    @property
    def costs(self) -> dict[str, FloatArray]:
        """Constraint costs of the last step by name of `COSTS`, shape (num_envs,) each.

        In the unit of the cost per car. Where cars are rows, each has that of its fleet.
        """
        return self._costs

    @property
    def finished(self) -> tuple[Episode, ...]:
        """Episodes of fleets that ended since the last `drain`.

        Each with its ``card`` and ``scenario``, and per car: ``return`` and ``reward/<term>`` in
        USD, ``cost/<name>`` in the unit of the cost.
        """
        return tuple(self._finished)

    def drain(self) -> tuple[Episode, ...]:
        """Return `finished` and forget it."""
        episodes, self._finished = tuple(self._finished), []
        return episodes

    def reset(self) -> Obs:
        """Begin an episode in every row: the first ones, or the next."""
        if self._begun:
            self._advance()
        self._begun = True
        self._returns[:] = 0.0
        for fleets in self._fleets:
            fleets.begin()
        firsts = zip(self._fleets, self._first, strict=True)
        return _join([fleets.reset(first) for fleets, first in firsts])

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take the actions of the coming step, shape (num_envs, ...)."""
        self._actions = actions

    def step_wait(self) -> tuple[Obs, FloatArray, BoolArray, list[dict[str, Any]]]:
        """Play the step: observations, rewards, ends and infos of the rows.

        The list of infos is the same one in every step in which no row ends: not to be written to.
        """
        if self._actions is None:
            raise RuntimeError("step_wait() before step_async()")
        actions, self._actions = self._actions, None
        parts = [env.step(actions[rows]) for env, rows in zip(self.envs, self._rows, strict=True)]
        pairs = zip(parts, self._fleets, strict=True)
        per_car = [part[1] / fleets.cars_in_reward for part, fleets in pairs]
        rewards: FloatArray = np.concatenate(per_car, dtype=np.float32)
        self._returns += rewards
        booked = [f.book(part[4]) for f, part in zip(self._fleets, parts, strict=True)]
        self._costs = dict(zip(COSTS, np.concatenate(booked, axis=1), strict=True))
        dones: BoolArray = np.concatenate([part[3] for part in parts])
        infos = self._end([part[4] for part in parts]) if dones[0] else self._nothing
        return _join([part[0] for part in parts]), rewards, dones, infos

    def _end(self, told: list[Info]) -> list[dict[str, Any]]:
        """Fill the infos of rows that have just ended, all of them."""
        self._advance()
        finals = [obs for info in told for obs in info["final_obs"]]
        infos = [
            {
                "terminal_observation": obs,
                "TimeLimit.truncated": True,
                "episode": {"r": usd, "l": self.num_steps},
            }
            for obs, usd in zip(finals, self._returns.tolist(), strict=True)
        ]
        self._returns[:] = 0.0
        for fleets, info in zip(self._fleets, told, strict=True):
            self._finished += fleets.end(info)
        return infos

    def _advance(self) -> None:
        pairs = zip(self._fleets, self._first, strict=True)
        self._first = [fleets.after(first) for fleets, first in pairs]

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Change nothing: days are named by the cursor, which the seeding of a model leaves alone.

        The environments draw no other random numbers.
        """
        return [None] * self.num_envs

    def action_masks(self) -> BoolArray:
        """Say which actions are allowed now, as sb3-contrib stacks them.

        Returns
        -------
        BoolArray, shape (num_envs, 2) for `CarsAsRows`, (num_envs, 2 num_cars) for `FleetVectorEnv`
            Off and on duty of a car side by side; off is always allowed.

        Raises
        ------
        AttributeError
            If the view takes shares, which have no masks.
        """
        if not self.has_attr("action_masks"):
            raise AttributeError("action_masks: shares of index and cohort views have no masks")
        return np.concatenate([fleets.action_masks() for fleets in self._fleets])

    def has_attr(self, attr_name: str) -> bool:
        """Say whether rows have an attribute or method."""
        masked = not isinstance(self.envs[0], ViewVectorEnv)
        return attr_name == "render_mode" or (attr_name == "action_masks" and masked)

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return an attribute of rows: `render_mode` alone, None."""
        if attr_name != "render_mode":
            raise AttributeError(f"rows of FleetVecEnv have no attribute {attr_name!r}")
        return [None for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Refuse: rows are no environments of their own."""
        raise AttributeError(f"rows of FleetVecEnv have no attribute {attr_name!r} to set")

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of rows: `action_masks` alone."""
        if method_name != "action_masks":
            raise AttributeError(f"rows of FleetVecEnv have no method {method_name!r}")
        masks = self.action_masks()
        return list(masks if indices is None else masks[np.asarray(self._get_indices(indices))])

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Indices = None) -> list[bool]:
        """Say that no row is wrapped."""
        return [False for _ in self._get_indices(indices)]


def _join(parts: list[Any]) -> Obs:
    """Put the observations of all environments one below the other; one alone as it is."""
    if len(parts) == 1:
        return cast("Obs", parts[0])
    if isinstance(parts[0], dict):
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return np.concatenate(parts)


def _check_alike(envs: Sequence[View]) -> None:
    if not envs:
        raise ValueError("envs: expected at least one environment")
    first = envs[0]
    for env in envs[1:]:
        for what, ours, theirs in (
            ("decision steps", env.config.num_steps, first.config.num_steps),
            ("observation space", env.single_observation_space, first.single_observation_space),
            ("action space", env.single_action_space, first.single_action_space),
        ):
            if ours != theirs:
                raise ValueError(
                    f"cards {first.config.name!r} and {env.config.name!r} differ in {what}, "
                    f"{theirs} and {ours}: their fleets cannot be rows of one batch"
                )

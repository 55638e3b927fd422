"""Cars as rows: every car of every fleet decides for itself, for stock learners of one network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from fleet_env.config import EnvConfig
from fleet_env.memory import check_memory
from fleet_env.observations import CAR_FIELDS, FLEET_FIELDS, Field
from fleet_env.types import BoolArray, FloatArray
from fleet_env.vector_env import Info, Obs, SameStepVectorEnv
from fleet_env.views.batch import fleets_with_cars

# What a field is divided by, so that a network sees numbers of order one: by unit, and by name
# where a unit holds numbers of different size. Typical sizes on the suburb; design.
SCALE_OF_UNIT = {
    "flag": 1.0,
    "1": 1.0,
    "h": 12.0,
    "min": 15.0,
    "kW": 7.7,
    "kWh": 10.0,
    "degC": 20.0,
    "USD/kWh": 0.3,
    "kg/kWh": 0.3,
    "USD/h": 0.3,
    "USD/h/car": 0.1,
    "cars/car": 0.1,
    "car-h/car": 1.0,
}
SCALE_OF_FIELD = {"pack_kwh": 76.0, "awake_kw": 0.5, "busy_kw": 0.5, "feeder_kw": 100.0}

_MASK = Field("mask", "flag", 0, 1, "the projection is expected to let this car be on duty")
# One row: the car, whether it may be on duty, and its fleet; raw units.
ROW_FIELDS = (
    *(replace(field, name=f"car/{field.name}") for field in CAR_FIELDS),
    _MASK,
    *(replace(field, name=f"fleet/{field.name}") for field in FLEET_FIELDS),
)


def _scale(field: Field) -> float:
    by_name = SCALE_OF_FIELD.get(field.name.split("/")[-1])
    return SCALE_OF_UNIT[field.unit] if by_name is None else by_name


_SCALE = np.array([_scale(field) for field in ROW_FIELDS], np.float32)


def row_space(*, scaled: bool = True) -> spaces.Box:
    """Space of one row: the limits of its fields, divided as they are."""
    scale = _SCALE if scaled else np.ones_like(_SCALE)
    low = np.array([field.low for field in ROW_FIELDS], np.float32) / scale
    high = np.array([field.high for field in ROW_FIELDS], np.float32) / scale
    return spaces.Box(low, high, dtype=np.float32)


def car_rows(obs: Mapping[str, NDArray[Any]], *, scaled: bool = True) -> FloatArray:
    """Lay a batched observation of Fleet-v0 out with one row per car.

    It is what a network trained on `CarsAsRows` sees, for a fleet of any size.

    Parameters
    ----------
    obs : mapping
        ``cars``, ``fleet`` and ``mask``; not changed.
    scaled : bool
        Divide every field by its `SCALE_OF_FIELD` or `SCALE_OF_UNIT`.

    Returns
    -------
    FloatArray, shape (num_envs * num_cars, len(ROW_FIELDS)), float32
        Row ``e * num_cars + i`` is car i of fleet e.
    """
    cars, num_car_fields = obs["cars"], len(CAR_FIELDS)
    rows = np.empty((*cars.shape[:2], len(ROW_FIELDS)), np.float32)
    rows[..., :num_car_fields] = cars
    rows[..., num_car_fields] = obs["mask"]
    rows[..., num_car_fields + 1 :] = obs["fleet"][:, None]
    if scaled:
        rows /= _SCALE
    return rows.reshape(-1, len(ROW_FIELDS))


class CarsAsRows(SameStepVectorEnv[FloatArray]):
    """A batch of fleets in which every car is a row of its own, with a reward of its own.

    Row ``e * num_cars + i`` is car i of fleet e. It sees itself, its mask bit and its fleet
    (`ROW_FIELDS`), acts with 0 or 1 (on duty), and earns ``info["car_marginal"]`` [USD]: its own
    costs and the worth of its capacity at the margin (docs/model.md 6). These rewards do not add up
    to that of the fleet: a car that serves beside idle ones earns nothing.

    Rows end together at the horizon and are reset in the same step, as in `FleetVectorEnv`. Infos
    of the fleets, of shape (num_fleets,), are in ``info["fleet"]``, at the end also in
    ``info["final_info"]["fleet"]``.

    Parameters
    ----------
    scenario : str
        Card; ignored where `config` is given.
    num_fleets : int
    split, config, render_mode, **overrides
        As for `FleetVectorEnv`. The setting `observation` is of no effect.
    scaled : bool
        Show fields divided to order one (`SCALE_OF_UNIT`, `SCALE_OF_FIELD`), not clipped; else raw.
    """

    def __init__(
        self,
        scenario: str = "suburb",
        num_fleets: int = 1,
        *,
        split: str = "train",
        config: EnvConfig | None = None,
        render_mode: str | None = None,
        scaled: bool = True,
        **overrides: Any,
    ) -> None:
        self.fleet = fleets_with_cars(
            scenario,
            num_fleets,
            split=split,
            config=config,
            render_mode=render_mode,
            car_reward=True,
            **overrides,
        )
        self.config, self.render_mode, self._scaled = self.fleet.config, render_mode, scaled
        check_memory(self.config, num_fleets, car_reward=True, rows=True)
        self._shape = (num_fleets, self.config.num_cars)
        self.num_envs = num_fleets * self.config.num_cars
        self.single_action_space = spaces.Discrete(2)
        self.single_observation_space = row_space(scaled=scaled)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._mask = np.zeros(self.num_envs, np.bool_)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, Info]:
        """Start an episode in every fleet; seeds and options are those of `FleetVectorEnv`."""
        super().reset(seed=seed)
        obs, info = self.fleet.reset(seed=seed, options=options)
        return self._look(obs), {"fleet": info}

    def play(self, actions: ArrayLike) -> tuple[FloatArray, NDArray[Any], NDArray[Any], Info]:
        """Play one step of every car without the reset at the horizon.

        Raises
        ------
        gymnasium.error.ResetNeeded
            Before the first reset and after the horizon.
        ValueError
            If the action has another shape than (num_envs,) or other values than 0 and 1.
        """
        bits = np.asarray(actions)
        if bits.shape != (self.num_envs,):
            raise ValueError(
                f"actions: expected shape {(self.num_envs,)} (num_envs,), got {bits.shape}"
            )
        obs, _, over, told = self.fleet.play(bits.reshape(self._shape))
        reward = told["car_marginal"].ravel()
        info: Info = {"car_marginal": reward.copy(), "fleet": told}
        return self._look(obs), reward, over.repeat(self._shape[1]), info

    def action_masks(self) -> BoolArray:
        """Say which actions the mask allows now, shape (num_envs, 2): as sb3-contrib stacks them.

        Off duty is always allowed.
        """
        return np.column_stack([np.ones_like(self._mask), self._mask])

    def render(self) -> tuple[NDArray[np.uint8], ...]:
        """Draw every fleet: see `FleetVectorEnv.render`."""
        return self.fleet.render()

    def _look(self, obs: Obs) -> FloatArray:
        seen = cast("dict[str, NDArray[Any]]", obs)
        self._mask = seen["mask"].ravel() != 0
        return car_rows(seen, scaled=self._scaled)

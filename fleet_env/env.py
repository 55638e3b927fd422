"""One fleet as a Gymnasium environment: a batch of one."""

from __future__ import annotations

from typing import Any, cast

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fleet_env.config import EnvConfig
from fleet_env.metrics import COSTS, METRICS
from fleet_env.observations import CAR_FIELDS, FLEET_FIELDS, field_docs
from fleet_env.vector_env import FleetVectorEnv, Info, Obs, ObsT, SameStepVectorEnv


class BatchOfOne(gym.Env[ObsT, Any]):
    """One fleet: a batch with a single row, seen without the first axis."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(self, vector: SameStepVectorEnv[ObsT]) -> None:
        self.vector = vector
        self.config, self.render_mode = vector.config, vector.render_mode
        self.action_space = vector.single_action_space
        self.observation_space = vector.single_observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsT, Info]:
        """Start an episode; ``{"scenario_seeds": [s]}`` in `options` names it instead of `seed`."""
        super().reset(seed=seed)
        obs, info = self.vector.reset(seed=seed, options=options)
        return _first(obs), _first(info)

    def step(self, action: ArrayLike) -> tuple[ObsT, float, bool, bool, Info]:
        """Play one step of the fleet."""
        obs, reward, truncated, info = self.vector.play(np.asarray(action)[None])
        return _first(obs), float(reward[0]), False, bool(truncated[0]), _first(info)

    def render(self) -> NDArray[np.uint8]:
        """Draw the fleet: see `FleetVectorEnv.render`."""
        pictures: Any = self.vector.render()
        return cast("NDArray[np.uint8]", pictures[0])


class FleetEnv(BatchOfOne[Obs]):
    """A fleet of parked electric cars that can serve AI inference.

    ## Description
    Every 15 minutes the agent decides which cars are on duty. A car on duty wakes, loads its models
    and serves requests that a data centre would else be paid for; it draws energy at the retail
    price, ages its pack and may leave its owner short. The reward is what the fleet saves, in USD.
    An episode is a day from noon to noon (a setting).

    A card may spread the fleet over regions with clocks, prices, weather and demand of their own,
    put homes behind transformers, make reports of cars late or missing, let owners join for pay,
    set hours or leave for good, and bring storms, outages, heat, price spikes, crowds and model
    releases. The default has one region and none of this, but that an owner who is let down may
    leave.

    ## Action Space
    `MultiBinary(num_cars)`: 1 = on duty. Bits of cars that may not compute are refused and counted
    by the first reason that applies, in the order of ``metric/refused_<reason>`` below. Taking part
    is the owner's choice: cars that never joined, and cars whose owner left, are `opted_out`.

    ## Observation Space
    `Dict(cars=Box(num_cars, F), fleet=Box(G,), mask=MultiBinary(num_cars))`, or with
    ``observation="fleet"`` the fleet vector alone. All float32, in the units below. `mask` tells
    which bits reports allow. Where reports are late or missing (`telemetry`) it and the fields of
    cars show what was reported last; refusals go by the truth. With several regions each car shows
    price, carbon, weather and clock of its own.

    Fields of `cars`::

    {car_fields}

    Fields of `fleet`::

    {fleet_fields}

    ## Rewards
    USD per step, the sum of ``info["reward/<term>"]``, costs being negative: `avoided` data-centre
    cost of requests completed in cars within their SLO or deadline; `energy`; `wear` of packs;
    `owner` (pay, shortfalls, public charging, owners who leave, noise); cellular `data`; `slo`
    (late and lost requests); `capacity`, what a lower peak of the data centre saves, on cards that
    pay its capital by the peak. Never using a car scores exactly 0.

    ## Info
    Per step, beside ``info["reward/<term>"]``, the metrics below as ``info["metric/<name>"]``:

    {metrics}

    and constraint costs as ``info["cost/<name>"]``:

    {costs}

    With `car_reward` also, per car, ``info["car_reward"]`` (its share of the reward) and
    ``info["car_marginal"]`` (its own costs and what its capacity was worth: 0 where cars exceed
    demand). At reset ``info["scenario"]``, the index that is
    played, and on cards that draw uncertain parameters ``info["uncertain"]``: what was drawn for
    this episode, by name. Observations do not show it: they quote the numbers of the card.

    ## Starting State
    Scenario `(split, index)` fixes the date, the cars, their places and charge (stationary
    distribution), prices, weather, demand, shocks and uncertain parameters, whatever the agent
    does. ``reset(seed=s)`` plays index `s`.

    ## Episode End
    Truncated at the horizon; never terminated. ``info["episode_sums"]`` then holds the sums of the
    episode.

    ## Arguments
    `scenario`, `split`, `config`, `render_mode`, `car_reward` and fields of `EnvConfig`: see
    `FleetVectorEnv`.

    ## Version History
    * v0: first version (0.1.0).
    """

    vector: FleetVectorEnv

    def __init__(
        self,
        scenario: str = "suburb",
        *,
        split: str = "train",
        config: EnvConfig | None = None,
        render_mode: str | None = None,
        car_reward: bool = False,
        **overrides: Any,
    ) -> None:
        vector = FleetVectorEnv(
            scenario,
            1,
            split=split,
            config=config,
            render_mode=render_mode,
            car_reward=car_reward,
            **overrides,
        )
        super().__init__(vector)


def _first(batched: Any) -> Any:
    """Row 0 of a batched observation or info."""
    if isinstance(batched, dict):
        return {key: _first(value) for key, value in batched.items()}
    return batched[0]


def _indent(text: str) -> str:
    return text.replace("\n", "\n    ")


def _bullets(docs: dict[str, str]) -> str:
    return "\n".join(f"* `{name}`: {doc}" for name, doc in docs.items())


if FleetEnv.__doc__:  # stripped under python -OO
    for _mark, _text in {
        "{car_fields}": field_docs(CAR_FIELDS),
        "{fleet_fields}": field_docs(FLEET_FIELDS),
        "{metrics}": _bullets(METRICS),
        "{costs}": _bullets(COSTS),
    }.items():
        FleetEnv.__doc__ = FleetEnv.__doc__.replace(_mark, _indent(_text))

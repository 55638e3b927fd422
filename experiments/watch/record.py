"""Plays one day of one fleet and keeps what a replay shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from agents.base import Obs, Policy, car_field, fleet_field
from fleet_env.config import EnvConfig
from fleet_env.metrics import REWARD_TERMS
from fleet_env.types import FloatArray
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.viewer import MAX_DOTS, car_status

STAY_MAX_H = 24.0  # longer stays are drawn there
PLACES = ("home", "work", "elsewhere")
Frame = Callable[[NDArray[np.uint8]], None]


@dataclass(frozen=True, slots=True)
class DayRecord:
    """One day of one fleet, step by step, as it was after each step."""

    title: str
    step_h: float
    hour: FloatArray  # (steps,) local hour at the start of each step
    soc: FloatArray  # (steps, cars), 0 on the road
    stay_h: FloatArray  # (steps, cars) until the stated departure
    status: NDArray[np.uint8]  # (steps, cars), index into `fleet_env.viewer.STATUS`
    rate: FloatArray  # (steps, cars) share of its full rate at which a car works
    place: NDArray[np.uint8]  # (steps, cars), index into `PLACES`
    pack_kwh: FloatArray  # (cars,)
    evse_kw: FloatArray  # (cars,) of the plug it used most
    demand: FloatArray  # (steps,) work that may leave the data centre [cars' worth]
    duty: FloatArray  # (steps,) cars on duty
    busy: FloatArray  # (steps,) cars' worth of work done
    price: FloatArray  # (steps,) [USD/kWh]
    usd: dict[str, FloatArray]  # term -> (steps,) money so far [USD]


def record_day(
    config: EnvConfig,
    policy: Policy,
    scenario: int,
    split: str = "test",
    seed: int = 0,
    on_frame: Frame | None = None,
    every: int = 2,
) -> DayRecord:
    """Play one scenario.

    Parameters
    ----------
    config : EnvConfig
    policy : Policy
    scenario : int
        Its number in the split.
    split : str
    seed : int
        Of a policy that draws.
    on_frame : callable, optional
        Receives what `render()` draws, shape (height, width, 3), uint8.
    every : int
        Steps from one frame to the next.

    Raises
    ------
    ValueError
        If the fleet has more cars than can be told apart.
    """
    if config.num_cars > MAX_DOTS:
        raise ValueError(f"env.num_cars={config.num_cars}: expected at most {MAX_DOTS} to look at")
    env = FleetVectorEnv(num_envs=1, split=split, config=config)
    first, _ = env.reset(options={"scenario_seeds": [scenario]})
    obs, rng = cast("Obs", first), np.random.default_rng([seed, scenario])
    policy.reset(np.ones(1, dtype=bool))
    rows: list[dict[str, Any]] = []
    for step in range(config.num_steps):
        before = obs
        after, _, _, info = env.play(policy.act(obs, rng))
        obs = cast("Obs", after)
        rows.append(_step(env, before, obs, info))
        if on_frame is not None and (step + 1) % every == 0:
            on_frame(env.render()[0])
    env.close()
    history = env.sim.history
    stacked = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    plugs = stacked.pop("evse_kw")
    usd = {term: np.cumsum(stacked.pop(term)) for term in REWARD_TERMS}
    return DayRecord(
        title=f"{policy.name} on {config.name}, {split} day {scenario}",
        step_h=config.dt_h,
        pack_kwh=car_field(obs, "pack_kwh")[0].copy(),
        evse_kw=plugs.max(axis=0),
        demand=history.demand[0].copy(),
        duty=history.duty[0].copy(),
        busy=history.busy[0].copy(),
        usd={term: money for term, money in usd.items() if money.any()},
        **stacked,
    )


def _step(env: FleetVectorEnv, before: Obs, obs: Obs, info: dict[str, Any]) -> dict[str, Any]:
    serving = car_status(env.sim, 0)
    served_h = float(info["metric/serving_h"][0])
    util = float(info["metric/busy_h"][0]) / served_h if served_h > 0 else 0.0
    at = [car_field(obs, name)[0] > 0 for name in ("at_home", "at_work")]
    return {
        "hour": float(np.median(car_field(before, "local_hour")[0])),
        "soc": car_field(obs, "soc")[0].copy(),
        "stay_h": np.minimum(car_field(obs, "stay_h")[0], STAY_MAX_H),
        "status": serving,
        "rate": np.where(serving == SERVING, min(util, 1.0), 0.0),
        "place": np.select(at, [0, 1], 2).astype(np.uint8),
        "evse_kw": car_field(obs, "evse_kw")[0].copy(),
        "price": float(fleet_field(before, "price")[0]),
        **{term: float(info[f"reward/{term}"][0]) for term in REWARD_TERMS},
    }


SERVING = 4  # in `fleet_env.viewer.STATUS`

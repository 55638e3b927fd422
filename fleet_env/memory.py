"""How much memory a batch of fleets takes, so that one that cannot fit is refused beforehand."""

from __future__ import annotations

import os

from fleet_env.config import EnvConfig

# measured at 1 to 3 million cars of the suburb: peak of a reset and some steps; a day with all cars
# on duty took up to 250 more
BYTES_PER_CAR = {"fleet": 260, "cars": 1200}  # by observation; views of cars keep no more
CAR_REWARD_BYTES = 40  # per car, where every car's share is kept
ROWS_BYTES = 2300  # per car, where cars are rows: bounds and observations of every row
BYTES_PER_GB = 1e9


def needed_gb(
    config: EnvConfig, num_envs: int, *, car_reward: bool = False, rows: bool = False
) -> float:
    """Estimate the peak memory of a batch [GB]; telemetry and transformers add some.

    Parameters
    ----------
    num_envs : int
        Fleets of the batch.
    car_reward : bool
        Every car's share of the reward is kept.
    rows : bool
        Cars are rows (`fleet_env.views.CarsAsRows`).
    """
    per_car = BYTES_PER_CAR[config.observation]
    per_car += CAR_REWARD_BYTES * car_reward + ROWS_BYTES * rows
    return num_envs * config.num_cars * per_car / BYTES_PER_GB


def machine_gb() -> float:
    """Memory of this machine [GB]; inf where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / BYTES_PER_GB
    except (AttributeError, ValueError, OSError):
        return float("inf")


def check_memory(
    config: EnvConfig, num_envs: int, *, car_reward: bool = False, rows: bool = False
) -> None:
    """Refuse a batch that is larger than the machine; arguments as for `needed_gb`.

    Raises
    ------
    ValueError
        With what is needed, what there is and how many cars would fit.
    """
    need = needed_gb(config, num_envs, car_reward=car_reward, rows=rows)
    have = machine_gb()
    if need > have:
        fitting = int(config.num_cars * have / need)
        leaner = "" if config.observation == "fleet" else " or observation='fleet' (not in views)"
        raise ValueError(
            f"num_cars={config.num_cars}: {num_envs} such fleets need about {need:,.0f} GB, this "
            f"machine has {have:,.0f} GB: expected at most {fitting:,} cars each{leaner}"
        )

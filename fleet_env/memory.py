"""How much memory a batch of fleets takes, so that one that cannot fit is refused beforehand."""

from __future__ import annotations

import os

from fleet_env.config import EnvConfig

# measured at 1 to 3 million cars of the suburb: peak of a reset and some steps
BYTES_PER_CAR = {"fleet": 260, "cars": 1050}  # by observation
BYTES_PER_GB = 1e9


def needed_gb(config: EnvConfig, num_envs: int) -> float:
    """Estimate the peak memory of a batch [GB]; telemetry and transformers add some."""
    return num_envs * config.num_cars * BYTES_PER_CAR[config.observation] / BYTES_PER_GB


def machine_gb() -> float:
    """Memory of this machine [GB]; inf where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / BYTES_PER_GB
    except (AttributeError, ValueError, OSError):
        return float("inf")


def check_memory(config: EnvConfig, num_envs: int) -> None:
    """Refuse a batch that is larger than the machine.

    Raises
    ------
    ValueError
        With what is needed, what there is and how many cars would fit.
    """
    need, have = needed_gb(config, num_envs), machine_gb()
    if need > have:
        fitting = int(config.num_cars * have / need)
        leaner = "" if config.observation == "fleet" else " or observation='fleet'"
        raise ValueError(
            f"num_cars={config.num_cars}: {num_envs} such fleets need about {need:,.0f} GB, this "
            f"machine has {have:,.0f} GB: expected at most {fitting:,} cars each{leaner}"
        )

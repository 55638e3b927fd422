"""Gymnasium ids of the package."""

from __future__ import annotations

import gymnasium as gym

FLEET_ID = "fleet_env/Fleet-v0"


def register_envs() -> None:
    """Register the ids once; `import fleet_env` calls this."""
    if FLEET_ID not in gym.registry:
        gym.register(
            id=FLEET_ID,
            entry_point="fleet_env.env:FleetEnv",
            vector_entry_point="fleet_env.vector_env:FleetVectorEnv",
        )

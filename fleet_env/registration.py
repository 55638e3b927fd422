"""Gymnasium ids of the package."""

from __future__ import annotations

import gymnasium as gym

FLEET_ID = "fleet_env/Fleet-v0"
INDEX_ID = "fleet_env/FleetIndex-v0"
COHORT_ID = "fleet_env/FleetCohort-v0"

# id -> entry points of one fleet and of a batch
_ENTRIES = {
    FLEET_ID: ("fleet_env.env:FleetEnv", "fleet_env.vector_env:FleetVectorEnv"),
    INDEX_ID: ("fleet_env.views:FleetIndexEnv", "fleet_env.views:FleetIndexVectorEnv"),
    COHORT_ID: ("fleet_env.views:FleetCohortEnv", "fleet_env.views:FleetCohortVectorEnv"),
}


def register_envs() -> None:
    """Register the ids once; `import fleet_env` calls this."""
    for name, (single, batch) in _ENTRIES.items():
        if name not in gym.registry:
            gym.register(id=name, entry_point=single, vector_entry_point=batch)

"""fleet_env: parked electric cars as inference nodes, as a Gymnasium environment."""

from fleet_env.config import EnvConfig
from fleet_env.env import FleetEnv
from fleet_env.registration import register_envs
from fleet_env.scenarios import scenario
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.views import (
    CarsAsRows,
    FleetCohortEnv,
    FleetCohortVectorEnv,
    FleetIndexEnv,
    FleetIndexVectorEnv,
)

__version__ = "0.1.0"
__all__ = [
    "CarsAsRows",
    "EnvConfig",
    "FleetCohortEnv",
    "FleetCohortVectorEnv",
    "FleetEnv",
    "FleetIndexEnv",
    "FleetIndexVectorEnv",
    "FleetVectorEnv",
    "__version__",
    "scenario",
]

register_envs()

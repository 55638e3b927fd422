"""Views of the environment for learners: few numbers in, few numbers out, at any fleet size."""

from fleet_env.views.cohort import COHORTS, cohort_duty
from fleet_env.views.envs import (
    FleetCohortEnv,
    FleetCohortVectorEnv,
    FleetIndexEnv,
    FleetIndexVectorEnv,
)
from fleet_env.views.index import INDEX_FEATURES, index_duty
from fleet_env.views.summary import SUMMARY_FIELDS

__all__ = [
    "COHORTS",
    "INDEX_FEATURES",
    "SUMMARY_FIELDS",
    "FleetCohortEnv",
    "FleetCohortVectorEnv",
    "FleetIndexEnv",
    "FleetIndexVectorEnv",
    "cohort_duty",
    "index_duty",
]

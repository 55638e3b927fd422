"""Views of the environment for learners: few numbers in, few numbers out, at any fleet size."""

from fleet_env.views.cars import ROW_FIELDS, CarsAsRows, car_rows
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
    "ROW_FIELDS",
    "SUMMARY_FIELDS",
    "CarsAsRows",
    "FleetCohortEnv",
    "FleetCohortVectorEnv",
    "FleetIndexEnv",
    "FleetIndexVectorEnv",
    "car_rows",
    "cohort_duty",
    "index_duty",
]

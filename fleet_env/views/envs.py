"""The views as environments: what the numbers of an action mean."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fleet_env.types import FloatArray
from fleet_env.views.batch import ViewEnv, ViewVectorEnv
from fleet_env.views.cohort import COHORTS, cohort_duty
from fleet_env.views.index import DEFER_MARGIN_H, INDEX_FEATURES, Candidates, index_duty


def as_share(action: FloatArray) -> FloatArray:
    """Rescale numbers of [-1, 1] to shares of [0, 1]."""
    share: FloatArray = (action + 1) / 2
    return share


class FleetIndexVectorEnv(ViewVectorEnv):
    """A batch of fleets, each ranked by a linear index; see `FleetIndexEnv`.

    Parameters
    ----------
    scenario, num_envs, **settings
        As for `FleetVectorEnv`.
    margin_action : bool
        Let a last number of the action set `energy.margin_h` of the coming step, 0 to 6 h.
    """

    def __init__(
        self,
        scenario: str = "suburb",
        num_envs: int = 1,
        *,
        margin_action: bool = False,
        **settings: Any,
    ) -> None:
        self.num_actions = len(INDEX_FEATURES) + 1 + margin_action
        self._sets_margin = margin_action
        super().__init__(scenario, num_envs, **settings)

    def duty(self, cars: Candidates, action: FloatArray) -> NDArray[np.int8]:
        """Duty bits of the best cars: `index_duty`."""
        num = len(INDEX_FEATURES)
        return index_duty(cars, action[:, :num], as_share(action[:, num]))

    def manage(self, action: FloatArray) -> None:
        """Set the margin of the energy managers of each row, 0 to 6 h."""
        if self._sets_margin:
            self.fleet.sim.margin_h[:] = DEFER_MARGIN_H * (action[:, -1] + 1)


class FleetCohortVectorEnv(ViewVectorEnv):
    """A batch of fleets with a quota for each cohort; see `FleetCohortEnv`."""

    num_actions = len(COHORTS)

    def duty(self, cars: Candidates, action: FloatArray) -> NDArray[np.int8]:
        """Duty bits that fill the quotas: `cohort_duty`."""
        return cohort_duty(cars, as_share(action))


_COMMON = """## Observation Space
    `Box`, float32, of a size that does not depend on `num_cars`; fields, bounds and units stand in
    `fleet_env.views.SUMMARY_FIELDS`: the fleet vector of `FleetEnv` (clock, prices, demand,
    forecasts); the shares of the fleet that are feasible, and on duty, by cohort; histograms of
    charge and stated stay of the plugged cars; the mean charge owed; the means of the features of
    the index over the feasible cars.

    ## Rewards
    USD per car and step: the reward of `FleetEnv` divided by `num_cars`. Never using a car scores
    exactly 0.

    ## Info
    As for `FleetEnv`, in USD and counts of the whole fleet.

    ## Starting State, Episode End
    As for `FleetEnv`: the same scenario plays the same day.

    ## Arguments
    As for `FleetEnv`; `observation` is of no effect.

    ## Version History
    * v0: first version (0.1.0)."""


class FleetIndexEnv(ViewEnv):
    """`FleetEnv` ranked by a linear index over car features: the learner's usual view.

    ## Description
    The agent weighs features of the cars and says which share of the feasible ones works. The
    environment scores every car, ``score = sum_j action[j] feature_j(car)``, and puts the best on
    duty, equal scores by car index.

    ## Action Space
    `Box(-1, 1, (D + 1,), float32)`: the weights of the D features below, then the share of the
    feasible cars to have on duty, -1 for none and 1 for all. Features are of order 1 (bounds in
    brackets)::

        {features}

    With the argument `margin_action` one more number ``a`` follows: `energy.margin_h` of the coming
    step is ``3 (a + 1)`` hours, the default at 0. At dear hours the energy manager draws on the
    packs of cars whose stated stay holds so many cheap hours beyond those that refilling takes.

    {common}
    """

    batch: ClassVar[type[ViewVectorEnv]] = FleetIndexVectorEnv


class FleetCohortEnv(ViewEnv):
    """`FleetEnv` with a quota for each cohort of like cars.

    ## Description
    Cars are sorted into cohorts by plug (none, Level 1, Level 2), charge (below 0.55, below 0.75,
    above), stated stay (below 3 h, below 10 h, above) and the largest tier they hold (8B, 70B). Of
    each cohort the environment puts the asked share on duty: those that were in the step before,
    then the longest stays, ties by car index. The share of an empty cohort does nothing.

    ## Action Space
    `Box(-1, 1, (K,), float32)`: for each of `fleet_env.views.COHORTS` the share of its feasible
    cars to have on duty, -1 for none and 1 for all.

    {common}
    """

    batch: ClassVar[type[ViewVectorEnv]] = FleetCohortVectorEnv


def index_feature_docs() -> str:
    """Write the features as text, one line per feature."""
    rows = [f"{f.name:<9} [{f.low:g}, {f.high:g}] {f.doc}" for f in INDEX_FEATURES]
    return "\n        ".join(rows)


for _view in (FleetIndexEnv, FleetCohortEnv):
    if _view.__doc__:  # stripped under python -OO
        _view.__doc__ = _view.__doc__.replace("{common}", _COMMON)
        _view.__doc__ = _view.__doc__.replace("{features}", index_feature_docs())

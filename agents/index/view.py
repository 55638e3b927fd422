"""A view whose action is a tuned index: its parameters, set anew in every step.

What `agents.index.policy.choose` makes of them is relative to the work there is, so that a policy
of this view counts cars as the rule does, and learns when to depart from it. A constant action is a
tuned index.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.index.parameters import PARAMETERS
from agents.index.policy import choose
from fleet_env.types import FloatArray
from fleet_env.views.batch import ViewVectorEnv
from fleet_env.views.index import Candidates

_LOW = np.array([parameter.low for parameter in PARAMETERS])
_HALF = np.array([(parameter.high - parameter.low) / 2 for parameter in PARAMETERS])


def to_parameters(action: FloatArray) -> FloatArray:
    """Stretch numbers of [-1, 1] to the limits of each parameter, shape (..., n)."""
    parameters: FloatArray = _LOW + _HALF * (np.asarray(action, np.float64) + 1)
    return parameters


def to_action(parameters: FloatArray) -> FloatArray:
    """Return the action that means these parameters: the inverse of `to_parameters`."""
    action: FloatArray = (parameters - _LOW) / _HALF - 1
    return action


class TunedIndexVectorEnv(ViewVectorEnv):
    """A batch of fleets, each dispatched by a tuned index that the action sets.

    Action: the parameters of `agents.index.parameters.PARAMETERS`, scaled by `to_action`.
    """

    num_actions = len(PARAMETERS)

    def duty(self, cars: Candidates, action: FloatArray) -> NDArray[np.int8]:
        """Duty bits of the index: `choose`."""
        return choose(cars, to_parameters(action))

"""Which cars take whose chat: pools in turn, the nearest region first (docs/model.md 2.4, 5.1).

Arrays end in (R, num_envs): regions, then rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleet_env.dynamics.routes import Leg
from fleet_env.dynamics.serving_setup import NUM_CLASSES, Pool, ServingSetup
from fleet_env.types import BATCH_70B, FloatArray

NUM_INTERACTIVE = BATCH_70B  # the chat classes come first
TINY = 1e-30  # keeps 0 / 0 at 0


@dataclass
class Part:
    """What one pool does in a step."""

    pool: Pool
    need: FloatArray  # (3, 1, 1) reference cars per request in a sub-step
    capacity: FloatArray  # (R, num_envs) reference cars, summed over the sub-steps; > 0
    spare: FloatArray  # (num_sub, R, num_envs) reference cars that chat leaves to batch work
    started: FloatArray  # (3, R, num_envs) requests started here by class; batch work comes last
    last: FloatArray  # (3, R, num_envs) of them in the last sub-step
    late: FloatArray  # (3, num_envs) requests late by class
    ttft_sum_s: FloatArray  # (num_envs,)
    busy: FloatArray  # (3, R, num_envs) share of the capacity by class; batch work comes last

"""The simulation against the float64 reference, step by step, on random small fleets and random actions.

Every step starts both sides from the simulation's own state, so a difference is one step's, and since all of the state
afterwards is compared, the days are equal by induction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest

from fleet_env.config import EnvConfig
from fleet_env.types import BATCH_70B, CLASSES
from fleet_env.vector_env import FleetVectorEnv
from tests.reference import queueing, sim as reference
from tests.reference.cars import Car, CarState

NUM_FLEETS, NUM_PLAIN = 50, 12

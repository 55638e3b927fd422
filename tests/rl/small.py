"""Names that the tests of learners share; none of it imports torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agents.rl.settings import ALGORITHMS, AgentSettings
from fleet_env import EnvConfig

MakeCard = Callable[..., EnvConfig]  # the fixture `make_card`
MakeAgent = Callable[..., AgentSettings]  # the fixture `make_agent`

# every algorithm with every view through which it can act; cohorts and tuned indices differ from
# the index in size only: one algorithm of theirs is enough in a hurry
PAIRS = [
    pytest.param(
        algorithm, view, marks=[pytest.mark.slow] * (view in ("cohort", "tuned") and i > 0)
    )
    for view, able in ALGORITHMS.items()
    for i, algorithm in enumerate(able)
]

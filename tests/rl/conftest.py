"""Small agents and the fleets they learn from; none of it imports torch."""

from __future__ import annotations

from typing import Any

import pytest

from agents.rl.settings import AgentSettings
from fleet_env import EnvConfig, scenario
from tests.rl.small import MakeAgent, MakeCard

# a day of 24 decisions for fleets of 8
SMALL: dict[str, Any] = {"num_cars": 8, "step_min": 60}
# one update in a second or less
ON_POLICY: dict[str, Any] = {"batch_size": 16, "n_epochs": 2}
OFF_POLICY: dict[str, Any] = {"batch_size": 16, "buffer_size": 256, "learning_starts": 8}
OPTIONS = {
    "ppo": ON_POLICY,
    "maskable_ppo": ON_POLICY,
    "recurrent_ppo": ON_POLICY | {"policy_kwargs": {"lstm_hidden_size": 8}},
    "sac": OFF_POLICY,
    "tqc": OFF_POLICY,
}


@pytest.fixture(scope="session")
def make_card() -> MakeCard:
    """Return the builder of small cards: `make_card(name="suburb", **settings)`."""

    def build(name: str = "suburb", **settings: Any) -> EnvConfig:
        return scenario(name, **(SMALL | settings))

    return build


@pytest.fixture(scope="session")
def make_agent() -> MakeAgent:
    """Return the builder of small agents: `make_agent(algorithm="ppo", view="index", **settings)`.

    Its `options` come on top of those that make an update quick.
    """

    def build(algorithm: str = "ppo", view: str = "index", **settings: Any) -> AgentSettings:
        options = OPTIONS[algorithm] | settings.pop("options", {})
        small = {"num_fleets": 2, "num_cars": 8, "net": [16, 16], "normalize_obs": view != "fleet"}
        chosen = {"name": f"{algorithm}_{view}", "options": options, **small, **settings}
        return AgentSettings(algorithm=algorithm, view=view, **chosen)

    return build

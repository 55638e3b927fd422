"""Random inputs of one step of serving: fleets of one region, of three and of four, all losses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fleet_env.config import DemandConfig, EnvConfig, FleetConfig, ServingConfig
from fleet_env.config_world import RegionConfig
from fleet_env.dynamics.serving import QueueState, ServiceFlows, serve
from fleet_env.dynamics.serving_setup import ServingSetup, serving_setup
from fleet_env.types import FloatArray

J = 15
PLACES = {
    "west": (37.4, -122.0),
    "texas": (30.3, -97.7),
    "germany": (50.1, 8.7),
    "nsw": (-33.9, 151.2),
}
MIX = {"ai4": 0.5, "ai5": 0.3, "claim": 0.2}
JOBS = {"batch_job_min": 60.0, "hedge": True}
# accelerators, batch, regions, settings of serving
FLEETS: dict[str, tuple[dict[str, float], int, tuple[str, ...], dict[str, Any]]] = {
    "suburb": ({"ai5": 1.0}, 32, (), {}),
    "today": ({"ai4": 1.0}, 32, (), {}),
    "mixed": (MIX, 32, (), {}),
    "split": ({"hw3": 0.2, "ai4": 0.2, "ai5": 0.3, "claim": 0.3}, 60, (), {}),
    "three_pools": ({"ai4": 0.3, "ai5": 0.3, "claim": 0.4}, 150, (), {}),
    "jobs": ({"ai5": 1.0}, 32, (), JOBS),
    "saved": (MIX, 32, (), {**JOBS, "batch_loss": "checkpoint", "chat_loss": "checkpoint"}),
    "handed_over": ({"ai5": 1.0}, 32, (), {"batch_loss": "resume", "chat_loss": "resume"}),
    "world": ({"ai5": 1.0}, 32, tuple(PLACES), {}),
    "tight_world": (MIX, 32, tuple(PLACES), {"ttft_slo_s": 0.5, **JOBS}),
    "world_of_three_pools": (
        {"ai4": 0.3, "ai5": 0.3, "claim": 0.4},
        150,
        ("germany", "west", "nsw"),
        {"ttft_slo_s": 0.8},
    ),
}


def _config(name: str) -> EnvConfig:
    shares, slots, places, serving = FLEETS[name]
    demand = DemandConfig(chat_70b_share=0.4)
    if name == "today":  # holds the 8B only; still asked for everything below
        demand = replace(demand, load=0.0)
    return EnvConfig(
        fleet=FleetConfig(accelerators=shares),
        serving=ServingConfig(batch_slots=slots, tpot_slo_s=1.0, **serving),
        demand=demand,
        regions={
            place: RegionConfig(latitude_deg=PLACES[place][0], longitude_deg=PLACES[place][1])
            for place in places
        },
    )


CONFIGS = {name: _config(name) for name in FLEETS}
SETUPS = {name: serving_setup(CONFIGS[name], list(FLEETS[name][0])) for name in FLEETS}


@dataclass(frozen=True, repr=False)
class Case:
    """Inputs of one step."""

    config: EnvConfig
    setup: ServingSetup
    cars: FloatArray
    chat: FloatArray
    queue: QueueState
    batch_new: FloatArray
    lost_cars: FloatArray
    off_share: FloatArray

    def run(self) -> tuple[ServiceFlows, QueueState]:
        queue = QueueState(self.queue.batch_due.copy(), self.queue.running.copy())
        flows = serve(
            self.setup,
            self.cars,
            self.chat,
            queue.batch_due,
            self.batch_new,
            queue.running,
            self.lost_cars,
            self.off_share,
        )
        return flows, queue


@dataclass(frozen=True)
class Spec:
    """What hypothesis draws of a case; the numbers inside come from a generator with this seed."""

    name: str
    seed: int
    num_envs: int
    fleet: float
    load: float
    batch_load: float


SPECS = st.builds(
    Spec,
    st.sampled_from(sorted(SETUPS)),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([0.0, 0.3, 2.0, 50.0, 1e4, 1e8]),
    st.sampled_from([0.0, 0.1, 0.9, 1.1, 10.0]),
    st.sampled_from([0.0, 0.3, 1.0, 10.0]),
)


def random_case(spec: Spec) -> Case:
    """Draw the numbers of a case."""
    setup, rng = SETUPS[spec.name], np.random.default_rng(spec.seed)
    num_envs, fleet, load, batch_load = spec.num_envs, spec.fleet, spec.load, spec.batch_load
    areas, groups = (num_envs, setup.num_regions), setup.num_groups
    present = rng.random((*areas, groups, 1)) < 0.8
    cars = fleet * rng.uniform(0.0, 1.0, (*areas, groups, J)) * present
    rate_min = 60.0 * max(fleet, 1.0) * np.maximum(setup.rate.max(axis=0), 1.0)
    chat = load * rate_min[:2, None] * rng.uniform(0.0, 1.0, (*areas, 2, J))
    chat *= rng.choice([0.1, 1.0, 3.0], (*areas, 1, 1)) if setup.num_regions > 1 else 1.0
    due = batch_load * J * rate_min[2] * rng.uniform(0.0, 0.1, (num_envs, setup.max_due + 1))
    due *= rng.random(due.shape) < 0.5
    running = 32.0 * fleet * rng.uniform(0.0, 1.0, (num_envs, 3))
    new = batch_load * J * rate_min[2] * rng.uniform(0.0, 0.3, (num_envs, len(setup.due_steps)))
    lost = rng.uniform(0.0, 0.2, (*areas, groups)) * fleet
    off_share = rng.uniform(0.0, 1.0, num_envs)
    queue = QueueState(due, running)
    return Case(CONFIGS[spec.name], setup, cars, chat, queue, new, lost, off_share)

"""Requests alone: the kernel against the reference on random teams, in random regions and modes.

The days of `test_reference` have few cars; here any number of pools is crowded at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from fleet_env.config import EnvConfig
from fleet_env.dynamics.serving import ServiceFlows, serve
from fleet_env.dynamics.serving_setup import ServingSetup, serving_setup
from fleet_env.types import CLASSES, FloatArray
from tests.reference import areas, queueing
from tests.reference.cards import draw_config
from tests.reference.pools import Member

NUM_TEAMS = 40
# shares of a class's requests: waiting and its limits are read from tables (docs/model.md 2.4)
SHARE, ATOL = 3e-4, 1e-6
FLOWS = ("arrived", "dispatched", "on_time", "late", "lost", "diverted", "expired")


@dataclass(frozen=True)
class Case:
    """What reaches the queue in a step."""

    config: EnvConfig
    setup: ServingSetup
    team: list[Member]
    chat: FloatArray  # (1, regions, 2, minutes)
    batch: FloatArray  # (1, deadlines)
    due: FloatArray  # (1, steps until due)
    running: FloatArray  # (1, 3)
    serving: float  # cars that could hold batch work and served before


def draw_case(number: int) -> Case:
    """Draw cars that come and go, and requests from none to far too many."""
    config, rng = draw_config(number), np.random.default_rng([11, number])
    setup = serving_setup(config, list(config.fleet.accelerators))
    minutes, regions = config.step_min, len(areas.region_shares(config))
    rates = rng.choice([1.0, 30.0, 300.0, 2000.0], (1, regions, 2, 1))
    chat = rng.poisson(np.repeat(rates, minutes, axis=3)).astype(np.float64)
    batch = rng.uniform(0.0, 3000.0, (1, len(config.demand.batch_deadline_shares)))
    due = rng.uniform(0.0, 100.0, (1, setup.max_due + 1)) * (rng.random() < 0.5)
    running = rng.uniform(0.0, 200.0, (1, len(CLASSES)))
    if config.demand.batch_share == 0.0:  # nobody asks for 70B
        for nothing in (chat[:, :, 1], batch, due, running):
            nothing[:] = 0.0
    team = [_draw_member(config, i, rng) for i in range(config.num_cars)]
    return Case(config, setup, team, chat, batch, due, running, float(rng.uniform(1.0, 9.0)))


def _draw_member(config: EnvConfig, car: int, rng: np.random.Generator) -> Member:
    begin, end = sorted(rng.uniform(0.0, config.step_min, 2).tolist())
    return Member(
        chip=str(rng.choice(list(config.fleet.accelerators))),
        serve_from=begin if rng.random() < 0.6 else 0.0,
        serve_until=end if rng.random() < 0.6 else float(config.step_min),
        speed=float(rng.choice([1.0, 0.7])),
        cut=bool(rng.random() < 0.3),
        stopped=bool(rng.random() < 0.2),
        region=areas.region_of(config, car),
    )


def play_kernel(case: Case) -> tuple[ServiceFlows, FloatArray, FloatArray]:
    """Serve the case by the kernel; return flows, queue and what is in flight."""
    names, minutes = list(case.config.fleet.accelerators), case.config.step_min
    accelerators = list(case.setup.group_accelerator)
    shape = 1, case.chat.shape[1], case.setup.num_groups
    cars, gone, stopped = np.zeros((*shape, minutes)), np.zeros(shape), 0.0
    for member in case.team:
        at = 0, member.region, accelerators.index(names.index(member.chip))
        cars[at] += [member.minutes_in(j) for j in range(minutes)]
        gone[at] += member.speed * member.cut
        holds = queueing.holds_batch(member.chip, case.config)
        stopped += member.speed * member.stopped * holds
    due, running, off = case.due.copy(), case.running.copy(), min(1.0, stopped / case.serving)
    flows = serve(case.setup, cars, case.chat, due, case.batch, running, gone, np.array([off]))
    return flows, due[0], running[0]


@pytest.mark.parametrize("number", range(NUM_TEAMS))
def test_requests_go_where_the_reference_sends_them(number: int) -> None:
    case = draw_case(number)
    people = tuple(tuple(map(tuple, region)) for region in case.chat[0].tolist())
    queues = queueing.Queues(case.due[0].tolist(), case.running[0].tolist(), case.serving)
    demand = queueing.Demand(people, tuple(case.batch[0].tolist()))
    mine = queueing.play(case.config, case.team, queues, demand)
    flows, due, running = play_kernel(case)
    volume = case.running[0].copy()
    volume += [*case.chat[0].sum(axis=(0, 2)), case.batch.sum() + case.due.sum()]
    within = ATOL + SHARE * volume
    for name in FLOWS:
        assert (np.abs(getattr(flows, name)[0] - getattr(mine, name)) <= within).all(), name
    assert (np.abs(running - queues.running) <= within).all()
    assert (np.abs(due - queues.batch_due) <= within[-1]).all()
    names = list(case.config.fleet.accelerators)
    for region, util in enumerate(flows.util[0]):
        its = [mine.util[region, names[a]] for a in case.setup.group_accelerator]
        np.testing.assert_allclose(util, its, atol=6e-4)

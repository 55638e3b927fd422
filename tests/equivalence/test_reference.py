"""The simulation against the float64 reference: random small fleets, random actions, every step.

Both sides start every step from the simulation's state, so a difference is one step's; and since
all of the state afterwards is compared, whole days are equal by induction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fleet_env.config import EnvConfig, FleetConfig, ServingConfig
from fleet_env.vector_env import FleetVectorEnv
from tests.reference import datacentre, physics, queueing
from tests.reference.cards import draw_config, draw_plain
from tests.reference.compare import (
    Gaps,
    Outside,
    Step,
    compare_cars,
    compare_money_and_counts,
    compare_requests,
)
from tests.reference.side_by_side import (
    Fate,
    Recorder,
    draw_actions,
    read_cars,
    read_states,
    read_weather,
)
from tests.reference.sim import Row, play_step

# 28: a fleet that meets call-backs by the owner in a tail and while waking
NUM_FLEETS, OFTEN = 50, (0, 28)


def play_day(number: int, monkeypatch: pytest.MonkeyPatch, config: EnvConfig) -> Gaps:
    """Play one fleet through its day on both sides."""
    gaps, env = Gaps(), FleetVectorEnv(config=config)
    env.reset(seed=number)  # departures before the episode are not of interest
    ear = Recorder(monkeypatch, config.num_cars)
    cars, actions = read_cars(env), draw_actions(config, number)
    row = Row(config, cars, read_states(env), queueing.Queues([], []))
    fate, serving, chat_usd = Fate(env, cars), 0.0, 0.0
    outsides = [Outside(region) for region in range(len(read_weather(env)))]
    for k in range(config.num_steps):
        gaps.where = f"fleet {number} step {k}"
        for outside in outsides:
            outside.compare(gaps, env, fate.events)
        row.states, before = read_states(env), read_states(env)
        waiting, running = env.sim.queue.batch_due[0].tolist(), env.sim.queue.running[0].tolist()
        row.queues = queueing.Queues(waiting, running, serving)
        volume = [*running[:2], running[2] + sum(waiting)]
        given = fate.given(k, read_weather(env), row.recalled)
        mask, wanted = env.sim.mask.copy(), next(actions)
        info = env.play(wanted)[3]
        tape, bits = ear.tape(env, before), [bool(bit) for bit in wanted[0]]
        given = replace(given, demand=ear.demand())
        out = play_step(row, given, bits, tape, k)
        serving = row.queues.serving
        assert out.service is not None
        volume = [a + b for a, b in zip(volume, out.service.arrived, strict=True)]
        step = Step(env, info, out, row, volume)
        chat_usd = max(chat_usd, compare_requests(gaps, step))
        compare_money_and_counts(gaps, step, 2e-5 + 2.0 * given.charge_h * chat_usd / config.dt_h)
        compare_cars(gaps, step, mask)
    return gaps


FLEETS = [
    number if number in OFTEN else pytest.param(number, marks=pytest.mark.slow)
    for number in range(NUM_FLEETS)
]


@pytest.mark.parametrize("draw", [draw_plain, draw_config])
@pytest.mark.parametrize("number", FLEETS)
def test_every_step_of_a_day_is_the_reference_step(
    number: int, draw: Callable[[int], EnvConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps = play_day(number, monkeypatch, draw(number))
    assert not gaps.worst, gaps.report()


@pytest.mark.parametrize("tail_min", [5.0, 12.0])
def test_toggling_cars_that_download_is_the_reference_step(
    tail_min: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tail longer than a step, a waking car is on duty again before it slept."""
    fleet = FleetConfig(
        paid_habits=True,
        home_charger_share=1.0,
        home_link_share=1.0,
        weights_missing_share=1.0,
        override_per_month=20.0,
    )
    serving = ServingConfig(tail_min=tail_min)
    gaps = play_day(3, monkeypatch, EnvConfig(num_cars=6, step_min=5, fleet=fleet, serving=serving))
    assert not gaps.worst, gaps.report()


@pytest.mark.parametrize("tariff", ["day_ahead", "sce_tou_ev_8_2019"])
@pytest.mark.parametrize("always_on", [False, True])
def test_owed_charge_is_worth_in_the_end_what_is_still_owed(
    tariff: str, *, always_on: bool
) -> None:
    """In USD over three days: what is booked for gaps that grow and close is their sum at the end.

    Prices differ from day to day, so a reference that moved would leave money behind.
    """
    env = FleetVectorEnv(
        num_envs=3, num_cars=40, days=3, step_min=30, energy={"tariff": tariff, "source": "pack"}
    )
    env.reset(seed=5)
    exo, world, rng = env.sim.exo, env.sim.world, np.random.default_rng(1)
    booked, owed_kwh = np.zeros(3), np.zeros(3)
    for k in range(env.config.num_steps):
        bits = np.ones((3, 40)) if always_on else rng.random((3, 40)) < 0.5
        info = env.play(bits.astype(np.int8))[3]
        booked -= info["reward/energy"]
        booked -= exo.price_usd_per_kwh[:, k].astype(float) * info["metric/metered_kwh"]
        owed_kwh += np.abs(info["metric/wall_kwh"] - info["metric/metered_kwh"])
    gap_kwh = world.state.gap.astype(float) * world.params.pack_kwh / world.derived.eta_nominal
    left_kwh = gap_kwh.reshape(3, 40).sum(axis=1)
    ref_usd = exo.ref_price_usd_per_kwh.astype(float)
    assert (owed_kwh > 2.0 * np.abs(left_kwh)).all()  # much was owed and paid back meanwhile
    assert (np.ptp(ref_usd, axis=1) == 0.0).all()
    np.testing.assert_allclose(booked, ref_usd[:, 0] * left_kwh, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("step_min", [15, 60])
def test_a_peak_costs_what_the_capital_of_the_training_days_does(step_min: int) -> None:
    """Every training day of the trace from noon on, its last one wrapping to the first."""
    centre = {"dc_cost": "peak"}
    env = FleetVectorEnv(num_cars=10, step_min=step_min, datacentre=centre)
    env.reset(seed=0)
    config, trace, level = env.config, env.sim.exo.traces[0], env.sim.service.requests_per_min
    usd = [float(level[c]) * datacentre.average_usd(config, c) for c in datacentre.CHATS]
    part = trace.split_day * 1440
    per_min = (usd @ trace.rate[:2, :part].astype(float)).tolist()
    days = []
    for noon in range(720, part, 1440):
        minutes = [per_min[(noon + m) % part] for m in range(1440)]
        days.append([sum(minutes[k : k + step_min]) for k in range(0, 1440, step_min)])
    charge_h = datacentre.charge_h(config, datacentre.peak_to_mean(days, config.dt_h))
    assert env.sim.ledger.capacity.charge_h == pytest.approx(charge_h, rel=1e-6)


def test_the_comparison_notices_a_wrong_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of the test: with a pack 1 % slower on one side, the sides part."""
    lag = physics.lag
    monkeypatch.setattr(
        physics, "lag", lambda now, to, dt_h, tau_h: lag(now, to, dt_h, 1.01 * tau_h)
    )
    assert "excess_k" in play_day(1, monkeypatch, draw_plain(1)).worst

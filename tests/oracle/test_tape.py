"""The tape: what a run with cars on duty shows, too, and no action changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.oracle.tape import Tape, record
from fleet_env.sim import FleetSim
from fleet_env.types import BATCH_70B, DRIVING, EVSE_NONE
from fleet_env.units import MBIT_PER_GB, S_PER_H
from fleet_env.world import ALLOWED
from tests.oracle.plays import small

SEEDS = [3, 4]


def _played(card: str, share: float, num_cars: int) -> dict[str, list[Any]]:
    """What a simulation shows of the second row while a share of all cars is on duty."""
    config, rng = small(card, num_cars), np.random.default_rng(5)
    sim = FleetSim(config, len(SEEDS), "test")
    sim.reset(np.array(SEEDS))
    row = slice(num_cars, 2 * num_cars)
    seen: dict[str, list[Any]] = {name: [] for name in ("allowed", "twin", "chat", "batch", "left")}
    for _ in range(config.num_steps):
        state, derived = sim.world.state, sim.world.derived
        seen["allowed"].append((derived.reason[row] == ALLOWED) & ~state.left[row])
        seen["twin"].append(sim.world.twin_soc(row, sim.t_h))
        leaves = (state.place[row] != DRIVING) & (state.event_h[row] < sim.t_h + config.dt_h)
        seen["left"].append(np.flatnonzero(leaves))
        sim.step(rng.random(len(SEEDS) * num_cars) < share)
        seen["chat"].append(sim.flows.arrived[1, :BATCH_70B].copy())
        seen["batch"].append(sim.flows.arrived[1, BATCH_70B])
    return seen


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("card", ["suburb", "storm"])
def test_no_action_changes_what_the_tape_says(card: str, share: float) -> None:
    num_cars = 30
    tape = record(small(card, num_cars), "test", SEEDS)[1]
    seen, v, d = _played(card, share, num_cars), tape.visits, tape.departures
    allowed = np.zeros((tape.config.num_steps, num_cars), np.bool_)
    allowed[v.step, v.car] = True
    shown = np.array(seen["allowed"])
    assert not (shown & ~allowed).any()  # cars can only be taken away
    twin = np.array(seen["twin"])[v.step, v.car]
    np.testing.assert_array_equal(twin, v.twin_soc)
    np.testing.assert_array_equal(np.array(seen["chat"]), tape.chat)
    np.testing.assert_allclose(np.array(seen["batch"]), tape.batch.sum(axis=1), rtol=1e-12)
    for step, cars in enumerate(seen["left"]):
        np.testing.assert_array_equal(np.sort(d.car[d.step == step]), cars)
    # where nobody drops out and nothing has to be fetched the stays are the same
    fetching = np.isin(v.car, tape.downloads.car)
    if share == 0.0:
        assert shown[v.step, v.car][~fetching].all()


def _tape(card: str, num_cars: int, **overrides: Any) -> Tape:
    return record(small(card, num_cars, **overrides), "test", [SEEDS[1]])[0]


def test_a_row_of_a_batch_is_the_row_alone() -> None:
    config = small("gauntlet", 20)
    alone = record(config, "test", [SEEDS[1]])[0]
    beside = record(config, "test", SEEDS)[1]
    for name in ("car", "step", "may", "on_h", "need_kwh", "twin_soc"):
        np.testing.assert_array_equal(getattr(alone.visits, name), getattr(beside.visits, name))
    np.testing.assert_array_equal(alone.departures.dear_usd, beside.departures.dear_usd)
    np.testing.assert_array_equal(alone.chat, beside.chat)
    assert alone.headroom_kwh is not None
    assert beside.headroom_kwh is not None
    np.testing.assert_array_equal(alone.headroom_kwh, beside.headroom_kwh)


def test_visits_lie_within_their_stays() -> None:
    tape = _tape("suburb", 40)
    v, dt_h = tape.visits, tape.config.dt_h
    assert (np.diff(v.car) >= 0).all()
    same = np.diff(v.car) == 0
    assert (np.diff(v.step)[same] > 0).all()
    assert (v.on_h <= v.here_h).all()
    assert (v.here_h <= np.float32(dt_h)).all()
    assert (v.full == (v.on_h >= np.float32(dt_h))).all()
    assert (v.evse != EVSE_NONE).all()  # owners of the suburb allow nothing unplugged
    assert (~v.may | v.may_if_charged).all()
    assert (v.need_kwh >= 0).all()


def test_what_twins_charge_is_that_of_their_visits_at_least() -> None:
    tape = _tape("suburb", 40)
    v, d = tape.visits, tape.departures
    for car in range(40):
        steps, charged = d.step[d.car == car], d.charged_kwh[d.car == car]
        assert (np.diff(charged) >= 0).all()
        for step, kwh in zip(steps, charged, strict=True):
            seen = v.need_kwh[(v.car == car) & (v.step <= step)].sum()
            assert kwh >= seen - 1e-3
        # 0.60 - 0.3958 USD/kWh is the dearest of the tariff beyond its mean
        own = d.dear_usd[d.car == car]
        assert (own <= charged * (0.60 - 0.3958) / 0.87 + 1e-3).all()
        assert (own >= 0).all()


def test_a_release_has_every_car_fetch_its_weights_again() -> None:
    tape = _tape("release", 40)
    down, sim = tape.downloads, tape.sim
    at_18h = down.step == round(6.0 / tape.config.dt_h)
    np.testing.assert_array_equal(np.sort(down.car[at_18h]), np.arange(40))
    gb = sim.setup.flash_gb[0]
    mbps = sim.world.params.down_mbps[down.car[at_18h]]
    expected_h = gb * MBIT_PER_GB / mbps / S_PER_H
    np.testing.assert_allclose(down.hours[at_18h], expected_h, rtol=1e-5)
    plain = _tape("suburb", 40)  # where all else is the same
    assert set(zip(plain.visits.car, plain.visits.step, strict=True)) == set(
        zip(tape.visits.car, tape.visits.step, strict=True)
    )

"""One step of serving on random inputs: conservation, no idle car, a minute-by-minute reference."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_env.config import DemandConfig, EnvConfig, FleetConfig, ServingConfig
from fleet_env.dynamics.queueing import wait_tail
from fleet_env.dynamics.serving import QueueState, ServiceFlows, serve
from fleet_env.dynamics.serving_setup import ServingSetup, serving_setup
from fleet_env.types import BATCH_70B, FloatArray

J = 15
FLEETS = {
    "suburb": ({"ai5": 1.0}, 32),
    "today": ({"ai4": 1.0}, 32),
    "mixed": ({"ai4": 0.5, "ai5": 0.3, "claim": 0.2}, 32),
    "split": ({"hw3": 0.2, "ai4": 0.2, "ai5": 0.3, "claim": 0.3}, 60),
    "three_pools": ({"ai4": 0.3, "ai5": 0.3, "claim": 0.4}, 150),
}


def _setup(name: str) -> ServingSetup:
    shares, slots = FLEETS[name]
    serving = ServingConfig(batch_slots=slots, tpot_slo_s=1.0)
    config = EnvConfig(
        fleet=FleetConfig(accelerators=shares),
        serving=serving,
        demand=DemandConfig(chat_70b_share=0.4),
    )
    return serving_setup(config, list(shares))


SETUPS = {name: _setup(name) for name in FLEETS}


@dataclass(frozen=True, repr=False)
class Case:
    """Inputs of one step."""

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


def _case(spec: Spec) -> Case:
    setup, rng = SETUPS[spec.name], np.random.default_rng(spec.seed)
    num_envs, fleet, load, batch_load = spec.num_envs, spec.fleet, spec.load, spec.batch_load
    present = rng.random((num_envs, setup.num_groups, 1)) < 0.8
    cars = fleet * rng.uniform(0.0, 1.0, (num_envs, setup.num_groups, J)) * present
    rate_min = 60.0 * max(fleet, 1.0) * np.maximum(setup.rate.max(axis=0), 1.0)
    chat = load * rate_min[:2, None] * rng.uniform(0.0, 1.0, (num_envs, 2, J))
    due = batch_load * J * rate_min[2] * rng.uniform(0.0, 0.1, (num_envs, setup.max_due + 1))
    due *= rng.random(due.shape) < 0.5
    running = 32.0 * fleet * rng.uniform(0.0, 1.0, (num_envs, 3))
    new = batch_load * J * rate_min[2] * rng.uniform(0.0, 0.3, (num_envs, len(setup.due_steps)))
    lost = rng.uniform(0.0, 0.2, (num_envs, setup.num_groups)) * fleet
    return Case(
        setup, cars, chat, QueueState(due, running), new, lost, rng.uniform(0.0, 1.0, num_envs)
    )


@settings(derandomize=True, deadline=None, max_examples=200)
@given(SPECS)
def test_every_request_is_accounted_for(spec: Spec) -> None:
    case = _case(spec)
    flows, after = case.run()
    before = flows.arrived + case.queue.running
    before[:, BATCH_70B] += case.queue.batch_due.sum(axis=1)
    out = flows.on_time + flows.late + flows.lost + flows.diverted + flows.expired + after.running
    out[:, BATCH_70B] += after.batch_due.sum(axis=1)
    assert np.allclose(before, out, rtol=1e-9, atol=0.0)
    assert flows.arrived[:, :2] == pytest.approx(case.chat.sum(axis=2))
    assert flows.arrived[:, 2] == pytest.approx(case.batch_new.sum(axis=1))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(SPECS)
def test_flows_are_finite_not_negative_and_of_their_kind(spec: Spec) -> None:
    case = _case(spec)
    flows, after = case.run()
    for name, array in {**vars(flows), **vars(after)}.items():
        assert np.isfinite(array).all(), name
        assert (array >= -1e-9 * max(1.0, np.abs(array).max())).all(), name
    assert (flows.util <= 1.0).all()
    assert not flows.late[:, 2].any()
    assert not flows.lost[:, 2].any()
    assert not flows.diverted[:, 2].any()
    assert not flows.expired[:, :2].any()
    # 1 % by admission; the table is coarse where 1e9 slots run at a load of 1 - 1e-8 with a slack
    # of 0.02 service times
    assert (flows.late[:, :2] <= 0.04 * flows.dispatched[:, :2] + 1e-12).all()


@settings(derandomize=True, deadline=None, max_examples=150)
@given(SPECS)
def test_work_is_conserved_and_no_car_idles_beside_waiting_work(spec: Spec) -> None:
    case = _case(spec)
    flows, after = case.run()
    setup = case.setup
    car_s = 60.0 * case.cars.sum(axis=2)
    for pool in setup.pools:
        assert np.ptp(flows.util[:, pool.groups], axis=1) == pytest.approx(0.0)
    # what is dispatched fits the busy time: exact where one pool serves each class at one rate
    if setup.num_groups == 1:
        served = setup.rate[0] > 0.0
        work = (flows.dispatched[:, served] / setup.rate[0, served]).sum(axis=1)
        assert work == pytest.approx(flows.util[:, 0] * car_s[:, 0], rel=1e-9, abs=1e-12)
    # with the backlog there from the start, batch work that is left at the end means full pools
    case = replace(
        case, batch_new=np.zeros_like(case.batch_new), lost_cars=np.zeros_like(case.lost_cars)
    )
    flows, after = case.run()
    left = after.batch_due.sum(axis=1) + flows.expired[:, BATCH_70B]
    total = case.queue.batch_due.sum(axis=1) + flows.requeued
    hosts = [g for g in range(setup.num_groups) if setup.rate[g, BATCH_70B] > 0.0]
    for g in hosts:
        waits = (left > 1e-9 * (total + 1.0)) & (car_s[:, g] > 0.0)
        assert flows.util[waits, g] == pytest.approx(1.0, abs=1e-9)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(SPECS)
def test_kernel_equals_a_minute_by_minute_reference(spec: Spec) -> None:
    case = _case(spec)
    flows, after = case.run()
    for row in range(len(case.cars)):
        want = _reference_row(case, row)
        tiny = 1e-6 + 1e-12 * (case.queue.batch_due[row].sum() + want["dispatched"].sum())
        assert flows.dispatched[row] == pytest.approx(want["dispatched"], rel=1e-8, abs=tiny)
        assert flows.lost[row] == pytest.approx(want["lost"], rel=1e-8, abs=tiny)
        assert after.running[row] == pytest.approx(want["running"], rel=1e-7, abs=tiny)
        assert after.batch_due[row] == pytest.approx(want["batch_due"], rel=1e-7, abs=tiny)
        assert flows.on_time[row] + flows.late[row] == pytest.approx(
            want["completed"], rel=1e-7, abs=tiny
        )
        assert flows.late[row] == pytest.approx(
            want["late"], rel=0.05, abs=3e-4 * (1.0 + flows.dispatched[row].sum())
        )


def _reference_row(case: Case, row: int) -> dict[str, FloatArray]:
    """Model.md 2.4 for one row in plain loops; only the admission limit comes from the tables."""
    setup, slots = case.setup, case.setup.batch_slots
    due = case.queue.batch_due[row].copy()
    running = case.queue.running[row].copy()
    back = case.off_share[row] * running[2]
    running[2] -= back
    due[1] += back
    new = case.batch_new[row]
    served, late, last = np.zeros(3), np.zeros(3), np.zeros(3)
    busy = np.zeros((len(setup.pools), 3))  # reference-car minutes
    capacity = np.zeros((len(setup.pools), J))
    room = np.zeros((len(setup.pools), J))
    for j in range(J):
        rest = case.chat[row, :, j].copy()
        for p, pool in enumerate(setup.pools):
            c = sum(v * case.cars[row, g, j] for g, v in zip(pool.groups, pool.speed, strict=True))
            capacity[p, j] = c
            kinds = [k for k in (0, 1) if setup.rate[pool.groups[0], k] > 0.0]
            need = {k: 1.0 / (60.0 * setup.rate[pool.groups[0], k]) for k in kinds}
            work = sum(rest[k] * need[k] for k in kinds)
            limit = 0.0
            if c > 0.0:
                limit = c * pool.table.rho_max(pool.table.locate(np.array([c * slots])))[0]
            share = min(1.0, limit / work) if work > 0.0 else 0.0
            tail = (
                float(wait_tail(c * slots, share * work * slots, pool.table.slack))
                if c > 0.0
                else 0.0
            )
            for k in kinds:
                served[k] += rest[k] * share
                late[k] += rest[k] * share * tail
                busy[p, k] += rest[k] * share * need[k]
                last[k] += rest[k] * share * need[k] * slots if j == J - 1 else 0.0
                rest[k] -= rest[k] * share
            batch_rate = 60.0 * setup.rate[pool.groups[0], 2]
            room[p, j] = (c - share * work) * batch_rate
    backlog, batch_last = due.sum(), 0.0
    for j in range(J):
        backlog += new.sum() / J
        batch_last = min(backlog, room[:, j].sum())
        served[2] += batch_last
        backlog -= batch_last
    for p, pool in enumerate(setup.pools):
        part = room[p].sum() / room.sum() if room.sum() > 0.0 else 0.0
        rate = 60.0 * setup.rate[pool.groups[0], 2]
        if rate > 0.0:
            busy[p, 2] = part * served[2] / rate
            last[2] += part * batch_last / rate * slots
    for k, d in enumerate(setup.due_steps):
        due[d] += new[k]
    to_take = served[2]
    for d in range(len(due)):
        taken = min(due[d], to_take)
        due[d] -= taken
        to_take -= taken
    lost = np.zeros(3)
    for p, pool in enumerate(setup.pools):
        if capacity[p].sum() > 0.0:
            gone = sum(case.lost_cars[row, g] for g in pool.groups)
            lost += gone * slots * busy[p] / capacity[p].sum()
    lost = np.minimum(lost, running + served)
    after = np.minimum(last, running + served - lost)
    completed = running + served - lost - after
    shifted = np.append(due[1:], 0.0)
    shifted[0] += lost[2]
    lost[2] = 0.0
    return {
        "dispatched": served,
        "lost": lost,
        "running": after,
        "batch_due": shifted,
        "completed": completed,
        "late": np.minimum(late, completed),
    }

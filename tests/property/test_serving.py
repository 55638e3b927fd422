"""One step of serving on random inputs: conservation, no idle car, a minute-by-minute reference.

Fleets of one region, of three and of four, and all modes of what is lost with a car.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_env.dynamics.queueing import build_wait_table, wait_tail
from fleet_env.dynamics.serving_setup import serving_setup
from fleet_env.regions import round_trips_s
from fleet_env.types import BATCH_70B, FloatArray
from tests.property.serving_cases import FLEETS, PLACES, SPECS, Case, J, Spec, random_case


@settings(derandomize=True, deadline=None, max_examples=200)
@given(SPECS)
def test_every_request_is_accounted_for(spec: Spec) -> None:
    case = random_case(spec)
    flows, after = case.run()
    before = flows.arrived + case.queue.running
    before[:, BATCH_70B] += case.queue.batch_due.sum(axis=1)
    out = flows.on_time + flows.late + flows.lost + flows.diverted + flows.expired + after.running
    out[:, BATCH_70B] += after.batch_due.sum(axis=1)
    assert np.allclose(before, out, rtol=1e-9, atol=0.0)
    assert flows.arrived[:, :2] == pytest.approx(case.chat.sum(axis=(1, 3)))
    assert flows.arrived[:, 2] == pytest.approx(case.batch_new.sum(axis=1))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(SPECS)
def test_flows_are_finite_not_negative_and_of_their_kind(spec: Spec) -> None:
    case = random_case(spec)
    flows, after = case.run()
    for name, array in {**vars(flows), **vars(after)}.items():
        assert np.isfinite(array).all(), name
        assert (array >= -1e-9 * max(1.0, np.abs(array).max())).all(), name
    assert (flows.util <= 1.0).all()
    assert not flows.late[:, 2].any()
    assert not flows.lost[:, 2].any()
    assert not flows.diverted[:, 2].any()
    assert not flows.expired[:, :2].any()
    # 1 % by admission; the table is coarse from 65,536 slots on, where a slack of some thousandths
    # of a service time (70B at batch 150, far regions) meets a load of 1 - 1e-8
    most = 0.012 if spec.fleet < 1e3 else 0.04 if case.setup.num_regions == 1 else 0.15
    assert (flows.late[:, :2] <= most * flows.dispatched[:, :2] + 1e-12).all()


@settings(derandomize=True, deadline=None, max_examples=150)
@given(SPECS)
def test_work_is_conserved_and_no_car_idles_beside_waiting_work(spec: Spec) -> None:
    case = random_case(spec)
    flows, after = case.run()
    setup = case.setup
    car_s = 60.0 * case.cars.sum(axis=3)
    for pool in setup.pools:
        assert np.ptp(flows.util[:, :, pool.groups], axis=2) == pytest.approx(0.0)
    # what is dispatched fits the busy time: exact where one pool serves each class at one rate
    if setup.num_groups == 1:
        served = setup.rate[0] > 0.0
        need = 60.0 * setup.pools[0].need_min[served, 0]
        work = flows.dispatched[:, served] @ need
        used = (flows.util[:, :, 0] * car_s[:, :, 0]).sum(axis=1)
        assert work == pytest.approx(used, rel=1e-9, abs=1e-12)
    # with the backlog there from the start, batch work that is left at the end means full pools
    case = replace(
        case, batch_new=np.zeros_like(case.batch_new), lost_cars=np.zeros_like(case.lost_cars)
    )
    flows, after = case.run()
    left = after.batch_due.sum(axis=1) + flows.expired[:, BATCH_70B]
    total = case.queue.batch_due.sum(axis=1) + flows.requeued
    hosts = [g for g in range(setup.num_groups) if setup.rate[g, BATCH_70B] > 0.0]
    for g in hosts:
        waits = (left > 1e-9 * (total + 1.0))[:, None] & (car_s[:, :, g] > 0.0)
        assert flows.util[:, :, g][waits] == pytest.approx(1.0, abs=1e-9)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(SPECS)
def test_kernel_equals_a_minute_by_minute_reference(spec: Spec) -> None:
    case = random_case(spec)
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


@settings(derandomize=True, deadline=None, max_examples=60)
@given(SPECS, st.permutations(range(len(PLACES))))
def test_the_order_of_the_regions_does_not_matter(spec: Spec, order: list[int]) -> None:
    case = random_case(replace(spec, name="tight_world"))
    names = [tuple(PLACES)[i] for i in order]
    config = replace(case.config, regions={name: case.config.regions[name] for name in names})
    swapped = replace(
        case,
        setup=serving_setup(config, list(FLEETS["tight_world"][0])),
        cars=case.cars[:, order],
        chat=case.chat[:, order],
        lost_cars=case.lost_cars[:, order],
    )
    flows, after = case.run()
    other, after_other = swapped.run()
    scale = 1e-9 * (1.0 + flows.arrived.sum() + case.queue.running.sum())
    for name, array in {**vars(flows), **vars(after)}.items():
        want = array[:, order] if name == "util" else array
        got = {**vars(other), **vars(after_other)}[name]
        assert got == pytest.approx(want, rel=1e-8, abs=scale), name


_table = cache(build_wait_table)


def _rounds(
    case: Case, groups: tuple[int, ...], kinds: list[int]
) -> tuple[list[list[tuple[int, int, int]]], float]:
    """Who asks whom: (people, cars, class) of each round, and the tightest slack of them all."""
    trips_s = round_trips_s(case.config)
    regions, base_s = range(len(trips_s)), case.config.serving.rtt_s
    rounds: list[list[tuple[int, int, int]]] = [[] for _ in regions]
    slacks_s = []
    for people, k in itertools.product(regions, kinds):
        home_s = min(case.setup.slack_s[g, k] for g in groups)
        order = sorted(regions, key=lambda d: (d != people, trips_s[people, d], d))
        for i, cars in enumerate(order):
            left_s = home_s - trips_s[people, cars] + base_s
            if left_s >= 0.5 * home_s:
                rounds[i].append((people, cars, k))
                slacks_s.append(left_s)
    return rounds, min(slacks_s)


def _reference_row(case: Case, row: int) -> dict[str, FloatArray]:
    """Model.md 2.4, 5.1 and 5.7 for one row in plain loops; the tables give the admission limit."""
    setup, serving = case.setup, case.config.serving
    slots, regions = setup.batch_slots, range(setup.num_regions)
    due = case.queue.batch_due[row].copy()
    running = case.queue.running[row].copy()
    back = case.off_share[row] * running[2] * setup.back_share
    running[2] -= back
    due[1] += back
    new = case.batch_new[row]
    served, late, last = np.zeros(3), np.zeros(3), np.zeros(3)
    desks = [(p, r) for p in range(len(setup.pools)) for r in regions]
    busy = {desk: np.zeros(3) for desk in desks}  # reference-car minutes
    capacity = {desk: np.zeros(J) for desk in desks}
    room = {desk: np.zeros(J) for desk in desks}
    held: dict[int, FloatArray] = {}
    rounds, tables = [], []
    for p, pool in enumerate(setup.pools):
        kinds = [k for k in (0, 1) if setup.rate[pool.groups[0], k] > 0.0]
        pairs, slack_s = _rounds(case, pool.groups, kinds)
        rounds.append(pairs)
        tables.append(_table(slack_s / pool.slot_s, serving.slo_quantile))
        held[p] = pool.losses.held[:, 0] * slots * pool.need_min[:, 0]
        for r in regions:
            for g, v in zip(pool.groups, pool.speed, strict=True):
                capacity[p, r] += v * case.cars[row, r, g]
    for j in range(J):
        rest = {(o, k): case.chat[row, o, k, j] for o in regions for k in (0, 1)}
        load: Counter[tuple[int, int]] = Counter()
        admitted = []
        for i in regions:
            for p, pool in enumerate(setup.pools):
                need, table = pool.need_min[:, 0], tables[p]
                for r in regions:
                    c = capacity[p, r][j]
                    offers = {(o, k): rest[o, k] for o, d, k in rounds[p][i] if d == r}
                    work = sum(n * need[k] for (_, k), n in offers.items())
                    if c <= 0.0 or work <= 0.0:
                        continue
                    rho_max = table.rho_max(table.locate(np.array([c * slots])))[0]
                    share = min(1.0, max(0.0, rho_max * c - load[p, r]) / work)
                    load[p, r] += share * work
                    for key, n in offers.items():
                        rest[key] -= share * n
                        admitted.append((p, r, key[1], share * n))
        met = [(capacity[p, r][j], load[p, r], tables[p].slack) for p, r, _, _ in admitted]
        cars, busy_cars, slacks = np.array(met).reshape(-1, 3).T
        tails = wait_tail(cars * slots, busy_cars * slots, slacks)
        for (p, r, k, n), tail in zip(admitted, tails.tolist(), strict=True):
            need = setup.pools[p].need_min[:, 0]
            served[k] += n
            late[k] += n * tail
            busy[p, r][k] += n * need[k]
            last[k] += n * held[p][k] if j == J - 1 else 0.0
        for p, r in desks:
            if (need_batch := setup.pools[p].need_min[2, 0]) > 0.0:
                room[p, r][j] = (capacity[p, r][j] - load[p, r]) / need_batch
    backlog, batch_last = due.sum(), 0.0
    all_room = sum(room.values(), np.zeros(J))
    for j in range(J):
        backlog += new.sum() / J
        batch_last = min(backlog, all_room[j])
        served[2] += batch_last
        backlog -= batch_last
    for (p, r), own in room.items():
        part = own.sum() / all_room.sum() if all_room.sum() > 0.0 else 0.0
        busy[p, r][2] = part * served[2] * setup.pools[p].need_min[2, 0]
        last[2] += part * batch_last * held[p][2]
    for k, d in enumerate(setup.due_steps):
        due[d] += new[k]
    to_take = served[2]
    for d in range(len(due)):
        taken = min(due[d], to_take)
        due[d] -= taken
        to_take -= taken
    lost = np.zeros(3)
    for (p, r), minutes in busy.items():
        if capacity[p, r].sum() > 0.0:
            pool = setup.pools[p]
            gone = sum(case.lost_cars[row, r, g] for g in pool.groups)
            lost += gone * slots * minutes / capacity[p, r].sum() * pool.losses.lost[:, 0]
    if serving.hedge:
        mean_cars = case.cars[row].sum() / J
        lost[:2] *= min(1.0, case.lost_cars[row].sum() / mean_cars) if mean_cars > 0.0 else 0.0
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

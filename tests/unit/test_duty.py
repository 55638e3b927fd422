"""Wake, load, serve and tail of a car, minute by minute, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_env.dynamics.duty import cold_start_min, fetch_weights, play_duty, serving_profile

FAR = 1e6  # minutes: nobody leaves


def f32(*values: float) -> Any:
    return np.array(values, np.float32)


def _play(**car: float) -> tuple[dict[str, float], float, float]:
    """One car through one step of 15 min with a tail of 5; returns flows, ready_min, tail_min."""
    start = {"on": 0, "was_on": 0, "ready": 0, "tail": 0, "cold": 4, "leave": FAR, "snooze": np.inf}
    start.update(car)
    ready, tail = f32(start["ready"]), f32(start["tail"])
    flows = play_duty(
        np.array([bool(start["on"])]),
        np.array([bool(start["was_on"])]),
        ready,
        tail,
        f32(start["cold"]),
        f32(start["leave"]),
        f32(start["snooze"]),
        step_min=15.0,
        full_tail_min=5.0,
    )
    values = {name: getattr(flows, name)[0].item() for name in flows.__slots__}
    return values, ready[0].item(), tail[0].item()


# what happens -> the car before the step, its flows, ready_min and tail_min after it
BY_HAND: dict[str, tuple[dict[str, float], dict[str, Any], float, float]] = {
    "asleep": ({}, {"on_min": 0, "awake_min": 0, "serve_min": 0, "cold": False}, 0, 0),
    "cold start": (
        {"on": 1},
        {
            "cold": True,
            "on_min": 15,
            "awake_min": 15,
            "serve_from": 4,
            "serve_min": 11,
            "cut": False,
        },
        0,
        0,
    ),
    "cold start longer than the step": (
        {"on": 1, "cold": 40},
        {
            "cold": True,
            "on_min": 15,
            "awake_min": 15,
            "serve_from": 15,
            "serve_min": 0,
            "cut": False,
        },
        25,
        0,
    ),
    "still waking": (
        {"on": 1, "was_on": 1, "ready": 25},
        {"cold": False, "serve_from": 15, "serve_min": 0},
        10,
        0,
    ),
    "serves on": (
        {"on": 1, "was_on": 1},
        {"cold": False, "serve_from": 0, "serve_min": 15, "stopped": False, "cut": False},
        0,
        0,
    ),
    "leaves while serving": (
        {"on": 1, "was_on": 1, "leave": 6},
        {"on_min": 6, "awake_min": 6, "serve_min": 6, "cut": True},
        0,
        0,
    ),
    "leaves while waking": (
        {"on": 1, "leave": 3},
        {"on_min": 3, "awake_min": 3, "serve_min": 0, "cut": False},
        1,
        0,
    ),
    "called back while serving": (
        {"on": 1, "was_on": 1, "snooze": 8, "leave": 10},
        {"on_min": 8, "awake_min": 8, "serve_min": 8, "cut": True},
        0,
        0,
    ),
    "leaves at the very end of the step": (
        {"on": 1, "was_on": 1, "leave": 15},
        {"on_min": 15, "serve_min": 15, "cut": False},
        0,
        0,
    ),
    "switched off": (
        {"was_on": 1},
        {"stopped": True, "on_min": 0, "awake_min": 5, "serve_min": 0, "cold": False},
        0,
        0,
    ),
    "switched off and leaves in its tail": (
        {"was_on": 1, "leave": 2},
        {"stopped": True, "awake_min": 2, "serve_min": 0},
        0,
        0,
    ),
    "called back in its tail": (
        {"was_on": 1, "snooze": 2},
        {"stopped": True, "awake_min": 2, "serve_min": 0},
        0,
        0,
    ),
    "switched off while waking": (
        {"was_on": 1, "ready": 7},
        {"stopped": False, "awake_min": 5, "serve_min": 0},
        0,
        0,
    ),
    "rest of a tail": ({"tail": 3}, {"awake_min": 3, "stopped": False}, 0, 0),
    "on again in its tail": (
        {"on": 1, "tail": 3},
        {"cold": False, "awake_min": 15, "serve_from": 0, "serve_min": 15},
        0,
        0,
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_duty_by_hand(name: str) -> None:
    car, want, ready, tail = BY_HAND[name]
    flows, ready_after, tail_after = _play(**car)
    assert {key: flows[key] for key in want} == want
    assert (ready_after, tail_after) == (ready, tail)


def test_a_tail_longer_than_the_step_goes_on() -> None:
    ready, tail = f32(0), f32(0)
    off, was = np.array([False]), np.array([True])
    far, never = f32(FAR), f32(np.inf)
    settings = {"step_min": 5.0, "full_tail_min": 12.0}
    billed = []
    for _ in range(4):
        flows = play_duty(off, was, ready, tail, f32(4), far, never, **settings)
        billed.append(flows.awake_min[0].item())
        was = off
    assert billed == [5, 5, 2, 0]


def test_a_car_that_was_loading_goes_on_if_duty_comes_back_in_its_tail() -> None:
    """10 of 12 min of tail and 7 min to ready are left when duty returns: ready 7 min later."""
    ready, tail = f32(7), f32(0)
    settings = {"step_min": 2.0, "full_tail_min": 12.0}
    far, never = f32(FAR), f32(np.inf)
    bits = [np.array([False]), np.array([True])]
    play_duty(bits[0], bits[1], ready, tail, f32(40), far, never, **settings)
    assert (ready[0], tail[0]) == (7, 10)
    flows = play_duty(bits[1], bits[0], ready, tail, f32(40), far, never, **settings)
    assert not flows.cold[0]
    assert (ready[0], tail[0]) == (5, 0)


@given(
    on=st.booleans(),
    was_on=st.booleans(),
    ready=st.floats(0, 60, width=32),
    tail=st.floats(0, 15, width=32),
    cold=st.floats(0, 60, width=32),
    leave=st.floats(0, 100, width=32),
    snooze=st.floats(-10, 100, width=32),
)
def test_minutes_are_within_the_step(
    on: bool, was_on: bool, ready: float, tail: float, cold: float, leave: float, snooze: float
) -> None:
    flows, after, tail_after = _play(
        on=on,
        was_on=was_on,
        ready=ready,
        tail=tail * (not was_on),
        cold=cold,
        leave=leave,
        snooze=snooze,
    )
    assert 0 <= flows["serve_from"] <= flows["on_min"] <= 15
    assert flows["serve_min"] == pytest.approx(flows["on_min"] - flows["serve_from"], abs=1e-5)
    assert flows["on_min"] <= flows["awake_min"] <= min(15, leave) + 1e-5
    assert after >= 0
    assert tail_after >= 0
    assert flows["on_min"] == 0 or on
    assert tail_after == 0 or not on
    assert after == 0 or on or tail_after > 0
    if flows["cut"]:
        assert flows["on_min"] == min(leave, max(snooze, 0)) < 15


def test_cold_start_by_hand() -> None:
    """40 GB at 40 Mbit/s take 8,000 s; 1 min to load, 0.5 to wake; no link, nothing to fetch."""
    minutes = cold_start_min(f32(40, 0), f32(40, 0), f32(1, 1), 0.5)
    np.testing.assert_allclose(minutes, [40 * 8000 / 40 / 60 + 1.5, 1.5], rtol=1e-6)


def test_download_comes_before_loading_and_resumes() -> None:
    """12 min before ready, 2 of them loading: 10 min at 40 Mbit/s are 3 GB still to bring."""
    left = fetch_weights(f32(40, 1, 40), f32(12, 12, 1), f32(40, 40, 40), f32(2, 2, 2))
    np.testing.assert_allclose(left, [10 * 60 * 40 / 8000, 1, 0], rtol=1e-6)


def test_profile_by_hand() -> None:
    """Three cars in one cell: all 4 minutes; from 0.5 to 2.25 at half speed; nothing."""
    profile = serving_profile(
        np.array([0, 0, 0]),
        f32(1, 0.5, 1),
        f32(0, 0.5, 4),
        f32(4, 2.25, 4),
        num_cells=2,
        num_minutes=4,
    )
    np.testing.assert_allclose(profile, [[1.25, 1.5, 1.125, 1], [0, 0, 0, 0]], rtol=1e-6)


@given(seed=st.integers(0, 9999), num=st.integers(1, 30))
def test_profile_is_the_sum_of_overlaps(seed: int, num: int) -> None:
    rng = np.random.default_rng(seed)
    start = (rng.random(num) * 15 * rng.integers(0, 2, num)).astype(np.float32)
    stop = np.maximum(start, rng.choice([15, 7.5, 3.25, 14.999], num)).astype(np.float32)
    weight, cell = rng.random(num).astype(np.float32), rng.integers(0, 3, num)
    got = serving_profile(cell, weight, start, stop, num_cells=3, num_minutes=15)
    want = np.zeros((3, 15))
    for i in range(num):
        for j in range(15):
            overlap = max(0.0, min(float(stop[i]), j + 1) - max(float(start[i]), j))
            want[cell[i], j] += overlap * weight[i]
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert got.min() >= 0

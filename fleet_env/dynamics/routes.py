"""Which region serves whose chat: the nearest first, unless the light takes too long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.dynamics.queueing import WaitTable, build_wait_table
from fleet_env.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Leg:
    """One round at one pool: people of each region ask one region for cars (docs/model.md 5.1)."""

    target: tuple[int, ...] | None  # (R,) region that is asked, by people's region; None: their own
    askers: tuple[tuple[int, ...], ...]  # (R,) the same by the region that is asked
    # (K, R) 1 where the first token of a class can come in time; None: everywhere
    open: FloatArray | None
    first_token_s: FloatArray  # (K, R) network and prefill
    table: WaitTable  # of the least time for waiting among the pairs that are open


@dataclass(frozen=True)
class Timing:
    """Times of the chat classes of a pool in a car next door."""

    slack_s: FloatArray  # (K,) what the limit leaves for waiting
    first_token_s: FloatArray  # (K,) network and prefill
    asked: BoolArray  # (K,) classes that people ask for
    slot_s: float  # mean slot time
    quantile: float  # of the requests that must be in time


def nearest(round_trip_s: FloatArray) -> IntArray:
    """Rank the regions by round trip: entry (i, o) is the i-th nearest to people in o, o first."""
    distance = round_trip_s.copy()
    np.fill_diagonal(distance, -1.0)
    return np.argsort(distance, axis=1, kind="stable").T


def make_legs(round_trip_s: FloatArray, timing: Timing) -> tuple[Leg | None, ...]:
    """Build the rounds of a pool.

    Parameters
    ----------
    round_trip_s : FloatArray, shape (R, R)
        Between people (rows) and cars (columns).
    timing : Timing

    Returns
    -------
    tuple of Leg or None, one per round
        None where nobody's first token could come in time.
    """
    people = np.arange(len(round_trip_s))
    legs: list[Leg | None] = []
    tightest_s = np.inf  # so far: a later round must not make those of an earlier one late
    for target in nearest(round_trip_s):
        away_s = round_trip_s[people, target] - round_trip_s[people, people]
        slack_s = timing.slack_s[:, None] - away_s
        counts = (slack_s > 0.0) & timing.asked[:, None]
        tightest_s = min(tightest_s, float(slack_s[counts].min(initial=np.inf)))
        legs.append(_leg(target, away_s, timing, tightest_s) if counts.any() else None)
    return tuple(legs)


def _leg(target: IntArray, away_s: FloatArray, timing: Timing, tightest_s: float) -> Leg:
    in_time = timing.slack_s[:, None] > away_s
    table = build_wait_table(tightest_s / timing.slot_s, timing.quantile)
    regions = range(len(target))
    return Leg(
        target=None if target.tolist() == list(regions) else tuple(target.tolist()),
        askers=tuple(tuple(np.flatnonzero(target == asked).tolist()) for asked in regions),
        open=None if in_time.all() else in_time.astype(np.float64),
        first_token_s=timing.first_token_s[:, None] + away_s,
        table=table,
    )

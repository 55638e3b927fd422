"""Which region serves whose chat: the nearest first, unless the light takes too long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.types import BoolArray, FloatArray, IntArray

# A pair of regions is served if this much of the time for waiting is left of what people have next
# door: the tightest pair sets the load that a pool admits, and a far one would cost all; design
LEAST_SLACK_SHARE = 0.5


@dataclass(frozen=True)
class Leg:
    """A later round at a pool: people of each region ask one further away (docs/model.md 5.1)."""

    target: tuple[int, ...]  # (R,) region that is asked, by people's region
    open: FloatArray | None  # (R, 1, K, 1) 1 where a class is served there, else 0; None: all are
    away: FloatArray  # (R, 1, 1) round trip beyond the one next door, in mean slot times


def nearest(round_trip: FloatArray) -> IntArray:
    """Rank the regions by round trip: entry (i, o) is the i-th nearest to people in o, o first."""
    distance = round_trip.copy()
    np.fill_diagonal(distance, -1.0)
    return np.argsort(distance, axis=1, kind="stable").T


def make_legs(
    round_trip: FloatArray, slack: FloatArray, asked: BoolArray
) -> tuple[tuple[Leg, ...], float]:
    """Build the rounds of a pool after the first one, in which people ask next door.

    Parameters
    ----------
    round_trip : FloatArray, shape (R, R)
        Between people (rows) and cars (columns), in mean slot times.
    slack : FloatArray, shape (K,)
        What the limit leaves each class of the pool for waiting next door, in mean slot times.
    asked : BoolArray, shape (K,)
        Classes that people ask for; at least one.

    Returns
    -------
    legs : tuple of Leg
        Rounds that serve anybody, at most R - 1.
    tightest : float
        Smallest slack among the pairs that are served, in mean slot times.
    """
    people = np.arange(len(round_trip))
    legs, tightest = [], float(slack[asked].min())
    for target in nearest(round_trip)[1:]:
        away = round_trip[people, target] - round_trip[people, people]
        left = slack[:, None] - away
        served = left >= LEAST_SLACK_SHARE * slack[:, None]
        if served.any():
            doors = None if served.all() else served.T[:, None, :, None].astype(np.float64)
            legs.append(Leg(tuple(target.tolist()), doors, away[:, None, None]))
            tightest = min(tightest, float(left[served & asked[:, None]].min(initial=np.inf)))
    return tuple(legs), tightest

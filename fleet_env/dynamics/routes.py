"""Which region serves whose chat: the nearest first, unless the light takes too long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.types import FloatArray, IntArray

# A pair of regions that leaves less of the time a request may wait next door is not served: the
# limit of a pool follows from the tightest pair, so one far away would cost all; design
LEAST_SLACK_SHARE = 0.5


@dataclass(frozen=True)
class Leg:
    """One round after the first at a pool: people of each region ask another one for cars."""

    target: tuple[int, ...]  # (R,) region that is asked, by people's region
    open: FloatArray | None  # (K, R, 1) 1 where a class is served from there; None: everywhere
    away_s: FloatArray  # (R, 1) round trip beyond the one next door


def nearest(round_trip_s: FloatArray) -> IntArray:
    """Rank the regions by round trip: entry (i, o) is the i-th nearest to people in o, o first."""
    distance = round_trip_s.copy()
    np.fill_diagonal(distance, -1.0)
    return np.argsort(distance, axis=1, kind="stable").T


def make_legs(round_trip_s: FloatArray, slack_s: FloatArray) -> tuple[Leg, ...]:
    """Build the rounds of a pool after the first, in which people ask next door.

    Parameters
    ----------
    round_trip_s : FloatArray, shape (R, R)
        Between people (rows) and cars (columns).
    slack_s : FloatArray, shape (K,)
        What the limit leaves each class of the pool for waiting next door.

    Returns
    -------
    tuple of Leg
        As many as serve anybody, at most R - 1.
    """
    people = np.arange(len(round_trip_s))
    legs = []
    for target in nearest(round_trip_s)[1:]:
        away_s = round_trip_s[people, target] - round_trip_s[people, people]
        is_open = away_s <= (1.0 - LEAST_SLACK_SHARE) * slack_s[:, None]
        if is_open.any():
            doors = None if is_open.all() else is_open[..., None].astype(np.float64)
            legs.append(Leg(tuple(target.tolist()), doors, away_s[:, None]))
    return tuple(legs)


def tightest_s(legs: tuple[Leg, ...], slack_s: FloatArray) -> float:
    """Smallest slack among the pairs that are served, of the classes in `slack_s`, shape (K,).

    A nan in `slack_s` stands for a class that nobody asks for.
    """
    left_s = [slack_s[:, None]]
    for leg in legs:
        there_s = slack_s[:, None] - leg.away_s[:, 0]
        left_s.append(there_s if leg.open is None else np.where(leg.open[..., 0], there_s, np.nan))
    return float(np.nanmin(np.concatenate(left_s, axis=1)))

"""Waiting with many servers: Erlang B and C, Halfin-Whitt, and a table for the inner loop.

The number of servers is a real number: cars come and go within a minute and are derated. Erlang B
is continued between the integers by starting its recursion at the fractional part f with ``B(f, a)
= (a / (1 + a))**f``, which is exact at f = 0 and 1 and, unlike a straight line, keeps the limits a
-> 0 and c -> 0. The exact formula runs below 100 servers, Halfin-Whitt from 1,000, and a mean of
the two weighted in log(servers) between them (biases: docs/parameters.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fleet_env.types import FloatArray, IntArray

EXACT_BELOW = 100.0  # servers; design
LIMIT_FROM = 1000.0  # servers; design
TINY = 1e-30

# cells of the table along u = 1 / sqrt(1 + servers) in (0, 1], and along idle * sqrt(1 + servers)
# up to H_MAX
U_CELLS = 256
H_MAX = 5.0
H_CELLS_PER_UNIT = 32
H_NODES = int(H_MAX * H_CELLS_PER_UNIT) + 2


def normal_pdf(x: FloatArray) -> FloatArray:
    """Density of the standard normal distribution."""
    density: FloatArray = np.exp(-0.5 * np.square(x)) / np.sqrt(2.0 * np.pi)
    return density


def normal_cdf(x: FloatArray) -> FloatArray:
    """Distribution function of the standard normal to 7.5e-8 (Abramowitz, Stegun 1964, 26.2.17)."""
    size = np.abs(x)
    t = 1.0 / (1.0 + 0.2316419 * size)
    series = 0.319381530 + t * (
        -0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))
    )
    upper_tail = normal_pdf(size) * t * series
    return np.where(np.asarray(x) >= 0.0, 1.0 - upper_tail, upper_tail)


def erlang_b(servers: Any, offered_load: Any) -> FloatArray:
    """Share of arrivals lost when `servers` are all there is (Erlang 1917).

    ``B(c, a) = a B(c-1, a) / (c + a B(c-1, a))``, started at the fractional part of c (see the
    module).

    Parameters
    ----------
    servers, offered_load : array_like, broadcast together
        Servers (real, >= 0) and offered load (arrival rate times service time, >= 0).

    Returns
    -------
    FloatArray, shape of the broadcast
    """
    c, a = np.broadcast_arrays(np.asarray(servers, float), np.asarray(offered_load, float))
    # the most servers first: step n of the recursion concerns a leading slice
    order = np.argsort(-c, axis=None, kind="stable")
    whole = np.floor(c).ravel()[order]
    fraction, load = c.ravel()[order] - whole, a.ravel()[order]
    b = (load / (1.0 + load)) ** fraction
    steps = np.arange(1.0, whole[0] + 1.0) if whole.size else np.empty(0)
    for n, k in zip(steps, np.searchsorted(-whole, -steps, side="right"), strict=True):
        ab = load[:k] * b[:k]
        b[:k] = ab / (fraction[:k] + n + ab)
    blocked = np.empty_like(b)
    blocked[order] = b
    shaped: FloatArray = blocked.reshape(c.shape)
    return shaped


def erlang_c(servers: Any, offered_load: Any) -> FloatArray:
    """Probability that an arrival waits in M/M/c; arguments as `erlang_b`.

    It is 1 where the load is not below the servers.
    """
    c, a = np.broadcast_arrays(np.asarray(servers, float), np.asarray(offered_load, float))
    b = erlang_b(c, a)
    stable = a < c
    rho = np.where(stable, a / np.where(stable, c, 1.0), 0.0)
    return np.where(stable, b / (1.0 - rho * (1.0 - b)), 1.0)


def halfin_whitt(servers: Any, offered_load: Any) -> FloatArray:
    """Limit of `erlang_c` for many servers (Halfin and Whitt 1981, Operations Research 29:567).

    ``1 / (1 + beta Phi(beta) / phi(beta))`` with ``beta = (c - a) / sqrt(a)``; 1 where the load is
    not below the servers.
    """
    c, a = np.broadcast_arrays(np.asarray(servers, float), np.asarray(offered_load, float))
    beta = np.maximum(c - a, 0.0) / np.sqrt(np.maximum(a, TINY))
    density = normal_pdf(beta)
    return np.where(
        beta > 0.0, density / (density + np.maximum(beta, TINY) * normal_cdf(beta)), 1.0
    )


def wait_probability(servers: Any, offered_load: Any) -> FloatArray:
    """Probability that an arrival waits: exact for few servers, the limit for many.

    Between 100 and 1,000 servers the weight of the limit is linear in log(servers).
    """
    c, a = np.broadcast_arrays(np.asarray(servers, float), np.asarray(offered_load, float))
    probability = np.array(halfin_whitt(c, a))
    few = c < LIMIT_FROM
    weight = np.log(np.maximum(c[few], EXACT_BELOW) / EXACT_BELOW) / np.log(
        LIMIT_FROM / EXACT_BELOW
    )
    probability[few] = (1.0 - weight) * erlang_c(c[few], a[few]) + weight * probability[few]
    return probability


def mean_wait(servers: Any, offered_load: Any) -> FloatArray:
    """Mean wait in mean service times; infinite where the load is not below the servers."""
    free = np.asarray(servers, float) - np.asarray(offered_load, float)
    wait = wait_probability(servers, offered_load) / np.where(free > 0.0, free, 1.0)
    return np.where(free > 0.0, wait, np.inf)


def wait_tail(servers: Any, offered_load: Any, slack: Any) -> FloatArray:
    """Probability of a wait above `slack` mean service times: ``C(c, a) exp(-(c - a) slack)``."""
    free = np.maximum(np.asarray(servers, float) - np.asarray(offered_load, float), 0.0)
    tail: FloatArray = wait_probability(servers, offered_load) * np.exp(
        -free * np.asarray(slack, float)
    )
    return tail


class Place(NamedTuple):
    """Where a number of servers lies in a `WaitTable`."""

    servers: FloatArray
    root: FloatArray  # sqrt(1 + servers)
    scaled_u: FloatArray  # U_CELLS / root
    cell: NDArray[np.intp]


@dataclass(frozen=True)
class WaitTable:
    """`wait_tail` and the load it admits, for one slack and one quantile, by interpolation.

    Along the servers the table is uniform in ``u = 1 / sqrt(1 + c)``, along the load in ``h = (1 -
    rho) sqrt(1 + c)``: in these coordinates the wait probability tends to a limit, so that one
    table reaches from a slot to 1e10 of them.
    """

    slack: float  # in mean service times
    quantile: float
    headroom_base: (
        FloatArray  # (U_CELLS + 1,): (1 - rho_max) sqrt(1 + c) / U_CELLS = base + slope * scaled_u
    )
    headroom_slope: FloatArray
    wait_base: (
        FloatArray  # ((U_CELLS + 1) * H_NODES,): P(W > 0) = base + slope * h * H_CELLS_PER_UNIT
    )
    wait_slope: FloatArray

    def locate(self, servers: FloatArray) -> Place:
        """Find the cells of `servers` (> 0), any shape."""
        root = servers + 1.0
        np.sqrt(root, out=root)
        scaled_u = U_CELLS / root
        return Place(servers, root, scaled_u, scaled_u.astype(np.intp))

    def rho_max(self, place: Place) -> FloatArray:
        """Largest load per server at which a share `quantile` waits no longer than the slack."""
        headroom = self.headroom_slope.take(place.cell)
        headroom *= place.scaled_u
        headroom += self.headroom_base.take(place.cell)
        headroom *= place.scaled_u
        return np.subtract(1.0, headroom, out=headroom)

    def wait(self, place: Place, rho: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Probability of a wait above the slack, and the mean wait in mean service times.

        `rho` is the load per server, below 1.
        """
        idle = 1.0 - rho
        free = idle * place.servers
        idle *= place.root
        idle *= H_CELLS_PER_UNIT
        np.minimum(idle, H_MAX * H_CELLS_PER_UNIT, out=idle)
        cell = place.cell * H_NODES
        cell += idle.astype(np.intp)
        waits = self.wait_slope.take(cell)
        waits *= idle
        waits += self.wait_base.take(cell)
        late = free * -self.slack
        np.exp(late, out=late)
        late *= waits
        waits /= free
        return late, waits


def build_wait_table(slack: float, quantile: float) -> WaitTable:
    """Tabulate waiting for one slack.

    Parameters
    ----------
    slack : float
        Longest wait that is still in time, in mean service times; > 0.
    quantile : float
        Share of the arrivals that must be in time.

    Returns
    -------
    WaitTable
    """
    if not slack > 0.0:
        raise ValueError(f"slack={slack!r}: expected a positive number of service times")
    nodes = _wait_nodes()
    headroom = _headroom(nodes, slack, 1.0 - quantile) / U_CELLS
    headroom = np.append(headroom, headroom[-1])  # the cell of u = 1 itself
    slope = np.diff(headroom)
    base = headroom[:-1] - slope * np.arange(U_CELLS + 1)
    wait_base, wait_slope = _wait_cells()
    return WaitTable(slack, quantile, base, slope, wait_base, wait_slope)


@cache
def _wait_nodes() -> FloatArray:
    """P(W > 0) on the nodes of u (rows; the first has infinitely many servers) and h."""
    u = np.arange(U_CELLS + 1)[:, None] / U_CELLS
    h = np.arange(H_NODES) / H_CELLS_PER_UNIT
    u_finite = np.maximum(u, 1e-8)  # 1e16 servers stand for infinitely many
    servers = 1.0 / u_finite**2 - 1.0
    rho = 1.0 - h * u_finite
    probability = wait_probability(servers, np.maximum(rho, 0.0) * servers)
    probability[:, 0] = 1.0
    return np.where(rho > 0.0, probability, np.where(servers > 0.0, 0.0, 1.0))


@cache
def _wait_cells() -> tuple[FloatArray, FloatArray]:
    """Tabulate base and slope along h, flat; a cell of u takes the mean of its two nodes."""
    nodes = _wait_nodes()
    middle = np.vstack([0.5 * (nodes[:-1] + nodes[1:]), nodes[-1:]])
    slope: FloatArray = np.diff(middle, axis=1, append=middle[:, -1:])
    base: FloatArray = middle - slope * np.arange(H_NODES)
    return base.ravel(), slope.ravel()


def _headroom(nodes: FloatArray, slack: float, late_share: float) -> FloatArray:
    """Smallest h per node of u at which at most `late_share` wait beyond `slack`: bisection."""
    u = np.arange(U_CELLS + 1) / U_CELLS
    low, high = np.zeros_like(u), 1.0 / np.maximum(u, 1e-8)
    rows: IntArray = np.arange(U_CELLS + 1)
    for _ in range(100):
        middle = 0.5 * (low + high)
        position = np.minimum(middle, H_MAX) * H_CELLS_PER_UNIT
        k = position.astype(np.intp)
        part = position - k
        waits = (1.0 - part) * nodes[rows, k] + part * nodes[rows, k + 1]
        free = middle * (1.0 - u**2) / np.maximum(u, 1e-8)  # (1 - rho) c
        too_late = waits * np.exp(-np.minimum(free * slack, 700.0)) > late_share
        low, high = np.where(too_late, middle, low), np.where(too_late, high, middle)
    high[0] = 0.0
    # a trace of load is always admitted: interpolation must not turn rho_max negative near no
    # server at all
    return np.minimum(high, (1.0 - 1e-4) / np.maximum(u, 1e-8))

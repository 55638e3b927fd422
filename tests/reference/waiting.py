"""Waiting in M/M/c: the recursion from a fraction of a server up, and the limit for many."""

from __future__ import annotations

import math
from functools import cache

EXACT_BELOW, LIMIT_FROM = 100.0, 1000.0  # servers


@cache
def erlang_b(servers: float, load: float) -> float:
    """Blocking probability of any real number of servers, `load` in erlang."""
    part = servers - math.floor(servers)
    inverse = math.pow((1.0 + load) / load, part)
    for n in range(1, math.floor(servers) + 1):
        inverse = 1.0 + (part + n) / load * inverse
    return 1.0 / inverse


def erlang_c(servers: float, load: float) -> float:
    """Probability that a request waits, exact for whole servers."""
    if load >= servers:
        return 1.0
    blocked = erlang_b(servers, load)
    return blocked / (1.0 - load / servers * (1.0 - blocked))


def halfin_whitt(servers: float, load: float) -> float:
    """The same for many servers: [1 + b Phi(b) / phi(b)]^-1 with b = (c - a) / sqrt(a)."""
    if load >= servers:
        return 1.0
    b = (servers - load) / math.sqrt(load)
    if b > 37.0:  # phi underflows: nobody waits
        return 0.0
    cdf = 0.5 * math.erfc(-b / math.sqrt(2.0))
    pdf = math.exp(-0.5 * b * b) / math.sqrt(2.0 * math.pi)
    return 1.0 / (1.0 + b * cdf / pdf)


def p_wait(servers: float, load: float) -> float:
    """Probability that a request waits: exact for few servers, the limit for many."""
    if servers <= EXACT_BELOW:
        return erlang_c(servers, load)
    if servers >= LIMIT_FROM:
        return halfin_whitt(servers, load)
    y = math.log(servers / EXACT_BELOW) / math.log(LIMIT_FROM / EXACT_BELOW)
    return (1.0 - y) * erlang_c(servers, load) + y * halfin_whitt(servers, load)

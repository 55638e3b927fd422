"""Waiting in M/M/c: the exact formula for any real number of servers, and its limit for many."""

from __future__ import annotations

import math

from scipy.integrate import quad

EXACT_BELOW, LIMIT_FROM = 100.0, 1000.0  # servers


def erlang_b(servers: float, load: float) -> float:
    """Blocking probability, `servers` real (Jagerman 1974: 1/B = a int e^(-a t) (1 + t)^c dt), `load` in erlang."""
    part = servers - math.floor(servers)
    inverse, _ = quad(lambda u: math.exp(-u) * (1.0 + u / load) ** part, 0.0, math.inf)
    count = part
    while count < servers - 0.5:
        count += 1.0
        inverse = 1.0 + inverse * count / load
    return 1.0 / float(inverse)


def erlang_c(servers: float, load: float) -> float:
    """Probability that a request waits, exact."""
    if load >= servers:
        return 1.0
    if load <= 0.0:
        return 0.0
    blocked = erlang_b(servers, load)
    return servers * blocked / (servers - load * (1.0 - blocked))


def halfin_whitt(servers: float, load: float) -> float:
    """The same for many servers: [1 + b Phi(b) / phi(b)]^-1 with b = (c - a) / sqrt(a)."""
    if load >= servers:
        return 1.0
    if load <= 0.0:
        return 0.0
    b = (servers - load) / math.sqrt(load)
    if b > 37.0:  # phi underflows: nobody waits
        return 0.0
    cdf = 0.5 * math.erfc(-b / math.sqrt(2.0))
    pdf = math.exp(-0.5 * b * b) / math.sqrt(2.0 * math.pi)
    return 1.0 / (1.0 + b * cdf / pdf)

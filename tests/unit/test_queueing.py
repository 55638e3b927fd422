"""Queueing formulas against published values and against the interpolation table."""

from __future__ import annotations

import numpy as np
import pytest

from fleet_env.dynamics.queueing import (
    build_wait_table,
    erlang_b,
    erlang_c,
    halfin_whitt,
    mean_wait,
    normal_cdf,
    normal_pdf,
    wait_probability,
    wait_tail,
)

# M/M/c by Erlang's formula: servers, load per server, P(wait), mean wait, p95
# and p99 of the wait
V1 = [
    (1, 0.80, 0.8000, 4.0000, 13.863, 21.910),
    (1, 0.90, 0.9000, 9.0000, 28.904, 44.998),
    (2, 0.80, 0.7111, 1.7778, 6.637, 10.661),
    (10, 0.80, 0.4092, 0.20459, 1.051, 1.856),
    (10, 0.90, 0.6687, 0.66873, 2.593, 4.203),
    (100, 0.90, 0.2169, 0.02169, 0.1468, 0.3077),
    (100, 0.95, 0.5065, 0.10129, 0.4631, 0.7850),
    (100, 0.99, 0.8828, 0.88277, 2.871, 4.481),
    (1_000, 0.99, 0.6591, 0.06591, 0.2579, 0.4188),
    (10_000, 0.99, 0.2228, 0.00223, 0.0149, 0.0310),
    (10_000, 0.999, 0.8805, 0.08805, 0.2869, 0.4478),
    (100_000, 0.999, 0.6580, 0.00658, 0.0258, 0.0419),
]


@pytest.mark.parametrize(("c", "rho", "p_wait", "wait", "p95", "p99"), V1)
def test_v1_exact_erlang_c(
    c: int, rho: float, p_wait: float, wait: float, p95: float, p99: float
) -> None:
    a, probability = c * rho, float(erlang_c(c, c * rho))
    assert probability == pytest.approx(p_wait, abs=6e-5)
    assert probability / (c - a) == pytest.approx(wait, rel=5e-3)
    for quantile, delay in ((0.95, p95), (0.99, p99)):
        assert np.log(probability / (1 - quantile)) / (c - a) == pytest.approx(delay, rel=5e-3)


@pytest.mark.parametrize(("c", "rho", "p_wait", "wait", "p95", "p99"), V1)
def test_v1_closure_in_use(
    c: int, rho: float, p_wait: float, wait: float, p95: float, p99: float
) -> None:
    # exact up to 100 servers; from 1,000 Halfin-Whitt, whose bias here is -0.4 % or less
    # (known bias: -0.6 % at 1e4)
    bias = 1e-3 if c <= 100 else 7e-3
    assert float(wait_probability(c, c * rho)) == pytest.approx(p_wait, rel=bias)
    assert float(mean_wait(c, c * rho)) == pytest.approx(wait, rel=bias + 3e-3)
    # a relative error e of P moves a quantile's tail by the same e
    assert float(wait_tail(c, c * rho, p95)) == pytest.approx(0.05, rel=bias + 2e-2)
    assert float(wait_tail(c, c * rho, p99)) == pytest.approx(0.01, rel=bias + 2e-2)


@pytest.mark.parametrize(
    ("c", "rho", "bias"),
    [(100, 0.90, -0.066), (1_000, 0.97, -0.018), (10_000, 0.99, -0.006), (100_000, 0.997, -0.002)],
)
def test_halfin_whitt_bias_is_the_published_one(c: int, rho: float, bias: float) -> None:
    got = float(halfin_whitt(c, c * rho) / erlang_c(c, c * rho)) - 1.0
    assert got == pytest.approx(bias, abs=6e-4)


@pytest.mark.parametrize(
    ("beta", "alpha"),
    [(0.25, 0.7209), (0.5, 0.5045), (1.0, 0.2234), (1.5, 0.0847), (2.0, 0.0269), (3.0, 0.0015)],
)
def test_halfin_whitt_limit(beta: float, alpha: float) -> None:
    a = 1e12
    assert float(halfin_whitt(a + beta * np.sqrt(a), a)) == pytest.approx(alpha, abs=6e-5)


@pytest.mark.parametrize(
    ("c", "a", "blocked"),
    [
        (1, 0.5, 0.33333),
        (10, 8, 0.12166),
        (10, 10, 0.21458),
        (100, 90, 0.02696),
        (100, 100, 0.07570),
        (1_000, 1_000, 0.02481),
        (10_000, 10_000, 0.00794),
    ],
)
def test_v2_erlang_b(c: int, a: float, blocked: float) -> None:
    assert float(erlang_b(c, a)) == pytest.approx(blocked, abs=6e-6)


def _mean_response_s(num_slots: int, arrivals_per_s: float) -> float:
    """Mean response of a batching car: a birth-death chain, steps of 20 ms + 1 ms per request."""
    states = 200_000
    busy = np.minimum(np.arange(1, states + 1), num_slots)
    done_per_s = busy / (0.020 + 0.001 * busy) / 200.0  # outputs of 200 tokens in the mean
    log_p = np.concatenate([[0.0], np.cumsum(np.log(arrivals_per_s) - np.log(done_per_s))])
    p = np.exp(log_p - log_p.max())
    return float(p @ np.arange(states + 1) / p.sum() / arrivals_per_s)


@pytest.mark.parametrize(
    ("num_slots", "cap_per_s", "responses_s"),
    [(8, 1.4286, (4.595, 5.234, 6.791, 10.174)), (32, 3.0769, (5.151, 6.659, 8.344, 10.265))],
)
def test_v14_batching_car_as_a_load_dependent_server(
    num_slots: int, cap_per_s: float, responses_s: tuple[float, ...]
) -> None:
    cap = num_slots / (0.020 + 0.001 * num_slots) / 200.0
    assert cap == pytest.approx(cap_per_s, abs=5e-5)
    got = [_mean_response_s(num_slots, load * cap) for load in (0.3, 0.6, 0.8, 0.9)]
    assert got == pytest.approx(responses_s, abs=6e-4)


def test_v14_full_batch_slots_are_a_safe_picture_of_the_batching_car() -> None:
    # the env counts slots that always run at full-batch speed; a car that is not full runs faster,
    # so its response is shorter
    slots, load = 32, 0.8
    slot_s = 200.0 * (0.020 + 0.001 * slots)
    as_slots_s = slot_s * (1.0 + float(mean_wait(slots, slots * load)))
    assert (
        _mean_response_s(slots, load * slots / slot_s)
        < as_slots_s
        < 1.4 * _mean_response_s(slots, load * slots / slot_s)
    )


def test_normal_distribution_by_table() -> None:
    x = np.array([-8.0, -1.959964, 0.0, 1.0, 1.959964, 8.0])
    assert normal_cdf(x) == pytest.approx([0.0, 0.025, 0.5, 0.8413447, 0.975, 1.0], abs=1.5e-7)
    assert normal_pdf(np.array([0.0, 1.0])) == pytest.approx([0.3989423, 0.2419707], abs=1e-7)


def test_real_servers_continue_the_integers() -> None:
    rho = 0.8
    near = [float(erlang_c(c, rho * c)) for c in (4.0 - 1e-9, 4.0, 4.0 + 1e-9)]
    assert near == pytest.approx([near[1]] * 3, rel=1e-7)
    c = np.linspace(0.1, 40.0, 400)
    assert (
        np.diff(erlang_c(c, rho * c)) < 0.0
    ).all()  # more servers at the same load per server: fewer waits


def test_no_jump_where_the_formulas_change() -> None:
    for c in (100.0, 1000.0):
        below, above = (float(wait_probability(c + d, 0.95 * (c + d))) for d in (-1e-6, 1e-6))
        assert below == pytest.approx(above, rel=1e-6)
    c = np.geomspace(50.0, 3000.0, 300)
    assert (np.diff(wait_probability(c, 0.97 * c)) < 0.0).all()


def test_edges_of_load() -> None:
    assert wait_probability([5.0, 5.0, 0.0, 2000.0], [0.0, 7.0, 1.0, 2000.0]) == pytest.approx(
        [0.0, 1.0, 1.0, 1.0]
    )
    assert mean_wait([5.0, 5.0], [0.0, 5.0]).tolist() == [0.0, np.inf]
    assert wait_tail(5.0, 6.0, 3.0) == 1.0


SERVERS = np.concatenate([np.geomspace(8.0, 900.0, 60), np.geomspace(1e3, 3e9, 60)])


@pytest.mark.parametrize("slack", [0.07, 0.25, 0.6, 3.0])
def test_table_agrees_with_the_formulas(slack: float) -> None:
    table = build_wait_table(slack, 0.99)
    place = table.locate(SERVERS[:, None] + np.zeros(25))
    rho = table.rho_max(place) * np.linspace(0.2, 1.0, 25)
    late, wait = table.wait(place, rho)
    load = rho * place.servers
    assert np.abs(late - wait_tail(place.servers, load, slack)).max() < 2e-4
    assert np.abs(wait - mean_wait(place.servers, load)).max() < 3e-4


@pytest.mark.parametrize("slack", [0.07, 0.25, 0.6, 3.0])
@pytest.mark.parametrize("quantile", [0.9, 0.99])
def test_table_admits_up_to_the_quantile(slack: float, quantile: float) -> None:
    table = build_wait_table(slack, quantile)
    rho = table.rho_max(table.locate(SERVERS))
    late = wait_tail(SERVERS, rho * SERVERS, slack)
    small = SERVERS < 1e5
    assert late[small] == pytest.approx(1.0 - quantile, rel=0.08)
    # beyond 1e5 slots (3,000 cars) the load is within 1e-3 of 1 and the tail hangs on its fourth
    # digit
    assert late[~small] == pytest.approx(1.0 - quantile, rel=0.45)
    assert (np.diff(rho * SERVERS) > 0.0).all()


def test_table_admits_almost_nothing_without_servers() -> None:
    table = build_wait_table(0.25, 0.99)
    servers = np.geomspace(1e-30, 1.0, 200)
    rho = table.rho_max(table.locate(servers))
    assert ((rho >= 0.0) & (rho < 0.02)).all()
    late, wait = table.wait(table.locate(servers), rho)
    assert np.isfinite(late).all()
    assert np.isfinite(wait).all()


def test_table_wants_a_positive_slack() -> None:
    with pytest.raises(ValueError, match=r"slack=0\.0"):
        build_wait_table(0.0, 0.99)

"""Own normal distribution and Erlang formulas against scipy."""

from __future__ import annotations

import numpy as np
import pytest

from fleet_env.dynamics.queueing import erlang_b, erlang_c, normal_cdf, normal_pdf

stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
integrate = pytest.importorskip("scipy.integrate", reason="scipy is not installed")


def test_normal_distribution() -> None:
    x = np.linspace(-9.0, 9.0, 20_001)
    assert np.abs(normal_cdf(x) - stats.norm.cdf(x)).max() < 1e-7
    assert normal_pdf(x) == pytest.approx(stats.norm.pdf(x), rel=1e-12)


@pytest.mark.parametrize("c", [1, 2, 7, 32, 99, 640, 3_000])
def test_erlang_b_is_the_truncated_poisson_distribution(c: int) -> None:
    a = c * np.array([0.3, 0.8, 0.95, 1.0, 1.3])
    assert erlang_b(c, a) == pytest.approx(
        stats.poisson.pmf(c, a) / stats.poisson.cdf(c, a), rel=1e-9
    )


@pytest.mark.parametrize("c", [1.5, 2.3, 4.7, 9.5, 31.5])
def test_real_servers_are_close_to_the_analytic_continuation(c: float) -> None:
    # 1 / B(c, a) = integral of exp(-t) (1 + t / a)^c dt over t >= 0 (Jagerman 1974)
    for rho in (0.3, 0.7, 0.95):
        a = rho * c
        inverse, _ = integrate.quad(
            lambda t, a=a, c=c: np.exp(-t) * (1.0 + t / a) ** c, 0.0, np.inf
        )
        exact_b = 1.0 / inverse
        exact_c = exact_b / (1.0 - rho * (1.0 - exact_b))
        assert float(erlang_c(c, a)) == pytest.approx(exact_c, rel=0.05)

"""Ageing laws against the published targets, formulas retyped by hand, and float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fleet_env.dynamics import ageing, wear
from fleet_env.types import LFP, NCA

DAYS_PER_YEAR = 365.0


def _k_cal(chemistry: int, soc: float, pack_c: float) -> float:
    kelvin = pack_c + 273.15
    if chemistry == NCA:
        return 75.4 * math.exp(-3340 / kelvin) * math.exp(353 * soc / kelvin)
    x = 0.0085 + 0.7715 * soc
    ua = (
        0.6379
        + 0.5416 * math.exp(-305.5309 * x)
        + 0.044 * math.tanh(-(x - 0.1958) / 0.1088)
        - 0.1978 * math.tanh((x - 1.0571) / 0.0854)
        - 0.6875 * math.tanh((x + 0.0117) / 0.0529)
        - 0.0175 * math.tanh((x - 0.5692) / 0.0875)
    )
    return 8.37e4 * math.exp(-5210 / kelvin) * math.exp(-3560 * ua / kelvin)


def _k_cyc(chemistry: int, depth: float, c_rate: float, pack_c: float) -> float:
    if chemistry == NCA:
        return 2 * (1.86e-6 + 4.74e-11 * c_rate + 1.77e-4 * depth)
    kelvin = min(max(pack_c, 10.0), 45.0) + 273.15
    heat = math.exp(2190 / kelvin) + math.exp(-1.55e5 / kelvin)
    return (4.38e-8 + 1.55e-8 * depth + 1.68e-7 * c_rate) * heat


POWER = {LFP: (0.526, 0.828), NCA: (0.512, 0.699)}


@pytest.mark.parametrize(
    ("pack_c", "lfp_pct", "nca_pct"),
    [
        (15.0, (0.6, 1.9), (2.6, 8.6)),
        (25.0, (1.1, 3.7), (3.8, 12.4)),
        (35.0, (2.0, 6.8), (5.4, 17.5)),
    ],
)
def test_calendar_loss_meets_the_published_targets(
    pack_c: float, lfp_pct: tuple[float, float], nca_pct: tuple[float, float]
) -> None:
    for chemistry, targets in ((LFP, lfp_pct), (NCA, nca_pct)):
        law = ageing.LAWS[chemistry]
        k = ageing.calendar_rate(law, np.array(0.5), np.array(pack_c))
        for years, target in zip((1.0, 10.0), targets, strict=True):
            loss_pct = 100 * ageing.advance(0.0, k, law.cal_p, years * DAYS_PER_YEAR)
            assert loss_pct == pytest.approx(target, rel=0.05)


def test_lfp_rate_falls_with_anode_potential_and_nca_rises_with_soc() -> None:
    soc = np.linspace(0.1, 1.0, 10)
    for law in ageing.LAWS.values():
        assert (np.diff(ageing.calendar_rate(law, soc, np.full(10, 25.0))) > 0).all()


def test_advance_by_hand() -> None:
    # x = (0.01 / 0.002)^2 = 25, + 11 = 36, q = 0.002 * 6
    assert ageing.advance(0.01, 0.002, 0.5, 11.0) == pytest.approx(0.012, rel=1e-12)
    assert ageing.advance(0.0, 0.002, 0.5, 36.0) == pytest.approx(0.012, rel=1e-12)


def test_advance_in_two_steps_is_one_step() -> None:
    once = ageing.advance(0.01, 0.003, 0.699, 40.0)
    twice = ageing.advance(ageing.advance(0.01, 0.003, 0.699, 15.0), 0.003, 0.699, 25.0)
    assert twice == pytest.approx(once, rel=1e-12)


@pytest.mark.parametrize("chemistry", [LFP, NCA])
def test_gains_are_the_slope_of_the_law_at_the_cars_age(chemistry: int) -> None:
    cal, cyc = ageing.gains(np.array([chemistry]), np.array([1000.0]))
    for gain, k, p, x in (
        (cal[0], _k_cal(chemistry, 0.6, 16.8), POWER[chemistry][0], 1000.0),
        (cyc[0], _k_cyc(chemistry, 0.35, 0.1, 16.8), POWER[chemistry][1], 40 / 365.25 * 1000.0),
    ):
        q = k * x**p
        slope = (ageing.advance(q, k, p, 1e-3) - ageing.advance(q, k, p, -1e-3)) / 2e-3
        assert gain * k ** (1 / p) == pytest.approx(slope, rel=1e-5)


def test_gains_fall_with_age_and_stay_finite_at_birth() -> None:
    age_days = np.array([0.0, 10.0, 30.0, 300.0, 3000.0])
    for chemistry in (LFP, NCA):
        for gain in ageing.gains(np.full(5, chemistry), age_days):
            assert gain.dtype == np.float32
            assert np.isfinite(gain).all()
            assert gain[0] == gain[1] == gain[2] > gain[3] > gain[4]


def _fleet(n: int, rng: np.random.Generator, dtype: type) -> dict[str, np.ndarray]:
    draws = {
        "pack_kwh": rng.uniform(50, 80, n),
        "soc": rng.uniform(0.06, 0.95, n),
        "twin_soc": rng.uniform(0.06, 0.95, n),
        "depth": rng.uniform(0, 0.5, n),
        "twin_depth": rng.uniform(0, 0.5, n),
        "kwh": rng.uniform(0, 2, n),
        "twin_kwh": rng.uniform(0, 2, n),
        "pack_c": rng.uniform(-10, 40, n),
        "excess_k": rng.uniform(0, 8, n),
        "hours": rng.uniform(0.05, 0.25, n),
    }
    # through float32, so that both precisions see the same numbers
    return {name: value.astype(np.float32).astype(dtype) for name, value in draws.items()}


def _extra(f: dict[str, np.ndarray], chemistry: np.ndarray, age_days: np.ndarray) -> np.ndarray:
    cal, cyc = (g.astype(f["soc"].dtype) for g in ageing.gains(chemistry, age_days))
    return wear.extra_fade(
        wear.Packs(chemistry, f["pack_kwh"], cal, cyc),
        wear.Strain(f["soc"], f["depth"], f["kwh"]),
        wear.Strain(f["twin_soc"], f["twin_depth"], f["twin_kwh"]),
        pack_c=f["pack_c"],
        excess_k=f["excess_k"],
        hours=f["hours"],
        days=0.25 / 24,
    )


def _extra_by_hand(f: dict[str, np.ndarray], i: int, chemistry: int, gains: tuple) -> float:
    p_cal, p_cyc = POWER[chemistry]
    fade = []
    for who, warmer_k in (("", f["excess_k"][i]), ("twin_", 0.0)):
        pack_c = float(f["pack_c"][i] + warmer_k)
        kwh = float(f[who + "kwh"][i])
        k_cal = _k_cal(chemistry, float(f[who + "soc"][i]), pack_c)
        c_rate = kwh / f["hours"][i] / f["pack_kwh"][i]
        k_cyc = _k_cyc(chemistry, float(f[who + "depth"][i]), c_rate, pack_c)
        efc = kwh / (2 * f["pack_kwh"][i])
        calendar = gains[0] * k_cal ** (1 / p_cal) * 0.25 / 24
        fade.append(calendar + gains[1] * k_cyc ** (1 / p_cyc) * efc)
    return fade[0] - fade[1]


def test_extra_fade_is_car_minus_twin_of_the_formulas(rng: np.random.Generator) -> None:
    f = _fleet(60, rng, np.float64)
    chemistry = rng.integers(0, 2, 60).astype(np.uint8)
    age_days = rng.uniform(0, 2900, 60)
    cal, cyc = ageing.gains(chemistry, age_days)
    got = _extra(f, chemistry, age_days)
    want = [
        _extra_by_hand(f, i, int(chemistry[i]), (float(cal[i]), float(cyc[i]))) for i in range(60)
    ]
    # the table of the anode potential is good to 4e-5 V above soc 0.05: 1e-3 of a calendar fade
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3 * np.abs(want).mean())


def test_extra_fade_in_float32_is_float64(rng: np.random.Generator) -> None:
    seed = int(rng.integers(1 << 30))
    chemistry = rng.integers(0, 2, 5000).astype(np.uint8)
    age_days = rng.uniform(0, 2900, 5000)
    single = _extra(_fleet(5000, np.random.default_rng(seed), np.float32), chemistry, age_days)
    double = _extra(_fleet(5000, np.random.default_rng(seed), np.float64), chemistry, age_days)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-10)


def test_a_small_difference_survives_float32(rng: np.random.Generator) -> None:
    chemistry = np.arange(2000, dtype=np.uint8) % 2
    age_days = np.full(2000, 1000.0)
    fade = []
    for dtype in (np.float32, np.float64):
        f = _fleet(2000, np.random.default_rng(3), dtype)
        for name in ("depth", "kwh"):
            f[name] = f["twin_" + name]
        f["soc"] = f["twin_soc"]
        f["excess_k"] = np.full(2000, 0.05, dtype=dtype)
        fade.append(_extra(f, chemistry, age_days))
    # 0.05 K is 0.2-0.5 % more calendar fade; the difference of two float32 fades misses by 1e-3.
    nca = chemistry == NCA
    np.testing.assert_allclose(fade[0][nca], fade[1][nca], rtol=1e-4)
    # LFP also fades less by cycling, and the two may cancel
    np.testing.assert_allclose(fade[0], fade[1], rtol=1e-4, atol=2e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_car_and_twin_give_exactly_zero(rng: np.random.Generator, dtype: type) -> None:
    f = _fleet(500, rng, dtype)
    for name in ("soc", "depth", "kwh"):
        f[name] = f["twin_" + name]
    f["excess_k"][:] = 0.0
    f["kwh"][:100] = f["twin_kwh"][:100] = 0.0
    f["hours"][:50] = 0.0
    extra = _extra(f, rng.integers(0, 2, 500).astype(np.uint8), rng.uniform(0, 2900, 500))
    assert (extra == 0.0).all()


def test_a_warmer_pack_fades_faster_and_a_lower_soc_slower(rng: np.random.Generator) -> None:
    f = _fleet(200, rng, np.float32)
    for name in ("soc", "depth"):
        f[name] = f["twin_" + name]
    f["kwh"][:] = f["twin_kwh"][:] = 0.0
    chemistry, age_days = rng.integers(0, 2, 200).astype(np.uint8), np.full(200, 500.0)
    assert (_extra(f, chemistry, age_days)[f["excess_k"] > 0.1] > 0).all()
    f["excess_k"][:] = 0.0
    f["soc"] = f["twin_soc"] * np.float32(0.8)
    assert (_extra(f, chemistry, age_days) < 0).all()


def test_soc_ends_of_the_potential_table() -> None:
    f = _fleet(4, np.random.default_rng(0), np.float64)
    f["twin_soc"] = np.array([1.0, 0.5, 1.0, 0.5])
    f["soc"] = np.array([0.5, 1.0, 0.5, 1.0])
    f["excess_k"][:] = 0.0
    f["kwh"][:] = f["twin_kwh"][:] = 0.0
    for chemistry in (LFP, NCA):
        codes = np.full(4, chemistry, dtype=np.uint8)
        cal, cyc = ageing.gains(codes, np.full(4, 500.0))
        got = _extra(f, codes, np.full(4, 500.0))
        want = [_extra_by_hand(f, i, chemistry, (cal[i], cyc[i])) for i in range(4)]
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_reversal_by_hand() -> None:
    #               rising on  turns down  falls on   turns up  stands still
    before = np.array([0.50, 0.60, 0.58, 0.40, 0.70], dtype=np.float32)
    after = np.array([0.55, 0.58, 0.57, 0.45, 0.70], dtype=np.float32)
    anchor = np.array([0.20, 0.30, 0.60, 0.65, 0.90], dtype=np.float32)
    falling = np.array([False, False, True, True, True])
    depth, new_anchor, now_falling = wear.reversal(before, after, anchor, falling)
    np.testing.assert_allclose(depth, [0.35, 0.02, 0.03, 0.05, 0.20], atol=1e-6)
    np.testing.assert_allclose(new_anchor, [0.20, 0.60, 0.60, 0.40, 0.90], atol=1e-6)
    assert now_falling.tolist() == [False, True, True, False, True]
    assert depth.dtype == new_anchor.dtype == np.float32

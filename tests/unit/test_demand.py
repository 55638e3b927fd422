"""Demand: which minutes are replayed, what a forecast may know, levels and noise of counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_env import draws
from fleet_env.config import DemandConfig, EnvConfig
from fleet_env.generators.arrivals import (
    draw_arrivals,
    mean_requests_per_min,
    poisson_fluid,
    rate_noise,
)
from fleet_env.generators.clock import MIN_PER_DAY
from fleet_env.generators.demand import DemandTrace, make_trace, mean_other_days
from fleet_env.generators.demand_sources import load_demand, load_traces
from fleet_env.generators.exogenous import draw_exogenous
from fleet_env.types import BATCH_70B, CHAT_8B, CHAT_70B, FloatArray, IntArray

ZONE = "America/Los_Angeles"
SOURCES = ("servegen", "azure2024", "synthetic")
NOON = 720


def counting_trace(days: int = 4, split_day: int = 2) -> DemandTrace:
    """Rate of minute m of day d proportional to 10,000 d + m + 1; day 1 and 3 are non-working."""
    minute = np.arange(days * MIN_PER_DAY)
    rate = 10_000.0 * (minute // MIN_PER_DAY) + minute % MIN_PER_DAY + 1
    return make_trace(
        "counting",
        "local",
        np.array([rate, 2 * rate, 3 * rate]),
        start_weekday=4,
        non_working=np.arange(days) % 2 == 1,
        split_day=split_day,
    )


def start_at_noon(
    trace: DemandTrace, split: str, weekday: IntArray, u: FloatArray, days: int
) -> IntArray:
    """Minutes of the trace of episodes that start at noon of some weekdays."""
    non_working = (weekday[:, None] + np.arange(days + 1)) % 7 >= 5
    noon = np.full(len(weekday), NOON)
    return trace.start_minute(split, non_working, u, noon, days * MIN_PER_DAY)


@pytest.mark.parametrize("source", SOURCES)
def test_shipped_traces_have_mean_one_and_are_named(source: str) -> None:
    trace = load_demand(source, ZONE)
    assert trace.rate.dtype == np.float32
    np.testing.assert_allclose(trace.rate.mean(axis=1, dtype=float), 1.0, rtol=1e-5)
    assert trace.rate.min() > 0
    assert (trace.name, bool(trace.clock)) == (source, True)
    for part in (trace.non_working[: trace.split_day], trace.non_working[trace.split_day :]):
        assert part.any()
        assert not part.all()


def test_outages_of_servegen_are_interpolated_and_reported() -> None:
    trace = load_demand("servegen", ZONE)
    assert trace.share_filled == pytest.approx(37 / 2016)
    windows = trace.rate[CHAT_8B, ::10]
    before, after = windows[1031], windows[1033]  # a single missing window, number 1032
    assert windows[1032] == pytest.approx((before + after) / 2, rel=1e-6)
    np.testing.assert_array_equal(np.flatnonzero(trace.non_working), [3, 4, 5, 11, 12])


def test_azure_week_is_turned_to_local_time() -> None:
    here, there = load_demand("azure2024", "UTC"), load_demand("azure2024", ZONE)
    assert here.rate.shape == (3, 7 * MIN_PER_DAY)
    np.testing.assert_array_equal(there.rate[0], np.roll(here.rate[0], -7 * 60))  # UTC-7 in May
    np.testing.assert_array_equal(here.rate[BATCH_70B], 1.0)
    # the table itself: Sunday 2024-05-12T00:00Z has 13,129 requests in 10 min
    assert here.rate[0, 0] / here.rate[0, 10] == pytest.approx(13_129 / 14_222, rel=1e-6)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("days", [1, 7])
def test_test_days_never_touch_the_training_part(source: str, days: int) -> None:
    trace = load_demand(source, ZONE)
    weekday = np.arange(70) % 7
    u = np.linspace(0, 1, 70, endpoint=False).astype(np.float32)
    split = trace.split_day * MIN_PER_DAY
    for name in ("train", "validation", "test"):
        start = start_at_noon(trace, name, weekday, u, days)
        assert (start % MIN_PER_DAY == NOON).all()
        replayed = trace._minutes(start, np.arange(days * MIN_PER_DAY))
        assert (replayed >= split).all() if name == "test" else (replayed < split).all()
        types = trace.non_working[start // MIN_PER_DAY]
        np.testing.assert_array_equal(types, weekday >= 5)


def test_a_day_of_servegen_is_contiguous_and_of_the_right_types_to_its_end() -> None:
    trace = load_demand("servegen", ZONE)
    weekday = np.repeat(np.arange(7), 50)
    u = np.tile(np.linspace(0, 1, 50, endpoint=False), 7).astype(np.float32)
    for split, allowed in (
        ("train", {(0, 0): {0, 1}, (0, 1): {2}, (1, 1): {3, 4}, (1, 0): {5}}),
        ("test", {(0, 0): {7, 8, 9}, (0, 1): {10}, (1, 1): {11}, (1, 0): {12}}),
    ):
        start = start_at_noon(trace, split, weekday, u, 1)
        for day in range(7):
            kind = (int(day >= 5), int((day + 1) % 7 >= 5))
            assert set(start[weekday == day] // MIN_PER_DAY) == allowed[kind]


def test_days_off_are_replayed_as_such_whatever_day_they_fall_on() -> None:
    """Training days of servegen: 0 1 2 work, 3 4 5 off, 6 work; rows may start at any minute."""
    trace = load_demand("servegen", ZONE)
    kinds = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], bool)
    want = [{0, 1}, {2}, {3, 4}, {5}]
    kind, start_min = np.repeat(np.arange(4), 30), np.tile([1, 720, 1439], 40)
    u = np.tile(np.repeat(np.linspace(0, 1, 10, endpoint=False), 3), 4).astype(np.float32)
    start = trace.start_minute("train", kinds[kind], u, start_min, MIN_PER_DAY)
    np.testing.assert_array_equal(start % MIN_PER_DAY, start_min)
    for number, days in enumerate(want):
        for minute in (1, 720, 1439):
            rows = (kind == number) & (start_min == minute)
            assert set(start[rows] // MIN_PER_DAY) == days


def test_a_week_wraps_inside_its_part() -> None:
    trace = load_demand("servegen", ZONE)
    start = start_at_noon(trace, "test", np.array([2]), np.zeros(1, np.float32), 7)
    minutes = trace._minutes(start, np.arange(7 * MIN_PER_DAY))[0]
    assert minutes[0] == 8 * MIN_PER_DAY + NOON  # Wednesday
    jump = np.flatnonzero(np.diff(minutes) != 1)
    assert list(minutes[jump]) == [14 * MIN_PER_DAY - 1]
    assert list(minutes[jump + 1]) == [7 * MIN_PER_DAY]


def test_rates_are_the_minutes_of_the_trace() -> None:
    trace = counting_trace()
    rates = trace.rates(np.array([5, 2 * MIN_PER_DAY + 7]), 30, 3)
    assert rates.shape == (3, 2, 3)
    assert rates.dtype == np.float32
    np.testing.assert_array_equal(rates[:, 0], trace.rate[:, 35:38])
    at = 2 * MIN_PER_DAY + 37
    np.testing.assert_array_equal(rates[:, 1], trace.rate[:, at : at + 3])


def test_forecast_by_hand() -> None:
    trace = counting_trace(days=6, split_day=2)
    noon = np.array([4 * MIN_PER_DAY + NOON])
    got = trace.forecast(noon, 2, 96, 15)[:, 0]
    unit = trace.rate[0, 0]  # rate of count 1
    # step 2 begins at 12:30 of day 4 (working): day 2, minutes 750 .. 764, mean count 758
    np.testing.assert_allclose(got[0, 0] / unit, 20_000 + 758, rtol=1e-6)
    # step 50 begins at 0:30 of day 5 (non-working): day 3, minutes 30 .. 44
    np.testing.assert_allclose(got[0, 48] / unit, 30_000 + 38, rtol=1e-6)
    np.testing.assert_allclose(got[2], got[0], rtol=1e-6)
    # the first day has no day before it, and its only neighbour in the training part is day 1
    first = trace.forecast(np.array([NOON]), 0, 1, 15)[0, 0, 0]
    np.testing.assert_allclose(first / unit, 10_728, rtol=1e-6)


def test_days_that_stand_in_by_hand() -> None:
    """Seven training days w w w n n n w and two test days; day d has the rate 2**d."""
    kinds = np.array([0, 0, 0, 1, 1, 1, 0, 1, 0], bool)
    rate = np.repeat(2.0 ** np.arange(9), MIN_PER_DAY)
    got = mean_other_days(np.array([rate] * 3), kinds, 7)
    assert (got.shape, got.dtype) == ((9, 3, MIN_PER_DAY), np.float32)
    assert (got == got[:, :1, :1]).all()
    # day 0 without 6 and 1 on the ring: day 2; day 4 without 3 and 5: any day left, 0 1 2 6;
    # the test days: the mean of their type
    want = [4, 64, (1 + 64) / 2, 32, (1 + 2 + 4 + 64) / 4, 8, (2 + 4) / 2, 56 / 3, 71 / 4]
    np.testing.assert_allclose(got[:, 0, 0], want, rtol=1e-6)
    np.testing.assert_array_equal(mean_other_days(rate[None].repeat(3, 0), kinds, 1)[0], 1.0)
    two = mean_other_days(rate[None].repeat(3, 0), kinds, 2)[:2, 0, 0]
    np.testing.assert_array_equal(two, [2.0, 1.0])  # nothing but the neighbour


@pytest.mark.parametrize("source", SOURCES)
def test_no_forecast_of_a_training_day_holds_anything_of_that_day(source: str) -> None:
    """Traces made anew with another day: what is forecast of the day stays as it was."""
    trace = load_demand(source, ZONE)
    for day in range(trace.split_day):
        span = slice(day * MIN_PER_DAY, (day + 1) * MIN_PER_DAY)
        rate = np.round(trace.rate.astype(float) * 2**12) / 2**12  # sums are exact in any order
        other = rate.copy()
        other[:, span] = rate[:, span][:, ::-1]
        told = [remake(trace, r) for r in (rate, other)]
        for step_min in (15, 60):
            a, b = (
                t.forecast_day_ahead(np.array([span.start]), 24 * 60 // step_min, step_min)
                for t in told
            )
            np.testing.assert_array_equal(a, b)
            a, b = (t.forecast(np.array([0]), 0, 7 * 24, 60)[:, :, day * 24 :] for t in told)
            np.testing.assert_array_equal(a[:, :, :24], b[:, :, :24])


def remake(trace: DemandTrace, rate: FloatArray) -> DemandTrace:
    """The trace with other rates, made from the beginning."""
    return make_trace(
        trace.name,
        trace.clock,
        rate,
        start_weekday=trace.start_weekday,
        non_working=trace.non_working,
        split_day=trace.split_day,
    )


@given(
    source=st.sampled_from(SOURCES),
    start=st.integers(0, 13 * MIN_PER_DAY),
    step=st.integers(0, 95),
    step_min=st.sampled_from([5, 15, 60]),
    num_steps=st.integers(1, 250),
)
def test_forecast_does_not_change_with_the_future(
    source: str, start: int, step: int, step_min: int, num_steps: int
) -> None:
    trace = load_demand(source, ZONE)
    start %= trace.rate.shape[1]
    now = int(trace._minutes(np.array([start]), np.array([step * step_min]))[0, 0])
    future = trace.rate.copy()
    future[:, now:] = future[:, now:] * 3 + 1
    other = replace(trace, rate=future)
    at = np.array([start])
    np.testing.assert_array_equal(
        trace.forecast(at, step, num_steps, step_min), other.forecast(at, step, num_steps, step_min)
    )


def test_forecast_of_servegen_knows_the_day_before_but_not_the_day_itself() -> None:
    trace = load_demand("servegen", ZONE)
    start = np.array([8 * MIN_PER_DAY + NOON])
    forecast = trace.forecast(start, 0, 48, 15)
    same = trace.rates(start - MIN_PER_DAY, 0, 720).reshape(3, 1, 48, 15).mean(axis=3)
    np.testing.assert_allclose(forecast, same, rtol=1e-5)
    actual = trace.rates(start, 0, 720).reshape(3, 1, 48, 15).mean(axis=3)
    assert (np.abs(forecast / actual - 1).mean(axis=2) > 0.02).all()


@pytest.mark.parametrize("step_min", [15, 60])
def test_day_ahead_forecast_is_the_forecast_of_every_step_near_enough(step_min: int) -> None:
    trace = load_demand("servegen", ZONE)
    start = start_at_noon(trace, "test", np.arange(7), np.zeros(7, np.float32), 7)
    per_day = MIN_PER_DAY // step_min
    whole = trace.forecast_day_ahead(start, 8 * per_day, step_min)
    for step in (0, 7, per_day, 5 * per_day + 3):
        near = trace.forecast(start, step, per_day, step_min)
        np.testing.assert_array_equal(near, whole[:, :, step : step + per_day])


def test_level_makes_the_mean_work_the_load() -> None:
    config = DemandConfig(load=0.5, batch_share=0.3, chat_70b_share=0.4)
    work_car_s = np.array([0.2, 1.5, 1.0])
    per_min = mean_requests_per_min(config, work_car_s, mean_plugged_linked=0.25)
    work = per_min / 60 * work_car_s  # busy cars per car
    assert work.sum() == pytest.approx(0.5 * 0.25)
    assert work[BATCH_70B] == pytest.approx(0.3 * 0.125)
    assert work[CHAT_70B] == pytest.approx(0.4 * 0.7 * 0.125)
    # by hand: 0.125 * 0.3 busy cars / 1 car-s * 60 s/min
    assert per_min[BATCH_70B] == pytest.approx(2.25)


@pytest.mark.parametrize(
    ("mean", "mean_tolerance", "variance_tolerance"),
    [(1, 0.01, 0.07), (2, 0.005, 0.06), (10, 0.005, 0.02), (100, 0.002, 0.01), (1e4, 1e-3, 0.01)],
)
def test_counts_have_mean_and_variance_of_a_poisson(
    mean: float, mean_tolerance: float, variance_tolerance: float
) -> None:
    words = draws.hashes(np.arange(2_000_000, dtype=np.uint64) << np.uint64(20), np.array(3), 1)[0]
    counts = poisson_fluid(np.full(len(words), mean, np.float32), draws.normal_rough(words))
    assert counts.dtype == np.float32
    assert counts.mean(dtype=float) == pytest.approx(mean, rel=mean_tolerance)
    assert counts.var(dtype=float) == pytest.approx(mean, rel=variance_tolerance)
    assert counts.min() >= 0


def test_no_demand_gives_no_requests() -> None:
    z = np.linspace(-3.4, 3.4, 9).astype(np.float32)
    np.testing.assert_array_equal(poisson_fluid(np.zeros(9, np.float32), z), 0.0)


@pytest.mark.parametrize("mean", [1e-3, 0.03, 0.1, 0.5, 1.0, 2.0, 3.9, 4.0, 5.0])
def test_small_counts_are_unbiased(mean: float) -> None:
    """The cut at 0 alone would double a mean of 0.1; 4 standard errors of a million counts."""
    words = draws.hashes(np.arange(2**20, dtype=np.uint64) << np.uint64(20), np.array(9), 1)[0]
    counts = poisson_fluid(np.full(2**20, mean, np.float32), draws.normal_rough(words))
    error = counts.std(dtype=float) / 2**10
    # near-normal draws, not normal ones: measured 3 % off for a mean below 0.05
    assert counts.mean(dtype=float) == pytest.approx(
        mean, abs=4 * error + (0.03 if mean < 0.05 else 0.01) * mean
    )


def test_small_means_do_not_touch_large_ones_beside_them() -> None:
    z = np.linspace(-3.4, 3.4, 33).astype(np.float32)
    alone = poisson_fluid(np.full(33, 50.0, np.float32), z)
    beside = poisson_fluid(np.repeat(np.float32([50.0, 0.2]), 33), np.tile(z, 2))
    np.testing.assert_array_equal(beside[:33], alone)
    few = poisson_fluid(np.full(33, 0.2, np.float32), z)
    np.testing.assert_array_equal(beside[33:], few)


def test_arrivals_depend_on_row_and_minute_alone() -> None:
    key = draws.stream_key(draws.scenario_key("test", np.arange(64)), draws.Stream.DEMAND)
    mean = np.full((3, 64, 15), 30.0, np.float32)
    whole = draw_arrivals(mean, key, 45)
    np.testing.assert_array_equal(draw_arrivals(mean[:, 7:8], key[7:8], 45), whole[:, 7:8])
    np.testing.assert_array_equal(draw_arrivals(mean[:, :, :3], key, 48), whole[:, :, 3:6])
    z = (np.sqrt(whole + 0.25) - np.sqrt(30.0)).reshape(3, -1)
    assert np.abs(np.corrcoef(z) - np.eye(3)).max() < 0.1  # classes
    for of_class in whole:
        assert abs(np.corrcoef(of_class[:, :-1].ravel(), of_class[:, 1:].ravel())[0, 1]) < 0.1


def test_requests_of_a_step_are_level_times_rate_times_noise() -> None:
    """Mean over 4,000 days of one step, against the rates that were replayed."""
    config = EnvConfig()
    traces = load_traces(config)
    exo = draw_exogenous(config, "train", draws.scenario_key("train", np.arange(4000)), traces)
    level = np.array([50.0, 0.5, 5.0])
    got = exo.requests(np.repeat(level[:, None], len(exo.start_minute), axis=1), 10, 2)
    assert (got.shape, got.dtype) == ((3, 4000, 30), np.float32)
    want = exo.demand_rates(10, 2).mean(axis=(1, 2), dtype=float) * level
    np.testing.assert_allclose(got.mean(axis=(1, 2), dtype=float), want, rtol=0.02)
    np.testing.assert_array_equal(
        exo.requests(np.repeat(level[:, None], len(exo.start_minute), axis=1), 11, 1),
        got[:, :, 15:],
    )


def test_slow_noise_has_mean_cv_and_lag_as_set() -> None:
    config = DemandConfig(rate_noise_cv=0.15, rate_noise_lag1=0.4)
    key = draws.scenario_key("train", np.arange(3000))
    noise = rate_noise(config, key, 145)
    assert noise is not None
    assert (noise.shape, noise.dtype) == ((3, 3000, 145), np.float32)
    assert noise.mean(dtype=float) == pytest.approx(1.0, abs=0.002)
    for at in (0, 144):  # stationary from the first interval on
        assert noise[:, :, at].std(dtype=float) == pytest.approx(0.15, rel=0.03)
    log_rate = np.log(noise)
    lag1 = np.corrcoef(log_rate[:, :, 70].ravel(), log_rate[:, :, 71].ravel())[0, 1]
    assert lag1 == pytest.approx(0.4, abs=0.03)
    np.testing.assert_array_equal(rate_noise(config, key[9:10], 145), noise[:, 9:10])
    assert rate_noise(DemandConfig(), key, 145) is None


def test_unknown_source_and_empty_trace_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"demand\.source='servgen': expected servegen, azure2024"):
        load_demand("servgen", ZONE)
    path = tmp_path / "zero.csv"
    rows = "".join(f"{3600 * i},0\n" for i in range(48))
    path.write_text("t_s,rate_rps\n" + rows, "utf-8")
    with pytest.raises(ValueError, match=r"mean rates .*expected all above 0"):
        load_demand(str(path), ZONE)


def test_a_window_file_is_split_into_days(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    rows = "".join(f"{3600 * i},{10 + i % 24},{1 + i % 24}\n" for i in range(24 * 5 + 3))
    head = "# start_weekday: 4\nt_s,rate_rps,rate_interactive_rps\n"
    path.write_text(head + rows, "utf-8")
    trace = load_demand(str(path), ZONE)
    assert trace.rate.shape == (3, 5 * MIN_PER_DAY)  # whole days
    assert trace.split_day == 3
    np.testing.assert_array_equal(trace.non_working, [False, True, True, False, False])
    np.testing.assert_allclose(trace.rate[0, 60] / trace.rate[0, 0], 2.0, rtol=1e-6)
    np.testing.assert_allclose(trace.rate[BATCH_70B], 1.0, rtol=1e-6)  # 9 rps all the time


def test_a_short_log_is_repeated_only_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    lines = ["t_s,input_tokens,output_tokens"]
    lines += [f"{60 * i},100,10" for i in range(30) for _ in range(1 + i // 10)]  # 1, 2, 3 a minute
    path.write_text("\n".join([*lines, "1900,100,10"]) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"demand\.short=wrap"):
        load_demand(str(path), ZONE)
    rate = load_demand(str(path), ZONE, short="wrap").rate
    assert rate.shape == (3, 14 * 1440)
    np.testing.assert_allclose(rate[:, [5, 15, 25, 35]], [[0.5, 1.0, 1.5, 0.5]] * 3, rtol=2e-3)


def test_missing_windows_are_filled_only_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "windows.csv"
    rows = [f"{600 * i},{2.0 if i % 2 else 1.0}" for i in range(2 * 144) if i != 10]
    path.write_text("\n".join(["t_s,rate_rps", *rows]) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="fill"):
        load_demand(str(path), ZONE)
    trace = load_demand(str(path), ZONE, fill="hold")
    assert trace.rate[0, 100] == trace.rate[0, 99]
    assert trace.share_filled == pytest.approx(1 / 288)

"""Simulated demand by local hour against the measured diurnal multipliers of the raw data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.demand_hours import SOURCES, measured_hours, simulate_hours
from fleet_env.config import DemandConfig, EnvConfig
from fleet_env.generators.demand_sources import load_demand

pytestmark = pytest.mark.validation


@pytest.mark.parametrize("chat", SOURCES)
def test_synthetic_demand_follows_the_measured_day(data_dir: Path, chat: int) -> None:
    config = EnvConfig(demand=DemandConfig(source="synthetic", rate_noise_cv=0.15))
    got = simulate_hours(config, "train")[chat]
    want, _, _ = measured_hours(data_dir, SOURCES[chat])
    np.testing.assert_allclose(got, want, rtol=0.15)
    assert np.abs(got / want - 1).mean() < 0.05


@pytest.mark.parametrize("chat", SOURCES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_replayed_days_are_ordinary_days(data_dir: Path, chat: int, split: str) -> None:
    """A split replays 2 to 4 days of a type: within 3 sd of single days, close on average."""
    got = simulate_hours(EnvConfig(), split)[chat]
    want, std, _ = measured_hours(data_dir, SOURCES[chat])
    np.testing.assert_array_less(np.abs(got - want), 3 * std + 0.05 * want)
    assert np.abs(got / want - 1).mean() < 0.15
    assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.95


def test_the_whole_trace_has_the_measured_diurnal_multipliers(data_dir: Path) -> None:
    trace = load_demand("servegen", "America/Los_Angeles")
    by_hour = trace.rate.reshape(3, 14, 24, 60).mean(axis=3)
    for chat, source in SOURCES.items():
        want, _, _ = measured_hours(data_dir, source)
        for kind in (0, 1):
            got = by_hour[chat, trace.non_working == bool(kind)].mean(axis=0)
            np.testing.assert_allclose(got, want[kind], rtol=0.15)
            assert np.abs(got / want[kind] - 1).mean() < 0.03


def test_azure_has_its_measured_weekend_and_hours(data_dir: Path) -> None:
    trace = load_demand("azure2024", "UTC")
    by_hour = trace.rate[0].reshape(7, 24, 60).mean(axis=2)
    want, _, _ = measured_hours(data_dir, "azure2024_conv")
    for kind in (0, 1):
        got = by_hour[trace.non_working == bool(kind)].mean(axis=0)
        np.testing.assert_allclose(got, want[kind], rtol=0.02)

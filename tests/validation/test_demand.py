"""Simulated demand by local hour against the measured diurnal multipliers of the raw data."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from fleet_env import draws
from fleet_env.config import DemandConfig, EnvConfig
from fleet_env.generators.demand_sources import load_demand
from fleet_env.generators.exogenous import draw_exogenous
from fleet_env.types import CHAT_8B, CHAT_70B, FloatArray

pytestmark = pytest.mark.validation

ROWS = 400
MEAN_PER_MIN = 30.0  # requests of each chat class at multiplier 1: about 1,000 cars, suburb
SOURCES = {CHAT_8B: "servegen_m_small_interactive", CHAT_70B: "servegen_m_large_interactive"}


def simulate(config: EnvConfig, split: str) -> FloatArray:
    """Requests relative to the mean rate by (chat class, weekend, local hour)."""
    trace = load_demand(config.demand.source, config.time_zone)
    world = draw_exogenous(config, split, draws.scenario_key(split, np.arange(ROWS)), trace)
    total, count = np.zeros((2, 2, 24)), np.zeros((2, 24))
    for step in range(config.num_steps):
        got = world.requests(np.full(3, MEAN_PER_MIN), step, 1)
        weekend = (world.weekday[:, step] >= 5).astype(int)
        hour = world.local_hour[:, step].astype(int)
        np.add.at(count, (weekend, hour), 1)
        for chat in range(2):
            np.add.at(total[chat], (weekend, hour), got[chat].mean(axis=1) / MEAN_PER_MIN)
    return total / count


def measured(data_dir: Path, source: str) -> tuple[FloatArray, FloatArray]:
    """Mean multiplier and its standard deviation across days, each by (weekend, hour).

    The published means count outages as no demand; the trace fills them. So hours with outages
    are raised here by the share of their windows that were recorded.
    """
    mean, std = np.empty((2, 24)), np.empty((2, 24))
    with (data_dir / "llm" / "llm_diurnal_multipliers.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["source"] == source:
                at = int(row["day_type"] == "weekend"), int(row["hour"])
                mean[at], std[at] = float(row["multiplier"]), float(row["std"])
    recorded = recorded_share(data_dir) if "small" in source else np.ones((2, 24))
    return mean / recorded, std


def recorded_share(data_dir: Path) -> FloatArray:
    """Share of the windows of m-small that are no outage, by (weekend, hour)."""
    with gzip.open(data_dir / "llm" / "servegen_m_small_windows.csv.gz", "rt") as stream:
        rate = np.array([float(row["rate_interactive_rps"]) for row in csv.DictReader(stream)])
    up = (rate > 0).reshape(14, 24, 6).mean(axis=2)
    weekend = np.isin(np.arange(14), (3, 4, 5, 11, 12))  # README of the raw data, note 3
    return np.array([up[~weekend].mean(axis=0), up[weekend].mean(axis=0)])


@pytest.mark.parametrize("chat", SOURCES)
def test_synthetic_demand_follows_the_measured_day(data_dir: Path, chat: int) -> None:
    config = EnvConfig(demand=DemandConfig(source="synthetic", rate_noise_cv=0.15))
    got = simulate(config, "train")[chat]
    want, _ = measured(data_dir, SOURCES[chat])
    np.testing.assert_allclose(got, want, rtol=0.15)
    assert np.abs(got / want - 1).mean() < 0.05


@pytest.mark.parametrize("chat", SOURCES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_replayed_days_are_ordinary_days(data_dir: Path, chat: int, split: str) -> None:
    """A split replays 2 to 4 days of a type: within 3 sd of single days, close on average."""
    got = simulate(EnvConfig(), split)[chat]
    want, std = measured(data_dir, SOURCES[chat])
    np.testing.assert_array_less(np.abs(got - want), 3 * std + 0.05 * want)
    assert np.abs(got / want - 1).mean() < 0.15
    assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.95


def test_the_whole_trace_has_the_measured_diurnal_multipliers(data_dir: Path) -> None:
    trace = load_demand("servegen", "America/Los_Angeles")
    by_hour = trace.rate.reshape(3, 14, 24, 60).mean(axis=3)
    for chat, source in SOURCES.items():
        want, _ = measured(data_dir, source)
        for kind in (0, 1):
            got = by_hour[chat, trace.non_working == bool(kind)].mean(axis=0)
            np.testing.assert_allclose(got, want[kind], rtol=0.15)
            assert np.abs(got / want[kind] - 1).mean() < 0.03


def test_azure_has_its_measured_weekend_and_hours(data_dir: Path) -> None:
    trace = load_demand("azure2024", "UTC")
    by_hour = trace.rate[0].reshape(7, 24, 60).mean(axis=2)
    want, _ = measured(data_dir, "azure2024_conv")
    for kind in (0, 1):
        got = by_hour[trace.non_working == bool(kind)].mean(axis=0)
        np.testing.assert_allclose(got, want[kind], rtol=0.02)

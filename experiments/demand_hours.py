"""Simulated demand by local hour against the measured diurnal multipliers of the raw data."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from fleet_env import draws
from fleet_env.config import EnvConfig
from fleet_env.generators.demand_sources import load_traces
from fleet_env.generators.exogenous import draw_exogenous
from fleet_env.types import CHAT_8B, CHAT_70B, FloatArray

ROWS = 400  # scenarios drawn
MEAN_PER_MIN = 30.0  # requests of each chat class at multiplier 1: about 1,000 cars, suburb
SOURCES = {CHAT_8B: "servegen_m_small_interactive", CHAT_70B: "servegen_m_large_interactive"}
TRACE_DAYS = 14
NON_WORKING_DAYS = (3, 4, 5, 11, 12)  # of the trace, inferred from its low days


def simulate_hours(config: EnvConfig, split: str) -> FloatArray:
    """Draw requests relative to their mean by (chat class, weekend, local hour), (2, 2, 24)."""
    traces = load_traces(config)
    world = draw_exogenous(config, split, draws.scenario_key(split, np.arange(ROWS)), traces)
    total, count = np.zeros((2, 2, 24)), np.zeros((2, 24))
    for step in range(config.num_steps):
        got = world.requests(np.full((3, ROWS), MEAN_PER_MIN), step, 1)
        weekend = (world.weekday[:, step] >= 5).astype(int)
        hour = world.local_hour[:, step].astype(int)
        np.add.at(count, (weekend, hour), 1)
        for chat in range(2):
            np.add.at(total[chat], (weekend, hour), got[chat].mean(axis=1) / MEAN_PER_MIN)
    return total / count


def measured_hours(data: Path, source: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean multiplier, its standard deviation across days and their number, by (weekend, hour).

    The published means count outages as no demand; the trace fills them. So hours with outages
    are raised here by the share of their windows that were recorded.
    """
    mean, std, days = np.empty((3, 2, 24))
    with (data / "llm" / "llm_diurnal_multipliers.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["source"] == source:
                at = int(row["day_type"] != "weekday"), int(row["hour"])
                mean[at], std[at] = float(row["multiplier"]), float(row["std"])
                days[at] = float(row["n_hours"])
    recorded = recorded_share(data) if "small" in source else np.ones((2, 24))
    return mean / recorded, std, days


def recorded_share(data: Path) -> FloatArray:
    """Share of the windows of m-small that are no outage, by (weekend, hour)."""
    with gzip.open(data / "llm" / "servegen_m_small_windows.csv.gz", "rt") as stream:
        rate = np.array([float(row["rate_interactive_rps"]) for row in csv.DictReader(stream)])
    up = (rate > 0).reshape(TRACE_DAYS, 24, 6).mean(axis=2)
    off = np.isin(np.arange(TRACE_DAYS), NON_WORKING_DAYS)
    return np.array([up[~off].mean(axis=0), up[off].mean(axis=0)])

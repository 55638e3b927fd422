"""What the page of a comparison shows, as plain data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from experiments.headroom import sentence
from experiments.results import Results
from experiments.stats import Strata, profile
from experiments.traces import SOC_PERCENTILES
from fleet_env.metrics import REWARD_TERMS
from fleet_env.types import CLASSES
from fleet_env.units import MIN_PER_H

DIGITS = 4  # significant ones: what a pixel can show
THRESHOLDS = np.round(np.linspace(-0.5, 1.0, 61), 3)  # of the score, in a profile
OVERFLOW = ("metric/diverted_", "metric/late_", "metric/lost_", "metric/expired_")
TABLE = (  # key of a figure, head, digits, title: what it is
    ("usd", "USD / car-month", 2, "mean over days, against the data centre alone"),
    ("usd_low", "95 % from", 2, "bootstrap interval by demand day"),
    ("usd_high", "to", 2, "bootstrap interval by demand day"),
    ("score", "score", 3, "mean return / mean bound"),
    ("minus_best", "minus best", 2, "paired by day"),
    ("p_best", "p (Holm)", 3, "of no difference to the best, corrected for the number of policies"),
    ("beats_best", "beats best", 2, "share of days"),
    ("usd_iqm", "IQM", 2, "interquartile mean over days"),
    ("usd_worst_decile", "worst 10 %", 2, "mean of the worst tenth of the days"),
    ("ttft_s", "TTFT [s]", 2, "mean time to first token of chat in cars"),
    ("slo/chat_70b", "SLO 70b", 3, "on time / (on time + late + lost) of chat in cars"),
    ("served_all", "served", 3, "on-time share of all requests"),
    ("shortfalls_per_1000_car_days", "shortfalls", 2, "per 1,000 car-days"),
    ("kwh_per_mtok", "kWh / Mtok", 3, "wall energy per million output tokens, cars"),
    ("co2_g_per_mtok", "gCO2 / Mtok", 0, "grid carbon per million output tokens, cars"),
    ("ms", "ms / decision", 2, "per fleet, median"),
)


def payload(results: Results) -> dict[str, Any]:
    """Turn results into JSON data: figures of every card, one day of every policy."""
    return {
        "days": results.days,
        "terms": list(REWARD_TERMS),
        "columns": [dict(zip(("key", "head", "digits", "title"), c, strict=True)) for c in TABLE],
        "cards": {name: _card(results, name) for name in results.cards},
        "over": [_plain(row) for row in results.over_cards()],
        "profiles": _profiles(results),
    }


def _card(results: Results, name: str) -> dict[str, Any]:
    rows, scale, config = results.rows[name], results.scale, results.cards[name]
    found = scale.headroom.get(name) if scale is not None else None
    days = {str(key): part for key, part in results.parts[name].groupby("policy")}
    kept = results.traces.get(name, {})
    return {
        "label": results.labels[name],
        "cars": config.num_cars,
        "step_h": config.step_min / MIN_PER_H,
        "bound": None if scale is None else _plain(scale.bound[name]),
        "sentence": "" if found is None else sentence(found),
        "demand_days": rows[0]["demand_days"],
        "rows": [_row(row) for row in rows],
        "short": {row["policy"]: _shortfalls(days[row["policy"]]) for row in rows},
        "traces": {label: _trace(frame) for label, frame in kept.items()},
    }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    keys = ["policy", "ties_best", "gap_usd", "score_low", "score_high"]
    keys += [key for key, *_ in TABLE if key != "ms"] + [f"usd/{term}" for term in REWARD_TERMS]
    return _plain({key: row.get(key) for key in keys} | {"ms": 1e3 * row["decision_s"]})


def _shortfalls(part: pd.DataFrame) -> list[float]:
    """Shortfalls of every day per 1,000 car-days."""
    per_day = 1000 * part["metric/shortfalls"] / (part["num_cars"] * part["days"])
    return _short(per_day.to_numpy())


def _trace(frame: pd.DataFrame) -> dict[str, list[float]]:
    """One day: the clock, prices, cars, requests and charge by step."""
    lost = [name for name in frame if name.startswith(OVERFLOW)]
    series = {
        "hour": frame["local_hour"],
        "price": frame["price"],
        "available": frame["available"],
        "parked": frame["parked"],
        "duty_h": frame["metric/on_duty_h"],
        "busy_h": frame["metric/busy_h"],
        "overflow": frame[lost].sum(axis=1),
        "usd": frame[[f"reward/{term}" for term in REWARD_TERMS]].sum(axis=1).cumsum(),
    }
    series |= {f"arrived_{name}": frame[f"metric/arrived_{name}"] for name in CLASSES}
    series |= {f"soc_{p:02d}": frame[f"soc_{p:02d}"] for p in SOC_PERCENTILES}
    return {key: _short(np.asarray(values, np.float64)) for key, values in series.items()}


def _profiles(results: Results) -> dict[str, Any]:
    """Share of days with a score above each threshold, over all cards that are worth it."""
    runs = results.scored_days()
    if runs.empty:
        return {}
    found = {}
    for policy, part in runs.groupby("policy", sort=False):
        strata = Strata.of(part["card"].to_numpy(), part["trace_day"].to_numpy())
        rng = np.random.default_rng(results.seed)
        band = profile(part["score"].to_numpy(), THRESHOLDS, strata, rng)
        ends = {end: _short(getattr(band, end)) for end in ("low", "share", "high")}
        found[str(policy)] = ends
    return {"threshold": THRESHOLDS.tolist(), "policies": found}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: _one(value) for key, value in row.items()}


def _one(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def _short(values: np.ndarray[Any, Any]) -> list[Any]:
    return [float(f"{v:.{DIGITS}g}") if math.isfinite(v) else None for v in values.tolist()]

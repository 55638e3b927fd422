"""Scores: what a policy earns of what could be earned at all, on the same days."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from experiments import report
from experiments.stats import Interval, bootstrap, iqm, paired, ratio, worst_decile
from fleet_env.units import DAYS_PER_MONTH

MIN_USD_PER_CAR_DAY = 0.01  # mean bound below which nothing is worth the trouble; design 5
BOUND = "bound"
REACHABLE = "mpc"  # plans on forecasts: how far one gets without foresight
SCORE_NOTE = (
    "Score: mean return / mean bound over the same days; 0 is the data centre alone (dc_only), 1 "
    "the bound; never clipped. Gap: bound - return, that is 1 - score in money. 95 % bootstrap "
    "intervals of both by demand day, return and bound resampled together. Bound: what perfect "
    "foresight could earn at most, by a programme that is optimistic wherever it is not exact; no "
    "policy. s/decision: per fleet, median; of the bound: s per fleet-day."
)
NO_SCORE_NOTE = (
    f"No score: the mean bound is below {MIN_USD_PER_CAR_DAY} USD per car-day. Bound: what perfect "
    "foresight could earn at most; no policy. s/decision: per fleet, median; of the bound: s per "
    "fleet-day."
)
LABELS = {BOUND: "bound (no policy)", REACHABLE: f"{REACHABLE} (reachable)"}


def worth_it(records: pd.DataFrame) -> bool:
    """Whether the mean bound of a card is large enough to be a scale."""
    usd_per_car_day = float(report.usd_per_car_month(records, "bound_usd").mean()) / DAYS_PER_MONTH
    return usd_per_car_day >= MIN_USD_PER_CAR_DAY


def bound_row(records: pd.DataFrame, bounds: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Figures of the bound of a card, in the words of `experiments.report.summarise`.

    Parameters
    ----------
    records : pandas.DataFrame
        Of any policies on the same scenarios, with `bound_usd`.
    bounds : pandas.DataFrame
        Rows of `experiments.bounds.solve`.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        `usd` with interval, `usd_iqm`, `usd_worst_decile` (USD per car-month); `worth_it`;
        `score` 1 and `gap_usd` 0 where it is; `solve_s`: median seconds per day.
    """
    part = _parts(records)[0][1]
    usd = report.usd_per_car_month(part, "bound_usd")
    days, worth = part["trace_day"].to_numpy(), worth_it(part)
    return {
        "policy": BOUND,
        **report.interval("usd", bootstrap(usd, np.random.default_rng(seed), days)),
        "usd_iqm": float(iqm(usd)),
        "usd_worst_decile": worst_decile(usd),
        "worth_it": worth,
        **report.interval("score", Interval(1.0, 1.0, 1.0) if worth else None),
        **report.interval("gap_usd", Interval(0.0, 0.0, 0.0)),
        "solve_s": float(bounds["solve_s"].median()),
        "sample_cars": int(bounds["sample_cars"].iloc[0]),
    }


def scores(records: pd.DataFrame, seed: int) -> dict[str, dict[str, Any]]:
    """Score every policy of a card.

    Parameters
    ----------
    records : pandas.DataFrame
        Of any policies on the same scenarios, with `bound_usd`.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        Policy -> `score` (None where the card is not worth it) and `gap_usd`, what is missing to
        the bound in USD per car-month, each with `_low` and `_high`; `gap`: 1 - score.
    """
    found = {}
    for name, part in _parts(records):
        money, bound = (report.usd_per_car_month(part, key) for key in ("return", "bound_usd"))
        days, score = part["trace_day"].to_numpy(), None
        if worth_it(part):
            score = ratio(money, bound, np.random.default_rng(seed), days)
        gap = paired(bound, money, np.random.default_rng(seed), days)
        found[name] = report.interval("score", score) | report.interval("gap_usd", gap)
        found[name]["gap"] = None if score is None else 1.0 - score.point
    return found


def _parts(records: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    groups = records.groupby("policy", sort=False)
    return [(str(name), part.sort_values("scenario")) for name, part in groups]


def interval_text(row: dict[str, Any], key: str, spec: str) -> str:
    """Write a figure with its interval, or `-` where there is none."""
    if row[key] is None:
        return "-"
    low, point, high = (format(row[name], spec) for name in (f"{key}_low", key, f"{key}_high"))
    return f"{point} [{low}, {high}]" if low != high else point


def _seconds(row: dict[str, Any]) -> str:
    value = row["solve_s" if row["policy"] == BOUND else "decision_s"]
    return f"{value:.2g}"


COLUMNS: dict[str, report.Cell] = {
    "USD/car-month": lambda row: interval_text(row, "usd", "+.3f"),
    "score": lambda row: interval_text(row, "score", ".3f"),
    "gap [USD/car-month]": lambda row: interval_text(row, "gap_usd", ".3f"),
    "s/decision": _seconds,
}


def table(rows: Sequence[dict[str, Any]], bound: dict[str, Any], title: str) -> Table:
    """Lay out the scores, the bound on top."""
    shown = [row | {"policy": LABELS.get(row["policy"], row["policy"])} for row in rows]
    out = report.table([], COLUMNS, title, SCORE_NOTE if bound["worth_it"] else NO_SCORE_NOTE)
    out.add_row(LABELS[BOUND], *(cell(bound) for cell in COLUMNS.values()), end_section=True)
    for row in shown:
        out.add_row(report.label(row["policy"]), *(cell(row) for cell in COLUMNS.values()))
    return out

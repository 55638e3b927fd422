"""Figures for notebooks: every function draws into an axis, its own if none is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from experiments.plots.cards import plot_cards
from experiments.plots.compare import plot_money
from experiments.results import Results
from experiments.stats import Strata, profile

THRESHOLDS = np.linspace(-0.5, 1.0, 61)  # of the score
CAR_LINES = {"available": "#56b4e9", "on duty": "#009e73", "busy": "#d55e00"}


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def _card(results: Results, card: str | None) -> str:
    name = card or next(iter(results.cards))
    if name not in results.cards:
        raise ValueError(f"card={name!r}: expected one of {', '.join(results.cards)}")
    return name


def money(results: Results, card: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw what every policy earns, by term, with interval and bound; best on top."""
    name = _card(results, card)
    rows = results.rows[name]
    ax = _axes(ax, 9.0, 1.9 + 0.45 * len(rows))
    bound = None if results.scale is None else results.scale.bound[name]
    return plot_money(ax, rows, bound)


def cards(results: Results, ax: Axes | None = None) -> Axes:
    """Draw the heat map of money by card and policy."""
    policies = [row["policy"] for row in results.rows[results.reference]]
    shown = {results.labels[name]: rows for name, rows in results.rows.items()}
    ax = _axes(ax, 4.0 + 0.85 * len(policies), 2.2 + 0.36 * len(shown))
    return plot_cards(ax, shown, policies)


def day(trace: pd.DataFrame, ax: Axes | None = None, step_h: float = 0.25) -> Axes:
    """Draw one day of `Results.traces`: cars available, on duty and busy, and the price.

    Parameters
    ----------
    trace : pandas.DataFrame
        Of `experiments.traces.Trace.frame`.
    ax : Axes, optional
    step_h : float
        Length of a step [h].
    """
    ax = _axes(ax, 9.0, 3.6)
    hour = trace["local_hour"].iloc[0] + step_h * trace["step"]
    counted = {
        "available": trace["available"],
        "on duty": trace["metric/on_duty_h"] / step_h,
        "busy": trace["metric/busy_h"] / step_h,
    }
    for label, values in counted.items():
        ax.step(hour, values, where="post", color=CAR_LINES[label], label=label)
    _clock(ax, hour)
    ax.set_ylabel("cars")
    ax.set_ylim(bottom=0)
    price = ax.twinx()
    price.step(hour, trace["price"], where="post", color="#e69f00", lw=1, label="price")
    price.set_ylabel("USD/kWh")
    lines = [*ax.get_lines(), *price.get_lines()]
    ax.legend(lines, [str(line.get_label()) for line in lines], ncols=4, frameon=False, fontsize=8)
    return ax


def charge(trace: pd.DataFrame, ax: Axes | None = None, step_h: float = 0.25) -> Axes:
    """Draw the charge of parked cars through one day: median, middle half, 5 to 95 %."""
    ax = _axes(ax, 6.0, 3.2)
    hour = trace["local_hour"].iloc[0] + step_h * trace["step"]
    for low, high, alpha in (("soc_05", "soc_95", 0.15), ("soc_25", "soc_75", 0.3)):
        ax.fill_between(hour, trace[low], trace[high], color="#009e73", alpha=alpha, lw=0)
    ax.plot(hour, trace["soc_50"], color="#00704f")
    _clock(ax, hour)
    ax.set_ylim(0, 1)
    ax.set_ylabel("state of charge")
    return ax


def profiles(results: Results, num_policies: int = 6, ax: Axes | None = None) -> Axes:
    """Draw performance profiles: share of days with a score above each threshold.

    Parameters
    ----------
    results : Results
        With bounds.
    num_policies : int
        The best ones, by mean score.
    ax : Axes, optional

    Raises
    ------
    ValueError
        If there are no scores.
    """
    days = results.scored_days()
    if days.empty:
        raise ValueError("results without scores: expected bound=True, and a card worth it")
    ax = _axes(ax, 6.0, 3.6)
    best = days.groupby("policy")["score"].mean().nlargest(num_policies).index
    for policy in best:
        part = days[days["policy"] == policy]
        strata = Strata.of(part["card"].to_numpy(), part["trace_day"].to_numpy())
        rng = np.random.default_rng(results.seed)
        band = profile(part["score"].to_numpy(), THRESHOLDS, strata, rng)
        [line] = ax.plot(THRESHOLDS, band.share, label=policy)
        ax.fill_between(THRESHOLDS, band.low, band.high, alpha=0.12, color=line.get_color(), lw=0)
    ax.set_xlabel("score above")
    ax.set_ylabel("share of days")
    ax.legend(frameon=False, fontsize=8)
    return ax


def _clock(ax: Axes, hour: Any) -> None:
    first, last = float(hour.min()), float(hour.max())
    ticks = [h for h in range(int(first), int(last) + 2, 3) if first <= h <= last]
    ax.set_xticks(ticks, labels=[f"{h % 24:02d}:00" for h in ticks])
    ax.set_xlabel("local hour")

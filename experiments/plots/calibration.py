"""Figure of the calibration: measured against simulated owners, small multiples."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito's palette, readable with colour-vision deficiencies
MEASURED, SIMULATED, HOLDOUT, PAID = "#000000", "#D55E00", "#56B4E9", "#009E73"
CLOCK_TICKS = (0, 6, 12, 18, 24)
BAND_LABELS = ("0-6", "6-9", "9-12", "12-15", "15-18", "18-21", "21-24")


def plot_calibration(table: pd.DataFrame, shares: pd.DataFrame) -> Figure:
    """Draw every calibrated quantity, measured (with its 95 % interval) and simulated.

    Parameters
    ----------
    table, shares : DataFrame
        What `experiments.calibration.compare` returns.
    """
    figure, axes = plt.subplots(3, 4, figsize=(17.0, 10.5), layout="constrained")
    for ax, day in zip(axes[0], ("weekday", "weekend"), strict=False):
        plot_share(ax, shares[shares.day_type == day], f"Plugged in at home, {day}")
    plot_clock(axes[0, 2], table, "arrival hour share", "Plug-ins by hour, weekday")
    plot_clock(axes[1, 0], table, "departure hour share", "Plug-outs by hour, weekday")
    plot_stays(axes[1, 1], table)
    name = "actual minus stated departure [h]"
    plot_quantiles(
        axes[1, 2], table, name, "Actual minus stated departure\n(workplace, used at home)"
    )
    axes[1, 2].set_ylabel("h")
    plot_quantiles(axes[2, 0], table, "soc at plug-in", "State of charge at plug-in")
    plot_owners(axes[2, 1], table)
    name = "uplink at the car [Mbit/s]"
    plot_quantiles(axes[2, 2], table, name, "Uplink at the car (capped by Wi-Fi)")
    axes[2, 2].set_ylabel("Mbit/s")
    for ax, name in zip(axes[:2, 3], ("chat_8b", "chat_70b"), strict=True):
        plot_demand(ax, table, f"{name} requests by hour", f"Demand: {name.replace('_', ' ')}")
    plot_clock(axes[2, 3], table, "arrival hour share", "Plug-ins by hour, weekend", weekend=True)
    axes[0, 3].legend(fontsize=8)
    axes[0, 0].legend(fontsize=8, loc="upper center")
    axes[1, 2].legend(fontsize=8)
    figure.suptitle(
        "Default owners against measured ones: fit on 8 Norwegian sites, 3 sites held out"
    )
    return figure


def plot_share(ax: Axes, shares: pd.DataFrame, title: str) -> Axes:
    """Draw the half-hourly plugged share of one day type."""
    hour = shares.hour
    ax.fill_between(hour, shares.low, shares.high, color=MEASURED, alpha=0.15, lw=0)
    ax.plot(hour, shares.fit, color=MEASURED, label="measured, 8 sites (95 % interval over users)")
    ax.plot(hour, shares.fit_by_time, color=MEASURED, ls=":", label="the same, weighted by time")
    ax.plot(hour, shares.holdout, color=HOLDOUT, label="measured, 3 sites held out")
    ax.plot(hour, shares.simulated, color=SIMULATED, label="simulated, default habits")
    ax.plot(
        hour, shares.paid, color=PAID, ls="--", label="assumption: paid habits (6 plug-ins a week)"
    )
    ax.set(
        title=title,
        xticks=CLOCK_TICKS,
        xlabel="local hour",
        ylabel="share of users",
        ylim=(0, 1.0),
    )
    return ax


def plot_demand(ax: Axes, table: pd.DataFrame, target: str, title: str) -> Axes:
    """Draw requests by clock hour against the measured mean of days and its interval."""
    hour = np.arange(24) + 0.5
    for day, style, part in (
        ("working days", "-", _part(table, target, "trace").iloc[:24]),
        ("others", ":", _part(table, target, "trace").iloc[24:]),
    ):
        ax.fill_between(hour, part.low, part.high, color=MEASURED, alpha=0.12, lw=0)
        ax.plot(hour, part.measured, style, color=MEASURED, label=f"measured, {day}")
        ax.plot(hour, part.simulated, style, color=SIMULATED, label=f"replayed, {day}")
    ax.set(title=title, xticks=CLOCK_TICKS, xlabel="local hour", ylabel="requests (mean = 1)")
    ax.set_ylim(bottom=0)
    return ax


def plot_clock(
    ax: Axes, table: pd.DataFrame, target: str, title: str, *, weekend: bool = False
) -> Axes:
    """Draw hourly shares of the sessions of one day type."""
    rows = slice(24, 48) if weekend else slice(0, 24)
    for sites, colour in (("holdout", HOLDOUT), ("fit", MEASURED)):
        part = _part(table, target, sites).iloc[rows]
        hour = np.arange(24) + 0.5
        ax.plot(hour, part.measured, color=colour)
    ax.fill_between(hour, part.low, part.high, color=MEASURED, alpha=0.15, lw=0)
    ax.plot(hour, part.simulated, color=SIMULATED)
    ax.set(title=title, xticks=CLOCK_TICKS, xlabel="local hour", ylabel="share of sessions")
    ax.set_ylim(bottom=0)
    return ax


def plot_stays(ax: Axes, table: pd.DataFrame) -> Axes:
    """Draw quantiles of weekday stays by arrival band: measured left, simulated right."""
    part = _part(table, "stay by arrival band [h]", "fit").iloc[:35]
    measured, simulated = (part[c].to_numpy().reshape(7, 5) for c in ("measured", "simulated"))
    for shift, values, colour in ((-0.12, measured, MEASURED), (0.12, simulated, SIMULATED)):
        x = np.arange(7) + shift
        ax.vlines(x, values[:, 0], values[:, 4], color=colour, lw=1)
        ax.vlines(x, values[:, 1], values[:, 3], color=colour, lw=5)
        ax.plot(x, values[:, 2], "o", mfc="white", mec=colour, ms=5)
    ax.set(title="Stay by arrival hour, weekday\n(p10-p90, p25-p75, median)", ylabel="h")
    ax.set(xticks=np.arange(7), xlabel="arrival hour")
    ax.set_xticklabels(BAND_LABELS, fontsize=8)
    ax.set_yticks(np.arange(0, 25, 6))
    return ax


def plot_quantiles(ax: Axes, table: pd.DataFrame, target: str, title: str) -> Axes:
    """Draw measured quantiles with intervals, and the simulated ones beside them."""
    part = _part(table, target, "fit")
    x = np.arange(len(part))
    _bars(ax, x - 0.1, part, "measured")
    ax.plot(x + 0.1, part.simulated, "o", color=SIMULATED, label="simulated")
    ax.set(title=title, xticks=x)
    ax.set_xticklabels(part.quantity)
    return ax


def plot_owners(ax: Axes, table: pd.DataFrame) -> Axes:
    """Draw the spread over owners of plug-ins a day and of the plugged share."""
    labels: list[str] = []
    for start, target in ((0, "plug-ins a day of an owner"), (6, "plugged share of an owner")):
        part = _part(table, target, "fit")
        x = np.arange(len(part)) + start
        _bars(ax, x - 0.1, part, None)
        ax.plot(x + 0.1, part.simulated, "o", color=SIMULATED)
        labels += list(part.quantity)
    ax.set_xticks([*range(5), *range(6, 11)])
    ax.set_xticklabels(labels, fontsize=8)
    ax.set(title="Owners differ: plug-ins a day (left),\nshare of time plugged (right)")
    ax.set_ylim(bottom=0)
    return ax


def _bars(ax: Axes, x: np.ndarray, part: pd.DataFrame, label: str | None) -> None:
    spread = np.clip([part.measured - part.low, part.high - part.measured], 0.0, None)
    ax.errorbar(x, part.measured, yerr=spread, fmt="s", color=MEASURED, capsize=3, label=label)


def _part(table: pd.DataFrame, target: str, sites: str) -> pd.DataFrame:
    return table[(table.target == target) & (table.sites == sites)]

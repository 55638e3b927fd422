"""Figure of a comparison: what each policy earns and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from fleet_env.metrics import REWARD_TERMS

# Okabe & Ito's palette, readable with colour-vision deficiencies
COLOURS = {
    "avoided": "#009E73",
    "energy": "#E69F00",
    "wear": "#CC79A7",
    "owner": "#56B4E9",
    "data": "#F0E442",
    "slo": "#D55E00",
    "capacity": "#0072B2",
}
LABELS = {
    "avoided": "data-centre cost avoided",
    "energy": "electricity",
    "wear": "battery wear",
    "owner": "owners",
    "data": "cellular data",
    "slo": "late and lost",
    "capacity": "data-centre capacity spared",
}

XLABEL = "USD per car-month against the data centre alone (mean over days)"
TIES = "\n~ not distinguishable from the best (paired test over demand days, 5 %, Holm)"
CUT = 1.5  # widths of the gains that losses may take up beside a bound
SCORES = "\nin brackets: score, mean return / mean bound"


def plot_money(
    ax: Axes, rows: Sequence[dict[str, Any]], bound: dict[str, Any] | None = None
) -> Axes:
    """Draw the money of each policy, stacked by term, with net and interval; best on top.

    Parameters
    ----------
    ax : Axes
    rows : sequence of dict
        Figures of `experiments.report.summarise`, with `bound` also those of
        `experiments.score.scores`.
    bound : dict, optional
        Figures of `experiments.score.bound_row`: drawn as a line across all policies.

    Returns
    -------
    Axes
    """
    order = sorted(rows, key=lambda row: row["usd"])
    y = np.arange(len(order))
    _stack(ax, y, order)
    point, low, high = (np.array([row[k] for row in order]) for k in ("usd", "usd_low", "usd_high"))
    spread = np.clip([point - low, high - point], 0.0, None)
    ax.errorbar(
        point,
        y,
        xerr=spread,
        fmt="D",
        color="black",
        mec="white",
        ms=7,
        capsize=3,
        label="net with 95 % interval",
    )
    if bound is not None:
        _line(ax, bound)
    for height, row in zip(y, order, strict=True):
        text = f" {row['usd']:+.2f}{' ~' if row['ties_best'] else ''}"
        if row.get("score") is not None:
            text += f"  ({row['score']:.2f})"
        ax.annotate(text, (1.0, height), xycoords=ax.get_yaxis_transform(), va="center")
    ax.axvline(0.0, color="black", lw=0.8)
    ax.set_yticks(y, labels=[row["policy"] for row in order])
    label = XLABEL + (TIES if any(row["ties_best"] for row in order) else "")
    label += SCORES if bound is not None and bound["worth_it"] else ""
    ax.set_xlabel(label + (_cut(ax) if bound is not None else ""))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
    return ax


def _line(ax: Axes, bound: dict[str, Any]) -> None:
    text = f"bound {bound['usd']:+.2f} (no policy)"
    ax.axvline(bound["usd"], color="black", lw=1.2, ls="--", label=text)
    ax.axvspan(bound["usd_low"], bound["usd_high"], color="black", alpha=0.08, lw=0)


def _cut(ax: Axes) -> str:
    """Cut off large losses, so that what lies below the bound can be told apart; say so."""
    left, right = ax.get_xlim()
    if left >= -CUT * right:
        return ""
    ax.set_xlim(left=-CUT * right)
    return "\nlosses beyond the left edge are cut off"


def _stack(ax: Axes, y: np.ndarray[Any, Any], order: Sequence[dict[str, Any]]) -> None:
    ends = {True: np.zeros(len(order)), False: np.zeros(len(order))}  # right and left end so far
    for term in REWARD_TERMS:
        money = np.array([row[f"usd/{term}"] for row in order])
        if not money.any():
            continue
        start = np.where(money >= 0, ends[True], ends[False])
        ax.barh(y, money, left=start, color=COLOURS[term], height=0.6, label=LABELS[term])
        for gain in (True, False):
            ends[gain] += np.where((money >= 0) == gain, money, 0.0)

"""Figures of the study of viability."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

COLOURS = {
    "nameplate": "#d9d5cc",
    "parked": "#bbbbbb",
    "plugged": "#e69f00",
    "linked": "#56b4e9",
    "opted_in": "#0072b2",
    "used": "#009e73",
}
TERMS = {
    "energy": "#e69f00",
    "wear": "#cc79a7",
    "owner": "#56b4e9",
    "data": "#f0e442",
    "slo": "#d55e00",
    "capacity": "#0072b2",
}
LABELS = {"linked": "on Wi-Fi", "opted_in": "opted in", "plugged": "plugged in"}


def plot_funnel(ax: Axes, hours_gw: pd.DataFrame, title: str = "") -> Axes:
    """Draw what is left of the nameplate at every local hour, stage in front of stage.

    Parameters
    ----------
    ax : Axes
    hours_gw : pandas.DataFrame
        One row per local hour, one column per stage [GW].
    title : str
    """
    for stage in hours_gw:
        label = LABELS.get(str(stage), str(stage))
        mean = hours_gw[stage].mean()
        text = f"{label}: {mean:.3g} GW"
        x = [*hours_gw.index, 24]
        y = [*hours_gw[stage], hours_gw[stage].iloc[-1]]
        ax.fill_between(x, y, step="post", color=COLOURS[str(stage)], label=text, lw=0)
    ax.set_xlim(0, 24)
    ax.set_ylim(bottom=0)
    ax.set_xticks(range(0, 25, 4), labels=[f"{hour:02d}:00" for hour in range(0, 25, 4)])
    ax.set_ylabel("GW of computers")
    ax.set_title(title, loc="left", fontsize=10)
    legend = ax.legend(loc="center", framealpha=0.9, fontsize=7.5, title="mean of the day")
    legend.get_title().set_fontsize(7.5)
    legend.set_bbox_to_anchor((0.5, 0.72))  # where cars are parked, no more
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_ledger(ax: Axes, ledger: pd.DataFrame) -> Axes:
    """Draw the cost of a million output tokens, cars (by line) against the data centre.

    Parameters
    ----------
    ax : Axes
    ledger : pandas.DataFrame
        One row per bar: `scene`, `policy`, the terms, `cars` (their sum), `data_centre` [USD per
        million tokens] and `cars / data centre`; not a number where no work was done.
    """
    y = range(len(ledger))
    left = pd.Series(0.0, index=ledger.index)
    for term, colour in TERMS.items():
        if (ledger[term].abs() > 0).any():
            ax.barh(y, ledger[term], left=left, color=colour, height=0.6, label=term)
            left = left + ledger[term]
    ax.vlines(
        ledger["data_centre"],
        [row - 0.4 for row in y],
        [row + 0.4 for row in y],
        color="black",
        lw=2.5,
        label="data centre, same work",
    )
    for row, (cars, centre, ratio) in enumerate(
        ledger[["cars", "data_centre", "cars / data centre"]].to_numpy()
    ):
        idle = not np.isfinite(ratio)
        text = "uses no car" if idle else f"{ratio:.2g} x data centre"
        end = 0.0 if idle else max(cars, centre)
        ax.annotate(text, (end, row), (6, 0), textcoords="offset points", va="center", fontsize=7.5)
    ax.margins(x=0.16)
    ax.set_xlim(left=0)
    ax.set_yticks(list(y), labels=[f"{s}\n{p}" for s, p in ledger[["scene", "policy"]].to_numpy()])
    ax.tick_params(axis="y", labelsize=7.5)
    ax.invert_yaxis()
    ax.set_xlabel("USD per million output tokens")
    ax.legend(frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    ax.spines[["top", "right"]].set_visible(False)
    return ax

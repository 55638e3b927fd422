"""Figures of the study of viability."""

from __future__ import annotations

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
    ax.legend(framealpha=0.9, fontsize=7.5, title="mean of the day", title_fontsize=7.5)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_ledger(ax: Axes, ledger: pd.DataFrame) -> Axes:
    """Draw the cost of a million output tokens, cars (by line) against the data centre.

    Parameters
    ----------
    ax : Axes
    ledger : pandas.DataFrame
        One row per bar: `scene`, `policy`, the terms, `data_centre` [USD per million tokens].
    """
    y = range(len(ledger))
    left = pd.Series(0.0, index=ledger.index)
    for term, colour in TERMS.items():
        if (ledger[term].abs() > 0).any():
            ax.barh(y, ledger[term], left=left, color=colour, height=0.6, label=term)
            left = left + ledger[term]
    ax.plot(
        ledger["data_centre"], y, "|", color="black", ms=20, mew=2.5, label="data centre, same work"
    )
    ax.set_yticks(list(y), labels=[f"{s}\n{p}" for s, p in ledger[["scene", "policy"]].to_numpy()])
    ax.tick_params(axis="y", labelsize=7.5)
    ax.invert_yaxis()
    ax.set_xlabel("USD per million output tokens")
    ax.legend(frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    ax.spines[["top", "right"]].set_visible(False)
    return ax

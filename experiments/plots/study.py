"""Figure of a study: how much each changed setting moves each policy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm

LINEAR_USD = 0.05  # changes up to this are coloured linearly, larger ones by their logarithm
SHOWN_USD = 0.01  # last digit printed


def plot_changes(ax: Axes, changes: pd.DataFrame) -> Axes:
    """Draw a heat map of money changes, settings down, policies across.

    Parameters
    ----------
    ax : Axes
    changes : pandas.DataFrame
        Columns `variant`, `policy`, `change`, `low`, `high` (USD per car-month). A change whose
        interval holds 0 gets no colour and grey print.

    Returns
    -------
    Axes
    """
    rows, columns = list(changes["variant"].unique()), list(changes["policy"].unique())
    sure = changes["change"].where((changes["low"] > 0) | (changes["high"] < 0))
    grid = changes.assign(sure=sure).pivot(index="variant", columns="policy", values="sure")
    values = np.ma.masked_invalid(grid.loc[rows, columns].to_numpy(dtype=float))
    top = max(float(changes["change"].abs().max()), 2 * LINEAR_USD)
    norm = SymLogNorm(LINEAR_USD, vmin=-top, vmax=top)
    ax.imshow(values, cmap="RdBu", norm=norm, aspect="auto")
    for row in changes.itertuples():
        clear = row.low > 0 or row.high < 0
        dark = abs(norm(row.change) - 0.5) > 0.35
        colour = "grey" if not clear else "white" if dark else "black"
        place = (columns.index(row.policy), rows.index(row.variant))
        ax.text(*place, _text(row.change), ha="center", va="center", fontsize=7, color=colour)
    ax.set_xticks(range(len(columns)), labels=columns, rotation=35, ha="right")
    ax.set_yticks(range(len(rows)), labels=rows)
    ax.set_title(
        "change of USD per car-month, mean over days\n(grey: paired 95 % interval holds 0)",
        fontsize=9,
        loc="left",
    )
    return ax


def _text(change: float) -> str:
    return "0" if abs(change) < SHOWN_USD / 2 else f"{change:+.2f}"

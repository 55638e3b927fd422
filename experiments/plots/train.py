"""Figure of a training: what the policy earns while it learns, and on validation days."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

# Okabe & Ito's palette, readable with colour-vision deficiencies
TRAIN, VALIDATION = "#56B4E9", "#D55E00"


def plot_training(ax: Axes, metrics: pd.DataFrame) -> Axes:
    """Draw the curve of a training.

    Parameters
    ----------
    ax : Axes
    metrics : pandas.DataFrame
        Columns `steps`; `return` (train days, actions drawn) and `validation/usd` (the best
        action), in USD per car-month, where there are any.

    Returns
    -------
    Axes
    """
    drawn = (
        ("return", TRAIN, "-", "train days of the rollout, drawn actions"),
        ("validation/usd", VALIDATION, "o-", "validation days, best action"),
    )
    for column, colour, style, label in drawn:
        if column in metrics:
            rows = metrics.dropna(subset=[column])
            ax.plot(rows["steps"], rows[column], style, color=colour, ms=4, lw=1.0, label=label)
    ax.set_xlabel("decisions of fleets")
    ax.xaxis.set_major_formatter(EngFormatter())
    ax.set_ylabel("USD per car-month")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return ax

"""Figure of a search: what the candidates of each generation earn, and the choice at the end."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

# Okabe & Ito's palette, readable with colour-vision deficiencies
BEST, MEDIAN, MEAN, CHOSEN, RIVAL = "#009E73", "#0072B2", "#56B4E9", "#D55E00", "#000000"


def plot_search(
    ax: Axes, curve: pd.DataFrame, chosen: tuple[float, float, float], rival: tuple[str, float]
) -> Axes:
    """Draw the curve of a search.

    Parameters
    ----------
    ax : Axes
    curve : pandas.DataFrame
        Columns `generation`, `best`, `median`, `mean` (train days of the generation) and
        `validation` (of its mean; missing where not played), in USD per car-month.
    chosen : tuple of float
        What the chosen index earns on validation days: low, mean, high.
    rival : tuple of str, float
        Name and mean on the same validation days of the best other policy.

    Returns
    -------
    Axes
    """
    x = curve["generation"]
    for name, colour in (("best", BEST), ("median", MEDIAN), ("mean", MEAN)):
        ax.plot(x, curve[name], color=colour, lw=1.0, label=f"{name}, train days of its own")
    ax.plot(x, curve["validation"], "o", color=CHOSEN, ms=4, label="middle, validation days")
    low, point, high = chosen
    ax.errorbar(
        [x.max() * 1.03], [point], yerr=[[point - low], [high - point]], fmt="D", color=CHOSEN,
        capsize=3, label="chosen, validation days (95 %)",
    )  # fmt: skip
    ax.axhline(rival[1], color=RIVAL, ls=":", label=f"{rival[0]}, validation days")
    worst = curve["median"].min()  # a few candidates of the beginning may lose a lot
    ax.set_ylim(bottom=worst - 0.15 * (max(high, curve["best"].max()) - worst))
    ax.set_xlabel("generation")
    ax.set_ylabel("USD per car-month")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return ax

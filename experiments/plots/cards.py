"""Figure of a comparison over cards: what each rule earns on each card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm

LINEAR_USD = 0.5  # money up to this is coloured linearly, more by its logarithm


def plot_cards(
    ax: Axes,
    rows: Mapping[str, Sequence[dict[str, Any]]],
    policies: Sequence[str],
    beside: Mapping[str, str] | None = None,
) -> Axes:
    """Draw a heat map of money, cards down, policies across.

    Parameters
    ----------
    ax : Axes
    rows : mapping
        Label of the card -> figures of `experiments.report.summarise`, best first.
    policies : sequence of str
        Order of the columns. A frame marks the best policy of a card, `~` those that cannot be
        told from it.
    beside : mapping, optional
        Label of the card -> what stands right of its row.

    Returns
    -------
    Axes
    """
    found = [{row["policy"]: row for row in figures} for figures in rows.values()]
    usd = np.array([[row[policy]["usd"] for policy in policies] for row in found])
    top = max(float(np.abs(usd).max()), 2 * LINEAR_USD)
    norm = SymLogNorm(LINEAR_USD, vmin=-top, vmax=top)
    ax.imshow(usd, cmap="RdBu", norm=norm, aspect="auto")
    for (y, x), money in np.ndenumerate(usd):
        mark = " ~" if found[y][policies[x]]["ties_best"] else ""
        dark = abs(norm(money) - 0.5) > 0.35
        colour = "white" if dark else "black"
        ax.text(x, y, f"{money:+.2f}{mark}", ha="center", va="center", fontsize=8, color=colour)
    for y, figures in enumerate(rows.values()):
        _frame(ax, policies.index(figures[0]["policy"]), y)
    for card, text in (beside or {}).items():
        place = (1.0, list(rows).index(card))
        ax.annotate(f" {text}", place, xycoords=ax.get_yaxis_transform(), va="center", fontsize=8)
    ax.set_xticks(range(len(policies)), labels=policies, rotation=35, ha="right")
    ax.set_yticks(range(len(rows)), labels=list(rows))
    ax.set_title(
        "USD per car-month against the data centre alone, mean over days\n"
        "(frame: best of the card; ~: not distinguishable from it, paired test, 5 %, Holm)",
        fontsize=9,
        loc="left",
    )
    return ax


def _frame(ax: Axes, x: int, y: int) -> None:
    left, right, low, high = x - 0.47, x + 0.47, y - 0.45, y + 0.45
    ax.plot([left, right, right, left, left], [low, low, high, high, low], color="black", lw=1.6)

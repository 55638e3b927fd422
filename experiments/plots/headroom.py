"""Figures of headroom: a bound split into what a rule, a planner and nobody reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from experiments.headroom import GATE_SHARE, Change, Headroom
from experiments.stats import Interval

RULE, PLANNER, REST = "#0072B2", "#56B4E9", "#DDDDDD"  # Okabe & Ito's blues; grey
LEFT_END = -0.25  # share of the bound; rules that lose more are cut off here


def plot_headroom(ax: Axes, found: Mapping[str, Headroom]) -> Axes:
    """Draw the bound of every card as a bar of length 1: best rule, planner, rest.

    Parameters
    ----------
    ax : Axes
    found : mapping
        Label of the card -> its headroom, the first on top. Beside the bars: bound and headroom
        in USD per car-month. Cards that are not worth it have no bar.

    Returns
    -------
    Axes
    """
    y = np.arange(len(found))[::-1]
    for height, card in zip(y, found.values(), strict=True):
        if card.share is not None:
            _bar(ax, height, card, card.share)
        text = f" {card.bound.point:.2f}   {card.usd.point:.2f}   {_share(card)}  {card.verdict}"
        place = (1.0, height)
        ax.annotate(text, place, xycoords=ax.get_yaxis_transform(), va="center", fontsize=8)
    ax.axvline(0.0, color="black", lw=0.8)
    ax.axvline(1 - GATE_SHARE, color="black", lw=0.8, ls=":")
    labels = [f"{label}\n{card.rule}" for label, card in found.items()]
    ax.set_yticks(y, labels=labels, fontsize=8)
    ax.set_xlim(LEFT_END, 1.0)
    ax.set_xlabel(
        "share of the mean bound (dotted: gate; line: 95 % interval of the rule)\n"
        "right: bound, headroom [USD per car-month], headroom as a share of the bound, verdict",
        fontsize=8,
    )
    ax.spines[["top", "right"]].set_visible(False)
    _legend(ax)
    return ax


def _share(card: Headroom) -> str:
    return "-" if card.share is None else f"{card.share.point:.0%}"


def _bar(ax: Axes, height: float, card: Headroom, share: Interval) -> None:
    rule = 1.0 - share.point
    gain = card.planners[card.planner].point / card.bound.point if card.planner else 0.0
    reached = max(rule, rule + gain)
    start = max(reached, 0.0)
    ax.barh(height, 1.0 - start, left=start, color=REST, height=0.7)
    if reached > rule:
        ax.barh(height, reached - rule, left=rule, color=PLANNER, height=0.7)
    ax.barh(height, rule, color=RULE, height=0.7)
    low, high = max(1.0 - share.high, LEFT_END), 1.0 - share.low
    ax.plot([low, high], [height, height], color="black", lw=1.2)


def _legend(ax: Axes) -> None:
    handles = [
        ax.barh(0, 0, color=colour, label=label)
        for colour, label in (
            (RULE, "best plain rule, chosen on other days"),
            (PLANNER, "above it: best planner (forecasts alone)"),
            (REST, "rest to the bound"),
        )
    ]
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0)}
    ax.legend(handles=handles, frameon=False, ncols=3, fontsize=8, **place)


def plot_headroom_changes(ax: Axes, changes: Mapping[str, Change]) -> Axes:
    """Draw what every variant does to headroom, with intervals; grey where they hold 0.

    Parameters
    ----------
    ax : Axes
    changes : mapping
        Variant -> change of its headroom against the card itself, the first on top.

    Returns
    -------
    Axes
    """
    y = np.arange(len(changes))[::-1]
    for height, change in zip(y, changes.values(), strict=True):
        usd = change.usd
        colour = "black" if usd.excludes_zero else "grey"
        ax.plot([usd.low, usd.high], [height, height], color=colour, lw=1.2)
        ax.plot(usd.point, height, "D", color=colour, ms=4)
    ax.axvline(0.0, color="black", lw=0.8)
    ax.set_yticks(y, labels=list(changes), fontsize=8)
    ax.set_xlabel(
        "change of headroom, USD per car-month\n(grey: paired 95 % interval holds 0)", fontsize=8
    )
    ax.spines[["top", "right"]].set_visible(False)
    return ax

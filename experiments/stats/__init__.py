"""Statistics over test days: ours, small, on NumPy and SciPy.

`bootstrap` holds those of one card, `pairs` who is better than whom, `runs` those over many cards.
"""

from experiments.stats.bootstrap import (
    Interval,
    bootstrap,
    iqm,
    paired,
    ratio,
    ratio_change,
    worst_decile,
)
from experiments.stats.pairs import Reversal, holm, p_value, pairs, reversals
from experiments.stats.runs import (
    Profile,
    Strata,
    improvement,
    iqm_over_cards,
    profile,
    unpaired_improvement,
)

__all__ = [
    "Interval",
    "Profile",
    "Reversal",
    "Strata",
    "bootstrap",
    "holm",
    "improvement",
    "iqm",
    "iqm_over_cards",
    "p_value",
    "paired",
    "pairs",
    "profile",
    "ratio",
    "ratio_change",
    "reversals",
    "unpaired_improvement",
    "worst_decile",
]

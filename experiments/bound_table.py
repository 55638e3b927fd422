"""Bounds of several days as figures and as a table, in USD per car-month."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from experiments import report

MONEY = ("lp", "milp", "milp_found", "price", "bound")  # + _usd: of the episode and fleet
STAGES = ("tape", "lp", "milp", "prices", "pass")  # + _s


def figures(days: pd.DataFrame, label: str) -> dict[str, Any]:
    """Average records of `experiments.verbs.bound.solve`.

    Parameters
    ----------
    days : pandas.DataFrame
        One day or several.
    label : str
        Number of the day, or what these days are.

    Returns
    -------
    dict
        `day`: the label; `car_steps`, `<stage>_s`: means; `lp`, `milp`,
        `milp_found`, `price`, `bound`: mean USD per car-month; of these means `price_over_lp`;
        `milp_gap`, (milp - found) / milp: what the solver left open; `relaxation_low`,
        `relaxation_high`: share of the LP that is lost with whole cars, at least (lp - milp) and at
        most (lp - found). None where something was not asked for.
    """
    row: dict[str, Any] = {"day": label, "car_steps": float(days["car_steps"].mean())}
    for name in MONEY:
        row[name] = _known(report.usd_per_car_month(days, f"{name}_usd").mean())
    for name in STAGES:
        row[f"{name}_s"] = _known(days[f"{name}_s"].mean())
    lp, milp, found = row["lp"], row["milp"], row["milp_found"]
    row["price_over_lp"] = _share(row["price"], lp)
    row["milp_gap"] = _share(None if milp is None else milp - found, milp)
    for name, whole in (("relaxation_low", milp), ("relaxation_high", found)):
        row[name] = _share(None if lp is None or whole is None else lp - whole, lp)
    return row


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


SHOWN = {  # heading -> key, format
    "car-steps": ("car_steps", ",.0f"),
    "bound": ("bound", ".3f"),
    "LP": ("lp", ".3f"),
    "MILP": ("milp", ".3f"),
    "found": ("milp_found", ".3f"),
    "gap": ("milp_gap", ".2%"),
    "price\nbound": ("price", ".3f"),
    "/ LP": ("price_over_lp", ".4f"),
    "tape\n[s]": ("tape_s", ".1f"),
    "LP\n[s]": ("lp_s", ".1f"),
    "MILP\n[s]": ("milp_s", ".1f"),
    "prices\n[s]": ("prices_s", ".1f"),
    "pass\n[s]": ("pass_s", ".1f"),
}
NOTES = {  # key that must be there -> what its columns are
    "bound": "USD per car-month that no policy exceeds, told whatever; bound: the least at hand.",
    "lp": "LP: programme of the whole fleet, cars on duty in part.",
    "milp": "MILP: whole cars; what HiGHS proved by {milp_time_s:g} s, what its best plan makes in "
    "the programme (found), and the gap between.",
    "price": "Price bound: at the prices of the programme of {sample_cars:,} cars. Seconds: "
    "recorder, programmes, and the pass over all cars. The last line: ratios of its means.",
}


def note(mean: dict[str, Any], sample_cars: int, milp_time_s: float) -> str:
    """Say what the columns are that there are."""
    words = " ".join(text for key, text in NOTES.items() if mean[key] is not None)
    return words.format(sample_cars=sample_cars, milp_time_s=milp_time_s)


def table(rows: Sequence[dict[str, Any]], title: str, note: str) -> Table:
    """Lay out the days and, last, their mean; columns of what was not asked for are left out."""
    out = report.new_table(title, note)
    out.add_column("day", no_wrap=True)
    shown = {name: column for name, column in SHOWN.items() if rows[-1][column[0]] is not None}
    for name in shown:
        out.add_column(escape(name), justify="right", no_wrap=True)
    for number, row in enumerate(rows, start=1):
        line = (_cell(row[key], spec) for key, spec in shown.values())
        out.add_row(row["day"], *line, end_section=number == len(rows) - 1)
    return out


def _cell(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)


def sentence(mean: dict[str, Any]) -> str:
    """Say how much of the LP is relaxation; nothing without LP or MILP."""
    if mean["relaxation_high"] is None:
        return ""
    low, high = (f"{100 * mean[f'relaxation_{end}']:.2f}" for end in ("low", "high"))
    usd = mean["lp"] - mean["milp_found"]
    return (
        f"Relaxation: with whole cars {low} to {high} % of the LP are lost, at most {usd:.3f} USD "
        "per car-month. The rest of the distance to a policy is the envelopes of docs/bounds.md "
        "and what is worth knowing beforehand."
    )

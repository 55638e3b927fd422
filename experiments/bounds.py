"""Bounds of the days that are played: solved once per scenario, kept, and held against records."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from agents.oracle.bound import bounds_usd
from experiments.records import code_digest, digest, read_csv, write_csv
from experiments.runner import Days
from fleet_env.config import EnvConfig

CODE = ("fleet_env", "agents.oracle")  # what bounds follow from
COLUMNS = ["key", "split", "scenario", "sample_cars", "bound_usd", "solve_s"]
REL_TOLERANCE = 1e-6  # of a bound: what solvers leave open
ABS_TOLERANCE_USD = 1e-9


class BoundViolationError(ValueError):
    """A policy earned more than is possible: the bound or the ledger is wrong."""


def solve(config: EnvConfig, days: Days, sample_cars: int, file: Path) -> pd.DataFrame:
    """Bound the days of a card, those that no earlier run has solved.

    Parameters
    ----------
    config : EnvConfig
    days : Days
    sample_cars : int
        As in `agents.oracle.bound.bounds_usd`.
    file : Path
        Holds what is solved, written anew after each scenario; rows of another card, split,
        sample or code stay in it and are not used.

    Returns
    -------
    pandas.DataFrame
        One row per day in the order of `days`: `key` (of card, split, sample and code), `split`,
        `scenario`, `sample_cars`, `bound_usd` (of the episode and fleet), `solve_s`.
    """
    head = _head(config, days, sample_cars)
    kept = _kept(file)
    wanted = _wanted(days)
    known = set(kept.loc[kept["key"] == head["key"], "scenario"])
    missing = [scenario for scenario in wanted if scenario not in known]
    found = bounds_usd(config, days.split, missing, sample_cars)
    for scenario in missing:
        start = time.perf_counter()
        row = head | {"scenario": scenario, "bound_usd": next(found)}
        row["solve_s"] = time.perf_counter() - start
        one = pd.DataFrame([row], columns=COLUMNS)
        kept = one if kept.empty else pd.concat([kept, one], ignore_index=True)
        write_csv(file, kept)
    mine = kept[kept["key"] == head["key"]].set_index("scenario").loc[wanted]
    return mine.reset_index()[COLUMNS]


def solved(config: EnvConfig, days: Days, sample_cars: int, file: Path) -> bool:
    """Whether `solve` finds all of its days in the file."""
    kept = _kept(file)
    mine = kept[kept["key"] == _head(config, days, sample_cars)["key"]]
    return set(_wanted(days)) <= set(mine["scenario"])


def _head(config: EnvConfig, days: Days, sample_cars: int) -> dict[str, Any]:
    head: dict[str, Any] = {"split": days.split, "sample_cars": sample_cars}
    return head | {"key": digest(head | {"card": asdict(config), "code": code_digest(CODE)})}


def _kept(file: Path) -> pd.DataFrame:
    return read_csv(file) if file.is_file() else pd.DataFrame(columns=COLUMNS)


def _wanted(days: Days) -> list[int]:
    return [scenario for batch in days.batches() for scenario in batch]


def with_bounds(records: pd.DataFrame, bounds: pd.DataFrame) -> pd.DataFrame:
    """Add the column `bound_usd` to records of the same scenarios (and cards or variants)."""
    on = [name for name in ("card", "variant", "scenario") if name in bounds]
    return records.merge(bounds[[*on, "bound_usd"]], on=on, how="left", validate="many_to_one")


def violations(records: pd.DataFrame) -> pd.DataFrame:
    """Rows of `with_bounds` that earn more than their day's bound, the worst first."""
    over = records["return"] - records["bound_usd"]
    allowed = REL_TOLERANCE * records["bound_usd"] + ABS_TOLERANCE_USD
    columns = ["card", "variant", "policy", "split", "scenario", "return", "bound_usd"]
    found = records.loc[over > allowed, [name for name in columns if name in records]]
    return found.loc[over[found.index].sort_values(ascending=False).index]


def refuse(found: pd.DataFrame, out: Path) -> None:
    """Write what `violations` found into violations.csv, and raise it, once all else is written.

    Raises
    ------
    BoundViolationError
        With policy, scenario and both numbers of the worst one.
    """
    if found.empty:
        return
    write_csv(out / "violations.csv", found)
    worst = found.iloc[0]
    where = "".join(f"{worst[name]}, " for name in ("card", "variant") if name in found)
    more = f" (and {len(found) - 1} more, violations.csv)" if len(found) > 1 else ""
    raise BoundViolationError(
        f"{worst['policy']} earns {worst['return']:.9g} USD in {where}{worst['split']} scenario "
        f"{worst['scenario']}, above the bound of {worst['bound_usd']:.9g} USD{more}: a bug in the "
        "bound or the ledger, please report"
    )

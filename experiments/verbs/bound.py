"""`fleet bound`: how good could anyone be on these days, and how much of the bound is relaxation.

Three bounds of the same days (docs/bounds.md): the LP of the whole fleet, its MILP (cars on duty or
not, not in part), and the price bound that works at any size. The memory goes with the car-steps
(a car at the start of a step in a stay whose owner allows compute), 0.4 to 0.5 kB each at the peak.
A suburb of 100,000 cars has 1.4 million a day and takes 0.7 GB (7 kB a car and day) and 20 s; one
of 1,000,000 has 13.8 million and takes 5.6 GB. Cards on which more owners take part, or whose cars
stay longer at plugs, have more of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig

from agents.oracle.bound import Case, case_of, plan_of
from agents.oracle.lp import Plan, foresight
from agents.oracle.price_bound import price_bound
from agents.oracle.tape import record
from experiments import report, schema
from experiments.bound_table import MONEY, STAGES, figures, note, sentence, table
from experiments.records import RunFolder, write_csv, write_json
from experiments.runner import Tick, progress
from experiments.settings import BoundVerbSettings
from fleet_env.config import EnvConfig
from fleet_env.types import BoolArray

Result = TypeVar("Result")
COLUMNS = [
    *("split", "scenario", "num_cars", "days", "sample_cars", "car_steps"),
    *(f"{name}_usd" for name in MONEY),
    *(f"{name}_s" for name in STAGES),
]
# at the least: 5.6 GB for 1,000,000 cars of the suburb, one day; measured
BYTES_PER_CAR_DAY = 5_600
BYTES_PER_GB = 1e9

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="bound")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, BoundVerbSettings, bound)


def bound(settings: BoundVerbSettings, out: Path) -> list[dict[str, Any]]:
    """Bound every day in all ways that are asked for; print and write what came out.

    Parameters
    ----------
    settings : BoundVerbSettings
    out : Path
        Receives bound.csv (one row per day, `COLUMNS`; money in USD of episode and fleet),
        summary.json and manifest.json; a rerun into the same folder solves only what is missing.

    Returns
    -------
    list of dict
        Rows of `figures`: one per day, and their mean.

    Raises
    ------
    ValueError
        If the fleet does not fit into this machine's memory.
    """
    _check_memory(settings.env)
    folder = RunFolder.open(out, "bound", schema.plain(settings))
    days = solve_all(settings, folder)
    write_csv(out / "bound.csv", days)
    rows = [figures(days[i : i + 1], str(days["scenario"][i])) for i in range(len(days))]
    rows.append(figures(days, "mean"))
    content = {"env": settings.env.name, "days": rows[:-1], "mean": rows[-1]}
    write_json(out / "summary.json", content)
    show(rows, settings, out)
    return rows


def _check_memory(config: EnvConfig) -> None:
    wanted = BYTES_PER_CAR_DAY * config.num_cars * config.days
    here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if wanted > here:
        raise ValueError(
            f"env.num_cars={config.num_cars}: their bound takes {wanted / BYTES_PER_GB:,.0f} GB of "
            f"memory or more, this machine has {here / BYTES_PER_GB:,.0f}; choose fewer cars"
        )


def solve_all(settings: BoundVerbSettings, folder: RunFolder) -> pd.DataFrame:
    """Bound every day that has no record yet, and return the records of all."""
    frames = []
    first, count = settings.first_episode, settings.num_episodes
    with progress(f"{settings.env.name}:", count) as begin:
        for scenario in range(first, first + count):
            done = begin(f"day {scenario}")
            frames.append(folder.get(str(scenario), partial(solve, settings, scenario, begin)))
            done()
    return pd.concat(frames, ignore_index=True)


def solve(settings: BoundVerbSettings, scenario: int, begin: Callable[[str], Tick]) -> pd.DataFrame:
    """Bound one day.

    Parameters
    ----------
    settings : BoundVerbSettings
    scenario : int
    begin : callable
        Told what starts.

    Returns
    -------
    pandas.DataFrame
        One row, `COLUMNS`, empty where something was not asked for. `milp_usd` is what HiGHS has
        proved, `milp_found_usd` what its best plan is worth; `bound_usd` the least of all bounds.
        `tape_s` holds recorder and economics, `prices_s` the programme of the sample (none where
        prices are those of the LP), `pass_s` that over all cars.
    """
    config, sample_cars = settings.env, settings.sample_cars
    row: dict[str, Any] = {"split": settings.split, "scenario": scenario}
    row |= {"num_cars": config.num_cars, "days": config.days, "sample_cars": sample_cars}

    def timed(stage: str, work: Callable[[], Result]) -> Result:
        begin(f"day {scenario}, {stage}")
        start = time.perf_counter()
        found = work()
        row[f"{stage}_s"] = time.perf_counter() - start
        return found

    case = timed("tape", partial(_case, config, settings.split, scenario))
    row["car_steps"] = len(case.cars.car)
    plan = None
    if settings.solves_lp:
        plan = timed("lp", partial(plan_of, case, config.num_cars, config.num_cars))
        row["lp_usd"] = _of_episode(plan.bound_usd, case)
    if settings.milp:
        whole = timed("milp", partial(_whole, case, settings.milp_time_s))
        row["milp_usd"] = _of_episode(whole.bound_usd, case)
        found_usd = min(worth_of(case, whole.duty > 0.5), whole.bound_usd)
        row["milp_found_usd"] = _of_episode(found_usd, case)
    if plan is None or sample_cars < config.num_cars:
        plan = timed("prices", partial(plan_of, case, config.num_cars, sample_cars))
    parts = (case.cars, case.stays, case.shop, plan.prices, case.limits)
    row["price_usd"] = _of_episode(timed("pass", partial(price_bound, *parts)), case)
    proved = [row.get(f"{name}_usd", np.inf) for name in ("lp", "milp", "price")]
    row["bound_usd"] = min(proved)
    return pd.DataFrame([row], columns=COLUMNS)


def _case(config: EnvConfig, split: str, scenario: int) -> Case:
    """Record a day; the tape itself is not kept."""
    [tape] = record(config, split, [scenario])
    return case_of(tape)


def _of_episode(usd: float, case: Case) -> float:
    """Complete the optimum of a programme to a bound of the episode [USD]; nobody has to play."""
    return max(usd, 0.0) + case.gain_usd


def _whole(case: Case, time_limit_s: float) -> Plan:
    """Solve the MILP, as far as it comes."""
    try:
        return foresight(
            case.cars,
            case.stays,
            case.shop,
            whole=True,
            limits=case.limits,
            time_limit_s=time_limit_s,
        )
    except RuntimeError as error:
        raise ValueError(
            f"milp_time_s={time_limit_s:g}: too short for a bound of this fleet ({error})"
        ) from error


def worth_of(case: Case, duty: BoolArray) -> float:
    """Worth of a plan in the programme, all but its duty chosen at best [USD], to about 1e-4.

    HiGHS calls a MILP solved at a relative gap of 1e-4. Of the MILP's own plan it is what was
    found, where its bound is what was proved.

    Parameters
    ----------
    case : Case
    duty : BoolArray, shape (car-steps,)
    """
    held = foresight(case.cars, case.stays, case.shop, whole=True, limits=case.limits, duty=duty)
    return held.bound_usd


def show(rows: Sequence[dict[str, Any]], settings: BoundVerbSettings, out: Path) -> None:
    """Print the table and where the files lie."""
    console, config = report.console(), settings.env
    days = f"{settings.num_episodes} {settings.split} days"
    words = note(rows[-1], min(settings.sample_cars, config.num_cars), settings.milp_time_s)
    console.print(table(rows, f"{config.name}: {config.num_cars:,} cars, {days}, bounds", words))
    if text := sentence(rows[-1]):
        console.print(text, highlight=False)
    console.print(f"results: {out}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()

"""From records to the numbers and tables people read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from experiments.stats import Interval, bootstrap, middle_days, paired, worst_decile
from fleet_env.config import EnvConfig
from fleet_env.metrics import REWARD_TERMS
from fleet_env.types import CLASS_TIER, CLASSES, TIER_70B, FloatArray
from fleet_env.units import DAYS_PER_MONTH, G_PER_KG, TOKENS_PER_MTOK

REFERENCE = "dc_only"  # the policy that never uses a car


def usd_per_car_month(records: pd.DataFrame, column: str = "return") -> FloatArray:
    """Scale the episode sums of a money column to USD per car and month, shape (episodes,)."""
    car_months = records["num_cars"] * records["days"] / DAYS_PER_MONTH
    return np.asarray(records[column] / car_months, dtype=np.float64)


def summarise(records: pd.DataFrame, config: EnvConfig, seed: int) -> list[dict[str, Any]]:
    """One row of figures per policy, best first.

    Parameters
    ----------
    records : pandas.DataFrame
        Rows of `experiments.runner.play` for any number of policies on the same scenarios.
    config : EnvConfig
        The card that was played.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of dict
        `usd`, `usd_low`, `usd_high`: interquartile mean over days of USD per car-month against
        `dc_only` (or against 0, its score by construction, if it was not played) and its 95 %
        interval; `usd/<term>`: the same money by term, over the same middle days, so the terms
        add up; and the service, energy and owner figures of `_service` and `_energy`. A figure
        that does not exist, for instance energy per token where no token was made, is None.
    """
    parts = {str(name): part.sort_values("scenario") for name, part in records.groupby("policy")}
    reference = parts.get(REFERENCE)
    rows = []
    for name, part in parts.items():
        interval = _against(part, reference, np.random.default_rng(seed))
        row = {"policy": name, "episodes": len(part)}
        row |= {"usd": interval.point, "usd_low": interval.low, "usd_high": interval.high}
        rows.append(row | _money(part) | _service(part, config) | _energy(part, config))
    return sorted(rows, key=lambda row: row["usd"], reverse=True)


def _against(
    part: pd.DataFrame, reference: pd.DataFrame | None, rng: np.random.Generator
) -> Interval:
    money = usd_per_car_month(part)
    if reference is None:
        return bootstrap(money, rng)
    return paired(money, usd_per_car_month(reference), rng)


def _money(part: pd.DataFrame) -> dict[str, float]:
    money = usd_per_car_month(part)
    middle = middle_days(money)
    terms = {
        f"usd/{term}": float(usd_per_car_month(part, f"reward/{term}")[middle].mean())
        for term in REWARD_TERMS
    }
    return {"usd_mean": float(money.mean()), "usd_worst_decile": worst_decile(money), **terms}


def _service(part: pd.DataFrame, config: EnvConfig) -> dict[str, float | None]:
    """SLO attainment of what cars took, share of demand they served, owners, seconds."""
    total = {name: float(part[name].sum()) for name in part if name.startswith("metric/")}
    car_days = float((part["num_cars"] * part["days"]).sum())
    row: dict[str, float | None] = {}
    for name in CLASSES:
        on_time = total[f"metric/on_time_{name}"]
        failed = total[f"metric/late_{name}"] + total[f"metric/lost_{name}"]
        row[f"slo/{name}"] = _ratio(on_time, on_time + failed)
        row[f"served/{name}"] = _ratio(on_time, total[f"metric/arrived_{name}"])
    on_time = sum(total[f"metric/on_time_{name}"] for name in CLASSES)
    eligible = sum(total[f"metric/arrived_{name}"] for name in CLASSES)
    row["served_eligible"] = _ratio(on_time, eligible)
    row["served_all"] = _ratio(on_time, _all_demand(total, config))
    row["shortfalls_per_1000_car_days"] = 1000 * total["metric/shortfalls"] / car_days
    row["broken_promises_per_1000_car_days"] = 1000 * total["metric/broken_promises"] / car_days
    row["on_duty_h_per_car_day"] = total["metric/on_duty_h"] / car_days
    row["decision_s"] = float(part["decision_s"].median())
    return row


def _all_demand(total: dict[str, float], config: EnvConfig) -> float:
    """Count all requests; `arrived` leaves out those that may not leave the data centre."""
    may_leave = 1.0 - config.demand.trusted_only_share
    interactive = sum(total[f"metric/arrived_{name}"] for name in CLASSES if name != "batch_70b")
    if may_leave == 0:
        return float("nan")
    return interactive / may_leave + total["metric/arrived_batch_70b"]


def _energy(part: pd.DataFrame, config: EnvConfig) -> dict[str, float | None]:
    """Energy and carbon per million output tokens: cars, and the data centre for the same work.

    The data centre is taken to run on the same grid, evenly through the day.
    """
    per_mtok = config.demand.output_tokens / TOKENS_PER_MTOK
    mtok = {name: float(part[f"metric/on_time_{name}"].sum()) * per_mtok for name in CLASSES}
    served = sum(mtok.values())
    centre = config.datacentre
    centre_kwh = sum(
        mtok[name] * (centre.kwh_per_mtok_70b if tier == TIER_70B else centre.kwh_per_mtok_8b)
        for name, tier in zip(CLASSES, CLASS_TIER, strict=True)
    )
    grid_g_per_kwh = float(part["grid_kg_per_kwh"].mean()) * G_PER_KG
    carbon_g = float(part["metric/carbon_kg"].sum()) * G_PER_KG
    return {
        "mtok_served": served,
        "kwh_per_mtok": _ratio(float(part["metric/wall_kwh"].sum()), served),
        "co2_g_per_mtok": _ratio(carbon_g, served),
        "dc_kwh_per_mtok": _ratio(centre_kwh, served),
        "dc_co2_g_per_mtok": _ratio(centre_kwh * grid_g_per_kwh, served),
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


Cell = Callable[[dict[str, Any]], str]


def _number(key: str, spec: str, factor: float = 1.0) -> Cell:
    def cell(row: dict[str, Any]) -> str:
        value = row[key]
        return "-" if value is None or not np.isfinite(value) else format(factor * value, spec)

    return cell


def _interval(row: dict[str, Any]) -> str:
    return f"{row['usd']:+.3f} [{row['usd_low']:+.3f}, {row['usd_high']:+.3f}]"


MIN_WIDTH = 120  # of the widest table [characters]
MONEY: dict[str, Cell] = {
    "USD/car-month": _interval,
    "mean": _number("usd_mean", "+.3f"),
    "worst 10 %": _number("usd_worst_decile", "+.3f"),
    **{term: _number(f"usd/{term}", "+.3f") for term in REWARD_TERMS},
}
SERVICE: dict[str, Cell] = {
    **{f"SLO {name.replace('_', ' ')}": _number(f"slo/{name}", ".2%") for name in CLASSES},
    "served": _number("served_eligible", ".1%"),
    "of all": _number("served_all", ".1%"),
    "shortfalls": _number("shortfalls_per_1000_car_days", ".2f"),
    "broken": _number("broken_promises_per_1000_car_days", ".2f"),
}
ENERGY: dict[str, Cell] = {
    "on duty": _number("on_duty_h_per_car_day", ".2f"),
    "Mtok": _number("mtok_served", ",.0f"),
    "kWh/Mtok": _number("kwh_per_mtok", ".3f"),
    "(DC)": _number("dc_kwh_per_mtok", ".3f"),
    "gCO2/Mtok": _number("co2_g_per_mtok", ".0f"),
    "(DC) ": _number("dc_co2_g_per_mtok", ".0f"),
    "ms/decision": _number("decision_s", ".3f", 1e3),
}
MONEY_NOTE = (
    "USD per car-month against the data centre alone: interquartile mean over days with its 95 % "
    "bootstrap interval; the terms are those of the same middle days and add up to it."
)
SERVICE_NOTE = (
    "SLO: on time / (on time + late + lost) of what ran in cars. Served: on-time share of the "
    "requests that may leave the data centre; of all requests. Shortfalls and broken promises: "
    "per 1,000 car-days."
)
ENERGY_NOTE = (
    "On duty: hours per car-day. Mtok: million output tokens served in cars, all days; (DC): the "
    "data centre for the same work, on the same grid. ms/decision: per fleet, median."
)


def new_table(title: str, note: str) -> Table:
    """Start a table with its title above and a note below."""
    out = Table(title=title, caption=note, box=SIMPLE, collapse_padding=True, pad_edge=False)
    out.title_justify = out.caption_justify = "left"
    return out


def table(rows: Sequence[dict[str, Any]], columns: dict[str, Cell], title: str, note: str) -> Table:
    """Lay out figures of `summarise`, one line per policy."""
    out = new_table(title, note)
    out.add_column("policy", no_wrap=True)
    for name in columns:
        out.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        out.add_row(row["policy"], *(cell(row) for cell in columns.values()))
    return out


def console() -> Console:
    """Terminal to print tables on, never so narrow that figures would be cut off."""
    return Console(width=max(Console().width, MIN_WIDTH))

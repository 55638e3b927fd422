"""From records to the numbers and tables people read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.stats import Interval, bootstrap, holm, iqm, p_value, paired, worst_decile
from experiments.stats.bootstrap import LEVEL
from fleet_env.config import EnvConfig
from fleet_env.dynamics.roofline import Mix, accelerator, fits, model, t_step_s
from fleet_env.metrics import REWARD_TERMS
from fleet_env.types import CLASSES, TIERS, FloatArray, IntArray
from fleet_env.units import DAYS_PER_MONTH, G_PER_KG, HOURS_PER_DAY, S_PER_H, TOKENS_PER_MTOK

REFERENCE = "dc_only"  # the policy that never uses a car
CHAT = ("chat_8b", "chat_70b")


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
        `usd`, `usd_low`, `usd_high`: mean over days of USD per car-month against `dc_only` (or
        against 0, its score by construction, if it was not played) and its 95 % interval, by
        demand day; `minus_best` with `_low` and `_high`: the same of the paired difference to the
        best policy; `p_best`: two-sided p-value of that difference, corrected for the number of
        policies (Holm), and `ties_best`: whether it is above 5 % (False for the best itself);
        `beats_best`: share of the days on which the policy earns more, equal days by half;
        `usd_iqm`, `usd_worst_decile`: other statistics of the same days; `usd/<term>`: the mean
        money by term, which adds up to `usd`; `demand_days`: distinct days of the
        demand trace; and the service, energy and owner figures of `_service` and `_energy`. A
        figure that does not exist, for instance energy per token where no token was made, is None.
    """
    parts = {str(name): part.sort_values("scenario") for name, part in records.groupby("policy")}
    money = {name: usd_per_car_month(part) for name, part in parts.items()}
    reference = money.get(REFERENCE, 0.0)
    best = max(money, key=lambda name: float(money[name].mean()))
    by_p = _ties(best, money, parts[best]["trace_day"].to_numpy())
    rows = []
    for name, part in parts.items():
        days = part["trace_day"].to_numpy()
        row = {"policy": name, "episodes": len(part), "demand_days": len(np.unique(days))}
        row |= interval("usd", bootstrap(money[name] - reference, _rng(seed), days))
        row |= _minus_best(name, best, money, days, seed) | by_p[name]
        row |= {"usd_iqm": float(iqm(money[name] - reference))}
        row |= {"usd_worst_decile": worst_decile(money[name] - reference)}
        rows.append(row | _terms(part) | _service(part, config) | _energy(part, config))
    return sorted(rows, key=lambda row: row["usd"], reverse=True)


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def interval(key: str, found: Interval | None) -> dict[str, Any]:
    """Spread an interval over three figures of a row; all None where there is none."""
    if found is None:
        return dict.fromkeys((key, f"{key}_low", f"{key}_high"))
    return {key: found.point, f"{key}_low": found.low, f"{key}_high": found.high}


def _minus_best(
    name: str, best: str, money: dict[str, FloatArray], days: IntArray, seed: int
) -> dict[str, Any]:
    if name == best:
        return {**interval("minus_best", None), "beats_best": None}
    a, b = money[name], money[best]
    wins = float(np.where(a == b, 0.5, a > b).mean())
    return {**interval("minus_best", paired(a, b, _rng(seed), days)), "beats_best": wins}


def _ties(best: str, money: dict[str, FloatArray], days: IntArray) -> dict[str, dict[str, Any]]:
    """Tell which policies cannot be told from the best, corrected for how many are asked about."""
    others = [name for name in money if name != best]
    found = holm([p_value(money[name], money[best], days) for name in others])
    rows = {
        name: {"p_best": p, "ties_best": p > 1 - LEVEL}
        for name, p in zip(others, found, strict=True)
    }
    return {best: {"p_best": None, "ties_best": False}, **rows}


def _terms(part: pd.DataFrame) -> dict[str, float]:
    return {
        f"usd/{term}": float(usd_per_car_month(part, f"reward/{term}").mean())
        for term in REWARD_TERMS
    }


def _service(part: pd.DataFrame, config: EnvConfig) -> dict[str, float | None]:
    """Time to first token, SLO and diversion of chat, batch done, share of demand, owners."""
    total = {name: float(part[name].sum()) for name in part if name.startswith("metric/")}
    car_days = float((part["num_cars"] * part["days"]).sum())
    row: dict[str, float | None] = {}
    started = all_failed = 0.0
    for name in CHAT:
        on_time, arrived = total[f"metric/on_time_{name}"], total[f"metric/arrived_{name}"]
        failed = total[f"metric/late_{name}"] + total[f"metric/lost_{name}"]
        diverted = total[f"metric/diverted_{name}"]
        row[f"slo/{name}"] = _ratio(on_time, on_time + failed)
        row[f"diverted/{name}"] = _ratio(diverted, arrived)
        started += arrived - diverted
        all_failed += failed
    row["ttft_s"] = _ratio(total["metric/ttft_request_s"], started)
    in_cars = total["metric/on_time_batch_70b"]
    row["batch_in_cars"] = _ratio(in_cars, in_cars + total["metric/expired_batch_70b"])
    on_time = sum(total[f"metric/on_time_{name}"] for name in CLASSES)
    eligible = sum(total[f"metric/arrived_{name}"] for name in CLASSES)
    row["served_eligible"] = _ratio(on_time, eligible)
    row["served_all"] = _ratio(on_time, _all_demand(total, config))
    row["failed_chat_per_car_day"] = all_failed / car_days
    row["shortfalls_per_1000_car_days"] = 1000 * total["metric/shortfalls"] / car_days
    row["broken_promises_per_1000_car_days"] = 1000 * total["metric/broken_promises"] / car_days
    row["dropouts_per_1000_car_days"] = 1000 * total["metric/dropouts"] / car_days
    row["on_duty_h_per_car_day"] = total["metric/on_duty_h"] / car_days
    row["util_available"] = _ratio(total["metric/busy_h"], float(part["available_h"].sum()))
    row["util_nameplate"] = total["metric/busy_h"] / (car_days * HOURS_PER_DAY)
    tokens = on_time * config.demand.output_tokens
    row["goodput_tok_s_per_car"] = tokens / (car_days * HOURS_PER_DAY * S_PER_H)
    row["tpot_s"] = tpot_s(config)
    row["jain_duty"] = float(part["jain_duty"].mean())
    row["decision_s"] = float(part["decision_s"].median())
    return row


def tpot_s(config: EnvConfig) -> float | None:
    """Time per output token of the largest model that a car serves, at full slots [s].

    By the roofline; the mean over the computers of the fleet that hold the model. A batch that is
    not full decodes faster.
    """
    mix = Mix(config.demand.input_tokens, config.demand.output_tokens)
    slots = config.serving.batch_slots
    for tier in reversed(TIERS):
        llm, times = model(tier), []
        for name, share in config.fleet.accelerators.items():
            chip = accelerator(name)
            if share > 0 and fits(chip, llm, slots, mix):
                times.append((share, t_step_s(chip, llm, slots, mix)))
        if times:
            weight = sum(share for share, _ in times)
            return sum(share * seconds for share, seconds in times) / weight
    return None


def _all_demand(total: dict[str, float], config: EnvConfig) -> float:
    """Count all requests; `arrived` leaves out those that may not leave the data centre."""
    may_leave = 1.0 - config.demand.trusted_only_share
    interactive = sum(total[f"metric/arrived_{name}"] for name in CLASSES if name != "batch_70b")
    if may_leave == 0:
        return float("nan")
    return interactive / may_leave + total["metric/arrived_batch_70b"]


def _energy(part: pd.DataFrame, config: EnvConfig) -> dict[str, float | None]:
    """Energy and carbon per million output tokens: cars, and the data centre for the same work.

    The data centre is taken to run in the same steps on the same grid.
    """
    requests = sum(float(part[f"metric/on_time_{name}"].sum()) for name in CLASSES)
    served = requests * config.demand.output_tokens / TOKENS_PER_MTOK
    return {
        "mtok_served": served,
        "kwh_per_mtok": _ratio(float(part["metric/wall_kwh"].sum()), served),
        "co2_g_per_mtok": _ratio(float(part["metric/carbon_kg"].sum()) * G_PER_KG, served),
        "dc_kwh_per_mtok": _ratio(float(part["dc_kwh"].sum()), served),
        "dc_co2_g_per_mtok": _ratio(float(part["dc_carbon_kg"].sum()) * G_PER_KG, served),
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


Cell = Callable[[dict[str, Any]], str]


def _below(head: str, name: str) -> str:
    return f"{head}\n{name.replace('_', ' ')}"


def _number(key: str, spec: str, factor: float = 1.0) -> Cell:
    def cell(row: dict[str, Any]) -> str:
        value = row[key]
        return "-" if value is None or not np.isfinite(value) else format(factor * value, spec)

    return cell


def _usd(row: dict[str, Any]) -> str:
    return f"{row['usd']:+.3f} [{row['usd_low']:+.3f}, {row['usd_high']:+.3f}]"


def _difference(row: dict[str, Any]) -> str:
    if row["minus_best"] is None:
        return "best"
    low, high = row["minus_best_low"], row["minus_best_high"]
    return f"{'~ ' * row['ties_best']}{row['minus_best']:+.3f} [{low:+.3f}, {high:+.3f}]"


MIN_WIDTH = 120  # of the widest table [characters]
MAX_LABEL = 18  # of a policy in a line, as the longest name of a rule [characters]
MONEY: dict[str, Cell] = {
    "USD/car-month": _usd,
    "minus best": _difference,
    "beats best": _number("beats_best", ".0%"),
    "IQM": _number("usd_iqm", "+.3f"),
    "worst 10 %": _number("usd_worst_decile", "+.3f"),
}


def _seeds(row: dict[str, Any]) -> str:
    of_each = row["usd_seeds"]
    return f"{min(of_each):+.3f} to {max(of_each):+.3f}" if of_each else ""


def money_columns(rows: Sequence[dict[str, Any]]) -> dict[str, Cell]:
    """Columns of the table of money: with the spread of trainings over seeds where there are any.

    Parameters
    ----------
    rows : sequence of dict
        Of `experiments.seeds.Pooled.summarise`.
    """
    return MONEY | ({"seeds": _seeds} if any(row.get("usd_seeds") for row in rows) else {})


TERMS: dict[str, Cell] = {
    "USD/car-month": _number("usd", "+.3f"),
    **{term: _number(f"usd/{term}", "+.3f") for term in REWARD_TERMS},
}
SERVICE: dict[str, Cell] = {
    **{f"SLO\n{name.removeprefix('chat_')}": _number(f"slo/{name}", ".2%") for name in CHAT},
    **{_below("diverted", name): _number(f"diverted/{name}", ".1%") for name in CHAT},
    "TTFT\n[s]": _number("ttft_s", ".2f"),
    "batch\nin cars": _number("batch_in_cars", ".1%"),
    "served": _number("served_eligible", ".1%"),
    "of all": _number("served_all", ".1%"),
    "failed\nchat": _number("failed_chat_per_car_day", ".1f"),
    "short-\nfalls": _number("shortfalls_per_1000_car_days", ".2f"),
    "broken\npro-\nmises": _number("broken_promises_per_1000_car_days", ".2f"),
    "drop-\nouts": _number("dropouts_per_1000_car_days", ".2f"),
}
ENERGY: dict[str, Cell] = {
    "on duty": _number("on_duty_h_per_car_day", ".2f"),
    "of avail.": _number("util_available", ".1%"),
    "of all": _number("util_nameplate", ".2%"),
    "tok/s": _number("goodput_tok_s_per_car", ".1f"),
    "Jain": _number("jain_duty", ".2f"),
    "Mtok": _number("mtok_served", ",.0f"),
    "kWh/Mtok": _number("kwh_per_mtok", ".3f"),
    "(DC)": _number("dc_kwh_per_mtok", ".3f"),
    "gCO2/Mtok": _number("co2_g_per_mtok", ".0f"),
    "(DC) ": _number("dc_co2_g_per_mtok", ".0f"),
    "ms/decision": _number("decision_s", ".3f", 1e3),
}
MONEY_NOTE = (
    "Mean over days, against the data centre alone; minus best: against the best policy, paired by "
    "day; 95 % bootstrap intervals by demand day ({demand_days} distinct ones among the {episodes} "
    "days). ~: not distinguishable from the best (paired t-test over demand days, 5 %, Holm's "
    "correction for the number of policies). Beats best: share of days. IQM: interquartile mean. "
    "Worst 10 %: mean of the worst tenth of the days. Of trainings with several seeds, every day "
    "is the mean over seeds."
)
TERMS_NOTE = (
    "Mean over days against the data centre alone; the terms add up to it. Capacity: what cars "
    "spare the peak of the data centre, where that is how its capital is paid."
)
SERVICE_NOTE = (
    "SLO: on time / (on time + late + lost) of chat in cars; excess is diverted first. Diverted: "
    "share of chat sent to the data centre because it would have waited too long. TTFT: mean time "
    "to first token of chat in cars. Batch in cars: share done there by its deadline (open at the "
    "end counts as not). Served: on-time share of the requests that may leave the data centre; of "
    "all requests. Failed chat: late or lost in cars, per car-day. Shortfalls, broken promises and "
    "owners who leave for good: per 1,000 car-days."
)
ENERGY_NOTE = (
    "On duty: hours per car-day. Of avail.: busy hours / hours in which cars were available; of "
    "all: / all car-hours. tok/s: output tokens on time, per car of the fleet. Jain: fairness of "
    "the hours on duty over owners, 1 if all alike. Mtok: million output tokens served in cars, "
    "all days; (DC): the data centre for the same requests in the same hours, on the same grid. "
    "ms/decision: per fleet, median."
)


def new_table(title: str, note: str) -> Table:
    """Start a table with its title above and a note below."""
    out = Table(title=title, caption=note, box=SIMPLE, collapse_padding=True, pad_edge=False)
    out.title_justify = out.caption_justify = "left"
    return out


def label(policy: str) -> str:
    """Break the long label of a training before its cards, or the settings of a policy."""
    if len(policy) <= MAX_LABEL:
        return escape(policy)
    place = next((policy.index(mark) for mark in "@:" if mark in policy), len(policy))
    return escape(f"{policy[:place]}\n{policy[place:]}")


def table(rows: Sequence[dict[str, Any]], columns: dict[str, Cell], title: str, note: str) -> Table:
    """Lay out figures of `summarise`, one line per policy."""
    out = new_table(title, note)
    out.add_column("policy", no_wrap=True)
    for name in columns:
        out.add_column(escape(name), justify="right", no_wrap=True)
    for row in rows:
        out.add_row(label(row["policy"]), *(cell(row) for cell in columns.values()))
    return out


def blocks(names: Sequence[str], width: int, beside: int) -> Iterator[Sequence[str]]:
    """Cut columns into blocks that fit a terminal of `MIN_WIDTH`, `beside` taken by the first."""
    size = max(1, (max(Console().width, MIN_WIDTH) - beside) // width)
    for first in range(0, len(names), size):
        yield names[first : first + size]


def console() -> Console:
    """Terminal to print tables on, never so narrow that figures would be cut off."""
    return Console(width=max(Console().width, MIN_WIDTH))

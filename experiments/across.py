"""`fleet compare cards=...`: every rule on every card, and where the ranking changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from experiments import deck, report, schema
from experiments.matrix import play_matrix
from experiments.nearest import nearest
from experiments.plots.cards import plot_cards
from experiments.records import RunFolder, flat, write_atomic, write_csv, write_json
from experiments.runner import policies_or_all
from experiments.stats import Interval, Reversal, pairs, reversals
from fleet_env.config import EnvConfig
from fleet_env.scenarios import CARDS

Rows = dict[str, list[dict[str, Any]]]  # card -> figures of `report.summarise`, best first
_ENDS = [f"{where}.{end}" for where in ("here", "there") for end in ("low", "point", "high")]
REVERSAL_COLUMNS = ["card", "higher", "lower", *_ENDS]
MATRIX_NOTE = (
    "USD per car-month, mean over days, against the data centre alone. [bold]Bold[/bold]: best "
    "rule of the card; ~: not distinguishable from it (paired 95 % interval holds 0). In brackets: "
    "cards of more than {max_cars:,} cars are played with so many."
)
ORDER_NOTE = (
    "Pairs of rules in the opposite order of {reference}, each with a paired 95 % interval that "
    "excludes 0 on both cards; of {pairs} pairs a card. Figures: reversals.csv."
)


def compare_cards(
    settings: schema.CompareSettings, cards: Mapping[str, EnvConfig], out: Path
) -> dict[str, Any]:
    """Play all policies on all cards; print, write and draw what came out.

    Parameters
    ----------
    settings : CompareSettings
        Its `env` is not played.
    cards : mapping
        Name -> card.
    out : Path
        Receives results.csv (records), money.csv (figures by card and policy), reversals.csv,
        summary.json, cards.png and manifest.json; a rerun into the same folder plays only what
        is missing.

    Returns
    -------
    dict
        Content of summary.json.
    """
    policies = policies_or_all(settings.policies)
    reference = _reference(settings, cards)
    played = {name: deck.small(card, settings.max_cars) for name, card in cards.items()}
    folder = RunFolder.open(out, "compare", deck.plain_cards(settings, played))
    days = schema.days_of(settings)
    records = play_matrix("cards:", played, policies, days, settings.seed, folder)
    write_csv(out / "results.csv", records)
    parts = {str(name): part for name, part in records.groupby("card", sort=False)}
    rows = {
        name: report.summarise(part, played[name], settings.seed) for name, part in parts.items()
    }
    turned = find_reversals(parts, reference, settings.seed)
    _write_tables(rows, turned, out)
    summary = _summary(rows, turned, reference, cards, played)
    write_json(out / "summary.json", summary)
    names = {name: _label(cards[name], played[name]) for name in cards}
    draw(rows, names, reference, settings, out / "cards.png")
    show(rows, turned, names, reference, settings, out)
    return summary


def _reference(settings: schema.CompareSettings, cards: Mapping[str, EnvConfig]) -> str:
    """Card that the others are held against: the first where the wanted one is not played.

    Raises
    ------
    ValueError
        If there is no such card at all.
    """
    if settings.reference not in CARDS:
        known = list(CARDS)
        hint = nearest(settings.reference, known)
        raise ValueError(f"reference={settings.reference}: no such card{hint}")
    return settings.reference if settings.reference in cards else next(iter(cards))


def find_reversals(
    parts: Mapping[str, pd.DataFrame], reference: str, seed: int
) -> dict[str, list[Reversal]]:
    """Pairs of policies that change places against the reference card, by card."""
    orders = {name: _pairs(part, seed) for name, part in parts.items()}
    return {
        name: reversals(order, orders[reference])
        for name, order in orders.items()
        if name != reference
    }


def _pairs(part: pd.DataFrame, seed: int) -> dict[tuple[str, str], Interval]:
    by_policy = {
        str(name): rows.sort_values("scenario") for name, rows in part.groupby("policy", sort=False)
    }
    money = {name: report.usd_per_car_month(rows) for name, rows in by_policy.items()}
    days = next(iter(by_policy.values()))["trace_day"].to_numpy()
    return pairs(money, seed, days)


def _write_tables(rows: Rows, turned: Mapping[str, Sequence[Reversal]], out: Path) -> None:
    money = [{"card": card} | row for card, figures in rows.items() for row in figures]
    write_csv(out / "money.csv", pd.DataFrame(money))
    found = [
        {"card": card} | dict(flat(asdict(reversal)))
        for card, reversed_pairs in turned.items()
        for reversal in reversed_pairs
    ]
    write_csv(out / "reversals.csv", pd.DataFrame(found, columns=REVERSAL_COLUMNS))


def _summary(
    rows: Rows,
    turned: Mapping[str, Sequence[Reversal]],
    reference: str,
    cards: Mapping[str, EnvConfig],
    played: Mapping[str, EnvConfig],
) -> dict[str, Any]:
    by_card = {
        name: {
            "num_cars": cards[name].num_cars,
            "num_cars_played": played[name].num_cars,
            "ranking": [row["policy"] for row in figures],
            "policies": figures,
            "reversals": [asdict(reversal) for reversal in turned.get(name, ())],
        }
        for name, figures in rows.items()
    }
    changed = [name for name, found in turned.items() if found]
    return {"reference": reference, "ranking_differs_on": changed, "cards": by_card}


def _label(card: EnvConfig, played: EnvConfig) -> str:
    if card.num_cars == played.num_cars:
        return card.name
    return f"{card.name} ({played.num_cars:,} cars)"


def draw(
    rows: Rows,
    names: Mapping[str, str],
    reference: str,
    settings: schema.CompareSettings,
    file: Path,
) -> None:
    """Draw the money of every rule on every card into a PNG file."""
    policies = [row["policy"] for row in rows[reference]]
    width, height = 4.0 + 0.85 * len(policies), 2.2 + 0.36 * len(rows)
    figure = Figure(figsize=(width, height), layout="constrained")
    plot_cards(figure.add_subplot(), {names[card]: rows[card] for card in rows}, policies)
    title = f"{settings.num_episodes} {settings.split} days per card and rule"
    figure.suptitle(title, x=0.01, ha="left")
    write_atomic(file, lambda path: figure.savefig(path, dpi=150, format="png"))


def show(
    rows: Rows,
    turned: Mapping[str, Sequence[Reversal]],
    names: Mapping[str, str],
    reference: str,
    settings: schema.CompareSettings,
    out: Path,
) -> None:
    """Print the tables and where the files lie."""
    console = report.console()
    days = f"{settings.num_episodes} {settings.split} days"
    for card, figures in rows.items():
        note = report.MONEY_NOTE.format(**figures[0]) if card == next(reversed(rows)) else ""
        console.print(report.table(figures, report.MONEY, f"{names[card]}: {days}", note))
    policies = [row["policy"] for row in rows[reference]]
    console.print(_matrix(rows, names, policies, settings.max_cars))
    if turned:
        console.print(_orders(rows, turned, names, reference))
    console.print(f"results: {out}", soft_wrap=True, highlight=False)


def _matrix(rows: Rows, names: Mapping[str, str], policies: Sequence[str], max_cars: int) -> Table:
    out = report.new_table("all cards", MATRIX_NOTE.format(max_cars=max_cars))
    out.add_column("card", no_wrap=True)
    for policy in policies:
        out.add_column(policy.replace("_", "\n"), justify="right", no_wrap=True)
    for card, figures in rows.items():
        found = {row["policy"]: row for row in figures}
        best = figures[0]["policy"]
        out.add_row(names[card], *(_cell(found[policy], best) for policy in policies))
    return out


def _cell(row: dict[str, Any], best: str) -> str:
    text = f"{row['usd']:+.2f}"
    return f"[bold]{text}[/bold]" if row["policy"] == best else f"{'~ ' * row['ties_best']}{text}"


def _orders(
    rows: Rows, turned: Mapping[str, Sequence[Reversal]], names: Mapping[str, str], reference: str
) -> Table:
    num = len(rows[reference]) * (len(rows[reference]) - 1) // 2
    note = ORDER_NOTE.format(reference=reference, pairs=num)
    out = report.new_table(f"rankings that differ from {reference}", note)
    out.add_column("card", no_wrap=True)
    out.add_column("pairs", justify="right")
    out.add_column(f"earns more than ..., unlike on {reference}")
    for card, found in turned.items():
        out.add_row(names[card], str(len(found)), "; ".join(_phrases(found)) or "-")
    return out


def _phrases(found: Sequence[Reversal]) -> Iterator[str]:
    """Write `a > b, c` for every policy that rose."""
    beaten: dict[str, list[str]] = defaultdict(list)
    for reversal in found:
        beaten[reversal.higher].append(reversal.lower)
    for higher, lower in beaten.items():
        yield f"{higher} > {', '.join(lower)}"

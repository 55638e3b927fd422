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

from experiments import deck, headroom_report, report, score
from experiments.bounds import refuse
from experiments.entries import entries, files_of
from experiments.matrix import play_matrix
from experiments.nearest import nearest
from experiments.plots.cards import plot_cards
from experiments.records import RunFolder, flat, write_atomic, write_csv, write_json
from experiments.scale import Scale, measure_scale
from experiments.seeds import Pooled
from experiments.settings import CompareSettings
from experiments.stats import Interval, Reversal, pairs, reversals
from fleet_env.config import EnvConfig
from fleet_env.scenarios import CARDS

Rows = dict[str, list[dict[str, Any]]]  # card -> figures of `report.summarise`, best first
HEAD_WIDTH, CELL_WIDTH = 40, 13  # of the matrix, most [characters]: card, bound, headroom; a rule
_ENDS = [f"{where}.{end}" for where in ("here", "there") for end in ("low", "point", "high")]
REVERSAL_COLUMNS = ["card", "higher", "lower", *_ENDS]
MATRIX_NOTE = (
    "USD per car-month, mean over days, against the data centre alone. [bold]Bold[/bold]: best "
    "rule of the card; ~: not distinguishable from it (paired 95 % interval holds 0). Bound: what "
    "perfect foresight could earn at most; headroom: share of it above the best plain rule, chosen "
    "on other days. In brackets: cards of more than {max_cars:,} cars are played with so many."
)
ORDER_NOTE = (
    "Pairs of rules in the opposite order of {reference}, each with a paired 95 % interval that "
    "excludes 0 on both cards; of {pairs} pairs a card. Figures: reversals.csv."
)


def compare_cards(
    settings: CompareSettings, cards: Mapping[str, EnvConfig], out: Path
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
        summary.json, cards.png and manifest.json, and with `bound` also bounds.csv, choice.csv,
        headroom.csv and headroom.png; a rerun into the same folder does only what is missing.

    Returns
    -------
    dict
        Content of summary.json.

    Raises
    ------
    BoundViolationError
        After all is written, if a policy earned more than its day's bound.
    """
    policies = entries(settings.policies)
    reference = _reference(settings, cards)
    played = {name: deck.small(card, settings.max_cars) for name, card in cards.items()}
    folder = RunFolder.open(out, "compare", deck.plain_cards(settings, played) | files_of(policies))
    days = settings.days
    records = play_matrix("cards:", played, policies, days, settings.seed, folder)
    scale, seed = None, settings.seed
    if settings.bound.solve:
        scale = measure_scale(played, policies, records, settings.bound, days, seed, folder)
        records = scale.records
    write_csv(out / "results.csv", records)
    pooled = Pooled.of(records)
    parts = {str(name): part for name, part in pooled.records.groupby("card", sort=False)}
    rows = {name: pooled.summarise(played[name], seed, name) for name in parts}
    if scale is not None:
        rows = {card: scale.scored(card, figures) for card, figures in rows.items()}
    turned = find_reversals(parts, reference, settings.seed)
    _write_tables(rows, turned, out)
    summary = _summary(rows, turned, reference, cards, played)
    if scale is not None:
        summary |= scale.of_all()
        for name, card in summary["cards"].items():
            card |= scale.of_card(name)
    write_json(out / "summary.json", summary)
    names = {name: _label(cards[name], played[name]) for name in cards}
    draw(rows, names, reference, settings, out / "cards.png", scale)
    if scale is not None and scale.headroom:
        title = f"headroom, {settings.num_episodes} {settings.split} days per card"
        headroom_report.draw(scale.headroom, title, out / "headroom.png")
    show(rows, turned, names, reference, settings, out, scale)
    if scale is not None:
        refuse(scale.violations, out)
    return summary


def _reference(settings: CompareSettings, cards: Mapping[str, EnvConfig]) -> str:
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
    settings: CompareSettings,
    file: Path,
    scale: Scale | None = None,
) -> None:
    """Draw the money of every rule on every card into a PNG file."""
    policies = [row["policy"] for row in rows[reference]]
    beside = {} if scale is None else {card: _beside(scale, card) for card in rows}
    width, height = 4.0 + 0.85 * len(policies) + 1.6 * bool(beside), 2.2 + 0.36 * len(rows)
    figure = Figure(figsize=(width, height), layout="constrained")
    shown = {names[card]: rows[card] for card in rows}
    labels = {names[card]: text for card, text in beside.items()}
    plot_cards(figure.add_subplot(), shown, policies, labels)
    title = f"{settings.num_episodes} {settings.split} days per card and rule"
    figure.suptitle(title, x=0.01, ha="left")
    write_atomic(file, lambda path: figure.savefig(path, dpi=150, format="png"))


def _beside(scale: Scale, card: str) -> str:
    """Bound, headroom and verdict of a card in a few words."""
    text = f"bound {scale.bound[card]['usd']:.2f}"
    found = scale.headroom.get(card)
    if found is None:
        return text
    share = "-" if found.share is None else f"{found.share.point:.0%}"
    return f"{text}, headroom {share}: {found.verdict}"


def show(
    rows: Rows,
    turned: Mapping[str, Sequence[Reversal]],
    names: Mapping[str, str],
    reference: str,
    settings: CompareSettings,
    out: Path,
    scale: Scale | None = None,
) -> None:
    """Print the tables and where the files lie."""
    console = report.console()
    days = f"{settings.num_episodes} {settings.split} days"
    for card, figures in rows.items():
        title, last = f"{names[card]}: {days}", card == next(reversed(rows))
        note = report.MONEY_NOTE.format(**figures[0]) if last else ""
        console.print(report.table(figures, report.money_columns(figures), title, note))
        if scale is not None:
            console.print(score.table(figures, scale.bound[card], f"{title}, score"))
    policies = [row["policy"] for row in rows[reference]]
    for block in report.blocks(policies, width=CELL_WIDTH, beside=HEAD_WIDTH):
        note = MATRIX_NOTE.format(max_cars=settings.max_cars) if block[-1] == policies[-1] else ""
        console.print(_matrix(rows, names, block, note, scale))
    if scale is not None and scale.headroom:
        found = {names[card]: row for card, row in scale.headroom.items()}
        console.print(headroom_report.table(found, f"headroom, {days} per card", scale.choice))
    if turned:
        console.print(_orders(rows, turned, names, reference))
    console.print(f"results: {out}", soft_wrap=True, highlight=False)


def _matrix(
    rows: Rows, names: Mapping[str, str], policies: Sequence[str], note: str, scale: Scale | None
) -> Table:
    out = report.new_table("all cards", note)
    out.add_column("card", no_wrap=True)
    heads = () if scale is None else ("bound", "head-\nroom")
    for name in (*heads, *(policy.replace("_", "\n") for policy in policies)):
        out.add_column(name, justify="right", no_wrap=True)
    for card, figures in rows.items():
        found = {row["policy"]: row for row in figures}
        best = figures[0]["policy"]
        ends = () if scale is None else _ends(scale, card)
        out.add_row(names[card], *ends, *(_cell(found[policy], best) for policy in policies))
    return out


def _ends(scale: Scale, card: str) -> tuple[str, str]:
    found = scale.headroom.get(card)
    share = "-" if found is None or found.share is None else f"{found.share.point:.0%}"
    return f"{scale.bound[card]['usd']:+.2f}", share


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

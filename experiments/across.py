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

from experiments import headroom_report, report, score
from experiments.bounds import refuse
from experiments.html.page import write_page
from experiments.nearest import nearest
from experiments.plots.cards import plot_cards
from experiments.records import flat, write_atomic, write_csv, write_json
from experiments.results import Results, Rows
from experiments.scale import Scale
from experiments.stats import Interval, Reversal, pairs, reversals
from fleet_env.config import EnvConfig
from fleet_env.scenarios import CARDS

HEAD_WIDTH, CELL_WIDTH = 40, 13  # of the matrix, most [characters]: card, bound, headroom; a rule
_ENDS = [f"{where}.{end}" for where in ("here", "there") for end in ("low", "point", "high")]
REVERSAL_COLUMNS = ["card", "higher", "lower", *_ENDS]
MATRIX_NOTE = (
    "USD per car-month, mean over days, against the data centre alone. [bold]Bold[/bold]: best "
    "rule of the card; ~: not distinguishable from it (paired test, 5 %, Holm). Bound: what "
    "perfect foresight could earn at most; headroom: share of it above the best plain rule, chosen "
    "on other days. In brackets: cards of more than {max_cars:,} cars are played with so many."
)
OVER: dict[str, report.Cell] = {
    "IQM of score": lambda row: score.interval_text(row, "score_iqm", ".3f"),
    "mean of cards": lambda row: f"{row['score_mean']:.3f}",
    "worst card": lambda row: f"{row['score_worst_card']:+.3f}",
    "USD/car-month": lambda row: f"{row['usd']:+.3f}",
}
OVER_NOTE = (
    "Of cards that are worth it. Score of a day: return / mean bound of its card. IQM: "
    "interquartile mean over all days of all cards, with 95 % bootstrap interval stratified by "
    "card (demand days drawn anew within each). Worst card: lowest mean score of a card."
)
ORDER_NOTE = (
    "Pairs of rules in the opposite order of {reference}, each with a paired 95 % interval that "
    "excludes 0 on both cards; of {pairs} pairs a card. Figures: reversals.csv."
)


def report_cards(results: Results, out: Path) -> dict[str, Any]:
    """Write, draw and print what came out on several cards.

    Parameters
    ----------
    results : Results
    out : Path
        Receives money.csv (figures by card and policy), over_cards.csv (scores over all cards),
        reversals.csv, summary.json, cards.png and report.html, and with bounds also headroom.png.

    Returns
    -------
    dict
        Content of summary.json.

    Raises
    ------
    BoundViolationError
        After all is written, if a policy earned more than its day's bound.
    """
    rows, scale = results.rows, results.scale
    turned = find_reversals(results.parts, results.reference, results.seed)
    _write_tables(rows, turned, out)
    over = results.over_cards()
    write_csv(out / "over_cards.csv", pd.DataFrame(over))
    summary = _summary(results, turned) | {"over_cards": over}
    write_json(out / "summary.json", summary)
    draw(results, out / "cards.png")
    if scale is not None and scale.headroom:
        title = f"headroom, {results.days} per card"
        headroom_report.draw(scale.headroom, title, out / "headroom.png")
    write_page(results, out / "report.html")
    show(results, turned, over, out)
    if scale is not None:
        refuse(scale.violations, out)
    return summary


def reference_of(wanted: str, cards: Mapping[str, EnvConfig]) -> str:
    """Card that the others are held against: the first where the wanted one is not played.

    Raises
    ------
    ValueError
        If there is no such card at all.
    """
    if wanted not in CARDS:
        hint = nearest(wanted, list(CARDS))
        raise ValueError(f"reference={wanted}: no such card{hint}")
    return wanted if wanted in cards else next(iter(cards))


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


def _summary(results: Results, turned: Mapping[str, Sequence[Reversal]]) -> dict[str, Any]:
    scale = results.scale
    by_card = {
        name: {
            "num_cars": results.whole_cars[name],
            "num_cars_played": results.cards[name].num_cars,
            "ranking": [row["policy"] for row in figures],
            "policies": figures,
            "reversals": [asdict(reversal) for reversal in turned.get(name, ())],
            **({} if scale is None else scale.of_card(name)),
        }
        for name, figures in results.rows.items()
    }
    changed = [name for name, found in turned.items() if found]
    head = {"reference": results.reference, "ranking_differs_on": changed, "cards": by_card}
    return head | ({} if scale is None else scale.of_all())


def draw(results: Results, file: Path) -> None:
    """Draw the money of every rule on every card into a PNG file."""
    rows, names, scale = results.rows, results.labels, results.scale
    policies = [row["policy"] for row in rows[results.reference]]
    beside = {} if scale is None else {card: _beside(scale, card) for card in rows}
    width, height = 4.0 + 0.85 * len(policies) + 1.6 * bool(beside), 2.2 + 0.36 * len(rows)
    figure = Figure(figsize=(width, height), layout="constrained")
    shown = {names[card]: rows[card] for card in rows}
    labels = {names[card]: text for card, text in beside.items()}
    plot_cards(figure.add_subplot(), shown, policies, labels)
    figure.suptitle(f"{results.days} per card and rule", x=0.01, ha="left")
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
    results: Results,
    turned: Mapping[str, Sequence[Reversal]],
    over: Sequence[dict[str, Any]],
    out: Path,
) -> None:
    """Print the tables and where the files lie."""
    console = report.console()
    rows, names, scale, days = results.rows, results.labels, results.scale, results.days
    for card, figures in rows.items():
        title, last = f"{names[card]}: {days}", card == next(reversed(rows))
        note = report.MONEY_NOTE.format(**figures[0]) if last else ""
        console.print(report.table(figures, report.money_columns(figures), title, note))
        if scale is not None:
            console.print(score.table(figures, scale.bound[card], f"{title}, score"))
    policies = [row["policy"] for row in rows[results.reference]]
    max_cars = max(card.num_cars for card in results.cards.values())
    for block in report.blocks(policies, width=CELL_WIDTH, beside=HEAD_WIDTH):
        note = MATRIX_NOTE.format(max_cars=max_cars) if block[-1] == policies[-1] else ""
        console.print(_matrix(rows, names, block, note, scale))
    if over:
        console.print(report.table(over, OVER, f"over all cards, {days} each", OVER_NOTE))
    if scale is not None and scale.headroom:
        title = f"headroom, {days} per card"
        console.print(headroom_report.table(scale.headroom, title, scale.choice))
    if turned:
        console.print(_orders(rows, turned, names, results.reference))
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

"""`fleet cards`: what the cards stand for, what they change, and what a quick run gives."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from textwrap import fill
from typing import Any

import hydra
import pandas as pd
from omegaconf import DictConfig
from rich.table import Table

from experiments import deck, report, schema
from experiments.entries import entries, files_of
from experiments.matrix import Matrix, play_matrix
from experiments.records import (
    RunFolder,
    flat,
    read_csv,
    write_atomic,
    write_csv,
    write_json,
    write_parquet,
)
from experiments.settings import CardsSettings
from fleet_env.config import EnvConfig
from fleet_env.generators.start import mean_plugged_linked
from fleet_env.regions import regions_of
from fleet_env.scenarios import scenario

PAGE_HEAD = """# Scenario cards

`env=NAME` plays a card, `fleet cards` lists them with what a quick run gives, and
`fleet compare cards=all` plays every rule on every card. A card is a file `conf/env/NAME.yaml`;
`fleet cards play=false headroom=docs/headroom.csv` writes this page from those files and from the
headroom that `fleet compare cards=all` measured (20 test days, each with a fleet of its own; cards
of more than 1,000 cars with 1,000). In brackets: the suburb's value. Gate: a card is worth learning
if the best plain rule leaves 10 % of the bound or more and a planner with the same information
earns more than that rule.
"""
WIDTH = 100  # of the page [characters]
NOTE = (
    "A glance, not a result: mean of {num_episodes} {split} days, cards of more than {max_cars} "
    "cars played with {max_cars}; best of {num_policies} rules on these very days, which flatters "
    "it; 95 % bootstrap interval by demand day. Plugged + linked: stationary mean share of the "
    "cars. `fleet compare cards=all` compares in earnest."
)

schema.register()


@hydra.main(version_base="1.3", config_path=schema.config_dir(), config_name="cards")
def main(cfg: DictConfig) -> None:
    """Run the verb with the settings of the command line."""
    schema.run(cfg, CardsSettings, _cards)


def _cards(settings: CardsSettings, out: Path) -> None:
    list_cards(settings, deck.compose_cards(settings.cards), out)


def list_cards(
    settings: CardsSettings, cards: Mapping[str, EnvConfig], out: Path
) -> list[dict[str, Any]]:
    """List cards with headline figures.

    Parameters
    ----------
    settings : CardsSettings
        Its `env` is not played.
    cards : mapping
        Name -> card.
    out : Path
        Receives cards.csv, cards.json and manifest.json; with `play` also results.parquet, without
        it cards.md, the page docs/cards.md.

    Returns
    -------
    list of dict
        Rows of cards.csv: `headline`, and with `play` also `plugged_linked` (share of the cars),
        `best`, `usd`, `usd_low`, `usd_high` (USD per car-month), `num_cars_played`.
    """
    rows = {name: {"card": name} | headline(card) for name, card in cards.items()}
    if settings.play:
        for name, figures in _measure(settings, cards, out).items():
            rows[name] |= figures
    else:
        text = page(cards, read_headroom(settings.headroom))
        write_atomic(out / "cards.md", lambda file: file.write_text(text, "utf-8"))
    listed = list(rows.values())
    write_csv(out / "cards.csv", pd.DataFrame(listed))
    write_json(out / "cards.json", {"cards": listed})
    console = report.console()
    console.print(_table(listed, settings))
    console.print(f"results: {out}", soft_wrap=True, highlight=False)
    return listed


def headline(card: EnvConfig) -> dict[str, Any]:
    """Figures of a card that need no run."""
    mix = {name: share for name, share in card.fleet.accelerators.items() if share > 0}
    regions = regions_of(card)
    return {
        "num_cars": card.num_cars,
        "regions": len(regions),
        "computers": " + ".join(
            name if share == 1.0 else f"{share:.0%} {name}" for name, share in mix.items()
        ),
        "tariffs": ", ".join(dict.fromkeys(region.tariff for region in regions)),
        "load": card.demand.load,
        "dc_cost": card.datacentre.dc_cost,
        "stands_for": title(paragraph(card.name)),
    }


def _measure(
    settings: CardsSettings, cards: Mapping[str, EnvConfig], out: Path
) -> dict[str, dict[str, Any]]:
    policies = entries(settings.policies)
    played = {name: deck.small(card, settings.max_cars) for name, card in cards.items()}
    folder = RunFolder.open(out, "cards", deck.plain_cards(settings, played) | files_of(policies))
    matrix = Matrix(played, policies, settings.days, settings.seed, folder)
    records = play_matrix("cards:", matrix, workers=settings.workers)
    write_parquet(out / "results.parquet", records)
    folder.close()
    figures = {}
    for name, part in records.groupby("card", sort=False):
        card = played[str(name)]
        best = report.summarise(part, card, settings.seed)[0]
        money = {key: best[key] for key in ("usd", "usd_low", "usd_high")}
        linked = mean_plugged_linked(card)
        figures[str(name)] = {
            "num_cars_played": card.num_cars,
            "plugged_linked": linked,
            "best": best["policy"],
            **money,
        }
    return figures


def _table(rows: list[dict[str, Any]], settings: CardsSettings) -> Table:
    out = report.new_table("cards", _note(settings) if settings.play else "")
    out.add_column("card", no_wrap=True)
    for name in ("cars", "regions"):
        out.add_column(name, justify="right", no_wrap=True)
    out.add_column("computers", no_wrap=True)
    out.add_column("load", justify="right")
    out.add_column("dc cost")
    if settings.play:
        out.add_column("plugged\n+ linked", justify="right")
        out.add_column("best rule", no_wrap=True)
        out.add_column("USD/car-month", justify="right", no_wrap=True)
    else:
        out.add_column("stands for", min_width=40)
    for row in rows:
        head = (row["card"], f"{row['num_cars']:,}", str(row["regions"]), row["computers"])
        tail = _measured(row) if settings.play else (row["stands_for"],)
        out.add_row(*head, f"{row['load']:g}", row["dc_cost"], *tail)
    return out


def _note(settings: CardsSettings) -> str:
    num = len(entries(settings.policies))
    return NOTE.format(num_policies=num, **asdict(settings))


def _measured(row: dict[str, Any]) -> tuple[str, str, str]:
    money = f"{row['usd']:+.2f} [{row['usd_low']:+.2f}, {row['usd_high']:+.2f}]"
    return f"{row['plugged_linked']:.0%}", row["best"], money


def paragraph(name: str) -> str:
    """Read what a card stands for: the comment at the head of its file."""
    file = Path(schema.config_dir()) / "env" / f"{name}.yaml"
    lines = takewhile(lambda line: line.startswith("#"), file.read_text("utf-8").splitlines())
    return " ".join(line.lstrip("# ") for line in lines)


def title(text: str) -> str:
    """Cut a paragraph at its first colon or full stop."""
    return re.split(r"[:.](?:\s|$)", text, maxsplit=1)[0]


def changes(card: EnvConfig) -> Iterator[str]:
    """Write every setting in which a card differs from the suburb; of regions only the names."""
    before, after = (dict(flat(asdict(c))) for c in (scenario("suburb"), card))
    for key, value in after.items():
        if key != "name" and not key.startswith("regions") and value != before.get(key):
            old = before.get(key)
            yield f"`{key}` {_text(value)}" + ("" if old is None else f" ({_text(old)})")
    if card.regions:
        yield f"`regions` {', '.join(card.regions)}"


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _wrap(text: str) -> str:
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def read_headroom(file: str) -> dict[str, str]:
    """Read what was measured of every card, in a sentence; nothing without a file.

    Raises
    ------
    ValueError
        If the file is not a headroom.csv.
    """
    if not file:
        return {}
    frame = read_csv(Path(file))
    missing = {"card", "sentence"} - set(frame)
    if missing:
        raise ValueError(
            f"headroom={file}: no column {', '.join(sorted(missing))}; expected the "
            "headroom.csv of `fleet compare cards=all`"
        )
    return dict(zip(frame["card"], frame["sentence"], strict=True))


def page(cards: Mapping[str, EnvConfig], measured: Mapping[str, str]) -> str:
    """Write the page of the cards (Markdown), with what was measured of each."""
    parts = [PAGE_HEAD]
    for name, card in cards.items():
        changed = "; ".join(changes(card)) or "nothing: it is the default"
        text = [paragraph(name), f"Changes: {changed}."]
        if name in measured:
            text.append(measured[name])
        parts.append("\n\n".join([f"## {name}", *(_wrap(t) for t in text)]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    main()

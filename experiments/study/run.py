"""What a study left in its folder: all that its report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.records import (
    BOUNDS,
    CHOICE,
    RECORDS,
    days_text,
    read_config,
    read_csv,
    read_parquet,
    write_csv,
    write_parquet,
)

BASE = "base"  # the card itself, among the variants of it


@dataclass(frozen=True)
class StudyRun:
    """Records of a study, and what it was asked."""

    name: str  # of the study
    measure: str  # money | headroom
    show_money: bool  # also print what every variant earns, not only what it changes
    column: str  # of the records: card | variant
    env: str  # the card of the variants; "" for cards
    seed: int  # of the bootstrap
    notes: dict[str, str]  # variant -> what it takes away
    absent: str  # what the note says of variants and cars that are left out
    records: pd.DataFrame
    bounds: pd.DataFrame | None  # of headroom alone, as `choice`
    choice: pd.DataFrame | None

    @classmethod
    def load(cls, path: str | Path) -> StudyRun:
        """Read what `fleet study NAME` left in a folder.

        Raises
        ------
        ValueError
            If the folder holds no such run, or one that is not finished.
        """
        path = Path(path)
        _, config = read_config(path, ("study",), needs=(RECORDS,))
        records, variants = read_parquet(path / RECORDS), config["study"]["variants"]
        return cls(
            name=config["study"]["name"],
            measure=config["measure"],
            show_money=config["study"]["show_money"],
            column="variant" if "env" in config else "card",
            env=config["env"]["name"] if "env" in config else "",
            seed=config["seed"],
            notes={name: variant["note"] for name, variant in variants.items()},
            absent=_absent(config, records),
            records=records,
            bounds=read_csv(path / BOUNDS) if (path / BOUNDS).is_file() else None,
            choice=read_parquet(path / CHOICE) if (path / CHOICE).is_file() else None,
        )

    def save(self, out: Path) -> None:
        """Write the records into a folder, each file whole or not at all."""
        if self.bounds is not None:
            write_csv(out / BOUNDS, self.bounds)
        if self.choice is not None:
            write_parquet(out / CHOICE, self.choice)
        write_parquet(out / RECORDS, self.records)

    @property
    def days(self) -> str:
        """Say how many days of which split were played: `20 test days`."""
        return days_text(self.records)

    @property
    def choice_days(self) -> str:
        """Say on which days rules are chosen; empty where none are."""
        return "" if self.choice is None else days_text(self.choice)

    @property
    def title(self) -> str:
        """Name of the study, and of its card."""
        return f"{self.name} of {self.env}" if self.env else self.name


def _absent(config: Mapping[str, Any], records: pd.DataFrame) -> str:
    if "env" in config:
        wanted = config["only"] or list(config["study"]["variants"])
        absent = sorted(set(wanted) - set(records["variant"]))
        text = f"Left out, as they change nothing here: {', '.join(absent)}."
        return f" {text}" if absent else ""
    whole_cars, cards = config["whole_cars"], config["cards"]
    played = [str(name) for name in records["card"].unique()]
    cut = [name for name in played if cards[name]["num_cars"] < whole_cars[name]]
    if not cut:
        return ""
    num_cars = max(cards[name]["num_cars"] for name in cut)
    return f" Played with {num_cars:,} cars: {', '.join(cut)}."

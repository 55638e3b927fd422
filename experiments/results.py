"""What a comparison found: records, and every figure and table that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments import headroom_report, report
from experiments.matrix import read_traces
from experiments.records import (
    BOUNDS,
    CHOICE,
    RECORDS,
    RunFolder,
    changes,
    days_text,
    read_config,
    read_csv,
    read_parquet,
    write_csv,
    write_parquet,
)
from experiments.scale import Scale
from experiments.schema import card_of
from experiments.seeds import Pooled
from experiments.stats import Strata, iqm_over_cards
from fleet_env.config import EnvConfig

COMPARISONS = ("compare", "evaluate", "viability")  # verbs that leave what `load` reads
NEEDED = {"card", "training_seed", "available_h", "jain_duty", "trace_day", "dc_kwh", "decision_s"}
SHOWN = {  # column of `Results.table` -> figure of `experiments.report.summarise`
    "usd_per_car_month": "usd",
    "low": "usd_low",
    "high": "usd_high",
    "score": "score",
    "minus_best": "minus_best",
    "ties_best": "ties_best",
    "beats_best": "beats_best",
    "worst_decile": "usd_worst_decile",
    "shortfalls_per_1000_car_days": "shortfalls_per_1000_car_days",
    "ms_per_decision": "decision_s",
}

Rows = dict[str, list[dict[str, Any]]]  # card -> figures of its policies, best first


@dataclass(frozen=True, repr=False)
class Results:
    """Policies on the same days of one card or several.

    Everything but the records is worked out when it is asked for, from the records alone.
    """

    cards: dict[str, EnvConfig]  # as they were played
    whole_cars: dict[str, int]  # card -> its cars, where fewer may have been played
    records: pd.DataFrame  # one row per card, policy, training seed and day
    seed: int = 0  # of the bootstrap
    reference: str = ""  # card that the others are held against
    bounds: pd.DataFrame | None = None  # of the same days; None where they were not solved
    choice: pd.DataFrame | None = None  # records of other days, on which the best rule is chosen
    traces: dict[str, dict[str, pd.DataFrame]] = field(default_factory=dict)  # card -> policy

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read what `fleet compare`, `evaluate` or `study viability` left in a folder.

        Raises
        ------
        ValueError
            If the folder holds no such run, one that is not finished, or one of another version.
        """
        path = Path(path)
        _, config = read_config(path, COMPARISONS, needs=(RECORDS,))
        cards = config.get("cards") or {config["env"]["name"]: config["env"]}
        records = read_parquet(path / RECORDS)
        missing = NEEDED - set(records)
        if missing:
            lacks = ", ".join(sorted(missing))
            raise ValueError(f"{path}: records of another version, without {lacks}: play them anew")
        # in the order in which they were played: a manifest sorts them
        found = {str(name): card_of(cards[name]) for name in records["card"].unique()}
        return cls(
            cards=found,
            whole_cars=config.get("whole_cars") or {n: c.num_cars for n, c in found.items()},
            records=records,
            seed=config["seed"],
            reference=_reference(config.get("reference", ""), found),
            bounds=read_csv(path / BOUNDS) if (path / BOUNDS).is_file() else None,
            choice=read_parquet(path / CHOICE) if (path / CHOICE).is_file() else None,
            traces=read_traces(RunFolder(path), found, list(records["policy"].unique())),
        )

    @classmethod
    def join(cls, parts: Sequence[Results]) -> Results:
        """Put runs of different policies, or of different cards, side by side.

        Raises
        ------
        ValueError
            If a card has other settings or other days in two of them, or a policy is there twice.
        """
        cards: dict[str, EnvConfig] = {}
        for part in parts:
            for name, card in part.cards.items():
                _same_card(name, cards.setdefault(name, card), card)
        records = pd.concat([part.records for part in parts], ignore_index=True)
        _check_days(records)
        bounds = _concat([part.bounds for part in parts])
        missing = set(cards) - set(bounds["card"]) if bounds is not None else set()
        if missing:
            raise ValueError(f"{', '.join(sorted(missing))}: no bound in any of the runs")
        traces: dict[str, dict[str, pd.DataFrame]] = {}
        for part in parts:
            for name, of_card in part.traces.items():
                traces.setdefault(name, {}).update(of_card)
        first = parts[0]
        return cls(
            cards=cards,
            whole_cars={name: n for part in parts for name, n in part.whole_cars.items()},
            records=records.drop(columns="bound_usd", errors="ignore"),
            seed=first.seed,
            reference=_reference(first.reference, cards),
            bounds=bounds,
            choice=_concat([part.choice for part in parts]),
            traces=traces,
        )

    def save(self, out: Path) -> None:
        """Write the records into a folder, each file whole or not at all."""
        write_parquet(out / RECORDS, self.scored_records)
        if self.bounds is not None:
            write_csv(out / BOUNDS, self.bounds)
        if self.choice is not None:
            write_parquet(out / CHOICE, self.choice)
        if self.scale is not None and self.scale.headroom:
            write_csv(out / "headroom.csv", headroom_report.frame(self.scale.headroom))

    @cached_property
    def scale(self) -> Scale | None:
        """Bound, scores and headroom of every card; None where bounds were not solved."""
        if self.bounds is None:
            return None
        return Scale.of(self.records, self.bounds, self.choice, self.seed)

    @property
    def scored_records(self) -> pd.DataFrame:
        """Records, with `bound_usd` where bounds were solved."""
        return self.records if self.scale is None else self.scale.records

    @cached_property
    def pooled(self) -> Pooled:
        """Records in which trainings that differ in their seed are one policy."""
        return Pooled.of(self.scored_records)

    @cached_property
    def rows(self) -> Rows:
        """Figures of `experiments.report.summarise` and scores, by card, best policy first."""
        found = {
            name: self.pooled.summarise(card, self.seed, name) for name, card in self.cards.items()
        }
        if self.scale is None:
            return found
        return {name: self.scale.scored(name, rows) for name, rows in found.items()}

    @property
    def parts(self) -> dict[str, pd.DataFrame]:
        """Pooled records of every card."""
        groups = self.pooled.records.groupby("card", sort=False)
        return {str(name): part for name, part in groups}

    @property
    def days(self) -> str:
        """Say how many days of which split: `20 test days`."""
        return days_text(self.records)

    @property
    def labels(self) -> dict[str, str]:
        """Cards as they are written in tables: with the number of cars where some were left out."""
        return {
            name: name
            if card.num_cars == self.whole_cars[name]
            else f"{name} ({card.num_cars:,} cars)"
            for name, card in self.cards.items()
        }

    def table(self, card: str | None = None) -> pd.DataFrame:
        """Return one row per policy, best first, of one card, or of all with the card in front.

        Money in USD per car-month against the data centre alone, with its 95 % interval by demand
        day; `score`: of the mean bound; `minus_best`: paired difference to the best policy;
        `ties_best`: not distinguishable from it (Holm's correction over all policies);
        `beats_best`: share of the days on which it earns more.
        """
        if card is None and len(self.cards) > 1:
            frames = {name: self.table(name) for name in self.cards}
            return pd.concat(frames, names=["card"])
        name = card or next(iter(self.cards))
        rows = pd.DataFrame(self.rows[name]).set_index("policy")
        shown = {key: rows[figure] for key, figure in SHOWN.items() if figure in rows}
        return pd.DataFrame(shown).assign(ms_per_decision=lambda t: 1e3 * t["ms_per_decision"])

    def scored_days(self) -> pd.DataFrame:
        """One row per policy and day of every card that is worth it.

        `score` is the day's return over the mean bound of its card, `usd` the return [USD per
        car-month]. Empty without bounds.
        """
        worth = [] if self.scale is None else list(self.scale.bound)
        frames = [_days_of(self.parts[name], name) for name in worth if self._worth_it(name)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def _worth_it(self, card: str) -> bool:
        return self.scale is not None and bool(self.scale.bound[card]["worth_it"])

    def over_cards(self) -> list[dict[str, Any]]:
        """Scores of every policy that played all cards, over those worth it; best first.

        Returns
        -------
        list of dict
            `policy`; `score_iqm` with `_low`, `_high`: interquartile mean over all days of all
            cards, with a bootstrap stratified by card; `score_mean`, `score_worst_card`: mean over
            cards and lowest of them; `usd`: mean over cards [USD per car-month]. Empty with fewer
            than two cards worth it.
        """
        days = self.scored_days()
        if days.empty or days["card"].nunique() == 1:
            return []
        parts = {
            str(name): part.sort_values(["card", "scenario"])
            for name, part in days.groupby("policy", sort=False)
            if part["card"].nunique() == days["card"].nunique()
        }
        rows = [self._over_cards(name, part) for name, part in parts.items()]
        return sorted(rows, key=lambda row: -row["score_iqm"])

    def _over_cards(self, name: str, part: pd.DataFrame) -> dict[str, Any]:
        strata = Strata.of(part["card"].to_numpy(), part["trace_day"].to_numpy())
        found = iqm_over_cards(part["score"].to_numpy(), strata, np.random.default_rng(self.seed))
        means = part.groupby("card")[["score", "usd"]].mean()
        return {
            "policy": name,
            **report.interval("score_iqm", found),
            "score_mean": float(means["score"].mean()),
            "score_worst_card": float(means["score"].min()),
            "usd": float(means["usd"].mean()),
        }

    def __repr__(self) -> str:
        """Say what was played, and the first policies of every card."""
        policies = self.pooled.records["policy"].nunique()
        head = f"Results: {policies} policies, {len(self.cards)} cards, {self.days} each"
        return "\n".join([head, *(self._line(name) for name in self.cards)])

    def _line(self, name: str) -> str:
        best = ", ".join(f"{row['policy']} {row['usd']:+.2f}" for row in self.rows[name][:3])
        bound = "" if self.scale is None else f" (bound {self.scale.bound[name]['usd']:+.2f})"
        return f"  {self.labels[name]}: {best} USD per car-month{bound}"

    def _repr_html_(self) -> str:
        return f"<p>{self.days}</p>{self.table().to_html(float_format='{:.3f}'.format)}"


def _reference(wanted: str, cards: Mapping[str, EnvConfig]) -> str:
    return wanted if wanted in cards else next(iter(cards))


def _same_card(name: str, one: EnvConfig, other: EnvConfig) -> None:
    different = list(changes(asdict(one), asdict(other)))
    if different:
        raise ValueError(f"card {name} differs between the runs: {'; '.join(different)}")


def _check_days(records: pd.DataFrame) -> None:
    days = records.groupby(["card", "policy"])["scenario"].agg(tuple)
    for card, of_card in days.groupby("card"):
        for (_, policy), found in of_card.items():
            if len(set(found)) < len(found):
                raise ValueError(f"{policy} on {card}: in two of the runs; expected once")
            if sorted(found) != sorted(of_card.iloc[0]):
                raise ValueError(f"{policy} on {card}: played on other days than the other runs")


def _concat(frames: Sequence[pd.DataFrame | None]) -> pd.DataFrame | None:
    found = [frame for frame in frames if frame is not None]
    if not found:
        return None
    keys = [name for name in ("card", "policy", "scenario") if name in found[0]]
    return pd.concat(found, ignore_index=True).drop_duplicates(keys, ignore_index=True)


def _days_of(part: pd.DataFrame, card: str) -> pd.DataFrame:
    usd = report.usd_per_car_month(part)
    bound = float(report.usd_per_car_month(part, "bound_usd").mean())
    head = part[["policy", "scenario", "trace_day"]]
    return head.assign(card=card, usd=usd, score=usd / bound)

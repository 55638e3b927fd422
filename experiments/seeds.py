"""Trainings that differ in their seed alone, reported as one policy: the mean over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments import report
from experiments.entries import SEED
from fleet_env.config import EnvConfig

FIXED = ("card", "scenario")  # what a mean over seeds keeps apart


@dataclass(frozen=True, slots=True)
class Pooled:
    """Records in which every day of trainings of several seeds is the mean over these."""

    records: pd.DataFrame  # of the means, and of all policies without such a like
    played: pd.DataFrame  # what they were made from
    members: dict[str, list[str]]  # label of a mean -> labels of its trainings

    @classmethod
    def of(cls, records: pd.DataFrame) -> Pooled:
        """Take the mean over seeds of every day; a training with no like stays as it is."""
        groups: dict[str, list[str]] = {}
        for label in records["policy"].unique():
            groups.setdefault(str(label).partition(SEED)[0], []).append(str(label))
        members = {
            f"{head} x{len(group)}": group for head, group in groups.items() if len(group) > 1
        }
        pooled = records["policy"].isin([label for group in members.values() for label in group])
        frames = [records[~pooled]]
        frames += [_mean(records, label, group) for label, group in members.items()]
        return cls(pd.concat(frames, ignore_index=True), records, members)

    def summarise(self, config: EnvConfig, seed: int, card: str = "") -> list[dict[str, Any]]:
        """Figures of `experiments.report.summarise`, of one card where there are several.

        With `usd_seeds`: what each training earns by itself [USD per car-month], in the order of
        their labels; empty for all other policies.
        """
        records, played = self.records, self.played
        if card:
            records, played = (part[part["card"] == card] for part in (records, played))
        rows = report.summarise(records, config, seed)
        money = played.assign(usd=report.usd_per_car_month(played)).groupby("policy")["usd"].mean()
        for row in rows:
            row["usd_seeds"] = [float(money[one]) for one in self.members.get(row["policy"], ())]
        return rows


def _mean(records: pd.DataFrame, label: str, group: Sequence[str]) -> pd.DataFrame:
    """Take the mean of numbers over trainings, by card and scenario; the rest is alike in all."""
    part = records[records["policy"].isin(group)]
    keys = [name for name in FIXED if name in part]
    rules = {
        name: "mean" if pd.api.types.is_float_dtype(part[name]) else "first"
        for name in part
        if name not in keys
    }
    means = part.groupby(keys, sort=False).agg(rules).reset_index()
    return means.assign(policy=label)[list(records.columns)]

"""Headroom of a card: what is left above the best plain rule, and whether it is worth learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agents import registry
from experiments import bounds, report, score
from experiments.bound_settings import BoundSettings
from experiments.matrix import Matrix
from experiments.pool import Task, do_all
from experiments.runner import Days
from experiments.stats import Interval, bootstrap, paired, ratio, ratio_change
from fleet_env.types import FloatArray
from fleet_env.units import DAYS_PER_MONTH

GATE_SHARE = 0.10  # of the bound that a plain rule leaves; design 5
PLANNERS = "planners"  # family that plans on forecasts: the reachable line
LEARNED, PRIVILEGED = "learned", "privileged"
NOT_PLAIN = (PLANNERS, "tuned", LEARNED, PRIVILEGED)  # a solver, a search or a training behind them
NOTE = (
    "Headroom: (bound - best plain rule) / bound, with 95 % bootstrap interval by demand day; the "
    "rule is chosen by its mean on {choice}, not on the days it is scored on, and may earn less "
    "here than another. Gate: headroom of 10 % or more, and the planner (mpc, price_index: "
    "forecasts alone) that was best on those other days above that rule by more than its paired "
    "interval; else there is nothing to learn."
)


def is_plain(name: str) -> bool:
    """Whether a policy is a plain rule: no planner, nothing tuned by search, nothing privileged."""
    return _family(name) not in NOT_PLAIN


def is_planner(name: str) -> bool:
    """Whether a policy plans on forecasts that all may see."""
    return _family(name) == PLANNERS


def is_learned(name: str) -> bool:
    """Whether a policy was trained."""
    return _family(name) == LEARNED


def _family(label: str) -> str:
    """Family of a policy by its label; of a training, which is in no registry, `learned`."""
    name = label.partition(":")[0]
    if name not in registry.all_names():
        return LEARNED
    policy = registry.policy_class(name)
    return PRIVILEGED if getattr(policy, "privileged", False) else str(policy.family)


@dataclass(frozen=True, slots=True)
class Headroom:
    """What a card leaves above its best plain rule; money in USD per car-month."""

    rule: str  # the best plain one, chosen on other days
    bound: Interval
    rule_usd: Interval
    usd: Interval  # bound - rule
    share: Interval | None  # of the bound; None where the card is not worth it
    planners: dict[str, Interval]  # what each earns above the rule, paired by day
    planner: str | None  # the best one, chosen on other days: the one that the gate asks

    @property
    def reached(self) -> bool:
        """Whether the planner earns more than the rule by more than its interval."""
        return self.planner is not None and self.planners[self.planner].low > 0

    @property
    def verdict(self) -> str:
        """One of: worth learning, not worth it, little headroom, no planner, out of reach."""
        if self.share is None:
            return "not worth it"
        if self.share.point < GATE_SHARE:
            return "little headroom"
        if self.planner is None:
            return "no planner"
        return "worth learning" if self.reached else "out of reach"

    @property
    def passes(self) -> bool:
        """Whether the card passes the gate."""
        return self.verdict == "worth learning"


def choose(choice: pd.DataFrame, wanted: Callable[[str], bool]) -> str | None:
    """Name the wanted policy with the highest mean return, the first of equal ones."""
    mean = choice.groupby("policy", sort=False)["return"].mean()
    mean = mean[[wanted(str(name)) for name in mean.index]]
    return None if mean.empty else str(mean.idxmax())


def measure(records: pd.DataFrame, rule: str, planner: str | None, seed: int) -> Headroom:
    """Measure the headroom of one card.

    Parameters
    ----------
    records : pandas.DataFrame
        Of all policies on the same scenarios, with `bound_usd`.
    rule : str
        The best plain one, chosen on other days.
    planner : str, optional
        The best planner there; None if none was played.
    seed : int
        Of the bootstrap.
    """
    parts = {str(n): part.sort_values("scenario") for n, part in records.groupby("policy")}
    money = {name: report.usd_per_car_month(part) for name, part in parts.items()}
    bound = report.usd_per_car_month(parts[rule], "bound_usd")
    days = parts[rule]["trace_day"].to_numpy()
    worth = score.worth_it(parts[rule])
    return Headroom(
        rule=rule,
        bound=bootstrap(bound, _rng(seed), days),
        rule_usd=bootstrap(money[rule], _rng(seed), days),
        usd=paired(bound, money[rule], _rng(seed), days),
        share=ratio(bound - money[rule], bound, _rng(seed), days) if worth else None,
        planners={
            name: paired(money[name], money[rule], _rng(seed), days)
            for name in money
            if is_planner(name)
        },
        planner=planner,
    )


@dataclass(frozen=True, slots=True)
class Change:
    """Headroom of a variant minus that of the card itself, paired by day."""

    bound: Interval  # USD per car-month
    usd: Interval  # USD per car-month
    share: Interval | None  # None where one of the two is not worth it


def change(now: pd.DataFrame, base: pd.DataFrame, rules: tuple[str, str], seed: int) -> Change:
    """Compare the headroom of a variant with that of the card itself.

    Parameters
    ----------
    now, base : pandas.DataFrame
        Records of both on the same scenarios, with `bound_usd`.
    rules : tuple of str
        The best plain rule of each, in this order.
    seed : int
        Of the bootstrap; days are resampled by the demand day that they replay on the card itself.
    """
    (bound, left), (bound_0, left_0) = (
        _left(records, rule) for records, rule in zip((now, base), rules, strict=True)
    )
    days = _of(base, rules[1])["trace_day"].to_numpy()
    worth = score.worth_it(_of(now, rules[0])) and score.worth_it(_of(base, rules[1]))
    return Change(
        bound=paired(bound, bound_0, _rng(seed), days),
        usd=paired(left, left_0, _rng(seed), days),
        share=ratio_change((left, bound), (left_0, bound_0), _rng(seed), days) if worth else None,
    )


def _left(records: pd.DataFrame, rule: str) -> tuple[FloatArray, FloatArray]:
    part = _of(records, rule)
    bound = report.usd_per_car_month(part, "bound_usd")
    return bound, bound - report.usd_per_car_month(part)


def _of(records: pd.DataFrame, policy: str) -> pd.DataFrame:
    return records[records["policy"] == policy].sort_values("scenario")


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def choice_matrix(
    played: Matrix, settings: BoundSettings, *, learned: bool = False
) -> Matrix | None:
    """Rules, planners and perhaps learned policies among those played, on the days of the choice.

    None if there is no plain rule among them.
    """
    kinds = (is_plain, is_planner, *([is_learned] if learned else []))
    wanted = [one for one in played.policies if any(kind(one.label) for kind in kinds)]
    if not any(is_plain(one.label) for one in wanted):
        return None
    other = settings.other_days(played.days)
    under = f"choice/{other.split}_{other.first}_{other.count}/"
    return replace(played, policies=wanted, days=other, under=under, traced=False)


def bound_tasks(played: Matrix, settings: BoundSettings) -> list[Task]:
    """List the days that no earlier run has bounded; see `solve_bounds`."""
    return [
        Task(f"{name} bound", partial(bounds.solve, card, day, settings.sample_cars, file))
        for name, card in played.cards.items()
        for day in played.days.singly()
        if not bounds.solved(card, day, settings.sample_cars, file := _file(played, name, day))
    ]


def solve_bounds(
    played: Matrix, settings: BoundSettings, column: str = "card", workers: int = 1
) -> pd.DataFrame:
    """Bound the days of several cards, each in a file of its own below `records/<name>/bounds`."""
    do_all("bounds:", bound_tasks(played, settings), workers)
    frames = []
    for name, card in played.cards.items():
        for day in played.days.singly():
            found = bounds.solve(card, day, settings.sample_cars, _file(played, name, day))
            frames.append(found.assign(**{column: name}))
    return pd.concat(frames, ignore_index=True)


def _file(played: Matrix, name: str, day: Days) -> Path:
    folder = played.folder.path / "records" / name / "bounds"
    return folder / f"{day.split}_{day.first}.csv"


def plain_row(found: Headroom) -> dict[str, Any]:
    """Turn a headroom into JSON data, with its verdict in a word and in a sentence."""
    summary = asdict(found) | {"verdict": found.verdict}
    return summary | {"passes_gate": found.passes, "sentence": sentence(found)}


def sentence(found: Headroom) -> str:
    """Say what a card leaves, and the verdict of the gate, in words."""
    if found.share is None:
        usd_per_car_day = found.bound.point / DAYS_PER_MONTH
        return (
            f"Not worth it: the mean bound is {usd_per_car_day:.4f} USD per car-day, below "
            f"{score.MIN_USD_PER_CAR_DAY}. No score; {found.rule}, the best plain rule of other "
            f"days, earns {usd_text(found.rule_usd)} USD per car-month."
        )
    head = (
        f"Headroom {share_text(found.share)} of the bound, {usd_text(found.usd)} USD per car-month "
        f"above {found.rule}, the best plain rule of other days"
    )
    return f"{head}. {_gate(found)}"


def _gate(found: Headroom) -> str:
    verdict = found.verdict
    if verdict == "little headroom":
        return f"Under the gate: less than {GATE_SHARE:.0%} is left, nothing to learn here."
    if verdict == "no planner":
        return "Gate open: no planner was played, so that nobody shows what is within reach."
    gain = f"{found.planner} {usd_text(found.planners[str(found.planner)])} USD per car-month"
    if verdict == "out of reach":
        return (
            "Under the gate: the best planner of other days does not earn more than that rule by "
            f"more than its interval ({gain}), so that the headroom may be out of reach."
        )
    return f"Passes the gate: above that rule by {gain}."


def usd_text(found: Interval) -> str:
    """Write money with its interval."""
    return f"{found.point:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def share_text(found: Interval) -> str:
    """Write a share with its interval."""
    return f"{found.point:.1%} [{found.low:.0%}, {found.high:.0%}]"


def measure_all(
    records: pd.DataFrame, choice: pd.DataFrame | None, seed: int, column: str = "card"
) -> dict[str, Headroom]:
    """Measure every card (or variant), each with the rule that was best on its days of choice.

    Parameters
    ----------
    records, choice : pandas.DataFrame
        Of `measure` (with `bound_usd`) and of `play_choice`, both with the name of the card;
        without a choice there is nothing to measure.
    seed : int
        Of the bootstrap.
    column : str
        Where the name of the card is.
    """
    if choice is None:
        return {}
    parts = {str(name): part for name, part in choice.groupby(column, sort=False)}
    found = {}
    for key, part in records.groupby(column, sort=False):
        name = str(key)
        rule, planner = choose(parts[name], is_plain), choose(parts[name], is_planner)
        found[name] = measure(part, str(rule), planner, seed)
    return found

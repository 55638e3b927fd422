"""Who is played: a policy by name, with settings of its own, or what a training left.

A verb that takes `policies` takes each of them in one of three forms: a name (``mpc``), a name with
settings (``tuned_index:file:release``), or the path of a run of `fleet train` or of a policy file
(``runs/train/ppo_index/suburb/TIME``), which may have settings too (``PATH:sampled:true``). Runs
that differ in their seed alone are reported as one policy: the mean over seeds of every day.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from agents import registry
from agents.base import Policy
from agents.learned.policy_file import SUFFIX, read_card
from experiments.nearest import nearest
from experiments.runner import Days, StepHook, play
from fleet_env.config import EnvConfig

BEST = f"best{SUFFIX}"  # of a run of `fleet train`
MANY_CARDS = 2  # more are counted in a label, not named
SEED = "#"  # stands between the label of a trained policy and the seed of its training


@dataclass(frozen=True, slots=True)
class Entry:
    """A policy as it is played and listed."""

    label: str  # in tables, records and names of files
    name: str  # in `agents.registry`
    options: dict[str, Any] = field(default_factory=dict)
    own: Policy | None = None  # one that is not in the registry, as it is

    @classmethod
    def of(cls, policy: str | Policy) -> Entry:
        """Take a policy in one of the three forms, or an object of one's own."""
        if isinstance(policy, str):
            return cls.parse(policy)
        return cls(policy.name, policy.name, own=policy)

    @classmethod
    def parse(cls, text: str, key: str = "policies") -> Entry:
        """Read one of the three forms, given in the setting `key`.

        Raises
        ------
        ValueError
            If there is no such policy, file or setting, or a value is out of range.
        """
        whole = _file(text)
        head, _, tail = (text, "", "") if whole else text.partition(":")
        options = _options(text, tail, key)
        file = whole or _file(head)
        if file is not None:
            entry = cls(_label_of_training(file, options), "learned", {"file": str(file)} | options)
        elif head in registry.names():
            entry = cls(_with_options(head, options), head, options)
        else:
            hint = nearest(head, list(registry.names()))
            raise ValueError(f"{key}={text}: no such policy, run or policy file{hint}")
        if entry.options:
            entry.make()  # an error here, not half-way
        return entry

    @property
    def training_seed(self) -> int | None:
        """Seed of the training that it came from; None of all other policies."""
        seed = self.label.partition(SEED)[2]
        return int(seed) if seed else None

    def make(self) -> Policy:
        """Build the policy."""
        return registry.make(self.name, **self.options) if self.own is None else self.own

    def play(
        self, config: EnvConfig, days: Days, seed: int, on_step: StepHook | None = None
    ) -> pd.DataFrame:
        """Play it on all days; records of `experiments.runner.play` under its label.

        With `training_seed`, missing where there is none.
        """
        who = self.name if self.own is None else self.own
        records = play(config, who, days, seed, self.options, on_step)
        records["policy"] = self.label
        seeds = pd.array([self.training_seed] * len(records), dtype="Int64")
        records.insert(1, "training_seed", seeds)
        return records


def _file(text: str) -> Path | None:
    path = Path(text)
    if path.suffix == SUFFIX and path.is_file():
        return path
    return path / BEST if (path / BEST).is_file() else None


def _options(text: str, tail: str, key: str) -> dict[str, Any]:
    parts = tail.split(":") if tail else []
    if len(parts) % 2 or "" in parts:
        raise ValueError(f"{key}={text}: not of the form NAME:SETTING:VALUE:SETTING:VALUE ...")
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {name: yaml.safe_load(value) for name, value in pairs}


def _with_options(head: str, options: Mapping[str, Any]) -> str:
    return ":".join([head, *(f"{key}:{_short(value)}" for key, value in options.items())])


def _short(value: Any) -> str:
    """Name a file by its stem: labels become names of files."""
    text = value if isinstance(value, str) else json.dumps(value)
    return (Path(text).stem if Path(text).is_file() else text).replace("/", "_")


def _label_of_training(file: Path, options: Mapping[str, Any]) -> str:
    card = read_card(file)
    training = card.get("training", {})
    names = training.get("cards", ())
    cards = f"{len(names)}cards" if len(names) > MANY_CARDS else "+".join(names) or "?"
    head = _with_options(f"{card.get('name', file.stem)}@{cards}", options)
    return f"{head}{SEED}{training['seed']}" if "seed" in training else head


def entries(texts: Sequence[str | Policy], key: str = "policies") -> list[Entry]:
    """Read who is wanted; every registered policy where nobody is named.

    Raises
    ------
    ValueError
        If one is unknown, or two have the same label: before anything is played.
    """
    wanted = texts or registry.names()
    found = [Entry.parse(one, key) if isinstance(one, str) else Entry.of(one) for one in wanted]
    seen: dict[str, str | Policy] = {}
    for text, entry in zip(texts, found, strict=False):
        if entry.label in seen:
            raise ValueError(
                f"{key}: {seen[entry.label]} and {text} are both {entry.label}: expected each "
                "once (trainings of one agent on one card differ in their seed)"
            )
        seen[entry.label] = text
    return found


def file_hashes(options: Mapping[str, Any]) -> dict[str, str]:
    """Hash of every file that a setting of a policy names: records depend on what is in it."""
    named = {key: Path(value) for key, value in options.items() if isinstance(value, str)}
    return {
        key: sha256(file.read_bytes()).hexdigest() for key, file in named.items() if file.is_file()
    }


def files_of(played: Sequence[Entry]) -> dict[str, Any]:
    """Hash the files of policies, by label: a part of the settings of a run."""
    hashes = {entry.label: file_hashes(entry.options) for entry in played}
    named = {label: found for label, found in hashes.items() if found}
    return {"files": named} if named else {}

"""`fleet agents`: every policy, what it does, where it comes from and what can be set."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import Any

from rich.table import Table

from agents import registry
from experiments import report
from experiments.nearest import nearest
from experiments.records import write_atomic

SETTINGS = ("out",)
USAGE = """usage: fleet agents [out=FOLDER]

Lists the policies; with out=FOLDER also writes agents.md there, the page docs/agents.md.
"""
PAGE_HEAD = """# Policies

`fleet evaluate policy=NAME policy.options.SETTING=VALUE` plays one, `fleet compare` all. Every
policy sees the same observation and answers with one duty bit per car; a privileged one is also
told what the others are not (a bound, never a competitor). Numbers B1 to B27 are those of the
catalogue of rules that the project was planned with. Constants are tuned on days of the split
`train` alone; the comment beside a constant in its source says of which values. Learned policies
are played without torch; what `fleet train` writes plays as `policy=learned
policy.options.file=PATH`, and in Python as `agents.learned.load(PATH)`. `fleet agents out=FOLDER`
writes this page from the classes themselves.
"""
LEFT_OUT_HEAD = """## Left out

Rules of the catalogue that need another action than a duty bit per car, or that the environment
applies by itself:

| rule | why |
|---|---|
"""
LEFT_OUT = {
    "B2 round robin, capacity-proportional": "They route requests. The queue spreads requests over "
    "the serving cars of a pool by their speed (docs/model.md 2.4); random is here.",
    "B3 join the shortest queue": "Routes each request; no car has a queue of its own here.",
    "B4 two choices": "Routes each request, as B3.",
    "B5 token-weighted shortest queue": "Routes each request, as B3.",
    "B6 queue and batch score": "Routes each request, as B3.",
    "B15 promotion in danger of lateness": "Orders jobs; the queue runs batch work earliest "
    "deadline first and chat before batch, whatever is asked.",
    "B16 hedge at the 95th percentile": "A setting of the environment: `serving.hedge`.",
    "B17 adaptive replication": "Copies requests to check results; cars return no wrong results "
    "here (`serving.redundancy` is the fixed price of checks).",
    "B18 checkpoint period": "A setting of the environment: `serving.batch_loss=checkpoint`.",
    "B20 carbon-time": "Commits a job to the start of most carbon saved per hour of delay. The "
    "backlog shows no single jobs to commit, only work by deadline; decided anew in each step, it "
    "starts when no later hour is cleaner, whatever the gain is divided by: lowest_carbon.",
    "B22 carbon scaling": "Gives each hour so many cars as pay off in carbon. Cars add equal work "
    "here, so its greedy fill puts all work into the cleanest hours: lowest_carbon.",
    "B24 batch scores (shortest first, WFP3, F1-F4)": "Order jobs of different sizes; jobs of the "
    "backlog are alike and run earliest deadline first.",
    "B27 autoscaler of the data centre": "Scales the data centre, which has room for everything "
    "here; where it is paid by its peak, peak_shaver holds that down.",
}
WIDTH = 100  # of the page [characters]


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a policy."""

    name: str
    default: Any
    note: str  # the comment beside it: meaning, unit, source
    group: str  # class that several policies share it from; empty if it is the policy's own


@dataclass(frozen=True, slots=True)
class Description:
    """What is written about a policy."""

    name: str
    family: str
    definition: str
    source: str
    settings: tuple[Setting, ...]
    privileged: bool


def main() -> None:
    """List the policies; write the page where `out=FOLDER` is given."""
    arguments = sys.argv[1:]
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(USAGE)
        return
    chosen = dict(_settings(arguments))
    listed = [describe(name) for name in registry.all_names()]
    console = report.console()
    console.print(table(listed))
    if "out" in chosen:
        file = Path(chosen["out"]) / "agents.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, lambda path: path.write_text(page(listed), "utf-8"))
        console.print(f"page: {file}", soft_wrap=True, highlight=False)


def _settings(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key not in SETTINGS:
            raise ValueError(f"{key}: no such setting of agents{nearest(key, SETTINGS)}")
        if not equals or not value:
            raise ValueError(f"{argument}: not of the form key=value")
        yield key, value


def describe(name: str) -> Description:
    """Read what policy `name` says of itself.

    Raises
    ------
    ValueError
        If its class has no `family`, `source` or docstring.
    """
    rule = registry.policy_class(name)
    said = {key: getattr(rule, key, None) for key in ("family", "source")}
    definition = inspect.cleandoc(rule.__doc__ or "").split("\n\n")[0]
    missing = [key for key, text in {**said, "docstring": definition}.items() if not text]
    if missing:
        raise ValueError(f"policy {name}: its class {rule.__name__} has no {', '.join(missing)}")
    return Description(
        name=name,
        family=str(said["family"]),
        definition=" ".join(definition.split()),
        source=str(said["source"]),
        settings=tuple(_settings_of(rule, registry.defaults(name))),
        privileged=bool(getattr(rule, "privileged", False)),
    )


def _settings_of(rule: Any, defaults: Mapping[str, Any]) -> Iterator[Setting]:
    for name, default in defaults.items():
        # where its default stands: the first class of the line that names it
        owner = next(c for c in rule.__mro__ if name in inspect.get_annotations(c))
        group = "" if owner is rule else owner.__name__
        yield Setting(name, default, _comments(owner).get(name, ""), group)


@cache
def _comments(owner: type) -> Mapping[str, str]:
    """Comment of each setting: at the end of its line, or the lines above (also of several)."""
    notes: dict[str, str] = {}
    above: list[str] = []
    begun = False  # a setting has been read since the last line of `above`
    for line in inspect.getsource(owner).splitlines():
        if comment := re.fullmatch(r"    # (.*)", line):
            above, begun = [*([] if begun else above), comment[1]], False
        elif setting := re.match(r"    (\w+): [^=]+ = ", line):
            beside = re.search(r"  # (.*)$", line)
            notes[setting[1]] = beside[1] if beside else " ".join(above)
            begun = True
        else:
            above = []
    return notes


def table(listed: Iterable[Description]) -> Table:
    """Lay out all policies for the terminal."""
    note = (
        "+ DemandSettings, MeritSettings: settings that many rules share, in docs/agents.md. "
        "Privileged policies are told what others are not: bounds, not competitors."
    )
    out = report.new_table("policies", note)
    out.add_column("policy", no_wrap=True)
    out.add_column("family")
    out.add_column("what it does", min_width=32)
    out.add_column("source")
    out.add_column("settings", no_wrap=True)
    for one in listed:
        own = [f"{s.name}={s.default}" for s in one.settings if not s.group]
        shared = _groups(one)
        lines = [*own, *(f"+ {group}" for group in shared[:1])]
        family = f"{one.family}, privileged" if one.privileged else one.family
        out.add_row(one.name, family, one.definition, one.source, "\n".join(lines))
    return out


def _groups(one: Description) -> list[str]:
    """Classes that a policy takes settings from, the most special one first."""
    return list(dict.fromkeys(s.group for s in reversed(one.settings) if s.group))


def page(listed: Sequence[Description]) -> str:
    """Write the page of the policies (Markdown)."""
    parts = [PAGE_HEAD]
    for family, members in groupby(listed, key=lambda one: one.family):
        parts.append(f"## {family[0].upper()}{family[1:]}\n")
        parts.extend(_entry(one) for one in members)
    parts.append(_shared(listed))
    rows = "".join(f"| {rule} | {why} |\n" for rule, why in LEFT_OUT.items())
    parts.append(LEFT_OUT_HEAD + rows)
    return "\n".join(parts)


def _entry(one: Description) -> str:
    own = [s for s in one.settings if not s.group]
    privileged = " Privileged." if one.privileged else ""
    text = f"{one.definition}{privileged} Source: {one.source}."
    lines = [f"### {one.name}\n", fill(text, WIDTH, break_on_hyphens=False), ""]
    for setting in own:
        default = f" {setting.default}" if setting.default != "" else ""
        item = f"- `{setting.name}`{default}" + (f": {setting.note}" if setting.note else "")
        lines.append(fill(item, WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    groups = _groups(one)
    if groups:
        lines.append(f"- and those of `{groups[0]}` below")
    elif not own:
        lines.append("No settings.")
    return "\n".join([*lines, ""])


def _shared(listed: Iterable[Description]) -> str:
    """Write the settings that several policies share, each once."""
    shared = {(s.group, s.name): s for one in listed for s in one.settings if s.group}
    lines = [
        "## Shared settings\n",
        "`MeritSettings` are those of `DemandSettings` and more.\n",
        "| group | setting | default | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| {s.group} | `{s.name}` | {s.default} | {s.note} |" for s in shared.values()]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()

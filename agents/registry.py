"""Policies by name: the one place where tables, configs and the command line look them up.

A policy class says what it is in class variables: `name`, `family` (of the rules listed together)
and `source` (where the rule comes from), and in the first line of its docstring, its definition.
One that is told the future or what the world hides says `privileged = True` (a bound, never a
competitor); without the variable a policy sees what all see.

Trained policies that the package carries (`agents.learned.shipped`) stand here by the names of
their files. `learned` plays any other file; as it needs one, it is no part of `names()`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from agents.base import Policy
from agents.heuristics.always_on import AlwaysOn
from agents.heuristics.cheapest_first import CheapestFirst
from agents.heuristics.consolidate import Consolidate
from agents.heuristics.dc_only import DcOnly
from agents.heuristics.deadlines import LeastLaxity, SafetyNet, UniformProgress
from agents.heuristics.deliberately_bad import DeliberatelyBad
from agents.heuristics.full_cost import FullCostFirst
from agents.heuristics.idle_gate import IdleGate
from agents.heuristics.koopman import Koopman
from agents.heuristics.longest_stay import LongestStay
from agents.heuristics.myopic_lp import MyopicLP
from agents.heuristics.peak import PeakShaver
from agents.heuristics.plugged_full_first import PluggedFullFirst
from agents.heuristics.random_share import RandomShare
from agents.heuristics.spares import HedgedSpares
from agents.heuristics.warm_first import WarmFirst
from agents.heuristics.windows import (
    LowestCarbon,
    LowestPrice,
    LowestWindow,
    WaitAwhile,
)
from agents.index.policy import TunedIndex
from agents.learned.policy import Learned
from agents.learned.shipped import shipped
from agents.names import did_you_mean
from agents.oracle.mpc import MPC
from agents.oracle.price_index import PriceIndex

_POLICIES: tuple[Any, ...] = (  # families stand together
    DcOnly,
    AlwaysOn,
    RandomShare,
    Koopman,
    PluggedFullFirst,
    IdleGate,
    LongestStay,
    CheapestFirst,
    WarmFirst,
    Consolidate,
    FullCostFirst,
    UniformProgress,
    SafetyNet,
    LeastLaxity,
    HedgedSpares,
    LowestPrice,
    LowestWindow,
    WaitAwhile,
    LowestCarbon,
    MyopicLP,
    PeakShaver,
    TunedIndex,
    PriceIndex,
    MPC,
    *shipped().values(),
    Learned,
    DeliberatelyBad,
)
_BUILDERS: dict[str, Callable[..., Policy]] = {policy.name: policy for policy in _POLICIES}


def names() -> tuple[str, ...]:
    """Names of the policies that play as they are, in the order of the tables."""
    return tuple(name for name in _BUILDERS if name != Learned.name)


def all_names() -> tuple[str, ...]:
    """Names that `make` knows: `names()` and `learned`, which must be told a file."""
    return tuple(_BUILDERS)


def make(name: str, **settings: Any) -> Policy:
    """Build a policy.

    Parameters
    ----------
    name : str
        One of `all_names()`.
    **settings
        Fields of the policy's dataclass; the rest keep their defaults.

    Returns
    -------
    Policy

    Raises
    ------
    ValueError
        If the name or a setting is unknown (the nearest known one is given), or a value is out
        of range.
    """
    if name not in _BUILDERS:
        raise ValueError(f"unknown policy {name!r}: {did_you_mean(name, all_names())}")
    known = setting_names(name)
    for setting in settings:
        if setting not in known:
            raise ValueError(
                f"unknown setting of {name} {setting!r}: {did_you_mean(setting, known)}"
            )
    return _BUILDERS[name](**settings)


def setting_names(name: str) -> tuple[str, ...]:
    """Name the settings of policy `name`; its dataclass fields say their units and sources."""
    return tuple(defaults(name))


def defaults(name: str) -> dict[str, Any]:
    """Return the settings of policy `name` as they are where nobody sets them."""
    rule: Any = _BUILDERS[name]
    return {field.name: field.default for field in fields(rule) if field.init}


def policy_class(name: str) -> Any:
    """Return the class behind `name`: its docstring and class variables say what it is."""
    return _BUILDERS[name]

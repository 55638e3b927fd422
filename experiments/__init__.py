"""Experiments with parked cars as data centres: the verbs of `fleet`, and what notebooks call.

``from experiments import compare, evaluate, load_policy, plot``: policies on the same days, with
records, scores and figures; see `experiments.api` and `experiments.plot`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = dict.fromkeys(("compare", "evaluate", "load_policy"), "experiments.api")
_HOME["Results"] = "experiments.results"

__all__ = ["Results", "compare", "evaluate", "load_policy", "plot"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: `fleet --help` needs none of it."""
    if name == "plot":
        return import_module("experiments.plot")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

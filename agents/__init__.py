"""Dispatchers of the fleet: rules, bounds and learners behind one `Policy` protocol."""

from __future__ import annotations

from agents.base import Obs, Policy
from agents.registry import make, names

__all__ = ["Obs", "Policy", "make", "names"]

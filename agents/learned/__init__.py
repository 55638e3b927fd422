"""Trained policies, played without torch."""

from __future__ import annotations

from pathlib import Path

from agents.learned.policy import Learned
from agents.learned.policy_file import PolicyFile, PolicyFileError

__all__ = ["Learned", "PolicyFile", "PolicyFileError", "load"]


def load(file: str | Path, *, sampled: bool = False) -> Learned:
    """Read a policy that `fleet train` wrote; it plays wherever rules play.

    Parameters
    ----------
    file : str or Path
        For instance ``runs/train/.../best.policy``.
    sampled : bool
        Draw actions as in training, in place of the best ones.

    Raises
    ------
    PolicyFileError
        If the file cannot be read or does not fit the installed fleet_env, with what differs.
    """
    return Learned(file=str(file), sampled=sampled)

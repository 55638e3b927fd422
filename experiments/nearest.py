"""For error messages: the valid name closest to a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(key: str, valid: Iterable[str]) -> str:
    """Return "; did you mean ...?" for the closest valid name, or nothing if none is close.

    Dotted names are compared whole first; then, for the right name at the wrong level, by their
    last parts.
    """
    names = list(valid)
    close = difflib.get_close_matches(key, names, n=1)
    if not close:
        leaves = {name.rpartition(".")[2]: name for name in reversed(names)}
        found = difflib.get_close_matches(key.rpartition(".")[2], leaves, n=1)
        close = [leaves[leaf] for leaf in found]
    return f"; did you mean {close[0]}?" if close else ""

"""Names that people write: unknown ones are refused, with the nearest."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches


def did_you_mean(word: object, known: Collection[str]) -> str:
    """Name what is known, the nearest first, for the end of an error message."""
    near = get_close_matches(str(word), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(known) or 'none'}"


def check_names(
    part: str, given: Iterable[str], known: Collection[str], *, complete: bool = True
) -> None:
    """Refuse names that are not known, and with `complete` those that are missing.

    Raises
    ------
    ValueError
        Naming the part and the first unknown name, or all missing ones.
    """
    given = list(given)
    for name in given:
        if name not in known:
            raise ValueError(f"{part}: no {name!r}: {did_you_mean(name, known)}")
    missing = [name for name in known if name not in given]
    if complete and missing:
        raise ValueError(f"{part}: missing {', '.join(missing)}")

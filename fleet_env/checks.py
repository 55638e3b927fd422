"""Checks of settings: one line that names the key, what was expected and what was given."""

from __future__ import annotations

from numbers import Real


def require(ok: object, key: str, value: object, expected: str) -> None:
    """Raise ValueError unless `ok`."""
    if not ok:
        raise ValueError(f"{key}={value!r}: expected {expected}")


def in_range(owner: object, prefix: str, **limits: tuple[float, float]) -> None:
    """Raise ValueError unless every named setting of `owner` is a number inside its limits."""
    for name, (low, high) in limits.items():
        value = getattr(owner, name)
        ok = isinstance(value, Real) and low <= float(value) <= high
        require(ok, f"{prefix}{name}", value, f"a number in [{low:,.9g}, {high:,.9g}]")


def at_least(owner: object, prefix: str, **least: float) -> None:
    """Raise ValueError if a named setting of `owner` is below its least value."""
    for name, low in least.items():
        value = getattr(owner, name)
        require(value >= low, f"{prefix}{name}", value, f"{low:g} or more")


def one_of(owner: object, prefix: str, **options: tuple[str, ...]) -> None:
    """Raise ValueError unless every named setting of `owner` is one of its options."""
    for name, valid in options.items():
        value = getattr(owner, name)
        require(value in valid, f"{prefix}{name}", value, " or ".join(valid))


def shares(key: str, values: dict[str, float]) -> None:
    """Raise ValueError unless the values are non-negative and sum to 1."""
    total = sum(values.values())
    ok = bool(values) and all(s >= 0 for s in values.values()) and abs(total - 1.0) < 1e-6
    require(ok, key, values, f"non-negative shares that sum to 1 (they sum to {total:g})")

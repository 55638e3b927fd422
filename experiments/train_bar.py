"""The bar of a training on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class TrainBar:
    """A bar on the terminal with return, validation and speed (nothing elsewhere)."""

    def __init__(self, title: str, begun: int, total: int) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} steps"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[told]}"),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task(title, total=total, completed=begun, told="")

    def __enter__(self) -> TrainBar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def show(self, row: Mapping[str, float]) -> None:
        """Show a row of metrics, with the figures of the last validation."""
        self._bar.update(self._task, completed=row["steps"], told=told(row))


def told(row: Mapping[str, float]) -> str:
    """Put the figures of a row that people watch into words."""
    parts = []
    if "return" in row:
        parts.append(f"return {row['return']:+.3f} USD/car-month")
    if "validation/usd" in row:
        score = row.get("validation/score")
        tail = "" if score is None else f" (score {score:.3f})"
        parts.append(f"validation {row['validation/usd']:+.3f}{tail}")
    if "time/fps" in row:
        parts.append(f"{row['time/fps']:,.0f} steps/s")
    return ", ".join(parts)

"""Where numbers defeat HiGHS it is asked again, in another way, and only then gives up."""

from __future__ import annotations

import highspy
import numpy as np
import pytest

from agents.oracle import programme
from agents.oracle.programme import Programme


def small() -> Programme:
    """Build max x + 2 y with x + y <= 3, y <= 2: 5 at (1, 2)."""
    model = Programme()
    columns = model.columns(2, np.array([1.0, 2.0]), np.array([10.0, 2.0]))
    row = model.rows(1, upper=3.0)
    model.put(row, columns, 1.0)
    return model


class Defeated:
    """HiGHS that ends without a status where it was asked in one of the first ways."""

    def __init__(self, defeats: int, **options: str | float) -> None:
        self.solver, self.options = plain_solver(**options), options
        self.asked = asked
        self.asked.append({k: v for k, v in options.items() if k != "time_limit"})
        self.fails = len(self.asked) <= defeats

    def getModelStatus(self) -> highspy.HighsModelStatus:  # noqa: N802 - as HiGHS names it
        status = self.solver.getModelStatus()
        return highspy.HighsModelStatus.kNotset if self.fails else status

    def __getattr__(self, name: str) -> object:
        return getattr(self.solver, name)


plain_solver = programme.quiet_solver
asked: list[dict[str, str | float]] = []


@pytest.mark.parametrize("defeats", range(4))
def test_every_way_gives_the_optimum(defeats, monkeypatch):
    asked.clear()
    monkeypatch.setattr(programme, "quiet_solver", lambda **o: Defeated(defeats, **o))
    found = small().solve()
    assert found.objective == pytest.approx(5.0, abs=1e-6)
    assert found.bound == pytest.approx(5.0, abs=1e-6)
    assert len(asked) == defeats + 1
    assert len({tuple(sorted(way.items())) for way in asked}) == len(asked)


def test_defeated_in_every_way_it_says_so(monkeypatch):
    asked.clear()
    monkeypatch.setattr(programme, "quiet_solver", lambda **o: Defeated(9, **o))
    with pytest.raises(RuntimeError, match="HiGHS: Not Set"):
        small().solve()
    assert len(asked) == 4

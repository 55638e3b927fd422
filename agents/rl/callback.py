"""The hook of a training run: between two rollouts, when all updates are done."""

from __future__ import annotations

import time
from collections.abc import Callable

from stable_baselines3.common.callbacks import BaseCallback


class BetweenRollouts(BaseCallback):
    """Calls back after each rollout and its updates, the last one included.

    Then the model, its random states and (where rollouts are whole episodes) its environment stand
    between two things to do: the moment to save, to validate or to stop, by raising.

    Parameters
    ----------
    call : callable
        Gets the seconds since the last call that went into rollouts, and into updates.
    """

    def __init__(self, call: Callable[[float, float], None]) -> None:
        super().__init__()
        self._call = call
        self._begun_s = 0.0
        self._turned_s: float | None = None  # when the rollout ended and updates began

    def _on_rollout_start(self) -> None:
        self._over()
        self._begun_s = time.perf_counter()

    def _on_rollout_end(self) -> None:
        self._turned_s = time.perf_counter()

    def _on_training_end(self) -> None:
        self._over()

    def _on_step(self) -> bool:
        return True

    def _over(self) -> None:
        if self._turned_s is not None:
            now_s, turned_s = time.perf_counter(), self._turned_s
            self._turned_s = None
            self._call(turned_s - self._begun_s, now_s - turned_s)

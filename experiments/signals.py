"""Requests to stop, which wait until it suits."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

ASKING = (signal.SIGINT, signal.SIGTERM)


class InterruptedBySignal(KeyboardInterrupt):
    """Asked to stop by a signal; `status` is what the program leaves with, 128 + its number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class StopRequests:
    """While entered, SIGINT and SIGTERM only set `asked`; the second one stops at once.

    In a thread other than the main one, Python delivers no signals, and nothing is changed.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in ASKING}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            raise InterruptedBySignal(number)
        self.asked = number

    def heed(self) -> None:
        """Stop now, if asked.

        Raises
        ------
        InterruptedBySignal
        """
        if self.asked is not None:
            raise InterruptedBySignal(self.asked)

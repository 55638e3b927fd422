"""Work that stands alone, on several processes, behind one progress bar."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

from experiments.runner import progress

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do that leaves its result in a file."""

    label: str  # on the progress bar
    do: Callable[[], object]  # can be pickled, and so can what it returns


def num_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def do_all(title: str, tasks: Sequence[Task], workers: int = 1) -> None:
    """Do all tasks, each in one of `workers` processes; in this one where that is one.

    What is done stays done: after an error or an interruption the rest is dropped.

    Parameters
    ----------
    title : str
        Of the progress bar.
    tasks : sequence of Task
    workers : int
        0: one per core.
    """
    workers = min(workers or num_cores(), len(tasks))
    if not tasks:
        return
    with progress(title, len(tasks)) as begin:
        if workers == 1:
            for task in tasks:
                done = begin(task.label)
                task.do()
                done()
            return
        with _pool(workers) as pool:
            running = {pool.submit(task.do): task for task in tasks}
            for future in _finished(pool, running):
                begin(running[future].label)()


def _finished(
    pool: ProcessPoolExecutor, running: dict[Future[object], Task]
) -> Iterator[Future[object]]:
    try:
        for future in as_completed(running):
            future.result()
            yield future
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Open processes that begin anew (no threads are copied), with one thread each."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_die_quietly) as pool:
            yield pool
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _die_quietly() -> None:
    """Ctrl-C ends a worker at once, without a traceback: files are whole or absent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

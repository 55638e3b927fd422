"""Tasks on several processes: all are done, errors and interruptions leave what is finished."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from experiments.pool import THREADS, Task, do_all


def leave(path: Path, text: str = "") -> None:
    threads = {os.environ.get(name) for name in THREADS}
    path.write_text(text or f"{os.getpid()} {threads}")


def fail(path: Path) -> None:
    raise ValueError(f"{path.name}: wrong")


def tasks(folder: Path, num: int) -> list[Task]:
    return [Task(str(i), partial(leave, folder / str(i))) for i in range(num)]


def test_one_worker_is_this_process(tmp_path):
    do_all("t:", tasks(tmp_path, 3), workers=1)
    assert {(tmp_path / str(i)).read_text().split()[0] for i in range(3)} == {str(os.getpid())}


def test_many_workers_are_other_processes_of_one_thread(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    do_all("t:", tasks(tmp_path, 4), workers=2)
    pids, threads = zip(
        *((tmp_path / str(i)).read_text().split(" ", 1) for i in range(4)), strict=True
    )
    assert str(os.getpid()) not in pids
    assert 1 <= len(set(pids)) <= 2
    assert set(threads) == {"{'1'}"}
    assert os.environ["OMP_NUM_THREADS"] == "7"  # here all is as before


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_of_a_task_is_raised_and_what_was_done_stays(tmp_path, workers):
    listed = [*tasks(tmp_path, 2), Task("bad", partial(fail, tmp_path / "bad"))]
    with pytest.raises(ValueError, match="bad: wrong"):
        do_all("t:", listed, workers=workers)
    done = {file.name for file in tmp_path.iterdir()}
    assert done == {"0", "1"} if workers == 1 else done <= {"0", "1"}


def test_nothing_to_do_starts_nothing(tmp_path):
    do_all("t:", [], workers=4)
    assert not list(tmp_path.iterdir())

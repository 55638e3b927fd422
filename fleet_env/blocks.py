"""Blocks of cars, and the loop over them on all cores.

A block holds whole rows, or a part of one row at fixed car numbers, so sums per row run in the
same order in any batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

# A tenth of the cars of a block are active in a step. Large blocks keep numpy's loops long against
# its calls, which only one thread can make at a time. Fixed, because sums depend on it.
BLOCK_CARS = 524_288
DENSE_CARS = 16_384  # the same where a loop runs over all cars: 64 kB per float32 array

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Block:
    """Cars `lo:hi` of the flat arrays; rows `row_lo:row_hi` of the batch."""

    lo: int
    hi: int
    row_lo: int
    row_hi: int

    @property
    def num_rows(self) -> int:
        """Rows of the batch this block touches."""
        return self.row_hi - self.row_lo


def split_blocks(
    num_envs: int, num_cars: int, block_cars: int = BLOCK_CARS, together: int = 1
) -> tuple[Block, ...]:
    """Cut a batch into blocks of whole rows, or long rows into equal parts plus a rest.

    A long row is cut at multiples of `together` cars only: neighbourhoods stay whole.

    >>> split_blocks(3, 4, block_cars=8)
    (Block(lo=0, hi=8, row_lo=0, row_hi=2), Block(lo=8, hi=12, row_lo=2, row_hi=3))
    >>> split_blocks(1, 10, block_cars=8)
    (Block(lo=0, hi=8, row_lo=0, row_hi=1), Block(lo=8, hi=10, row_lo=0, row_hi=1))
    """
    if num_cars <= block_cars:
        rows = max(1, block_cars // num_cars)
        starts = range(0, num_envs, rows)
        ends = [min(start + rows, num_envs) for start in starts]
        return tuple(
            Block(a * num_cars, b * num_cars, a, b) for a, b in zip(starts, ends, strict=True)
        )
    block_cars -= block_cars % together
    return tuple(
        Block(row * num_cars + a, row * num_cars + min(a + block_cars, num_cars), row, row + 1)
        for row in range(num_envs)
        for a in range(0, num_cars, block_cars)
    )


def for_each(jobs: Sequence[S], work: Callable[[S], T]) -> list[T]:
    """Run `work` on every job, on all cores when there are several, and keep the order."""
    if len(jobs) == 1:
        return [work(jobs[0])]
    return list(_pool().map(work, jobs))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=_num_cores(), thread_name_prefix="fleet")


def _num_cores() -> int:
    """Cores this process may use, where the system tells; else all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

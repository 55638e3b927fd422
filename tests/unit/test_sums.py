"""Sums in a fixed order: by hand, and the same bits whatever lies beside."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import fleet_env
from fleet_env.sums import total, weighted

PACKAGE = Path(fleet_env.__file__).parent
BLAS = re.compile(r" @ |np\.(dot|matmul|tensordot|vdot|inner)\(|\.dot\(")


def test_parts_are_added_in_their_order():
    parts = [np.array([1e16]), np.array([1.0]), np.array([-1e16])]
    assert total(parts).tolist() == [0.0]  # (1e16 + 1) - 1e16 in float64
    assert total(parts[::2] + parts[1:2]).tolist() == [1.0]


def test_entries_are_weighted_by_hand():
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert weighted(values, np.array([10.0, 0.5])).tolist() == [11.0, 32.0]
    assert weighted(values, np.array([[1.0, 0.0], [0.0, 1.0]])).tolist() == [1.0, 4.0]


@pytest.mark.parametrize("num", [2, 3, 9])
def test_a_row_has_the_same_bits_alone_and_beside_others(num):
    rng = np.random.default_rng(num)
    values, weights = rng.random((67, num)), rng.random(num)
    together = weighted(values, weights)
    alone = [weighted(values[[row]], weights)[0] for row in range(67)]
    assert together.tolist() == alone
    assert weighted(np.asfortranarray(values), weights).tolist() == alone


def test_the_world_leaves_no_sum_to_blas():
    # its bits depend on the processor and on the number of rows
    found = [
        f"{file.relative_to(PACKAGE)}: {line.strip()}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for line in file.read_text("utf-8").splitlines()
        if BLAS.search(line) and not line.lstrip().startswith(("@", "#")) and "``@``" not in line
    ]
    assert found == []

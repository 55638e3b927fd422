"""Sums in a fixed order: their bits depend on no row beside, and on no library of the machine.

BLAS, behind ``@`` and `numpy.dot`, adds in another order on another processor and for another
number of rows. A row of a batch is to be the single fleet bit for bit, so the world does without.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleet_env.types import FloatArray


def total(parts: Sequence[FloatArray] | FloatArray) -> FloatArray:
    """Add arrays in their order, whatever their shape; of one array, its entries."""
    result: FloatArray = parts[0]
    for part in parts[1:]:
        result = result + part
    return result


def weighted(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Add up the last axis, entry by entry, each times its weight.

    Parameters
    ----------
    values : FloatArray, shape (..., n)
        n is small.
    weights : FloatArray, shape (n,) or (..., n)

    Returns
    -------
    FloatArray, shape (...)
    """
    return total([values[..., k] * weights[..., k] for k in range(weights.shape[-1])])

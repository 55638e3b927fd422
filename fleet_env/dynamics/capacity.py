"""Capital of a data centre, paid by its peak load (docs/model.md 5.8)."""

from __future__ import annotations

from collections import deque
from functools import reduce

import numpy as np

from fleet_env.types import FloatArray


class HourPeak:
    """Mean load of the last hour and its running peak, row by row.

    Hours, not steps: a peak of single steps would grow with their noise. In the first hour the
    mean is that of the steps so far.

    Attributes
    ----------
    mean, peak : FloatArray, shape (num_rows,)
        In the unit of the load.
    """

    def __init__(self, num_rows: int, dt_h: float) -> None:
        self._last: deque[FloatArray] = deque(maxlen=max(1, round(1.0 / dt_h)))
        self.mean: FloatArray = np.zeros(num_rows)
        self.peak: FloatArray = np.zeros(num_rows)

    def advance(self, load: FloatArray) -> FloatArray:
        """Take the load of a step, shape (num_rows,); return by how much the peak grows."""
        self._last.append(np.array(load, np.float64))
        # one step after the other: the bits of a row do not depend on the rows beside it
        self.mean = reduce(np.add, self._last) / len(self._last)
        peak = np.maximum(self.peak, self.mean)
        growth: FloatArray = peak - self.peak
        self.peak = peak
        return growth


class CapacityCharge:
    """What cars save of a data centre that is paid by the peak of its load.

    Every growth of the peak costs `charge_h` times as much; credited is the growth that there would
    have been without cars, charged the one that there is. Over an episode the steps add up to
    ``charge_h * (peak without cars - peak with cars)``. Without cars both peaks come from the same
    numbers by the same arithmetic, so they agree to the bit and every step gives exactly 0.

    Parameters
    ----------
    charge_h : float
        Cost of a peak [USD per USD/h].
    num_rows : int
    dt_h : float
        Length of a step [h]; a whole number of them fills an hour.
    """

    def __init__(self, charge_h: float, num_rows: int, dt_h: float) -> None:
        self.charge_h, self._shape = charge_h, (num_rows, dt_h)
        self.begin()

    def begin(self) -> None:
        """Start an episode: nothing has been used yet."""
        self._left, self._all = HourPeak(*self._shape), HourPeak(*self._shape)

    @property
    def hour_usd_per_h(self) -> FloatArray:
        """Load left to the data centre, mean of the last hour, shape (num_rows,)."""
        return self._left.mean

    @property
    def peak_usd_per_h(self) -> FloatArray:
        """Highest such mean so far: what is already paid for, shape (num_rows,)."""
        return self._left.peak

    def advance(self, load_usd_per_h: FloatArray, load0_usd_per_h: FloatArray) -> FloatArray:
        """Play a step.

        Parameters
        ----------
        load_usd_per_h, load0_usd_per_h : FloatArray, shape (num_rows,)
            Load left to the data centre, and what it would be without cars, at average prices.

        Returns
        -------
        FloatArray, shape (num_rows,)
            Saved in this step [USD], < 0 where the peak with cars grows by more.
        """
        saved: FloatArray = self._all.advance(load0_usd_per_h) - self._left.advance(load_usd_per_h)
        return self.charge_h * saved


def peak_to_mean(load: FloatArray, dt_h: float) -> float:
    """Mean over episodes of the peak of the hour-mean load, over the mean load.

    Parameters
    ----------
    load : FloatArray, shape (episodes, steps)
        In any unit, >= 0.
    dt_h : float
        Length of a step [h].

    Returns
    -------
    float
        At least 1; 1 where there is no load at all.
    """
    running = HourPeak(len(load), dt_h)
    for step in load.T:
        running.advance(step)
    mean = float(np.mean(load))
    return float(running.peak.mean()) / mean if mean > 0.0 else 1.0

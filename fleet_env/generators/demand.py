"""Request rates over the weeks of a trace: which days a scenario replays, and their forecasts.

Rates are multipliers of mean 1 per class; their level and the noise of counts: `arrivals.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from fleet_env.generators.clock import MIN_PER_DAY
from fleet_env.types import CLASSES, BoolArray, FloatArray, IntArray
from fleet_env.units import MIN_PER_H

NUM_CLASSES = len(CLASSES)
_PROFILE_DAYS = 2  # a mean working and a mean non-working day stand before the history
# what counts first when a day of the trace is chosen: more than the minutes of any episode
_SAME_TYPE, _CONTIGUOUS = 1_000_000, 100_000


@dataclass(frozen=True, eq=False)
class DemandTrace:
    """Request rates of some weeks, in the local clock of the fleet.

    The first `split_day` days serve the splits train and validation, the others the test. An
    episode replays contiguous minutes; where its part of the trace ends (a week from noon), it
    goes on with the first midnight of the same part.
    """

    name: str
    clock: str  # whose clock it was recorded in, and how it became local
    rate: FloatArray  # (3, days * 1440) float32, mean 1
    non_working: BoolArray  # (days,)
    start_weekday: int  # 0 = Monday
    split_day: int
    profile: FloatArray  # (2, 3, 1440) mean working and non-working day of the training part
    share_filled: float = 0.0  # share of the windows that are no measurement
    _history: FloatArray = field(init=False, repr=False)  # (3, minutes + 1) running sum
    _earlier: IntArray = field(init=False, repr=False)  # latest earlier day of the same type

    def __post_init__(self) -> None:
        days = len(self.non_working)
        if self.rate.shape != (NUM_CLASSES, days * MIN_PER_DAY) or not 0 < self.split_day < days:
            raise ValueError(
                f"demand trace {self.name!r}: rate {self.rate.shape}, split_day={self.split_day}: "
                f"expected shape (3, 1440 * days) and a split inside the {days} days"
            )
        minutes = np.concatenate([*self.profile, self.rate], axis=1, dtype=np.float64)
        running = np.zeros((NUM_CLASSES, minutes.shape[1] + 1))
        np.cumsum(minutes, axis=1, out=running[:, 1:])
        object.__setattr__(self, "_history", running)
        object.__setattr__(self, "_earlier", _earlier_days(self.non_working))

    def start_minute(
        self, split: str, weekday: IntArray, u: FloatArray, start_hour: float, minutes: int
    ) -> IntArray:
        """Choose the minute of the trace at which each row starts.

        Candidates are the days of the split's part. First comes the type of the start day
        (working or not), then that the episode needs no wrap, then the share of its minutes that
        fall on days of the right type; among equals `u` chooses.

        Parameters
        ----------
        split : str
            "test" takes the last part of the trace, any other the first.
        weekday : IntArray, shape (num_envs,)
            Weekday of the scenario's date, 0 = Monday; Saturday and Sunday are non-working.
        u : FloatArray, shape (num_envs,)
            Uniforms in [0, 1).
        start_hour : float
            Local hour of the start.
        minutes : int
            Length of the episode.

        Returns
        -------
        IntArray, shape (num_envs,)
        """
        first, stop = (
            (self.split_day, len(self.non_working)) if split == "test" else (0, self.split_day)
        )
        start = round(start_hour * MIN_PER_H)
        score = _match_days(self.non_working[first:stop], start, minutes)
        best = score == score.max(axis=1, keepdims=True)
        candidates = np.argsort(~best, axis=1, kind="stable")
        pick = (u * best.sum(axis=1)[weekday]).astype(np.int64)
        day: IntArray = first + candidates[weekday, pick]
        return day * MIN_PER_DAY + start

    def rates(self, start_minute: IntArray, minute0: int, num: int) -> FloatArray:
        """Gather the rates of the minutes `minute0 .. minute0 + num - 1` after the start.

        Returns
        -------
        FloatArray, shape (3, num_envs, num), float32
        """
        return np.take(self.rate, self._minutes(start_minute, minute0 + np.arange(num)), axis=1)

    def forecast(
        self, start_minute: IntArray, step: int, num_steps: int, step_min: int
    ) -> FloatArray:
        """Seasonal-naive forecast of the mean rates of the steps from `step` on.

        The same clock time of the latest earlier day of the same type whose minutes are known
        when `step` begins; the mean day of that type in the training part where the trace has
        none. (For training days that mean stands for what an operator knows beforehand; it
        includes the day itself.)

        Parameters
        ----------
        start_minute : IntArray, shape (num_envs,)
        step : int
            The step that is about to begin: data from it on are not used.
        num_steps : int
            Steps ahead.
        step_min : int
            Length of a step [min].

        Returns
        -------
        FloatArray, shape (3, num_envs, num_steps), float32
        """
        now = self._minutes(start_minute, np.array([step * step_min]))
        ahead = self._minutes(start_minute, (step + np.arange(num_steps)) * step_min)
        known = now + _PROFILE_DAYS * MIN_PER_DAY - step_min  # latest start of a known step
        source, clock_min = self._naive_source(ahead)
        unknown = (source * MIN_PER_DAY + clock_min > known) & (source >= _PROFILE_DAYS)
        while unknown.any():
            source = np.where(unknown, self._earlier[source], source)
            unknown = (source * MIN_PER_DAY + clock_min > known) & (source >= _PROFILE_DAYS)
        return self._means(source * MIN_PER_DAY + clock_min, step_min)

    def forecast_day_ahead(
        self, start_minute: IntArray, num_steps: int, step_min: int
    ) -> FloatArray:
        """Forecast every step of an episode as `forecast` does up to 24 h before it.

        So near, the same clock time of an earlier day is known, whatever the step that asks.

        Returns
        -------
        FloatArray, shape (3, num_envs, num_steps), float32
        """
        minutes = self._minutes(start_minute, np.arange(num_steps) * step_min)
        return np.take(_naive_means(self, step_min), minutes, axis=1)

    def _naive_source(self, minute: IntArray) -> tuple[IntArray, IntArray]:
        """Return the day of the history and the clock minute that a minute is forecast from."""
        day = minute // MIN_PER_DAY
        return self._earlier[day + _PROFILE_DAYS], minute - day * MIN_PER_DAY

    def _means(self, at: IntArray, step_min: int) -> FloatArray:
        """Mean rates of the steps that begin at minutes of the history."""
        total = np.take(self._history, at + step_min, axis=1) - np.take(self._history, at, axis=1)
        return (total / step_min).astype(np.float32)

    def _minutes(self, start_minute: IntArray, after: IntArray) -> IntArray:
        """Minutes of the trace, shape (num_envs, len(after)), wrapped inside the split's part."""
        split = self.split_day * MIN_PER_DAY
        in_test = start_minute >= split
        first = np.where(in_test, split, 0)
        length = np.where(in_test, self.rate.shape[1] - split, split)
        minutes: IntArray = (start_minute - first)[:, None] + after
        minutes %= length[:, None]
        minutes += first[:, None]
        return minutes


def make_trace(
    name: str,
    clock: str,
    rate: FloatArray,
    *,
    start_weekday: int,
    non_working: BoolArray,
    split_day: int,
    share_filled: float = 0.0,
) -> DemandTrace:
    """Scale rates to mean 1 per class and take the mean days of the training part.

    Parameters
    ----------
    name, clock : str
        As in `DemandTrace`.
    rate : FloatArray, shape (3, days * 1440)
        In any unit.
    start_weekday, non_working, split_day, share_filled
        As in `DemandTrace`.

    Returns
    -------
    DemandTrace
    """
    mean = rate.mean(axis=1, keepdims=True)
    if not (mean > 0).all():
        raise ValueError(f"demand trace {name!r}: mean rates {mean.ravel()}: expected all above 0")
    relative = (rate / mean).astype(np.float32)
    days = relative[:, : split_day * MIN_PER_DAY].reshape(NUM_CLASSES, split_day, MIN_PER_DAY)
    profile = []
    for kind in (False, True):
        of_kind = non_working[:split_day] == kind
        profile.append(days[:, of_kind if of_kind.any() else ~of_kind].mean(axis=1))
    return DemandTrace(
        name=name,
        clock=clock,
        rate=relative,
        non_working=non_working,
        start_weekday=start_weekday,
        split_day=split_day,
        profile=np.array(profile),
        share_filled=share_filled,
    )


def _earlier_days(non_working: BoolArray) -> IntArray:
    """Return the latest earlier day of the same type, for the two mean days and every day."""
    latest = [0, 1]
    earlier = [0, 1]
    for number, kind in enumerate(non_working.astype(int), start=_PROFILE_DAYS):
        earlier.append(latest[kind])
        latest[kind] = number
    return np.array(earlier)


@lru_cache(maxsize=16)
def _naive_means(trace: DemandTrace, step_min: int) -> FloatArray:
    """Forecast the mean of `step_min` minutes from every minute of the trace on, (3, minutes)."""
    source, clock_min = trace._naive_source(np.arange(trace.rate.shape[1]))
    return trace._means(source * MIN_PER_DAY + clock_min, step_min)


def _match_days(non_working: BoolArray, start: int, minutes: int) -> IntArray:
    """Score each weekday of a scenario against each day of a part, shape (7, days)."""
    num = len(non_working)
    touched = np.arange(-(-(start + minutes) // MIN_PER_DAY))
    ends = np.minimum((touched + 1) * MIN_PER_DAY, start + minutes)
    length = ends - np.maximum(touched * MIN_PER_DAY, start)
    there = non_working[(np.arange(num)[:, None] + touched) % num]
    wanted = (np.arange(7)[:, None] + touched) % 7 >= 5
    same = there[None] == wanted[:, None]
    score: IntArray = same @ length + _SAME_TYPE * same[:, :, 0]
    return score + _CONTIGUOUS * (np.arange(num) + len(touched) <= num)

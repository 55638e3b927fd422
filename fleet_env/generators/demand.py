"""Request rates over the weeks of a trace: which days a scenario replays, and their forecasts.

Rates are multipliers of mean 1 per class; their level and the noise of counts: `arrivals.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from fleet_env.generators.clock import MIN_PER_DAY
from fleet_env.types import CLASSES, BoolArray, FloatArray, IntArray

NUM_CLASSES = len(CLASSES)
# what counts first when a day of the trace is chosen: more than the minutes of any episode
_SAME_TYPE, _CONTIGUOUS = 1_000_000, 100_000


@dataclass(frozen=True, eq=False)
class DemandTrace:
    """Request rates of some weeks, in the local clock of the fleet.

    The first `split_day` days serve the splits train and validation, the others the test:
    validation replays the demand days of train (its cars, dates and weather are its own), the days
    of the test are disjoint from both. An episode replays contiguous minutes; where its part of the
    trace ends (a week from noon), it goes on with the first midnight of the same part.
    """

    name: str
    clock: str  # whose clock it was recorded in, and how it became local
    rate: FloatArray  # (3, days * 1440) float32, mean 1
    non_working: BoolArray  # (days,)
    start_weekday: int  # 0 = Monday
    split_day: int
    profile: FloatArray  # (days, 3, 1440) mean day that a day without a day before is forecast by
    share_filled: float = 0.0  # share of the windows that are no measurement
    _history: FloatArray = field(init=False, repr=False)  # (3, m) running sum: rates, profiles
    _earlier: IntArray = field(init=False, repr=False)  # (days,) latest of the same type, or -1

    def __post_init__(self) -> None:
        days = len(self.non_working)
        if self.rate.shape != (NUM_CLASSES, days * MIN_PER_DAY) or not 0 < self.split_day < days:
            raise ValueError(
                f"demand trace {self.name!r}: rate {self.rate.shape}, split_day={self.split_day}: "
                f"expected shape (3, 1440 * days) and a split inside the {days} days"
            )
        # once more the first profile: a step of the last one may end after midnight
        stand_in = [*self.profile, self.profile[0]]
        minutes = np.concatenate([self.rate, *stand_in], axis=1, dtype=np.float64)
        running = np.zeros((NUM_CLASSES, minutes.shape[1] + 1))
        np.cumsum(minutes, axis=1, out=running[:, 1:])
        object.__setattr__(self, "_history", running)
        object.__setattr__(self, "_earlier", _earlier_days(self.non_working))

    def start_minute(
        self, split: str, non_working: BoolArray, u: FloatArray, start_min: IntArray, minutes: int
    ) -> IntArray:
        """Choose the minute of the trace at which each row starts.

        Candidates are the days of the split's part. First comes the type of the start day
        (working or not), then that the episode needs no wrap, then the share of its minutes that
        fall on days of the right type; among equals `u` chooses.

        Parameters
        ----------
        split : str
            "test" takes the last part of the trace, any other the first.
        non_working : BoolArray, shape (num_envs, num_days)
            Of the local days from the scenario's date on, at least to the end of the episode.
        u : FloatArray, shape (num_envs,)
            Uniforms in [0, 1).
        start_min : IntArray, shape (num_envs,)
            Minute of the local day at which the episode starts.
        minutes : int
            Length of the episode.

        Returns
        -------
        IntArray, shape (num_envs,)
        """
        first, stop = (
            (self.split_day, len(self.non_working)) if split == "test" else (0, self.split_day)
        )
        score = _match_days(self.non_working[first:stop], non_working, start_min, minutes)
        best = score == score.max(axis=1, keepdims=True)
        candidates = np.argsort(~best, axis=1, kind="stable")
        pick = (u * best.sum(axis=1)).astype(np.int64)
        day: IntArray = first + candidates[np.arange(len(u)), pick]
        return day * MIN_PER_DAY + start_min

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
        when `step` begins. Where the trace has none, the mean of other training days stands for
        what an operator knows beforehand (`mean_other_days`): it holds nothing of the day that is
        forecast, nor of its neighbours.

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
        known = now - step_min  # latest start of a known step
        day, clock_min = np.divmod(ahead, MIN_PER_DAY)
        source = self._earlier[day]
        unknown = (source * MIN_PER_DAY + clock_min > known) & (source >= 0)
        while unknown.any():
            source = np.where(unknown, self._earlier[source], source)
            unknown = (source * MIN_PER_DAY + clock_min > known) & (source >= 0)
        return self._means(self._in_history(day, source) + clock_min, step_min)

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

    def _in_history(self, day: IntArray, source: IntArray) -> IntArray:
        """Minute of the history where the day begins that stands for `day`: -1 = its profile."""
        at: IntArray = np.where(source >= 0, source, len(self._earlier) + day) * MIN_PER_DAY
        return at

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
    """Scale rates to mean 1 per class and take the mean days that stand in for missing ones.

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
    return DemandTrace(
        name=name,
        clock=clock,
        rate=relative,
        non_working=non_working,
        start_weekday=start_weekday,
        split_day=split_day,
        profile=mean_other_days(relative, non_working, split_day),
        share_filled=share_filled,
    )


def mean_other_days(rate: FloatArray, non_working: BoolArray, split_day: int) -> FloatArray:
    """Mean of the training days of the type of each day, itself and its neighbours left out.

    The neighbours (on the ring: the training part is replayed round) are what an episode of 24 h
    replays with the day, so no profile holds rates that the episode has yet to bring. Where no day
    of the type is left, all other days but the neighbours serve; else the neighbours; and the mean
    rate of the trace if there is one training day only. Test days leave nothing out.

    Parameters
    ----------
    rate : FloatArray, shape (3, days * 1440)
    non_working : BoolArray, shape (days,)
    split_day : int
        Number of training days.

    Returns
    -------
    FloatArray, shape (days, 3, 1440), float32
    """
    day, other = np.arange(len(non_working))[:, None], np.arange(split_day)
    apart = np.abs(day - other)
    apart = np.where(day < split_day, np.minimum(apart, split_day - apart), split_day)
    same = non_working[:, None] == non_working[:split_day]
    weight = np.zeros(apart.shape)
    for taken in (apart > 0, apart > 1, same & (apart > 1)):  # the last that is not empty holds
        weight = np.where(taken.any(axis=1, keepdims=True), taken, weight)
    count = weight.sum(axis=1)[:, None, None]
    days = rate[:, : split_day * MIN_PER_DAY].reshape(NUM_CLASSES, split_day, MIN_PER_DAY)
    total = np.einsum("do,com->dcm", weight, days.astype(np.float64))
    mean: FloatArray = np.where(count > 0, total / np.maximum(count, 1.0), 1.0)
    return mean.astype(np.float32)


def _earlier_days(non_working: BoolArray) -> IntArray:
    """Return the latest earlier day of the same type of every day, -1 if there is none."""
    latest = [-1, -1]
    earlier = []
    for number, kind in enumerate(non_working.astype(int)):
        earlier.append(latest[kind])
        latest[kind] = number
    return np.array(earlier)


@lru_cache(maxsize=16)
def _naive_means(trace: DemandTrace, step_min: int) -> FloatArray:
    """Forecast the mean of `step_min` minutes from every minute of the trace on, (3, minutes)."""
    day, clock_min = np.divmod(np.arange(trace.rate.shape[1]), MIN_PER_DAY)
    return trace._means(trace._in_history(day, trace._earlier[day]) + clock_min, step_min)


def _match_days(
    non_working: BoolArray, wanted: BoolArray, start_min: IntArray, minutes: int
) -> IntArray:
    """Score each scenario against each day of a part, shape (num_envs, days)."""
    num, touched = len(non_working), np.arange(wanted.shape[1])
    end = (start_min + minutes)[:, None]
    num_touched = -(-end // MIN_PER_DAY)
    length = np.minimum((touched + 1) * MIN_PER_DAY, end)
    length -= np.maximum(touched * MIN_PER_DAY, start_min[:, None])
    there = non_working[(np.arange(num)[:, None] + touched) % num]
    same = there == wanted[:, None]
    score: IntArray = (same * np.maximum(length, 0)[:, None]).sum(axis=2)
    score += _SAME_TYPE * same[:, :, 0]
    score += _CONTIGUOUS * (np.arange(num) + num_touched <= num)
    return score

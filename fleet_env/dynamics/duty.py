"""Kernels 1 to 3: who is on duty, awake and loading, and serves in which minute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.units import MBIT_PER_GB, S_PER_MIN


@dataclass(frozen=True, slots=True)
class DutyFlows:
    """Minutes of the step per active car, shape (num_active,), float32."""

    on: BoolArray  # on duty at the start of the step
    cold: BoolArray  # wakes from sleep in this step
    stopped: BoolArray  # switched off at the start of the step while it served
    here_min: FloatArray  # until its departure
    on_min: FloatArray  # on duty and present
    awake_min: FloatArray  # billed at awake power or more, the tail included
    serve_from: FloatArray  # minute at which it starts to serve
    serve_to: FloatArray  # minute at which its duty ends, 0 off duty
    serve_min: FloatArray  # serving
    cut: BoolArray  # its serving ends inside the step: departure or snooze


def cold_start_min(
    weights_gb: FloatArray, down_mbps: FloatArray, load_min: FloatArray, wake_min: float
) -> FloatArray:
    """Minutes from asleep to serving: wake-up, what is left of the download, load from flash.

    Parameters
    ----------
    weights_gb : FloatArray, shape (n,)
        Weights still to fetch over the link at home [GB].
    down_mbps : FloatArray, shape (n,)
        Goodput of that link [Mbit/s], > 0 where `weights_gb` > 0.
    load_min : FloatArray, shape (n,)
        Flash to memory of the tiers the car will hold [min].
    wake_min : float
        Wake-up [min].
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        download_min = weights_gb * (MBIT_PER_GB / S_PER_MIN) / down_mbps
    return np.where(weights_gb > 0, download_min, 0.0) + load_min + wake_min


def play_duty(
    on: BoolArray,
    was_on: BoolArray,
    ready_min: FloatArray,
    tail_min: FloatArray,
    cold_min: FloatArray,
    leave_min: FloatArray,
    stop_min: FloatArray,
    *,
    step_min: float,
    full_tail_min: float,
    delay_min: FloatArray | None = None,
) -> DutyFlows:
    """Play one step of wake, load, serve and tail for the active cars.

    `ready_min` and `tail_min` are updated in place to their values at the end of the step.

    Parameters
    ----------
    on, was_on : BoolArray, shape (n,)
        On duty in this step (after projection), and in the step before.
    ready_min, tail_min : FloatArray, shape (n,)
        Minutes until ready, minutes of awake tail left.
    cold_min : FloatArray, shape (n,)
        Minutes of a cold start of this car now (see `cold_start_min`).
    leave_min, stop_min : FloatArray, shape (n,)
        Minutes from the start of the step to the departure, and to what ends duty before it: the
        owner's call-back, a link that fails.
    step_min, full_tail_min : float
        Length of the step and of the tail after a switch-off [min].
    delay_min : FloatArray, shape (n,), optional
        Minute of the step at which a car that wakes cold begins.
    """
    off = ~on
    stopped = was_on & off
    np.putmask(tail_min, stopped, full_tail_min)
    cold = np.greater(on, was_on)  # on and not before
    cold &= tail_min <= 0
    np.copyto(ready_min, cold_min, where=cold)
    here_min = np.minimum(np.maximum(leave_min, 0.0), step_min)
    until_min = np.minimum(here_min, np.maximum(stop_min, 0.0))
    serve_to = until_min * on
    on_min, serve_from = serve_to, np.minimum(ready_min, serve_to)
    loaded_min = serve_from
    if delay_min is not None:
        begin_min = np.minimum(delay_min * cold, serve_to)
        on_min = serve_to - begin_min
        loaded_min = np.minimum(ready_min, on_min)
        serve_from = begin_min + loaded_min
    serve_min = serve_to - serve_from
    served = serve_min > 0
    cut = served & (serve_to < step_min)
    tail_awake = np.minimum(tail_min, until_min)
    tail_awake *= off
    stopped &= ready_min <= 0
    ready_min -= loaded_min
    tail_min -= tail_awake
    tail_min *= off & (until_min >= step_min)  # a call-back or a departure ends the tail
    ready_min *= on | (tail_min > 0)  # what was loading goes on if duty comes back in the tail
    return DutyFlows(
        on=on,
        cold=cold,
        stopped=stopped,
        here_min=here_min,
        on_min=on_min,
        awake_min=on_min + tail_awake,
        serve_from=serve_from,
        serve_to=serve_to,
        serve_min=serve_min,
        cut=cut,
    )


def fetch_weights(
    weights_gb: FloatArray, ready_min: FloatArray, down_mbps: FloatArray, load_min: FloatArray
) -> FloatArray:
    """Weights left after a step of waking [GB]: what the minutes before loading still bring."""
    still_min = np.maximum(ready_min - load_min, 0.0)
    left_gb: FloatArray = np.minimum(weights_gb, still_min * down_mbps * (S_PER_MIN / MBIT_PER_GB))
    return left_gb


def serving_profile(
    cell: IntArray,
    weight: FloatArray,
    serve_from: FloatArray,
    serve_to: FloatArray,
    *,
    num_cells: int,
    num_minutes: int,
) -> FloatArray:
    """Count the serving cars in each minute of the step.

    A car that serves in [from, to) counts in minute j with the overlap of that interval and [j, j +
    1). The sum is built from its differences: a start at x adds ``1 - frac(x)`` to minute
    ``floor(x)`` and the rest to the next one; an end takes the same away.

    Parameters
    ----------
    cell : IntArray, shape (n,)
        Row of the result a car adds to (row of the batch x group).
    weight : FloatArray, shape (n,)
        What a car counts (its derating factor).
    serve_from, serve_to : FloatArray, shape (n,)
        Minutes in [0, num_minutes].

    Returns
    -------
    FloatArray, shape (num_cells, num_minutes), float64
        Sums run in the order of the cars, so they do not depend on the batch.
    """
    served_min = serve_to - serve_from
    full: BoolArray = served_min >= num_minutes
    counts: FloatArray = count_by(cell, weight * full, num_cells)
    partial = ((served_min > 0) > full).nonzero()[0]
    if not partial.size:
        return counts[:, None].repeat(num_minutes, axis=1)
    turns = np.array((serve_from.take(partial), serve_to.take(partial)))
    profile = _ramps(cell.take(partial), weight.take(partial), turns, num_cells, num_minutes)
    profile += counts[:, None]
    return np.maximum(profile, 0.0, out=profile)


def _ramps(
    cell: IntArray, weight: FloatArray, turns: FloatArray, num_cells: int, num_minutes: int
) -> FloatArray:
    """Sum what rises at the first times and falls at the second ones, `turns` (2, n)."""
    width = num_minutes + 2
    minute = np.floor(turns)
    turns -= minute
    steps = np.empty((2, *turns.shape), turns.dtype)  # (this minute, the next), (rise, fall)
    np.multiply(turns, weight, out=steps[1])
    np.subtract(weight, steps[1], out=steps[0])
    np.negative(steps[:, 1], out=steps[:, 1])
    slot = np.empty(steps.shape, np.intp)
    np.add(minute, cell * width, out=slot[0], casting="unsafe")
    np.add(slot[0], 1, out=slot[1])
    total = count_by(slot.ravel(), steps.ravel(), num_cells * width).reshape(num_cells, width)
    ramps: FloatArray = np.add.accumulate(total, axis=1)[:, :num_minutes]
    return ramps


def count_by(cell: IntArray, weight: FloatArray, num_cells: int) -> FloatArray:
    """Sum weights by cell in float64, in the order given, shape (num_cells,)."""
    counts = np.bincount(cell, weights=weight, minlength=num_cells)
    return counts.astype(np.float64, copy=False)  # without cars bincount returns integers

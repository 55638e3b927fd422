"""Kernel 7: which owners take part and when, what they find when they leave, who gives up."""

from __future__ import annotations

import numpy as np

from fleet_env import draws
from fleet_env.types import BoolArray, FloatArray, IntArray, KeyArray
from fleet_env.units import HOURS_PER_DAY

OPT_IN_USD_PER_MONTH = (0.0, 10.0, 30.0, 100.0)  # domain 7
OPT_IN_SHARE = (0.02, 0.25, 0.45, 0.65)  # of owners who take part at that pay; domain 7, est


def opt_in_share(usd_per_month: float) -> float:
    """Share of owners who take part for a pay.

    Its logit is linear in `ln(1 + usd_per_month)` between the points and constant beyond
    (model.md 5.5).
    """
    share = np.array(OPT_IN_SHARE)
    pay = np.log1p(OPT_IN_USD_PER_MONTH)
    logit = np.interp(np.log1p(usd_per_month), pay, np.log(share / (1.0 - share)))
    return float(1.0 / (1.0 + np.exp(-logit)))


def leaves(keys: KeyArray, event_no: IntArray, chance: float) -> BoolArray:
    """Whether owners who were let down leave for good.

    Parameters
    ----------
    keys : KeyArray, shape (n,)
        Car keys of `Stream.OWNER`.
    event_no : IntArray, shape (n,)
        Number of the stay that ended with a broken promise.
    chance : float
        Of each to leave.
    """
    gone: BoolArray = draws.uniform(keys, event_no, 1)[0] < np.float32(chance)
    return gone


def in_window(local_hour: FloatArray, from_h: float, to_h: float) -> BoolArray:
    """Whether a local hour lies in `[from_h, to_h)`, over midnight if need be.

    The bounds lie in [0, 24]; equal bounds make an empty window. Shape as `local_hour`.
    """
    if from_h <= to_h:
        return (local_hour >= from_h) & (local_hour < to_h)
    return (local_hour >= from_h) | (local_hour < to_h)


def closed_hours(local_hour: FloatArray, from_h: float, to_h: float) -> BoolArray:
    """Whether a local hour lies outside the hours `[from_h, to_h)` that owners allow.

    Bounds that are the same time of day allow always. Shape as `local_hour`.
    """
    if from_h % HOURS_PER_DAY == to_h % HOURS_PER_DAY:
        return np.zeros(np.shape(local_hour), np.bool_)
    return ~in_window(local_hour, from_h, to_h)


def shortfall_soc(
    twin: FloatArray, soc: FloatArray, target_soc: FloatArray, deadband_soc: float
) -> FloatArray:
    """Charge that compute cost the owner at the plug-out, beyond what nobody notices.

    The owner is short of what was wanted or of what the car would have had anyway, whichever is
    less::

        max(0, min(target, twin) - soc - deadband)

    Parameters
    ----------
    twin, soc, target_soc : FloatArray, shape (n,)
        State of charge of the no-compute twin and of the car, before any public charging, and the
        one wanted.
    deadband_soc : float
        Shortfall that no owner notices.
    """
    short = np.minimum(target_soc, twin)
    short -= soc
    short -= deadband_soc
    return np.maximum(short, 0.0, out=short)

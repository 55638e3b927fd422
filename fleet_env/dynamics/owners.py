"""Kernel 7: what owners find when they leave."""

from __future__ import annotations

import numpy as np

from fleet_env.types import FloatArray


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

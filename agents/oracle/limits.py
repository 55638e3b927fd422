"""Limits that few cards have: owners' caps, downloads, transformers (docs/bounds.md 2.8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.oracle.tape import Tape
from fleet_env.types import FloatArray, IntArray
from fleet_env.units import DAYS_PER_MONTH


@dataclass(frozen=True, slots=True)
class Limits:
    """What else binds the cars of a tape; empty arrays and infinity where nothing does."""

    cap_h: float  # on duty by car and episode, the step included that goes beyond
    # downloads, shape (m,): from `step` on, a car serves only after so many hours on duty
    car: IntArray
    step: IntArray
    hours: FloatArray
    home: IntArray  # (car-steps,) transformer of a car at home, -1 elsewhere or without limit
    headroom_kwh: FloatArray | None  # (T, transformers) at the meter
    eta: FloatArray  # (car-steps,) from the meter to the pack

    @property
    def none(self) -> bool:
        """Whether nothing binds."""
        return not (np.isfinite(self.cap_h) or self.car.size or self.headroom_kwh is not None)


def limits_of(tape: Tape) -> Limits:
    """Collect the limits of a tape."""
    config, v, down = tape.config, tape.visits, tape.downloads
    cap_h = config.owners.cap_h_per_month * config.days / DAYS_PER_MONTH
    home = np.where(v.home, v.car // config.feeder.homes, -1)
    if tape.headroom_kwh is None:
        home = np.full(v.car.shape, -1)
    return Limits(
        cap_h=cap_h + config.dt_h if cap_h else np.inf,
        car=down.car,
        step=down.step,
        hours=down.hours,
        home=home,
        headroom_kwh=tape.headroom_kwh,
        eta=tape.sim.world.evse_table.eta[v.evse].astype(np.float64),
    )

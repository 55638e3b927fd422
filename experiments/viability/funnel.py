"""From nameplate to use: which cars are left at every hour of a weekday, counted step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from agents.base import Obs, car_field, fleet_field
from fleet_env.config import EnvConfig
from fleet_env.units import HOURS_PER_DAY

STAGES = ("nameplate", "parked", "plugged", "linked", "on_duty", "busy")


class Funnel:
    """Counts the cars of every stage by local hour: a hook of `experiments.runner.play`.

    A car that is plugged in is parked, one that is linked is plugged in. Cars on duty and busy
    ones are a part of the linked ones, but for those whose owners allow compute from the pack.

    Parameters
    ----------
    config : EnvConfig
        The card that is played.
    """

    def __init__(self, config: EnvConfig) -> None:
        self._config = config
        self._sums = np.zeros((int(HOURS_PER_DAY), len(STAGES)))
        self._kw = np.zeros(3)  # sums over available cars: their number, awake power, busy power

    def __call__(self, step: int, scenarios: Sequence[int], obs: Obs, info: dict[str, Any]) -> None:
        """Add one step of all rows that are on a weekday."""
        open_ = obs["mask"] != 0
        powers = [car_field(obs, name)[open_].sum() for name in ("awake_kw", "busy_kw")]
        self._kw += [open_.sum(), *powers]
        workday = fleet_field(obs, "weekend") == 0
        if not workday.any():
            return
        parked = car_field(obs, "soc") > 0  # 0 on the road
        plugged = parked & (car_field(obs, "plugged") > 0)
        linked = plugged & (car_field(obs, "linked") > 0)
        dt_h = self._config.dt_h
        counts = [np.full(len(workday), self._config.num_cars, np.float64)]
        counts += [flags.sum(axis=1).astype(np.float64) for flags in (parked, plugged, linked)]
        counts += [np.asarray(info[f"metric/{name}_h"]) / dt_h for name in ("on_duty", "busy")]
        hour = int(np.median(car_field(obs, "local_hour")))
        self._sums[hour] += np.stack(counts, axis=1)[workday].sum(axis=0)

    def frame(self) -> pd.DataFrame:
        """Return shares of all cars, one row per local hour that was played, by stage.

        With `awake_kw` and `busy_kw`, mean wall power of an available car without work and at full
        work, the same in every hour [kW].
        """
        count, awake, busy = self._kw
        hours = np.flatnonzero(self._sums[:, 0])
        share = self._sums[hours] / self._sums[hours, :1]
        frame = pd.DataFrame(share, index=hours, columns=list(STAGES))
        frame = frame.rename_axis("hour").reset_index()
        return frame.assign(awake_kw=awake / count, busy_kw=busy / count)

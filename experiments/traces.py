"""One day of one policy, step by step: what the figures of a day are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from agents.base import Obs, car_field, fleet_field
from fleet_env.metrics import METRICS, REWARD_TERMS

SOC_PERCENTILES = (5, 25, 50, 75, 95)
COUNTED = tuple(name for name in METRICS if not name.startswith("refused_"))


class Trace:
    """Keeps every step of one scenario: a hook of `experiments.runner.play`.

    Parameters
    ----------
    scenario : int
        Its number in the split; other rows of a batch are passed over.
    """

    def __init__(self, scenario: int) -> None:
        self.scenario = scenario
        self._rows: list[dict[str, float]] = []

    def __call__(self, step: int, scenarios: Sequence[int], obs: Obs, info: dict[str, Any]) -> None:
        """Keep one step: `obs` as it was before it, `info` of what came of it."""
        if self.scenario not in scenarios:
            return
        i = list(scenarios).index(self.scenario)
        soc = car_field(obs, "soc")[i]
        parked = soc > 0  # 0 on the road
        marks = np.percentile(soc[parked], SOC_PERCENTILES) if parked.any() else [np.nan] * 5
        row = {"step": step, "local_hour": float(np.median(car_field(obs, "local_hour")[i]))}
        row |= {name: float(fleet_field(obs, name)[i]) for name in ("price", "carbon")}
        row |= {"available": int((obs["mask"][i] != 0).sum()), "parked": int(parked.sum())}
        row |= {f"soc_{p:02d}": float(m) for p, m in zip(SOC_PERCENTILES, marks, strict=True)}
        row |= {name: float(info[name][i]) for name in _flows()}
        self._rows.append(row)

    def frame(self) -> pd.DataFrame:
        """Return one row per step: the clock, prices, supply, charge, and all flows of the step.

        `price` [USD/kWh] and `carbon` [kg/kWh] are means over regions; `available` and `parked`
        count cars; `soc_05` ... are percentiles of the reported charge of parked cars; flows are
        `reward/<term>` [USD] and `metric/<name>` of `fleet_env.metrics`.
        """
        return pd.DataFrame(self._rows).astype({"step": np.int64})


def _flows() -> list[str]:
    return [f"reward/{term}" for term in REWARD_TERMS] + [f"metric/{name}" for name in COUNTED]

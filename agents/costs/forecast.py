"""What is expected of demand: published forecasts, corrected by what has just arrived."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agents.base import Obs, fleet_field
from agents.costs.usual import usual_day
from fleet_env.observations import BATCH_00H, CHAT_00H, FORECAST_H
from fleet_env.types import BoolArray, FloatArray

FORECASTS = ("model", "climatology", "exact")
# Chat on 40 train days of the suburb: how much of the last step's deviation from its forecast is
# left after so many hours (regression), and the deviation that then remains (sd, relative)
LATER_H = np.array([0.0, 0.25, 0.5, 1.0, 2.0, 4.0])
CHAT_KEPT = np.array([0.74, 0.68, 0.63, 0.51, 0.29, 0.0])
CHAT_SD = np.array([0.066, 0.085, 0.096, 0.118, 0.142, 0.155])
CLIMATOLOGY_SD = 0.30  # of the mean profile alone; est
EXACT_SD = 0.03  # noise of counts alone; est
_BATCH_KEPT_H = 1.8  # 0.87 of a deviation is left after a quarter of an hour; train, as above
_MOST = 2.0  # times the forecast; a correction beyond is thought to be an accident
EVEN_SHARE = 0.5  # of chat that is 70B while nothing has arrived; DemandConfig, est


@dataclass(frozen=True)
class Demand:
    """Work expected in the intervals of a grid, of one row [cars' worth per car]."""

    chat: FloatArray  # (T,)
    share_70b: float  # of chat
    chat_sd: FloatArray  # (T,) relative
    batch: FloatArray  # (T,) that arrives


@dataclass(eq=False)
class DemandMemory:
    """What was forecast for the step before, and the length of the episode as it shows."""

    _before: FloatArray | None = field(default=None, repr=False)  # (num_envs, 3)

    def reset(self, env_mask: BoolArray) -> None:
        """Forget rows; a batch of another size forgets all."""
        if self._before is not None and len(self._before) == len(env_mask):
            self._before[env_mask] = np.nan
        else:
            self._before = None

    def look(self, obs: Obs) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Compare the last step with its forecast; remember the next one.

        Returns
        -------
        chat, batch : FloatArray, shape (num_envs,)
            Relative deviations of what arrived from what was forecast; 0 while unknown.
        steps_left : FloatArray, shape (num_envs,)
            Steps to the end of the episode, inf while unknown.
        """
        num_envs = len(obs["fleet"])
        if self._before is None or len(self._before) != num_envs:
            self._before = np.full((num_envs, 3), np.nan)
        left = fleet_field(obs, "left").astype(np.float64)
        last = fleet_field(obs, "chat_8b_last") + fleet_field(obs, "chat_70b_last")
        arrived = np.stack([last, fleet_field(obs, "batch_70b_last")], axis=1)
        forecast = self._before[:, :2]
        known = forecast > 0
        ratio = np.divide(arrived, forecast, out=np.ones(forecast.shape), where=known)
        ratio = np.clip(ratio, 0.0, _MOST) - 1.0
        gone = self._before[:, 2] - left
        known_left = gone > 0
        steps_left = np.divide(left, gone, out=np.full(num_envs, np.inf), where=known_left)
        self._before = np.stack(
            [fleet_field(obs, "chat_00h"), fleet_field(obs, "batch_00h"), left], axis=1
        ).astype(np.float64)
        return ratio[:, 0], ratio[:, 1], steps_left


def expect(
    obs: Obs, row: int, kind: str, middle_h: FloatArray, chat_off: float, batch_off: float
) -> Demand:
    """Expect the work of a row.

    Parameters
    ----------
    obs : mapping
    row : int
    kind : str
        One of `FORECASTS`: the published forecast with a correction that fades, the mean profile
        of the day at the published level, or the published forecast at face value.
    middle_h : FloatArray, shape (T,)
        Middles of the intervals [h from now].
    chat_off, batch_off : float
        Relative deviations of the last step, of `DemandMemory.look`.
    """
    fleet = obs["fleet"][row].astype(np.float64)
    hours = np.arange(FORECAST_H) + 0.5
    chat = np.interp(middle_h, hours, fleet[CHAT_00H : CHAT_00H + FORECAST_H])
    batch = np.interp(middle_h, hours, fleet[BATCH_00H : BATCH_00H + FORECAST_H])
    sd = np.interp(middle_h, LATER_H, CHAT_SD)
    if kind == "model":
        chat = chat * (1.0 + chat_off * np.interp(middle_h - middle_h[0], LATER_H, CHAT_KEPT))
        batch = batch * (1.0 + batch_off * np.exp(-(middle_h + middle_h[0]) / _BATCH_KEPT_H))
    elif kind == "climatology":
        level = fleet[CHAT_00H : CHAT_00H + FORECAST_H].mean()
        chat = level * profile(obs, row, middle_h, quantity=1)
        batch = np.full(middle_h.shape, fleet[BATCH_00H : BATCH_00H + FORECAST_H].mean())
        sd = np.full(middle_h.shape, CLIMATOLOGY_SD)
    else:
        sd = np.full(middle_h.shape, EXACT_SD)
    last_8b, last_70b = (float(fleet_field(obs, f"chat_{t}_last")[row]) for t in ("8b", "70b"))
    last = last_8b + last_70b
    return Demand(chat, last_70b / last if last > 0 else EVEN_SHARE, sd, batch)


def profile(obs: Obs, row: int, later_h: FloatArray, quantity: int) -> FloatArray:
    """Read the usual day (`usual_day`) at times from now, shape (T,)."""
    angle = np.arctan2(fleet_field(obs, "hour_sin")[row], fleet_field(obs, "hour_cos")[row])
    hour = (float(angle) * 12.0 / np.pi + later_h) % 24.0
    weekend = int(fleet_field(obs, "weekend")[row] > 0)
    values: FloatArray = np.interp(
        hour, np.arange(24) + 0.5, usual_day()[quantity, weekend], period=24.0
    )
    return values

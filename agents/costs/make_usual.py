"""Measure what is usual on training days of the suburb: `python -m agents.costs.make_usual`.

Writes `usual_day.csv` beside this file and `leaving.csv` into `fleet_env/data`. Nothing is read but
observations: a stay has ended where the time since the arrival has fallen.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

import fleet_env.data
from agents.base import Obs, car_field, feasible, fleet_field
from fleet_env.scenarios import scenario
from fleet_env.types import FloatArray
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.views.leaving import STAY_BIN_H, WITHIN_H, stay_bin

NUM_DAYS, DAYS_AT_ONCE, NUM_CARS = 24, 4, 8000  # about 3 million looks at cars that may compute
STEPS_PER_H = 4
LEAVING = Path(fleet_env.data.__file__).with_name("leaving.csv")
USUAL_DAY = Path(__file__).with_name("usual_day.csv")


class Counts:
    """Sums over all days played so far."""

    def __init__(self) -> None:
        cells = (24, len(STAY_BIN_H))
        self.seen, self.left = np.zeros(cells), np.zeros((*cells, len(WITHIN_H)))
        self.steps, self.available, self.chat = (np.zeros((2, 24)) for _ in range(3))

    def add(self, scenarios: list[int]) -> None:
        """Play some days with no car on duty; each is followed by one to see who leaves late."""
        config = scenario("suburb", num_cars=NUM_CARS, days=2)
        env = FleetVectorEnv(num_envs=len(scenarios), split="train", config=config)
        obs, _ = env.reset(options={"scenario_seeds": scenarios})
        nobody = np.zeros((len(scenarios), NUM_CARS), np.int8)
        looks: list[dict[str, FloatArray]] = []
        for _ in range(config.num_steps):
            looks.append(self._look(cast("Obs", obs)))
            obs, _, _, _ = env.play(nobody)
        for step in range(config.num_steps // 2):
            self._count(looks, step)

    def _look(self, obs: Obs) -> dict[str, FloatArray]:
        day = (fleet_field(obs, "weekend") > 0).astype(np.intp)
        hour = np.floor(car_field(obs, "local_hour")[:, 0] + 1e-3).astype(np.intp) % 24
        np.add.at(self.steps, (day, hour), 1.0)
        np.add.at(self.available, (day, hour), fleet_field(obs, "available"))
        np.add.at(self.chat, (day, hour), fleet_field(obs, "chat_00h"))
        return {
            "may": feasible(obs),
            "hour": np.repeat(hour[:, None], NUM_CARS, axis=1),
            "bin": stay_bin(car_field(obs, "stay_h")).astype(np.int8),
            "parked_h": car_field(obs, "parked_h").astype(np.float16),
        }

    def _count(self, looks: list[dict[str, FloatArray]], step: int) -> None:
        now = looks[step]
        may = now["may"]
        cell = now["hour"][may], now["bin"][may]
        np.add.at(self.seen, cell, 1.0)
        gone = np.zeros(int(may.sum()), np.bool_)
        before = now["parked_h"][may]
        for ahead in range(1, round(WITHIN_H[-1] * STEPS_PER_H) + 1):
            parked_h = looks[step + ahead]["parked_h"][may]
            gone |= parked_h <= before
            before = parked_h
            if ahead / STEPS_PER_H in WITHIN_H:
                column = WITHIN_H.index(ahead / STEPS_PER_H)
                np.add.at(self.left[..., column], cell, gone)


def main() -> None:
    """Measure and write both tables."""
    counts = Counts()
    for first in range(0, NUM_DAYS, DAYS_AT_ONCE):
        counts.add(list(range(first, first + DAYS_AT_ONCE)))
    chance = counts.left / np.maximum(counts.seen, 1.0)[..., None]
    head = ["hour", "stay_from_h", *(f"left_in_{time_h:g}h" for time_h in WITHIN_H)]
    rows = [
        [hour, stay_h, *chance[hour, i].round(4)]
        for hour in range(24)
        for i, stay_h in enumerate(STAY_BIN_H)
    ]
    _write(LEAVING, "chance that a car that may compute has left by then", head, rows)
    supply, chat = (
        sums / np.maximum(counts.steps, 1.0) for sums in (counts.available, counts.chat)
    )
    chat /= chat.mean()
    rows = [
        [day, hour, supply[day, hour].round(4), chat[day, hour].round(3)]
        for day in range(2)
        for hour in range(24)
    ]
    head = ["weekend", "hour", "available", "chat"]
    _write(USUAL_DAY, "share of the cars that may compute; chat over its mean", head, rows)


def _write(file: Path, what: str, head: list[str], rows: list[list[float]]) -> None:
    lines = [
        f"# {what}; by local hour",
        f"# agents.costs.make_usual: {NUM_DAYS} train days of the suburb, {NUM_CARS} cars",
        ",".join(head),
        *(",".join(f"{cell:g}" for cell in row) for row in rows),
    ]
    file.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()

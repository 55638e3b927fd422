"""Writes the page of a day: its record, style and script in one file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments import pages
from experiments.watch.record import PLACES, STAY_MAX_H, DayRecord
from fleet_env.viewer import STATUS

TEMPLATE = Path(__file__).with_name("watch.html")
FULL = 255  # of a byte
DIGITS = 5


def write_page(day: DayRecord, file: Path) -> None:
    """Write the replay of a day as one HTML file that needs no network."""
    text = pages.page(TEMPLATE, title=day.title, data=pages.embedded(payload(day)))
    pages.write_text(file, text)


def payload(day: DayRecord) -> dict[str, Any]:
    """Turn a record into JSON data; what changes per car and step is packed into bytes."""
    series = {name: getattr(day, name) for name in ("hour", "demand", "duty", "busy", "price")}
    return {
        "title": day.title,
        "stepH": day.step_h,
        "numCars": len(day.pack_kwh),
        "stayMaxH": STAY_MAX_H,
        "places": list(PLACES),
        "status": [{"name": name, "colour": colour} for name, colour in STATUS.items()],
        "cars": {
            "soc": packed(day.soc),
            "stay": packed(day.stay_h / STAY_MAX_H),
            "rate": packed(day.rate),
            "status": _base64(day.status),
            "place": _base64(day.place),
        },
        "packKwh": _short(day.pack_kwh),
        "evseKw": _short(day.evse_kw),
        "series": {name: _short(values) for name, values in series.items()},
        "usd": {term: _short(values) for term, values in day.usd.items()},
    }


def packed(share: NDArray[Any]) -> str:
    """Pack shares in [0, 1] into bytes, within 1/510 of what they were."""
    return _base64(np.rint(np.clip(share, 0.0, 1.0) * FULL).astype(np.uint8))


def _base64(values: NDArray[np.uint8]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _short(values: NDArray[Any]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values.tolist()]

"""Random worlds that fight back: every setting of docs/model.md 5, on in some of the cards."""

from __future__ import annotations

from typing import Any

import numpy as np

Settings = dict[str, Any]

# clocks of whole and half hours, on both sides of the equator, fixed and by-the-day prices
PLACES: dict[str, Settings] = {
    "california": {"time_zone": "America/Los_Angeles", "grid": "US-CAL-CISO"},
    "texas": {
        "time_zone": "America/Chicago",
        "grid": "US-TEX-ERCO",
        "tariff": "day_ahead",
        "delivery_usd_per_kwh": 0.09,
        "latitude_deg": 32.8,
        "longitude_deg": -96.8,
    },
    "germany": {
        "time_zone": "Europe/Berlin",
        "grid": "DE-LU",
        "tariff": "day_ahead",
        "latitude_deg": 50.1,
        "longitude_deg": 8.7,
    },
    "adelaide": {
        "time_zone": "Australia/Adelaide",
        "grid": "AU-NSW",
        "tariff": "flat",
        "latitude_deg": -34.9,
        "longitude_deg": 138.6,
    },
}
SEVERITY = {"heatwave": 8.0, "coldsnap": 12.0, "price_spike": 0.5, "negative_noon": 0.3}
SHOCKS = ("storm", "isp", "ota", "flash", "release", "heatwave", "coldsnap")
ON_PRICE = ("price_spike", "negative_noon")
# lowest and highest value of what may be drawn for every row
UNCERTAIN = {
    "overhead_w": [60.0, 250.0],
    "chip_w_factor": [0.75, 1.25],
    "throughput_factor": [0.5, 2.0],
    "home_link_share": [0.5, 1.0],
    "level1_share": [0.1, 0.9],
    "closed_garage_share": [0.0, 1.0],
    "load": [0.2, 2.0],
    "trusted_only_share": [0.1, 0.9],
    "usd_per_mtok_70b": [0.1, 0.5],
    "pack_usd_per_kwh": [80.0, 200.0],
    "shortfall_usd": [0.0, 20.0],
}


class Dice:
    """Picks at random."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def pick(self, *options: Any) -> Any:
        """One of the options."""
        return options[self._rng.integers(len(options))]

    def some(self, names: Any, share: float) -> list[Any]:
        """Each of the names with a chance, in their order."""
        return [name for name in names if self._rng.random() < share]

    def shuffled(self, names: Any) -> list[Any]:
        """All of the names in another order."""
        return [names[i] for i in self._rng.permutation(len(names))]


def random_world(rng: np.random.Generator, card: Settings) -> dict[str, Settings]:
    """Settings by section that go on top of a card given as overrides of the suburb."""
    dice = Dice(rng)
    regions = _regions(dice)
    tariffs = [place.get("tariff", "") for place in regions.values()] or [card["energy"]["tariff"]]
    hourly_prices = "day_ahead" in tariffs
    world: dict[str, Settings] = {
        "regions": regions,
        "owners": _owners(dice),
        "telemetry": _telemetry(dice, 60.0 * card["step_min"]),
        "feeder": _feeder(dice),
        "shocks": _shocks(dice, hourly_prices),
        "serving": _serving(dice),
        "reward": {
            "pay_usd_per_on_duty_h": dice.pick(0.03, 0.10, 0.0),
            "noise_usd_per_quiet_h": dice.pick(0.0, 0.01),
            "dropout_usd": dice.pick(50.0, 1.0),
        },
        "datacentre": {
            "dc_cost": dice.pick("average", "peak", "energy_only", "peak"),
            "price_decline_per_year": dice.pick(0.0, 0.3),
            "years_ahead": dice.pick(0.0, 2.0),
        },
    }
    if world["reward"]["pay_usd_per_on_duty_h"] == 0.0:
        world["owners"]["opt_in"] = "all"  # hardly anybody would take part
    if dice.pick(False, False, True):
        fixed = {"load"} if card["demand"]["load"] == 0.0 else set()
        names = [name for name in UNCERTAIN if name not in fixed]
        world["randomise"] = {name: UNCERTAIN[name] for name in dice.some(names, 0.5)}
    return world


def _regions(dice: Dice) -> dict[str, Settings]:
    """None, or 1 to 4 regions of random shares."""
    num = dice.pick(0, 0, 1, 2, 3, 4)
    return {
        name: {**PLACES[name], "share": dice.pick(1.0, 1.0, 3.0)}
        for name in dice.shuffled(list(PLACES))[:num]
    }


def _owners(dice: Dice) -> Settings:
    return {
        "opt_in": dice.pick("all", "all", "all", "by_pay"),
        "expected_duty_h_per_month": dice.pick(100.0, 744.0),
        "dropout_per_broken_promise": dice.pick(0.05, 1.0, 1.0),
        "cap_h_per_month": dice.pick(0.0, 0.0, 60.0, 150.0),
        "quiet_share": dice.pick(0.0, 0.0, 0.3, 0.3),
        **dice.pick({}, {"quiet_from_h": 6.0, "quiet_to_h": 10.5}),
        **dice.pick({}, {}, {}, {"allowed_from_h": 15.0, "allowed_to_h": 13.0}),
    }


def _telemetry(dice: Dice, step_s: float) -> Settings:
    age_s = dice.pick(0.0, 0.0, 20.0, 60.0, 300.0, step_s)
    if age_s == 0.0:
        faults = dice.pick((0.0, 0.0), (0.0, 0.0), (0.1, 0.2))
    else:
        faults = dice.pick((0.0, 0.0), (0.1, 0.0), (0.0, 0.3), (0.2, 0.3))
    return {"age_s": age_s, "silent_share": faults[0], "stuck_share": faults[1]}


def _feeder(dice: Dice) -> Settings:
    return {
        "limit": dice.pick(False, True),
        "homes": dice.pick(3, 5, 10),
        "kva": dice.pick(25.0, 10.0, 5.0),  # half of them too little
        "start_spread_min": dice.pick(0.0, 0.0, 5.0, 60.0),
    }


def _shocks(dice: Dice, hourly_prices: bool) -> dict[str, Any]:
    """Each kind on in some cards, on a set day or by chance, anywhere in the day."""
    kinds = [*SHOCKS, *(ON_PRICE if hourly_prices else ())]
    shocks: dict[str, Any] = {kind: _shock(dice, kind) for kind in dice.some(kinds, 0.35)}
    shocks["holidays"] = dice.pick([], [f"{month:02d}-{day:02d}" for month in range(1, 13)
                                        for day in range(1, 29, 3)])  # fmt: skip
    return shocks


def _shock(dice: Dice, kind: str) -> Settings:
    when = dice.pick({"on_day": 0}, {"on_day": 1}, {"per_year": 365.0}, {"every_days": 2})
    from_h = dice.pick(0.0, 8.0, 13.0, 18.0)
    return {
        **when,
        "from_h": from_h,
        "to_h": dice.pick(from_h, 24.0),
        "mean_h": dice.pick(0.5, 2.0, 9.0, 48.0),
        "severity": SEVERITY.get(kind, dice.pick(1.0, 4.0)),
        "extent": dice.pick(0.3, 0.7, 1.0),
    }


def _serving(dice: Dice) -> Settings:
    modes = ("restart", "resume", "checkpoint")
    return {
        "chat_loss": dice.pick(*modes),
        "batch_loss": dice.pick(*modes),
        "batch_job_min": dice.pick(0.0, 5.0, 30.0),
        "hedge": dice.pick(False, True),
    }

"""Simulated weeks of the default owners against measured sessions: errors, table, one figure.

Run `python -m experiments.calibration --data PATH --out DIR`. The simulated population is cars with
a Level 2 home charger under the default (unpaid) habits; the measured one is Norwegian
home-charging users, every user weighing the same. Both pass through the same functions. Habits were
fitted on 8 sites; the other 3 are shown and judged apart. The fit weighs users half alike, half by
the time they were observed, so the simulated share lies between the two measured curves.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from experiments.demand_hours import SOURCES, measured_hours, simulate_hours
from experiments.sessions import (
    HOLDOUT_SITES,
    SLOT_H,
    Sessions,
    Stays,
    active_days,
    calibration_key,
    compared_population,
    home_sessions,
    plugged_counts,
    plugins_per_day,
    simulate,
    uplink_panel,
    weighted_quantiles,
    work_sessions,
)
from fleet_env.config import EnvConfig
from fleet_env.generators import cars
from fleet_env.generators.cars import UP_TO_DOWN_CAP
from fleet_env.types import CLASSES, FloatArray, IntArray

NUM_CARS, WEEKS = 3000, 12
PAID_CARS, PAID_WEEKS = 1000, 6
QUANTILES = (0.10, 0.25, 0.50, 0.75, 0.90)
ERROR_QUANTILES = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)
BANDS = ((0, 6), (6, 9), (9, 12), (12, 15), (15, 18), (18, 21), (21, 24))  # arrival hours
DAY_TYPES = ("weekday", "weekend")
RELATIVE = 0.15  # a quantile may miss by this much, or by the bootstrap interval if that is wider
SHARE_MEAN, SHARE_MAX = 0.03, 0.06  # of the half-hourly plugged share
RESAMPLES = 200
INTERVAL = (0.025, 0.975)
Z_95 = 1.96  # standard errors either side of a mean


@dataclass(frozen=True, slots=True)
class Target:
    """Numbers measured, their 95 % bootstrap interval over users, and the simulated ones."""

    name: str
    labels: tuple[str, ...]
    measured: FloatArray
    low: FloatArray
    high: FloatArray
    simulated: FloatArray

    def frame(self, sites: str) -> pd.DataFrame:
        """Tidy rows; `ok`: within RELATIVE of the measured number or inside the interval."""
        error = self.simulated - self.measured
        inside = (self.simulated >= self.low) & (self.simulated <= self.high)
        return pd.DataFrame(
            {
                "target": self.name,
                "sites": sites,
                "quantity": self.labels,
                "measured": self.measured,
                "low": self.low,
                "high": self.high,
                "simulated": self.simulated,
                "error": error,
                "ok": inside | (np.abs(error) <= RELATIVE * np.abs(self.measured)),
            }
        )


def main() -> None:
    """Write `calibration.csv` and `calibration.png`, and print what misses."""
    from experiments.plots.calibration import plot_calibration

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    mpl.use("Agg")
    table, shares = compare(args.data)
    args.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.out / "calibration.csv", index=False, float_format="%.4g")
    plot_calibration(table, shares).savefig(args.out / "calibration.png", dpi=150)
    print(summary(table).to_string())  # noqa: T201 (the product of this command)


def compare(data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate and compare.

    Returns
    -------
    table : DataFrame
        One row per compared number: target, sites (fit or holdout), quantity, measured, its
        interval, simulated, error, ok.
    shares : DataFrame
        Half-hourly plugged share: day_type, hour, fit (with low, high), fit_by_time (users weigh
        by time observed), holdout, simulated, paid.
    """
    stays = simulate(compared_population(NUM_CARS), weeks=WEEKS)
    sim = stays.home_plugged()
    home = home_sessions(data)
    out = np.isin(home.site, HOLDOUT_SITES)
    frames = []
    for sites, measured in (("fit", home.select(~out)), ("holdout", home.select(out))):
        frames += [target.frame(sites) for target in home_targets(measured, sim)]
    frames.append(stated_target(work_sessions(data), sim).frame("fit"))
    frames.append(uplink_target(data).frame("fit"))
    frames += [target.frame("trace") for target in demand_targets(data)]
    frames.append(driving_target(stays).frame("fit"))
    frames.append(trip_start_target(data, stays).frame("US survey"))
    paid = simulate(compared_population(PAID_CARS, paid=True), weeks=PAID_WEEKS).home_plugged()
    table = pd.concat(frames, ignore_index=True)
    return table, _shares(table, home.select(~out), paid)


def _shares(table: pd.DataFrame, measured: Sessions, paid: Sessions) -> pd.DataFrame:
    plugged, active = (counts.sum(axis=0).ravel() for counts in plugged_counts(measured))
    part = table[table.target == "plugged share"]
    fit, holdout = (part[part.sites == sites].reset_index() for sites in ("fit", "holdout"))
    return pd.DataFrame(
        {
            "day_type": np.repeat(DAY_TYPES, 48),
            "hour": np.tile(np.arange(48) * SLOT_H, 2),
            "fit": fit.measured,
            "low": fit.low,
            "high": fit.high,
            "fit_by_time": plugged / active,
            "holdout": holdout.measured,
            "simulated": fit.simulated,
            "paid": share_by_halfhour(paid, np.ones((1, paid.num_users)))[0],
        }
    )


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and largest absolute error, share of numbers met, by target and sites."""
    group = table.assign(size=table.error.abs()).groupby(["target", "sites"], sort=False)
    return group.agg(
        numbers=("size", "count"),
        mean_error=("size", "mean"),
        max_error=("size", "max"),
        met=("ok", "mean"),
    )


Statistic = Callable[[Sessions, FloatArray], FloatArray]


def _target(
    name: str, labels: list[str], measured: Sessions, sim: Sessions, statistic: Statistic
) -> Target:
    """Compare one statistic; it takes weights of users, shape (resamples, num_users)."""
    rng = np.random.default_rng(0)
    num = measured.num_users
    weights = rng.multinomial(num, np.full(num, 1.0 / num), RESAMPLES).astype(float)
    low, high = np.nanquantile(statistic(measured, weights), INTERVAL, axis=0)
    point = statistic(measured, np.ones((1, num)))[0]
    simulated = statistic(sim, np.ones((1, sim.num_users)))[0]
    return Target(name, tuple(labels), point, low, high, simulated)


def home_targets(measured: Sessions, sim: Sessions) -> list[Target]:
    """Compare home plug sessions of one set of sites."""
    clock = [f"{day} {hour:g} h" for day in DAY_TYPES for hour in np.arange(48) * SLOT_H]
    hours = [f"{day} {hour} h" for day in DAY_TYPES for hour in range(24)]
    dwell = [f"{d} {a}-{b} h p{q:.0%}"[:-1] for d in DAY_TYPES for a, b in BANDS for q in QUANTILES]
    ranks = [f"p{100 * q:.0f}" for q in QUANTILES]
    return [
        _target("plugged share", clock, measured, sim, share_by_halfhour),
        _target("arrival hour share", hours, measured, sim, arrival_share),
        _target("departure hour share", hours, measured, sim, departure_share),
        _target("stay by arrival band [h]", dwell, measured, sim, stay_quantiles),
        _target("soc at plug-in", ranks, measured, sim, soc_quantiles),
        _target("plugged share of an owner", ranks, measured, sim, owner_share),
        _target("plug-ins a day of an owner", ranks, measured, sim, owner_rate),
    ]


def share_by_halfhour(sessions: Sessions, weights: FloatArray) -> FloatArray:
    """Mean over users of the plugged share, (resamples, 96): weekday, then weekend."""
    plugged, active = (counts.reshape(len(counts), -1) for counts in plugged_counts(sessions))
    seen = active > 0
    share = np.where(seen, plugged / np.maximum(active, 1), 0.0)
    result: FloatArray = (weights @ share) / (weights @ seen)
    return result


def _clock_share(user: IntArray, when_h: FloatArray, weights: FloatArray) -> FloatArray:
    weekend = (when_h // 24 % 7) >= 5
    cell = weekend * 24 + (when_h % 24).astype(int)
    flat = np.bincount(user * 48 + cell, minlength=weights.shape[1] * 48)
    counts = (weights @ flat.reshape(-1, 48)).reshape(-1, 2, 24)
    share: FloatArray = counts / counts.sum(axis=2, keepdims=True)
    return share.reshape(len(weights), 48)


def arrival_share(sessions: Sessions, weights: FloatArray) -> FloatArray:
    """Share of plug-ins in each clock hour of weekdays and weekends, (resamples, 48)."""
    per_day = weights / active_days(sessions)
    return _clock_share(sessions.user, sessions.start_h, per_day)


def departure_share(sessions: Sessions, weights: FloatArray) -> FloatArray:
    """Share of plug-outs in each clock hour, (resamples, 48)."""
    per_day = weights / active_days(sessions)
    return _clock_share(sessions.user, sessions.end_h, per_day)


def _quantiles(
    sessions: Sessions, value: FloatArray, weights: FloatArray, levels: tuple[float, ...]
) -> FloatArray:
    order = np.argsort(value, kind="stable")
    ordered, user = value[order], sessions.user[order]
    return np.stack([weighted_quantiles(ordered, w[user], np.array(levels)) for w in weights])


def stay_quantiles(sessions: Sessions, weights: FloatArray) -> FloatArray:
    """Quantiles of the stay by day type and arrival band, every session weighing the same."""
    weekend = (sessions.start_h // 24 % 7) >= 5
    hour, parts = sessions.start_h % 24, []
    for day in (False, True):
        for low, high in BANDS:
            mask = (weekend == day) & (hour >= low) & (hour < high)
            part = sessions.masked(mask)
            parts.append(_quantiles(part, part.end_h - part.start_h, weights, QUANTILES))
    return np.concatenate(parts, axis=1)


def soc_quantiles(sessions: Sessions, weights: FloatArray) -> FloatArray:
    """Quantiles of the soc at plug-in over sessions where it is known."""
    part = sessions.masked(~np.isnan(sessions.soc))
    return _quantiles(part, part.soc, weights, QUANTILES)


def owner_share(sessions: Sessions, weights: FloatArray) -> FloatArray:
    """Quantiles over users of the share of active time they are plugged in."""
    plugged, active = (counts.sum(axis=(1, 2)) for counts in plugged_counts(sessions))
    return _over_users(plugged / np.maximum(active, 1), weights)


def owner_rate(sessions: Sessions, weights: FloatArray) -> FloatArray:
    """Quantiles over users of their plug-ins per active day."""
    return _over_users(plugins_per_day(sessions), weights)


def _over_users(value: FloatArray, weights: FloatArray) -> FloatArray:
    order = np.argsort(value, kind="stable")
    levels = np.array(QUANTILES)
    return np.stack([weighted_quantiles(value[order], w[order], levels) for w in weights])


def stated_target(work: Sessions, sim: Sessions) -> Target:
    """Actual minus stated departure: measured at a workplace, applied to homes; no clusters known.

    The interval resamples stations, the nearest there is to users.
    """

    def errors(sessions: Sessions, weights: FloatArray) -> FloatArray:
        return _quantiles(sessions, sessions.end_h - sessions.stated_h, weights, ERROR_QUANTILES)

    labels = [f"p{100 * q:.0f}" for q in ERROR_QUANTILES]
    return _target("actual minus stated departure [h]", labels, work, sim, errors)


def uplink_target(data: Path) -> Target:
    """Uplink of linked homes against the panel; both capped by the Wi-Fi at the car."""
    cap = EnvConfig().fleet.wifi_cap_mbps * UP_TO_DOWN_CAP
    value, weight = uplink_panel(data)
    value, levels = np.minimum(value, cap), np.array(QUANTILES)
    rng = np.random.default_rng(0)
    pick = rng.integers(0, len(value), (RESAMPLES, len(value)))
    resampled = np.stack([_sorted_quantiles(value[p], weight[p], levels) for p in pick])
    low, high = np.quantile(resampled, INTERVAL, axis=0)
    params = cars.draw_params(compared_population(20_000), calibration_key(), ["ai5"])
    return Target(
        "uplink at the car [Mbit/s]",
        tuple(f"p{100 * q:.0f}" for q in QUANTILES),
        _sorted_quantiles(value, weight, levels),
        low,
        high,
        np.quantile(params.up_mbps, QUANTILES),
    )


def demand_targets(data: Path) -> list[Target]:
    """Chat requests by clock hour, days of all splits together; the interval is over days."""
    simulated = (simulate_hours(EnvConfig(), "train") + simulate_hours(EnvConfig(), "test")) / 2
    labels = tuple(f"{day} {hour} h" for day in DAY_TYPES for hour in range(24))
    targets = []
    for chat, source in SOURCES.items():
        mean, std, days = (part.ravel() for part in measured_hours(data, source))
        half = Z_95 * std / np.sqrt(days)
        name = f"{CLASSES[chat]} requests by hour"
        got = simulated[chat].ravel()
        targets.append(Target(name, labels, mean, mean - half, mean + half, got))
    return targets


def _sorted_quantiles(value: FloatArray, weight: FloatArray, levels: FloatArray) -> FloatArray:
    order = np.argsort(value, kind="stable")
    return weighted_quantiles(value[order], weight[order], levels)


# name, middle and range of domain 3
DRIVING_RANGES = (
    ("share of time driving", 0.04, 0.035, 0.05),
    ("share of time at home", 0.77, 0.73, 0.80),
    ("share of time elsewhere", 0.19, 0.16, 0.23),
    ("share of days unused", 0.30, 0.20, 0.40),
    ("km a day", 48.0, 40.0, 80.0),
    ("log-sd of km on days used", 0.9, 0.765, 1.035),  # no range given: 15 %
)


def driving_target(stays: Stays) -> Target:
    """Compare driving with the survey figures of domain 3; the interval is its range."""
    names, middle, low, high = zip(*DRIVING_RANGES, strict=True)
    got = np.array([stays.driving()[name] for name in names])
    return Target("driving", names, np.array(middle), np.array(low), np.array(high), got)


def trip_start_target(data: Path, stays: Stays) -> Target:
    """Compare trip starts by hour with the US survey: a check, nothing was fitted to it."""
    table = pd.read_csv(data / "mobility" / "trip_start_share_hourly.csv")
    day, hour = (stays.end_h // 24 % 7).astype(int), (stays.end_h % 24).astype(int)
    measured, simulated, labels = [], [], []
    for name, days in (("weekday", range(5)), ("saturday", (5,)), ("sunday", (6,))):
        share = table[table.day_type == name].trip_start_share_us_nhts2022.to_numpy()
        count = np.bincount(hour[np.isin(day, list(days))], minlength=24)
        measured.append(share)
        simulated.append(count / count.sum())
        labels += [f"{name} {h} h" for h in range(24)]
    known = np.concatenate(measured)
    name = "trip start hour share"
    return Target(name, tuple(labels), known, known, known, np.concatenate(simulated))


if __name__ == "__main__":
    main()

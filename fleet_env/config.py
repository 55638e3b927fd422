"""What a user may set: plain dataclasses, checked when they are built.

Every default carries its source: "domain N" is section N of docs/parameters.md, which names the
public source behind it, "est" an engineering judgement without a source. The dataclasses are
mutable because Hydra fills them; nothing writes to them later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from fleet_env.checks import in_range, one_of, require, shares
from fleet_env.config_world import (
    MAX_REGIONS,
    FeederConfig,
    OwnersConfig,
    ShocksConfig,
    TelemetryConfig,
    as_region,
)

FILLS = ("fail", "hold", "zero", "interpolate")  # what to do about windows a trace lacks
SPLITS = ("train", "validation", "test")


@dataclass
class FleetConfig:
    """Cars: hardware, chargers, links, owners' habits and limits."""

    # row of fleet_env.data.accelerators -> share of the cars
    accelerators: dict[str, float] = field(default_factory=lambda: {"ai5": 1.0})
    lfp_share: float = 0.40  # domain 8: 57.5 kWh LFP, the rest 76 kWh NCA
    home_charger_share: float = 0.80  # domain 3 (EV owners today)
    level1_share: float = 0.25  # of home chargers; domain 2a, est
    work_charger_share: float = (
        0.15  # of workers; est, INL EV Project: work 32-39 % with work charging
    )
    home_link_share: float = 0.65  # car within usable home Wi-Fi; domain 4, est
    work_link_share: float = 0.30  # est
    wifi_cap_mbps: float = 40.0  # goodput at the car on Wi-Fi, down; domain 4, est
    paid_habits: bool = (
        False  # owners plug in as if paid for it: an assumption (domain 3: 6 sessions a week)
    )
    closed_garage_share: float = 0.40  # est
    unplugged_share: float = (
        0.0  # owners who allow compute unplugged; domain 8: forbidden by default
    )
    cellular_share: float = 0.0  # owners who allow cellular data where there is no Wi-Fi
    weights_missing_share: float = (
        0.02  # cars that have not fetched the latest weights; est: 1 day in a 60-day cycle
    )
    max_age_years: float = 8.0  # uniform pack age; est
    reserve_soc: float = 0.30  # domain 7
    target_soc_nca: float = 0.80  # domain 7
    target_soc_lfp: float = 0.95  # domain 7
    standby_w: float = 10.0  # asleep; domain 1b, est
    # factor on the measured error of stated departures; 0: owners tell the truth (privileged)
    stated_error_scale: float = 1.0
    override_per_month: float = (
        0.5  # owner override (snooze for the rest of the stay); domain 3, est
    )

    def __post_init__(self) -> None:
        shares("fleet.accelerators", self.accelerators)
        unit = (0.0, 1.0)
        in_range(
            self,
            "fleet.",
            lfp_share=unit,
            home_charger_share=unit,
            level1_share=unit,
            work_charger_share=unit,
            home_link_share=unit,
            work_link_share=unit,
            closed_garage_share=unit,
            unplugged_share=unit,
            cellular_share=unit,
            weights_missing_share=unit,
            reserve_soc=unit,
            target_soc_nca=unit,
            target_soc_lfp=unit,
            wifi_cap_mbps=(0.1, 10_000.0),
            max_age_years=(0.1, 30.0),
            standby_w=(0.0, 500.0),
            stated_error_scale=(0.0, 10.0),
            override_per_month=(0.0, 100.0),
        )


@dataclass
class ServingConfig:
    """How a car serves requests."""

    batch_slots: int = 32  # concurrent requests per car; domain 1c
    wake_min: float = 0.5  # domain 1b, est
    flash_gb_per_s: float = 0.67  # 60 s for 40 GB; domain 1b, est
    tail_min: float = 5.0  # awake after switch-off; design
    overhead_w: float = 120.0  # awake car beyond the chip; domain 1b
    eta_dcdc: float = 0.93  # domain 1b
    chip_w_factor: float = 1.0  # on the table's idle and busy watts; domain 1a: 0.75 to 1.25
    throughput_factor: float = 1.0  # on what the roofline serves; domain 1c: 0.5 to 2
    redundancy: float = 1.10  # checking and lost work; domain 7, est
    ttft_slo_s: float = 2.0  # MLPerf server; domain 5
    tpot_slo_s: float = 0.200  # MLPerf server; domain 5
    slo_quantile: float = 0.99  # MLPerf: p99
    rtt_s: float = 0.033  # WAN 25 ms + Wi-Fi 8 ms; domain 4
    flash_gb: float = 128.0  # where a car keeps its weights; domain 1a
    # what becomes of work in a car that leaves: restart | resume | checkpoint (docs/model.md 5.7)
    chat_loss: str = "restart"
    batch_loss: str = "restart"
    # batch work is handed out in jobs of so many slot-minutes; 0: request by request
    batch_job_min: float = 0.0
    checkpoint_s: float = 30.0  # to save a job; scheduling V7
    mean_stay_h: float = 12.0  # at home, plugged in: sets the checkpoint period; domain 3
    hedge: bool = False  # a second copy of every chat request that outlasts the 95th percentile

    def __post_init__(self) -> None:
        in_range(
            self,
            "serving.",
            batch_slots=(1, 512),
            wake_min=(0.0, 60.0),
            flash_gb_per_s=(0.01, 100.0),
            tail_min=(0.0, 15.0),
            overhead_w=(0.0, 2000.0),
            eta_dcdc=(0.5, 1.0),
            chip_w_factor=(0.0, 10.0),
            throughput_factor=(0.01, 10.0),
            redundancy=(1.0, 10.0),
            ttft_slo_s=(0.01, 3600.0),
            tpot_slo_s=(0.001, 60.0),
            slo_quantile=(0.5, 0.99999),
            rtt_s=(0.0, 10.0),
            flash_gb=(0.1, 1e5),
            batch_job_min=(0.0, 1440.0),
            checkpoint_s=(0.0, 3600.0),
            mean_stay_h=(0.01, 1e4),
        )
        modes = ("restart", "resume", "checkpoint")
        one_of(self, "serving.", chat_loss=modes, batch_loss=modes)


@dataclass
class DemandConfig:
    """What people ask the fleet and the data centre to compute."""

    source: str = "servegen"  # servegen | azure2024 | synthetic | path of a request or window file
    fill: str = "fail"  # of a trace by path with missing windows: fail | hold | zero | interpolate
    short: str = "fail"  # a trace by path of less than two days: fail | wrap (repeat it)
    forecast: str = (
        "seasonal"  # seasonal | exact (privileged: what will arrive, noise of counts aside)
    )
    load: float = 0.5  # mean work of all demand / mean plugged and linked cars
    batch_share: float = 0.30  # of the work; domain 5, est
    chat_70b_share: float = 0.50  # of the interactive work; est
    trusted_only_share: float = (
        0.50  # of interactive work, never leaves the data centre; domain 7, est
    )
    rate_noise_cv: float = (
        0.0  # AR(1) log-rate on top of the source; 0 on a replay, which has its own
    )
    rate_noise_lag1: float = 0.4  # per 10 min; ServeGen m-large residual
    input_tokens: float = 1155.0  # mean, Azure 2023 conversation; domain 5
    output_tokens: float = 211.0  # mean, Azure 2023 conversation; domain 5
    batch_deadline_shares: dict[str, float] = field(
        default_factory=lambda: {"1": 0.2, "4": 0.3, "12": 0.5}  # hours -> share of batch work; est
    )

    def __post_init__(self) -> None:
        shares("demand.batch_deadline_shares", self.batch_deadline_shares)
        one_of(self, "demand.", fill=FILLS, short=("fail", "wrap"), forecast=("seasonal", "exact"))
        in_range(
            self,
            "demand.",
            load=(0.0, 100.0),
            batch_share=(0.0, 1.0),
            chat_70b_share=(0.0, 1.0),
            trusted_only_share=(0.0, 1.0),
            rate_noise_cv=(0.0, 2.0),
            rate_noise_lag1=(0.0, 0.999),
            input_tokens=(1.0, 1e6),
            output_tokens=(1.0, 1e6),
        )


@dataclass
class DataCentreConfig:
    """The alternative: always available, priced per request."""

    usd_per_mtok_70b: float = 0.28  # output tokens at the default mix, prefill included; domain 1d
    usd_per_mtok_8b: float = 0.042  # domain 1d
    batch_discount: float = 0.0  # share off the price of batch work (0.5 is what is sold; domain 5)
    kwh_per_mtok_70b: float = 0.21  # domain 1d
    kwh_per_mtok_8b: float = 0.032  # domain 1d
    # how its capital is paid: average: in the price, evenly | peak: by its peak load | energy_only:
    # it is sunk (docs/model.md 5.8)
    dc_cost: str = "average"
    capital_share: float = 0.70  # of the average price, est; 0.6-0.9 (domain 1d)
    electricity_usd_per_kwh: float = 0.07  # domain 1d
    price_decline_per_year: float = 0.0  # of the average price; typical 0.3; est
    years_ahead: float = 0.0  # after 2025, the year of the prices

    def __post_init__(self) -> None:
        one_of(self, "datacentre.", dc_cost=("average", "peak", "energy_only"))
        in_range(
            self,
            "datacentre.",
            capital_share=(0.0, 1.0),
            electricity_usd_per_kwh=(0.0, 5.0),
            price_decline_per_year=(0.0, 0.99),
            years_ahead=(0.0, 50.0),
            usd_per_mtok_70b=(0.0, 1e3),
            usd_per_mtok_8b=(0.0, 1e3),
            batch_discount=(0.0, 1.0),
            kwh_per_mtok_70b=(0.0, 1e3),
            kwh_per_mtok_8b=(0.0, 1e3),
        )


@dataclass
class EnergyConfig:
    """Retail price, carbon, weather and the energy manager."""

    tariff: str = "california_ev_tou"  # a row name of data/tariffs.csv | day_ahead | flat
    flat_usd_per_kwh: float = 0.175  # US residential mean, May 2025; domain 6
    delivery_usd_per_kwh: float = 0.12  # added to a day-ahead price; design
    region: str = "US-CAL-CISO"  # row of the seasonal profiles
    files: str = ""  # folder with price_weather_*/carbon_* files to replay; "" = seasonal profiles
    source: str = "managed"  # grid | pack | managed
    cheap_hours: float = 6.0  # the cheapest hours of a day that count as cheap
    charger_curve: bool = True  # False: the on-board charger is as efficient at any load
    margin_h: float = 3.0  # cheap hours to spare before the pack is drawn; design
    pack_wear_usd_per_kwh: float = 0.02  # the manager's rule of thumb; domain 2c marginal wear
    public_usd_per_kwh: float = 0.45  # public fast charging; est

    def __post_init__(self) -> None:
        require(
            self.source in ("grid", "pack", "managed"),
            "energy.source",
            self.source,
            "grid, pack or managed",
        )
        in_range(
            self,
            "energy.",
            flat_usd_per_kwh=(-1.0, 5.0),
            delivery_usd_per_kwh=(0.0, 2.0),
            cheap_hours=(0.5, 24.0),
            margin_h=(0.0, 48.0),
            pack_wear_usd_per_kwh=(0.0, 5.0),
            public_usd_per_kwh=(0.0, 5.0),
        )


@dataclass
class ThermalConfig:
    """Heat of the computer, in the garage and in the pack."""

    garage_w_per_k: float = 80.0  # domain 2b, est
    pack_tau_h: float = 7.0  # 4e5 J/K over 16 W/K; est
    pack_ua_w_per_k: float = 16.0  # est
    pack_heat_share: float = 0.5  # chip heat that reaches the pack below 10 degC; domain 2b, est
    cooling: bool = True  # False: no fan, pump or compressor power
    derate_from_c: float = 35.0  # domain 2b, est
    off_from_c: float = 50.0  # domain 2b, est

    def __post_init__(self) -> None:
        in_range(
            self,
            "thermal.",
            garage_w_per_k=(1.0, 1e6),
            pack_tau_h=(0.1, 1000.0),
            pack_ua_w_per_k=(0.1, 1e6),
            pack_heat_share=(0.0, 1.0),
            derate_from_c=(0.0, 200.0),
            off_from_c=(0.0, 300.0),
        )


@dataclass
class RewardConfig:
    """Prices of what compute does to battery, owner and service (USD)."""

    pack_usd_per_kwh: float = 150.0  # installed replacement; domain 2c, est
    end_of_life_soh: float = 0.80  # domain 2c
    shortfall_usd: float = 10.0  # per shortfall at departure; domain 7, est
    shortfall_usd_per_kwh: float = 1.0  # domain 7, est
    shortfall_deadband_soc: float = 0.01  # design
    pay_usd_per_on_duty_h: float = 0.03  # assumption of the suburb card
    cellular_usd_per_gb: float = 3.0  # domain 4, est
    request_kb: float = 6.0  # 5 kB in + 1 kB out; domain 4
    dropout_usd: float = 50.0  # to win another owner; design
    noise_usd_per_quiet_h: float = 0.0  # per on-duty hour at home in quiet hours; no figure known
    slo_penalty: float = (
        1.0  # times the data-centre price of a lost or late interactive request; assumption
    )

    def __post_init__(self) -> None:
        in_range(
            self,
            "reward.",
            pack_usd_per_kwh=(0.0, 1e4),
            end_of_life_soh=(0.1, 0.99),
            shortfall_usd=(0.0, 1e4),
            shortfall_usd_per_kwh=(0.0, 1e3),
            shortfall_deadband_soc=(0.0, 1.0),
            pay_usd_per_on_duty_h=(0.0, 100.0),
            cellular_usd_per_gb=(0.0, 1e3),
            request_kb=(0.0, 1e6),
            dropout_usd=(0.0, 1e5),
            noise_usd_per_quiet_h=(0.0, 100.0),
            slo_penalty=(0.0, 100.0),
        )


@dataclass
class EnvConfig:
    """One scenario card: all that `FleetVectorEnv` needs besides its rows and the split."""

    name: str = "suburb"
    num_cars: int = 1000
    days: int = 1
    step_min: int = 15
    start_hour: float = 12.0  # local; a night is never cut
    time_zone: str = "America/Los_Angeles"
    season: str = ""  # DJF, MAM, JJA or SON: days of these months only; "": of the whole year
    observation: str = "cars"  # cars: Dict(cars, fleet, mask) | fleet: the fleet vector alone
    fleet: FleetConfig = field(default_factory=FleetConfig)
    serving: ServingConfig = field(default_factory=ServingConfig)
    demand: DemandConfig = field(default_factory=DemandConfig)
    datacentre: DataCentreConfig = field(default_factory=DataCentreConfig)
    energy: EnergyConfig = field(default_factory=EnergyConfig)
    thermal: ThermalConfig = field(default_factory=ThermalConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    owners: OwnersConfig = field(default_factory=OwnersConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    feeder: FeederConfig = field(default_factory=FeederConfig)
    shocks: ShocksConfig = field(default_factory=ShocksConfig)
    # name -> region, the first one's noon starts the episode; none: one region, as the card says
    regions: dict[str, Any] = field(default_factory=dict)  # of RegionConfig, or mappings of them
    # name of an uncertain parameter -> its lowest and highest value, drawn for every episode
    randomise: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        in_range(self, "", num_cars=(1, 200_000_000), days=(1, 14))
        require(
            self.step_min in (5, 10, 15, 30, 60),
            "step_min",
            self.step_min,
            "5, 10, 15, 30 or 60 minutes",
        )
        require(0 <= self.start_hour < 24, "start_hour", self.start_hour, "a local hour in [0, 24)")
        one_of(self, "", observation=("cars", "fleet"), season=("", "DJF", "MAM", "JJA", "SON"))
        self.regions = {name: as_region(name, part) for name, part in self.regions.items()}
        require(
            len(self.regions) <= MAX_REGIONS, "regions", len(self.regions), f"at most {MAX_REGIONS}"
        )
        age_s, step_s = self.telemetry.age_s, 60 * self.step_min
        require(age_s <= step_s, "telemetry.age_s", age_s, f"at most a step ({step_s} s)")

    def __repr__(self) -> str:
        """Say how large the card is, and what differs from the defaults: those of the suburb."""
        head = f"{self.name!r}, {self.num_cars:,} cars, {self.days} d of {self.step_min} min steps"
        return "; ".join([f"EnvConfig({head}", *_changed(self, EnvConfig())]) + ")"

    @property
    def dt_h(self) -> float:
        """Length of a decision step [h]."""
        return self.step_min / 60.0

    @property
    def num_steps(self) -> int:
        """Decision steps of an episode."""
        return round(self.days * 24 / self.dt_h)


def _changed(now: Any, usual: Any, prefix: str = "") -> Iterator[str]:
    """Yield `key=value` for every setting that is not as usual; size and name aside."""
    for item in fields(now):
        key, value, default = item.name, getattr(now, item.name), getattr(usual, item.name)
        if is_dataclass(value):
            yield from _changed(value, default, f"{prefix}{key}.")
        elif value != default and key not in ("name", "num_cars", "days", "step_min"):
            yield f"{prefix}{key}={list(value) if key == 'regions' else value!r}"

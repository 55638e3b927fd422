"""Random cards: small fleets in which rare things are common, and all that fights back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fleet_env.config import (
    DataCentreConfig,
    DemandConfig,
    EnergyConfig,
    EnvConfig,
    FleetConfig,
    RewardConfig,
    ServingConfig,
    ThermalConfig,
)
from fleet_env.config_world import (
    FeederConfig,
    OwnersConfig,
    RegionConfig,
    ShockConfig,
    ShocksConfig,
    TelemetryConfig,
)

CHIPS = (
    {"ai5": 1.0},
    {"ai4": 1.0},
    {"claim": 1.0},
    {"ai4": 0.5, "ai5": 0.5},
    {"ai5": 0.5, "claim": 0.5},
    {"hw3": 0.3, "ai4": 0.3, "ai5": 0.4},
)
QUICK = ("ai5", "claim")  # read a 70B request's input in time for a tight limit
REGIONS = (
    {"time_zone": "America/Los_Angeles", "grid": "US-CAL-CISO"},
    {
        **{"time_zone": "America/Chicago", "grid": "US-TEX-ERCO", "tariff": "day_ahead"},
        **{"latitude_deg": 31.0, "longitude_deg": -97.0},
    },
    {
        **{"time_zone": "Europe/Berlin", "grid": "DE-LU", "tariff": "flat"},
        **{"latitude_deg": 50.1, "longitude_deg": 8.7, "delivery_usd_per_kwh": 0.2},
    },
    {
        **{"time_zone": "Australia/Sydney", "grid": "AU-NSW"},
        **{"latitude_deg": -33.9, "longitude_deg": 151.2},
    },
)


def draw_plain(number: int) -> EnvConfig:
    """Draw a small fleet on an average day."""
    rng = np.random.default_rng([20251031, number])
    num_cars = int(rng.integers(1, 7))
    step_min = int(rng.choice([15, 15, 15, 5, 30, 60]))
    chips = CHIPS[rng.integers(len(CHIPS))]
    asked: dict[str, Any] = {}
    if set(chips) == {"ai4"}:  # holds no 70B model: nobody may ask for one
        asked = {"chat_70b_share": 0.0, "batch_share": 0.0}
    return EnvConfig(
        num_cars=num_cars,
        days=2 if number % 10 == 4 else 1,
        step_min=step_min,
        fleet=FleetConfig(
            accelerators=chips,
            paid_habits=bool(rng.random() < 0.7),
            home_charger_share=1.0 if rng.random() < 0.7 else 0.5,
            level1_share=float(rng.choice([0.0, 0.25, 1.0])),
            work_charger_share=float(rng.choice([0.15, 1.0])),
            home_link_share=float(rng.choice([0.65, 1.0])),
            work_link_share=float(rng.choice([0.3, 1.0])),
            closed_garage_share=float(rng.choice([0.0, 0.4, 1.0])),
            unplugged_share=float(rng.choice([0.0, 0.5, 1.0])),
            cellular_share=float(rng.choice([0.0, 1.0])),
            weights_missing_share=float(rng.choice([0.02, 0.5])),
            override_per_month=float(rng.choice([0.5, 100.0])),
            reserve_soc=float(rng.choice([0.1, 0.3, 0.5])),
        ),
        serving=ServingConfig(
            tail_min=float(rng.choice([0.0, 5.0, 12.0])),
            chat_loss=(losses := "restart" if rng.random() < 0.8 else "resume"),
            batch_loss=losses,
        ),
        demand=DemandConfig(
            load=float(rng.choice([0.1, 0.5, 2.0, 10.0])),
            rate_noise_cv=float(rng.choice([0.0, 0.3])),
            **asked,
        ),
        energy=EnergyConfig(
            source=str(rng.choice(["grid", "managed", "managed", "pack"])),
            tariff=str(rng.choice(["california_ev_tou", "flat", "day_ahead"])),
            region=str(rng.choice(["US-CAL-CISO", "US-TEX-ERCO", "DE-LU"])),
            margin_h=float(rng.choice([0.0, 3.0])),
        ),
        thermal=ThermalConfig(
            garage_w_per_k=float(rng.choice([40.0, 80.0, 15.0])),
            cooling=bool(rng.random() < 0.9),
        ),
    )


def draw_config(number: int) -> EnvConfig:
    """Draw a small fleet, and what it has to put up with: each thing in about half of the cards.

    Cars of odd numbers are mostly on duty, so that shocks and transformers meet them there.
    """
    config, rng = draw_plain(number), np.random.default_rng([20261123, number])
    willing = number % 2 == 1
    config = replace(
        config,
        num_cars=int(rng.integers(1, 16)),
        regions=_regions(rng),
        feeder=_feeder(rng, config.step_min),
        fleet=_at_hand(config.fleet) if willing else config.fleet,
        owners=OwnersConfig(dropout_per_broken_promise=0.5) if willing else _owners(rng),
        serving=_serving(rng, config),
        datacentre=_datacentre(rng),
        reward=RewardConfig(
            pay_usd_per_on_duty_h=float(rng.choice([0.03, 0.3, 1.0])),
            noise_usd_per_quiet_h=float(rng.choice([0.0, 0.2])),
        ),
    )
    own = [region.tariff or config.energy.tariff for region in config.regions.values()]
    tariffs = own or [config.energy.tariff]
    return replace(
        config, shocks=_shocks(rng, "day_ahead" in tariffs), telemetry=_telemetry(rng, config)
    )


def _at_hand(fleet: FleetConfig) -> FleetConfig:
    """Plugged in and linked wherever they are parked, and called back by nobody."""
    return replace(
        fleet,
        paid_habits=True,
        home_charger_share=1.0,
        home_link_share=1.0,
        work_link_share=1.0,
        work_charger_share=1.0,
        closed_garage_share=0.0,
        weights_missing_share=0.0,
        override_per_month=0.0,
        reserve_soc=0.1,
    )


def _regions(rng: np.random.Generator) -> dict[str, RegionConfig]:
    many = int(rng.choice([0, 0, 1, 2, 2, 3, 4]))
    order = rng.permutation(len(REGIONS))[:many]
    return {f"r{i}": RegionConfig(share=float(rng.choice([1.0, 2.0])), **REGIONS[i]) for i in order}


def _feeder(rng: np.random.Generator, step_min: int) -> FeederConfig:
    """Transformers from ample to hopeless for their homes."""
    homes = int(rng.choice([3, 5, 10]))
    return FeederConfig(
        limit=bool(rng.random() < 0.6),
        homes=homes,
        kva=homes * float(rng.choice([1.5, 3.0, 5.0])),
        start_spread_min=float(rng.choice([0.0, 3.0, step_min])),
    )


def _owners(rng: np.random.Generator) -> OwnersConfig:
    allowed = ((0.0, 24.0), (0.0, 24.0), (9.0, 17.0), (17.0, 9.5))[rng.integers(4)]
    return OwnersConfig(
        opt_in=str(rng.choice(["all", "all", "by_pay"])),
        dropout_per_broken_promise=float(rng.choice([0.0, 0.5, 1.0])),
        cap_h_per_month=float(rng.choice([0.0, 0.0, 45.0, 200.0])),
        quiet_share=float(rng.choice([0.0, 0.5])),
        quiet_from_h=float(rng.choice([22.0, 1.0])),
        allowed_from_h=allowed[0],
        allowed_to_h=allowed[1],
    )


def _serving(rng: np.random.Generator, config: EnvConfig) -> ServingConfig:
    modes = ["restart", "restart", "resume", "checkpoint"]
    tight = set(config.fleet.accelerators) <= set(QUICK) and rng.random() < 0.3
    return replace(
        config.serving,
        chat_loss=str(rng.choice(modes)),
        batch_loss=str(rng.choice(modes)),
        batch_job_min=float(rng.choice([0.0, 5.0, 60.0])),
        checkpoint_s=float(rng.choice([5.0, 30.0])),
        hedge=bool(rng.random() < 0.3),
        ttft_slo_s=0.45 if tight else 2.0,
        chip_w_factor=float(rng.choice([1.0, 1.25])),
        throughput_factor=float(rng.choice([1.0, 0.5])),
    )


def _datacentre(rng: np.random.Generator) -> DataCentreConfig:
    return DataCentreConfig(
        dc_cost=str(rng.choice(["average", "peak", "energy_only"])),
        batch_discount=float(rng.choice([0.0, 0.5])),
        price_decline_per_year=0.3,
        years_ahead=float(rng.choice([0.0, 2.5])),
    )


def _shocks(rng: np.random.Generator, day_ahead: bool) -> ShocksConfig:
    """On a day of the episode, each kind in some cards."""
    hours = {"storm": 5.0, "isp": 1.5, "heatwave": 20.0, "coldsnap": 20.0, "ota": 0.75}
    hours |= {"price_spike": 3.0, "negative_noon": 3.0, "flash": 1.5, "release": 0.25}
    severity = {"heatwave": 15.0, "coldsnap": 15.0, "price_spike": 0.5, "negative_noon": 0.5}
    on: dict[str, Any] = {}
    for kind, mean_h in hours.items():
        from_h = float(rng.choice([0.0, 12.0, 18.0]))
        settings = ShockConfig(
            on_day=int(rng.integers(2)),
            per_year=float(rng.choice([0.0, 700.0])),
            from_h=from_h,
            to_h=float(rng.choice([from_h, 24.0])),
            mean_h=mean_h,
            severity=severity.get(kind, 2.0),
            extent=float(rng.choice([0.4, 1.0])),
        )
        if rng.random() < 0.4 and (day_ahead or kind not in ("price_spike", "negative_noon")):
            on[kind] = settings
    return ShocksConfig(**on)


def _telemetry(rng: np.random.Generator, config: EnvConfig) -> TelemetryConfig:
    if rng.random() < 0.6:
        return TelemetryConfig()
    return TelemetryConfig(
        age_s=float(rng.choice([0.0, 20.0, 300.0, 60.0 * config.step_min])),
        silent_share=float(rng.choice([0.0, 0.3])),
        stuck_share=float(rng.choice([0.0, 0.3])),
    )

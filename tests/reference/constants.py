"""Constants of the tables, typed again from the parameter survey (section numbers of "domain")."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_env.types import EVSE_L1, EVSE_L2_7, EVSE_L2_11, EVSE_NONE


@dataclass(frozen=True)
class Accelerator:
    """A car's computer (domain 1a)."""

    tops: float  # dense, low precision
    gb_per_s: float
    memory_gb: float
    idle_w: float
    busy_w: float


ACCELERATORS = {
    # 2 SoC of 73.7 TOPS and 68 GB/s; board ceiling 100 W; idle and usable memory: est of the table
    "hw3": Accelerator(tops=147.0, gb_per_s=136.0, memory_gb=10.0, idle_w=60.0, busy_w=100.0),
    # 243 TOPS a car, 2 x 224 GB/s; usable memory: est of the table
    "ai4": Accelerator(tops=243.0, gb_per_s=448.0, memory_gb=11.0, idle_w=80.0, busy_w=100.0),
    # idle: domain 1b, "150 + idle chip 30"
    "ai5": Accelerator(tops=1500.0, gb_per_s=1120.0, memory_gb=86.0, idle_w=30.0, busy_w=200.0),
    # domain 1c: "4x AI5 pooled"; idle 5 x 30 (busy is 5 x 200), est of the table
    "claim": Accelerator(
        tops=6000.0, gb_per_s=4480.0, memory_gb=344.0, idle_w=150.0, busy_w=1000.0
    ),
}


@dataclass(frozen=True)
class Model:
    """A tier of models at 4.5 bit a weight, KV cache in FP8 (domain 1c)."""

    params: float
    weights_gb: float
    kv_bytes_per_token: float


MODELS = (
    Model(params=8.0e9, weights_gb=4.5, kv_bytes_per_token=65_536.0),
    Model(params=70.6e9, weights_gb=39.7, kv_bytes_per_token=163_840.0),
)
ETA_BANDWIDTH = 0.60  # domain 1c
ETA_COMPUTE = 0.35  # domain 1c


@dataclass(frozen=True)
class Evse:
    """A plug: power at the wall, and its efficiency to the pack at full power (domain 2a)."""

    ac_kw: float
    eta: float

    @property
    def dc_kw(self) -> float:
        """Power into the car behind the on-board charger [kW]."""
        return self.ac_kw * self.eta


EVSE = {
    EVSE_NONE: Evse(
        0.0, 0.88
    ),  # eta: domain 2a, grid to battery; prices the gap of a car without plug
    EVSE_L1: Evse(1.44, 0.87),
    EVSE_L2_7: Evse(7.7, 0.92),
    EVSE_L2_11: Evse(11.5, 0.92),
}
# efficiency of the on-board charger against its DC power (domain 2a)
CHARGER_DC_KW = (0.2, 0.5, 1.0, 1.4, 3.3, 7.7)
CHARGER_ETA = (0.70, 0.80, 0.85, 0.87, 0.90, 0.92)

PUBLIC_ETA = 0.92
PUBLIC_TO_SOC = 0.60
PUBLIC_BELOW_SOC = 0.05

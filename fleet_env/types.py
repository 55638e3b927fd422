"""The data that kernels read and write: constants, state and flows as structs of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]
KeyArray = NDArray[np.uint64]

# places of a car
HOME, WORK, OTHER, DRIVING = 0, 1, 2, 3
# links at a place
LINK_NONE, LINK_WIFI, LINK_CELLULAR = 0, 1, 2
# rows of the EVSE table
EVSE_NONE, EVSE_L1, EVSE_L2_7, EVSE_L2_11 = 0, 1, 2, 3
# faults of telemetry in a stay
FAULT_NONE, FAULT_SILENT, FAULT_STUCK = 0, 1, 2
# chemistries
LFP, NCA = 0, 1
# demand classes and model tiers
CHAT_8B, CHAT_70B, BATCH_70B = 0, 1, 2
CLASSES = ("chat_8b", "chat_70b", "batch_70b")
TIER_8B, TIER_70B = 0, 1
TIERS = ("8b", "70b")
CLASS_TIER = (TIER_8B, TIER_70B, TIER_70B)


@dataclass(frozen=True, slots=True)
class FleetParams:
    """What a car is: constant through an episode, flat arrays of shape (num_envs * num_cars,)."""

    pack_kwh: FloatArray
    chemistry: IntArray  # uint8, LFP or NCA
    accelerator: IntArray  # uint8, row of the accelerator table in use
    home_evse: IntArray  # uint8, EVSE_*
    work_evse: IntArray  # uint8, EVSE_*; EVSE_NONE for cars without
    home_link: IntArray  # uint8, LINK_*
    work_link: IntArray  # uint8, LINK_*
    down_mbps: FloatArray  # at the car, at home
    up_mbps: FloatArray  # at the car, at home
    closed_garage: BoolArray
    unplugged_ok: BoolArray  # the owner allows compute from the pack while unplugged
    worker: BoolArray
    habit: FloatArray  # 0..1, rank of the owner's plug-in habit
    drive: FloatArray  # factor on trip distances
    charge_limit: FloatArray  # soc
    target_soc: FloatArray
    reserve_soc: FloatArray
    enrolled: BoolArray  # the owner takes part
    quiet: BoolArray  # the owner forbids compute in quiet hours
    cal_gain: FloatArray  # p q^((p-1)/p) of the calendar law at the car's own age
    cyc_gain: FloatArray  # the same of the cycle law


@dataclass(frozen=True, slots=True)
class FleetState:
    """What changes while an episode runs, flat arrays of shape (num_envs * num_cars,).

    `frozen` fixes which arrays belong to the state; the kernels rewrite their contents in place.
    The upper
    group is the tape: it follows the twin and is the same under every policy.
    """

    # the tape (hidden unless said)
    place: IntArray  # uint8, HOME .. DRIVING; visible
    plugged: BoolArray  # visible
    # time of the next departure (parked) or arrival (driving) [h since episode start]
    event_h: FloatArray
    event_no: IntArray  # uint32, arrivals so far: the count of the next draw
    parked_h: FloatArray  # time of the last arrival [h], may be negative; visible
    stated_h: FloatArray  # stated departure [h]; visible
    # time at which the owner calls the car back for the rest of the stay [h], inf if never
    snooze_h: FloatArray
    next_place: IntArray  # uint8, where the next trip goes
    trip_kwh: FloatArray  # energy of the next trip
    trip_h: FloatArray  # duration of the next trip
    twin_ref: FloatArray  # soc of the twin at ref_h
    ref_h: FloatArray  # time of the last event [h]
    dark: BoolArray  # at home without power: as if unplugged
    fault: IntArray  # uint8, FAULT_*: how the telemetry of this stay fails
    # what compute changes
    gap: FloatArray  # soc of the twin minus soc of the car
    excess_k: FloatArray  # pack temperature above the twin's [K]
    anchor: FloatArray  # soc at the last reversal
    falling: BoolArray  # direction since then
    duty: BoolArray  # on duty in the step just played
    ready_min: FloatArray  # minutes until ready
    tail_min: FloatArray  # minutes of awake tail left after switch-off
    weights_gb: FloatArray  # still to download
    duty_h: FloatArray  # hours on duty so far in the episode, kept where owners cap them
    left: BoolArray  # the owner has dropped out
    resident: IntArray  # uint8, bit mask of tiers in memory (1 << tier), valid while awake

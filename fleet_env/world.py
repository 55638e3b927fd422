"""What the kernels touch: constants, state, and what is derived from both at events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.config import EnvConfig
from fleet_env.dynamics.duty import cold_start_min
from fleet_env.dynamics.energy import EvseTable
from fleet_env.dynamics.localtime import LocalTime
from fleet_env.dynamics.serving_setup import ServingSetup
from fleet_env.metrics import REFUSALS
from fleet_env.regions import num_neighbourhoods, num_regions, region_of_cars
from fleet_env.types import (
    DRIVING,
    HOME,
    LINK_CELLULAR,
    LINK_NONE,
    LINK_WIFI,
    OTHER,
    TIERS,
    BoolArray,
    FleetParams,
    FleetState,
    FloatArray,
    IntArray,
)
from fleet_env.units import S_PER_MIN, W_PER_KW

EXCESS_ZERO_K = 0.05  # a smaller excess of pack temperature is let go
NUM_RESIDENT = 1 << len(TIERS)  # sets of tiers in memory
# code of a car that may compute, then the codes of the reasons against it
ALLOWED = 0
(
    AWAY,
    UNPLUGGED,
    NO_LINK,
    OPTED_OUT,
    MEMORY,
    SILENT,
    CAPPED,
    QUIET,
    SNOOZED,
    RESERVE,
    HOT,
) = range(1, len(REFUSALS) + 1)


@dataclass(frozen=True, slots=True)
class Derived:
    """Flat arrays that follow from constants and state and change at events only."""

    row: IntArray  # row of the batch
    area: IntArray  # region of a row: row * number of regions + region
    neighbourhood: IntArray  # int32, homes on one transformer, numbered through the batch
    hours: IntArray  # int32, whose hours are closed alike: area * 2 + quiet owner
    home: BoolArray  # stands at home
    home_link: BoolArray  # uses the link of its home
    garage: BoolArray  # stands in a closed garage now
    air: IntArray  # whose air it breathes: (area, accelerator, closed garage)
    fits: BoolArray  # the accelerator holds at least one tier
    load_min: FloatArray  # flash to memory of a cold start [min]
    cold_min: FloatArray  # whole cold start, what is left to download included [min]
    eta_nominal: FloatArray  # efficiency at which a charge gap is booked
    evse: IntArray  # uint8, EVSE row in use, EVSE_NONE unplugged or without power
    reason: IntArray  # uint8, why this stay allows no compute, 0 if it does
    cellular: BoolArray  # the link in use is cellular
    twin_rate: FloatArray  # soc of the twin per hour
    twin_cap: FloatArray  # soc at which the twin stops charging
    live: BoolArray  # needs care in the next step although not put on duty


@dataclass(frozen=True, slots=True)
class AreaInputs:
    """What every car of an area shares in a step, shape (areas,) unless said."""

    t_h: float
    dt_h: float
    local: LocalTime
    price: FloatArray  # [USD/kWh]
    ref_price: FloatArray
    refill_price: FloatArray
    cheap: BoolArray
    cheap_cum: FloatArray  # (areas, n) cheap hours before each step
    cheap_from: int  # column of `cheap_cum` at the end of this step
    ambient_c: FloatArray
    pack_c: FloatArray  # pack temperature of the twins
    carbon_kg_per_kwh: FloatArray
    mean_carbon_kg_per_kwh: FloatArray  # of the first day, at which owed charge is booked
    wear_usd: FloatArray  # per unit of fade and kWh of pack
    shortfall_usd: FloatArray  # per shortfall
    margin_h: FloatArray  # cheap hours that the energy manager keeps to spare
    quiet: BoolArray | None  # quiet hours, where noise costs anything
    dark: BoolArray | None  # (neighbourhoods,) no power at home in this step; None: nowhere


@dataclass(frozen=True, slots=True)
class Gates:
    """What keeps cars off duty at the start of a step besides their stay; None: nothing does."""

    hot: BoolArray | None = None  # by `Derived.air`: too hot to compute
    closed: BoolArray | None = None  # by `Derived.hours`: not at this hour
    cut: BoolArray | None = None  # by car: its link is down
    cap_h: float = np.inf  # hours on duty that an owner allows in the episode


@dataclass(frozen=True, slots=True)
class World:
    """One batch of fleets."""

    config: EnvConfig
    setup: ServingSetup
    evse_table: EvseTable
    group_of: IntArray  # (num_accelerators * NUM_RESIDENT,) group by accelerator and resident tiers
    params: FleetParams
    state: FleetState
    derived: Derived
    car_usd: FloatArray | None  # (num_envs * num_cars,) reward of the step by car, if wanted

    def charge(self, cars: IntArray, cost_usd: FloatArray) -> None:
        """Book a cost of the step on the cars that cause it; each car once per call."""
        if self.car_usd is not None:
            self.car_usd[cars] -= cost_usd

    def twin_soc(
        self, cars: IntArray | slice, t_h: FloatArray | float, out: FloatArray | None = None
    ) -> FloatArray:
        """Soc of the twins at a time: the closed form between events (docs/model.md 1).

        `t_h` broadcasts against the cars: shape (k, n) asks for k times of n cars.
        """
        state, derived = self.state, self.derived
        ref_h, rate, ref, cap = (
            field[cars] if isinstance(cars, slice) else field.take(cars)
            for field in (state.ref_h, derived.twin_rate, state.twin_ref, derived.twin_cap)
        )
        soc: FloatArray = np.subtract(t_h, ref_h, out=out)
        soc *= rate
        soc += ref
        np.minimum(soc, cap, out=soc)
        return np.maximum(soc, 0.0, out=soc)

    def refresh(self, cars: IntArray) -> None:
        """Bring the derived arrays of cars up to date after their events."""
        params, state, derived = self.params, self.state, self.derived
        place = state.place.take(cars)
        plugged = state.plugged.take(cars) & ~state.dark.take(cars)
        home, driving = place == HOME, place == DRIVING
        evse = np.where(home, params.home_evse.take(cars), params.work_evse.take(cars))
        evse *= plugged
        derived.evse[cars] = evse
        standby_kw = np.float32(self.config.fleet.standby_w / W_PER_KW)
        rate = self.evse_table.dc_kw.take(evse)
        rate -= standby_kw * ~(plugged | driving)
        rate /= params.pack_kwh.take(cars)
        derived.twin_rate[cars] = rate
        limit = np.maximum(params.charge_limit.take(cars), state.twin_ref.take(cars))
        derived.twin_cap[cars] = np.where(plugged, limit, np.float32(1.0))
        link = np.where(home, params.home_link.take(cars), params.work_link.take(cars))
        derived.cellular[cars] = link == LINK_CELLULAR
        derived.home[cars] = home
        derived.home_link[cars] = home & (link == LINK_WIFI)
        derived.reason[cars] = self._reason(cars, place, plugged, link)
        garage = home & params.closed_garage.take(cars)
        derived.air[cars] += garage.view(np.int8) - derived.garage.take(cars).view(np.int8)
        derived.garage[cars] = garage
        live = plugged & (state.gap.take(cars) != 0)
        live |= state.tail_min.take(cars) > 0
        live |= state.excess_k.take(cars) > EXCESS_ZERO_K
        derived.live[cars] = live

    def set_dark(self, cars: IntArray, dark: BoolArray, t_h: float) -> None:
        """Cut or restore the power at the homes of parked cars; plugged twins go on from here."""
        state = self.state
        state.dark[cars] = dark
        cars = cars[state.plugged[cars]]
        state.twin_ref[cars] = self.twin_soc(cars, t_h)
        state.ref_h[cars] = t_h
        state.anchor[cars] = state.twin_ref[cars] - state.gap[cars]  # as the twin's cycle
        state.falling[cars] = False
        self.refresh(cars)

    def release(self, cars: IntArray) -> IntArray:
        """Make all weights of some cars outdated; return those on duty that were serving.

        A car on duty goes on as one that is waking: it downloads and loads, and serves nothing
        until then. A car in its tail loses what it had in memory.
        """
        state, flash_gb = self.state, self.setup.flash_gb.astype(np.float32)
        state.weights_gb[cars] = flash_gb[self.params.accelerator[cars]]
        self.refresh_cold(cars)
        on = state.duty[cars]
        served = cars[on & (state.ready_min[cars] <= 0)]
        wake_min = np.float32(self.config.serving.wake_min)
        state.ready_min[cars] = np.where(on, self.derived.cold_min[cars] - wake_min, 0.0)
        state.tail_min[cars] = 0.0
        self.refresh(cars)
        return served

    def refresh_cold(self, cars: IntArray | slice) -> None:
        """Bring the time of a cold start up to date with what cars have left to download."""
        self.derived.cold_min[cars] = cold_start_min(
            self.state.weights_gb[cars],
            self.params.down_mbps[cars],
            self.derived.load_min[cars],
            self.config.serving.wake_min,
        )

    @property
    def has_choice(self) -> BoolArray:
        """Accelerators with such a choice, shape (num_accelerators,)."""
        groups: IntArray = np.bincount(self.setup.group_accelerator)
        return groups > 1

    def load_min_of(self, chip: IntArray, resident: IntArray) -> FloatArray:
        """Minutes from flash to memory of a set of tiers on an accelerator."""
        group = self.group_of.take(chip.astype(np.intp) * NUM_RESIDENT + resident)
        return _load_min(self.setup, self.config).take(group)

    def load_models(self, cars: IntArray, resident: IntArray) -> None:
        """Note the tiers that cars hold from now on."""
        self.state.resident[cars] = resident
        chip = self.params.accelerator.take(cars)
        self.derived.load_min[cars] = self.load_min_of(chip, resident)
        self.refresh_cold(cars)

    def group(self, cars: IntArray) -> IntArray:
        """Group of each car: its accelerator and the tiers in its memory."""
        chip = self.params.accelerator.take(cars)
        if not self.setup.places_models:
            return chip
        return self.group_of.take(
            chip.astype(np.intp) * NUM_RESIDENT + self.state.resident.take(cars)
        )

    def _reason(
        self, cars: IntArray, place: IntArray, plugged: BoolArray, link: IntArray
    ) -> IntArray:
        """First reason against compute that holds for the whole stay (docs/model.md 2.1)."""
        reason = np.where(self.derived.fits[cars], ALLOWED, MEMORY).astype(np.uint8)
        np.putmask(reason, ~self.params.enrolled[cars] | self.state.left[cars], OPTED_OUT)
        stranded = (self.state.weights_gb[cars] > 0) & (place != HOME)  # weights come at home only
        np.putmask(reason, (link == LINK_NONE) | stranded, NO_LINK)
        np.putmask(reason, ~(plugged | self.params.unplugged_ok[cars]), UNPLUGGED)
        np.putmask(reason, place >= OTHER, AWAY)
        return reason


def build_world(
    config: EnvConfig,
    setup: ServingSetup,
    evse_table: EvseTable,
    params: FleetParams,
    state: FleetState,
    num_envs: int,
    *,
    car_reward: bool,
) -> World:
    """Put a world together at the start of an episode and derive what follows from it."""
    num = num_envs * config.num_cars
    first = np.searchsorted(setup.group_accelerator, np.arange(len(setup.accelerators)))
    first = np.minimum(first, setup.num_groups - 1)  # an accelerator that fits no tier has no group
    load_min = _load_min(setup, config)[first]
    state.resident[:] = setup.group_resident[first][params.accelerator]
    row = np.repeat(np.arange(num_envs), config.num_cars)
    area = row
    if num_regions(config) > 1:
        area = row * num_regions(config) + np.tile(region_of_cars(config), num_envs)
    homes = np.arange(config.num_cars, dtype=np.int32) // np.int32(config.feeder.homes)
    first_home = np.arange(num_envs, dtype=np.int32) * np.int32(num_neighbourhoods(config))
    derived = Derived(
        row=row,
        area=area,
        neighbourhood=(first_home[:, None] + homes).ravel(),
        hours=(area * 2 + params.quiet).astype(np.int32),
        home=np.zeros(num, np.bool_),
        home_link=np.zeros(num, np.bool_),
        garage=np.zeros(num, np.bool_),
        air=np.zeros(num, np.intp),
        fits=setup.fits[params.accelerator],
        load_min=load_min[params.accelerator],
        cold_min=np.zeros(num, np.float32),
        eta_nominal=evse_table.eta[params.home_evse],
        evse=np.zeros(num, np.uint8),
        reason=np.zeros(num, np.uint8),
        cellular=np.zeros(num, np.bool_),
        twin_rate=np.zeros(num, np.float32),
        twin_cap=np.zeros(num, np.float32),
        live=np.zeros(num, np.bool_),
    )
    derived.air[:] = (area * len(setup.accelerators) + params.accelerator) * 2
    group_of = np.zeros((len(setup.accelerators), NUM_RESIDENT), np.uint8)
    group_of[setup.group_accelerator, setup.group_resident] = np.arange(setup.num_groups)
    car_usd = np.zeros(num, np.float64) if car_reward else None
    world = World(
        config, setup, evse_table, group_of.ravel(), params, state, derived, car_usd=car_usd
    )
    world.refresh(np.arange(num))
    world.refresh_cold(slice(None))
    return world


def _load_min(setup: ServingSetup, config: EnvConfig) -> FloatArray:
    """Minutes from flash to memory of the tiers of each group."""
    minutes = setup.weights_gb / (config.serving.flash_gb_per_s * S_PER_MIN)
    return minutes.astype(np.float32)

"""What each step of an episode brings to every row, laid out by step: worked out once, at reset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleet_env.config import EnvConfig
from fleet_env.config_world import OwnersConfig
from fleet_env.dynamics import thermal
from fleet_env.dynamics.energy import FULL_LOAD_EFFICIENCY, bus_power_kw, full_load_heat_w, wall_kw
from fleet_env.dynamics.owners import closed_hours, in_window
from fleet_env.dynamics.roofline import Accelerator
from fleet_env.generators.exogenous import Exogenous
from fleet_env.generators.grid import reference_price
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.units import G_PER_KG

GARAGES = np.array([False, True])  # last axis of what depends on the air: outdoors, closed garage
MILD_C = 20.0  # ambient at which the powers of a car are quoted to the dispatcher


@dataclass(frozen=True, slots=True)
class Chips:
    """Power of the accelerators in use and of the car around them; `areas` may be left out."""

    idle_w: FloatArray  # (areas, num_accelerators, 1)
    busy_w: FloatArray
    heat_w: FloatArray  # of a car at full load, into a closed garage
    overhead_w: FloatArray  # (areas, 1, 1)
    eta_dcdc: float
    cooling: bool
    charger_curve: bool

    @classmethod
    def of(cls, cards: Sequence[EnvConfig], accelerators: list[Accelerator]) -> Chips:
        """Collect the powers of some accelerators, for areas with a card each."""
        serving, cooling = cards[0].serving, cards[0].thermal.cooling
        overhead_w = np.array([[[card.serving.overhead_w]] for card in cards])
        factor = np.array([[[card.serving.chip_w_factor]] for card in cards])
        idle_w = factor * np.array([[chip.idle_w] for chip in accelerators])
        busy_w = factor * np.array([[chip.busy_w] for chip in accelerators])
        heat_w = full_load_heat_w(
            busy_w, overhead_w=overhead_w, eta_dcdc=serving.eta_dcdc, cooling=cooling
        )
        return cls(
            idle_w,
            busy_w,
            heat_w,
            overhead_w,
            serving.eta_dcdc,
            cooling,
            cards[0].energy.charger_curve,
        )

    def bus_kw(self, util: FloatArray, inlet_c: FloatArray, chips: IntArray | slice) -> FloatArray:
        """Power at the DC bus of cars with the accelerators `chips`, shape (..., len(chips), 2)."""
        return bus_power_kw(
            util,
            self.idle_w[:, chips],
            self.busy_w[:, chips],
            inlet_c,
            overhead_w=self.overhead_w,
            eta_dcdc=self.eta_dcdc,
            cooling=self.cooling,
        )

    def wall_kw(self, bus_kw: FloatArray) -> FloatArray:
        """Power at the wall for a power at the DC bus [kW]."""
        return wall_kw(bus_kw) if self.charger_curve else bus_kw / FULL_LOAD_EFFICIENCY

    def quoted_kw(self, util: float) -> FloatArray:
        """Wall power of each accelerator at a utilisation in mild air [kW], of the first area."""
        air_c = np.full(self.idle_w.shape, MILD_C)
        bus_kw = self.bus_kw(np.full_like(air_c, util), air_c, slice(None))
        return self.wall_kw(bus_kw)[0, :, 0]


@dataclass(frozen=True, slots=True)
class Timetable:
    """Arrays by step first; `n` areas, `a` accelerators, `g` groups, 2 airs."""

    price: FloatArray  # (steps, n) [USD/kWh]
    ref_price: FloatArray  # (steps, n)
    refill_price: FloatArray  # (steps, n)
    cheap: BoolArray  # (steps, n)
    ambient_c: FloatArray  # (steps, n)
    carbon_kg_per_kwh: FloatArray  # (steps, n)
    mean_carbon_kg_per_kwh: FloatArray  # (steps, n) of the first 24 h: for owed charge
    inlet_c: FloatArray  # (steps + 1, n, g, 2)
    speed: FloatArray  # (steps + 1, n, a, 2) derating factor
    hot: BoolArray  # (steps + 1, n * a * 2) too hot to compute
    any_hot: BoolArray  # (steps + 1,)
    closed: BoolArray  # (steps + 1, n * 2) owners allow nothing at this hour: by `Derived.hours`
    any_closed: BoolArray  # (steps + 1,)
    quiet: BoolArray  # (steps, n) quiet hours
    awake_kw: FloatArray  # (steps, n * g * 2) at the DC bus without work, float32
    awake_wall_kw: FloatArray  # (steps, n * g * 2) the same behind the on-board charger


def make_timetable(
    config: EnvConfig, exo: Exogenous, chips: Chips, group_chip: IntArray
) -> Timetable:
    """Lay an episode out by step.

    Parameters
    ----------
    chips : Chips
    group_chip : IntArray, shape (num_groups,)
        Accelerator of each group.
    """
    steps = config.num_steps

    def by_step(series: FloatArray) -> FloatArray:
        return np.ascontiguousarray(series[:, :steps].T)

    ambient_c = np.ascontiguousarray(exo.ambient_c[:, : steps + 1].T)[:, :, None, None]
    air_c = thermal.inlet_c(ambient_c, chips.heat_w, GARAGES, config.thermal)
    mean_carbon = reference_price(exo.carbon_g_per_kwh, steps, config.dt_h)
    hot = (air_c >= config.thermal.off_from_c).reshape(steps + 1, -1)
    inlet_c = air_c[:, :, group_chip]
    closed, quiet = _closed_hours(config.owners, exo.local_hour[:, : steps + 1].T)
    awake_kw = chips.bus_kw(np.zeros_like(inlet_c[:steps]), inlet_c[:steps], group_chip)
    return Timetable(
        price=by_step(exo.price_usd_per_kwh),
        ref_price=by_step(exo.ref_price_usd_per_kwh),
        refill_price=by_step(exo.threshold_usd_per_kwh),
        cheap=np.ascontiguousarray(exo.cheap[:, :steps].T),
        ambient_c=by_step(exo.ambient_c),
        carbon_kg_per_kwh=by_step(exo.carbon_g_per_kwh) / np.float32(G_PER_KG),
        mean_carbon_kg_per_kwh=by_step(mean_carbon) / np.float32(G_PER_KG),
        inlet_c=inlet_c,
        speed=thermal.derate(air_c, config.thermal),
        hot=hot,
        any_hot=np.logical_or.reduce(hot, axis=1),
        closed=closed,
        any_closed=np.logical_or.reduce(closed, axis=1),
        quiet=quiet[:steps],
        awake_kw=awake_kw.reshape(steps, -1).astype(np.float32),
        awake_wall_kw=chips.wall_kw(awake_kw).reshape(steps, -1).astype(np.float32),
    )


def _closed_hours(owners: OwnersConfig, local_hour: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Hours in which owners allow nothing, (k, n * 2) with quiet owners last; and quiet hours."""
    never = closed_hours(local_hour, owners.allowed_from_h, owners.allowed_to_h)
    quiet = in_window(local_hour, owners.quiet_from_h, owners.quiet_to_h)
    closed = np.stack([never, never | quiet], axis=2)
    return closed.reshape(len(local_hour), -1), quiet

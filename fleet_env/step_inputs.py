"""What a step brings to the cars of every area: outside world and power, for `settle`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleet_env import rewards
from fleet_env.config import EnvConfig
from fleet_env.generators.exogenous import Exogenous
from fleet_env.regions import num_regions
from fleet_env.settle import PowerTable
from fleet_env.timetable import Chips, Timetable
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.world import AreaInputs


@dataclass(frozen=True, slots=True)
class AreaSettings:
    """Settings that a card may draw by row (`randomise`), by area, shape (areas,), float64."""

    throughput_factor: FloatArray
    wear_usd: FloatArray  # per unit of fade and kWh of pack
    shortfall_usd: FloatArray  # per shortfall

    @classmethod
    def of(cls, cards: Sequence[EnvConfig]) -> AreaSettings:
        """Read them from the card of every area."""
        return cls(
            np.array([card.serving.throughput_factor for card in cards]),
            np.array([rewards.wear_usd_per_fade_kwh(card.reward) for card in cards]),
            np.array([card.reward.shortfall_usd for card in cards]),
        )


def area_inputs(
    config: EnvConfig,
    table: Timetable,
    exo: Exogenous,
    step: int,
    *,
    pack_c: FloatArray,
    settings: AreaSettings,
    margin_h: FloatArray,
    dark: BoolArray | None,
) -> AreaInputs:
    """Collect what every car of an area shares in a step; arrays as in `AreaInputs`.

    `margin_h` is by row, shape (num_envs,): the energy managers of its regions keep the same.
    """
    cheap_cum, cheap_from = exo.cheap_ahead(step)
    return AreaInputs(
        t_h=step * config.dt_h,
        dt_h=config.dt_h,
        local=exo.local,
        price=table.price[step],
        ref_price=table.ref_price[step],
        refill_price=table.refill_price[step],
        cheap=table.cheap[step],
        cheap_cum=cheap_cum,
        cheap_from=cheap_from,
        ambient_c=table.ambient_c[step],
        pack_c=pack_c,
        carbon_kg_per_kwh=table.carbon_kg_per_kwh[step],
        mean_carbon_kg_per_kwh=table.mean_carbon_kg_per_kwh[step],
        wear_usd=settings.wear_usd,
        shortfall_usd=settings.shortfall_usd,
        margin_h=margin_h.repeat(num_regions(config)),
        quiet=table.quiet[step] if config.reward.noise_usd_per_quiet_h > 0 else None,
        dark=dark,
    )


def power_table(
    chips: Chips, table: Timetable, step: int, util: FloatArray, group_chip: IntArray
) -> PowerTable:
    """Work out the power of a car awake and serving, by area, group and air; slowed by heat.

    Parameters
    ----------
    util : FloatArray, shape (num_envs, R, num_groups)
        Busy share of the serving cars.
    group_chip : IntArray, shape (num_groups,)
        Accelerator of each group.
    """
    busy = util.reshape(-1, len(group_chip), 1) * table.speed[step][:, group_chip]
    serve_kw = chips.bus_kw(busy, table.inlet_c[step], group_chip).ravel()
    return PowerTable(
        table.awake_kw[step],
        serve_kw.astype(np.float32),
        table.awake_wall_kw[step],
        chips.wall_kw(serve_kw).astype(np.float32),
    )

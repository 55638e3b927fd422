"""What the service transformers of a batch leave to compute, step by step (docs/model.md 5.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fleet_env.blocks import Block, for_each
from fleet_env.dynamics import feeder
from fleet_env.generators.homes import draw_levels
from fleet_env.regions import num_neighbourhoods, num_regions, region_edges
from fleet_env.types import FloatArray, KeyArray
from fleet_env.world import World


class Transformers:
    """One transformer for the homes of every neighbourhood, through an episode.

    Parameters
    ----------
    world : World
    key : KeyArray, shape (num_envs,)
        Scenario keys.
    home_load : FloatArray, shape (areas, n)
        Load of a home without its car in every step, 1 at its peak.

    Attributes
    ----------
    headroom_kwh : FloatArray, shape (neighbourhoods,)
        What homes and charging leave to compute in the step, < 0 where they ask for more alone.
    """

    def __init__(self, world: World, key: KeyArray, home_load: FloatArray) -> None:
        config = world.config
        self._world, self._home_load, self._rows = world, home_load, len(key)
        self._level = draw_levels(key, num_neighbourhoods(config))
        self._meter_kwh = world.params.pack_kwh / world.derived.eta_nominal
        region = np.repeat(np.arange(num_regions(config)), np.diff(region_edges(config)))
        self._area = (np.arange(len(key))[:, None] * num_regions(config) + region).ravel()
        feeder_config = config.feeder
        all_kwh = feeder_config.usable_share * feeder_config.kva * config.dt_h
        self.headroom_kwh: FloatArray = np.full(len(self._area), all_kwh)  # nothing known yet

    def advance(self, step: int, blocks: Sequence[Block]) -> None:
        """Work out the headroom of a step from what is known at its start."""
        config = self._world.config
        twins_kwh = np.concatenate(for_each(blocks, lambda block: self._charging(block, step)))
        base_kw = feeder.base_load_kw(
            config.feeder, self._home_load[:, step], self._level, self._area
        )
        self.headroom_kwh = feeder.headroom_kwh(config.feeder, base_kw, twins_kwh, config.dt_h)

    @property
    def over_h(self) -> FloatArray:
        """Transformer-hours above the cap without compute, shape (num_envs,)."""
        over: FloatArray = (self.headroom_kwh < 0).reshape(self._rows, -1).sum(axis=1)
        return over * self._world.config.dt_h

    @property
    def headroom_kw(self) -> FloatArray:
        """Mean power left to compute, shape (neighbourhoods,)."""
        return np.maximum(self.headroom_kwh, 0.0) / self._world.config.dt_h

    def _charging(self, block: Block, step: int) -> FloatArray:
        cars, world = slice(block.lo, block.hi), self._world
        state, derived, config = world.state, world.derived, world.config
        twins = feeder.Twins(
            ref_h=state.ref_h[cars],
            ref_soc=state.twin_ref[cars],
            rate=derived.twin_rate[cars],
            cap=derived.twin_cap[cars],
            event_h=state.event_h[cars],
            at_home=derived.home[cars],
            meter_kwh=self._meter_kwh[cars],
        )
        return feeder.charging_kwh(
            twins,
            step * config.dt_h,
            config.dt_h,
            num_rows=block.num_rows,
            homes=config.feeder.homes,
        )

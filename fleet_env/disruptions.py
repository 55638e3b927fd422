"""What breaks, returns or closes at the start of a step: power, links, weights, hours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleet_env.generators.outages import Outages, StepOutages
from fleet_env.timetable import Timetable
from fleet_env.types import BoolArray, IntArray
from fleet_env.units import DAYS_PER_MONTH
from fleet_env.world import Gates, World

_NOBODY = np.zeros(0, np.intp)


@dataclass(frozen=True, slots=True)
class Opening:
    """How a step begins."""

    outages: StepOutages
    gates: Gates
    switched: IntArray  # cars parked at homes whose power went or came back
    outdated: IntArray  # cars whose weights a release made outdated
    restarted: BoolArray | None  # flags those of them that were serving; None: no release


def open_step(world: World, table: Timetable, outages: Outages, step: int) -> Opening:
    """Let everything happen that happens at the start of a step, and find the gates of the step."""
    out = outages.at(step) or StepOutages()
    switched: IntArray = _NOBODY
    if outages.dark_changes(step):
        switched = _switch_power(world, out.dark, step * world.config.dt_h)
    outdated, restarted = _release(world, outages.releases(step))
    return Opening(out, _gates(world, table, out, step), switched, outdated, restarted)


def _switch_power(world: World, dark: BoolArray | None, t_h: float) -> IntArray:
    """Cut or restore the power of the homes that cars are parked at; return these cars."""
    now = np.zeros(world.derived.home.shape, np.bool_)
    if dark is not None:
        np.logical_and(world.derived.home, dark.take(world.derived.neighbourhood), out=now)
    cars: IntArray = (now != world.state.dark).nonzero()[0]
    world.set_dark(cars, now[cars], t_h)
    return cars


def _release(world: World, areas: IntArray) -> tuple[IntArray, BoolArray | None]:
    """Make the weights of some areas outdated: their cars, and which of them were serving."""
    if not areas.size:
        return _NOBODY, None
    cars = np.isin(world.derived.area, areas).nonzero()[0]
    restarted = np.zeros(world.state.duty.shape, np.bool_)
    restarted[world.release(cars)] = True
    return cars, restarted


def _gates(world: World, table: Timetable, out: StepOutages, step: int) -> Gates:
    config = world.config
    cap_h = config.owners.cap_h_per_month * config.days / DAYS_PER_MONTH
    return Gates(
        hot=table.hot[step] if table.any_hot[step] else None,
        closed=table.closed[step] if table.any_closed[step] else None,
        cut=cut_off(world, out),
        cap_h=cap_h or np.inf,
    )


def cut_off(world: World, out: StepOutages) -> BoolArray | None:
    """Cars whose link is down where `world` has them, the true one or a told one; None: none."""
    derived, cut = world.derived, None
    if out.home_down is not None:
        cut = out.home_down.take(derived.neighbourhood)
        cut &= derived.home_link
    if out.down is not None:
        down = out.down.take(derived.neighbourhood)
        cut = down if cut is None else cut | down
    return cut

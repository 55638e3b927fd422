"""Draws a fleet: every car by charge and stated stay, and demand against supply over the day."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fleet_env.regions import num_regions
from fleet_env.world import ALLOWED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fleet_env.sim import FleetSim

MAX_DOTS = 4000  # cars drawn; a larger fleet is thinned evenly
SIZE_IN, DPI = (9.6, 4.8), 100
# status -> colour-blind safe colour (Okabe and Ito 2008); later ones are drawn over earlier ones
STATUS = {
    "away or unplugged": "#bbbbbb",
    "plugged, may not compute": "#e69f00",
    "available": "#56b4e9",
    "waking": "#cc79a7",
    "serving": "#009e73",
}


def car_status(sim: FleetSim, row: int) -> NDArray[np.uint8]:
    """Index into `STATUS` of every car of a row, shape (num_cars,)."""
    num_cars = sim.config.num_cars
    cars = slice(row * num_cars, (row + 1) * num_cars)
    state, derived = sim.world.state, sim.world.derived
    status = state.plugged[cars].astype(np.uint8)
    status[sim.mask[cars]] = 2
    on = state.duty[cars]
    status[on] = np.where(state.ready_min[cars][on] > 0, 3, 4)
    status[(derived.reason[cars] != ALLOWED) & (status >= 2)] = 1
    return status


def draw_fleet(sim: FleetSim, row: int) -> NDArray[np.uint8]:
    """Draw one row of a batch, shape (height, width, 3), uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    plot_cars(left, sim, row)
    plot_day(right, sim, row)
    area = row * num_regions(sim.config)  # the first region
    hour = sim.exo.local_hour[area, min(sim.step_index, sim.config.num_steps - 1)]
    figure.suptitle(
        f"{sim.config.name}, {int(hour):02d}:{int(hour % 1 * 60):02d} local", fontsize=11
    )
    canvas.draw()  # type: ignore[no-untyped-call]
    rgba = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    return np.asarray(rgba)[..., :3].copy()


def plot_cars(ax: Axes, sim: FleetSim, row: int) -> Axes:
    """Scatter cars over stated stay and soc, coloured by status; cars on the road stand at 0 h."""
    num_cars = sim.config.num_cars
    cars = np.arange(row * num_cars, (row + 1) * num_cars)[:: max(1, num_cars // MAX_DOTS)]
    stay_h = np.clip(sim.world.state.stated_h[cars] - sim.t_h, 0.0, 24.0)
    soc = sim.soc[cars]
    status = car_status(sim, row)[cars - row * num_cars]
    for code, (label, colour) in enumerate(STATUS.items()):
        mine = status == code
        name = f"{label} ({int(mine.sum())})"
        ax.scatter(
            stay_h[mine], soc[mine], s=9, color=colour, label=name, linewidths=0, zorder=2 + code
        )
    ax.axhline(sim.config.fleet.reserve_soc, color="0.5", lw=0.8, ls=":")
    ax.set(
        xlim=(-0.5, 24.5), ylim=(0, 1.02), xlabel="stated stay [h]", ylabel="state of charge [1]"
    )
    ax.legend(loc="lower right", fontsize=7, framealpha=0.9)
    return ax


def plot_day(ax: Axes, sim: FleetSim, row: int) -> Axes:
    """Draw demand that may leave the data centre, cars on duty and work done so far, in cars."""
    hours = np.arange(sim.config.num_steps) * sim.config.dt_h
    done = sim.step_index
    area = row * num_regions(sim.config)  # the first region
    history, price = sim.history, sim.exo.price_usd_per_kwh[area, : sim.config.num_steps]
    demand, duty, busy = history.demand[row], history.duty[row], history.busy[row]
    ax.fill_between(
        hours[:done], busy[:done], color=STATUS["serving"], alpha=0.35, lw=0, label="work done"
    )
    ax.plot(hours[:done], demand[:done], color="k", lw=1.2, label="demand")
    ax.plot(hours[:done], duty[:done], color=STATUS["available"], lw=1.2, label="on duty")
    ax.set(xlim=(0, hours[-1] + sim.config.dt_h), xlabel="hours since start", ylabel="cars")
    ax.set_ylim(bottom=0)
    twin = ax.twinx()
    twin.step(hours, price, where="post", color="0.6", lw=0.9)
    twin.set(ylabel="price [USD/kWh]", ylim=(0, max(0.1, 1.3 * float(price.max()))))
    ax.legend(loc="upper left", fontsize=7)
    return ax

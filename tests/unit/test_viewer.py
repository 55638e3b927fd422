"""Pictures of a fleet."""

from __future__ import annotations

import matplotlib.figure
import numpy as np

from fleet_env.env import FleetEnv
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.viewer import MAX_DOTS, STATUS, car_status, plot_cars, plot_day


def test_pictures_are_rgb_and_change_over_time() -> None:
    env = FleetEnv(num_cars=30, step_min=60, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(np.ones(30))
    after = env.render()
    assert (before.shape, before.dtype) == ((480, 960, 3), np.uint8)
    assert after.shape == before.shape
    assert (before != after).any()
    np.testing.assert_array_equal(after, env.render())
    assert before.std() > 0


def test_a_batch_gives_one_picture_per_row() -> None:
    env = FleetVectorEnv(num_envs=2, num_cars=10, step_min=60, render_mode="rgb_array")
    env.reset(seed=0)
    pictures = env.render()
    assert len(pictures) == 2
    assert (pictures[0] != pictures[1]).any()


def test_pictures_can_be_drawn_at_the_horizon_and_leave_the_day_alone() -> None:
    env, same = (FleetEnv(num_cars=10, step_min=60) for _ in range(2))
    env.reset(seed=3)
    same.reset(seed=3)
    for k in range(24):
        if k % 16 == 0:
            env.render()
        assert env.step(np.ones(10))[1] == same.step(np.ones(10))[1]
    assert env.render().shape == (480, 960, 3)


def test_status_of_every_car_is_its_own() -> None:
    env = FleetVectorEnv(num_envs=2, num_cars=40, step_min=15)
    env.reset(seed=1)
    names = list(STATUS)
    seen = set()
    for _ in range(12):
        env.play(env.sim.mask.reshape(2, 40))
        state, mask = env.sim.world.state, env.sim.mask.reshape(2, 40)
        duty, ready = state.duty.reshape(2, 40), state.ready_min.reshape(2, 40)
        plugged = state.plugged.reshape(2, 40)
        for row in range(2):
            status = [names[code] for code in car_status(env.sim, row)]
            seen |= set(status)
            for car, name in enumerate(status):
                if name == "serving":
                    assert duty[row, car]
                    assert ready[row, car] == 0
                elif name == "waking":
                    assert duty[row, car]
                    assert ready[row, car] > 0
                elif name == "available":
                    assert mask[row, car]
                    assert not duty[row, car]
                elif name == "away or unplugged":
                    assert not plugged[row, car]
                    assert not mask[row, car]
                else:
                    assert plugged[row, car]
    assert {"away or unplugged", "serving"} <= seen


def test_axes_carry_units_and_a_thinned_fleet() -> None:
    env = FleetVectorEnv(num_envs=1, num_cars=MAX_DOTS + 100, step_min=60)
    env.reset(seed=0)
    env.play(np.ones((1, MAX_DOTS + 100)))
    left, right = matplotlib.figure.Figure().subplots(1, 2)
    assert plot_cars(left, env.sim, 0) is left
    assert plot_day(right, env.sim, 0) is right
    dots = sum(len(c.get_offsets()) for c in left.collections)
    assert 0 < dots <= MAX_DOTS + 100
    assert "[h]" in left.get_xlabel()
    assert "[1]" in left.get_ylabel()
    assert right.get_ylabel() == "cars"


def test_a_hard_world_can_be_drawn() -> None:
    """Several regions, stale reports, cars that are dark or refused."""
    env = FleetEnv("gauntlet", num_cars=30, step_min=60, render_mode="rgb_array")
    env.reset(seed=0)
    for _ in range(6):
        env.step(np.ones(30))
    assert env.render().shape == (480, 960, 3)


def test_the_clock_and_the_price_of_each_row_are_its_own() -> None:
    """With several regions a row shows its first one, not the area of the same number."""
    regions = {"a": {}, "b": {"time_zone": "Europe/Berlin", "tariff": "flat"}}
    env = FleetVectorEnv(num_envs=2, num_cars=10, step_min=60, regions=regions)
    env.reset(seed=0)
    ax = matplotlib.figure.Figure().subplots()
    plot_day(ax, env.sim, 1)
    (line,) = ax.figure.axes[1].lines
    np.testing.assert_array_equal(line.get_ydata(), env.sim.exo.price_usd_per_kwh[2, :24])

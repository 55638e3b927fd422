"""Requests of a batch: who gets how many, what the greedy loader sees, sums over regions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fleet_env.blocks import split_blocks
from fleet_env.config import DemandConfig, EnvConfig, FleetConfig, ServingConfig
from fleet_env.config_world import RegionConfig
from fleet_env.dynamics.serving_setup import serving_setup
from fleet_env.generators.start import mean_plugged_linked
from fleet_env.service import Service
from fleet_env.types import BATCH_70B, CHAT_8B, CHAT_70B, FloatArray

NUM_CARS = 100
MINUTES = 15
REGIONS = {
    "a": RegionConfig(share=3.0, latitude_deg=0.0, longitude_deg=0.0),
    "b": RegionConfig(share=1.0, latitude_deg=0.0, longitude_deg=90.0),
}


class Steady:
    """An outside world where every minute brings its mean; remembers what it was asked for."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.asked: list[tuple[int, int]] = []

    def requests(self, level: FloatArray, step: int, num_steps: int) -> FloatArray:
        self.asked.append((step, num_steps))
        return np.repeat(level[:, :, None], num_steps * MINUTES, axis=2).astype(np.float32)


def _service(config: EnvConfig, num_envs: int) -> tuple[Service, Steady]:
    service = Service(config, serving_setup(config, list(config.fleet.accelerators)), num_envs)
    exo: Any = Steady(num_envs)
    service.begin(exo, [config] * num_envs)
    return service, exo


def _play(service: Service, config: EnvConfig, cars: FloatArray, step: int = 0) -> None:
    """Play a step with so many cars, shape (num_envs, R, G), that serve all the time."""
    profile = np.repeat(cars[..., None], MINUTES, axis=3).astype(float)
    part: Any = SimpleNamespace(
        profile=profile,
        lost_cars=np.zeros(cars.shape),
        stopped=np.zeros((len(cars), cars.shape[2])),
    )
    service.play(step, split_blocks(len(cars), config.num_cars), [part])


def test_demand_is_shared_out_by_region_and_served_by_row() -> None:
    config = EnvConfig(num_cars=NUM_CARS, regions=REGIONS)
    service, _ = _service(config, 2)
    assert service.region_share == pytest.approx([0.75, 0.25])
    cars = np.array([[[1000.0], [0.0]], [[0.0], [0.0]]])
    _play(service, config, cars)
    arrived = service.requests_per_min * NUM_CARS * MINUTES
    assert service.flows.arrived == pytest.approx(np.tile(arrived, (2, 1)), rel=1e-6)
    assert service.flows.diverted[0].sum() == 0.0
    assert service.flows.dispatched[1].tolist() == [0.0, 0.0, 0.0]
    assert service.util.shape == service.busy_h.shape == (2,)
    # mean work of all demand: half of the linked cars, of which half of the chat must not leave
    busy_cars = 0.5 * mean_plugged_linked(config) * NUM_CARS * (0.5 * 0.7 + 0.3)
    assert service.busy_h == pytest.approx([busy_cars * 0.25, 0.0], rel=1e-6)
    assert service.util == pytest.approx([busy_cars / 1000.0, 0.0], rel=1e-6)


def test_people_far_away_wait_for_the_light() -> None:
    """150 ms to the cars of the other region for a quarter of the people."""
    config = EnvConfig(num_cars=NUM_CARS, regions=REGIONS)
    service, _ = _service(config, 1)
    _play(service, config, np.array([[[1000.0], [0.0]]]))
    away, flows = service.flows.ttft_sum_s[0], service.flows
    _play(service, config, np.array([[[1000.0], [1000.0]]]), step=1)
    home = service.flows.ttft_sum_s[0]
    assert (away - home) / flows.dispatched[0, :2].sum() == pytest.approx(0.25 * 0.150, rel=1e-2)


def test_one_region_is_the_card_itself() -> None:
    plain = EnvConfig(num_cars=NUM_CARS)
    service, exo = _service(plain, 3)
    _play(service, plain, np.full((3, 1, 1), 50.0))
    assert service.region_share.tolist() == [1.0]
    named = EnvConfig(num_cars=NUM_CARS, regions={"only": RegionConfig()})
    other, _ = _service(named, 3)
    _play(other, named, np.full((3, 1, 1), 50.0))
    assert np.array_equal(service.flows.on_time, other.flows.on_time)
    assert exo.asked == [(0, 64)]


def test_fewer_steps_are_drawn_at_once_where_areas_are_many() -> None:
    config = EnvConfig(num_cars=NUM_CARS, regions=REGIONS)
    service, exo = _service(config, 64)
    for step in range(9):
        _play(service, config, np.zeros((64, 2, 1)), step)
    assert exo.asked == [(0, 8), (8, 8)]  # 128 areas x 8 = 1,024


@pytest.mark.parametrize(("trusted", "factor"), [(0.5, 2.0), (0.0, 1.0), (1.0, 0.0)])
def test_all_chat_includes_what_must_not_run_in_cars(trusted: float, factor: float) -> None:
    config = EnvConfig(
        num_cars=NUM_CARS, regions=REGIONS, demand=DemandConfig(trusted_only_share=trusted)
    )
    service, _ = _service(config, 1)
    assert service.chat_all.tolist() == [[0.0, 0.0]]
    _play(service, config, np.full((1, 2, 1), 10.0))
    assert service.chat_all == pytest.approx(factor * service.flows.arrived[:, :BATCH_70B])
    whole, _ = _service(
        EnvConfig(num_cars=NUM_CARS, demand=DemandConfig(trusted_only_share=0.0)), 1
    )
    if trusted < 1.0:
        everything = whole.requests_per_min[:BATCH_70B] * NUM_CARS * MINUTES
        assert service.chat_all[0] == pytest.approx(everything, rel=1e-6)


def test_people_ask_the_same_whether_or_not_cars_save_and_copy_their_work() -> None:
    plain, _ = _service(EnvConfig(num_cars=NUM_CARS), 1)
    serving = ServingConfig(chat_loss="checkpoint", batch_loss="checkpoint", hedge=True)
    careful, _ = _service(EnvConfig(num_cars=NUM_CARS, serving=serving), 1)
    assert careful.requests_per_min == pytest.approx(plain.requests_per_min, rel=1e-12)
    assert (careful.work_car_h > plain.work_car_h).all()


def test_shortage_and_idle_cars_are_summed_over_regions() -> None:
    """At batch 150 an ai5 holds one of its two models: group 0 the 8B, group 1 the 70B."""
    config = EnvConfig(
        num_cars=NUM_CARS,
        regions=REGIONS,
        fleet=FleetConfig(accelerators={"ai5": 1.0}),
        serving=ServingConfig(batch_slots=150),
    )
    service, _ = _service(config, 1)
    _play(service, config, np.array([[[40.0, 0.0], [20.0, 0.0]]]))
    flows = service.flows
    busy = flows.dispatched[0, CHAT_8B] * service.work_car_h[CHAT_8B] / 0.25
    assert service.idle[0] == pytest.approx([60.0 - busy, 0.0], rel=1e-6)
    short = flows.arrived[0, CHAT_70B] * service.work_car_h[CHAT_70B] / 0.25
    waiting = service.queue.batch_due.sum() * service.work_car_h[BATCH_70B] / 4.0
    assert service.short[0] == pytest.approx([0.0, short + waiting], rel=1e-6)
    assert service.flows.util.shape == (1, 2, 2)


def test_batch_work_of_cars_switched_off_in_any_region_comes_back() -> None:
    config = EnvConfig(num_cars=NUM_CARS, regions=REGIONS)
    service, _ = _service(config, 1)
    _play(service, config, np.full((1, 2, 1), 10.0))
    before = service.queue.running[0, BATCH_70B]
    assert before > 0.0
    part: Any = SimpleNamespace(
        profile=np.zeros((1, 2, 1, MINUTES)),
        lost_cars=np.zeros((1, 2, 1)),
        stopped=np.full((1, 1), 5.0),
    )
    service.play(1, split_blocks(1, NUM_CARS), [part])
    assert service.flows.requeued[0] == pytest.approx(before * 5.0 / 20.0)
    assert service.open_requests()[0, BATCH_70B] == pytest.approx(service.queue.batch_due.sum())

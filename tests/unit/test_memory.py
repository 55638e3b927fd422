"""A batch that cannot fit into memory is refused before anything is drawn."""

from __future__ import annotations

import pytest

from fleet_env import memory
from fleet_env.scenarios import scenario
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.views import CarsAsRows


def test_memory_grows_with_cars_and_fleets() -> None:
    config = scenario("suburb", num_cars=1_000_000, observation="fleet")
    assert memory.needed_gb(config, 4) == pytest.approx(4 * 0.26)
    assert memory.needed_gb(scenario("suburb"), 1) == pytest.approx(1200e3 / 1e9)
    assert memory.needed_gb(config, 4, car_reward=True) == pytest.approx(4 * 0.30)
    shown = scenario("suburb", num_cars=1_000_000)
    assert memory.needed_gb(shown, 1, car_reward=True, rows=True) == pytest.approx(3.54)


def test_what_does_not_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_gb", lambda: 13.0)
    with pytest.raises(
        ValueError, match=r"about 26 GB, this machine has 13 GB: .* 50,000,000 cars"
    ):
        FleetVectorEnv("nation")
    with pytest.raises(ValueError, match="or observation='fleet'"):
        FleetVectorEnv("suburb", num_cars=100_000_000)
    assert FleetVectorEnv("nation", num_cars=10).num_envs == 1


def test_what_cars_earn_and_cars_as_rows_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_gb", lambda: 2.42e-6)  # two cars take 2.40 kB
    assert FleetVectorEnv(num_cars=2).num_envs == 1
    with pytest.raises(ValueError, match=r"num_cars=2: 1 such fleets .* at most 1 cars"):
        FleetVectorEnv(num_cars=2, car_reward=True)
    monkeypatch.setattr(memory, "machine_gb", lambda: 7.0e-6)  # they are refused as rows alone
    assert FleetVectorEnv(num_cars=2, car_reward=True).num_envs == 1
    with pytest.raises(ValueError, match=r"num_cars=2: 1 such fleets .* at most 1 cars"):
        CarsAsRows(num_cars=2)


def test_the_machine_says_how_much_it_has() -> None:
    assert memory.machine_gb() > 0.1

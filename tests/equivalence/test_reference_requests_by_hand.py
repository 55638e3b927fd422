"""The reference's waiting and queues against numbers by hand or published (section 2.4)."""

from __future__ import annotations

import math

import pytest

from fleet_env.config import EnvConfig
from tests.reference import pools, queueing, waiting

Played = tuple[queueing.Service, queueing.Queues]

# servers, load per server, P(wait): Erlang's formula
ERLANG_C = [
    (1, 0.80, 0.8000),
    (2, 0.80, 0.7111),
    (10, 0.80, 0.4092),
    (10, 0.90, 0.6687),
    (100, 0.90, 0.2169),
    (100, 0.95, 0.5065),
    (1000, 0.99, 0.6591),
]


@pytest.mark.parametrize(("servers", "rho", "p_wait"), ERLANG_C)
def test_erlang_c(servers: int, rho: float, p_wait: float) -> None:
    assert waiting.erlang_c(servers, servers * rho) == pytest.approx(p_wait, abs=5e-5)


def test_erlang_b_of_a_fraction_of_a_server_lies_between_its_neighbours() -> None:
    assert waiting.erlang_b(1, 0.5) == pytest.approx(1 / 3)
    assert waiting.erlang_b(2, 0.5) < waiting.erlang_b(1.5, 0.5) < waiting.erlang_b(1, 0.5)
    assert waiting.erlang_b(0.0, 0.5) == pytest.approx(1.0)


@pytest.mark.parametrize(("b", "alpha"), [(0.25, 0.7209), (0.5, 0.5045), (1, 0.2234), (2, 0.0269)])
def test_halfin_whitt_limits(b: float, alpha: float) -> None:
    load = 1e4
    assert waiting.halfin_whitt(load + b * math.sqrt(load), load) == pytest.approx(alpha, abs=6e-5)


ONE = EnvConfig(num_cars=1)  # AI5


def serve_alone(chat_8b: float, batch: float, *, cars: int = 1, cut: bool = False) -> Played:
    """Serve so many requests a minute and a step on cars that are there for 7.5 or 15 minutes."""
    member = pools.Member("ai5", 0.0, 7.5 if cut else 15.0, 1.0, cut, stopped=False)
    demand = queueing.Demand((((chat_8b,) * 15, (0.0,) * 15),), (0.0, 0.0, batch))
    queues = queueing.Queues([0.0] * 49, [0.0] * 3)
    return queueing.play(ONE, [member] * cars, queues, demand), queues


def test_light_chat_and_batch_are_all_served() -> None:
    # an AI5 car does 2003.6 / 211 / 1.1 = 8.63 requests of 8B a second, 1.188 of 70B
    service, queues = serve_alone(60.0, 90.0)
    assert service.dispatched == pytest.approx([900.0, 0.0, 90.0])
    assert service.diverted == [0.0, 0.0, 0.0]
    assert service.util[0, "ai5"] == pytest.approx(60.0 / 518.0 + 6.0 / 71.3, rel=1e-3)
    # in flight: one a second for 32 / 8.63 s, 0.1 a second for 32 / 1.188 s
    assert queues.running == pytest.approx([3.707, 0.0, 2.693], rel=1e-3)
    assert service.on_time[2] == pytest.approx(90.0 - queues.running[2])


def test_nobody_serves_without_cars() -> None:
    service, queues = serve_alone(60.0, 90.0, cars=0)
    assert service.diverted == pytest.approx([900.0, 0.0, 0.0])
    assert service.dispatched == [0.0, 0.0, 0.0]
    assert queues.batch_due[47] == 90.0  # 12 h are 48 steps, one has gone


def test_crowded_chat_is_admitted_up_to_one_percent_late() -> None:
    service, _ = serve_alone(1000.0, 0.0)
    assert service.crowded
    assert service.late[0] == pytest.approx(0.01 * service.dispatched[0], rel=1e-6)
    # 32 slots at 6.5158 s and a slack of 1.6564 s: 0.7464 of them may be busy
    assert service.util[0, "ai5"] == pytest.approx(0.7464, abs=1e-4)


def test_batch_beyond_the_room_waits_and_is_due_one_step_sooner() -> None:
    service, queues = serve_alone(0.0, 5000.0)
    assert service.util[0, "ai5"] == pytest.approx(1.0)
    assert service.dispatched[2] == pytest.approx(15 * 71.3, rel=1e-3)
    assert queues.batch_due[47] == pytest.approx(5000.0 - service.dispatched[2])


def test_a_leaving_car_loses_what_its_slots_hold() -> None:
    service, queues = serve_alone(60.0, 0.0, cut=True)
    # 32 slots, busy with 8 minutes' requests of 60 / 518 car-minutes in 7.5 minutes
    assert service.lost[0] == pytest.approx(32 * 8 * 60.0 / 518.0 / 7.5, rel=1e-3)
    assert queues.running[0] == 0.0
    total = service.on_time[0] + service.late[0] + service.lost[0] + service.diverted[0]
    assert total == pytest.approx(900.0)

"""Rules that move batch work to the best hours, by hand on small price curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import agents
from agents.heuristics.carbon_memory import CarbonMemory
from agents.heuristics.windows import cheapest_slots, lowest_run, lowest_slot

RNG = np.random.default_rng(0)
EXACT = {"over_provision": 1.0}
SHAPE = (1, 1000)
# 0.12 due within 1, 4 or 12 h, and so within all longer windows
TWELVE_H = {"batch_due_12h": 0.12}
FOUR_H = {"batch_due_4h": 0.12, **TWELVE_H}
ONE_H = {"batch_due_1h": 0.12, **FOUR_H}


def _prices(*usd_per_kwh: float) -> dict[str, float]:
    """Prices of the hours to come; the last one lasts."""
    series = [*usd_per_kwh, *[usd_per_kwh[-1]] * (24 - len(usd_per_kwh))]
    return {"price": series[0], **{f"price_{h:02d}h": price for h, price in enumerate(series)}}


def _clock(hour: float) -> dict[str, float]:
    angle = 2 * np.pi * hour / 24
    return {"hour_sin": np.sin(angle), "hour_cos": np.cos(angle)}


def _cars(policy: agents.Policy, obs: Any) -> int:
    return int(policy.act(obs, RNG).sum())


@pytest.mark.parametrize(
    ("start", "work_h", "curve", "now"),
    [
        (lowest_slot, 1, [2, 3, 1], False),
        (lowest_slot, 1, [1, 3, 1], True),  # the first of equal hours
        (lowest_run, 2, [2, 2, 1, 4], False),  # 2 and 1 have the mean 1.5
        (lowest_run, 2, [2, 1, 1, 4], False),
        (lowest_run, 2, [2, 1, 3, 1], True),  # 1.5, 2, 2
        (lowest_run, 9, [2, 1, 1, 1], True),  # only one run fits
        (cheapest_slots, 1, [2, 3, 1], False),
        (cheapest_slots, 2, [2, 3, 1], True),
        (cheapest_slots, 2, [2, 1, 1], False),
    ],
)
def test_whether_a_window_starts_now(
    start: Any, work_h: float, curve: list[float], *, now: bool
) -> None:
    high = np.full(len(curve), 9.0)
    hours = np.array([curve, high])  # a flat row beside it always starts
    np.testing.assert_array_equal(start(hours, work_h), [now, True])


# dear now, cheaper after 2 h, cheapest after 6 h; all of it pays
STEPS_DOWN = _prices(0.34, 0.34, 0.32, 0.32, 0.32, 0.32, 0.30)


@pytest.mark.parametrize(
    ("name", "due", "prices", "cars"),
    [
        # what is due within the hour runs: 0.12 in 1 h
        *(
            (name, ONE_H, STEPS_DOWN, 120)
            for name in ("lowest_price", "lowest_window", "wait_awhile")
        ),
        # within 4 h it is cheaper, within 12 h cheaper still
        *(
            (name, FOUR_H, STEPS_DOWN, 0)
            for name in ("lowest_price", "lowest_window", "wait_awhile")
        ),
        *(
            (name, TWELVE_H, STEPS_DOWN, 0)
            for name in ("lowest_price", "lowest_window", "wait_awhile")
        ),
        # now is the lowest hour, but not the lowest 3 in a row
        ("lowest_price", TWELVE_H, _prices(0.30, 0.35, 0.31, 0.31, 0.31, 0.35), 120),
        ("lowest_window", TWELVE_H, _prices(0.30, 0.35, 0.31, 0.31, 0.31, 0.35), 0),
        ("wait_awhile", TWELVE_H, _prices(0.30, 0.35, 0.31, 0.31, 0.31, 0.35), 40),
        # now is third: suspend and resume takes it, in 3 h
        ("lowest_price", TWELVE_H, _prices(0.31, 0.35, 0.30, 0.35, 0.30, 0.35), 0),
        ("wait_awhile", TWELVE_H, _prices(0.31, 0.35, 0.30, 0.35, 0.30, 0.35), 40),
        ("wait_awhile", TWELVE_H, _prices(0.31, 0.35, 0.30, 0.30, 0.30, 0.35), 0),
        # flat: at once
        ("lowest_window", TWELVE_H, _prices(0.30), 40),
    ],
)
def test_batch_goes_to_the_cheapest_hours_before_its_deadline(
    make_obs: Any, name: str, due: dict[str, float], prices: dict[str, float], cars: int
) -> None:
    settings = {} if name == "lowest_price" else {"batch_haste": 4.0}
    policy = agents.make(name, **settings, **EXACT)
    assert _cars(policy, make_obs(fleet=due | prices, shape=SHAPE)) == cars


WINDOWS = ("lowest_price", "lowest_window", "wait_awhile", "lowest_carbon")


@pytest.mark.parametrize("name", WINDOWS)
def test_chat_does_not_wait(make_obs: Any, name: str) -> None:
    chat = {"chat_00h": 0.2, "chat_8b_last": 0.1, "chat_70b_last": 0.1}
    obs = make_obs(fleet=chat | STEPS_DOWN, shape=SHAPE)
    np.testing.assert_array_equal(
        agents.make(name, **EXACT).act(obs, RNG),
        agents.make("cheapest_first", **EXACT).act(obs, RNG),
    )
    assert _cars(agents.make(name, **EXACT), obs) == 200


def _see(memory: CarbonMemory, make_obs: Any, hour: float, carbon: float) -> list[float]:
    return memory.look_ahead(make_obs(fleet={"carbon": carbon, **_clock(hour)}))[0].tolist()


def test_carbon_is_expected_as_a_day_ago_or_at_the_mean_seen(make_obs: Any) -> None:
    memory = CarbonMemory()
    assert _see(memory, make_obs, 12.0, 0.2) == pytest.approx([0.2] * 24)
    ahead = _see(memory, make_obs, 13.0, 0.4)
    assert ahead[0] == pytest.approx(0.4)
    assert ahead[23] == pytest.approx(0.2)  # noon of tomorrow
    assert ahead[1:23] == pytest.approx([0.3] * 22)
    ahead = _see(memory, make_obs, 13.75, 0.6)  # the last look in an hour stands for it
    assert ahead[0] == pytest.approx(0.6)
    assert ahead[1] == pytest.approx(0.4)
    assert _see(memory, make_obs, 11.5, 0.5)[1:3] == pytest.approx([0.2, 0.6])  # a day later


def test_every_hour_of_the_clock_is_told_apart(make_obs: Any) -> None:
    memory = CarbonMemory()
    for hour in range(24):
        ahead = _see(memory, make_obs, hour, 0.01 * (hour + 1))
    assert ahead == pytest.approx([0.24, *(0.01 * (hour + 1) for hour in range(23))], rel=1e-5)


def test_carbon_is_forgotten_row_by_row(make_obs: Any) -> None:
    memory = CarbonMemory()
    memory.look_ahead(make_obs(fleet={"carbon": 0.2, **_clock(12)}, shape=(2, 1)))
    memory.reset(np.array([True, False]))
    ahead = memory.look_ahead(make_obs(fleet={"carbon": 0.4, **_clock(13)}, shape=(2, 1)))
    np.testing.assert_allclose(ahead[:, 1], [0.4, 0.3], rtol=1e-6)
    one = memory.look_ahead(make_obs(fleet={"carbon": 0.1}, shape=(1, 1)))  # another batch
    np.testing.assert_allclose(one, 0.1, rtol=1e-6)


def test_batch_waits_while_the_grid_is_dirtier_than_remembered(make_obs: Any) -> None:
    policy = agents.make("lowest_carbon", **EXACT)

    def cars(hour: float, carbon: float, due: dict[str, float]) -> int:
        return _cars(policy, make_obs(fleet=due | {"carbon": carbon, **_clock(hour)}, shape=SHAPE))

    assert cars(12, 0.2, TWELVE_H) > 0  # nothing else is known
    assert cars(13, 0.4, TWELVE_H) == 0  # 0.3 is expected
    assert cars(13, 0.4, FOUR_H) == 0
    assert cars(13, 0.4, ONE_H) > 0  # cannot wait
    assert cars(14, 0.1, TWELVE_H) > 0
    policy.reset(np.array([True]))
    assert cars(15, 0.4, TWELVE_H) > 0  # a new episode

"""Cars needed, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.heuristics.demand import DemandSettings, batch_rate, cars_needed, expected_work

EXACT = DemandSettings(over_provision=1.0, last_weight=0.5, batch_haste=1.0)
# dear for two hours, then cheap
LATER_CHEAP = {"price": 0.6, "cheap": 0, "price_00h": 0.6, "price_01h": 0.6}
DUE = {"batch_due_1h": 0.1, "batch_due_4h": 0.2, "batch_due_12h": 0.6}


def test_work_blends_forecast_and_last_step_by_tier(make_obs: Any) -> None:
    obs = make_obs(fleet={"chat_00h": 0.2, "chat_8b_last": 0.1, "chat_70b_last": 0.3})
    work = expected_work(obs, EXACT)  # 0.5 * 0.2 + 0.5 * 0.4 = 0.3, a quarter of it 8B
    assert work.chat_8b == pytest.approx([0.075], rel=1e-6)
    assert work.chat_70b == pytest.approx([0.225], rel=1e-6)
    assert work.batch_70b == pytest.approx([0.0])


def test_first_step_trusts_the_forecast_alone(make_obs: Any) -> None:
    work = expected_work(make_obs(fleet={"chat_00h": 0.2, "left": 1.0}), EXACT)
    assert work.chat_8b + work.chat_70b == pytest.approx([0.2], rel=1e-6)
    assert work.chat_8b == pytest.approx([0.1], rel=1e-6)


@pytest.mark.parametrize(
    ("fleet", "rate"),
    [
        # flat price: max(.1 / 1, .2 / 4, .6 / 12)
        (DUE, 0.1),
        # the 12 h window presses most
        ({**DUE, "batch_due_12h": 6.0}, 0.5),
        # dear now: only what has no cheap hour before its deadline
        ({**DUE, **LATER_CHEAP}, 0.1),
        ({**DUE, **LATER_CHEAP, "batch_due_1h": 0.0}, 0.0),
        # the last cheap hour for a day: everything now
        ({**DUE, **{f"price_{h:02d}h": 0.6 for h in range(1, 24)}}, 0.6),
        # nothing cheap at all inside the windows: spread over all hours
        ({**DUE, "price": 0.6, **{f"price_{h:02d}h": 0.6 for h in range(24)}}, 0.1),
    ],
)
def test_batch_waits_for_cheap_hours_before_its_deadline(
    make_obs: Any, fleet: dict[str, float], rate: float
) -> None:
    assert batch_rate(make_obs(fleet=fleet), EXACT) == pytest.approx([rate], rel=1e-5)


def test_batch_runs_where_it_is_cheap_now_although_the_mean_is_dear(make_obs: Any) -> None:
    # a quarter of the cars stand where it is cheap; hours 2 to 11 are cheap on average
    obs = make_obs(fleet={**DUE, **LATER_CHEAP, "batch_due_1h": 0.0, "cheap": 0.25})
    assert batch_rate(obs, EXACT) == pytest.approx([0.1], rel=1e-5)  # .2 in 2 cheap hours of 4


def test_haste_scales_the_batch_rate(make_obs: Any) -> None:
    hasty = DemandSettings(batch_haste=3.0)
    assert batch_rate(make_obs(fleet=DUE), hasty) == pytest.approx([0.3], rel=1e-5)


def test_cars_are_work_times_room_rounded_to_the_nearest(make_obs: Any) -> None:
    # two fleets of 10 cars; tiers split evenly
    fleet = {"chat_00h": [0.24, 0.2], "left": 1.0, "batch_due_1h": [0.0, 0.1]}
    obs = make_obs(fleet=fleet, shape=(2, 10))
    roomy = DemandSettings(over_provision=1.5, batch_haste=1.0)
    need = cars_needed(obs, expected_work(obs, roomy), roomy)
    # 1.5 * 10 * 0.24 = 3.6 -> 4, 70B 1.8 -> 2; 1.5 * 10 * 0.3 = 4.5 -> 5, 70B 15 * 0.2 = 3
    np.testing.assert_array_equal(need.total, [4, 5])
    np.testing.assert_array_equal(need.need_70b, [2, 3])


def test_no_work_needs_no_cars(make_obs: Any) -> None:
    obs = make_obs()
    assert cars_needed(obs, expected_work(obs, EXACT), EXACT).total == [0]

"""Who takes part and when, what owners find when they leave, and who gives up; by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_env import draws
from fleet_env.dynamics.owners import (
    closed_hours,
    in_window,
    leaves,
    opt_in_share,
    shortfall_soc,
)

BY_HAND = [  # twin, soc, target -> short beyond a deadband of 0.01
    (0.90, 0.90, 0.80, 0.0),  # never computed
    (0.90, 0.85, 0.80, 0.0),  # above the target all the same
    (0.90, 0.70, 0.80, 0.09),  # target 0.80, 0.70 there
    (0.60, 0.50, 0.80, 0.09),  # the twin would not have reached the target either
    (0.60, 0.595, 0.80, 0.0),  # nobody notices half a point
    (0.50, 0.70, 0.80, 0.0),  # fuller than its twin, after public charging
]


@pytest.mark.parametrize(("twin", "soc", "target", "short"), BY_HAND)
def test_shortfall_by_hand(twin: float, soc: float, target: float, short: float) -> None:
    got = shortfall_soc(*(np.array([x]) for x in (twin, soc, target)), 0.01)
    assert got[0] == pytest.approx(short, abs=1e-12)


unit = st.floats(0, 1)


@given(twin=unit, soc=unit, target=unit, deadband=st.floats(0, 0.2), less=unit)
def test_shortfall_grows_with_what_is_missing_and_never_blames_for_more(
    twin: float, soc: float, target: float, deadband: float, less: float
) -> None:
    args = np.array([twin]), np.array([soc]), np.array([target])
    short = shortfall_soc(*args, deadband)[0]
    assert 0 <= short <= max(0.0, twin - soc)
    assert shortfall_soc(args[0], args[1] - less, args[2], deadband)[0] >= short
    assert shortfall_soc(args[0], args[1], args[2], deadband + 0.1)[0] <= short
    assert [x[0] for x in args] == [twin, soc, target]  # inputs left alone


@pytest.mark.parametrize(
    ("usd_per_month", "share"),
    [
        (0.0, 0.02),
        (10.0, 0.25),
        (30.0, 0.45),
        (100.0, 0.65),
        (1000.0, 0.65),  # nobody more for more
        # half way between 10 and 30 in ln(1 + pay): half way between the logits too
        (np.sqrt(11.0 * 31.0) - 1.0, 1.0 / (1.0 + np.exp((np.log(3.0) + np.log(11.0 / 9.0)) / 2))),
    ],
)
def test_opt_in_by_hand(usd_per_month: float, share: float) -> None:
    assert opt_in_share(usd_per_month) == pytest.approx(share, abs=1e-12)


@given(pay=st.floats(0, 500), more=st.floats(0, 500))
def test_no_owner_is_put_off_by_more_pay(pay: float, more: float) -> None:
    assert 0.02 - 1e-12 <= opt_in_share(pay) <= opt_in_share(pay + more) + 1e-12
    assert opt_in_share(pay) < opt_in_share(pay + 1.0) or pay >= 99.0


WINDOWS = [  # from, to -> hours inside
    (22.0, 6.0, [22.0, 23.99, 0.0, 5.99]),
    (9.0, 17.0, [9.0, 12.0, 16.99]),
    (6.0, 22.0, [6.0, 9.0, 12.0, 16.99, 17.0, 21.99]),
    (24.0, 6.0, [0.0, 5.99]),
    (22.0, 24.0, [22.0, 23.99]),
]
HOURS = np.array([0.0, 5.99, 6.0, 9.0, 12.0, 16.99, 17.0, 21.99, 22.0, 23.99], np.float32)


@pytest.mark.parametrize(("from_h", "to_h", "inside"), WINDOWS)
def test_windows_of_the_day_by_hand(from_h: float, to_h: float, inside: list[float]) -> None:
    expected = np.isin(HOURS, np.float32(inside))
    np.testing.assert_array_equal(in_window(HOURS, from_h, to_h), expected)
    np.testing.assert_array_equal(closed_hours(HOURS, from_h, to_h), ~expected)
    shaped = HOURS.reshape(5, 2)
    np.testing.assert_array_equal(in_window(shaped, from_h, to_h), expected.reshape(5, 2))


@pytest.mark.parametrize("hour", [0.0, 6.0, 24.0])
def test_equal_bounds_hold_no_quiet_hour_and_allow_always(hour: float) -> None:
    assert not in_window(HOURS, hour, hour).any()
    assert not closed_hours(HOURS, hour, hour).any()


def test_the_whole_day_is_one_window() -> None:
    assert in_window(HOURS, 0.0, 24.0).all()
    for bounds in ((0.0, 24.0), (24.0, 0.0)):
        closed = closed_hours(HOURS.reshape(2, 5), *bounds)
        assert closed.shape == (2, 5)
        assert not closed.any()


def owner_keys(num: int) -> np.ndarray:
    return draws.car_keys(draws.scenario_key("test", np.array([5])), draws.Stream.OWNER, num)


def test_owners_leave_in_their_share_and_for_certain_at_the_ends() -> None:
    keys, stay = owner_keys(20_000), np.arange(20_000, dtype=np.uint32) % 7
    assert leaves(keys, stay, 0.05).mean() == pytest.approx(0.05, abs=4 * (0.0475 / 20_000) ** 0.5)
    assert not leaves(keys, stay, 0.0).any()
    assert leaves(keys, stay, 1.0).all()


def test_a_drop_out_depends_on_car_and_stay_only() -> None:
    keys, stay = owner_keys(2000), np.arange(2000, dtype=np.uint32) % 7
    gone, some = leaves(keys, stay, 0.3), np.array([1999, 3, 700])
    np.testing.assert_array_equal(leaves(keys[some], stay[some], 0.3), gone[some])
    assert np.all(leaves(keys, stay, 0.4) >= gone)  # a higher chance keeps who has gone
    again = leaves(keys, stay + 1, 0.3)
    assert (again & gone).mean() == pytest.approx(0.09, abs=4 * (0.0819 / 2000) ** 0.5)

"""What owners find when they leave, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_env.dynamics.owners import shortfall_soc

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

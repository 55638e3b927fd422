"""Cohorts of cars by hand, and quotas against a slow reading of the rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_env.observations import CAR
from fleet_env.views import COHORTS, cohort_duty
from fleet_env.views.cohort import cohort_of_cars
from fleet_env.views.seen import Seen
from tests.unit.test_views_index import make_obs, random_obs

ALL = len(COHORTS)


@pytest.mark.parametrize(
    ("changes", "cohort"),
    [
        ({}, "level2_low_medium_70b"),
        ({"evse_kw": 1.44}, "level1_low_medium_70b"),
        ({"evse_kw": 11.5, "soc": 0.55}, "level2_mid_medium_70b"),
        ({"plugged": 0, "evse_kw": 0, "soc": 0.75}, "unplugged_high_medium_70b"),
        ({"stay_h": 2.99, "soc": 0.54}, "level2_low_short_70b"),
        ({"stay_h": 3.0}, "level2_low_medium_70b"),
        ({"stay_h": 10.0, "fits_70b": 0}, "level2_low_long_8b"),
        ({"stay_h": 0, "soc": 1, "fits_70b": 0, "evse_kw": 1.44}, "level1_high_short_8b"),
    ],
)
def test_cohort_of_a_car_by_hand(changes: dict[str, float], cohort: str) -> None:
    assert COHORTS[cohort_of_cars(Seen.of(make_obs([changes])))[0]] == cohort


def test_every_cohort_has_its_name_and_its_cars() -> None:
    assert len(set(COHORTS)) == ALL == 3 * 3 * 3 * 2
    plugs = {"unplugged": (0, 0), "level1": (1, 1.44), "level2": (1, 7.7)}
    socs, stays_h = {"low": 0.4, "mid": 0.6, "high": 0.9}, {"short": 1, "medium": 5, "long": 20}
    for i, name in enumerate(COHORTS):
        plug, soc, stay, tier = name.split("_")
        plugged, evse_kw = plugs[plug]
        car = {"plugged": plugged, "evse_kw": evse_kw, "soc": socs[soc], "stay_h": stays_h[stay]}
        obs = make_obs([{**car, "fits_70b": float(tier == "70b")}])
        assert cohort_of_cars(Seen.of(obs))[0] == i


def test_who_works_stays_then_the_longest_stay_then_the_first() -> None:
    cars = [{"on_duty": 0, "stay_h": h} for h in (4, 9, 9, 5)] + [{"on_duty": 1, "stay_h": 3.5}]
    obs, shares = make_obs(cars), np.zeros((1, ALL))
    place = COHORTS.index("level2_low_medium_70b")
    expected = {0.2: [4], 0.4: [1, 4], 0.5: [1, 2, 4], 0.7: [1, 2, 3, 4], 1.0: [0, 1, 2, 3, 4]}
    for share, on_duty in expected.items():
        shares[0, place] = share  # 0.5 of 5 cars are 2.5, rounded to 3; 0.7 are 3.5
        np.testing.assert_array_equal(cohort_duty(obs, shares)[0].nonzero()[0], on_duty)


def test_a_quota_is_of_its_own_cohort_and_of_feasible_cars() -> None:
    obs = make_obs([{}, {"evse_kw": 1.44}, {}, {"evse_kw": 1.44}], [{}] * 4)
    obs["mask"][0, 2] = 0
    shares = np.zeros((2, ALL))
    shares[0, COHORTS.index("level2_low_medium_70b")] = 1.0
    shares[1] = 1.0
    shares[1, COHORTS.index("level2_low_medium_70b")] = 0.0  # all others are empty
    np.testing.assert_array_equal(cohort_duty(obs, shares), [[1, 0, 0, 0], [0, 0, 0, 0]])


@given(seed=st.integers(0, 10_000), num_cars=st.integers(1, 60))
def test_quotas_equal_a_slow_reading(seed: int, num_cars: int) -> None:
    rng = np.random.default_rng(seed)
    obs = random_obs(rng, 2, num_cars)
    stays_h = rng.integers(0, 6, (2, num_cars)) * 4.0  # many ties
    obs["cars"][..., CAR["stay_h"]] = stays_h
    shares = rng.random((2, ALL)).astype(np.float32)
    expected = np.zeros((2, num_cars), np.int8)
    on_duty, cars = obs["cars"][..., CAR["on_duty"]], Seen.of(obs)
    cohort = cars.spread(cohort_of_cars(cars), 0)
    for e in range(2):
        for c in range(ALL):
            cars = [i for i in range(num_cars) if obs["mask"][e, i] and cohort[e, i] == c]
            cars.sort(key=lambda i: (-on_duty[e, i], -stays_h[e, i], i))
            expected[e, cars[: int(np.floor(float(shares[e, c]) * len(cars) + 0.5))]] = 1
    bits = cohort_duty(obs, shares)
    assert bits.dtype == np.int8
    np.testing.assert_array_equal(bits, expected)


@given(seed=st.integers(0, 10_000))
def test_order_of_cars_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    obs, order = random_obs(rng, 2, 60), rng.permutation(60)  # no two stays are equal
    shares = rng.random((2, ALL))
    shuffled = {**obs, "cars": obs["cars"][:, order], "mask": obs["mask"][:, order]}
    bits = cohort_duty(obs, shares)
    np.testing.assert_array_equal(cohort_duty(shuffled, shares), bits[:, order])


@pytest.mark.parametrize("shares", [np.ones(ALL), np.ones((1, 3)), np.full((1, ALL), np.nan)])
def test_wrong_shares_are_clear_errors(shares: Any) -> None:
    with pytest.raises(ValueError, match="shares: expected"):
        cohort_duty(make_obs([{}, {}]), shares)

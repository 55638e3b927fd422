"""What learners see: by hand, at any size, in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_env.observations import CAR_FIELDS, FLEET, FLEET_FIELDS, Field
from fleet_env.types import NCA
from fleet_env.views import COHORTS, INDEX_FEATURES, SUMMARY_FIELDS
from fleet_env.views.leaving import leaving
from fleet_env.views.summary import SUMMARY, summary, summary_space
from tests.unit.test_views_index import heat_usd, make_obs, random_obs


def test_the_fields_are_the_fleet_and_shares_of_cars() -> None:
    assert SUMMARY_FIELDS[: len(FLEET_FIELDS)] == FLEET_FIELDS
    assert len(SUMMARY) == len(SUMMARY_FIELDS)  # names are unique
    assert len(SUMMARY_FIELDS) == len(FLEET_FIELDS) + 2 * len(COHORTS) + 10 + 8 + 1 + 5 + 16
    assert all(field.low < field.high for field in SUMMARY_FIELDS)
    assert summary_space().shape == (len(SUMMARY_FIELDS),)
    stays = [field for field in SUMMARY_FIELDS if field.name.startswith("stay_h_from")]
    assert stays[1] == Field(
        "stay_h_from_0.25", "1", 0, 1, "share of the cars: plugged, stated stay in h 0.25 to 1"
    )
    assert stays[-1].doc.endswith("24 to 48")


def test_work_over_the_feasible_cars_by_hand() -> None:
    obs = make_obs([{}, {}, {}, {}])
    obs["mask"][0] = [1, 1, 0, 0]  # half of the fleet
    work = {"chat_00h": 0.1, "chat_01h": 0.2, "batch_due_1h": 0.05, "batch_due_4h": 0.4}
    for field, value in {**work, "batch_due_12h": 60.0}.items():
        obs["fleet"][0, FLEET[field]] = value
    need = [SUMMARY[f"need_{k}"] for k in ("chat_00h", "chat_01h", "batch_1h", "batch_4h")]
    np.testing.assert_allclose(summary(obs)[0, need], [0.2, 0.4, 0.1, 0.2], rtol=1e-6)
    assert summary(obs)[0, SUMMARY["need_batch_12h"]] == 4.0  # 10, cut
    obs["mask"][:] = 0  # as if one car were feasible
    np.testing.assert_allclose(summary(obs)[0, need], [0.4, 0.8, 0.2, 0.4], rtol=1e-6)


def test_a_small_fleet_by_hand() -> None:
    cars = [
        # at home, soc 0.5, 9 h to stay, on duty; 0.5 kWh owed are a risk
        {"gap_kwh": 0.5, "garage": 0, "local_hour": 1, "cheap_h": 0},
        {"on_duty": 0, "gap_kwh": 0.1},
        {"soc": 1.0, "stay_h": 24.0, "on_duty": 0, "gap_kwh": 1.0},  # not feasible
        {"plugged": 0, "evse_kw": 0, "soc": 0.0, "stay_h": 0, "on_duty": 0},  # on the road
    ]
    obs = make_obs(cars)
    obs["mask"][0] = [1, 1, 0, 0]
    obs["fleet"][0, FLEET["price"]] = 0.3
    found = summary(obs)
    assert found.dtype == np.float32
    named: dict[str, float] = {f.name: found[0, i] for i, f in enumerate(SUMMARY_FIELDS)}
    nonzero = {name: value for name, value in named.items() if value != 0}
    expected = {
        "price": 0.3,
        "feasible_level2_low_medium_70b": 0.5,
        "duty_level2_low_medium_70b": 0.25,
        "soc_from_0.5": 0.5,
        "soc_from_0.9": 0.25,
        "stay_h_from_8": 0.5,
        "stay_h_from_24": 0.25,
        "gap_kwh": 0.4,
        "mean_on_duty": 0.5,
        "mean_start": 0.05,
        "mean_stay": 0.75,
        "mean_slack": (9 - 3.21852) / 12,
        "mean_rush": 1 - (9 - 3.21852) / 8,
        "mean_energy": (0.40 + 0.20) / 2 * 0.76 * 0.5 / 0.92 / 0.10,
        "mean_wear": 3.8 * (0.02 + heat_usd(NCA, 0.5, 20, 9, 1 / 80) / 2),
        "mean_risk": 80 * leaving()[1, 8, 5] / 2,
        "mean_defer": 0.5,
        "mean_soc": 0.2,
        "mean_plugged": 1.0,
        "mean_garage": 0.5,
        "mean_fits_70b": 1.0,
        "mean_feeder": 1.0,
    }
    assert nonzero == pytest.approx(expected, rel=1e-5)


def test_nobody_feasible_shows_zeros() -> None:
    obs = make_obs([{}, {}])
    obs["mask"][:] = 0
    found = summary(obs)[0]
    for name, place in SUMMARY.items():
        if name.startswith(("feasible_", "duty_", "mean_")):
            assert found[place] == 0


def _twice(obs: dict[str, Any]) -> dict[str, Any]:
    return {
        **obs,
        "cars": np.concatenate([obs["cars"]] * 2, axis=1),
        "mask": np.concatenate([obs["mask"]] * 2, axis=1),
    }


@given(seed=st.integers(0, 10_000), num_cars=st.integers(1, 40))
def test_number_and_order_of_cars_do_not_matter(seed: int, num_cars: int) -> None:
    rng = np.random.default_rng(seed)
    obs, order = random_obs(rng, 3, num_cars), rng.permutation(num_cars)
    found = summary(obs)
    assert all(summary_space().contains(row) for row in found)
    np.testing.assert_allclose(summary(_twice(obs)), found, rtol=1e-5, atol=1e-6)
    shuffled = {**obs, "cars": obs["cars"][:, order], "mask": obs["mask"][:, order]}
    np.testing.assert_allclose(summary(shuffled), found, rtol=1e-5, atol=1e-6)
    alone = {key: value[1:2] for key, value in obs.items()}
    np.testing.assert_array_equal(summary(alone), found[1:2])


def test_cars_at_the_limits_of_their_fields_stay_inside() -> None:
    for limit in ("low", "high"):
        cars = {field.name: getattr(field, limit) for field in CAR_FIELDS}
        found = summary(make_obs([cars] * 7))
        assert all(summary_space().contains(row) for row in found), limit
    assert len(INDEX_FEATURES) == 16

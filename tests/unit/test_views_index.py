"""The features of the index by hand, and what `index_duty` does with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fleet_env.observations import CAR, CAR_FIELDS, FLEET_FIELDS
from fleet_env.views import INDEX_FEATURES, index_duty
from fleet_env.views.index import feature_values, index_score

NAMES = [feature.name for feature in INDEX_FEATURES]
# a plugged car that needs 0.3 * 76 = 22.8 kWh, 22.8 / (7.7 * 0.92) = 3.21852 h of charging
CAR_AT_HOME = {
    "at_home": 1, "plugged": 1, "linked": 1, "on_duty": 1, "soc": 0.5, "stay_h": 9, "ready_min": 12,
    "evse_kw": 7.7, "pack_kwh": 76, "fits_70b": 1, "busy_kw": 0.5, "reserve_soc": 0.3,
    "target_soc": 0.8, "price": 0.40, "ref_price": 0.30, "refill_price": 0.20, "cheap_h": 6.5,
    "feeder_kw": 100, "garage": 1,
}  # fmt: skip
CHARGE_H = 3.21852


def make_obs(*rows: list[dict[str, float]]) -> dict[str, NDArray[Any]]:
    """Fleets of cars like the one at home, each car given by what is different about it."""
    shape = (len(rows), len(rows[0]))
    by_field = np.zeros((len(CAR_FIELDS), *shape), np.float32)  # field-major, as the env has it
    for e, cars in enumerate(rows):
        for i, changes in enumerate(cars):
            for name, value in {**CAR_AT_HOME, **changes}.items():
                by_field[CAR[name], e, i] = value
    return {
        "cars": by_field.transpose(1, 2, 0),
        "fleet": np.zeros((shape[0], len(FLEET_FIELDS)), np.float32),
        "mask": np.ones(shape, np.int8),
    }


def random_obs(rng: np.random.Generator, num_envs: int, num_cars: int) -> dict[str, NDArray[Any]]:
    """Fleets whose fields lie anywhere in their bounds, flags being 0 or 1."""
    obs = make_obs(*[[{}] * num_cars] * num_envs)
    for field in CAR_FIELDS:
        drawn = rng.uniform(field.low, field.high, (num_envs, num_cars))
        obs["cars"][..., CAR[field.name]] = np.round(drawn) if field.unit == "flag" else drawn
    obs["mask"][:] = rng.random((num_envs, num_cars)) < 0.7
    return obs


def _features(**changes: float) -> dict[str, float]:
    values = feature_values(make_obs([changes]))
    return {name: float(value[0, 0]) for name, value in zip(NAMES, values, strict=True)}


def test_features_have_names_reasons_and_limits() -> None:
    assert len(set(NAMES)) == len(NAMES) <= 14
    assert all(name.isidentifier() for name in NAMES)
    assert all(f.low < f.high and len(f.doc) > 20 for f in INDEX_FEATURES)


def test_features_of_a_plain_car_by_hand() -> None:
    expected = {
        "on_duty": 1,
        "start": 0.2 / 4,  # 12 min of the 4 h over which a start is paid off at most
        "stay": 0.75,
        "slack": (9 - CHARGE_H) / 12,
        "rush": 1 - (9 - CHARGE_H) / 8,
        "energy": 0.5 * 0.20 / 0.10,  # it can defer: 6.5 - 3.22 >= 3 cheap hours
        "defer": 1,
        "soc": 0.2,
        "plugged": 1,
        "level1": 0,
        "garage": 1,
        "lfp": 0,
        "fits_70b": 1,
        "feeder": 1,
    }
    assert _features() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ready_min": 12, "stay_h": 0.5}, {"start": 0.4}),
        ({"ready_min": 6, "stay_h": 0}, {"start": 0.4}),  # overdue: a quarter of an hour
        ({"ready_min": 1440}, {"start": 1}),
        ({"stay_h": 48}, {"stay": 4, "rush": 0}),
        ({"stay_h": 0}, {"stay": 0, "slack": -CHARGE_H / 12, "rush": 1}),
        ({"soc": 0.8, "stay_h": 0}, {"slack": 0, "rush": 0}),  # it has its target
        ({"cheap_h": 6.2}, {"defer": 0, "energy": 2}),  # a little too few cheap hours
        ({"price": 0.10}, {"defer": 1, "energy": 0.5}),  # now is cheaper than a refill
        ({"price": -1.0}, {"energy": -5}),
        ({"price": 20.0, "cheap_h": 0}, {"energy": 10}),  # cut at the bound
        (
            {"plugged": 0, "evse_kw": 0},
            {"plugged": 0, "defer": 0, "energy": 1.5, "level1": 0, "slack": -1, "rush": 1},
        ),
        ({"evse_kw": 1.44}, {"level1": 1, "slack": (9 - 22.8 / (1.44 * 0.92)) / 12}),
        ({"soc": 0.25}, {"soc": -0.05}),
        ({"feeder_kw": 4}, {"feeder": 0.4}),
    ],
)
def test_features_of_other_cars_by_hand(
    changes: dict[str, float], expected: dict[str, float]
) -> None:
    found = _features(**changes)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-6)


@given(seed=st.integers(0, 10_000))
def test_features_keep_their_limits_and_are_float32(seed: int) -> None:
    obs = random_obs(np.random.default_rng(seed), 2, 20)
    for feature, value in zip(INDEX_FEATURES, feature_values(obs), strict=True):
        assert value.dtype == np.float32
        assert value.shape == (2, 20)
        assert (value >= feature.low).all()
        assert (value <= feature.high).all()


@given(seed=st.integers(0, 10_000), num_cars=st.integers(1, 40))
def test_duty_is_the_best_share_of_the_feasible_cars(seed: int, num_cars: int) -> None:
    rng = np.random.default_rng(seed)
    obs = random_obs(rng, 3, num_cars)
    weights, share = rng.uniform(-1, 1, (3, len(NAMES))), rng.random(3)
    bits = index_duty(obs, weights, share)
    values = np.stack(list(feature_values(obs)), axis=-1).astype(np.float64)
    score = np.einsum("eif,ef->ei", values, weights)
    np.testing.assert_allclose(index_score(obs, weights), score, rtol=1e-4, atol=1e-4)
    assert bits.dtype == np.int8
    assert not (bits > obs["mask"]).any()
    for e in range(3):
        feasible = obs["mask"][e] != 0
        assert bits[e].sum() == np.floor(share[e] * feasible.sum() + 0.5)
        on, off = score[e][bits[e] == 1], score[e][feasible & (bits[e] == 0)]
        assert on.size == 0 or off.size == 0 or on.min() > off.max() - 1e-4


def test_equal_cars_go_by_index_and_row_by_row() -> None:
    obs = make_obs([{}] * 4, [{}, {"stay_h": 12}, {}, {"stay_h": 12}])
    obs["mask"][0, 0] = 0
    stay = np.eye(len(NAMES))[NAMES.index("stay")]
    bits = index_duty(obs, np.stack([stay, stay]), np.array([0.5, 0.75]))
    np.testing.assert_array_equal(bits, [[0, 1, 1, 0], [1, 1, 0, 1]])
    bits = index_duty(obs, np.stack([stay, -stay]), np.array([0.34, 0.25]))
    np.testing.assert_array_equal(bits, [[0, 1, 0, 0], [1, 0, 0, 0]])


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.25, 2.0, 1024.0]))
def test_order_of_cars_and_scale_of_weights_do_not_matter(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    obs = random_obs(rng, 2, 30)  # no two cars are alike
    weights, share = rng.uniform(-1, 1, (2, len(NAMES))), rng.random(2)
    bits, order = index_duty(obs, weights, share), rng.permutation(30)
    shuffled = {**obs, "cars": obs["cars"][:, order], "mask": obs["mask"][:, order]}
    np.testing.assert_array_equal(index_duty(shuffled, weights, share), bits[:, order])
    np.testing.assert_array_equal(index_duty(obs, scale * weights, share), bits)
    alone = index_duty({k: v[1:] for k, v in obs.items()}, weights[1:], share[1:])
    np.testing.assert_array_equal(alone, bits[1:])


def test_inputs_are_left_alone() -> None:
    obs = random_obs(np.random.default_rng(0), 1, 9)
    before = {key: value.copy() for key, value in obs.items()}
    index_duty(obs, np.ones((1, len(NAMES))), np.ones(1))
    for key, value in obs.items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize(
    ("weights", "share", "message"),
    [
        (np.ones((1, len(NAMES) + 1)), np.ones(1), r"weights: expected shape \(1, 14\)"),
        (np.ones(len(NAMES)), np.ones(1), "weights: expected shape"),
        (np.ones((1, len(NAMES))), np.ones((1, 1)), "share: expected shape"),
        (np.full((1, len(NAMES)), np.nan), np.ones(1), "weights: expected finite"),
        (np.ones((1, len(NAMES))), np.array([np.inf]), "share: expected finite"),
        (np.ones((1, len(NAMES)), np.bool_), np.ones(1), "weights: expected numbers"),
    ],
)
def test_wrong_numbers_are_clear_errors(weights: Any, share: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        index_duty(make_obs([{}, {}]), weights, share)

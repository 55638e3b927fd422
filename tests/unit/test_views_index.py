"""The features of the index by hand, and what `index_duty` does with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fleet_env.dynamics import ageing
from fleet_env.observations import CAR, CAR_FIELDS, FLEET, FLEET_FIELDS, PRICE_00H
from fleet_env.types import LFP, NCA
from fleet_env.views import INDEX_FEATURES, index_duty
from fleet_env.views.index import Candidates, index_score
from fleet_env.views.leaving import leaving
from fleet_env.views.seen import Seen

NAMES = [feature.name for feature in INDEX_FEATURES]
# a plugged car that needs 0.3 * 76 = 22.8 kWh, 22.8 / (7.7 * 0.92) = 3.21852 h of charging
CAR_AT_HOME = {
    "at_home": 1, "plugged": 1, "linked": 1, "on_duty": 1, "soc": 0.5, "stay_h": 9, "ready_min": 12,
    "evse_kw": 7.7, "pack_kwh": 76, "fits_70b": 1, "busy_kw": 0.5, "reserve_soc": 0.3,
    "target_soc": 0.8, "price": 0.40, "ref_price": 0.30, "refill_price": 0.20, "cheap_h": 7.5,
    "feeder_kw": 100, "garage": 1, "ambient": 20,
}  # fmt: skip
CHARGE_H = 3.21852
ENERGY = 0.76 * 0.5 * 0.20 / 0.92 / 0.10  # it can defer: 7.5 - 3.22 >= 4 cheap hours


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
    values = Candidates.of(make_obs([changes])).features
    return {name: float(value[0]) for name, value in zip(NAMES, values, strict=True)}


def heat_usd(chemistry: int, soc: float, pack_c: float, stay_h: float, k_per_w: float) -> float:
    """USD of a kWh: slope of the calendar law of a pack of 76 kWh, half-way through its life."""
    law = ageing.LAWS[chemistry]
    gain = ageing.gains(np.array([chemistry]), np.array([4 * 365.25]))[0][0]
    per_day = [ageing.calendar_rate(law, np.array([soc]), pack_c + k) for k in (-0.01, 0.01)]
    cool, warm = (float(k[0]) ** (1 / law.cal_p) for k in per_day)
    kelvin_days = 1000 * k_per_w / 24 * (1 - np.exp(-stay_h / 7))
    return float(gain * (warm - cool) / 0.02 * kelvin_days * 76 * 150 / 0.2)


def test_features_have_names_reasons_and_limits() -> None:
    assert len(set(NAMES)) == len(NAMES) <= 16
    assert all(name.isidentifier() for name in NAMES)
    assert all(f.low < f.high and len(f.doc) > 20 for f in INDEX_FEATURES)


def test_features_of_a_plain_car_by_hand() -> None:
    expected = {
        "on_duty": 1,
        "start": 0.2 / 4,  # 12 min of the 4 h over which a start is paid off at most
        "stay": 0.75,
        "slack": (9 - CHARGE_H) / 12,
        "rush": 1 - (9 - CHARGE_H) / 8,
        "energy": ENERGY,
        "wear": 3.8 * (0.02 + heat_usd(NCA, 0.5, 20, 9, 1 / 80)),
        "risk": 0,  # it owes nothing
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
        ({"cheap_h": 6.2}, {"defer": 0, "energy": 2 * ENERGY}),  # a little too few cheap hours
        ({"cheap_h": 7.2}, {"defer": 1, "energy": 2 * ENERGY}),  # enough, but too tight to count on
        ({"price": 0.10}, {"defer": 1, "energy": ENERGY / 2}),  # now is cheaper than a refill
        ({"price": -1.0}, {"energy": -5 * ENERGY}),
        ({"price": 20.0, "cheap_h": 0}, {"energy": 10}),  # cut at the bound
        (
            {"plugged": 0, "evse_kw": 0},
            {"plugged": 0, "defer": 0, "energy": 1.5 * ENERGY, "level1": 0, "slack": -1, "rush": 1},
        ),
        ({"evse_kw": 1.44}, {"level1": 1, "slack": (9 - 22.8 / (1.44 * 0.92)) / 12}),
        ({"soc": 0.25}, {"soc": -0.05}),
        ({"feeder_kw": 4}, {"feeder": 0.4}),
        # 300 W of compressor instead of 31 W through the DC-DC stage
        ({"ambient": 30}, {"energy": (0.38 + 0.269 / 0.93) * 0.20 / 0.92 / 0.10}),
        ({"garage": 0}, {"wear": 3.8 * 0.02}),
        ({"lfp": 1}, {"wear": 3.8 * (0.02 + heat_usd(LFP, 0.5, 20, 9, 1 / 80))}),
        # in the cold half of the heat goes into the pack, at 16 W/K
        ({"garage": 0, "ambient": 5}, {"wear": 3.8 * (0.02 + heat_usd(NCA, 0.5, 5, 9, 0.5 / 16))}),
        ({"stay_h": 0}, {"wear": 3.8 * (0.02 + heat_usd(NCA, 0.5, 20, 1, 1 / 80))}),
    ],
)
def test_features_of_other_cars_by_hand(
    changes: dict[str, float], expected: dict[str, float]
) -> None:
    found = _features(**changes)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-6)


# a car at 0.5 with 9 h to go, at 1 h: it charges to 0.9 in 4.29 h and is safe 0.5 h later. A step
# takes 0.095 kWh; 0.7 of the deadband is 0.532 kWh, all of it 0.76 kWh
LEAVES = leaving()[1, 8, 5]  # within 6 h


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gap_kwh": 0.43}, 0),  # within the deadband
        ({"gap_kwh": 0.45}, 2 * LEAVES),
        ({"gap_kwh": 0.80}, 0.02 * 2 * LEAVES),  # beyond it before the step
        ({"gap_kwh": 0.45, "busy_kw": 0.4}, 0),  # a step takes less
        ({"gap_kwh": 0.60, "soc": 0.85 - 0.60 / 76}, 0),  # its twin rests on its limit
        ({"gap_kwh": 0.45, "stay_h": 8.9}, 2 * leaving()[1, 7, 5]),
        # 0.02 x 76 kWh at 1.44 kW take 1.15 h: safe within 2 h
        ({"gap_kwh": 0.45, "evse_kw": 1.44, "soc": 0.88}, 5 * leaving()[1, 8, 2]),
        ({"gap_kwh": 0.45, "plugged": 0, "evse_kw": 0}, 5 * leaving()[1, 8, 8]),  # never safe
    ],
)
def test_risk_of_a_shortfall_by_hand(changes: dict[str, float], expected: float) -> None:
    """4 USD an event, on Level 2 two events, else five; in 0.10 USD/h, cut at 10."""
    found = _features(local_hour=1, cheap_h=0, **changes)["risk"]
    assert found == pytest.approx(min(10, 40 * expected), rel=1e-5)


def test_a_refill_put_off_is_a_longer_risk() -> None:
    """The dear hours to come are added to the time until a car is safe."""
    obs = make_obs([{"gap_kwh": 0.45, "local_hour": 1, "stay_h": 13}])
    obs["fleet"][0, PRICE_00H : PRICE_00H + 3] = 0.40
    obs["fleet"][0, FLEET["refill_price"]] = 0.20
    risk = Candidates.of(obs).features[NAMES.index("risk")]  # safe in 3 + 4.29 + 0.5 h
    assert risk[0] == pytest.approx(80 * leaving()[1, 9, 6], rel=1e-5)


@given(seed=st.integers(0, 10_000))
def test_features_keep_their_limits_and_are_float32(seed: int) -> None:
    obs = random_obs(np.random.default_rng(seed), 2, 20)
    for feature, value in zip(INDEX_FEATURES, Candidates.of(obs).features, strict=True):
        assert value.dtype == np.float32
        assert value.shape == (obs["mask"].sum(),)
        assert (value >= feature.low).all()
        assert (value <= feature.high).all()


@given(seed=st.integers(0, 10_000), num_cars=st.integers(1, 40))
def test_duty_is_the_best_share_of_the_feasible_cars(seed: int, num_cars: int) -> None:
    rng = np.random.default_rng(seed)
    obs = random_obs(rng, 3, num_cars)
    weights, share = rng.uniform(-1, 1, (3, len(NAMES))), rng.random(3)
    bits = index_duty(obs, weights, share)
    cars = Candidates.of(obs)
    values = np.stack([cars.spread(of, np.nan) for of in cars.features], axis=-1)
    score = np.einsum("eif,ef->ei", values.astype(np.float64), weights)
    score[obs["mask"] == 0] = -np.inf
    np.testing.assert_allclose(index_score(obs, weights), score, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(index_duty(cars, weights, share), bits)
    np.testing.assert_array_equal(index_duty(Seen.of(obs), weights, share), bits)
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
        (np.ones((1, len(NAMES) + 1)), np.ones(1), r"weights: expected shape \(1, 16\)"),
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

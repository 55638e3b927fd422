"""Cars as rows: what a row sees and earns, in which order, and what Gymnasium asks of a batch."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from fleet_env.config import EnvConfig
from fleet_env.observations import CAR, CAR_FIELDS, FLEET, FLEET_FIELDS
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.views.cars import (
    ROW_FIELDS,
    SCALE_OF_FIELD,
    SCALE_OF_UNIT,
    CarsAsRows,
    car_rows,
    row_space,
)
from tests.contract.plays import assert_same, random_bits

NUM_FLEETS, NUM_CARS, STEPS = 2, 9, 24
ROWS = NUM_FLEETS * NUM_CARS
NAMES = {field.name: i for i, field in enumerate(ROW_FIELDS)}


def _env(**settings: Any) -> CarsAsRows:
    settings = {"num_fleets": NUM_FLEETS, "num_cars": NUM_CARS, "step_min": 60, **settings}
    return CarsAsRows(**settings)


def _bits(seed: int) -> np.ndarray:
    return random_bits(seed, (ROWS,), 0.7).astype(np.int64)


def test_a_row_is_a_car_its_mask_bit_and_its_fleet() -> None:
    raw, plain = _env(scaled=False), FleetVectorEnv(num_envs=2, num_cars=9, step_min=60)
    rows, told = raw.reset(seed=5)
    obs, info = plain.reset(seed=5)
    assert_same(told, {"fleet": info})
    assert rows.shape == (ROWS, len(CAR_FIELDS) + 1 + len(FLEET_FIELDS))
    for fleet, car in ((0, 0), (0, 8), (1, 3)):
        row = rows[fleet * NUM_CARS + car]
        np.testing.assert_array_equal(row[: len(CAR_FIELDS)], obs["cars"][fleet, car])
        assert row[NAMES["mask"]] == obs["mask"][fleet, car]
        np.testing.assert_array_equal(row[len(CAR_FIELDS) + 1 :], obs["fleet"][fleet])
        assert row[NAMES["car/soc"]] == obs["cars"][fleet, car, CAR["soc"]]
        assert row[NAMES["fleet/price"]] == obs["fleet"][fleet, FLEET["price"]]


def test_scaled_fields_are_raw_ones_over_their_scale() -> None:
    raw, scaled = _env(scaled=False), _env()
    whole, parts = raw.reset(seed=5)[0], scaled.reset(seed=5)[0]
    by_name = {"pack_kwh": 76.0, "price": 0.3, "ambient": 20.0, "stay_h": 12.0, "soc": 1.0}
    for name, scale in by_name.items():
        column = NAMES[f"car/{name}"]
        np.testing.assert_allclose(parts[:, column], whole[:, column] / scale, rtol=1e-6)
    assert {field.unit for field in ROW_FIELDS} == set(SCALE_OF_UNIT)
    assert set(SCALE_OF_FIELD) <= {field.name for field in CAR_FIELDS}


@pytest.mark.parametrize("card", ["suburb", "gauntlet", "peak"])
def test_scaled_fields_are_of_order_one_and_inside_the_space(card: str) -> None:
    env = _env(scenario=card, num_cars=60, split="train")
    seen = [env.reset(seed=1)[0]]
    for k in range(STEPS):
        rows, *_ = env.step(random_bits(k, (120,), 0.7))
        seen.append(rows)
    assert all(env.observation_space.contains(rows) for rows in seen)
    typical = np.quantile(np.abs(np.concatenate(seen)), 0.9, axis=0)
    apart = {field.name for field, x in zip(ROW_FIELDS, typical, strict=True) if x > 8.0}
    # times without end: parked since, and what is charged for each USD/h of a peak
    assert apart <= {"fleet/peak_usd_per_usd_h"}


def test_rewards_are_what_the_cars_were_worth() -> None:
    env, plain = _env(), FleetVectorEnv(num_envs=2, num_cars=9, step_min=60, car_reward=True)
    env.reset(seed=3)
    plain.reset(seed=3)
    for k in range(STEPS - 1):
        action = _bits(k)
        rows, reward, terminated, truncated, info = env.step(action)
        obs, _, _, told = plain.play(action.reshape(2, 9))
        assert_same(rows, car_rows(obs))
        assert_same(reward, told["car_marginal"].ravel())
        assert_same(info["car_marginal"], reward)
        assert_same(info["fleet"], told)
        assert reward.reshape(2, 9).sum(axis=1) == pytest.approx(told["car_marginal"].sum(axis=1))
        assert not (terminated | truncated).any()
        assert terminated.shape == truncated.shape == reward.shape == (ROWS,)


def test_without_demand_rewards_add_up_to_those_of_the_fleets() -> None:
    env = _env(demand={"load": 0.0})
    env.reset(seed=3)
    for k in range(STEPS - 1):
        _, reward, _, _, info = env.step(_bits(k))
        terms = [value for key, value in info["fleet"].items() if key.startswith("reward/")]
        assert reward.reshape(2, 9).sum(axis=1) == pytest.approx(sum(terms))


def test_a_permutation_of_cars_is_one_of_rows() -> None:
    obs, _ = FleetVectorEnv(num_envs=3, num_cars=7).reset(seed=0)
    assert isinstance(obs, dict)
    order = np.random.default_rng(0).permutation(7)
    moved = {"cars": obs["cars"][:, order], "mask": obs["mask"][:, order], "fleet": obs["fleet"]}
    rows = car_rows(obs).reshape(3, 7, -1)
    np.testing.assert_array_equal(car_rows(moved).reshape(3, 7, -1), rows[:, order])


def test_fleets_in_a_batch_play_as_they_do_alone() -> None:
    whole = _env(num_fleets=3)
    singles = [_env(num_fleets=1) for _ in range(3)]
    rows = whole.reset(seed=6)[0]
    for i, env in enumerate(singles):
        assert_same(env.reset(seed=6 + i)[0], rows[i * 9 : i * 9 + 9])
    for k in range(12):
        action = random_bits(k, (27,), 0.7)
        rows, reward, *_ = whole.step(action)
        for i, env in enumerate(singles):
            own = slice(i * 9, i * 9 + 9)
            alone = env.step(action[own])
            assert_same(alone[0], rows[own])
            assert_same(alone[1], reward[own])


def test_masks_are_those_of_the_cars_and_off_is_always_allowed() -> None:
    env = _env()
    rows, _ = env.reset(seed=0)
    for _ in range(6):
        masks = env.action_masks()
        assert (masks.shape, masks.dtype) == ((ROWS, 2), np.bool_)
        assert masks[:, 0].all()
        np.testing.assert_array_equal(masks[:, 1], rows[:, NAMES["mask"]] != 0)
        rows, *_, info = env.step(masks[:, 1].astype(int))
        refused = [v for name, v in info["fleet"].items() if name.startswith("metric/refused")]
        assert not np.any(refused)


def test_the_horizon_resets_in_the_same_step_and_keeps_the_end() -> None:
    env, plain = _env(), FleetVectorEnv(num_envs=2, num_cars=9, step_min=60, car_reward=True)
    env.reset(seed=4)
    plain.reset(seed=4)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    for k in range(STEPS):
        action = _bits(k)
        rows, reward, _, truncated, info = env.step(action)
        obs, _, over, told = plain.play(action.reshape(2, 9))
        assert truncated.all() == truncated.any() == over.any()
    assert truncated.all()
    assert_same(np.stack(list(info["final_obs"])), car_rows(obs))
    assert_same(info["final_info"], {"car_marginal": reward, "fleet": told})
    assert info["_final_obs"].all()
    assert info["_final_info"].shape == (ROWS,)
    assert "episode_sums" in info["final_info"]["fleet"]
    assert "episode_sums" not in info["fleet"]
    assert info["fleet"]["scenario"].tolist() == [6, 7]
    again, begun = plain.reset()
    assert begun["scenario"].tolist() == [6, 7]
    assert_same(rows, car_rows(again))
    env.step(_bits(0))  # goes on


def test_it_keeps_the_contract_of_a_vector_env() -> None:
    env = _env()
    assert isinstance(env, VectorEnv)
    assert env.num_envs == ROWS
    assert env.single_action_space == spaces.Discrete(2)
    assert env.action_space == spaces.MultiDiscrete([2] * ROWS)
    assert env.single_observation_space == row_space()
    assert env.observation_space.shape == (ROWS, len(ROW_FIELDS))
    env.action_space.seed(0)
    rows, _ = env.reset(seed=0)
    assert rows.dtype == np.float32
    assert env.observation_space.contains(rows)
    kept = rows.copy()
    counted = RecordEpisodeStatistics(env)
    counted.reset(seed=0)
    total = np.zeros(ROWS)
    for _ in range(STEPS):
        *_, info = counted.step(env.action_space.sample())
        total += info["car_marginal"]
    np.testing.assert_allclose(info["episode"]["r"], total, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rows, kept)  # what was returned is the caller's


def test_copies_go_on_alike() -> None:
    env = _env()
    env.reset(seed=2)
    for k in range(5):
        env.step(_bits(k))
    other = copy.deepcopy(env)
    for k in range(5, STEPS + 2):
        mine, theirs = env.step(_bits(k)), other.step(_bits(k))
        for a, b in zip(mine[:4], theirs[:4], strict=True):
            assert_same(a, b)


def test_what_is_wrong_is_said() -> None:
    env = _env()
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(np.zeros(ROWS))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected shape \(18,\) \(num_envs,\), got \(2, 9\)"):
        env.step(np.zeros((2, 9)))
    with pytest.raises(ValueError, match=r"expected 0 \(off\) or 1"):
        env.step(np.full(ROWS, 2))


def test_a_card_for_fleets_alone_is_shown_by_car_and_can_be_drawn() -> None:
    config = replace(EnvConfig(num_cars=4), observation="fleet")
    env = CarsAsRows(num_fleets=1, config=config, render_mode="rgb_array")
    assert env.reset(seed=0)[0].shape == (4, len(ROW_FIELDS))
    assert len(env.render()) == 1
    assert _env(observation="fleet").reset(seed=0)[0].shape == (ROWS, len(ROW_FIELDS))

"""A day does not depend on the company it is played in: batch size, position, blocks, threads."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fleet_env import sim, transformers
from fleet_env.blocks import split_blocks
from fleet_env.config import EnvConfig
from fleet_env.uncertain import UNCERTAIN
from fleet_env.vector_env import FleetVectorEnv
from tests.contract.plays import TAPE, assert_same, random_bits

# two tiers that do not fit together, owners of every kind, a hot garage: nothing is left out
RICH: dict[str, Any] = {
    "step_min": 60,
    "start_hour": 9.0,
    "fleet": {
        "accelerators": {"ai4": 0.3, "ai5": 0.7},
        "unplugged_share": 0.3,
        "cellular_share": 0.3,
        "weights_missing_share": 0.3,
        "override_per_month": 30.0,
    },
    "serving": {"batch_slots": 140, "tpot_slo_s": 2.0, "ttft_slo_s": 5.0},
    "demand": {"load": 2.0, "rate_noise_cv": 0.3},
    "thermal": {"derate_from_c": 10.0, "off_from_c": 30.0},
}

# every feature of a world that fights back, so set that it happens within the day
HARD: dict[str, Any] = {
    "scenario": "gauntlet",
    "step_min": 60,
    "fleet": {"home_charger_share": 1.0, "home_link_share": 0.9, "weights_missing_share": 0.3},
    "energy": {"source": "pack"},
    "owners": {"dropout_per_broken_promise": 1.0, "opt_in": "all", "quiet_share": 0.3},
    "feeder": {"homes": 3, "kva": 12.0, "start_spread_min": 30.0},
    "shocks": {
        "storm": {"on_day": 0, "from_h": 13.0, "to_h": 15.0, "mean_h": 3.0, "extent": 0.6},
        "isp": {"on_day": 0, "from_h": 19.0, "to_h": 22.0},
        "ota": {"on_day": 1, "extent": 0.7},
        "flash": {"on_day": 0, "from_h": 13.0, "to_h": 20.0},
        "release": {"on_day": 0},
        "price_spike": {"on_day": 0},
        "heatwave": {"on_day": 0},
    },
    "randomise": {
        "usd_per_mtok_70b": [0.1, 0.5],
        "throughput_factor": [0.5, 2.0],
        "load": [0.5, 2.0],
        "shortfall_usd": [5.0, 20.0],
    },
}
PLAIN: dict[str, Any] = {"step_min": 60}
GAUNTLET: dict[str, Any] = {"scenario": "gauntlet", "step_min": 60}
WORLDS = pytest.mark.parametrize(
    "config", [PLAIN, RICH, GAUNTLET, HARD], ids=["plain", "rich", "gauntlet", "hard"]
)


def _bits(scenario: int, steps: int, num_cars: int) -> NDArray[np.int8]:
    return random_bits(scenario, (steps, num_cars), share=0.2 + 0.1 * (scenario % 8))


def _days(scenarios: list[int], num_cars: int, **config: Any) -> list[list[Any]]:
    """Everything each row was told in each step, by row."""
    env = FleetVectorEnv(num_envs=len(scenarios), num_cars=num_cars, car_reward=True, **config)
    obs, _ = env.reset(options={"scenario_seeds": scenarios})
    steps = env.config.num_steps
    actions = np.stack([_bits(s, steps, num_cars) for s in scenarios], axis=1)
    told = [[_row(obs, row)] for row in range(len(scenarios))]
    for k in range(steps):
        obs, reward, _, info = env.play(actions[k])
        for row, day in enumerate(told):
            day.append((_row(obs, row), reward[row], _row(info, row)))
    return told


def _row(value: Any, row: int) -> Any:
    if isinstance(value, dict):
        return {key: _row(inner, row) for key, inner in value.items()}
    return value[row].copy()


def _assert_same_days(a: list[Any], b: list[Any]) -> None:
    assert_same(a[0], b[0], "reset")
    for k, (mine, other) in enumerate(zip(a[1:], b[1:], strict=True)):
        for x, y, what in zip(mine, other, ("obs", "reward", "info"), strict=True):
            assert_same(x, y, f"step {k} {what}")


@WORLDS
def test_batches_of_1_3_and_7_play_bit_equal_days(config: dict[str, Any]) -> None:
    seven = list(range(7))
    of_7 = _days(seven[::-1], 17, **config)
    of_3 = _days([6, 0, 3], 17, **config)
    for place, scenario in enumerate((6, 0, 3)):
        alone = _days([scenario], 17, **config)[0]
        _assert_same_days(alone, of_3[place])
        _assert_same_days(alone, of_7[6 - scenario])


@pytest.mark.parametrize("config", [PLAIN, RICH], ids=["plain", "rich"])
def test_batches_of_1_7_and_64_play_bit_equal_days(config: dict[str, Any]) -> None:
    many = list(range(64))
    of_64 = _days(many[::-1], 17, **config)  # every scenario at another place
    of_7 = _days(many[:7], 17, **config)
    for scenario in (0, 3, 6):
        alone = _days([scenario], 17, **config)[0]
        _assert_same_days(alone, of_7[scenario])
        _assert_same_days(alone, of_64[63 - scenario])


@WORLDS
def test_rows_longer_than_a_block_play_bit_equal_days(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    """Rows of 40 cars in blocks of 16, 16 and 8, on several threads."""
    monkeypatch.setattr(sim, "split_blocks", partial(split_blocks, block_cars=16))
    together = _days([5, 8, 2], 40, **config)
    assert len(split_blocks(3, 40, block_cars=16)) == 9
    for position, scenario in enumerate((5, 8, 2)):
        alone = _days([scenario], 40, **config)[0]
        _assert_same_days(alone, together[position])
    _assert_same_days(_days([8], 40, **config)[0], _days([8], 40, **config)[0])


@pytest.mark.parametrize("config", [RICH, HARD], ids=["rich", "hard"])
def test_whole_rows_in_other_blocks_play_bit_equal_days(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    """Several rows in a block or one: where a block ends between rows does not matter."""
    plain = _days([1, 2, 3, 4, 5], 12, **config)
    for block_cars in (12, 30, 59):
        monkeypatch.setattr(sim, "split_blocks", partial(split_blocks, block_cars=block_cars))
        for mine, other in zip(_days([1, 2, 3, 4, 5], 12, **config), plain, strict=True):
            _assert_same_days(mine, other)


def test_one_thread_plays_bit_equal_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim, "split_blocks", partial(split_blocks, block_cars=9))
    many = _days([4, 7], 40, **HARD)
    for module in (sim, transformers):
        monkeypatch.setattr(module, "for_each", lambda jobs, work: [work(job) for job in jobs])
    for mine, other in zip(_days([4, 7], 40, **HARD), many, strict=True):
        _assert_same_days(mine, other)


@pytest.mark.parametrize("config", [PLAIN, HARD], ids=["plain", "hard"])
def test_cuts_inside_a_row_move_sums_by_rounding_alone(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    plain = _days([4], 40, **config)[0]
    monkeypatch.setattr(sim, "split_blocks", partial(split_blocks, block_cars=7))
    cut = _days([4], 40, **config)[0]
    for (obs, reward, info), (obs2, reward2, info2) in zip(plain[1:], cut[1:], strict=True):
        np.testing.assert_array_equal(obs["mask"], obs2["mask"])
        np.testing.assert_allclose(obs2["cars"], obs["cars"], rtol=1e-5, atol=1e-6)
        assert reward2 == pytest.approx(reward, rel=1e-6, abs=1e-7)
        assert info2["metric/on_duty_h"] == pytest.approx(info["metric/on_duty_h"])


def test_split_names_the_day_as_well_as_the_index() -> None:
    days = {split: _days([3], 10, split=split, step_min=60)[0] for split in ("train", "test")}
    assert (days["train"][0]["cars"] != days["test"][0]["cars"]).any()


def _tape(policy: str, config: dict[str, Any]) -> list[dict[str, Any]]:
    env = FleetVectorEnv(num_envs=3, num_cars=25, days=2, **config)
    env.reset(seed=11)
    rng, steps = np.random.default_rng(0), []
    share = {"off": 0.0, "random": 0.5, "on": 1.0}[policy]
    for _ in range(env.config.num_steps):
        env.play(rng.random((3, 25)) < share)
        state, exo = env.sim.world.state, env.sim.exo
        moment = {name: getattr(state, name).copy() for name in TAPE}
        moment["arrived"] = env.sim.flows.arrived.copy()
        moment["price"] = exo.price_usd_per_kwh.copy()
        moment["ambient"] = exo.ambient_c.copy()
        steps.append(moment)
    assert (env.sim.world.state.gap != 0).any() == (policy != "off")
    return steps


@WORLDS
def test_the_tape_of_the_world_is_identical_under_every_policy(config: dict[str, Any]) -> None:
    tapes = {policy: _tape(policy, config) for policy in ("off", "random", "on")}
    for policy in ("random", "on"):
        for k, (mine, other) in enumerate(zip(tapes["off"], tapes[policy], strict=True)):
            assert_same(mine, other, f"{policy} step {k}")
    moved = [tapes["off"][0]["event_no"], tapes["off"][-1]["event_no"]]
    assert (moved[1] > moved[0]).any()  # the world did move
    if config is HARD:
        assert any(moment["dark"].any() for moment in tapes["on"])
        assert any(moment["fault"].any() for moment in tapes["on"])


def test_hard_days_are_what_the_tests_think() -> None:
    """Every feature does something in the days that the tests above play."""
    seen: dict[str, float] = {}
    for day in _days([0, 3, 4, 6], 40, **HARD):
        for _, _, info in day[1:]:
            for key, value in info.items():
                if key.startswith(("metric/", "reward/")):
                    seen[key] = seen.get(key, 0.0) + abs(float(value))
    reasons = ("no_link", "opted_out", "silent", "capped", "quiet", "reserve", "unplugged")
    wanted = ["feeder_cut_kwh", "dropouts", "quiet_h", "downloaded_gb", "requeued_batch_70b"]
    wanted += [f"refused_{reason}" for reason in reasons]
    assert [name for name in wanted if seen[f"metric/{name}"] == 0] == []
    assert seen["reward/capacity"] > 0


@pytest.mark.parametrize("name", UNCERTAIN)
def test_what_is_drawn_is_played_as_if_the_card_had_it(name: str) -> None:
    """A range of one value is that value, in a batch and alone; only what is shown differs."""
    section = UNCERTAIN[name]
    value = 1.5 * getattr(getattr(EnvConfig(), section), name)
    value = min(value, 0.9) if name.endswith("share") else value
    drawn, alone, card = (
        _days(scenarios, 25, step_min=60, **{section: {name: put}}, randomise=spread)
        for scenarios, put, spread in (
            ([2, 3], getattr(getattr(EnvConfig(), section), name), {name: [value, value]}),
            ([3], getattr(getattr(EnvConfig(), section), name), {name: [value, value]}),
            ([2, 3], value, {}),
        )
    )
    for mine, other in zip(drawn, card, strict=True):
        for (_, reward, info), (_, reward2, info2) in zip(mine[1:], other[1:], strict=True):
            assert reward == pytest.approx(reward2, rel=1e-9, abs=1e-12)
            for key in info.keys() - {"episode_sums"}:
                np.testing.assert_allclose(info[key], info2[key], rtol=1e-9, atol=1e-12)
    _assert_same_days(drawn[1], alone[0])

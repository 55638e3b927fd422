"""Parameters drawn for every episode: range, independence of the batch, and what they change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fleet_env import draws
from fleet_env.config import EnvConfig
from fleet_env.generators.start import mean_plugged_linked
from fleet_env.scenarios import scenario
from fleet_env.uncertain import UNCERTAIN, cards_of_rows, check_randomise, draw_uncertain
from fleet_env.vector_env import FleetVectorEnv
from tests.contract.plays import random_bits

# A morning in which owners who plug in often leave, some of them short: every name has an effect.
MORNING: dict[str, Any] = {
    "num_cars": 30,
    "start_hour": 5.0,
    "fleet": {"paid_habits": True, "level1_share": 0.5},
    "reward": {"shortfall_deadband_soc": 0.0},
}
ROWS, STEPS = 2, 20
# one value each that is far from that of the suburb
SET = {
    "overhead_w": 250.0,
    "chip_w_factor": 1.25,
    "throughput_factor": 0.5,
    "home_link_share": 0.9,
    "work_link_share": 0.9,
    "level1_share": 0.9,
    "closed_garage_share": 1.0,
    "load": 0.25,
    "trusted_only_share": 0.2,
    "batch_share": 0.6,
    "usd_per_mtok_70b": 0.42,
    "usd_per_mtok_8b": 0.03,
    "pack_usd_per_kwh": 250.0,
    "shortfall_usd": 50.0,
}


def setting(config: EnvConfig, name: str) -> float:
    return float(getattr(getattr(config, UNCERTAIN[name]), name))


def keys(*index: int) -> Any:
    return draws.scenario_key("train", np.array(index))


def test_the_table_names_numbers_of_the_card() -> None:
    assert set(SET) == set(UNCERTAIN)
    for name, value in SET.items():
        assert setting(EnvConfig(), name) != value


def test_draws_fill_their_range() -> None:
    config = EnvConfig(randomise={"load": [0.25, 1.0], "overhead_w": [60.0, 250.0]})
    drawn = draw_uncertain(config, keys(*range(4000)))
    for name, (low, high) in config.randomise.items():
        share = np.sort((drawn[name] - low) / (high - low))
        assert low <= drawn[name].min()
        assert drawn[name].max() < high
        # Kolmogorov-Smirnov: 1.95 / sqrt(n) is passed by one uniform sample in a thousand
        assert np.abs(share - (np.arange(4000) + 0.5) / 4000).max() < 1.95 / np.sqrt(4000)
    assert abs(np.corrcoef(drawn["load"], drawn["overhead_w"])[0, 1]) < 0.05


def test_draws_by_hand() -> None:
    config = EnvConfig(randomise={"shortfall_usd": [5.0, 50.0]})
    unit = draws.unit_keys(keys(7), draws.Stream.UNCERTAIN, np.array(13))
    u = float(draws.uniform(unit, np.array(0), 1)[0, 0])
    assert list(UNCERTAIN)[13] == "shortfall_usd"
    assert draw_uncertain(config, keys(7))["shortfall_usd"] == pytest.approx([5.0 + 45.0 * u])


def test_draws_do_not_depend_on_the_batch_nor_on_what_else_is_drawn() -> None:
    both = EnvConfig(randomise={"load": [0.25, 1.0], "level1_share": [0.15, 0.5]})
    alone = EnvConfig(randomise={"level1_share": [0.15, 0.5]})
    drawn = draw_uncertain(both, keys(3, 5, 8))
    assert list(drawn) == ["level1_share", "load"]  # the order of the table
    for row, index in enumerate((3, 5, 8)):
        single = draw_uncertain(alone, keys(index))
        np.testing.assert_array_equal(drawn["level1_share"][row], single["level1_share"][0])
    assert len(set(drawn["load"])) == 3
    other = draw_uncertain(both, draws.scenario_key("test", np.array([3])))
    assert other["load"][0] != drawn["load"][0]


def test_nothing_is_drawn_by_default() -> None:
    config = EnvConfig()
    assert draw_uncertain(config, keys(0, 1)) == {}
    assert all(card is config for card in cards_of_rows(config, {}, 2))


def test_cards_of_rows_by_hand() -> None:
    config = scenario("suburb", randomise={"load": [0.25, 1.0], "overhead_w": [60.0, 250.0]})
    drawn = {"overhead_w": np.array([70.0, 200.0]), "load": np.array([0.3, 0.9])}
    first, second = cards_of_rows(config, drawn, 2)
    assert [setting(first, name) for name in drawn] == [70.0, 0.3]
    assert [setting(second, name) for name in drawn] == [200.0, 0.9]
    card = replace(
        config,
        serving=replace(config.serving, overhead_w=70.0),
        demand=replace(config.demand, load=0.3),
    )
    assert first == card  # all else is the card's
    assert [setting(config, name) for name in drawn] == [120.0, 0.5]


@pytest.mark.parametrize(
    ("randomise", "message"),
    [
        ({"overhead": [1, 2]}, r"randomise='overhead'.*\(did you mean 'overhead_w'\?\)"),
        ({"serving.overhead_w": [1, 2]}, r"did you mean 'overhead_w'\?"),
        ({"zzz": [1, 2]}, r"randomise='zzz': expected one of overhead_w, .*shortfall_usd$"),
        ({"load": [1.0, 0.5]}, r"randomise\.load=\[1\.0, 0\.5\]: expected \[low, high\]"),
        ({"load": [0.5]}, r"randomise\.load=\[0\.5\]: expected \[low, high\]"),
        ({"load": 0.5}, r"randomise\.load=0\.5: expected \[low, high\]"),
        ({"load": "ab"}, r"randomise\.load='ab': expected \[low, high\]"),
        ({"load": ["a", "b"]}, r"randomise\.load=\['a', 'b'\]: expected \[low, high\]"),
        ({"load": [0.5, float("nan")]}, r"randomise\.load=\[0\.5, nan\]: expected \[low, high\]"),
        ({"load": [0.5, 101.0]}, r"demand\.load=101\.0: expected a number in \[0, 100\]"),
        ({"level1_share": [-0.1, 0.5]}, r"fleet\.level1_share=-0\.1: expected a number in \[0, 1"),
    ],
)
def test_unknown_names_and_bad_ranges_are_refused(randomise: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_randomise(EnvConfig(randomise=randomise))
    with pytest.raises(ValueError, match=message):  # and before anything is played
        FleetVectorEnv(num_envs=1, num_cars=3, randomise=randomise)


def test_every_name_can_be_set() -> None:
    check_randomise(EnvConfig(randomise={name: (value, value) for name, value in SET.items()}))


def test_the_reset_info_says_what_was_drawn() -> None:
    env = FleetVectorEnv(num_envs=3, num_cars=3, randomise={"load": [0.25, 1.0]})
    _, info = env.reset(options={"scenario_seeds": [4, 9, 2]})
    np.testing.assert_array_equal(
        info["uncertain"]["load"], draw_uncertain(env.config, keys(4, 9, 2))["load"]
    )
    info["uncertain"]["load"][:] = 0.0  # a copy: what a caller does to it changes nothing
    assert (env.sim.drawn["load"] > 0).all()
    _, plain = FleetVectorEnv(num_envs=1, num_cars=3).reset(seed=0)
    assert "uncertain" not in plain


def fleet(num_envs: int, *overrides: dict[str, dict[str, Any]]) -> FleetVectorEnv:
    settings = dict(MORNING)
    for override in overrides:
        for section, values in override.items():
            settings[section] = {**settings.get(section, {}), **values}
    return FleetVectorEnv("suburb", num_envs, **settings)


def play(*overrides: dict[str, dict[str, Any]]) -> tuple[Any, dict[str, Any]]:
    """Rewards of some steps of random duty, and what was booked, shapes (steps, rows)."""
    env = fleet(ROWS, *overrides)
    env.reset(seed=11)
    played = [env.play(action) for action in random_bits(5, (STEPS, ROWS, MORNING["num_cars"]))]
    names = [name for name in played[0][3] if name.startswith(("reward/", "metric/", "cost/"))]
    booked = {name: np.array([info[name] for *_, info in played]) for name in names}
    return np.array([reward for _, reward, _, _ in played]), booked


@pytest.fixture(scope="module")
def plain() -> Any:
    return play()[0]


@pytest.mark.parametrize("name", UNCERTAIN)
def test_a_card_that_draws_one_value_plays_as_the_card_with_that_value(
    name: str, plain: Any
) -> None:
    value = SET[name]
    drawn, drawn_books = play({"randomise": {name: [value, value]}})
    as_set, books = play({UNCERTAIN[name]: {name: value}})
    for key in books:
        np.testing.assert_array_equal(drawn_books[key], books[key], key)
    np.testing.assert_array_equal(drawn, as_set)
    assert (drawn != plain).any(), "the setting makes no difference here: the test is empty"


@pytest.mark.parametrize("name", UNCERTAIN)
def test_so_does_one_with_a_data_centre_paid_by_its_peak(name: str) -> None:
    """Up to rounding, as the charge on the peak is a quotient of sums.

    That charge stays the card's (docs/model.md 5.9), and so do the prices that weigh its load: with
    a drawn price the term is that of the card as it is.
    """
    peak, value = {"datacentre": {"dc_cost": "peak"}}, SET[name]
    _, drawn = play(peak, {"randomise": {name: [value, value]}})
    _, as_set = play(peak, {UNCERTAIN[name]: {name: value}})
    if UNCERTAIN[name] == "datacentre":
        as_set["reward/capacity"] = play(peak)[1]["reward/capacity"]
        assert as_set["reward/capacity"].any()
    for key in as_set:
        np.testing.assert_allclose(drawn[key], as_set[key], rtol=1e-9, atol=1e-12, err_msg=key)


def test_rows_that_draw_different_values_play_as_cards_of_their_own() -> None:
    ranges = {"load": [0.25, 1.0], "overhead_w": [60.0, 250.0], "home_link_share": [0.4, 0.85]}
    env = fleet(2, {"randomise": ranges})
    _, info = env.reset(options={"scenario_seeds": [21, 34]})
    bits = random_bits(6, (STEPS, 2, MORNING["num_cars"]))
    together = np.array([env.play(action)[1] for action in bits])
    for row, index in enumerate((21, 34)):
        alone = fleet(
            1, *({UNCERTAIN[n]: {n: float(v[row])}} for n, v in info["uncertain"].items())
        )
        alone.reset(options={"scenario_seeds": [index]})
        played = [alone.play(action[row : row + 1])[1][0] for action in bits]
        np.testing.assert_array_equal(together[:, row], played)


def test_links_change_the_level_of_demand_too() -> None:
    """`load` is relative to the plugged and linked cars, and these are the row's own."""
    low, high = (scenario("suburb", fleet={"home_link_share": v}) for v in (0.4, 0.85))
    assert mean_plugged_linked(high) > 1.5 * mean_plugged_linked(low)

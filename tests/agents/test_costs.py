"""Costs and sight that rules and planners share, with steps of other lengths."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from agents import registry
from agents.base import Obs
from agents.costs.sight import Sight, SightMemory, SightSettings
from agents.oracle.outlook import PlanSettings, _peak
from agents.oracle.plan import NUM_INTERVALS, Grid, Wanted
from fleet_env.scenarios import scenario
from fleet_env.vector_env import FleetVectorEnv
from fleet_env.views.costs import CostSettings, price_cars
from fleet_env.views.index import INDEX_FEATURES, Candidates, index_duty

RNG = np.random.default_rng(0)
PRICED_IN_FULL = ("full_cost_first", "mpc", "price_index")


@pytest.fixture
def seen_end_h(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Hours to the end of the episode of the first row, as policies see them one by one."""
    seen: list[float] = []
    original = Sight.of.__func__  # type: ignore[attr-defined]

    def spy(cls: type[Sight], *given: Any) -> Sight:
        sight = cast("Sight", original(cls, *given))
        seen.append(float(sight.end_h[0]))
        return sight

    monkeypatch.setattr(Sight, "of", classmethod(spy))
    return seen


@pytest.mark.parametrize("name", PRICED_IN_FULL)
@pytest.mark.parametrize("step_min", [15, 30, 60])
def test_it_plays_and_knows_the_end_at_every_length_of_a_step(
    seen_end_h: list[float], name: str, step_min: int
) -> None:
    config = scenario("suburb", num_cars=30, step_min=step_min)
    env = FleetVectorEnv(num_envs=2, split="train", config=config)
    policy = registry.make(name, step_h=step_min / 60)
    obs, _ = env.reset(options={"scenario_seeds": [0, 1]})
    policy.reset(np.ones(2, np.bool_))
    for _ in range(4):
        action = policy.act(cast("Obs", obs), RNG)
        assert (action <= obs["mask"]).all()  # type: ignore[index]
        obs, _, _, _ = env.play(action)
    assert seen_end_h[0] == np.inf  # one look does not tell how long a step is of the whole
    expected = [24.0 - step * step_min / 60 for step in (1, 2, 3)]
    assert seen_end_h[1:] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", PRICED_IN_FULL)
@pytest.mark.parametrize("step_h", [0.25, 0.5])
def test_packs_follow_the_air_by_the_length_of_a_step(
    make_obs: Any, name: str, step_h: float
) -> None:
    policy: Any = registry.make(name, step_h=step_h)
    for ambient in (20.0, 30.0):
        policy.act(make_obs(fleet={"ambient": ambient}), RNG)
    # a lag of 7 h
    expected = 20.0 + 10.0 * (1.0 - np.exp(-step_h / 7.0))
    np.testing.assert_allclose(policy._memory.pack._pack_c, expected, rtol=1e-6)


def test_the_price_index_replans_by_the_hour(make_obs: Any) -> None:
    policy: Any = registry.make("price_index", step_h=0.5, replan_h=1.0)
    ages = []
    for _ in range(4):
        policy.act(make_obs(), RNG)
        ages.append(policy._memory.plans[0][0])
    assert ages == [0, 1, 0, 1]


@pytest.mark.parametrize("step_h", [0.25, 0.5, 1.0])
def test_the_coming_hour_of_a_peak_is_four_quarters(make_obs: Any, step_h: float) -> None:
    ones = np.ones(NUM_INTERVALS)
    work = Wanted(
        chat_8b=0 * ones, chat_70b=0.1 * ones, chat_sd=0.1 * ones, due_car_h=0 * ones,
        released_car_h=0 * ones, value_8b=0.3, value_70b=0.3, value_batch=0.3, speed_8b=np.ones(2),
    )  # fmt: skip
    plain = PlanSettings(
        step_h=step_h, peak_sd=2.0, peak_later_sd=0.0, trusted_share=0.5, capital_share=0.7
    )
    obs = make_obs(fleet={"peak_usd_per_usd_h": 10.0})
    peak = _peak(obs, 0, work, Grid.until(np.inf, step_h), plain)
    assert peak is not None
    # 0.1 of 0.3 USD/h, of which 30 % is saved by it: 1 USD/h; half of all chat is trusted
    np.testing.assert_allclose(peak.all_chat[:4], 0.2 * 1.2, rtol=1e-6)
    np.testing.assert_allclose(peak.all_chat[4:], 0.2, rtol=1e-6)


@pytest.mark.parametrize("name", PRICED_IN_FULL)
def test_a_step_of_two_hours_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{registry.policy_class(name).__name__}\.step_h=2\.0"):
        registry.make(name, step_h=2.0)


def test_two_of_a_kind_remember_apart(make_obs: Any) -> None:
    one, other = (cast("Any", registry.make("full_cost_first")) for _ in range(2))
    one.act(make_obs(), RNG)
    assert one._memory.pack._pack_c is not None
    assert other._memory.pack._pack_c is None
    assert one == other  # memory is no setting


@pytest.fixture(scope="module", params=["suburb", "gauntlet"])
def recorded(request: pytest.FixtureRequest) -> list[tuple[Candidates, Sight]]:
    """Every third hour of a day that `full_cost_first` plays, as the index and as it sees it."""
    config = scenario(request.param, num_cars=400)
    env, policy = FleetVectorEnv(config=config), registry.make("full_cost_first")
    settings, memory = SightSettings(), SightMemory.empty(0.25)
    obs = cast("Obs", env.reset(options={"scenario_seeds": [5]})[0])
    seen = []
    for step in range(config.num_steps):
        sight = Sight.of(obs, settings, memory)
        if step % 12 == 0:
            seen.append((Candidates.of(obs), sight))
        obs = cast("Obs", env.play(policy.act(obs, RNG))[0])
    return seen


FEATURES = [feature.name for feature in INDEX_FEATURES]
MONEY = {"energy": -1.0, "wear": -1.0, "risk": -1.0}


def test_features_of_money_add_up_to_what_planners_pay(
    recorded: list[tuple[Candidates, Sight]],
) -> None:
    """For an hour of a car, with the pack as warm as the air; the pay is the same for all."""
    for cars, _ in recorded:
        value = dict(zip(FEATURES, cars.features, strict=True))
        costs = price_cars(cars, cars("ambient"), CostSettings(), 0.25)
        uncut = (value["wear"] < 10) & (value["risk"] < 10) & (np.abs(value["energy"]) < 10)
        assert uncut.mean() > 0.8
        money = 0.10 * sum(value[name] for name in MONEY)
        wanted = costs.usd_per_h - costs.pay_usd_per_h
        np.testing.assert_allclose(money[uncut], wanted[uncut], rtol=1e-4, atol=1e-6)


def in_common(
    recorded: list[tuple[Candidates, Sight]], by_name: dict[str, float], *, start: bool
) -> float:
    """Share of the best 40 % by full cost that are among the best 40 % of the index."""
    weights = np.array([[by_name.get(name, 0.0) for name in FEATURES]])
    both = best = 0
    for cars, sight in recorded:
        cost = sight.costs.usd_per_h + sight.start_usd(SightSettings()) * start
        wanted = np.argsort(cost, kind="stable")[: round(0.4 * cost.size)]
        chosen = index_duty(cars, weights, np.array([0.4])).ravel()[cars.at]
        both, best = both + int(chosen[wanted].sum()), best + wanted.size
    assert best > 100
    return both / best


def test_the_index_ranks_cars_as_the_planners_do(
    recorded: list[tuple[Candidates, Sight]],
) -> None:
    """Within 5 % of the cars for an hour at work: planners remember the temperature of the pack.

    Within 15 % with the start, which the index pays off over the stay, planners over an hour.
    """
    assert in_common(recorded, MONEY, start=False) > 0.95
    assert in_common(recorded, MONEY | {"wear": 0.0}, start=False) < 0.9
    hour = {"start": -0.28 / 0.10}  # what an hour of a busy car is worth
    assert in_common(recorded, MONEY | hour, start=True) > 0.85

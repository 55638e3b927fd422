"""What one more car is worth: by hand, against the slope of `serve` itself, and shared out to cars.

The slope is taken in float64 on both sides; where the step has a kink there, the worth lies between
the two slopes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_env import credit
from fleet_env import sim as sim_module
from fleet_env.blocks import split_blocks
from fleet_env.config import DemandConfig, EnvConfig, FleetConfig, RewardConfig
from fleet_env.config_world import RegionConfig
from fleet_env.credit import Losses, marginal_usd
from fleet_env.dynamics.admission import Tape
from fleet_env.dynamics.marginal import Worth, capacity_worth, limit_slope
from fleet_env.dynamics.queueing import build_wait_table
from fleet_env.dynamics.serving import QueueState, serve
from fleet_env.dynamics.serving_setup import ServingSetup, serving_setup
from fleet_env.types import BATCH_70B, CHAT_8B, CHAT_70B, FloatArray
from fleet_env.vector_env import FleetVectorEnv
from tests.contract.plays import play, random_bits
from tests.property.serving_cases import SPECS, Case, Spec, random_case

J = 15
PRICE = np.array([3e-6, 6e-5, 5e-5])  # USD per request


@pytest.fixture(scope="module")
def suburb() -> ServingSetup:
    return serving_setup(EnvConfig(), ["ai5"])


@dataclass
class Step:
    """One row with nothing to do, of which a test changes what it needs."""

    setup: ServingSetup
    cars: FloatArray
    chat: FloatArray
    due: FloatArray
    new: FloatArray

    @classmethod
    def of(cls, setup: ServingSetup, cars: float) -> Step:
        shape = (1, setup.num_regions)
        return cls(
            setup,
            np.full((*shape, setup.num_groups, J), cars),
            np.zeros((*shape, 2, J)),
            np.zeros((1, setup.max_due + 1)),
            np.zeros((1, len(setup.due_steps))),
        )

    def worth(self) -> Worth:
        tape, none = Tape(), np.zeros(self.cars.shape[:3])
        due, running = self.due.copy(), np.zeros((1, 3))
        queue = (due, self.new, running, none, np.zeros(1))
        serve(self.setup, self.cars, self.chat, *queue, tape=tape)
        return capacity_worth(self.setup, tape, PRICE)


def test_where_cars_exceed_demand_a_minute_is_worth_nothing(suburb: ServingSetup) -> None:
    step = Step.of(suburb, cars=100.0)
    step.chat[:] = 0.3 * 60 * 100 * suburb.rate[0, :2, None]
    step.new[:] = 0.2 * 900 * 100 * suburb.rate[0, BATCH_70B] / 3
    worth = step.worth()
    assert not worth.car_usd.any()
    assert not worth.batch_usd.any()


def test_where_batch_work_waits_a_minute_is_worth_what_it_does_of_it(suburb: ServingSetup) -> None:
    step = Step.of(suburb, cars=10.0)
    step.due[0, 5] = 2.0 * 900 * 10 * suburb.rate[0, BATCH_70B]
    worth = step.worth()
    assert worth.car_usd == pytest.approx(60 * suburb.rate[0, BATCH_70B] * PRICE[BATCH_70B])
    assert worth.batch_usd.tolist() == [PRICE[BATCH_70B]]


def test_room_before_the_work_comes_is_worth_nothing(suburb: ServingSetup) -> None:
    """Cars for 7 minutes, more than the work; then none, and the work goes on coming."""
    step = Step.of(suburb, cars=10.0)
    step.cars[..., 7:] = 0.0
    step.new[0, 0] = 0.5 * 900 * 10 * suburb.rate[0, BATCH_70B]
    worth = step.worth()
    assert not worth.car_usd[..., :7].any()
    full = 60 * suburb.rate[0, BATCH_70B] * PRICE[BATCH_70B]
    assert worth.car_usd[..., 7:] == pytest.approx(full)


def test_where_chat_is_turned_away_a_minute_is_worth_its_price_mix(suburb: ServingSetup) -> None:
    step, rate = Step.of(suburb, cars=100.0), suburb.rate[0]
    step.chat[0, 0, CHAT_8B] = 60 * 100 * rate[CHAT_8B]  # as much work again as of the other
    step.chat[0, 0, CHAT_70B] = 60 * 100 * rate[CHAT_70B]
    mix_usd = 60 * 0.5 * (rate[:2] @ PRICE[:2])
    pool = suburb.pools[0]
    slope = float(limit_slope(pool.table, pool.table.locate(np.array([3200.0])))[0])
    assert 0.99 < slope < 1.0  # a larger pool runs closer to full
    assert step.worth().car_usd == pytest.approx(slope * mix_usd)
    # what admission keeps free of chat goes to batch work that waits
    step.due[0, 9] = 1e9
    batch_usd = 60 * rate[BATCH_70B] * PRICE[BATCH_70B]
    assert step.worth().car_usd == pytest.approx(slope * mix_usd + (1 - slope) * batch_usd)


@pytest.mark.parametrize("slack", [1e-3, 0.07, 0.5, 3.0, 50.0])
def test_from_two_slots_up_chat_never_takes_more_than_a_new_car_brings(slack: float) -> None:
    table, servers = build_wait_table(slack, 0.99), np.logspace(np.log10(2.0), 11, 20001)
    slope = limit_slope(table, table.locate(servers))
    assert (slope > 0.2).all()
    assert (slope <= 1.0).all()


def test_work_that_finds_room_further_away_asks_for_no_car() -> None:
    places = {
        "a": RegionConfig(latitude_deg=37.4, longitude_deg=-122.0),
        "b": RegionConfig(latitude_deg=30.3, longitude_deg=-97.7),
    }
    setup = serving_setup(EnvConfig(regions=places), ["ai5"])
    step = Step.of(setup, cars=100.0)
    step.chat[0, 0, CHAT_8B] = 1.5 * 60 * 100 * setup.rate[0, CHAT_8B]
    assert not step.worth().car_usd.any()
    step.chat[0, 0, CHAT_8B] *= 2.0  # too much for both
    worth = step.worth().car_usd
    full = 60 * setup.rate[0, CHAT_8B] * PRICE[CHAT_8B]
    assert worth == pytest.approx(full, rel=0.01)
    assert worth[0, 0] == pytest.approx(worth[0, 1])


@pytest.mark.parametrize("servers", [1e-3, 0.7, 9.6, 33.0, 640.0, 3.2e4, 3.2e9])
def test_slope_of_the_limit_is_that_of_the_table(suburb: ServingSetup, servers: float) -> None:
    table = suburb.pools[0].table

    def limit(count: float) -> float:
        return float(count * table.rho_max(table.locate(np.array([count])))[0])

    step = 1e-6 * servers
    slope = (limit(servers + step) - limit(servers - step)) / (2 * step)
    got = float(limit_slope(table, table.locate(np.array([servers])))[0])
    assert got == pytest.approx(slope, rel=1e-6)


def _credit(
    case: Case, cars: FloatArray, price: FloatArray, tape: Tape | None = None
) -> FloatArray:
    """Credit of what is dispatched, shape (num_envs,)."""
    queue = QueueState(case.queue.batch_due.copy(), case.queue.running.copy())
    due, running = queue.batch_due, queue.running
    lost, off = case.lost_cars, case.off_share
    flows = serve(case.setup, cars, case.chat, due, case.batch_new, running, lost, off, tape=tape)
    usd: FloatArray = flows.dispatched @ price
    return usd


@settings(derandomize=True, deadline=None, max_examples=300)
@given(SPECS, st.integers(0, 2**31))
def test_worth_is_the_slope_of_what_is_dispatched(spec: Spec, seed: int) -> None:
    case, rng = random_case(spec), np.random.default_rng(seed)
    price, tape = PRICE * rng.uniform(0.2, 2.0, 3), Tape()
    usd = _credit(case, case.cars, price, tape)
    worth = capacity_worth(case.setup, tape, price).car_usd
    largest = 60.0 * (case.setup.rate * price).max()  # USD a minute of a car can do at the most
    for _ in range(3):
        region, group, minute = (rng.integers(n) for n in case.cars.shape[1:])
        cell = (slice(None), region, group, minute)
        slopes, small = [], np.maximum(1e-7, 1e-6 * case.cars[cell])
        for sign in (1.0, -1.0):
            other = case.cars.copy()
            other[cell] = np.maximum(other[cell] + sign * small, 0.0)
            moved = other[cell] - case.cars[cell]
            change = _credit(case, other, price) - usd
            slopes.append(np.divide(change, moved, out=np.full_like(moved, np.nan),
                                    where=moved != 0))  # fmt: skip
        tolerance = 2e-5 * largest + 1e-13 * usd / small  # curvature; float64 of the difference
        assert (worth[cell] >= np.fmin(*slopes) - tolerance).all()
        assert (worth[cell] <= np.fmax(*slopes) + tolerance).all()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(SPECS)
def test_a_row_alone_has_the_same_worth_bit_for_bit(spec: Spec) -> None:
    case = random_case(replace(spec, num_envs=5))
    tape = Tape()
    _credit(case, case.cars, PRICE, tape)
    whole = capacity_worth(case.setup, tape, PRICE)
    for row in (0, 3):
        own = slice(row, row + 1)
        queue = QueueState(case.queue.batch_due[own], case.queue.running[own])
        alone = replace(
            case, cars=case.cars[own], chat=case.chat[own], queue=queue,
            batch_new=case.batch_new[own], lost_cars=case.lost_cars[own],
            off_share=case.off_share[own],
        )  # fmt: skip
        tape = Tape()
        _credit(alone, alone.cars, PRICE, tape)
        worth = capacity_worth(case.setup, tape, np.array([PRICE]))
        np.testing.assert_array_equal(worth.car_usd[0], whole.car_usd[row])
        np.testing.assert_array_equal(worth.batch_usd[0], whole.batch_usd[row])


def _part(**given_: Any) -> Any:
    """Three cars of one row: area 0, group 0, the last in a closed garage."""
    flows = {
        "serve_from": np.array([0.0, 2.5, 1.0]), "serve_to": np.array([4.0, 3.75, 1.0]),
        "serve_min": np.array([4.0, 1.25, 0.0]), "cut": np.array([False, True, True]),
    }  # fmt: skip
    fields = {
        "cars": np.array([0, 2, 3]), "row": np.zeros(3, int), "kind": np.array([0, 0, 1]),
        "weight": np.array([1.0, 0.5, 1.5]), "stops": np.array([True, False, False]),
        "cellular": None,
    }  # fmt: skip
    return SimpleNamespace(flows=SimpleNamespace(**flows), **{**fields, **given_})


NO_LOSS = Losses(np.zeros(1), np.zeros(1), np.zeros(1))


def test_a_car_is_credited_the_minutes_it_served() -> None:
    own = np.array([-1.0, -2.0, -3.0, -4.0])
    worth = Worth(np.array([[[[1.0, 10.0, 100.0, 1000.0]]]]), np.zeros(1))
    got = marginal_usd(own, split_blocks(1, 4), [_part()], worth, NO_LOSS)
    assert got.tolist() == [1111.0 - 1.0, -2.0, 0.5 * (50.0 + 750.0) - 3.0, -4.0]
    assert own.tolist() == [-1.0, -2.0, -3.0, -4.0]  # not changed


def test_losses_go_to_the_cars_that_had_a_part_in_them() -> None:
    nothing, worth = np.zeros(4), Worth(np.zeros((1, 1, 1, 4)), np.zeros(1))
    blocks, part = split_blocks(1, 4), _part(cellular=np.array([True, True, False]))
    by_kind = {
        "cut_usd": [0.0, 0.0, -2.0, -6.0],  # by weight, 0.5 to 1.5
        "back_usd": [-8 / 3, 0.0, -4 / 3, -4.0],  # switched off, too
        "data_usd": [-8 * 4 / 5.25, 0.0, -8 * 1.25 / 5.25, 0.0],  # by minutes on such links
    }
    for name, want in by_kind.items():
        losses = replace(NO_LOSS, **{name: np.array([8.0])})
        assert marginal_usd(nothing, blocks, [part], worth, losses) == pytest.approx(want), name


def test_losses_are_priced_as_the_ledger_does() -> None:
    flows: Any = SimpleNamespace(
        lost=np.array([[10.0, 2.0, 0.0]]), requeued=np.array([7.0]), late=np.array([[5.0, 5.0, 0]])
    )
    price, worth = np.array([1.0, 3.0, 2.0]), Worth(np.zeros((1, 1, 1, 4)), np.array([2.0]))
    losses = Losses.of(flows, price, worth, np.array([0.25]), RewardConfig(slo_penalty=0.5))
    assert (losses.cut_usd, losses.back_usd, losses.data_usd) == (1.5 * 16.0, 14.0, 0.25)


@dataclass
class Heard:
    """What a step of the simulation gave to the shares, and what came out."""

    own_usd: FloatArray
    parts: Any
    worth: Worth
    losses: Losses
    usd: FloatArray


def _listen(patch: pytest.MonkeyPatch) -> list[Heard]:
    heard = []

    def hear(own_usd: FloatArray, blocks: Any, parts: Any, worth: Worth, losses: Losses) -> Any:
        usd = credit.marginal_usd(own_usd, blocks, parts, worth, losses)
        heard.append(Heard(own_usd.copy(), parts, worth, losses, usd))
        return usd

    patch.setattr(sim_module, "marginal_usd", hear)
    return heard


CARDS: dict[str, dict[str, Any]] = {
    "gauntlet": {"scenario": "gauntlet", "step_min": 30},
    "busy": {"demand": {"load": 3.0}, "fleet": {"accelerators": {"ai4": 0.5, "ai5": 0.5},
                                                "cellular_share": 0.5}},
}  # fmt: skip


@pytest.mark.parametrize("card", CARDS)
def test_shares_add_up_to_minutes_less_costs_and_losses(
    card: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = _listen(monkeypatch)
    env = FleetVectorEnv(num_envs=2, num_cars=60, car_reward=True, **CARDS[card])
    env.reset(seed=2)
    seen = set()
    for k, (_, _, info) in enumerate(play(env, random_bits(0, (40, 2, 60), 0.8))):
        step = heard[k]
        assert info["car_marginal"].shape == (2, 60)
        np.testing.assert_array_equal(info["car_marginal"].ravel(), step.usd)
        assert env.sim.service.tape is not None
        worth = capacity_worth(env.sim.setup, env.sim.service.tape, env.sim.price_usd)
        np.testing.assert_allclose(step.worth.car_usd, worth.car_usd, rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(step.losses.data_usd, -info["reward/data"])
        profile = sum(part.profile for part in step.parts)
        served = (step.worth.car_usd * profile).sum(axis=(1, 2, 3))
        lost = step.losses.cut_usd + step.losses.back_usd + step.losses.data_usd
        want = step.own_usd.reshape(2, 60).sum(axis=1) + served - lost
        assert info["car_marginal"].sum(axis=1) == pytest.approx(want, rel=1e-5, abs=1e-6)
        values = vars(step.losses) | {"served": served}
        seen |= {name for name, value in values.items() if value.any()}
    assert seen >= {"served", "cut_usd", "data_usd"}


def test_without_demand_a_car_is_worth_its_reward() -> None:
    env = FleetVectorEnv(num_envs=2, num_cars=40, car_reward=True, demand={"load": 0.0})
    env.reset(seed=0)
    for _, reward, info in play(env, random_bits(1, (30, 2, 40), 0.7)):
        assert info["car_marginal"] == pytest.approx(info["car_reward"], abs=1e-15)
        assert info["car_marginal"].sum(axis=1) == pytest.approx(reward)


def test_no_car_on_duty_is_worth_exactly_nothing() -> None:
    env = FleetVectorEnv("gauntlet", num_envs=2, num_cars=40, car_reward=True)
    env.reset(seed=0)
    for _, _, info in play(env, np.zeros((20, 2, 40))):
        assert not info["car_marginal"].any()


def test_it_is_reported_only_where_asked_for() -> None:
    env = FleetVectorEnv(num_envs=1, num_cars=5)
    env.reset(seed=0)
    assert "car_marginal" not in env.play(np.ones((1, 5)))[3]
    assert env.sim.service.tape is None


def test_a_peak_is_not_in_it_and_prices_are_without_capital(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = _listen(monkeypatch)
    demand, fleet = DemandConfig(load=3.0), FleetConfig(unplugged_share=0.5)
    config = EnvConfig(num_cars=40, demand=demand, fleet=fleet)
    peak = replace(config, datacentre=replace(config.datacentre, dc_cost="peak"))
    for card in (config, peak):
        env = FleetVectorEnv(num_envs=1, config=card, car_reward=True)
        env.reset(seed=0)
        list(play(env, random_bits(3, (30, 1, 40), 0.8)))
    share = 1.0 - config.datacentre.capital_share
    total = 0.0
    for average, other in zip(heard[:30], heard[30:], strict=True):
        np.testing.assert_array_equal(average.own_usd, other.own_usd)
        by_prices = average.usd - average.own_usd
        assert other.usd - other.own_usd == pytest.approx(share * by_prices, abs=1e-12)
        total += abs(by_prices).sum()
    assert total > 0.1

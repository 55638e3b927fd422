"""Spares over failure domains, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import agents

RNG = np.random.default_rng(0)


def _policy(**settings: float) -> agents.Policy:
    return agents.make("hedged_spares", over_provision=1.0, **{"spare_share": 0.0, **settings})


def _work(cars: float, of: int) -> dict[str, float]:
    half = cars / of / 2
    return {"chat_00h": 2 * half, "chat_8b_last": half, "chat_70b_last": half}


def test_spares_come_on_top_rounded_up(make_obs: Any) -> None:
    obs = make_obs(fleet=_work(4, 10), shape=(1, 10))
    assert [_policy(spare_share=s).act(obs, RNG).sum() for s in (0, 0.1, 0.25, 0.5)] == [4, 5, 5, 6]
    assert (
        _policy(spare_share=1.0).act(make_obs(shape=(1, 10)), RNG).sum() == 0
    )  # no work, no spares


def test_domains_take_turns_each_with_its_best_car(make_obs: Any) -> None:
    # cars 0-3 at home, 4-5 at work, 6-7 at home in another region; busy_kw orders them
    cars = {
        "at_home": [1, 1, 1, 1, 0, 0, 1, 1], "region": [0, 0, 0, 0, 0, 0, 1, 1],
        "busy_kw": [0.40, 0.41, 0.42, 0.43, 0.52, 0.51, 0.45, 0.44],
    }  # fmt: skip

    def chosen(num: int) -> list[int]:
        action = _policy().act(make_obs(cars, _work(num, 8), shape=(1, 8)), RNG)
        return np.flatnonzero(action[0]).tolist()

    assert chosen(1) == [0]  # of a turn the cheapest
    assert chosen(3) == [0, 5, 7]
    assert chosen(6) == [0, 1, 4, 5, 6, 7]
    assert chosen(7) == [0, 1, 2, 4, 5, 6, 7]


def test_domains_that_lost_cars_come_last_until_it_fades(make_obs: Any) -> None:
    cars = {"region": [0, 0, 0, 1, 1, 1], "busy_kw": [0.4, 0.4, 0.4, 0.5, 0.5, 0.5]}
    policy = _policy(loss_limit=0.2, fade=0.5)
    work = _work(2, 6)
    # four worked, one of region 0 is refused now: 1 of 2 lost
    lost = make_obs(
        {**cars, "on_duty": [1, 1, 0, 1, 1, 0]}, work, mask=[0, 1, 1, 1, 1, 1], shape=(1, 6)
    )
    assert policy.act(lost, RNG).tolist() == [[0, 0, 0, 1, 1, 0]]
    # then 2 + 0.5 * 2 worked and 0.5 were lost: 1/6 is no more than the limit
    calm = make_obs({**cars, "on_duty": [0, 1, 1, 1, 1, 0]}, work, shape=(1, 6))
    assert policy.act(calm, RNG).tolist() == [[1, 0, 0, 1, 0, 0]]


def test_where_nothing_else_is_left_lossy_domains_serve(make_obs: Any) -> None:
    cars = {"region": [0, 0, 0, 1, 1, 1], "on_duty": 1}
    obs = make_obs(cars, _work(3, 6), mask=[0, 1, 1, 1, 0, 0], shape=(1, 6))
    # both lost cars: 1 of 3 and 2 of 3; then they take turns as before
    assert _policy(loss_limit=0.1).act(obs, RNG).tolist() == [[0, 1, 1, 1, 0, 0]]
    assert _policy(loss_limit=0.5).act(obs, RNG).sum() == 3
    one = make_obs(cars, _work(1, 6), mask=[0, 1, 1, 1, 0, 0], shape=(1, 6))
    assert _policy(loss_limit=0.5).act(one, RNG).tolist() == [[0, 1, 0, 0, 0, 0]]


def test_a_new_episode_forgets_losses_and_another_batch_too(make_obs: Any) -> None:
    cars = {"region": [0, 0, 1, 1], "busy_kw": [0.4, 0.4, 0.5, 0.5], "on_duty": [1, 0, 1, 0]}
    shape = (2, 4)
    lost = make_obs(cars, _work(1, 4), mask=[[0, 1, 1, 1]] * 2, shape=shape)
    calm = make_obs({**cars, "on_duty": 0}, _work(1, 4), shape=shape)
    policy = _policy()
    np.testing.assert_array_equal(policy.act(lost, RNG)[:, :3], [[0, 0, 1]] * 2)
    policy.reset(np.array([True, False]))
    np.testing.assert_array_equal(policy.act(calm, RNG)[:, :3], [[1, 0, 0], [0, 0, 1]])
    alone = {key: value[:1] for key, value in calm.items()}
    assert policy.act(alone, RNG)[0, 0] == 1


@pytest.mark.parametrize("fits_70b", [[1, 1, 1, 1], [0, 1, 1, 0]])
def test_70b_work_goes_to_cars_that_hold_it(make_obs: Any, fits_70b: list[int]) -> None:
    cars = {"fits_70b": fits_70b, "busy_kw": [0.3, 0.5, 0.6, 0.3]}
    obs = make_obs(cars, {"batch_due_1h": 0.25}, shape=(1, 4))
    policy = agents.make("hedged_spares", over_provision=1.0, spare_share=0.0, batch_haste=1.0)
    want = [0, 1, 0, 0] if fits_70b[0] == 0 else [1, 0, 0, 0]
    assert policy.act(obs, RNG).tolist() == [want]

"""A step booked by hand, from two blocks that share a row."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fleet_env.blocks import Block
from fleet_env.config import EnvConfig, RewardConfig
from fleet_env.dynamics.roofline import datacentre_price
from fleet_env.ledger import METRIC, TERM, Ledger
from fleet_env.metrics import COSTS, METRICS, REFUSALS, REWARD_TERMS
from fleet_env.rewards import average_prices
from fleet_env.rowsums import SUM, RowSums
from fleet_env.types import FloatArray

PRICE = np.array([1.0, 2.0, 4.0])
CONFIG = EnvConfig(
    reward=RewardConfig(
        pay_usd_per_on_duty_h=0.5,
        slo_penalty=3,
        cellular_usd_per_gb=7,
        request_kb=1e6,  # 1 GB a request
        dropout_usd=100,
        noise_usd_per_quiet_h=0.25,
    )
)
# rows 0 and 1 of 2 cars: block 0 holds row 0, blocks 1 and 2 a car of row 1 each
BLOCKS = [Block(0, 2, 0, 1), Block(2, 3, 1, 2), Block(3, 4, 1, 2)]


def _sums(**values: float) -> RowSums:
    sums = RowSums(1)
    if values:
        sums.add(np.array([0]), **{name: np.array([value]) for name, value in values.items()})
    return sums


def _flows(**rows: list[list[float]]) -> Any:
    kinds = ("arrived", "on_time", "late", "lost", "diverted", "expired", "dispatched")
    by_class = {kind: np.array(rows.get(kind, np.zeros((2, 3)))) for kind in kinds}
    return SimpleNamespace(
        **by_class, requeued=np.array([0.0, 6.0]), ttft_sum_s=np.array([3.0, 0.0])
    )


def _book(parts: list[RowSums], flows: Any, left: Any = None) -> Ledger:
    ledger = Ledger(CONFIG, PRICE, 2)
    refused = [np.arange(float(len(REFUSALS)))[None] * i for i in range(3)]
    for _ in range(2):  # the second time over the first: nothing is left of it
        ledger.book(
            BLOCKS,
            refused,
            parts,
            flows,
            left,
            chat_all=2.0 * flows.arrived[:, :2],
            busy_h=np.array([1.0, 2.0]),
            downloaded_gb=np.array([3.0, 4.0]),
            feeder_over_h=np.array([0.0, 0.5]),
        )
    return ledger


def test_step_by_hand() -> None:
    parts = [
        _sums(energy_usd=0.25, wear_usd=0.5, on_duty_h=2.0, quiet_h=1.0, feeder_cut_kwh=0.5),
        _sums(
            energy_usd=1.0,
            metered_kwh=5.0,
            gap_kwh=-1.0,
            carbon_kg=-1.0,
            shortfalls=1,
            shortfall_kwh=3.0,
            shortfall_usd=10.0 + 2 * 3.0,
            broken_promises=1,
            dropouts=1,
        ),
        _sums(
            energy_usd=-3.0,
            metered_kwh=1.0,
            carbon_kg=0.25,
            public_usd=0.75,
            serving_h=4.0,
            cellular_h=1.0,
        ),
    ]
    flows = _flows(
        on_time=[[1, 1, 1], [0, 0, 2]],
        late=[[0, 2, 0], [0, 0, 0]],
        lost=[[1, 0, 0], [0, 0, 0]],
        dispatched=[[5, 5, 5], [4, 0, 4]],
    )
    ledger = _book(parts, flows)
    term = {name: ledger.values[TERM[name]].tolist() for name in REWARD_TERMS}
    assert term == {
        "avoided": [7, 8],
        "energy": [-0.25, 2.0],
        "wear": [-0.5, 0],
        "owner": [-0.5 * 2 - 0.25 * 1, -(10 + 2 * 3) - 0.75 - 100],
        "data": [0, -7 * 8 * (1 / 4)],  # a quarter of the serving hours on cellular
        "slo": [-3 * (2 * 2 + 1), 0],
        "capacity": [0, 0],  # no charge on the peak
    }
    np.testing.assert_allclose(ledger.reward, np.sum(list(term.values()), axis=0))
    assert ledger.shared_usd.tolist() == [7 - 15, 8 - 14]  # avoided, slo, data
    metric = {name: ledger.values[METRIC[name]].tolist() for name in METRICS}
    assert metric["wall_kwh"] == [0, 5]
    assert metric["metered_kwh"] == [0, 6]
    assert metric["carbon_kg"] == [0, -0.75]
    assert metric["quiet_h"] == [1, 0]
    assert metric["dropouts"] == metric["broken_promises"] == [0, 1]
    assert metric["feeder_cut_kwh"] == [0.5, 0]
    assert metric["feeder_over_h"] == [0, 0.5]
    assert metric["cellular_gb"] == [0, 2]
    assert metric["busy_h"] == [1, 2]
    assert metric["downloaded_gb"] == [3, 4]
    assert metric["requeued_batch_70b"] == [0, 6]
    assert metric["ttft_request_s"] == [3, 0]
    assert metric["shortfall_kwh"] == [0, 3]
    refused = [metric[f"refused_{reason}"] for reason in REFUSALS]
    assert refused == [[0, 3.0 * i] for i in range(len(REFUSALS))]  # blocks 1 and 2: 3 i
    costs = ledger.costs
    assert list(costs) == list(COSTS)
    assert costs["feeder"].tolist() == [0.5, 0]
    assert costs["shortfall"].tolist() == [0, 1]
    assert costs["slo"].tolist() == [3, 0]


def test_what_is_open_at_the_horizon_expires_without_credit() -> None:
    left = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 5.0]])
    flows = _flows(expired=[[0, 0, 1], [0, 0, 0]])
    ledger = _book([_sums(), _sums(), _sums()], flows, left)
    expired = [
        ledger.values[METRIC[f"expired_{name}"]].tolist()
        for name in ("chat_8b", "chat_70b", "batch_70b")
    ]
    assert expired == [[1, 0], [2, 0], [4, 5]]
    assert ledger.reward.tolist() == [0, 0]


def test_nothing_booked_is_no_money_at_all() -> None:
    ledger = _book([_sums(), _sums(), _sums()], _flows(arrived=[[9, 9, 9], [9, 9, 9]]))
    assert (ledger.values[: len(REWARD_TERMS)] == 0).all()
    assert ledger.reward.tolist() == [0, 0]


def _charged(steps: list[tuple[Any, FloatArray]], charge_h: float = 10.0) -> FloatArray:
    """Capacity term of steps (flows, all chat) of an hour each, shape (steps, 2)."""
    ledger = Ledger(replace(EnvConfig(), step_min=60), PRICE, 2, charge_h)
    booked = []
    for flows, chat_all in steps:
        nothing = np.zeros(2)
        refused = [np.zeros((1, len(REFUSALS)))] * 3
        parts = [_sums(), _sums(), _sums()]
        ledger.book(
            BLOCKS,
            refused,
            parts,
            flows,
            None,
            chat_all=chat_all,
            busy_h=nothing,
            downloaded_gb=nothing,
        )
        booked.append(ledger.values[TERM["capacity"]].copy())
        np.testing.assert_array_equal(ledger.shared_usd, ledger.reward)
    return np.array(booked)


def test_capital_follows_the_peak_left_to_the_data_centre_by_hand() -> None:
    """Cars take a third of the first hour; in the second, as loud, they lose all they took."""
    usd_8b, usd_70b, _ = average_prices(CONFIG, datacentre_price(CONFIG.datacentre))
    chat_all = np.array([[300.0, 0.0], [0.0, 300.0]])
    took = _flows(dispatched=[[100, 0, 900], [0, 100, 900]], on_time=[[1, 1, 1], [1, 1, 1]])
    lost = _flows(dispatched=[[100, 0, 900], [0, 100, 900]], lost=[[100, 0, 0], [0, 100, 0]])
    got = _charged([(took, chat_all), (lost, chat_all)])
    moved = 10.0 * 100.0 * np.array([usd_8b, usd_70b])  # of average prices, not of the credits
    np.testing.assert_allclose(got[0], moved, rtol=1e-12)
    np.testing.assert_allclose(got[1], -moved, rtol=1e-12)


def test_batch_work_avoids_no_capital_and_no_car_is_exactly_nothing() -> None:
    chat_all = np.array([[0.1, 0.7], [300.3, 1e-3]])
    arrived = [[0.05, 0.3, 7.0], [100.0, 0.0, 7.0]]
    idle = _flows(arrived=arrived)
    batch = _flows(arrived=arrived, dispatched=[[0, 0, 5], [0, 0, 7]])
    late = _flows(arrived=arrived, expired=[[0, 0, 5], [0, 0, 7]])
    steps = [(flows, chat_all * scale) for scale, flows in ((1, idle), (3, batch), (2, late))]
    assert (_charged(steps) == 0.0).all()
    assert (_charged([(batch, chat_all)], charge_h=0.0) == 0.0).all()


def test_row_sums_add_in_float64_row_by_row() -> None:
    """Rows 0 and 3 of 5 have cars; two calls add up; float32 would lose the small part."""
    sums, num = RowSums(5), 2**12
    row = np.repeat([0, 3], [num, 1])
    wear = np.append(np.full(num, 1.0 + 2.0**-20), 7.0).astype(np.float32)
    for _ in range(2):
        sums.add(row, wear_usd=wear, started=np.append(np.zeros(num, bool), [True]))
    assert sums.values.dtype == np.float64
    assert sums.values[SUM["wear_usd"]].tolist() == [2 * (num + 2.0**-8), 0, 0, 14, 0]
    assert sums.values[SUM["started"]].tolist() == [0, 0, 0, 2, 0]
    with pytest.raises(KeyError):
        sums.add(np.zeros(1, np.int32), wages=np.ones(1))


def test_sums_of_a_row_do_not_depend_on_the_rows_beside_it() -> None:
    rng = np.random.default_rng(0)
    value = rng.random(1000).astype(np.float32)
    alone = RowSums(1)
    alone.add(np.zeros(1000, np.int32), on_duty_h=value)
    for before in (1, 7, 64):
        beside = RowSums(before + 2)
        row = np.repeat([0, before, before + 1], [13 * before, 1000, 5])
        padded = np.concatenate([rng.random(13 * before), value, rng.random(5)])
        beside.add(row, on_duty_h=padded.astype(np.float32))
        assert beside.values[SUM["on_duty_h"], before] == alone.values[SUM["on_duty_h"], 0]

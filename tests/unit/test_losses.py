"""Loss, checkpoints and second copies against closed forms and the table of scheduling.md V7."""

from __future__ import annotations

import numpy as np
import pytest

from fleet_env.config import EnvConfig, ServingConfig
from fleet_env.dynamics.losses import (
    LENGTH_SIGMA,
    checkpoint_overhead,
    checkpoint_period_s,
    copies,
    hedge_overhead,
    loss_rules,
    slowdown,
)
from fleet_env.dynamics.serving import QueueState, serve
from fleet_env.dynamics.serving_setup import serving_setup
from fleet_env.types import BATCH_70B, FloatArray

# job [s], mean stay [h], lost [%], wasted [%] of the time that cars are busy: V7
TABLE_V7 = [
    (2, 1, 0.056, 0.028),
    (2, 6, 0.0093, 0.0046),
    (2, 14, 0.0040, 0.0020),
    (30, 1, 0.830, 0.416),
    (30, 6, 0.139, 0.069),
    (30, 14, 0.060, 0.030),
    (600, 1, 15.35, 8.10),
    (600, 6, 2.74, 1.38),
    (600, 14, 1.18, 0.594),
    (3600, 6, 15.35, 8.10),
    (3600, 14, 6.89, 3.53),
]


@pytest.mark.parametrize(("job_s", "stay_h", "lost_pct", "wasted_pct"), TABLE_V7)
def test_loss_by_departures_is_that_of_exponential_stays(
    job_s: float, stay_h: float, lost_pct: float, wasted_pct: float
) -> None:
    """A job cut into many requests: slot-seconds that fall back per second of work.

    A slot that fails at rate 1 / m holds half a job on average: x / 2 of all work, x = job / m. The
    exact share is 1 - x / (e^x - 1), less, because a job that fails early holds less than half.
    """
    slot_s = job_s / 1000.0
    rules = loss_rules(ServingConfig(batch_job_min=job_s / 60.0), slot_s)
    x = job_s / (3600.0 * stay_h)
    jobs_lost, wasted = -np.expm1(-x), 1.0 - x / np.expm1(x)
    assert 100.0 * jobs_lost == pytest.approx(lost_pct, rel=0.01)
    assert 100.0 * wasted == pytest.approx(wasted_pct, rel=0.02)
    fall_back = rules.lost[BATCH_70B, 0] * slot_s / (3600.0 * stay_h)
    assert fall_back == pytest.approx(x / 2.0, rel=2e-3)
    assert fall_back == pytest.approx(wasted, rel=x / 4.0 + 2e-3)


@pytest.mark.parametrize(("job_s", "stay_h", "lost_pct"), [row[:3] for row in TABLE_V7[:6]])
def test_short_requests_are_lost_as_in_the_table(
    job_s: float, stay_h: float, lost_pct: float
) -> None:
    """Single requests that hold their slot for `job_s`, of cars that leave at rate 1 / stay."""
    setup = serving_setup(EnvConfig(), ["ai5"])
    slot_s = setup.slot_s[0, BATCH_70B]
    queue = QueueState.zeros(1, setup)
    queue.batch_due[0, 40] = 1e7
    cars, stay_s = 1000.0, stay_h * 3600.0 * slot_s / job_s  # as many slot times as in the table
    flows = serve(
        setup,
        np.full((1, 1, 1, 15), cars),
        np.zeros((1, 1, 2, 15)),
        queue.batch_due,
        np.zeros((1, 3)),
        queue.running,
        np.full((1, 1, 1), cars * 900.0 / stay_s),
        np.zeros(1),
    )
    assert 100.0 * flows.requeued[0] / flows.dispatched[0, BATCH_70B] == pytest.approx(
        lost_pct, rel=0.012
    )


def _busy_per_work(
    period_s: FloatArray | float, save_s: float, load_s: float, stay_s: float
) -> FloatArray:
    """E[T] / work with a checkpoint every `period_s` (Daly 2006, exponential stays).

    Between two checkpoints lies work of one period and its saving; each attempt that fails costs
    what it ran, and loading.
    """
    attempt = np.expm1((np.asarray(period_s) + save_s) / stay_s)
    busy: FloatArray = stay_s * np.exp(load_s / stay_s) * attempt / period_s
    return busy


@pytest.mark.parametrize(
    ("period_s", "busy"),
    [(60, 1.507), (300, 1.112), (600, 1.068), (1138, 1.0576), (1800, 1.064), (3600, 1.101)],
)
def test_checkpointing_costs_what_the_survey_says(period_s: float, busy: float) -> None:
    got = float(_busy_per_work(period_s, 30.0, 60.0, 6 * 3600.0))
    assert got == pytest.approx(busy, abs=6e-4)


def test_no_checkpoint_costs_what_the_survey_says() -> None:
    assert float(_busy_per_work(4 * 3600.0, 0.0, 60.0, 6 * 3600.0)) == pytest.approx(
        1.426, abs=6e-4
    )


def test_the_period_used_is_the_best_one() -> None:
    period_s = checkpoint_period_s(30.0, 6.0)
    assert period_s == pytest.approx(1138.4, abs=0.1)
    others = np.array([60.0, 300.0, 600.0, 0.9 * period_s, 1.15 * period_s, 1800.0, 3600.0])
    best = float(_busy_per_work(period_s, 30.0, 60.0, 6 * 3600.0))
    assert best == pytest.approx(1.0576, abs=1e-4)
    assert (_busy_per_work(others, 30.0, 60.0, 6 * 3600.0) > best).all()
    assert checkpoint_overhead(30.0, 6.0) == pytest.approx(30.0 / period_s)


def test_saving_and_what_falls_back_add_up_to_the_survey_s_cost() -> None:
    """First order in period / stay; loading is the wake-up of the car that goes on."""
    serving = ServingConfig(
        batch_loss="checkpoint", checkpoint_s=30.0, mean_stay_h=6.0, batch_job_min=240.0
    )
    slot_s, stay_s = 1.0, 6 * 3600.0
    redone = float(loss_rules(serving, slot_s).lost[BATCH_70B, 0]) * slot_s / stay_s
    busy = slowdown(serving)[BATCH_70B] * (1.0 + redone)
    assert busy == pytest.approx(1.0576 - 60.0 / stay_s, abs=2e-3)


@pytest.mark.parametrize("mode", ["restart", "resume", "checkpoint"])
def test_single_requests_are_held_and_lost_whole(mode: str) -> None:
    rules = loss_rules(ServingConfig(chat_loss=mode, batch_loss=mode), 27.0)
    lost = {"restart": [1.0, 1.0, 1.0], "resume": [0.0] * 3, "checkpoint": [0.0, 0.0, 1.0]}[mode]
    assert rules.held[:, 0].tolist() == [1.0, 1.0, 1.0]
    assert rules.lost[:, 0].tolist() == lost
    assert rules.back_share == lost[BATCH_70B]


def test_what_falls_back_is_bounded_by_the_job_and_by_the_checkpoint() -> None:
    def lost(**settings: float) -> float:
        serving = ServingConfig(batch_loss="checkpoint", **settings)  # type: ignore[arg-type]
        return float(loss_rules(serving, 10.0).lost[BATCH_70B, 0])

    # sqrt(2 x 50 x 36,000) = 1,897 s, 190 requests of 10 s
    assert lost(checkpoint_s=50.0, mean_stay_h=10.0, batch_job_min=600.0) == pytest.approx(
        95.4, abs=0.1
    )
    assert lost(checkpoint_s=50.0, mean_stay_h=10.0, batch_job_min=10.0) == 30.5
    assert lost(checkpoint_s=0.0, batch_job_min=600.0) == 0.5


def test_a_pool_without_batch_work_holds_single_requests() -> None:
    rules = loss_rules(ServingConfig(batch_job_min=60.0, batch_loss="checkpoint"), float("inf"))
    assert rules.held[:, 0].tolist() == [1.0, 1.0, 1.0]
    assert np.isfinite(rules.lost).all()


def test_slowdown_and_copies_by_class() -> None:
    assert slowdown(ServingConfig()).tolist() == [1.0, 1.0, 1.0]
    assert copies(ServingConfig()).tolist() == [1.0, 1.0, 1.0]
    saving = 1.0 + checkpoint_overhead(30.0, 12.0)
    assert slowdown(ServingConfig(chat_loss="checkpoint")).tolist() == [saving, saving, 1.0]
    assert slowdown(ServingConfig(batch_loss="checkpoint")).tolist() == [1.0, 1.0, saving]
    assert slowdown(ServingConfig(batch_loss="checkpoint", checkpoint_s=0.0)).tolist() == [1.0] * 3
    twice = 1.0 + hedge_overhead(LENGTH_SIGMA)
    assert copies(ServingConfig(hedge=True)).tolist() == [twice, twice, 1.0]


def test_second_copies_of_the_survey_take_12_percent_more_work() -> None:
    """V15, shared length, cv 1.5: +12.4 % and +12.1 % (nodes that differ by 0.2 and 0.5)."""
    sigma = float(np.sqrt(np.log1p(1.5**2)))
    assert hedge_overhead(sigma) == pytest.approx(0.1225, abs=0.0025)


@pytest.mark.parametrize("sigma", [0.3, LENGTH_SIGMA, 1.2])
def test_second_copies_take_the_mean_length_beyond_the_95th_percentile(sigma: float) -> None:
    """Against the integral over the quantiles of a lognormal, by a fine sum in z."""
    z = np.linspace(-10.0, 10.0, 400_001)
    weight = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi) * (z[1] - z[0])
    length = np.exp(sigma * z)
    beyond = np.maximum(length - np.exp(sigma * 1.645), 0.0)
    assert hedge_overhead(sigma) == pytest.approx(
        float((beyond * weight).sum() / (length * weight).sum()), abs=1e-4
    )

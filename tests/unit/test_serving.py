"""What accelerators serve, and single effects of one step of serving, by hand."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from fleet_env.config import DemandConfig, EnvConfig, FleetConfig, ServingConfig
from fleet_env.config_world import RegionConfig
from fleet_env.dynamics.losses import LENGTH_SIGMA, hedge_overhead
from fleet_env.dynamics.queueing import wait_tail
from fleet_env.dynamics.serving import QueueState, ServiceFlows, serve
from fleet_env.dynamics.serving_setup import ServingSetup, serving_setup
from fleet_env.regions import round_trips_s
from fleet_env.types import BATCH_70B, CHAT_8B, CHAT_70B, FloatArray

J = 15
AI5_8B_PER_S = 2004.4 / 211 / 1.1  # domain 1c, redundancy 1.1
AI5_70B_PER_S = 275.8 / 211 / 1.1


def _config(
    shares: dict[str, float] | None = None,
    *,
    demand: DemandConfig | None = None,
    places: dict[str, tuple[float, float]] | None = None,
    **serving: Any,
) -> EnvConfig:
    return EnvConfig(
        fleet=FleetConfig(accelerators=shares or {"ai5": 1.0}),
        serving=ServingConfig(**serving),
        demand=demand or DemandConfig(),
        regions={
            name: RegionConfig(latitude_deg=latitude, longitude_deg=longitude)
            for name, (latitude, longitude) in (places or {}).items()
        },
    )


@pytest.fixture(scope="module")
def suburb() -> ServingSetup:
    return serving_setup(_config(), ["ai5"])


class Step:
    """One row: quiet defaults that a test changes."""

    def __init__(self, setup: ServingSetup, cars: float = 100.0) -> None:
        self.setup = setup
        self.queue = QueueState.zeros(1, setup)
        self.cars = np.full((1, setup.num_regions, setup.num_groups, J), cars)
        self.chat = np.zeros((1, setup.num_regions, 2, J))
        self.batch_new = np.zeros((1, len(setup.due_steps)))
        self.lost_cars = np.zeros((1, setup.num_regions, setup.num_groups))
        self.off_share = np.zeros(1)

    def run(self) -> ServiceFlows:
        return serve(
            self.setup,
            self.cars,
            self.chat,
            self.queue.batch_due,
            self.batch_new,
            self.queue.running,
            self.lost_cars,
            self.off_share,
        )


def test_ai5_holds_both_tiers_in_one_group(suburb: ServingSetup) -> None:
    assert suburb.num_groups == 1
    assert suburb.group_resident.tolist() == [0b11]
    assert suburb.weights_gb.tolist() == pytest.approx([44.2])
    assert suburb.rate[0] == pytest.approx([AI5_8B_PER_S, AI5_70B_PER_S, AI5_70B_PER_S], rel=1e-3)
    assert suburb.slot_s[0] == pytest.approx(
        [32 / AI5_8B_PER_S, 32 / AI5_70B_PER_S, 32 / AI5_70B_PER_S], rel=1e-3
    )
    assert suburb.slack_s[0] == pytest.approx(
        [2 - 0.033 - 1155 / 32_812, 2 - 0.033 - 1155 / 3_718.5], rel=1e-4
    )
    assert suburb.work_car_s == pytest.approx(
        [1 / AI5_8B_PER_S, 1 / AI5_70B_PER_S, 1 / AI5_70B_PER_S], rel=1e-3
    )
    assert (suburb.due_steps, suburb.max_due) == ((4, 16, 48), 48)


def test_cars_without_room_for_the_70b_serve_the_8b() -> None:
    demand = DemandConfig(chat_70b_share=0.0, batch_share=0.0)
    setup = serving_setup(_config({"hw3": 0.5, "ai4": 0.5}, demand=demand), ["hw3", "ai4"])
    assert setup.tier_fits.tolist() == [[True, False], [True, False]]
    assert setup.group_resident.tolist() == [1, 1]
    assert len(setup.pools) == 1
    assert setup.pools[0].speed == pytest.approx((1.0, 538 / 225), rel=5e-3)
    assert setup.work_car_s[CHAT_8B] == pytest.approx(2 / setup.rate[:, CHAT_8B].sum())
    # no car fits it: counted as if all had the memory, bound by reading 39.7 GB and 32 KV caches
    # per step
    step_s = (39.7e9 + 32 * 163_840 * 1260.5) / (0.6 * np.array([136e9, 448e9]))
    prefill_s = 2 * 70.6e9 * 1155 / (0.35 * np.array([147e12, 243e12]))
    request_s = 1.1 * (prefill_s + 211 * step_s / 32)
    assert setup.work_car_s[CHAT_70B] == pytest.approx(2 / (1 / request_s).sum(), rel=1e-9)


def test_an_accelerator_that_cannot_hold_all_tiers_at_once_becomes_one_group_per_tier() -> None:
    # at batch 150 the 70B needs 73.3 GB and the 8B 17.9 GB of 86 GB
    setup = serving_setup(_config({"ai5": 0.5, "claim": 0.5}, batch_slots=150), ["ai5", "claim"])
    assert setup.group_accelerator.tolist() == [0, 0, 1]
    assert setup.group_resident.tolist() == [0b01, 0b10, 0b11]
    assert setup.weights_gb.tolist() == pytest.approx([4.5, 39.7, 44.2])
    assert [pool.groups for pool in setup.pools] == [(0,), (1,), (2,)]


def test_tpot_limit_names_accelerator_model_and_batch() -> None:
    with pytest.raises(
        ValueError, match=r"batch_slots=32: a token of 70b on ai5 takes 0.069 s.*at most 3$"
    ):
        serving_setup(_config(tpot_slo_s=0.060), ["ai5"])
    serving_setup(_config(tpot_slo_s=0.060, batch_slots=3), ["ai5"])


def test_prefill_beyond_the_ttft_limit_is_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"ttft_slo_s=0.3: network and prefill of 70b on ai5 alone take 0.344 s"
    ):
        serving_setup(_config(ttft_slo_s=0.3), ["ai5"])


def test_nothing_fits_is_an_error() -> None:
    with pytest.raises(ValueError, match="batch_slots=500: no tier fits the memory of hw3"):
        serving_setup(_config({"hw3": 1.0}, batch_slots=500), ["hw3"])


def test_unknown_accelerator_and_bad_deadline_are_errors() -> None:
    with pytest.raises(ValueError, match="'ai6'"):
        serving_setup(_config({"ai6": 1.0}), ["ai6"])
    with pytest.raises(ValueError, match="the deadline 0 h"):
        serving_setup(_config(demand=DemandConfig(batch_deadline_shares={"0": 1.0})), ["ai5"])


def test_moderate_chat_is_served_in_time(suburb: ServingSetup) -> None:
    step = Step(suburb)
    step.chat[0, 0] = [
        [60 * 0.2 * 100 * AI5_8B_PER_S],
        [60 * 0.3 * 100 * AI5_70B_PER_S],
    ]  # half of 100 cars
    flows = step.run()
    assert flows.dispatched[0, :2] == pytest.approx(step.chat[0, 0].sum(axis=1), rel=1e-12)
    assert flows.diverted.tolist() == [[0.0, 0.0, 0.0]]
    assert flows.late.sum() < 1e-9
    assert flows.util[0, 0, 0] == pytest.approx(0.5, rel=1e-3)
    # busy slots: 20 and 30 of 100 cars times 32
    assert step.queue.running[0] == pytest.approx([640.0, 960.0, 0.0], rel=1e-3)
    assert flows.on_time[0] == pytest.approx(flows.dispatched[0] - step.queue.running[0], rel=1e-12)


def test_mean_ttft_is_network_prefill_and_wait(suburb: ServingSetup) -> None:
    step = Step(suburb)
    step.chat[0, 0, CHAT_70B] = 60 * 0.3 * 100 * AI5_70B_PER_S
    flows = step.run()
    assert flows.ttft_sum_s[0] / flows.dispatched[0, CHAT_70B] == pytest.approx(
        0.033 + 1155 / 3_718.5, rel=1e-4
    )


def test_overload_is_cut_at_the_admission_limit_and_its_late_share_is_one_percent(
    suburb: ServingSetup,
) -> None:
    step = Step(suburb)
    step.chat[0, 0, CHAT_8B] = 60 * 10 * 100 * AI5_8B_PER_S
    step.chat[0, 0, CHAT_70B] = 60 * 10 * 100 * AI5_70B_PER_S
    flows = step.run()
    pool = suburb.pools[0]
    slots = 32.0 * 100
    rho = flows.util[0, 0, 0]
    assert 0.99 < rho < 1.0
    assert float(wait_tail(slots, rho * slots, pool.table.slack)) == pytest.approx(0.01, rel=0.02)
    assert flows.late[0, :2] == pytest.approx(0.01 * flows.dispatched[0, :2], rel=0.02)
    assert flows.diverted[0, :2] == pytest.approx(
        step.chat[0, 0].sum(axis=1) - flows.dispatched[0, :2]
    )
    # both classes are cut by the same share
    assert flows.dispatched[0, 0] / flows.dispatched[0, 1] == pytest.approx(
        AI5_8B_PER_S / AI5_70B_PER_S, rel=1e-3
    )


def test_batch_work_takes_what_chat_leaves_earliest_deadline_first(suburb: ServingSetup) -> None:
    step = Step(suburb, cars=10.0)
    room = 10.0 * 900.0 * suburb.rate[0, BATCH_70B]
    step.queue.batch_due[0, [0, 1, 5]] = 0.5 * room, 0.3 * room, 0.9 * room
    flows = step.run()
    assert flows.dispatched[0, BATCH_70B] == pytest.approx(room, rel=1e-9)
    assert flows.expired.sum() == 0.0
    left = np.zeros(49)
    left[4] = 0.7 * room  # one step nearer
    assert step.queue.batch_due[0] == pytest.approx(left, abs=1e-6)
    assert flows.util[0, 0, 0] == pytest.approx(1.0)


def test_batch_work_due_now_goes_to_the_data_centre(suburb: ServingSetup) -> None:
    step = Step(suburb, cars=0.0)
    step.queue.batch_due[0, :2] = 7.0, 5.0
    flows = step.run()
    assert flows.expired[0].tolist() == [0.0, 0.0, 7.0]
    assert flows.dispatched.sum() == 0.0
    assert step.queue.batch_due[0, 0] == 5.0
    assert step.queue.batch_due.sum() == 5.0


def test_new_batch_work_is_held_for_its_full_deadline(suburb: ServingSetup) -> None:
    step = Step(suburb, cars=0.0)
    step.batch_new[0] = 3.0, 0.0, 0.0  # one hour: may wait four full steps after this one
    for _ in range(4):
        assert step.run().expired.sum() == 0.0
        step.batch_new[:] = 0.0
    assert step.run().expired[0, BATCH_70B] == 3.0


def test_batch_work_is_not_served_before_it_arrives(suburb: ServingSetup) -> None:
    step = Step(suburb, cars=0.0)
    step.cars[0, 0, 0, :5] = 1e6  # more than enough, but only for the first third
    step.batch_new[0, 1] = 900.0
    assert step.run().dispatched[0, BATCH_70B] == pytest.approx(300.0, rel=1e-9)


def test_leaving_cars_lose_their_busy_slots(suburb: ServingSetup) -> None:
    step = Step(suburb)
    step.chat[0, 0] = [[60 * 0.2 * 100 * AI5_8B_PER_S], [60 * 0.3 * 100 * AI5_70B_PER_S]]
    step.queue.batch_due[0, 40] = 1e6  # fills the other half
    step.lost_cars[:] = 2.0
    flows = step.run()
    assert flows.lost[0] == pytest.approx([2 * 32 * 0.2, 2 * 32 * 0.3, 0.0], rel=1e-3)
    assert flows.requeued[0] == pytest.approx(2 * 32 * 0.5, rel=1e-3)
    assert step.queue.batch_due[0, 0] == flows.requeued[0]  # due at the end of the next step


def test_cars_switched_off_give_batch_work_back_and_drain_chat(suburb: ServingSetup) -> None:
    step = Step(suburb, cars=0.0)
    step.queue.running[0] = 100.0, 50.0, 80.0
    step.off_share[:] = 0.25
    flows = step.run()
    assert flows.on_time[0].tolist() == [100.0, 50.0, 60.0]
    assert flows.requeued.tolist() == [20.0]
    assert step.queue.batch_due[0, 0] == 20.0
    assert step.queue.running.sum() == 0.0


def test_nothing_is_lost_where_work_is_handed_over() -> None:
    step = Step(serving_setup(_config(chat_loss="resume", batch_loss="resume"), ["ai5"]))
    step.queue.batch_due[0, 40] = 1e6
    step.queue.running[0, BATCH_70B] = 80.0
    step.lost_cars[:], step.off_share[:] = 5.0, 1.0
    flows = step.run()
    assert flows.lost.sum() == 0.0
    assert flows.requeued.sum() == 0.0


def test_no_car_means_exactly_nothing_served(suburb: ServingSetup) -> None:
    step = Step(suburb, cars=0.0)
    step.chat[:] = 1e5 / 3
    step.batch_new[:] = 777.7
    step.queue.batch_due[:] = 123.4
    flows = step.run()
    for name in ("dispatched", "on_time", "late", "lost", "requeued", "ttft_sum_s", "util"):
        assert not getattr(flows, name).any(), name
    assert flows.diverted[0].tolist() == [*flows.arrived[0, :2].tolist(), 0.0]


def test_single_tier_cars_come_first() -> None:
    setup = serving_setup(_config({"ai4": 0.5, "ai5": 0.5}), ["ai4", "ai5"])
    step = Step(setup)
    step.chat[0, 0, CHAT_8B] = 60 * 0.5 * 100 * setup.rate[0, CHAT_8B]
    step.chat[0, 0, CHAT_70B] = 60 * 0.4 * 100 * setup.rate[1, CHAT_70B]
    flows = step.run()
    assert flows.util[0, 0] == pytest.approx([0.5, 0.4], rel=1e-3)
    step.chat[0, 0, CHAT_8B] *= 3.0
    assert step.run().util[0, 0] == pytest.approx(
        [0.99, 0.4 + 0.5 * setup.rate[0, 0] / setup.rate[1, 0]], rel=0.02
    )


def test_a_faster_car_counts_as_several() -> None:
    setup = serving_setup(_config({"ai5": 0.5, "claim": 0.5}), ["ai5", "claim"])
    mixed, plain = Step(setup), Step(setup)
    mixed.cars[0, 0] = [[60.0], [10.0]]
    plain.cars[0, 0] = [[100.0], [0.0]]
    for step in (mixed, plain):
        step.chat[0, 0] = [[60 * 0.2 * 100 * AI5_8B_PER_S], [60 * 0.3 * 100 * AI5_70B_PER_S]]
    assert mixed.run().on_time == pytest.approx(plain.run().on_time, rel=1e-9)


def test_half_sub_steps_change_little(suburb: ServingSetup) -> None:
    def served(num_sub: int) -> FloatArray:
        minutes = np.linspace(0.0, 15.0, num_sub, endpoint=False) + 7.5 / num_sub
        queue = QueueState.zeros(1, suburb)
        flows = serve(
            suburb,
            (100.0 - 3.0 * minutes)[None, None, None],
            np.full((1, 1, 2, num_sub), 15.0 / num_sub) * np.array([20_000.0, 2_000.0])[:, None],
            queue.batch_due,
            np.full((1, 3), 5_000.0),
            queue.running,
            np.zeros((1, 1, 1)),
            np.zeros(1),
            15.0 / num_sub,
        )
        return np.concatenate([flows.dispatched[0], flows.diverted[0], flows.util[0, 0]])

    assert served(30) == pytest.approx(served(15), rel=5e-3)


WORLD = {"west": (37.4, -122.0), "texas": (30.3, -97.7), "nsw": (-33.9, 151.2)}


@pytest.mark.parametrize("places", [None, WORLD])
@pytest.mark.parametrize("shares", [{"ai5": 1.0}, {"ai4": 0.3, "ai5": 0.3, "claim": 0.4}])
def test_a_row_does_not_depend_on_its_batch_bit_for_bit(
    shares: dict[str, float], places: dict[str, tuple[float, float]] | None
) -> None:
    slots = 150 if len(shares) > 1 else 32
    setup = serving_setup(
        _config(shares, places=places, batch_slots=slots, tpot_slo_s=1.0), list(shares)
    )
    rng = np.random.default_rng(7)
    regions = setup.num_regions
    arrays = (
        rng.uniform(0, 200, (64, regions, setup.num_groups, J))
        * (rng.random((64, regions, setup.num_groups, 1)) < 0.8),
        rng.uniform(0, 4e4, (64, regions, 2, J)),
        rng.uniform(0, 2e3, (64, setup.max_due + 1)),
        rng.uniform(0, 9e3, (64, 3)),
        rng.uniform(0, 9e3, (64, 3)),
        rng.uniform(0, 3, (64, regions, setup.num_groups)),
        rng.uniform(0, 0.3, 64),
    )
    arrays[1][::3] *= 0.01  # rows that have nothing left after the first round

    def results(block: int) -> list[FloatArray]:
        out = []
        for start in range(0, 64, block):
            inputs = [array[start : start + block].copy() for array in arrays]
            cars, chat, due, new, running, lost, off = inputs
            flows = serve(setup, cars, chat, due, new, running, lost, off)
            out.append([getattr(flows, f.name) for f in fields(flows)] + [inputs[2], inputs[4]])
        return [np.concatenate(columns) for columns in zip(*out, strict=True)]

    whole = results(64)
    for block in (1, 7):
        for a, b in zip(whole, results(block), strict=True):
            assert np.array_equal(a, b)


# on the equator; 30 degrees of longitude are 3,336 km
EQUATOR = {"home": (0.0, 0.0), "near": (0.0, 30.0), "far": (0.0, 90.0)}
AWAY_S = [0.0, 2 * 1.5 * 6371 * np.pi / 6 / 2e5, 2 * 1.5 * 6371 * np.pi / 2 / 2e5]  # 0.050, 0.150
PREFILL_8B_S, PREFILL_70B_S = 1155 / 32_812, 1155 / 3_718.5


def _equator(cars: tuple[float, float, float], **serving: Any) -> Step:
    """People at home only; cars in the three regions."""
    step = Step(serving_setup(_config(places=EQUATOR, **serving), ["ai5"]))
    step.cars[0, :, 0] = np.array(cars)[:, None]
    return step


@pytest.mark.parametrize("region", [0, 1, 2])
def test_first_token_takes_the_way_to_the_cars_that_serve(region: int) -> None:
    cars = [0.0, 0.0, 0.0]
    cars[region] = 100.0
    step = _equator((cars[0], cars[1], cars[2]))
    step.chat[0, 0, CHAT_8B] = 60 * 0.3 * 100 * AI5_8B_PER_S
    flows = step.run()
    assert flows.dispatched[0, CHAT_8B] == pytest.approx(step.chat.sum(), rel=1e-12)
    assert flows.ttft_sum_s[0] / flows.dispatched[0, CHAT_8B] == pytest.approx(
        0.033 + AWAY_S[region] + PREFILL_8B_S, rel=1e-4
    )
    util = [0.0, 0.0, 0.0]
    util[region] = 0.3
    assert flows.util[0, :, 0] == pytest.approx(util, rel=1e-3)


def test_the_nearest_region_fills_up_before_the_next_one_is_asked() -> None:
    step = _equator((10.0, 20.0, 1000.0))
    step.chat[0, 0, CHAT_8B] = 60 * 50 * AI5_8B_PER_S
    flows = step.run()
    home, near, far = flows.util[0, :, 0]
    assert 0.95 < home < near < 1.0
    # work of 50 cars in all, none to the data centre
    assert far * 1000 == pytest.approx(50 - 10 * home - 20 * near, rel=1e-3)
    assert flows.diverted.sum() == pytest.approx(0.0, abs=1e-6)
    # 1 % of what met a full pool is late: nobody of those who went far
    assert flows.late[0, 0] == pytest.approx(
        0.01 * (10 * home + 20 * near) / 50 * flows.dispatched[0, 0], rel=0.03
    )


@pytest.mark.parametrize(
    ("ttft_slo_s", "reach_8b", "reach_70b"),
    [(2.0, 2, 2), (0.60, 2, 1), (0.40, 2, 0), (0.36, 1, 0)],
)
def test_a_low_limit_of_the_first_token_switches_far_regions_off(
    ttft_slo_s: float, reach_8b: int, reach_70b: int
) -> None:
    """By hand: of 0.400 - 0.033 - 0.311 = 0.056 s for the 70B next door, 0.006 s are left near."""
    for k, prefill_s, reach in ((0, PREFILL_8B_S, reach_8b), (1, PREFILL_70B_S, reach_70b)):
        slack_s = ttft_slo_s - 0.033 - prefill_s
        assert [r for r in range(3) if slack_s - AWAY_S[r] >= 0.5 * slack_s][-1] == reach, k
    for region in range(3):
        cars = [0.0, 0.0, 0.0]
        cars[region] = 1e6
        step = _equator((cars[0], cars[1], cars[2]), ttft_slo_s=ttft_slo_s)
        step.chat[0, 0] = [[100.0], [100.0]]
        flows = step.run()
        served = [1500.0 * (region <= reach_8b), 1500.0 * (region <= reach_70b)]
        assert flows.dispatched[0, :2] == pytest.approx(served)
        assert flows.diverted[0, :2] == pytest.approx([1500.0 - n for n in served])


def test_the_tightest_pair_that_is_served_sets_the_load_of_all() -> None:
    """Home to far is 0.150 s; at a limit of 0.6 s only the 8B goes there, with 0.382 s left."""
    slack_s = {2.0: 2.0 - 0.033 - PREFILL_70B_S - AWAY_S[2], 0.6: 0.2564 - 2 * AWAY_S[1]}
    for ttft_slo_s, tightest_s in slack_s.items():
        pool = _equator((1.0, 1.0, 1.0), ttft_slo_s=ttft_slo_s).setup.pools[0]
        assert pool.table.slack * pool.slot_s == pytest.approx(tightest_s, abs=1e-3)


def test_a_region_too_far_to_be_served_costs_the_others_nothing() -> None:
    alone = serving_setup(_config(ttft_slo_s=0.36), ["ai5"])
    places = {"home": (0.0, 0.0), "far": (0.0, 150.0)}
    world = serving_setup(_config(places=places, ttft_slo_s=0.36), ["ai5"])
    assert world.pools[0].legs == ()
    assert world.pools[0].table.slack == alone.pools[0].table.slack


def test_people_of_the_region_itself_come_first() -> None:
    """They ask for the 8B, guests for the 70B: guests get what is left below the limit."""
    step = _equator((0.0, 10.0, 0.0))
    step.chat[0, 0, CHAT_70B] = 60 * 20 * AI5_70B_PER_S
    step.chat[0, 1, CHAT_8B] = 60 * 6 * AI5_8B_PER_S
    flows = step.run()
    assert flows.dispatched[0, CHAT_8B] == pytest.approx(step.chat[0, 1].sum(), rel=1e-12)
    util = flows.util[0, 1, 0]
    assert 0.95 < util < 1.0
    assert flows.dispatched[0, CHAT_70B] == pytest.approx(
        900 * (10 * util - 6) * AI5_70B_PER_S, rel=1e-3
    )


def test_how_late_all_are_follows_from_the_load_that_guests_leave_behind() -> None:
    step = _equator((0.0, 10.0, 0.0))
    step.chat[0, 1, CHAT_8B] = 60 * 6 * AI5_8B_PER_S
    assert step.run().late.sum() < 1e-6
    step.chat[0, 0, CHAT_70B] = 60 * 20 * AI5_70B_PER_S
    flows = step.run()
    slots, load = 320.0, 320.0 * flows.util[0, 1, 0]
    slack_s, slot_s = step.setup.slack_s[0].min(), step.setup.pools[0].slot_s
    # one slack for all who ask these cars: that of the regions that are furthest apart
    late = float(wait_tail(slots, load, (slack_s - AWAY_S[2]) / slot_s))
    assert flows.late[0, :2] == pytest.approx(late * flows.dispatched[0, :2], rel=0.02)


def test_batch_work_takes_room_in_all_regions_alike() -> None:
    step = _equator((10.0, 20.0, 30.0))
    step.queue.batch_due[0, 40] = 0.5 * 60 * 900.0 * step.setup.rate[0, BATCH_70B]
    flows = step.run()
    assert flows.util[0, :, 0] == pytest.approx([0.5, 0.5, 0.5], rel=1e-9)
    step.cars[0, 1] = 0.0
    step.queue.batch_due[0, 40] = 1e9
    assert step.run().util[0, :, 0] == pytest.approx([1.0, 0.0, 1.0], rel=1e-9)


def test_regions_at_one_place_fill_like_one_fleet() -> None:
    same = {"a": (10.0, 10.0), "b": (10.0, 10.0)}
    step = Step(serving_setup(_config(places=same), ["ai5"]), cars=50.0)
    assert round_trips_s(_config(places=same)) == pytest.approx(0.033)
    step.chat[0, 0, CHAT_8B] = 60 * 80 * AI5_8B_PER_S
    flows = step.run()
    assert flows.diverted.sum() == pytest.approx(0.0, abs=1e-6)
    assert flows.util[0, :, 0].sum() == pytest.approx(1.6, rel=1e-3)


def test_a_leaving_car_takes_the_work_of_its_region() -> None:
    step = _equator((100.0, 100.0, 0.0))
    step.chat[0, 0, CHAT_8B] = 60 * 40 * AI5_8B_PER_S
    step.lost_cars[0, 1, 0] = 5.0
    assert step.run().lost.sum() == 0.0
    step.lost_cars[0, 0, 0] = 5.0
    assert step.run().lost[0, 0] == pytest.approx(5 * 32 * 0.4, rel=1e-3)


def test_batch_jobs_keep_their_finished_requests_in_the_slot() -> None:
    """27 s a request: a job of 60 min is 134 requests, a busy slot holds 67.5 of them."""
    slot_s = 32 / AI5_70B_PER_S
    held = (3600 / slot_s + 1) / 2
    step = Step(serving_setup(_config(batch_job_min=60.0), ["ai5"]))
    step.queue.batch_due[0, 40] = 1e7
    step.queue.running[0, BATCH_70B] = 1e7  # of the steps before
    step.lost_cars[:] = 2.0
    flows = step.run()
    assert flows.requeued[0] == pytest.approx(2 * 32 * held, rel=1e-3)
    assert step.queue.running[0, BATCH_70B] == pytest.approx(100 * 32 * held, rel=1e-3)


def test_checkpoints_bound_what_falls_back_and_slow_the_class_down() -> None:
    """sqrt(2 x 30 s x 12 h) = 1,610 s between two of them: 60 requests of 27 s; 1.9 % slower."""
    period_s = np.sqrt(2 * 30 * 12 * 3600)
    slow = 1 + 30 / period_s
    modes: dict[str, Any] = {
        "chat_loss": "checkpoint",
        "batch_loss": "checkpoint",
        "batch_job_min": 60.0,
    }
    setup = serving_setup(_config(**modes), ["ai5"])
    assert setup.rate[0] * slow == pytest.approx(
        [AI5_8B_PER_S, AI5_70B_PER_S, AI5_70B_PER_S], rel=1e-3
    )
    step = Step(setup)
    step.chat[0, 0, CHAT_70B] = 60 * 0.3 * 100 * AI5_70B_PER_S / slow
    step.queue.batch_due[0, 40] = step.queue.running[0, BATCH_70B] = 1e7
    step.lost_cars[:], step.off_share[:] = 2.0, 0.5
    flows = step.run()
    slot_s = 32 / AI5_70B_PER_S * slow
    unsaved, held = (period_s / slot_s + 1) / 2, (3600 / slot_s + 1) / 2
    assert flows.lost.sum() == 0.0
    assert flows.requeued[0] == pytest.approx(
        2 * 32 * 0.7 * unsaved + 0.5 * 1e7 * unsaved / held, rel=1e-3
    )


def test_only_the_mode_of_the_class_counts() -> None:
    step = Step(serving_setup(_config(chat_loss="resume"), ["ai5"]))
    step.chat[0, 0, CHAT_70B] = 60 * 0.3 * 100 * AI5_70B_PER_S
    step.queue.batch_due[0, 40] = 1e6
    step.lost_cars[:] = 2.0
    flows = step.run()
    assert flows.lost.sum() == 0.0
    assert flows.requeued[0] == pytest.approx(2 * 32 * 0.7, rel=1e-3)
    assert step.setup.rate[0] == pytest.approx(
        [AI5_8B_PER_S, AI5_70B_PER_S, AI5_70B_PER_S], rel=1e-3
    )


def test_hedged_chat_takes_more_work_and_is_lost_with_both_cars_only() -> None:
    plain, hedged = (Step(serving_setup(_config(hedge=hedge), ["ai5"])) for hedge in (False, True))
    for step in (plain, hedged):
        step.chat[0, 0, CHAT_70B] = 60 * 0.5 * 100 * AI5_70B_PER_S
        step.lost_cars[:] = 4.0
    one, two = plain.run(), hedged.run()
    extra = hedge_overhead(LENGTH_SIGMA)
    assert two.util[0, 0, 0] == pytest.approx(one.util[0, 0, 0] * (1 + extra), rel=1e-9)
    assert two.lost[0, CHAT_70B] == pytest.approx(
        one.lost[0, CHAT_70B] * (1 + extra) * 4 / 100, rel=1e-9
    )
    assert two.ttft_sum_s[0] == pytest.approx(one.ttft_sum_s[0], rel=1e-3)
    # the time of a single copy is what it was
    assert hedged.setup.slot_s.tolist() == plain.setup.slot_s.tolist()
    # batch work has no second copy
    for step in (plain, hedged):
        step.queue.batch_due[0, 40] = 1e4
        step.chat[:] = 0.0
    assert hedged.run().requeued.tolist() == plain.run().requeued.tolist()


def test_a_model_that_fits_no_car_is_an_error_if_anybody_asks_for_it() -> None:
    shares = {"hw3": 0.5, "ai4": 0.5}
    with pytest.raises(
        ValueError,
        match=r"no car holds the model of chat_70b, batch_70b: 70b \(39.7 GB of weights, 46.9 GB "
        r"with 32 requests\) in hw3 \(10 GB\), ai4 \(11 GB\); .*"
        r"demand.chat_70b_share=0 demand.batch_share=0$",
    ):
        serving_setup(_config(shares), list(shares))
    only_batch = DemandConfig(chat_70b_share=0.0)
    with pytest.raises(ValueError, match=r"of batch_70b: .* or demand.batch_share=0$"):
        serving_setup(_config(shares, demand=only_batch), list(shares))
    with pytest.raises(ValueError, match=r"of chat_70b: .* or demand.chat_70b_share=0$"):
        serving_setup(_config(shares, demand=DemandConfig(batch_share=0.0)), list(shares))
    # an accelerator in no car holds nothing
    with pytest.raises(ValueError, match=r"no car holds the model of chat_70b, batch_70b"):
        serving_setup(_config({"ai4": 1.0, "ai5": 0.0}), ["ai4", "ai5"])


@pytest.mark.parametrize(
    "demand",
    [
        DemandConfig(load=0.0),
        DemandConfig(trusted_only_share=1.0, batch_share=0.0),
        DemandConfig(chat_70b_share=0.0, batch_share=0.0),
    ],
)
def test_a_model_nobody_asks_for_need_not_fit(demand: DemandConfig) -> None:
    setup = serving_setup(_config({"ai4": 1.0}, demand=demand), ["ai4"])
    assert np.isfinite(setup.work_car_s).all()
    assert setup.back_share == 0.0
    step = Step(setup)
    step.chat[0, 0, CHAT_8B] = 100.0
    flows = step.run()
    for f in fields(flows):
        assert np.isfinite(getattr(flows, f.name)).all(), f.name
    assert flows.dispatched[0].tolist() == pytest.approx([1500.0, 0.0, 0.0])


def test_a_flash_too_small_for_the_weights_is_an_error() -> None:
    with pytest.raises(
        ValueError,
        match=r"flash_gb=40: ai5 keeps 8b \(4.5 GB\) and 70b \(39.7 GB\) there; "
        r"expected at least 44.2$",
    ):
        serving_setup(_config(flash_gb=40.0), ["ai5"])
    serving_setup(_config(flash_gb=44.2), ["ai5"])

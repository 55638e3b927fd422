"""The reference's regions and losses against numbers by hand (sections 5.1 and 5.7)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from fleet_env.config import DemandConfig, EnvConfig, FleetConfig, ServingConfig
from fleet_env.config_world import FeederConfig, RegionConfig
from fleet_env.types import BATCH_70B, CHAT_8B, CHAT_70B
from tests.reference import areas, losses, pools, queueing
from tests.reference.pools import Member

# a quarter of a meridian: 6371 pi / 2 = 10,007.5 km, 1.5 x 2 x that in glass is 0.15011 s
POLE = RegionConfig(latitude_deg=90.0)
EQUATOR = RegionConfig(latitude_deg=0.0)
FAR_S = 0.15011


def world(*regions: RegionConfig, **settings: Any) -> EnvConfig:
    """A card with so many regions, by default of 20 cars in homes of 5."""
    named = {f"r{i}": region for i, region in enumerate(regions)}
    return EnvConfig(**{"num_cars": 20, "regions": named, **settings})


def serve(
    config: EnvConfig,
    cars: list[int],
    chat: list[tuple[float, float]],
    *,
    batch: float = 0.0,
    cut: bool = False,
) -> tuple[queueing.Service, queueing.Queues]:
    """Serve chat (8B, 70B a minute) of each region on so many cars per region, for a step."""
    member = Member("ai5", 0.0, 7.5 if cut else 15.0, 1.0, cut, stopped=False)
    team = [replace(member, region=r) for r, n in enumerate(cars) for _ in range(n)]
    minutes = tuple(tuple((x,) * 15 for x in people) for people in chat)
    queues = queueing.Queues([0.0] * 49, [0.0] * 3)
    demand = queueing.Demand(minutes, (0.0, 0.0, batch))
    return queueing.play(config, team, queues, demand), queues


@pytest.mark.parametrize(
    ("shares", "regions"),
    [
        ((2.0, 1.0, 1.0), [0, 0, 1, 2]),  # four neighbourhoods: up to 2, 3 and 4
        ((1.0, 1.0, 1.0), [0, 1, 1, 2]),  # 1.33, 2.67 and 4: up to 1, 3 and 4
        ((1.0, 9.0), [1, 1, 1, 1]),  # 0.4 of a neighbourhood is none
    ],
)
def test_neighbourhoods_are_dealt_out_by_cumulated_share(
    shares: tuple[float, ...], regions: list[int]
) -> None:
    config = world(*(RegionConfig(share=s) for s in shares))
    assert [areas.region_of(config, 5 * n + 4) for n in range(4)] == regions
    assert [areas.region_of(config, 5 * n) for n in range(4)] == regions


def test_a_small_last_neighbourhood_counts() -> None:
    config = EnvConfig(num_cars=7, feeder=FeederConfig(homes=3))
    assert areas.num_neighbourhoods(config) == 3
    assert [areas.neighbourhood_of(config, car) for car in (0, 2, 3, 6)] == [0, 0, 1, 2]
    assert areas.region_of(config, 6) == 0


def test_round_trips_follow_the_globe() -> None:
    config = world(POLE, EQUATOR, RegionConfig(latitude_deg=0.0, longitude_deg=58.0))
    assert areas.round_trip_s(config, 0, 0) == 0.033
    assert areas.round_trip_s(config, 0, 1) == pytest.approx(0.033 + FAR_S, abs=1e-5)
    assert areas.distance_km(config, 1, 2) == pytest.approx(6371.0 * math.pi)  # half way round


def test_the_nearest_region_comes_first_and_ties_go_by_number() -> None:
    config = world(POLE, EQUATOR, EQUATOR, RegionConfig(latitude_deg=60.0))
    assert areas.nearest_first(config, 0) == [0, 3, 1, 2]
    assert areas.nearest_first(config, 2) == [2, 1, 3, 0]


def test_people_without_cars_are_served_on_the_other_side() -> None:
    service, _ = serve(world(POLE, EQUATOR), [0, 4], [(60.0, 30.0), (0.0, 0.0)])
    assert service.diverted == [0.0, 0.0, 0.0]
    # an AI5 car does 518 requests of 8B a minute and 71.3 of 70B
    assert service.util[1, "ai5"] == pytest.approx((60.0 / 518.0 + 30.0 / 71.3) / 4.0, rel=1e-3)
    assert service.util[0, "ai5"] == 0.0


def test_what_the_nearest_cannot_take_goes_further() -> None:
    """Next door: the slack is the same, and either car takes 0.7464 of its slots."""
    service, _ = serve(world(POLE, POLE), [1, 1], [(1000.0, 0.0), (0.0, 0.0)])
    assert [service.util[r, "ai5"] for r in (0, 1)] == pytest.approx([0.7464, 0.7464], abs=1e-4)
    assert service.diverted[0] == pytest.approx(15.0 * (1000.0 - 2 * 0.7464 * 518.0), rel=2e-3)


def test_the_tightest_pair_sets_the_load_of_all() -> None:
    service, _ = serve(world(POLE, EQUATOR), [1, 1], [(1000.0, 0.0), (0.0, 0.0)])
    near, far = (service.util[r, "ai5"] for r in (0, 1))
    # slot time 6.5158 s, slack 1.6564 - 0.1501 s: 1 % of the requests wait longer at that load
    slots, slack = 32.0, (1.6564 - FAR_S) / 6.5158
    assert pools.p_late(slots, far, slack) == pytest.approx(0.01, rel=2e-3)
    assert near == pytest.approx(far)
    assert near < 0.7464  # of a card without a far side


def test_offers_of_a_round_are_admitted_alike_after_the_first_round() -> None:
    """Three regions at one place; the car of the third takes from both others by their rest."""
    config = world(POLE, POLE, POLE)
    service, _ = serve(config, [0, 0, 1], [(900.0, 0.0), (100.0, 0.0), (0.0, 0.0)])
    # 0's second is 1 (no cars), its third 2; 1's second is 0, its third 2: both ask in round 2
    assert service.dispatched[0] == pytest.approx(15.0 * 0.7464 * 518.0, rel=2e-3)
    service, _ = serve(config, [1, 0, 0], [(200.0, 0.0), (300.0, 0.0), (300.0, 0.0)])
    # round 0 takes all 200 of its own, round 1 what still fits of the 600
    assert service.dispatched[0] == pytest.approx(15.0 * 0.7464 * 518.0, rel=2e-3)


def test_late_requests_of_one_round_wait_for_those_of_the_next() -> None:
    alone, _ = serve(world(POLE, POLE), [1, 0], [(300.0, 0.0), (0.0, 0.0)])
    shared, _ = serve(world(POLE, POLE), [1, 0], [(300.0, 0.0), (50.0, 0.0)])
    per_request = alone.late[0] / alone.dispatched[0], shared.late[0] / shared.dispatched[0]
    assert per_request[1] == pytest.approx(
        pools.p_late(32.0, shared.util[0, "ai5"], 1.6564 / 6.5158), rel=1e-3
    )
    assert per_request[0] < 0.5 * per_request[1]


@pytest.mark.parametrize("limit_s", [0.45, 0.5])
def test_nobody_is_sent_where_little_time_is_left(limit_s: float) -> None:
    """Next door 70B has 0.106 s (0.156 s) to wait, beyond 0.150 s nothing (less than half)."""
    config = world(POLE, EQUATOR, serving=ServingConfig(ttft_slo_s=limit_s))
    service, _ = serve(config, [0, 4], [(10.0, 10.0), (0.0, 0.0)])
    assert service.diverted == pytest.approx([0.0, 150.0, 0.0])
    left_s = pools.make_pools(config)[0].left_s[1][1]
    assert left_s == pytest.approx(limit_s - 0.033 - FAR_S - 0.3106, abs=1e-3)


@pytest.mark.parametrize(
    ("limit_s", "slack_s"),
    # 70B takes 0.3106 s to read, 8B 0.0352 s; 0.033 s at home, 0.1501 s more away
    [
        (2.0, 1.6564 - FAR_S),
        (0.45, 0.1064),  # away only 8B is served, with 0.2317 s to wait
    ],
)
def test_one_slack_for_all_pairs_that_are_served(limit_s: float, slack_s: float) -> None:
    for pool in pools.make_pools(world(POLE, EQUATOR, serving=ServingConfig(ttft_slo_s=limit_s))):
        assert pool.slack_slots * pool.slot_s == pytest.approx(slack_s, abs=1e-3)


def test_batch_fills_all_regions_alike() -> None:
    service, queues = serve(world(POLE, EQUATOR), [1, 3], [(0.0, 0.0)] * 2, batch=1000.0)
    assert service.dispatched[2] == pytest.approx(1000.0)
    assert [service.util[r, "ai5"] for r in (0, 1)] == pytest.approx(
        [1000.0 / 15.0 / 4.0 / 71.3] * 2, rel=1e-3
    )
    assert queues.running[2] == pytest.approx(1000.0 / 15.0 * 26.93 / 60.0, rel=1e-3)


def one(**serving: Any) -> EnvConfig:
    """A card of one region."""
    return EnvConfig(num_cars=4, serving=ServingConfig(**serving))


def test_checkpoints_by_young() -> None:
    config = one(batch_loss="checkpoint")
    # sqrt(2 x 30 s x 12 h) = sqrt(2,592,000) s
    assert losses.period_s(config) == pytest.approx(1609.97, abs=0.01)
    assert losses.slowdown(config, BATCH_70B) == pytest.approx(1.018634, abs=1e-6)
    assert losses.slowdown(config, CHAT_70B) == 1.0


@pytest.mark.parametrize(
    ("mode", "batch", "chat"),
    # 30 min of slots of 26.93 s: a job of 66.84 requests, 33.92 of them in flight;
    # a checkpoint every 1610 s: 59.78 requests
    [("restart", 33.92, 1.0), ("resume", 0.0, 0.0), ("checkpoint", 30.39, 0.0)],
)
def test_what_a_busy_slot_loses(mode: str, batch: float, chat: float) -> None:
    config = one(chat_loss=mode, batch_loss=mode, batch_job_min=30.0)
    assert losses.held_per_slot(config, BATCH_70B, 26.93) == pytest.approx(33.92, abs=0.01)
    assert losses.lost_per_slot(config, BATCH_70B, 26.93) == pytest.approx(batch, abs=0.01)
    assert losses.lost_per_slot(config, CHAT_8B, 4.0) == chat


def test_work_without_jobs_is_lost_request_by_request() -> None:
    config = one()
    assert losses.held_per_slot(config, BATCH_70B, 26.93) == 1.0
    assert losses.lost_per_slot(config, BATCH_70B, 26.93) == 1.0


def test_a_hedge_repeats_what_is_beyond_the_95th_percentile() -> None:
    # Phi(0.86 - 1.645) = Phi(-0.785) = 0.21623; 0.05 exp(1.4147 - 0.3698) = 0.14216
    assert losses.hedge_growth(one(hedge=True)) == pytest.approx(0.07407, abs=1e-5)
    assert losses.hedge_growth(one()) == 0.0


def test_checkpoints_slow_their_class_down() -> None:
    kinds = [one(), one(batch_loss="checkpoint"), one(chat_loss="checkpoint")]
    plain, batch, chat = (pools.make_pools(config)[0] for config in kinds)
    longer = 1.018634
    assert batch.need_min[2] / plain.need_min[2] == pytest.approx(longer)
    assert batch.need_min[1] == plain.need_min[1]
    assert chat.need_min[1] / plain.need_min[1] == pytest.approx(longer)
    assert chat.slot_s / plain.slot_s == pytest.approx(longer)


@pytest.mark.parametrize("mode", ["restart", "resume", "checkpoint"])
def test_jobs_of_a_leaving_car_fall_back_by_their_mode(mode: str) -> None:
    """One of two cars leaves; 60 requests a minute keep 0.42 of the slots busy."""
    config = one(batch_loss=mode, batch_job_min=30.0)
    member = Member("ai5", 0.0, 15.0, 1.0, cut=False, stopped=False)
    team = [member, replace(member, serve_until=12.0, cut=True)]
    queues = queueing.Queues([0.0] * 49, [0.0, 0.0, 5000.0], serving=2.0)
    demand = queueing.Demand((((0.0,) * 15, (0.0,) * 15),), (0.0, 0.0, 900.0))
    service = queueing.play(config, team, queues, demand)
    slower = 1.018634 if mode == "checkpoint" else 1.0
    busy = 900.0 * slower / 71.3 / 27.0
    lost = {"restart": 33.92, "resume": 0.0, "checkpoint": 0.5 * (1609.97 / 26.93 / slower + 1.0)}
    assert queues.batch_due[0] == pytest.approx(32.0 * busy * lost[mode], rel=2e-3)
    # in flight on the one that stays: 60 a minute of 26.93 s, with the jobs they belong to
    held = 0.5 * (1800.0 / 26.93 / slower + 1.0)
    assert queues.running[2] == pytest.approx(60.0 * 26.93 * slower / 60.0 * held, rel=2e-3)
    assert service.lost[2] == 0.0


@pytest.mark.parametrize(
    ("mode", "share"), [("restart", 1.0), ("resume", 0.0), ("checkpoint", 0.896)]
)
def test_switching_off_on_purpose_follows_the_mode(mode: str, share: float) -> None:
    """One of two cars is switched off: half of what is held falls back, as far as unsaved."""
    # 30.39 / 33.92 as above; slots are 1.9 % longer with checkpoints: 29.84 / 33.30
    config = one(batch_loss=mode, batch_job_min=30.0)
    team = [Member("ai5", 0.0, 0.0, 1.0, cut=False, stopped=True)]
    queues = queueing.Queues([0.0] * 49, [0.0, 0.0, 1000.0], serving=2.0)
    queueing.play(config, team, queues, queueing.Demand((((0.0,) * 15,) * 2,), (0.0, 0.0, 0.0)))
    assert queues.batch_due[0] == pytest.approx(500.0 * share, rel=1e-3)


def test_a_hedged_request_dies_with_both_of_its_cars() -> None:
    plain, _ = serve(one(), [1], [(60.0, 0.0)], cut=True)
    both, _ = serve(one(hedge=True), [1], [(60.0, 0.0)], cut=True)
    assert both.lost[0] == pytest.approx(1.07407 * plain.lost[0], rel=1e-4)  # there is one car
    member = Member("ai5", 0.0, 15.0, 1.0, cut=False, stopped=False)
    team = [member] * 3 + [replace(member, serve_until=15.0, cut=True)]
    demand = queueing.Demand((((60.0,) * 15, (0.0,) * 15),), (0.0, 0.0, 0.0))
    queues = queueing.Queues([0.0] * 49, [0.0] * 3)
    lost = queueing.play(one(hedge=True), team, queues, demand).lost[0]
    # 32 slots, 60 / 518 / 4 of them busy, times 1.074; one car in four leaves
    assert lost == pytest.approx(32.0 * 60.0 / 518.0 / 4.0 * 1.07407 / 4.0, rel=1e-3)


def test_a_mixed_pool_has_its_parts_in_every_region() -> None:
    fleet = FleetConfig(accelerators={"ai5": 0.5, "claim": 0.5})
    config = world(POLE, EQUATOR, fleet=fleet, demand=DemandConfig())
    assert [(p.region, list(p.speed)) for p in pools.make_pools(config)] == [
        (0, ["ai5", "claim"]),
        (1, ["ai5", "claim"]),
    ]

"""Pools of cars that hold the same tiers, one of each kind per region (sections 2.4 and 5.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache

from fleet_env.config import EnvConfig
from fleet_env.types import BATCH_70B, CHAT_8B, CLASS_TIER, TIER_8B, TIER_70B
from tests.reference import areas, losses, roofline, waiting
from tests.reference.constants import ACCELERATORS, MODELS

REACH_SHARE = 0.5  # of the time for waiting next door that the way to another region may leave
KINDS = ((TIER_8B,), (TIER_70B,), (TIER_8B, TIER_70B))


@dataclass(frozen=True)
class Member:
    """What the queue sees of one car."""

    chip: str
    serve_from: float  # minutes of the step
    serve_until: float
    speed: float  # slowed by heat, or by what nobody knows
    cut: bool  # its serving ends by a departure, a call-back or a link that fails
    stopped: bool  # served in the step before, now switched off by the agent
    region: int = 0

    def minutes_in(self, minute: int) -> float:
        """Part of one minute in which this car serves, as full-speed minutes."""
        overlap = min(self.serve_until, minute + 1.0) - max(self.serve_from, float(minute))
        return max(0.0, overlap) * self.speed


@dataclass
class Pool:
    """Cars of a region that hold the same tiers, in minutes of its first accelerator's car."""

    region: int
    speed: dict[str, float]  # of a car of each accelerator
    need_min: dict[int, float]  # per request of each class it can serve
    slot_s: float
    turn: list[int]  # round in which the people of each region ask it
    # time left for waiting before the first token is late, by people's region and tier [s]
    left_s: list[dict[int, float]]
    asked_for: tuple[int, ...]  # tiers with a share in chat
    slack_slots: float = 0.0  # in mean slot times
    cars: list[float] = field(default_factory=list)  # by minute
    load: list[float] = field(default_factory=list)  # chat work admitted, by minute
    started: list[list[float]] = field(default_factory=list)  # by class and minute

    def has(self, member: Member) -> bool:
        """Whether a car belongs to it."""
        return member.region == self.region and member.chip in self.speed

    def serves(self, c: int) -> bool:
        """Whether the tier of a class is in memory."""
        return c in self.need_min

    def in_reach(self, people: int, tier: int) -> bool:
        """Whether enough is left of the time that people have next door."""
        return self.left_s[people][tier] >= REACH_SHARE * self.left_s[self.region][tier]

    def busy(self, c: int) -> float:
        """Share of the step's serving time that goes to a class."""
        total = sum(self.cars)
        return sum(self.started[c]) * self.need_min[c] / total if self.serves(c) and total else 0.0


def make_pools(config: EnvConfig) -> list[Pool]:
    """Sort the accelerators by what they hold (only 8B, only 70B, both), for every region."""
    pools: list[Pool] = []
    regions = range(len(areas.region_shares(config)))
    for tiers in KINDS:
        names = config.fleet.accelerators
        chips = [n for n in names if roofline.resident_tiers(ACCELERATORS[n], config) == tiers]
        alike = [_make_pool(config, chips, tiers, region) for region in regions if chips]
        for pool in alike:
            pool.slack_slots = _slack_s(alike) / pool.slot_s
            pool.cars, pool.load = [0.0] * config.step_min, [0.0] * config.step_min
            pool.started = [[0.0] * config.step_min for _ in CLASS_TIER]
        pools += alike
    return pools


def _slack_s(alike: list[Pool]) -> float:
    """Smallest time left among all pairs of people and cars that are served."""
    return min(
        pool.left_s[people][tier]
        for pool in alike
        for people in range(len(pool.turn))
        for tier in pool.asked_for
        if pool.in_reach(people, tier)
    )


def _make_pool(config: EnvConfig, chips: list[str], tiers: tuple[int, ...], region: int) -> Pool:
    demand = config.demand
    nominal = {TIER_8B: 1.0 - demand.chat_70b_share, TIER_70B: demand.chat_70b_share}
    share = nominal if len(tiers) == 2 else {tiers[0]: 1.0}
    mixed = {c: sum(share[t] * rate_per_s(config, c, t) for t in tiers) for c in chips}
    reference, everybody = chips[0], range(len(areas.region_shares(config)))
    slower = losses.slowdown(config, CHAT_8B)  # both classes of chat have one mode
    return Pool(
        region=region,
        speed={chip: mixed[chip] / mixed[reference] for chip in chips},
        need_min={
            c: _need_min(config, reference, c) for c, tier in enumerate(CLASS_TIER) if tier in tiers
        },
        slot_s=config.serving.batch_slots / mixed[reference] * slower,
        turn=[areas.nearest_first(config, people).index(region) for people in everybody],
        left_s=[
            {t: min(_left_s(config, chip, t, people, region) for chip in chips) for t in tiers}
            for people in everybody
        ],
        asked_for=tuple(t for t in tiers if share[t] > 0.0),
    )


def _left_s(config: EnvConfig, chip: str, tier: int, people: int, region: int) -> float:
    trip_s = areas.round_trip_s(config, people, region)
    prefill_s = roofline.prefill_s(ACCELERATORS[chip], MODELS[tier], config.demand)
    return config.serving.ttft_slo_s - trip_s - prefill_s


def rate_per_s(config: EnvConfig, chip: str, tier: int) -> float:
    """Requests per second of a car that does nothing else."""
    serving, demand = config.serving, config.demand
    tokens = roofline.tokens_per_s(ACCELERATORS[chip], MODELS[tier], demand, serving.batch_slots)
    return tokens / demand.output_tokens / serving.redundancy


def _need_min(config: EnvConfig, chip: str, c: int) -> float:
    """Minutes of a car per request, checkpoints and second copies included."""
    growth = losses.hedge_growth(config) if c != BATCH_70B else 0.0
    longer = losses.slowdown(config, c) * (1.0 + growth)
    return longer / (60.0 * rate_per_s(config, chip, CLASS_TIER[c]))


@cache
def p_late(slots: float, rho: float, slack_slots: float) -> float:
    """Probability that a request waits longer than `slack_slots` mean slot times."""
    if rho <= 0.0 or slots <= 0.0:
        return 0.0
    load = rho * slots
    return waiting.p_wait(slots, load) * math.exp(-(slots - load) * slack_slots)


@cache
def rho_max(slots: float, slack_slots: float, quantile: float) -> float:
    """Largest load per slot at which at most `1 - quantile` of the requests wait too long."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        if p_late(slots, middle, slack_slots) <= 1.0 - quantile:
            low = middle
        else:
            high = middle
    return low

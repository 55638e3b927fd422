"""What the accelerators of a scenario can serve: groups, pools, rates and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleet_env.config import DemandConfig, EnvConfig, ServingConfig
from fleet_env.dynamics import roofline
from fleet_env.dynamics.losses import LossRules, copies, loss_rules, slowdown
from fleet_env.dynamics.queueing import WaitTable, build_wait_table
from fleet_env.dynamics.roofline import Accelerator, Mix, Model
from fleet_env.dynamics.routes import Leg, make_legs
from fleet_env.dynamics.serving_checks import check_limits, check_weights, first_token_s
from fleet_env.regions import num_regions, round_trips_s
from fleet_env.sums import weighted
from fleet_env.types import BATCH_70B, CLASS_TIER, CLASSES, TIERS, BoolArray, FloatArray, IntArray
from fleet_env.units import S_PER_MIN

NUM_CLASSES = len(CLASSES)


@dataclass(frozen=True)
class Pool:
    """Groups that hold the same tiers and share one queue."""

    groups: tuple[int, ...]
    speed: tuple[float, ...]  # of a car of each group, in reference cars (the first group's)
    classes: slice  # the interactive classes it serves
    first_token_s: tuple[float, ...]  # network and prefill of those classes in a car next door
    # (3, 1) reference-car minutes per request, second copies included; 0 for a class not served
    need_min: FloatArray
    slot_s: float  # mean slot time of the nominal chat mix
    table: WaitTable  # of the tightest slack among the pairs of regions that are served
    legs: tuple[Leg, ...]  # rounds after the one next door
    losses: LossRules


@dataclass(frozen=True)
class ServingSetup:
    """What the accelerators of a scenario can serve; built once.

    A group is (accelerator, resident tiers). `batch_due` has `max_due + 1` columns; batch work of
    deadline bucket k enters column `due_steps[k]`, and column 0 is what is due at the end of the
    step.
    """

    accelerators: tuple[str, ...]
    tier_fits: BoolArray  # (num_accelerators, 2)
    group_accelerator: IntArray  # (num_groups,) index into `accelerators`
    group_resident: IntArray  # (num_groups,) uint8, bit mask 1 << tier
    weights_gb: FloatArray  # (num_groups,) of all resident tiers
    # (num_groups, 3) requests/s of a car that does nothing else, redundancy and saving included
    rate: FloatArray
    # (num_groups, 3) time a request holds its slot; inf where the tier is not resident
    slot_s: FloatArray
    # (num_groups, 2) wait per tier that the TTFT limit leaves; nan where not resident
    slack_s: FloatArray
    work_car_s: FloatArray  # (3,) mean car-seconds per request over the cars that fit it
    extra_work: FloatArray  # (3,) factor in it: saving, second copies
    batch_slots: int
    due_steps: tuple[int, ...]
    max_due: int
    back_share: float  # of the batch work held by cars switched off on purpose: it falls back
    hedge: bool  # chat is lost only if the cars of both copies leave
    num_regions: int
    pools: tuple[Pool, ...]  # only 8B, only 70B, both: those that exist, in this order

    @property
    def fits(self) -> BoolArray:
        """Accelerators that hold at least one tier, shape (num_accelerators,)."""
        any_tier: BoolArray = np.logical_or.reduce(self.tier_fits, axis=1)
        return any_tier

    @property
    def places_models(self) -> bool:
        """Whether some accelerator cannot hold all its tiers at once: a model has to be chosen."""
        return self.num_groups > len(self.accelerators)

    @property
    def flash_gb(self) -> FloatArray:
        """Weights of all tiers that an accelerator serves, kept in flash, (num_accelerators,)."""
        total_gb = np.zeros(len(self.accelerators))
        np.add.at(total_gb, self.group_accelerator, self.weights_gb)
        return total_gb

    @property
    def num_groups(self) -> int:
        """Number of groups."""
        return len(self.group_accelerator)


def serving_setup(config: EnvConfig, accelerators: Sequence[str]) -> ServingSetup:
    """Work out what each accelerator of a scenario serves, and how fast.

    Parameters
    ----------
    config : EnvConfig
    accelerators : sequence of str
        Rows of the accelerator table in the order of `FleetParams.accelerator`.

    Returns
    -------
    ServingSetup

    Raises
    ------
    ValueError
        If an accelerator is unknown, the batch breaks the TPOT limit, prefill and network leave no
        time before the TTFT limit, the flash is too small, or no accelerator holds the model of a
        class with demand.
    """
    serving, mix = config.serving, Mix(config.demand.input_tokens, config.demand.output_tokens)
    chips = [roofline.accelerator(name) for name in accelerators]
    llms = [roofline.model(tier) for tier in TIERS]
    tier_fits = np.array(
        [[roofline.fits(chip, llm, serving.batch_slots, mix) for llm in llms] for chip in chips]
    )
    check_weights(config, chips, llms, tier_fits, mix)
    groups = _groups(chips, llms, tier_fits, serving.batch_slots, mix)
    slower = slowdown(serving)
    extra_work = slower * copies(serving)
    rate = np.zeros((len(groups), NUM_CLASSES))
    slack_s = np.full((len(groups), len(TIERS)), np.nan)
    for g, (a, tiers) in enumerate(groups):
        for tier in tiers:
            check_limits(chips[a], llms[tier], mix, serving)
            slack_s[g, tier] = serving.ttft_slo_s - first_token_s(
                chips[a], llms[tier], mix, serving
            )
            held = np.equal(CLASS_TIER, tier)
            rate[g, held] = _request_rate(chips[a], llms[tier], mix, serving) / slower[held]
    pools = _pools([tiers for _, tiers in groups], rate, slack_s, config)
    due_steps = _due_steps(config)
    with np.errstate(divide="ignore"):
        slot_s = serving.batch_slots / rate
    return ServingSetup(
        accelerators=tuple(accelerators),
        tier_fits=tier_fits,
        group_accelerator=np.array([a for a, _ in groups], dtype=np.uint8),
        group_resident=np.array(
            [sum(1 << tier for tier in tiers) for _, tiers in groups], dtype=np.uint8
        ),
        weights_gb=np.array([sum(llms[tier].weights_gb for tier in tiers) for _, tiers in groups]),
        rate=rate,
        slot_s=slot_s,
        slack_s=slack_s,
        work_car_s=_work_car_s(config, chips, llms, tier_fits, mix) * extra_work,
        extra_work=extra_work,
        batch_slots=serving.batch_slots,
        due_steps=due_steps,
        max_due=max(due_steps),
        back_share=_back_share(pools),
        hedge=serving.hedge,
        num_regions=num_regions(config),
        pools=pools,
    )


def _groups(
    chips: list[Accelerator], llms: list[Model], tier_fits: BoolArray, batch: int, mix: Mix
) -> list[tuple[int, tuple[int, ...]]]:
    """List (accelerator, tiers) of every group.

    An accelerator that holds all tiers it fits at once is one group, else it has one per tier.
    """
    groups: list[tuple[int, tuple[int, ...]]] = []
    for a, chip in enumerate(chips):
        tiers = tuple(np.flatnonzero(tier_fits[a]).tolist())
        together_gb = sum(roofline.memory_gb(llms[tier], batch, mix) for tier in tiers)
        if tiers and together_gb <= chip.memory_gb:
            groups.append((a, tiers))
        else:
            groups += [(a, (tier,)) for tier in tiers]
    return groups


def _request_rate(chip: Accelerator, llm: Model, mix: Mix, serving: ServingConfig) -> float:
    tokens_per_s = roofline.out_rate(chip, llm, serving.batch_slots, mix)
    return tokens_per_s / mix.output_tokens / serving.redundancy


def _due_steps(config: EnvConfig) -> tuple[int, ...]:
    """Count the steps until each bucket is due: its hours after the end of the step of arrival."""
    hours = [float(key) for key in config.demand.batch_deadline_shares]
    if min(hours) <= 0.0:
        raise ValueError(
            f"demand.batch_deadline_shares has the deadline {min(hours):g} h: expected more than 0"
        )
    return tuple(int(np.ceil(h / config.dt_h - 1e-9)) for h in hours)


def _work_car_s(
    config: EnvConfig, chips: list[Accelerator], llms: list[Model], tier_fits: BoolArray, mix: Mix
) -> FloatArray:
    """Car-seconds of a request of each class: one over the mean rate of the cars that fit it.

    A class that no car fits, and that nobody asks for, is counted as if all had the memory.
    """
    share = np.array([config.fleet.accelerators.get(chip.name, 0.0) for chip in chips])[:, None]
    rate = np.array(
        [[_request_rate(chip, llm, mix, config.serving) for llm in llms] for chip in chips]
    )
    weight = share * np.where((share * tier_fits).any(axis=0), tier_fits, 1.0)
    tier_s = weight.sum(axis=0) / (weight * rate).sum(axis=0)
    work_s: FloatArray = tier_s[list(CLASS_TIER)]
    return work_s


def _pools(
    tiers_of: list[tuple[int, ...]], rate: FloatArray, slack_s: FloatArray, config: EnvConfig
) -> tuple[Pool, ...]:
    pools = []
    for tiers in ((0,), (1,), (0, 1)):
        groups = [g for g, held in enumerate(tiers_of) if held == tiers]
        if groups:
            pools.append(_pool(groups, tiers, rate[groups], slack_s[groups], config))
    return tuple(pools)


def _pool(
    groups: list[int],
    tiers: tuple[int, ...],
    rate: FloatArray,
    slack_s: FloatArray,
    config: EnvConfig,
) -> Pool:
    """Build a pool; its queue sees the nominal chat mix and the tightest slack of that mix."""
    work_share = _chat_work_share(tiers, config.demand)
    classes = slice(tiers[0], tiers[-1] + 1)
    chat_rate = weighted(rate[:, classes], work_share)  # requests/s of the nominal mix, per group
    slot_s = config.serving.batch_slots / chat_rate[0]
    with np.errstate(divide="ignore"):
        need_min = np.where(rate[0] > 0.0, copies(config.serving) / (S_PER_MIN * rate[0]), 0.0)
        batch_slot_s = config.serving.batch_slots / rate[0, BATCH_70B]
    legs, slack = make_legs(
        round_trips_s(config) / slot_s, slack_s[:, classes].min(axis=0) / slot_s, work_share > 0.0
    )
    return Pool(
        groups=tuple(groups),
        speed=tuple((chat_rate / chat_rate[0]).tolist()),
        classes=classes,
        first_token_s=tuple((config.serving.ttft_slo_s - slack_s[0, classes]).tolist()),
        need_min=need_min[:, None],
        slot_s=float(slot_s),
        table=build_wait_table(slack, config.serving.slo_quantile),
        legs=legs,
        losses=loss_rules(config.serving, float(batch_slot_s)),
    )


def _chat_work_share(tiers: tuple[int, ...], demand: DemandConfig) -> FloatArray:
    """Share of each resident tier in the chat work of a pool."""
    if len(tiers) == 1:
        return np.ones(1)
    return np.array([1.0 - demand.chat_70b_share, demand.chat_70b_share])


def _back_share(pools: tuple[Pool, ...]) -> float:
    """Say what cars switched off give back, by the first pool that takes batch work."""
    shares = [pool.losses.back_share for pool in pools if pool.need_min[BATCH_70B, 0] > 0.0]
    return shares[0] if shares else 0.0

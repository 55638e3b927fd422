"""Settings of serving that cannot work, and what to do about them."""

from __future__ import annotations

import numpy as np

from fleet_env.config import DemandConfig, EnvConfig, ServingConfig
from fleet_env.dynamics import roofline
from fleet_env.dynamics.roofline import Accelerator, Mix, Model
from fleet_env.types import CLASS_TIER, CLASSES, BoolArray, FloatArray

# what leaves a class without demand
WITHOUT = ("demand.chat_70b_share=1", "demand.chat_70b_share=0", "demand.batch_share=0")


def check_weights(
    config: EnvConfig, chips: list[Accelerator], llms: list[Model], tier_fits: BoolArray, mix: Mix
) -> None:
    """Raise ValueError if a model that is asked for fits no car, or the flash is too small.

    Parameters
    ----------
    config : EnvConfig
    chips, llms : list
        Accelerators of the card and models by tier.
    tier_fits : BoolArray, shape (num_accelerators, 2)
        Whether the memory holds the model with all its requests.
    mix : Mix
    """
    if not tier_fits.any():
        raise ValueError(
            f"serving.batch_slots={config.serving.batch_slots}: no tier fits the memory of "
            f"{', '.join(chip.name for chip in chips)} with so many requests; "
            "expected a smaller batch"
        )
    share = [config.fleet.accelerators.get(chip.name, 0.0) for chip in chips]
    held: BoolArray = np.logical_or.reduce(tier_fits[np.array(share) > 0.0], axis=0)
    homeless = np.flatnonzero((_class_shares(config.demand) > 0.0) & ~held[list(CLASS_TIER)])
    if homeless.size:
        raise ValueError(_homeless(config, chips, llms, homeless.tolist(), mix))
    for chip, fits in zip(chips, tier_fits, strict=True):
        _check_flash(config.serving, chip, [llms[tier] for tier in np.flatnonzero(fits)])


def _class_shares(demand: DemandConfig) -> FloatArray:
    """Share of each class in the work that may run in cars, to a common factor; all 0 without."""
    chat = demand.load * (1.0 - demand.batch_share) * (1.0 - demand.trusted_only_share)
    chat_70b = chat * demand.chat_70b_share
    return np.array([chat - chat_70b, chat_70b, demand.load * demand.batch_share])


def _homeless(
    config: EnvConfig, chips: list[Accelerator], llms: list[Model], classes: list[int], mix: Mix
) -> str:
    slots = config.serving.batch_slots
    models = [
        f"{llm.name} ({llm.weights_gb:g} GB of weights, "
        f"{roofline.memory_gb(llm, slots, mix):.1f} GB with {slots} requests)"
        for llm in (llms[tier] for tier in sorted({CLASS_TIER[k] for k in classes}))
    ]
    memories = [f"{chip.name} ({chip.memory_gb:g} GB)" for chip in chips]
    return (
        f"fleet.accelerators: no car holds the model of {', '.join(CLASSES[k] for k in classes)}: "
        f"{', '.join(models)} in {', '.join(memories)}; expected an accelerator with more memory, "
        f"a smaller serving.batch_slots, or {' '.join(WITHOUT[k] for k in classes)}"
    )


def _check_flash(serving: ServingConfig, chip: Accelerator, llms: list[Model]) -> None:
    needed_gb = sum(llm.weights_gb for llm in llms)
    if needed_gb > serving.flash_gb:
        models = " and ".join(f"{llm.name} ({llm.weights_gb:g} GB)" for llm in llms)
        raise ValueError(
            f"serving.flash_gb={serving.flash_gb:g}: {chip.name} keeps {models} there; "
            f"expected at least {needed_gb:g}"
        )


def check_limits(chip: Accelerator, llm: Model, mix: Mix, serving: ServingConfig) -> None:
    """Raise ValueError if tokens of a full batch come too slowly, or the first one too late."""
    tpot_s = roofline.t_step_s(chip, llm, serving.batch_slots, mix)
    if tpot_s > serving.tpot_slo_s:
        largest = roofline.max_batch_in_time(chip, llm, mix, serving.tpot_slo_s)
        raise ValueError(
            f"serving.batch_slots={serving.batch_slots}: a token of {llm.name} on {chip.name} "
            f"takes {tpot_s:.3f} s, above serving.tpot_slo_s={serving.tpot_slo_s:g}; "
            f"expected a batch of at most {largest}"
        )
    first_s = first_token_s(chip, llm, mix, serving)
    if first_s >= serving.ttft_slo_s:
        raise ValueError(
            f"serving.ttft_slo_s={serving.ttft_slo_s:g}: network and prefill of {llm.name} on "
            f"{chip.name} alone take {first_s:.3f} s; expected more than that"
        )


def first_token_s(chip: Accelerator, llm: Model, mix: Mix, serving: ServingConfig) -> float:
    """Network and prefill of a request that does not wait, in a car next door [s]."""
    return serving.rtt_s + roofline.t_prefill_s(chip, llm, mix)

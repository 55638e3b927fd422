"""Rates of a car by the roofline of domain 1c, at the mean request."""

from __future__ import annotations

from fleet_env.config import DemandConfig, EnvConfig
from tests.reference.constants import ETA_BANDWIDTH, ETA_COMPUTE, MODELS, Accelerator, Model


def prefill_s(chip: Accelerator, model: Model, demand: DemandConfig) -> float:
    """Time to read the input of one request."""
    return 2.0 * model.params * demand.input_tokens / (ETA_COMPUTE * chip.tops * 1e12)


def decode_step_s(chip: Accelerator, model: Model, demand: DemandConfig, batch: float) -> float:
    """Time of one decode step of `batch` requests that are half way through their output."""
    context = demand.input_tokens + 0.5 * demand.output_tokens
    read = model.weights_gb * 1e9 + batch * model.kv_bytes_per_token * context
    compute = 2.0 * model.params * batch
    return max(
        read / (ETA_BANDWIDTH * chip.gb_per_s * 1e9), compute / (ETA_COMPUTE * chip.tops * 1e12)
    )


def tokens_per_s(chip: Accelerator, model: Model, demand: DemandConfig, batch: float) -> float:
    """Output tokens per second of a car that serves nothing else."""
    decode_s = demand.output_tokens * decode_step_s(chip, model, demand, batch) / batch
    return demand.output_tokens / (prefill_s(chip, model, demand) + decode_s)


def memory_gb(model: Model, demand: DemandConfig, batch: float) -> float:
    """Weights, and the cache of `batch` requests at the end of their output."""
    tokens = demand.input_tokens + demand.output_tokens
    return model.weights_gb + batch * model.kv_bytes_per_token * tokens / 1e9


def fitting_tiers(chip: Accelerator, config: EnvConfig) -> tuple[int, ...]:
    """Tiers that fit into a car one by one."""
    needs_gb = _needs_gb(config)
    return tuple(tier for tier, gb in enumerate(needs_gb) if gb <= chip.memory_gb)


def resident_tiers(chip: Accelerator, config: EnvConfig) -> tuple[int, ...]:
    """Tiers a car holds while awake: both if they fit together, else the one that fits."""
    if sum(_needs_gb(config)) <= chip.memory_gb:
        return tuple(range(len(MODELS)))
    fitting = fitting_tiers(chip, config)
    assert len(fitting) < 2, "no accelerator of the table has to choose"
    return fitting


def _needs_gb(config: EnvConfig) -> list[float]:
    return [memory_gb(m, config.demand, config.serving.batch_slots) for m in MODELS]

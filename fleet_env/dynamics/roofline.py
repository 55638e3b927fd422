"""Throughput of a language model by roofline, and the data-centre price that follows from it.

A decode step reads all weights and the batch's KV cache once, and multiplies every weight once per
request; the slower of the two sets its time. The mean context of a request under way is its input
plus half its output. Source: domain 1c; all its table rows are reproduced within 3 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fleet_env.config import DataCentreConfig
from fleet_env.data import read_table
from fleet_env.types import TIERS, FloatArray
from fleet_env.units import TOKENS_PER_MTOK

BYTES_PER_GB = 1e9
OPS_PER_TOP = 1e12
OPS_PER_PARAM = 2.0  # one multiplication, one addition
DATA_CENTRE = "b200"


@dataclass(frozen=True)
class Accelerator:
    """One row of `data/accelerators.csv`."""

    name: str
    dense_tops: float
    memory_gb: float
    bandwidth_gb_per_s: float
    idle_w: float
    busy_w: float
    eta_bw: float
    eta_c: float

    @property
    def bytes_per_s(self) -> float:
        """Memory traffic that serving reaches."""
        return self.eta_bw * self.bandwidth_gb_per_s * BYTES_PER_GB

    @property
    def ops_per_s(self) -> float:
        """Operations per second that serving reaches."""
        return self.eta_c * self.dense_tops * OPS_PER_TOP


@dataclass(frozen=True)
class Model:
    """One row of `data/models.csv`."""

    name: str
    params_b: float
    weights_gb: float
    kv_bytes_per_token: float

    @property
    def ops_per_token(self) -> float:
        """Operations that one token costs."""
        return OPS_PER_PARAM * self.params_b * 1e9


@dataclass(frozen=True)
class Mix:
    """Mean lengths of a request [tokens]."""

    input_tokens: float
    output_tokens: float

    @property
    def context_tokens(self) -> float:
        """Mean context over the life of a request."""
        return self.input_tokens + 0.5 * self.output_tokens

    @property
    def total_tokens(self) -> float:
        """Context at the end of a request: what its KV cache is reserved for."""
        return self.input_tokens + self.output_tokens


DEFAULT_MIX = Mix(1155.0, 211.0)  # Azure 2023 conversation; domain 5


def accelerator(name: str) -> Accelerator:
    """Row `name` of the accelerator table."""
    return Accelerator(**_row("accelerators.csv", name))


def model(name: str) -> Model:
    """Row `name` of the model table."""
    return Model(**_row("models.csv", name))


def _row(table_name: str, name: str) -> dict[str, Any]:
    table = read_table(table_name)
    names = table["name"].tolist()
    if name not in names:
        raise ValueError(f"{name!r} is not in {table_name}: expected one of {', '.join(names)}")
    row = names.index(name)
    return {column: cells[row].item() for column, cells in table.items()}


def t_step_s(chip: Accelerator, llm: Model, batch: float, mix: Mix) -> float:
    """Time of one decode step of `batch` requests, which is also the time per output token [s]."""
    kv_bytes = batch * llm.kv_bytes_per_token * mix.context_tokens
    by_memory_s = (llm.weights_gb * BYTES_PER_GB + kv_bytes) / chip.bytes_per_s
    by_compute_s = llm.ops_per_token * batch / chip.ops_per_s
    return max(by_memory_s, by_compute_s)


def t_prefill_s(chip: Accelerator, llm: Model, mix: Mix) -> float:
    """Time to read in one request, compute bound [s]."""
    return llm.ops_per_token * mix.input_tokens / chip.ops_per_s


def out_rate(chip: Accelerator, llm: Model, batch: float, mix: Mix) -> float:
    """Output tokens per second of a full batch, the prefill of its requests included."""
    decode_s = mix.output_tokens * t_step_s(chip, llm, batch, mix) / batch
    return mix.output_tokens / (t_prefill_s(chip, llm, mix) + decode_s)


def memory_gb(llm: Model, batch: float, mix: Mix) -> float:
    """Weights plus the KV cache reserved for `batch` requests [GB]."""
    return llm.weights_gb + batch * llm.kv_bytes_per_token * mix.total_tokens / BYTES_PER_GB


def max_batch(chip: Accelerator, llm: Model, mix: Mix) -> int:
    """Largest batch that fits the memory beside the weights; 0 if none does."""
    spare_gb = chip.memory_gb - llm.weights_gb
    return max(0, int(spare_gb * BYTES_PER_GB / (llm.kv_bytes_per_token * mix.total_tokens)))


def max_batch_in_time(chip: Accelerator, llm: Model, mix: Mix, tpot_slo_s: float) -> int:
    """Largest batch whose decode step takes at most `tpot_slo_s`; 0 if none does."""
    spare_bytes = tpot_slo_s * chip.bytes_per_s - llm.weights_gb * BYTES_PER_GB
    by_memory = spare_bytes / (llm.kv_bytes_per_token * mix.context_tokens)
    by_compute = tpot_slo_s * chip.ops_per_s / llm.ops_per_token
    return max(0, int(min(by_memory, by_compute)))


def fits(chip: Accelerator, llm: Model, batch: float, mix: Mix) -> bool:
    """Whether weights and the KV cache of `batch` requests fit the memory."""
    return memory_gb(llm, batch, mix) <= chip.memory_gb


def datacentre_price(config: DataCentreConfig) -> FloatArray:
    """Price of a token in the data centre.

    A request costs ``a * input_tokens + b * output_tokens``. The ratio a : b is that of the time a
    B200 at its largest batch spends on an input and on an output token at the default mix; the
    level is pinned so that one million output tokens, with the prefill of their input at the
    default mix, cost what `config` says.

    Parameters
    ----------
    config : DataCentreConfig
        Holds the price per million output tokens of each tier [USD].

    Returns
    -------
    FloatArray, shape (2, 2)
        One row per tier (8B, 70B), columns a and b [USD per token].
    """
    chip, mix = accelerator(DATA_CENTRE), DEFAULT_MIX
    rows = []
    for tier, usd_per_mtok in zip(
        TIERS, (config.usd_per_mtok_8b, config.usd_per_mtok_70b), strict=True
    ):
        llm = model(tier)
        batch = max_batch(chip, llm, mix)
        input_s = t_prefill_s(chip, llm, mix) / mix.input_tokens
        output_s = t_step_s(chip, llm, batch, mix) / batch
        request_usd = usd_per_mtok / TOKENS_PER_MTOK * mix.output_tokens
        request_s = input_s * mix.input_tokens + output_s * mix.output_tokens
        rows.append((input_s * request_usd / request_s, output_s * request_usd / request_s))
    return np.array(rows)

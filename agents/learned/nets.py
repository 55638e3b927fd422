"""Forward passes of trained networks in numpy, float32: what torch gives, to rounding.

Leading dimensions are free. Rows of fleets come as (num_envs, 1, in): numpy then multiplies row by
row, so that the answer to a row does not depend on the others, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from agents.learned.interface import num_layers
from fleet_env.types import FloatArray

Weights = Mapping[str, FloatArray]

# cars at a time: a layer of 64 then fills 0.5 MB and stays in the cache. Of 1,024, 2,048, 4,096,
# 16,384 and 100,000, CPU time of 100,000 cars, two layers of 64, one thread: set 148, 147, 147, 157
# and 178 ms, cars 107, 103, 105, 114 and 133 ms
CHUNK_CARS = 2048
OBS_EPS, OBS_CLIP = 1e-8, 10.0  # defaults of VecNormalize (Stable-Baselines3)
LOG_STD_LOW, LOG_STD_HIGH = -20.0, 2.0  # of SAC and TQC (Stable-Baselines3)


def chunks(num_cars: int) -> list[slice]:
    """Cut so many cars into parts of `CHUNK_CARS`."""
    return [slice(i, i + CHUNK_CARS) for i in range(0, num_cars, CHUNK_CARS)]


def normalised(weights: Weights, x: FloatArray) -> FloatArray:
    """Observation as the network sees it: ``clip((x - mean) / sqrt(var + eps), -10, 10)``.

    In float64 inside, as VecNormalize does: where a field hardly varied in training, its
    deviation is tiny.
    """
    if "obs_mean" not in weights:
        return x
    scaled = (x - weights["obs_mean"]) / np.sqrt(weights["obs_var"] + OBS_EPS)
    seen: FloatArray = np.clip(scaled, -OBS_CLIP, OBS_CLIP, out=scaled).astype(np.float32)
    return seen


def hidden(weights: Weights, x: FloatArray, activation: str) -> FloatArray:
    """Last hidden layer of the perceptron, shape (..., h); `x` itself if it has none."""
    for k in range(num_layers(weights) - 1):
        x = activated(affine(weights, f"layers.{k}", x), activation)
    return x


def head(weights: Weights, latent: FloatArray) -> FloatArray:
    """Last layer: mean of a Gaussian, or logits, shape (..., actions)."""
    return affine(weights, f"layers.{num_layers(weights) - 1}", latent)


def log_std(weights: Weights, latent: FloatArray) -> FloatArray:
    """Log of the deviation, shape (actions,); of a second head (..., actions)."""
    if "log_std" in weights:
        return weights["log_std"]
    return np.clip(affine(weights, "log_std", latent), LOG_STD_LOW, LOG_STD_HIGH)


def lstm(
    weights: Weights, x: FloatArray, state: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """One step of a long short-term memory (Hochreiter & Schmidhuber 1997), as torch's.

    Parameters
    ----------
    weights : mapping
        ``lstm.weight_ih`` (4 h, in), ``lstm.weight_hh`` (4 h, h) and ``lstm.bias`` (4 h,): input,
        forget, cell and output gates.
    x : FloatArray, shape (..., in)
    state : tuple of FloatArray, shape (..., h) each
        Output and cell of the step before; not changed.

    Returns
    -------
    tuple of FloatArray, shape (..., h) each
        Output and cell.
    """
    output, cell = state
    gates = x @ weights["lstm.weight_ih"].T
    gates += output @ weights["lstm.weight_hh"].T
    gates += weights["lstm.bias"]
    i, f, g, o = np.split(gates, 4, axis=-1)
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(cell), cell


def sigmoid(x: FloatArray) -> FloatArray:
    """``1 / (1 + exp(-x))``, by tanh: it never overflows."""
    half = np.float32(0.5)
    y: FloatArray = half * np.tanh(half * x) + half
    return y


def activated(x: FloatArray, activation: str) -> FloatArray:
    """Apply ``tanh`` or ``relu`` in place."""
    return np.tanh(x, out=x) if activation == "tanh" else np.maximum(x, 0, out=x)


def affine(weights: Weights, name: str, x: FloatArray) -> FloatArray:
    """One layer without its activation, shape (..., out), freshly allocated."""
    y: FloatArray = x @ weights[f"{name}.weight"].T
    y += weights[f"{name}.bias"]
    return y

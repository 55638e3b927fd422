"""Networks in numpy against the same in loops, float64, and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from agents.learned import nets
from fleet_env.views import INDEX_FEATURES, SUMMARY_FIELDS
from tests.agents.trained import policy

NUM_SEEN, NUM_SAID = len(SUMMARY_FIELDS), len(INDEX_FEATURES) + 1  # of kind index
TOLERANCE = 2e-6  # float32 sums of a few hundred numbers of order one


def plain(value: Any) -> Any:
    return np.asarray(value, np.float64).tolist()


def layer(weights: Any, name: str, x: list[float]) -> list[float]:
    rows = zip(plain(weights[f"{name}.weight"]), plain(weights[f"{name}.bias"]), strict=True)
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in rows]


def naive_latent(weights: Any, x: list[float], activation: str) -> list[float]:
    act = math.tanh if activation == "tanh" else lambda v: max(v, 0.0)
    for k in range(2):
        x = [act(v) for v in layer(weights, f"layers.{k}", x)]
    return x


def seen(weights: Any, x: list[float]) -> list[float]:
    pairs = zip(x, plain(weights["obs_mean"]), plain(weights["obs_var"]), strict=True)
    return [min(max((v - m) / math.sqrt(s + 1e-8), -10.0), 10.0) for v, m, s in pairs]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("sort", ["index", "index_squashed", "cohort", "cars"])
def test_the_perceptron_is_that_of_loops(
    sort: str, activation: str, rng: np.random.Generator
) -> None:
    weights = policy(sort, activation=activation).weights
    width = weights["layers.0.weight"].shape[1]
    x = rng.normal(scale=3.0, size=(4, 1, width)).astype(np.float32)
    before = x.copy()
    latent = nets.hidden(weights, nets.normalised(weights, x), activation)
    mean = nets.head(weights, latent)
    assert (latent.dtype, mean.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(x, before)
    for row in range(4):
        wanted = naive_latent(weights, seen(weights, plain(x[row, 0])), activation)
        np.testing.assert_allclose(latent[row, 0], wanted, atol=TOLERANCE)
        np.testing.assert_allclose(mean[row, 0], layer(weights, "layers.2", wanted), atol=TOLERANCE)


def test_normalisation_clips_at_ten_and_leaves_what_has_no_statistics() -> None:
    weights = {"obs_mean": np.array([1.0, 0.0, 0.3]), "obs_var": np.array([4.0, 1.0, 0.0])}
    x = np.array([[5.0, -11.0, 0.3001]], np.float32)
    # (5 - 1) / 2; -11 clipped; 0.0001 / sqrt(1e-8) in float64, of 0.3001 as float32
    expected = [[2.0, -10.0, (float(np.float32(0.3001)) - 0.3) / 1e-4]]
    np.testing.assert_allclose(nets.normalised(weights, x), expected, rtol=1e-6)
    assert nets.normalised({}, x) is x


def test_a_network_without_hidden_layers_is_its_head() -> None:
    weights = {
        "layers.0.weight": np.array([[1.0, 2.0]], np.float32),
        "layers.0.bias": np.array([0.5], np.float32),
    }
    x = np.array([[3.0, -4.0]], np.float32)
    assert nets.hidden(weights, x, "tanh") is x
    assert nets.head(weights, x).tolist() == [[1 * 3 - 2 * 4 + 0.5]]


def test_deviations_are_constant_or_a_second_head_within_limits() -> None:
    weights = policy("index").weights
    latent = np.ones((2, 1, 6), np.float32)
    assert nets.log_std(weights, latent) is weights["log_std"]
    squashed = dict(policy("index_squashed").weights)
    squashed["log_std.bias"] = squashed["log_std.bias"] + np.linspace(-60, 30, NUM_SAID, dtype="f4")
    wanted = [min(max(v, -20.0), 2.0) for v in layer(squashed, "log_std", [1.0] * 6)]
    got = nets.log_std(squashed, latent)
    assert got.shape == (2, 1, NUM_SAID)
    np.testing.assert_allclose(got[1, 0], wanted, atol=TOLERANCE)
    assert (got.min(), got.max()) == (-20.0, 2.0)


def naive_lstm(
    weights: Any, x: list[float], output: list[float], cell: list[float]
) -> tuple[list[float], list[float]]:
    def squeeze(v: float) -> float:
        return 1 / (1 + math.exp(-v))

    h = len(cell)
    w_x, w_h = plain(weights["lstm.weight_ih"]), plain(weights["lstm.weight_hh"])
    gates = [
        sum(a * b for a, b in zip(w_x[g], x, strict=True))
        + sum(a * b for a, b in zip(w_h[g], output, strict=True))
        + float(weights["lstm.bias"][g])
        for g in range(4 * h)
    ]
    i, f, g, o = (gates[k * h : (k + 1) * h] for k in range(4))
    cell = [squeeze(f[k]) * cell[k] + squeeze(i[k]) * math.tanh(g[k]) for k in range(h)]
    return [squeeze(o[k]) * math.tanh(cell[k]) for k in range(h)], cell


def test_the_memory_is_that_of_loops_over_steps(rng: np.random.Generator) -> None:
    weights = policy("index_lstm").weights
    x = rng.normal(size=(6, 3, 1, NUM_SEEN)).astype(np.float32)
    state = (np.zeros((3, 1, 5), np.float32), np.zeros((3, 1, 5), np.float32))
    naive = [([0.0] * 5, [0.0] * 5) for _ in range(3)]
    for step in range(6):
        before = tuple(part.copy() for part in state)
        new = nets.lstm(weights, x[step], state)
        for part, kept in zip(state, before, strict=True):
            np.testing.assert_array_equal(part, kept)
        state = new
        for row in range(3):
            naive[row] = naive_lstm(weights, plain(x[step, row, 0]), *naive[row])
            for part, wanted in zip(state, naive[row], strict=True):
                np.testing.assert_allclose(part[row, 0], wanted, atol=TOLERANCE)


def test_the_sigmoid_never_overflows() -> None:
    x = np.array([-1e4, -2.0, 0.0, 2.0, 1e4], np.float32)
    wanted = [0.0, 1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-2)), 1.0]
    np.testing.assert_allclose(nets.sigmoid(x), wanted, atol=1e-7)


@pytest.mark.parametrize("sort", ["index", "index_lstm"])
@pytest.mark.parametrize("width", [6, 64, 128])
def test_a_row_is_the_same_alone_and_in_any_batch(
    sort: str, width: int, rng: np.random.Generator
) -> None:
    weights = policy(sort, net=(width, width), lstm=width).weights
    x = rng.normal(size=(67, 1, NUM_SEEN)).astype(np.float32)

    def run(rows: Any) -> Any:
        part = nets.normalised(weights, x[rows])
        if sort == "index_lstm":
            empty = np.zeros((len(part), 1, width), np.float32)
            part = nets.lstm(weights, part, (empty, empty))[0]
        return nets.head(weights, nets.hidden(weights, part, "tanh"))

    together = run(slice(None))
    for row in range(67):
        np.testing.assert_array_equal(run([row])[0], together[row])
    np.testing.assert_array_equal(run(slice(10, 17)), together[10:17])

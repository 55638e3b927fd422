"""Counter-based draws: known answers from plain Python integers, and what statistics can see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fleet_env import draws
from fleet_env.draws import Stream

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


# of scenarios train 0 and train 1; must never change
KEYS_TRAIN = [0x63998A56FE2A1F9B, 0x7BCABB4D9ED6EF52]


def finalise(x: int) -> int:
    """The SplitMix64 finaliser in plain integers (Vigna's splitmix64.c)."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def key_of(split: str, index: int) -> int:
    name = split.encode().ljust(16, b"\0")[:16]
    x = (index + GOLDEN) & MASK
    for word in (name[:8], name[8:]):
        x = (finalise(x ^ int.from_bytes(word, "little")) + GOLDEN) & MASK
    return finalise(x)


def word_of(key: int, stream: int, car: int, count: int, draw: int) -> int:
    """The 64-bit word of one draw, from the formula in the module docstring."""
    of_stream = finalise((key + GOLDEN * stream) & MASK)
    of_car = finalise((of_stream + GOLDEN * (car + 1)) & MASK)
    return finalise((of_car + GOLDEN * (16 * count + draw)) & MASK)


def test_finaliser_gives_the_published_words_of_splitmix64() -> None:
    """First outputs of splitmix64 seeded with 0: state = k * GOLDEN."""
    state = np.arange(1, 4, dtype=np.uint64) * draws.GOLDEN
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert draws.mix(state).tolist() == published
    assert [finalise(k * GOLDEN & MASK) for k in (1, 2, 3)] == published


@given(
    split=st.sampled_from(["train", "validation", "test", "x" * 30]),
    index=st.integers(0, 2**62),
    stream=st.sampled_from(list(Stream)),
    car=st.integers(0, 200),
    count=st.integers(0, 2**32 - 1),
)
def test_words_are_those_of_plain_integers(
    split: str, index: int, stream: Stream, car: int, count: int
) -> None:
    key = draws.scenario_key(split, np.array([index]))
    assert int(key[0]) == key_of(split, index)
    keys = draws.car_keys(key, stream, car + 1)
    words = draws.hashes(keys[car:], np.array([count], np.uint32), 16)[:, 0]
    want = [word_of(key_of(split, index), stream, car, count, d) for d in range(16)]
    assert words.tolist() == want
    uniform = draws.uniform(keys[car:], np.array([count], np.uint32), 16)[:, 0]
    assert uniform.dtype == np.float32
    assert uniform.tolist() == [(w >> 40) * 2.0**-24 for w in want]


def test_one_answer_by_hand() -> None:
    """Fixed for ever: a change of any of these numbers changes every day of every scenario."""
    key = draws.scenario_key("train", np.array([0, 1]))
    assert [int(k) for k in key] == [key_of("train", 0), key_of("train", 1)]
    assert [int(k) for k in key] == KEYS_TRAIN
    keys = draws.car_keys(key, Stream.ARRIVAL, 2)
    u = draws.uniform(keys, np.array([0, 0, 5, 5]), 2)
    assert u.shape == (2, 4)
    want = word_of(key_of("train", 1), Stream.ARRIVAL, 0, 5, 1) >> 40
    assert u[1, 2] == np.float32(want / 2**24)


def test_event_numbers_do_not_share_draws() -> None:
    keys = draws.car_keys(draws.scenario_key("test", np.arange(3)), Stream.CAR, 50)
    words = np.stack([draws.hashes(keys, np.full(150, c), 16) for c in range(40)])
    assert len(np.unique(words)) == words.size


def test_more_draws_of_an_event_leave_the_first_ones_alone() -> None:
    keys = draws.car_keys(draws.scenario_key("test", np.arange(2)), Stream.CAR, 5)
    many = draws.uniform(keys, np.array(7), 16)
    np.testing.assert_array_equal(draws.uniform(keys, np.array(7), 3), many[:3])


def test_seventeen_draws_of_an_event_are_refused() -> None:
    with pytest.raises(ValueError, match="num=17: at most 16 draws per event"):
        draws.uniform(np.zeros(1, np.uint64), np.array(0), 17)


def test_inputs_are_left_alone() -> None:
    key = draws.scenario_key("train", np.arange(4))
    keys, count = draws.car_keys(key, Stream.CAR, 3), np.arange(12)
    before = key.copy(), keys.copy(), count.copy()
    draws.stream_key(key, Stream.RATE)
    words = draws.hashes(keys, count, 2)
    draws.normal_rough(words)
    for now, then in zip((key, keys, count), before, strict=True):
        np.testing.assert_array_equal(now, then)


@given(rows=st.lists(st.integers(0, 999), min_size=1, max_size=8), num_cars=st.integers(1, 20))
def test_draws_do_not_depend_on_the_batch_or_the_size_of_the_fleet(
    rows: list[int], num_cars: int
) -> None:
    key = draws.scenario_key("train", np.array(rows))
    together = draws.uniform(draws.car_keys(key, Stream.START, num_cars), np.array(2), 4)
    for i, row in enumerate(rows):
        alone = draws.scenario_key("train", np.array([row]))
        larger = draws.uniform(draws.car_keys(alone, Stream.START, num_cars + 13), np.array(2), 4)
        mine = together[:, i * num_cars : (i + 1) * num_cars]
        np.testing.assert_array_equal(mine, larger[:, :num_cars])


def _samples(num: int) -> dict[str, np.ndarray]:
    """Uniforms along each axis that a draw has, shape (num,)."""
    key = draws.scenario_key("train", np.arange(num))
    one = key[:1]
    cars = draws.car_keys(one, Stream.ARRIVAL, num)
    return {
        "scenarios": draws.uniform(draws.stream_key(key, Stream.SCENARIO), np.array(0), 1)[0],
        "cars": draws.uniform(cars, np.array(3), 1)[0],
        "events": draws.uniform(np.repeat(cars[:1], num), np.arange(num), 1)[0],
        "draws": draws.uniform(cars[: num // 16], np.array(0), 16).ravel(),
        "next car": draws.uniform(draws.car_keys(one, Stream.ARRIVAL, num + 1)[1:], np.array(3), 1)[
            0
        ],
        "next event": draws.uniform(cars, np.array(4), 1)[0],
        "next draw": draws.uniform(cars, np.array(3), 2)[1],
        "next scenario": draws.uniform(
            draws.car_keys(key[1:2], Stream.ARRIVAL, num), np.array(3), 1
        )[0],
        "other stream": draws.uniform(draws.car_keys(one, Stream.CAR, num), np.array(3), 1)[0],
        "other split": draws.uniform(
            draws.car_keys(draws.scenario_key("test", np.array([0])), Stream.ARRIVAL, num),
            np.array(3),
            1,
        )[0],
    }


NUM = 2**17
SAMPLES = _samples(NUM)


@pytest.mark.parametrize("axis", SAMPLES)
def test_uniforms_are_uniform_along_every_axis(axis: str) -> None:
    u = SAMPLES[axis]
    assert u.min() >= 0.0
    assert u.max() < 1.0
    for bins in (16, 1000):
        counts = np.bincount((u * bins).astype(int), minlength=bins)
        assert stats.chisquare(counts).pvalue > 1e-4
    low_bits = (u * 2**24).astype(np.int64) % 256
    assert stats.chisquare(np.bincount(low_bits, minlength=256)).pvalue > 1e-4


@pytest.mark.parametrize("other", [name for name in SAMPLES if name not in ("cars", "draws")])
def test_neighbours_are_independent(other: str) -> None:
    a, b = SAMPLES["cars"], SAMPLES[other]
    assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / np.sqrt(NUM)
    table = np.bincount((a * 16).astype(int) * 16 + (b * 16).astype(int), minlength=256)
    assert stats.chisquare(table).pvalue > 1e-4


def test_neighbours_along_one_axis_are_independent() -> None:
    for axis, u in SAMPLES.items():
        for lag in (1, 2, 16):
            assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 4.5 / np.sqrt(NUM), (axis, lag)


def test_rough_normals_have_the_moments_they_claim() -> None:
    key = draws.car_keys(draws.scenario_key("train", np.arange(4)), Stream.DEMAND, 50_000)
    z = draws.normal_rough(draws.hashes(key, np.array(1), 1)[0]).astype(np.float64)
    assert z.mean() == pytest.approx(0.0, abs=4.5 / np.sqrt(z.size))
    assert z.var() == pytest.approx(1.0, abs=0.012)
    assert stats.kurtosis(z) == pytest.approx(-0.3, abs=0.03)
    assert np.abs(z).max() <= 3.47


def test_rough_normal_by_hand() -> None:
    """Four 16-bit parts; all ones lie 2 * 65535 above the mean: 2 sqrt(3) * 65535 / 65536."""
    words = np.array([MASK, 0, 0xFFFF_0000_FFFF_0000, 0x0001_0002_0003_0004], np.uint64)
    top = 2 * np.sqrt(3) * 65535 / 65536
    want = [top, -top, 0.0, (10 - 2 * 65535) * np.sqrt(3) / 65536]
    np.testing.assert_allclose(draws.normal_rough(words), want, rtol=1e-6, atol=1e-6)

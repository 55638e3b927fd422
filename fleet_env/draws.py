"""Counter-based random numbers: a draw depends on who asks, never on when or beside whom.

A draw is `mix(mix(mix(key + stream) + unit) + count)` with the finaliser of SplitMix64 (Steele,
Lea, Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA), after the idea of Salmon
et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3"). Batch position, block, thread and the
agent's actions do not enter.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from fleet_env.types import FloatArray, IntArray, KeyArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_C1 = np.uint64(0xBF58476D1CE4E5B9)
_C2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S40 = (np.uint64(s) for s in (30, 27, 31, 40))
_S16, _S32 = np.uint64(16), np.uint64(32)
_LOW_HALVES, _LOW_WORD = np.uint64(0x0000FFFF0000FFFF), np.uint64(0xFFFFFFFF)
_STRIDE = np.uint64(16 * int(GOLDEN) % 2**64)
_TO_UNIT = np.float32(2.0**-24)


class Stream(IntEnum):
    """What a draw is for; two streams never share numbers."""

    SCENARIO = 1
    CAR = 2  # constants of a car
    START = 3  # its state at the start
    ARRIVAL = 4  # what is drawn when it arrives somewhere
    DEMAND = 5  # request counts per minute
    RATE = 6  # slow noise of the request rate
    WEATHER = 7
    SHOCK = 8  # events common to many cars
    FEEDER = 9  # what the homes of a neighbourhood draw
    OWNER = 10  # whether an owner who was let down leaves
    START_SECOND = 11  # when in a step a car wakes
    UNCERTAIN = 12  # parameters drawn for an episode


def mix(x: KeyArray) -> KeyArray:
    """Scramble 64-bit words in place (the SplitMix64 finaliser, a bijection) and return them."""
    t = x >> _S30
    x ^= t
    x *= _C1
    np.right_shift(x, _S27, out=t)
    x ^= t
    x *= _C2
    np.right_shift(x, _S31, out=t)
    x ^= t
    return x


def scenario_key(split: str, index: IntArray) -> KeyArray:
    """Key of each scenario (split, index).

    Parameters
    ----------
    split : str
        Name of the split; any text.
    index : IntArray, shape (n,)
        Scenario numbers, >= 0.

    Returns
    -------
    KeyArray, shape (n,)
    """
    name = np.frombuffer(split.encode().ljust(16, b"\0")[:16], dtype="<u8")
    x = np.asarray(index).astype(np.uint64)
    x += GOLDEN
    for word in name:
        x = mix(x ^ word)
        x += GOLDEN
    return mix(x)


def stream_key(key: KeyArray, stream: Stream) -> KeyArray:
    """Key of one stream of each scenario, shape as `key`."""
    return mix(key + np.uint64(int(GOLDEN) * int(stream) % 2**64))


def part_key(key: KeyArray, part: int) -> KeyArray:
    """Key of a part of each scenario, such as a region; part 0 has the key of the scenario."""
    if part == 0:
        return key
    return mix(key ^ mix(np.full(1, part, np.uint64) * GOLDEN))


def unit_keys(key: KeyArray, stream: Stream, units: IntArray) -> KeyArray:
    """Key of every (row, unit) pair in one stream, broadcast; `car_keys` has units 0 .. n - 1."""
    offsets = (np.atleast_1d(units).astype(np.uint64) + np.uint64(1)) * GOLDEN
    return mix(stream_key(key, stream) + offsets)


def car_keys(key: KeyArray, stream: Stream, num_cars: int) -> KeyArray:
    """Key of every car of every row in one stream, flat, shape (len(key) * num_cars,)."""
    cars = np.arange(1, num_cars + 1, dtype=np.uint64) * GOLDEN
    return mix((stream_key(key, stream)[:, None] + cars).ravel())


def uniform(keys: KeyArray, count: IntArray, num: int) -> FloatArray:
    """Draw `num` uniforms per key.

    Parameters
    ----------
    keys : KeyArray, shape (n,)
        Car (or row) keys of one stream.
    count : IntArray, shape (n,) or scalar
        Number of the event; draw `d` of event `c` uses counter `c * 16 + d`, so `num <= 16`.
    num : int
        Uniforms per event.

    Returns
    -------
    FloatArray, shape (num, n), float32
        In [0, 1), multiples of 2**-24: never rounded up to 1.
    """
    bits = hashes(keys, count, num)
    bits >>= _S40
    u = bits.astype(np.float32)
    u *= _TO_UNIT
    return u


def hashes(keys: KeyArray, count: IntArray, num: int) -> KeyArray:
    """Draw `num` 64-bit words per key, shape (num, n); the counters are those of `uniform`."""
    if num > 16:
        raise ValueError(f"num={num}: at most 16 draws per event")
    base = np.atleast_1d(np.asarray(count)).astype(np.uint64)
    base *= _STRIDE
    base = base + keys
    offsets = np.arange(num, dtype=np.uint64) * GOLDEN
    return mix(base[None, :] + offsets[:, None])


def normal_rough(bits: KeyArray) -> FloatArray:
    """Turn 64-bit words into near-normal numbers of mean 0 and variance 1.

    The sum of four 16-bit uniforms (Irwin-Hall): bounded at +-3.46, excess kurtosis -0.3. For noise
    of request counts, not for tails.
    """
    pairs = bits & _LOW_HALVES
    pairs += (bits >> _S16) & _LOW_HALVES
    total: FloatArray = ((pairs & _LOW_WORD) + (pairs >> _S32)).astype(np.float32)
    total -= np.float32(2.0 * 65535.0)
    total *= np.float32(np.sqrt(3.0) / 65536.0)
    return total

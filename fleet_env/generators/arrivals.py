"""How many requests arrive: their level, slow and fast noise."""

from __future__ import annotations

from functools import cache

import numpy as np

from fleet_env import draws
from fleet_env.config import DemandConfig
from fleet_env.types import CLASSES, FloatArray, KeyArray
from fleet_env.units import S_PER_MIN

NUM_CLASSES = len(CLASSES)
UNIFORM_CELLS = 256  # of one of the four uniforms of the noise, in the table for small means
FEW = 4.0  # mean count from which the square-root noise is unbiased to 1e-5
NOISE_MIN = 10  # interval of the slow noise [min]; windows of ServeGen, as DemandConfig says


def mean_requests_per_min(
    config: DemandConfig, work_car_s_per_class: FloatArray, mean_plugged_linked: float
) -> FloatArray:
    """Find the mean arrivals per car that make the mean work equal to `load`.

    The work of all demand, trusted-only requests included, keeps `load * mean_plugged_linked`
    of each car busy (model.md 3)::

        requests / s = load * mean_plugged_linked * share of the class / work per request

    Parameters
    ----------
    config : DemandConfig
    work_car_s_per_class : FloatArray, shape (3,)
        Car-seconds that a request takes of a car that does nothing else.
    mean_plugged_linked : float
        Mean share of cars that are plugged and linked.

    Returns
    -------
    FloatArray, shape (3,), float64
        Requests per minute and car.
    """
    interactive = 1.0 - config.batch_share
    chat_70b = interactive * config.chat_70b_share
    share = np.array([interactive - chat_70b, chat_70b, config.batch_share])
    busy_cars = config.load * mean_plugged_linked
    per_s: FloatArray = busy_cars * share / np.asarray(work_car_s_per_class, dtype=np.float64)
    return per_s * S_PER_MIN


def poisson_fluid(mean: FloatArray, z: FloatArray) -> FloatArray:
    """Turn normal numbers into fluid counts with about the mean and variance of a Poisson.

    ``max(0, (sqrt(mean) + z / 2)^2 - 1/4)``: the square root of a Poisson number has variance
    1/4 (Anscombe 1948). 0 for mean 0. Below `FEW` the cut at 0 would bias the mean upwards (0.1: by
    100 %), so the count is divided by that bias there; its variance is 5 % off at 1, 1 % at 10.

    Parameters
    ----------
    mean : FloatArray
    z : FloatArray, shape as `mean`
        Standard normal numbers.

    Returns
    -------
    FloatArray
    """
    counts = np.sqrt(mean)
    counts += z * np.float32(0.5)
    counts *= counts
    counts -= np.float32(0.25)
    np.maximum(counts, 0.0, out=counts)
    if mean.size and mean.min() < FEW:
        counts *= np.interp(mean, *_few_correction()).astype(counts.dtype)
    return counts


@cache
def _few_correction() -> tuple[FloatArray, FloatArray]:
    """Means below `FEW`, and what the count is multiplied by there to have that mean."""
    side = np.ones(UNIFORM_CELLS) / UNIFORM_CELLS  # the law of `draws.normal_rough`, on a grid
    weight = np.convolve(np.convolve(side, side), np.convolve(side, side))
    z = np.arange(weight.size) * (np.sqrt(3.0) / UNIFORM_CELLS)
    z -= z.mean()
    mean = np.concatenate([[0.0], np.geomspace(1e-4, FEW, 400)])
    counts = np.maximum((np.sqrt(mean)[:, None] + z / 2.0) ** 2 - 0.25, 0.0)
    factor = mean / (counts * weight).sum(axis=1)
    factor[-1] = 1.0  # from here on the formula stands alone
    return mean, factor


def draw_arrivals(mean: FloatArray, demand_key: KeyArray, minute0: int) -> FloatArray:
    """Draw the requests of each minute and class.

    Parameters
    ----------
    mean : FloatArray, shape (3, num_envs, num), float32
        Mean requests of the minutes from `minute0` of the episode on.
    demand_key : KeyArray, shape (num_envs,)
        Keys of `Stream.DEMAND`; the event is the minute of the episode, the draw is the class.
    minute0 : int

    Returns
    -------
    FloatArray, shape (3, num_envs, num), float32
    """
    classes, rows, num = mean.shape
    minutes = np.broadcast_to(np.arange(minute0, minute0 + num), (rows, num))
    words = draws.hashes(np.repeat(demand_key, num), minutes.ravel(), classes)
    return poisson_fluid(mean, draws.normal_rough(words).reshape(mean.shape))


def rate_noise(config: DemandConfig, key: KeyArray, num: int) -> FloatArray | None:
    """Draw slow multipliers of mean 1 per class and 10 min: a stationary AR(1) of the log rate.

    Parameters
    ----------
    config : DemandConfig
        `rate_noise_cv` and `rate_noise_lag1`.
    key : KeyArray, shape (num_envs,)
        Scenario keys; `Stream.RATE`, event = number of the 10 min, draw = class.
    num : int
        Number of 10-min intervals.

    Returns
    -------
    FloatArray, shape (3, num_envs, num), float32, or None
        None without noise.
    """
    if config.rate_noise_cv == 0.0:
        return None
    rows = len(key)
    keys = np.tile(draws.stream_key(key, draws.Stream.RATE), num)
    words = draws.hashes(keys, np.repeat(np.arange(num), rows), NUM_CLASSES)
    log_rate = draws.normal_rough(words).reshape(NUM_CLASSES, num, rows)
    lag1 = np.float32(config.rate_noise_lag1)
    log_rate[:, 1:] *= np.sqrt(1.0 - lag1**2)
    for i in range(1, num):
        log_rate[:, i] += lag1 * log_rate[:, i - 1]
    variance = np.log1p(config.rate_noise_cv**2)
    noise = np.exp(log_rate * np.float32(np.sqrt(variance)) - np.float32(variance / 2.0))
    return np.ascontiguousarray(noise.transpose(0, 2, 1))

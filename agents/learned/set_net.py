"""The set network in numpy: every car scored by itself and by what all feasible cars look like.

Zaheer et al. 2017, "Deep Sets" (arXiv 1703.06114). Of the feasible cars i of a fleet::

    h_i   = MLP(car_i)                        encoder.0, encoder.1, ..., each with an activation
    pool  = (mean_i h_i, max_i h_i)           0 without feasible cars
    c     = act(W (pool, fleet) + b)          context
    g_i   = act(U h_i + V c + b)              car: U and b; shift: V
    logit = w g_i + b                         head

Cars have no number in it, so that permuting them permutes the logits, and no layer depends on how
many there are. Cars that are not feasible are not computed at all. Weights are named after these
layers, ``<layer>.weight`` of shape (out, in) and ``<layer>.bias``.
"""

from __future__ import annotations

from itertools import count, takewhile

import numpy as np

from agents.base import ActionArray, Obs, as_action, feasible
from agents.learned.nets import Weights, activated, affine, chunks
from fleet_env.observations import CAR_FIELDS, FLEET_FIELDS, Field
from fleet_env.types import BoolArray, FloatArray, IntArray
from fleet_env.views.cars import SCALE_OF_FIELD, SCALE_OF_UNIT


def _scales(fields: tuple[Field, ...]) -> FloatArray:
    """Size of each field, by which it is divided to be of order one, as in `CarsAsRows`."""
    sizes = [SCALE_OF_FIELD.get(field.name, SCALE_OF_UNIT[field.unit]) for field in fields]
    return np.array(sizes, np.float32)


CAR_SCALE = _scales(CAR_FIELDS)  # (F,), in the units of the fields
FLEET_SCALE = _scales(FLEET_FIELDS)  # (G,)


def set_logits(weights: Weights, obs: Obs, activation: str = "tanh") -> FloatArray:
    """Log-odds of every car to be on duty.

    Parameters
    ----------
    weights : mapping
        Arrays by the names above.
    obs : mapping
        A batched observation of Fleet-v0 with cars, in its own units; not changed.
    activation : str
        ``tanh`` or ``relu``.

    Returns
    -------
    FloatArray, shape (num_envs, num_cars), float32
        -inf where the mask is 0: a probability of exactly 0.
    """
    allowed = feasible(obs)
    embedded = _encode(weights, obs["cars"][allowed], activation)
    num_of_row = np.count_nonzero(allowed, axis=1)
    fleet = (obs["fleet"] / FLEET_SCALE).astype(np.float32, copy=False)
    joined = np.concatenate([_pool(embedded, num_of_row), fleet], axis=1)
    context = activated(affine(weights, "context", joined), activation)
    offset = context @ weights["shift.weight"].T + weights["car.bias"]
    row = np.repeat(np.arange(len(allowed)), num_of_row)
    logits = np.full(allowed.shape, -np.inf, np.float32)
    logits[allowed] = _score(weights, embedded, offset, row, activation)
    return logits


def set_duty(logits: FloatArray, rng: np.random.Generator | None = None) -> ActionArray:
    """Duty bits of log-odds: the likelier one of each car, or drawn with `rng`.

    Returns
    -------
    NDArray[np.int8], shape (num_envs, num_cars)
        Never 1 where the logit is -inf.
    """
    if rng is None:
        return as_action(logits > 0)
    # u < 1 / (1 + exp(-logit)), without overflow; u = 0 gives -inf, which is above no -inf
    u = rng.random(logits.shape, np.float32)
    with np.errstate(divide="ignore"):
        drawn: BoolArray = logits > np.log(u) - np.log1p(-u)
    return as_action(drawn)


def _encode(weights: Weights, cars: FloatArray, activation: str) -> FloatArray:
    """Embedding of each car, shape (m, E)."""
    names = _layers(weights)
    embedded = np.empty((len(cars), len(weights[f"{names[-1]}.bias"])), np.float32)
    for part in chunks(len(cars)):
        x: FloatArray = cars[part] / CAR_SCALE
        for name in names:
            x = activated(affine(weights, name, x), activation)
        embedded[part] = x
    return embedded


def _layers(weights: Weights) -> list[str]:
    names = (f"encoder.{k}" for k in count())
    return list(takewhile(lambda name: f"{name}.weight" in weights, names))


def _pool(embedded: FloatArray, num_of_row: IntArray) -> FloatArray:
    """Mean and maximum of the cars of each row, shape (num_envs, 2 E); 0 where there are none."""
    pooled = np.zeros((len(num_of_row), 2, embedded.shape[1]), np.float32)
    stop = np.cumsum(num_of_row)
    for row in np.flatnonzero(num_of_row):
        cars = embedded[stop[row] - num_of_row[row] : stop[row]]
        pooled[row, 0] = cars.mean(axis=0, dtype=np.float64)
        pooled[row, 1] = cars.max(axis=0)
    return pooled.reshape(len(num_of_row), -1)


def _score(
    weights: Weights, embedded: FloatArray, offset: FloatArray, row: IntArray, activation: str
) -> FloatArray:
    """Logit of each car, shape (m,); `offset` is what its row, (num_envs, E), adds."""
    logit = np.empty(len(embedded), np.float32)
    for part in chunks(len(embedded)):
        hidden = embedded[part] @ weights["car.weight"].T
        hidden += offset[row[part]]
        logit[part] = activated(hidden, activation) @ weights["head.weight"][0]
    logit += weights["head.bias"]
    return logit

"""What a tuned index consists of: weights by feature and a few coefficients, as a readable file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from agents.names import check_names
from fleet_env.types import BoolArray, FloatArray
from fleet_env.views.index import INDEX_FEATURES

HEAD = """\
# A tuned index, found by `fleet tune agent=index`; `policy=tuned_index policy.options.file=PATH`
# plays it. weights: of the features of fleet_env.views.index. rule: how many cars go on duty, see
# agents.index.parameters. Money in USD per car-month against the data centre alone.
"""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of the index: where a search starts, its step, and its limits."""

    name: str
    start: float
    step: float
    low: float
    high: float
    doc: str


# Weights at which a search starts, and its first steps: the order of `full_cost_first`, as far as
# a linear index holds it. A point of the score is 0.33 USD per on-duty hour: all fit in -1..1.
_WEIGHTS: dict[str, tuple[float, float]] = {
    "start": (-0.84, 0.2),  # an hour of a busy car is worth 0.28 USD; domain 1d
    "energy": (-0.3, 0.1),  # features in 0.10 USD/h
    "wear": (-0.3, 0.1),
    "risk": (-0.3, 0.1),
    # an hour of a car that holds no 70B is worth 0.27 of that (SightSettings.small_speed): 0.2 USD
    # less. On a card whose cars all hold it, a search leaves it as it is
    "fits_70b": (0.6, 0.1),
}
_STEP = 0.1  # of the other weights, which start at 0; est

WEIGHTS = tuple(
    Parameter(f.name, *_WEIGHTS.get(f.name, (0.0, _STEP)), -1.0, 1.0, f.doc) for f in INDEX_FEATURES
)
RULE = (
    # as DemandSettings of the rules
    Parameter("over_provision", 1.10, 0.1, 0.0, 4.0, "cars per car of work"),
    Parameter(
        "last_weight", 0.5, 0.2, 0.0, 1.0, "of chat that arrived last against the forecast of chat"
    ),
    Parameter("look_ahead", 0.0, 0.2, 0.0, 1.0, "of the next hour in the forecast of chat"),
    Parameter(
        "batch_haste", 4.0, 1.0, 0.0, 20.0, "batch ends in 1/haste of the cheap hours it may have"
    ),
    Parameter(
        "batch_urgency", 0.0, 0.3, 0.0, 4.0, "at the least of the batch due in 1 h, at any price"
    ),
    Parameter(
        "price_sensitivity", 0.0, 0.5, -10.0, 10.0,
        "s: cars on duty times exp(-s (price - refill_price)), with prices in USD/kWh, not below 0",
    ),
    Parameter("band", 0.0, 0.1, 0.0, 2.0, "excess of working cars that is kept, of the need"),
    # value of a busy hour less pay (0.28 / 1.1 - 0.03 USD), over 0.33 USD: 0.67,
    # with the sign turned, and the 0.6 that a car gains by holding 70B
    Parameter("min_score", -0.07, 0.2, -3.0, 3.0, "a car needs a higher score to go on duty"),
)  # fmt: skip
PARAMETERS = WEIGHTS + RULE
NAMES = tuple(parameter.name for parameter in PARAMETERS)
PLACE = {name: i for i, name in enumerate(NAMES)}  # column in a vector of parameters
DIGITS = 4  # after the point; the steps are 0.1 and more


def start_vector() -> FloatArray:
    """Parameters at which a search starts, shape (n,)."""
    return _column("start")


def _column(key: str) -> FloatArray:
    return np.array([float(getattr(parameter, key)) for parameter in PARAMETERS])


@dataclass(frozen=True, slots=True)
class Space:
    """The parameters that a search moves, counted in steps from the start; the rest stay there."""

    free: BoolArray  # (n,)

    @classmethod
    def without(cls, features: Iterable[str]) -> Space:
        """Return all parameters but the weights of some features."""
        fixed = set(features)
        return cls(np.array([name not in fixed for name in NAMES]))

    def limits(self) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest coordinates, shape (m,) each; 0 is the start."""
        start, step = _column("start"), _column("step")
        low, high = (_column("low") - start) / step, (_column("high") - start) / step
        return low[self.free], high[self.free]

    def parameters(self, x: FloatArray) -> FloatArray:
        """Parameters at coordinates of shape (k, m): shape (k, n), with digits people can read."""
        values = np.tile(start_vector(), (len(x), 1))
        values[:, self.free] += _column("step")[self.free] * x
        rounded: FloatArray = np.clip(values, _column("low"), _column("high")).round(DIGITS)
        return rounded


@dataclass(frozen=True)
class TunedFile:
    """A tuned index and how it was found.

    Parameters
    ----------
    weights : dict
        Feature of `fleet_env.views.index.INDEX_FEATURES` -> weight; a feature left out weighs 0.
    rule : dict
        Coefficient of `RULE` -> value; all of them.
    found : dict
        Card, cars, days, generations, seed, versions and scores: for people to read.
    """

    weights: dict[str, float]
    rule: dict[str, float]
    found: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_names("weights", self.weights, [p.name for p in WEIGHTS], complete=False)
        check_names("rule", self.rule, [p.name for p in RULE])
        for parameter in PARAMETERS:
            value = (self.weights | self.rule).get(parameter.name, 0.0)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not parameter.low <= value <= parameter.high:
                expected = f"a number in [{parameter.low:g}, {parameter.high:g}]"
                raise ValueError(f"{parameter.name}: {value!r}: expected {expected}")

    @classmethod
    def of_vector(cls, values: FloatArray, found: Mapping[str, Any] | None = None) -> TunedFile:
        """Name the parameters of a vector, shape (n,), in the order of `PARAMETERS`."""
        named = dict(zip(NAMES, values.tolist(), strict=True))
        weights = {p.name: named[p.name] for p in WEIGHTS}
        return cls(weights, {p.name: named[p.name] for p in RULE}, dict(found or {}))

    def vector(self) -> FloatArray:
        """Parameters in the order of `PARAMETERS`, shape (n,)."""
        named = self.weights | self.rule
        return np.array([float(named.get(name, 0.0)) for name in NAMES])

    def text(self) -> str:
        """Write the file as YAML; numbers keep every digit."""
        import yaml  # the rules run without it

        content = {"weights": self.weights, "rule": self.rule, "found": self.found}
        return HEAD + str(yaml.safe_dump(content, sort_keys=False, width=100))


def read(name: str) -> TunedFile:
    """Read a tuned index.

    Parameters
    ----------
    name : str
        Path of a file that ends in ``.yaml``, or the name of a shipped one, such as ``suburb``.

    Raises
    ------
    ValueError
        If the file has other parts, unknown names or values out of range: with its name.
    FileNotFoundError
        If there is no such file.
    """
    import yaml

    text = _shipped(name) if not name.endswith(".yaml") else Path(name).read_text("utf-8")
    try:
        content = yaml.safe_load(text)
        if not isinstance(content, dict) or set(content) - {"weights", "rule", "found"}:
            raise ValueError("expected the parts weights, rule and found")
        if not all(isinstance(content.get(part), dict) for part in ("weights", "rule")):
            raise ValueError("expected weights and rule, each with numbers by name")
        return TunedFile(content["weights"], content["rule"], content.get("found") or {})
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"tuned index {name}: {error}") from error


def shipped() -> tuple[str, ...]:
    """Names of the tuned indices of this package, by the card they were tuned on."""
    files = resources.files("agents.index").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def _shipped(name: str) -> str:
    if name not in shipped():
        raise FileNotFoundError(
            f"tuned index {name!r}: expected a path that ends in .yaml or one of "
            f"{', '.join(shipped()) or '(none shipped)'}"
        )
    return resources.files("agents.index").joinpath(f"{name}.yaml").read_text("utf-8")

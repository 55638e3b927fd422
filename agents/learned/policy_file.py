"""Trained policies as files: weights and a card that says what they see, say and come from.

A file ``NAME.policy`` is a zip archive of ``policy.json``, the card, and ``weights.npz``, float32
arrays. Nothing in it is run when it is read. The same content gives the same bytes.

Names of the weights, layers of shape (out, in)::

    obs_mean, obs_var             of the observation, float64, if it is normalised: VecNormalize
    lstm.weight_ih, .weight_hh    (4 h, in), (4 h, h), gates in the order of torch: i, f, g, o
    lstm.bias                     (4 h,), the sum of torch's two
    layers.<k>.weight, .bias      from 0; the last one, without activation, gives mean or logits
    log_std                       (actions,) of `gaussian`
    log_std.weight, .bias         of `squashed`: a second head beside the last layer
    others                        network `set`: see `agents.learned.set_net`
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fleet_env
from agents.base import Obs
from agents.learned.interface import FORMAT, check_card, check_weights, interface
from agents.learned.set_net import set_logits
from fleet_env.observations import CAR_FIELDS, FLEET_FIELDS
from fleet_env.types import FloatArray

SUFFIX = ".policy"
CARD, WEIGHTS = "policy.json", "weights.npz"
STATISTICS = ("obs_mean", "obs_var")  # kept in float64: VecNormalize divides by small deviations
VERSIONS_OF = ("numpy", "gymnasium", "torch", "stable-baselines3", "sb3-contrib")  # on the card
_UNREADABLE = (ValueError, OSError, zipfile.BadZipFile, KeyError)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of the members of an archive: the first date that zip knows


class PolicyFileError(ValueError):
    """A policy file cannot be read, or does not fit this version of fleet_env."""


def new_card(
    name: str,
    kind: str,
    *,
    network: str,
    distribution: str,
    activation: str = "tanh",
    margin_action: bool = False,
    num_cars: int | None = None,
    config: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the card of a policy that this version of fleet_env trained.

    Parameters
    ----------
    name : str
        Of the agent.
    kind : str
        How numbers become duty: a key of `agents.learned.interface.KINDS`.
    network : str
        ``mlp``, ``lstm`` or ``set``.
    distribution : str
        ``gaussian`` (clipped to [-1, 1]), ``squashed`` (tanh of a Gaussian), ``bernoulli`` or
        ``categorical`` (logits of off and on duty).
    activation : str
        ``tanh`` or ``relu``.
    margin_action : bool
        The last number of the action sets the margin of the energy managers.
    num_cars : int, optional
        Of the only fleets that kind ``binary`` plays.
    config, training : mapping, optional
        The resolved configuration; steps, seed, cards, scores, date: for people to read.
    """
    seen = interface(kind, margin_action=margin_action)
    return {
        "format": FORMAT,
        "name": name,
        "kind": kind,
        "network": network,
        "activation": activation,
        "distribution": distribution,
        "env_id": seen.env_id,
        "env_version": fleet_env.__version__,
        "observation": list(seen.observation),
        "action": list(seen.action),
        "margin_action": margin_action,
        "num_cars": num_cars,
        "config": dict(config or {}),
        "versions": _versions(),
        "training": dict(training or {}),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS_OF:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@dataclass(frozen=True, eq=False)
class PolicyFile:
    """A trained policy: `new_card` and its weights.

    Raises
    ------
    PolicyFileError
        If the card does not fit this version of fleet_env, or the weights the card.
    """

    card: dict[str, Any]
    weights: dict[str, FloatArray]

    def __post_init__(self) -> None:
        try:
            check_card(self.card)
            check_weights(self.card, self.weights)
            if self.card["network"] == "set":
                _try_set(self.weights, str(self.card["activation"]))
        except ValueError as error:
            raise PolicyFileError(f"policy {self.card.get('name')}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        weights = _archive({f"{key}.npy": _npy(key, self.weights[key]) for key in self.weights})
        card = self.card | {"weights_sha256": hashlib.sha256(weights).hexdigest()}
        text = json.dumps(card, indent=1, sort_keys=True, allow_nan=False) + "\n"
        content = _archive({CARD: text.encode(), WEIGHTS: weights})
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{os.getpid()}.{path.name}")
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> PolicyFile:
        """Read a file and hold it against the installed fleet_env.

        Raises
        ------
        PolicyFileError
            With the name of the file and what differs.
        """
        try:
            card, content = _members(Path(path))
            if hashlib.sha256(content).hexdigest() != card.pop("weights_sha256", None):
                raise ValueError("weights_sha256: the weights are not those of the card")
            return cls(card, _arrays(content))
        except _UNREADABLE as error:
            raise PolicyFileError(f"{path}: {_reason(error)}") from error


def _try_set(weights: Mapping[str, FloatArray], activation: str) -> None:
    """Let a set network, whose layers may have any width, score a car of a fleet of one."""
    blank = np.zeros((1, 1, len(CAR_FIELDS)), np.float32)
    fleet = np.zeros((1, len(FLEET_FIELDS)), np.float32)
    obs: Obs = {"cars": blank, "fleet": fleet, "mask": np.ones((1, 1), np.int8)}
    try:
        set_logits(weights, obs, activation)
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"weights: not those of a set network: {error}") from error


def read_card(path: str | Path) -> dict[str, Any]:
    """Read the card of a file alone, and check nothing.

    Raises
    ------
    PolicyFileError
        If the file cannot be read.
    """
    try:
        return _members(Path(path))[0]
    except _UNREADABLE as error:
        raise PolicyFileError(f"{path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file; `fleet train` writes best.policy and last.policy"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, zipfile.BadZipFile | KeyError):
        return f"no policy file (an archive of {CARD} and {WEIGHTS}): {error}"
    return str(error)


def _members(path: Path) -> tuple[dict[str, Any], bytes]:
    """Card and packed weights of a file."""
    with zipfile.ZipFile(path) as archive:
        card = json.loads(archive.read(CARD))
        if not isinstance(card, dict):
            raise ValueError(f"{CARD}: expected an object, got {type(card).__name__}")
        return card, archive.read(WEIGHTS)


def _arrays(content: bytes) -> dict[str, FloatArray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in sorted(arrays.files)}


def _npy(name: str, value: NDArray[Any]) -> bytes:
    """One array as numpy writes it, always in the same bytes."""
    stream = io.BytesIO()
    plain = np.ascontiguousarray(value, "<f8" if name in STATISTICS else "<f4")
    np.lib.format.write_array(stream, plain, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _archive(members: Mapping[str, bytes]) -> bytes:
    """Pack members by name, not compressed: weights hardly shrink, and bytes stay the same."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr = 3, 0o644 << 16  # the same on any system
            archive.writestr(info, members[name])
    return stream.getvalue()

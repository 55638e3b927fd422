"""The folder of a training: begun once, and gone on with only by the same configuration."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from agents.rl import checkpoint
from experiments.records import changes, code_digest, manifest, write_atomic, write_json
from experiments.train_settings import TrainSettings, lasting
from fleet_env.config import EnvConfig


def describe(settings: TrainSettings, cards: Mapping[str, EnvConfig]) -> dict[str, Any]:
    """Turn the settings of a training into JSON data, its cards by name."""
    content = dataclasses.asdict(settings)
    del content["env"]
    content["cards"] = {name: dataclasses.asdict(card) for name, card in cards.items()}
    plain: dict[str, Any] = json.loads(json.dumps(content))  # as it comes back from a file
    return plain


def open_folder(
    out: Path, settings: TrainSettings, config: Mapping[str, Any], overrides: Sequence[str]
) -> Path | None:
    """Begin a run in an empty folder, or find the checkpoint from which the run there goes on.

    Raises
    ------
    ValueError
        If the folder holds a run and it is not resumed, or none and it is; if the configuration
        is another one, with the differences.
    """
    file = out / "manifest.json"
    if not settings.resume:
        if file.is_file():
            raise ValueError(f"{out} holds a run: resume={out} goes on with it; or choose out=")
        write_json(file, manifest("train", config) | {"overrides": list(overrides)})
        _write_config(out, config)
        return None
    before = read_manifest(out)
    different = list(_differences(before["config"], config))
    if different:
        raise ValueError(f"resume={out}: {'; '.join(different)}; leave it, or start another run")
    code = code_digest()
    if code != before["code_hash"]:
        warnings.warn(
            f"{out}: the code of fleet_env, agents or the runner has changed since: the run goes "
            "on, but not bit for bit",
            stacklevel=2,
        )
    now = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "code_hash": code}
    resumed = [*before.get("resumed", []), now]
    write_json(file, before | {"config": config, "resumed": resumed})
    _write_config(out, config)
    return checkpoint.newest(out / "checkpoints")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a training.

    Raises
    ------
    ValueError
        If the folder holds none.
    """
    file = folder / "manifest.json"
    content: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    if content.get("verb") != "train":
        raise ValueError(f"resume={folder}: expected the folder of a run of fleet train")
    return content


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    yield from changes(lasting(before), lasting(now))
    if now["total_steps"] < before["total_steps"]:
        yield f"total_steps was {before['total_steps']}, is {now['total_steps']}"


def _write_config(out: Path, config: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(dict(config), sort_keys=False)
    write_atomic(out / "config.yaml", lambda file: file.write_text(text, "utf-8"))

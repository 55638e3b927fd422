"""Where results lie: one row per policy and scenario, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

VERSIONS_OF = ("fleet-env", "numpy", "gymnasium", "scipy", "pandas", "pyarrow", "hydra-core")
MANIFEST, RECORDS, BOUNDS, CHOICE = (
    "manifest.json",
    "results.parquet",
    "bounds.csv",
    "choice.parquet",
)


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then move it to `path`: no reader sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame; floats keep every digit."""
    write_atomic(path, lambda file: frame.to_csv(file, index=False))


def read_csv(path: Path) -> pd.DataFrame:
    """Read what `write_csv` wrote, bit for bit."""
    return pd.read_csv(path, float_precision="round_trip")


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write records: types are kept, to the bit."""
    write_atomic(path, lambda file: frame.to_parquet(file, index=False))


def read_parquet(path: Path) -> pd.DataFrame:
    """Read what `write_parquet` wrote.

    Raises
    ------
    ValueError
        If there is no such file, or it holds something else.
    """
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected records in Parquet ({error})") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write sorted, indented JSON."""
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    write_atomic(path, lambda file: file.write_text(text, "utf-8"))


def digest(content: Any) -> str:
    """Hash of anything JSON can hold, independent of the order of keys (16 hex digits)."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def code_digest(packages: Sequence[str] = ("fleet_env", "agents", "experiments.runner")) -> str:
    """Hash of all source and table files of packages and modules.

    Two runs with this hash and the configuration in common give the same records.
    """
    total = hashlib.sha256()
    for package in packages:
        spec = find_spec(package)
        if spec is None:
            raise ModuleNotFoundError(f"no package or module {package}")
        for folder in sorted(spec.submodule_search_locations or []):
            for file in sorted(Path(folder).rglob("*")):
                if file.suffix in (".py", ".csv", ".json", ".yaml", ".policy"):
                    total.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
        if not spec.submodule_search_locations:
            total.update(Path(str(spec.origin)).read_bytes())
    return total.hexdigest()[:16]


def _git(*arguments: str) -> str:
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():  # installed, perhaps inside somebody else's repository
        return ""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def manifest(verb: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a run: what was asked, of which code, on which machine."""
    return {
        "verb": verb,
        "config": config,
        "config_hash": digest(config),
        "code_hash": code_digest(),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain")),
        "versions": {name: _version(name) for name in VERSIONS_OF},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "arguments": sys.argv[1:],
        "started": _now(),
        "wall_s": 0.0,  # grows with every finished run into the folder
    }


def read_config(
    path: Path, verbs: Sequence[str], needs: Sequence[str] = ()
) -> tuple[str, dict[str, Any]]:
    """Read which verb left a folder, and what it was asked.

    Parameters
    ----------
    path : Path
    verbs : sequence of str
        Those that are expected.
    needs : sequence of str
        Files that a finished run has left there.

    Raises
    ------
    ValueError
        If the folder holds no run, one of another verb, or one that is not finished.
    """
    if not (path / MANIFEST).is_file():
        raise ValueError(f"{path}: no run here (expected {MANIFEST}, as fleet compare leaves it)")
    content = json.loads((path / MANIFEST).read_text("utf-8"))
    verb: str = content["verb"]
    if verb not in verbs:
        raise ValueError(f"{path}: a run of fleet {verb}, expected {' or '.join(verbs)}")
    if not all((path / name).is_file() for name in needs):
        raise ValueError(f"{path}: not finished; go on with the same command and out={path}")
    return verb, content["config"]


def days_text(records: pd.DataFrame) -> str:
    """Say how many days of which split records are of: `20 test days`."""
    return f"{records['scenario'].nunique()} {records['split'].iloc[0]} days"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run; finished parts stay, so that a rerun only does what is missing."""

    path: Path
    opened_s: float = field(default_factory=time.perf_counter)

    @classmethod
    def open(cls, path: Path, verb: str, config: Mapping[str, Any]) -> RunFolder:
        """Start a run in a new folder or go on with the same run in an old one.

        Parameters
        ----------
        path : Path
        verb : str
        config : mapping
            Everything the results depend on, as plain JSON data.

        Raises
        ------
        ValueError
            If the folder holds a run of another verb, configuration or code.
        """
        now = manifest(verb, config)
        file = path / MANIFEST
        if file.is_file():
            before = json.loads(file.read_text("utf-8"))
            different = list(_differences(before, now))
            if different:
                raise ValueError(
                    f"{path} holds another run: {'; '.join(different)}; choose another out="
                )
        else:
            write_json(file, now)
        return cls(path)

    def part(self, name: str) -> Path:
        """Return the file of one finished part, for instance of one policy."""
        return self.path / "records" / f"{name}.parquet"

    def get(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Read the part if an earlier run finished it, else make and keep it."""
        file = self.part(name)
        if not file.is_file():
            write_parquet(file, make())
        return read_parquet(file)

    def close(self) -> None:
        """Add the time since the run was opened to its manifest, and say when it ended."""
        file = self.path / MANIFEST
        content = json.loads(file.read_text("utf-8"))
        content["wall_s"] = round(content["wall_s"] + time.perf_counter() - self.opened_s, 1)
        write_json(file, content | {"finished": _now()})


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if before["verb"] != now["verb"]:
        yield f"verb was {before['verb']}"
    yield from changes(before["config"], now["config"])
    if before["code_hash"] != now["code_hash"]:
        yield "the code of fleet_env, agents or the runner has changed since"


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Say of every setting that differs between two configurations what it was and is."""
    old, new = dict(flat(before)), dict(flat(now))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key} was {old.get(key)!r}, is {new.get(key)!r}"


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings with their dotted keys."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

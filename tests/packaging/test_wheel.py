"""The wheel as users get it: built, installed apart from the checkout, run from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.packaging
ROOT = Path(__file__).resolve().parents[2]
TINY = ["env.num_cars=3", "num_episodes=2", "policies=[dc_only,always_on]"]
TRAIN = [
    "env.num_cars=3", "env.step_min=60", "agent.num_fleets=1", "agent.copies=1",
    "agent.num_cars=3", "agent.net=[4]", "agent.options.batch_size=24",
    "total_steps=24", "validation.days=1", "validation.num_cars=3", "validation.score=false",
]  # fmt: skip
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="the extra rl is not installed")
TUNE = ["num_days=1", "num_cars=3", "validation_days=1", "rivals=[dc_only]"]


def run(*command: str | Path, cwd: Path, status: int = 0, **variables: str) -> str:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    line = [str(part) for part in command]
    done = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr if status else done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build sdist and, from it, the wheel: what is missing in the one is missing in the other."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "-o", out, ROOT, cwd=ROOT)
    [file] = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """Install the wheel in an environment of its own; the libraries are those of this one.

    A .pth file lends them, after the wheel's own folder; .pth files in their folder, such as that
    of an editable install, are not read.
    """
    home = tmp_path_factory.mktemp("env")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    [site] = (home / "lib").glob("python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--quiet"]
    run(*pip, "--disable-pip-version-check", wheel, cwd=home)
    (site / "lent.pth").write_text(f"{Path(np.__file__).parents[1]}\n")
    return home / "bin"


def test_the_wheel_holds_three_packages_their_tables_and_the_settings(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"fleet_env", "agents", "experiments"}
    assert "experiments/conf/compare.yaml" in names
    for table in (ROOT / "fleet_env" / "data").glob("*.csv"):
        assert f"fleet_env/data/{table.name}" in names


def test_the_wheel_holds_what_was_learned(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    learned = [*ROOT.glob("agents/index/*.yaml"), *ROOT.glob("agents/learned/files/*.policy")]
    assert learned
    assert {str(file.relative_to(ROOT)) for file in learned} <= set(names)
    assert sum(file.stat().st_size for file in learned) < 2_000_000  # bytes; more is for a download


def test_the_packages_come_from_the_wheel(installed, tmp_path):
    for package in ("fleet_env", "agents", "experiments"):
        code = f"import {package}; print({package}.__file__)"
        file = run(installed / "python", "-c", code, cwd=tmp_path).strip()
        assert Path(file).is_relative_to(installed.parent)


def test_importing_fleet_env_pulls_in_neither_torch_nor_matplotlib(installed, tmp_path):
    heavy = "'torch', 'matplotlib', 'scipy', 'pandas', 'hydra'"
    code = f"import sys, fleet_env; print([m for m in ({heavy}) if m in sys.modules])"
    assert run(installed / "python", "-c", code, cwd=tmp_path).strip() == "[]"


def test_gymnasium_makes_the_registered_id(installed, tmp_path):
    make = "gymnasium.make('fleet_env:fleet_env/Fleet-v0', num_cars=3)"
    code = f"import gymnasium; print({make}.reset(seed=0)[1])"
    assert "scenario" in run(installed / "python", "-c", code, cwd=tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "env=suburb", *TINY],
        ["evaluate", "policy=random", "record=true", *TINY[:2]],
        ["study", "ablation", "only=[no_pay]", *TINY],
        ["bench", "sizes=[1x3]", "repeats=1", "num_steps=2", "copy_mb=1"],
        ["bound", "env=suburb", *TINY[:2], "milp=true", "milp_time_s=5"],
        ["cards", "cards=[tiny]", "num_episodes=1", "policies=[dc_only,always_on]"],
        ["tune", "agent=index", "generations=1", "popsize=3", *TUNE],
        pytest.param(["train", *TRAIN], marks=needs_torch),
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_verb_runs_from_an_empty_folder(installed, tmp_path, arguments):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "compare.yaml").write_text("decoy: true\n")  # must not be picked up
    out = run(installed / "fleet", *arguments, cwd=tmp_path)
    folder = Path(out.strip().splitlines()[-1].removeprefix("results: "))
    assert folder.is_relative_to(tmp_path / "runs" / arguments[0])
    assert list(folder.glob("*.csv"))


def test_policies_are_listed_and_described(installed, tmp_path):
    assert "always_on" in run(installed / "fleet", "agents", "out=page", cwd=tmp_path)
    assert (tmp_path / "page" / "agents.md").is_file()


def test_no_torch_is_needed_but_to_train(installed, tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(name='torch')\n")
    without = {"cwd": tmp_path, "PYTHONPATH": str(tmp_path)}
    run(installed / "fleet", "compare", *TINY, **without)
    told = run(installed / "fleet", "train", *TRAIN, status=2, **without)
    assert told == "fleet: train: torch is not installed; pip install 'fleet-env[rl]'\n"

"""Fixtures that every test may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import settings

mpl.use("Agg")
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the golden rollouts; say in the commit which number moved and why",
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of raw data named by FLEET_ENV_DATA, or skip the test."""
    name = os.environ.get("FLEET_ENV_DATA", "")
    if not name or not Path(name).is_dir():
        pytest.skip("raw data absent: FLEET_ENV_DATA names no folder")
    return Path(name)


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator that starts the same in every test."""
    return np.random.default_rng(20250731)


@pytest.fixture
def fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command line in an empty folder: status, stdout, stderr."""
    from experiments import cli  # here: most tests need nothing of it

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("experiments.pool.num_cores", lambda: 1)  # no other processes
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # restored afterwards: the command sets it

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fleet", *arguments])
        status = 0
        try:
            cli.main()
        except SystemExit as leave:
            status = int(leave.code or 0)
        return status, *capsys.readouterr()

    return run

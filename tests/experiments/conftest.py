"""What the tests of the verbs share."""

from __future__ import annotations

import sys

import pytest

from experiments import cli


@pytest.fixture
def fleet(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command line in an empty folder: status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
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

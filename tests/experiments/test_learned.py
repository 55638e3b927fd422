"""A trained policy on the command line: any file by `policy=learned`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from agents import registry
from experiments.cli import check, explain
from experiments.entries import file_hashes
from experiments.records import code_digest
from tests.agents.trained import saved
from tests.composing import settings_of

TINY = ("env.num_cars=20", "num_episodes=2")


def test_learned_is_an_option_with_the_policys_own_defaults():
    policy = settings_of("evaluate", "policy=learned", "policy.options.file=a.policy").policy
    assert policy.name == "learned"
    assert policy.options == registry.defaults("learned") | {"file": "a.policy"}


def test_files_that_settings_name_are_hashed(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("a")
    options = {"file": str(file), "sampled": False, "card": "suburb", "folder": str(tmp_path)}
    before = file_hashes(options)
    assert list(before) == ["file"]
    file.write_text("b")
    assert file_hashes(options) != before


def test_the_hash_of_the_code_sees_shipped_policies(tmp_path, monkeypatch):
    package = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("experiments.records.find_spec", lambda name: package)
    before = code_digest()
    file = Path(saved(tmp_path / "files", "index", seed=1))
    assert (first := code_digest()) != before
    Path(saved(tmp_path, "index", seed=2)).replace(file)
    assert code_digest() not in (before, first)


@pytest.mark.parametrize(("package", "extra"), [("torch", "rl"), ("optuna", "sweep")])
def test_a_missing_package_names_the_extra_that_brings_it(package, extra):
    told = explain(ModuleNotFoundError(name=package), "train")
    assert told == f"train: {package} is not installed; pip install 'fleet-env[{extra}]'"


@pytest.mark.slow  # starts the command line
def test_evaluate_plays_a_file_and_its_records_are_those_of_its_content(fleet, tmp_path):
    file = saved(tmp_path, "index", seed=1)
    command = ("evaluate", "policy=learned", f"policy.options.file={file}", "out=run", *TINY)
    status, out, err = fleet(*command)
    assert (status, err) == (0, "")
    assert "learned" in out
    records = pd.read_parquet("run/results.parquet")
    assert records["policy"].tolist() == ["learned", "learned"]
    assert (records["return"] != 0).all()
    assert set(json.loads(Path("run/manifest.json").read_text())["config"]["files"]) == {"file"}

    assert fleet(*command)[0] == 0  # nothing left to play
    Path(saved(tmp_path, "index", seed=2)).replace(file)
    status, _, err = fleet(*command)
    assert status == 2
    assert "files.file was" in err

    sampled = ("out=drawn", "policy.options.sampled=true")
    assert fleet(*command[:3], *sampled, *TINY)[0] == 0
    drawn = pd.read_parquet("drawn/results.parquet")
    assert (drawn["return"] != records["return"]).any()


@pytest.mark.slow  # starts the command line
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((), "learned: no file: expected policy.options.file=PATH"),
        (("policy.options.file=no.policy",), "no.policy: no such file; `fleet train` writes"),
        (("policy.file=no.policy",), "no.policy: no such file"),  # short for policy.options.file
        (("policy.options.fil=no.policy",), "did you mean policy.options.file?"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(fleet, settings, message):
    status, _, err = fleet("evaluate", "policy=learned", *settings, *TINY)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "verb"),
    [
        (["tune", "agent=index"], "tune"),
        (["tune", "agent=ppo_index"], "tune_agent"),
        (["tune", "-m", "agent=ppo_index,sac_index"], "tune_agent"),
        (["bench", "train"], "bench_train"),
        (["bench"], "bench"),
    ],
)
def test_what_is_asked_of_learners_goes_to_their_module(arguments: list[str], verb: str) -> None:
    assert check(arguments)[0] == verb

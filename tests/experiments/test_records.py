from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from experiments.records import RunFolder, code_digest, digest, read_csv, write_atomic, write_csv

CONFIG = {"env": {"num_cars": 3, "fleet": {"lfp_share": 0.4}}, "seed": 0}


def test_floats_survive_the_round_trip_bit_for_bit(tmp_path, rng):
    frame = pd.DataFrame({"policy": "a", "x": rng.normal(size=50) ** 9, "n": np.arange(50)})
    write_csv(tmp_path / "f.csv", frame)
    pd.testing.assert_frame_equal(read_csv(tmp_path / "f.csv"), frame, check_exact=True)


def test_a_failed_write_leaves_the_old_file_and_no_scrap(tmp_path):
    file = tmp_path / "f.txt"
    file.write_text("old")

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomic(file, fail)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_digest_ignores_the_order_of_keys_and_sees_every_value():
    assert digest({"a": 1, "b": [2.0]}) == digest({"b": [2.0], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_code_digest_is_stable():
    assert code_digest() == code_digest()


def test_the_same_run_goes_on_and_finished_parts_are_not_made_again(tmp_path):
    made = []

    def make():
        made.append(1)
        return pd.DataFrame({"x": [0.1, 0.2]})

    for _ in range(2):
        folder = RunFolder.open(tmp_path / "run", "compare", CONFIG)
        frame = folder.get("base/random", make)
        assert frame["x"].tolist() == [0.1, 0.2]
    assert len(made) == 1


def test_another_configuration_in_the_folder_is_an_error_that_names_the_key(tmp_path):
    RunFolder.open(tmp_path, "compare", CONFIG)
    other = {**CONFIG, "env": {"num_cars": 4, "fleet": {"lfp_share": 0.4}}}
    with pytest.raises(ValueError, match=r"env\.num_cars was 3, is 4; choose another out="):
        RunFolder.open(tmp_path, "compare", other)
    with pytest.raises(ValueError, match="verb was compare"):
        RunFolder.open(tmp_path, "study", CONFIG)


def test_changed_code_in_the_folder_is_an_error(tmp_path):
    RunFolder.open(tmp_path, "compare", CONFIG)
    file = tmp_path / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps({**manifest, "code_hash": "0" * 16}))
    with pytest.raises(ValueError, match="code of fleet_env, agents or the runner has changed"):
        RunFolder.open(tmp_path, "compare", CONFIG)
    assert manifest["config"] == CONFIG
    assert manifest["versions"]["numpy"] == np.__version__

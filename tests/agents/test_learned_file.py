"""Policy files: what is written comes back, and what does not fit is refused by name."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fleet_env
from agents import learned
from agents.learned import PolicyFile, PolicyFileError, interface, policy_file
from fleet_env.views import INDEX_FEATURES, SUMMARY_FIELDS
from tests.agents.trained import SORTS, card_of, policy


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.policy"


def rewritten(file: Path, **members: bytes) -> None:
    """Write the archive anew with members replaced: `card` and `weights`."""
    with zipfile.ZipFile(file) as archive:
        old = {name: archive.read(name) for name in archive.namelist()}
    named = {"card": policy_file.CARD, "weights": policy_file.WEIGHTS}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (old | {named[k]: v for k, v in members.items()}).items():
            archive.writestr(name, content)


def card_in(file: Path) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        return dict(json.loads(archive.read(policy_file.CARD)))


def with_card(file: Path, **changes: Any) -> None:
    rewritten(file, card=json.dumps(card_in(file) | changes).encode())


@pytest.mark.parametrize("sort", SORTS)
def test_card_and_weights_come_back_bit_for_bit(sort: str, file: Path) -> None:
    before = policy(sort, config={"seed": 3}, training={"steps": 10, "cards": ["suburb"]})
    before.save(file)
    after = PolicyFile.load(file)
    assert after.card == before.card
    assert set(after.weights) == set(before.weights)
    for name, array in before.weights.items():
        np.testing.assert_array_equal(after.weights[name], array, strict=True)


def test_weights_are_float32_and_statistics_float64(file: Path) -> None:
    whole = policy("index")
    wide = {name: array.astype(np.float64) for name, array in whole.weights.items()}
    PolicyFile(whole.card, wide).save(file)
    dtypes = {name: array.dtype for name, array in PolicyFile.load(file).weights.items()}
    assert {n for n, d in dtypes.items() if d == np.float64} == {"obs_mean", "obs_var"}
    assert {d for n, d in dtypes.items() if not n.startswith("obs_")} == {np.dtype(np.float32)}


def test_the_same_policy_is_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a.policy", tmp_path / "b.policy"
    before = policy("cohort")
    before.save(first)
    monkeypatch.setattr("time.localtime", lambda *a: (2031, 5, 6, 7, 8, 9, 0, 0, 0))
    backwards = {name: before.weights[name] for name in reversed(before.weights)}
    PolicyFile(before.card, backwards).save(second)
    assert first.read_bytes() == second.read_bytes()
    policy("cohort", seed=1).save(second)
    assert first.read_bytes() != second.read_bytes()


def test_a_failed_write_leaves_the_old_file_and_no_scrap(file: Path) -> None:
    policy("index").save(file)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        policy("index", training={"score": float("nan")}).save(file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_the_card_says_what_the_policy_sees_says_and_was_made_with() -> None:
    card = card_of("index", config={"seed": 1}, training={"steps": 5})
    assert card["observation"] == [field.name for field in SUMMARY_FIELDS]
    assert card["action"] == [feature.name for feature in INDEX_FEATURES] + ["share"]
    assert card["env_id"] == "fleet_env/FleetIndex-v0"
    assert card["env_version"] == fleet_env.__version__
    assert card["versions"]["numpy"] == np.__version__
    assert (card["config"], card["training"]) == ({"seed": 1}, {"steps": 5})
    assert card_of("index", margin_action=True)["action"][-2:] == ["share", "margin_h"]


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy("index").card = {}  # type: ignore[misc]


# what does not fit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format: 2, but this fleet_env reads 1"),
        (
            {"kind": "quota"},
            "kind: 'quota': expected one of index, tuned, cohort, cars, set, binary",
        ),
        ({"network": "set"}, "network: 'set': expected mlp or lstm for kind index"),
        ({"distribution": "bernoulli"}, "'bernoulli': expected gaussian or squashed"),
        ({"activation": "gelu"}, "activation: 'gelu': expected tanh or relu"),
        ({"env_id": "fleet_env/Fleet-v0"}, "Fleet-v0, but fleet_env/FleetIndex-v0 is installed"),
        ({"margin_action": "yes"}, "margin_action: 'yes': expected true or false"),
        ({"kind": "cohort", "margin_action": True}, "only kind index has it, not cohort"),
        ({"num_cars": 7}, "num_cars: 7: expected null for kind index"),
        ({"action": "share"}, 'action: "share": expected a list of names'),
        ({"colour": 1}, "card: no 'colour': known: format, "),
        ({"formt": 1}, "card: no 'formt': did you mean 'format'?"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_with_the_difference(
    file: Path, changes: dict[str, Any], message: str
) -> None:
    policy("index").save(file)
    with_card(file, **changes)
    with pytest.raises(PolicyFileError) as caught:
        PolicyFile.load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", interface.KEYS)
def test_a_card_must_be_complete(file: Path, key: str) -> None:
    policy("index").save(file)
    card = card_in(file)
    del card[key]
    rewritten(file, card=json.dumps(card).encode())
    with pytest.raises(PolicyFileError, match=f"card: missing {key}"):
        PolicyFile.load(file)


def test_observations_are_compared_name_by_name(file: Path) -> None:
    policy("index").save(file)
    names = card_in(file)["observation"]
    now = len(SUMMARY_FIELDS)
    with_card(file, observation=[*names[:-1], "mood"])
    with pytest.raises(PolicyFileError, match="gone since: mood; new: mean_feeder; retrain it"):
        PolicyFile.load(file)
    with_card(file, observation=names[:-7])
    expected = rf"{now - 7} names, installed are {now}; new: mean_soc, .*, \.\.\.; retrain"
    with pytest.raises(PolicyFileError, match=expected):
        PolicyFile.load(file)
    with_card(file, observation=[*names[:3], names[4], names[3], *names[5:]])
    with pytest.raises(PolicyFileError, match="place 3: price in the file, left installed"):
        PolicyFile.load(file)


@pytest.mark.parametrize(
    ("version", "fits"),
    [("0.1.0", True), ("0.1.7", True), ("0.2.0", False), ("1.1.0", False), ("?", False)],
)
def test_versions_differ_in_the_patch_at_most(
    file: Path, monkeypatch: pytest.MonkeyPatch, version: str, fits: bool
) -> None:
    policy("index").save(file)
    monkeypatch.setattr(fleet_env, "__version__", "0.1.2")
    with_card(file, env_version=version)
    if fits:
        PolicyFile.load(file)
        return
    with pytest.raises(PolicyFileError, match=r"but 0\.1\.2 is installed; retrain it, or install"):
        PolicyFile.load(file)


@pytest.mark.parametrize(
    ("sort", "changes", "message"),
    [
        ("index", {"layers.0.weight": (8, 239)}, r"has shape \(8, 239\), expected \(8, 247\)"),
        ("index", {"layers.0.bias": (7,)}, r"layers\.0\.bias has shape \(7,\), expected \(8,\)"),
        ("index", {"layers.2.weight": (14, 6)}, r"has shape \(14, 6\), expected \(17, 6\)"),
        ("index", {"log_std": None}, r"no log_std, of shape \(17,\), for network mlp, dist"),
        ("index", {"obs_var": None}, r"no obs_var, of shape \(247,\)"),
        ("index", {"lstm.bias": (20,)}, r"lstm\.bias: no such array for network mlp"),
        ("index", {"layers.0.weight": None}, r"no layers\.0\.weight, of shape"),
        ("index_squashed", {"log_std.bias": (14,)}, r"expected \(17,\)"),
        ("index_lstm", {"lstm.weight_hh": (20, 4)}, r"has shape \(20, 4\), expected \(20, 5\)"),
        ("index_lstm", {"lstm.weight_ih": None}, r"no lstm\.weight_ih"),
        ("cohort", {"layers.2.bias": (15,)}, r"has shape \(15,\), expected \(54,\)"),
        ("cars", {"layers.2.bias": (1,)}, r"has shape \(1,\), expected \(2,\)"),
        ("binary", {"layers.2.bias": (21,)}, r"has shape \(21,\), expected \(20,\)"),
        ("set", {"shift.weight": None}, r"not those of a set network: 'shift\.weight'"),
        ("set", {"car.weight": (7, 3)}, "not those of a set network"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    sort: str, changes: dict[str, Any], message: str
) -> None:
    whole = policy(sort)
    weights = dict(whole.weights)
    for name, shape in changes.items():
        if shape is None:
            del weights[name]
        else:
            weights[name] = np.zeros(shape, np.float32)
    with pytest.raises(PolicyFileError, match=message):
        PolicyFile(whole.card, weights)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_are_finite(value: float) -> None:
    whole = policy("index")
    whole.weights["layers.1.bias"][2] = value
    with pytest.raises(PolicyFileError, match=r"some_index: weights: layers\.1\.bias: .*finite"):
        PolicyFile(whole.card, whole.weights)


# what is no policy file


def test_changed_weights_are_noticed(file: Path) -> None:
    policy("index").save(file)
    other = file.with_name("other.policy")
    policy("index", seed=1).save(other)
    with zipfile.ZipFile(other) as archive:
        rewritten(file, weights=archive.read(policy_file.WEIGHTS))
    with pytest.raises(PolicyFileError, match="weights_sha256: the weights are not those of the"):
        PolicyFile.load(file)


def test_no_code_runs_on_load(file: Path) -> None:
    policy("index").save(file)
    stream = io.BytesIO()
    np.savez(stream, evil=np.array([object()], dtype=object))
    content = stream.getvalue()
    digest = policy_file.hashlib.sha256(content).hexdigest()
    with_card(file, weights_sha256=digest)
    rewritten(file, weights=content)
    with pytest.raises(PolicyFileError, match="allow_pickle=False"):
        PolicyFile.load(file)


def test_what_is_no_policy_file_is_said_in_one_line(file: Path, tmp_path: Path) -> None:
    def reason() -> str:
        with pytest.raises(PolicyFileError) as caught:
            learned.load(file)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file; `fleet train` writes best.policy" in reason()
    file.write_bytes(b"")
    assert "no policy file (an archive of policy.json and weights.npz)" in reason()
    policy("index").save(file)
    file.write_bytes(file.read_bytes()[:-200])
    assert "no policy file" in reason()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights.npz", b"")
    assert "no policy file" in reason()
    assert "policy.json" in reason()
    policy("index").save(file)
    rewritten(file, card=b"[1, 2]")
    assert "policy.json: expected an object, got list" in reason()
    rewritten(file, card=b"{")
    assert "Expecting property name" in reason()


def test_a_folder_is_no_policy_file(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match=r"Is a directory"):
        PolicyFile.load(tmp_path)


def test_the_card_alone_can_be_read_whatever_is_installed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy("index").save(file)
    monkeypatch.setattr(fleet_env, "__version__", "9.0.0")
    assert policy_file.read_card(file)["name"] == "some_index"
    with pytest.raises(PolicyFileError, match=r"env_version: 0\.1\.0, but 9\.0\.0"):
        PolicyFile.load(file)

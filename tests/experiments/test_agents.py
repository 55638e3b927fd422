"""`fleet agents` and the page of the policies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from agents import registry
from agents.heuristics.cheapest_first import CheapestFirst
from experiments import schema
from experiments.verbs import agents as verb

PAGE = Path(schema.config_dir()).parent / "docs" / "agents.md"


def test_the_page_of_the_policies_is_up_to_date():
    # `fleet agents out=docs` writes it anew
    listed = [verb.describe(name) for name in registry.all_names()]
    assert PAGE.read_text("utf-8") == verb.page(listed)


def test_every_policy_says_what_it_is_and_where_it_comes_from():
    listed = [verb.describe(name) for name in registry.all_names()]
    assert [one.name for one in listed] == list(registry.all_names())
    for one in listed:
        assert one.definition.endswith("."), one
        assert "\n" not in one.definition
        for setting in one.settings:
            assert setting.note, f"{one.name}.{setting.name}: no comment beside it"


def test_families_stand_together():
    families = [verb.describe(name).family for name in registry.all_names()]
    starts = [a for a, b in zip(families, ["", *families], strict=False) if a != b]
    assert len(starts) == len(set(starts))


def test_settings_are_the_policy_s_own_or_shared():
    settings = {s.name: s for s in verb.describe("lowest_window").settings}
    assert settings["batch_haste"].group == ""  # its own default
    assert settings["batch_haste"].default == 8.0
    assert settings["over_provision"].group == "DemandSettings"
    assert settings["over_provision"].note == "cars per car of work; tuned on train days"
    assert settings["pack_wear_usd_per_kwh"].group == "MeritSettings"
    assert verb.describe("dc_only").settings == ()


def test_a_policy_without_a_source_is_an_error(monkeypatch):
    class Silent(CheapestFirst):
        """Say nothing."""

        source: ClassVar[str] = ""

    monkeypatch.setitem(registry._BUILDERS, "silent", Silent)
    with pytest.raises(ValueError, match="policy silent: its class Silent has no source"):
        verb.describe("silent")


def test_privileged_policies_are_marked(monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Seer(CheapestFirst):
        """Know it all."""

        name: ClassVar[str] = "seer"
        privileged: ClassVar[bool] = True

    monkeypatch.setitem(registry._BUILDERS, "seer", Seer)
    seer = verb.describe("seer")
    assert seer.privileged
    assert not verb.describe("cheapest_first").privileged
    assert "Know it all. Privileged. Source:" in verb.page([seer])


@pytest.mark.slow  # starts the command line
def test_the_verb_lists_all_and_writes_the_page(fleet, tmp_path):
    status, out, err = fleet("agents", f"out={tmp_path / 'new'}")
    assert (status, err) == (0, "")
    assert all(name in out for name in registry.all_names())
    assert "theta=0.5" in out
    assert (tmp_path / "new" / "agents.md").read_text("utf-8") == PAGE.read_text("utf-8")


@pytest.mark.slow  # starts the command line
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("outt=docs", "fleet: outt: no such setting of agents; did you mean out?"),
        ("out=", "fleet: out=: not of the form key=value"),
    ],
)
def test_wrong_settings_are_one_line(fleet, argument, message):
    status, out, err = fleet("agents", argument)
    assert (status, out) == (2, "")
    assert err == message + "\n"


@pytest.mark.slow  # starts the command line
def test_help_says_how_it_is_called(fleet):
    status, out, _ = fleet("agents", "--help")
    assert (status, out) == (0, verb.USAGE)

"""Policies by name, and errors that help."""

from __future__ import annotations

import dataclasses

import pytest

import agents
from agents.registry import setting_names

RULES = {
    "dc_only", "always_on", "random", "koopman", "plugged_full_first", "idle_gate",
    "longest_stay", "cheapest_first", "warm_first", "consolidate",
    "uniform_progress", "safety_net", "least_laxity", "hedged_spares",
    "lowest_price", "lowest_window", "wait_awhile", "lowest_carbon",
    "myopic_lp", "peak_shaver", "deliberately_bad",
}  # fmt: skip


def test_names_lists_every_rule() -> None:
    assert set(agents.names()) >= RULES


@pytest.mark.parametrize("name", agents.names())
def test_made_policy_is_a_policy_and_carries_its_name(name: str) -> None:
    policy = agents.make(name)
    assert isinstance(policy, agents.Policy)
    assert policy.name == name


@pytest.mark.parametrize("name", agents.names())
def test_settings_are_frozen(name: str) -> None:
    policy = agents.make(name)
    for setting in setting_names(name):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(policy, setting, 1.0)


def test_settings_reach_the_policy() -> None:
    policy = agents.make("cheapest_first", over_provision=1.3, defer_margin_h=2.0)
    assert (policy.over_provision, policy.defer_margin_h) == (1.3, 2.0)  # type: ignore[attr-defined]


def test_misspelt_name_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'cheepest_first'.*did you mean 'cheapest_first'\?"):
        agents.make("cheepest_first")


def test_misspelt_setting_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'over_provison'.*did you mean 'over_provision'\?"):
        agents.make("consolidate", over_provison=1.2)


def test_memory_is_not_a_setting() -> None:
    with pytest.raises(ValueError, match="known: full_soc, rest_steps"):
        agents.make("plugged_full_first", _kept=[])


def test_rule_without_settings_says_so() -> None:
    with pytest.raises(ValueError, match="known: none"):
        agents.make("dc_only", share=0.5)


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("random", "share", 1.5),
        ("koopman", "from_h", -1.0),
        ("plugged_full_first", "full_soc", 2.0),
        ("longest_stay", "min_stay_h", -0.5),
        ("longest_stay", "over_provision", float("nan")),
        ("cheapest_first", "slack_wanted_h", 0.0),
        ("warm_first", "quick_min", -1.0),
        ("consolidate", "band", -0.1),
        ("deliberately_bad", "excess", 0.5),
        ("idle_gate", "idle_h", -0.1),
        ("uniform_progress", "batch_haste", 0.0),
        ("safety_net", "finish_h", 0.0),
        ("least_laxity", "laxity_h", -1.0),
        ("hedged_spares", "spare_share", -0.1),
        ("hedged_spares", "fade", 1.5),
        ("lowest_price", "slot_h", 0.0),
        ("lowest_carbon", "slot_h", 0.0),
        ("myopic_lp", "backlog_h", 0.0),
        ("peak_shaver", "capital_share", 1.0),
        ("peak_shaver", "theta", -0.1),
    ],
)
def test_setting_out_of_range_is_refused_by_name(name: str, setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{setting}=.*expected a number in"):
        agents.make(name, **{setting: value})

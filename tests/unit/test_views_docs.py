"""docs/views.md says what the code does, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import fleet_env
from fleet_env.observations import FLEET_FIELDS
from fleet_env.registration import COHORT_ID, INDEX_ID
from fleet_env.views import COHORTS, INDEX_FEATURES, ROW_FIELDS, SUMMARY_FIELDS

PAGE = Path(__file__).parents[2] / "docs" / "views.md"
TEXT = PAGE.read_text() if PAGE.exists() else ""
pytestmark = pytest.mark.skipif(not TEXT, reason="docs/views.md absent: not a checkout")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_table_of_features_is_that_of_the_code() -> None:
    for f in INDEX_FEATURES:
        assert f"| `{f.name}` | {f.low:g} to {f.high:g} | {f.doc} |" in TEXT
        assert f.doc in (fleet_env.FleetIndexEnv.__doc__ or "")


@pytest.mark.parametrize("name", [INDEX_ID, COHORT_ID])
def test_sizes_of_the_page_are_those_of_the_spaces(name: str) -> None:
    env: Any = gym.make(name, num_cars=5)
    assert f"| `{name}` | `Box(-1, 1, {env.action_space.shape})` |" in TEXT
    assert f"`Box` of {env.observation_space.shape[0]} float32 numbers" in TEXT
    assert f"| as in `fleet` of Fleet-v0 | {len(FLEET_FIELDS)} |" in TEXT
    for group in ("feasible_", "duty_", "soc_from_", "stay_h_from_", "mean_"):
        num = sum(field.name.startswith(group) for field in SUMMARY_FIELDS)
        assert re.search(rf"\| `{group}<\w+>` \| {num} \|", TEXT), group
    assert f"{len(COHORTS)} in all" in TEXT


def test_sizes_with_a_margin_and_of_rows_are_those_of_the_code() -> None:
    managed: Any = gym.make(INDEX_ID, num_cars=5, margin_action=True)
    assert f"the action is `Box(-1, 1, {managed.action_space.shape})`" in TEXT
    assert f"its fleet ({len(ROW_FIELDS)} numbers" in TEXT


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("place", [*range(4), pytest.param(4, marks=pytest.mark.slow)])
def test_examples_run(place: int) -> None:
    if "stable_baselines3" in EXAMPLES[place]:
        pytest.importorskip("stable_baselines3", reason="stable-baselines3 absent: extra `rl`")
    exec(compile(EXAMPLES[place], f"docs/views.md[{place}]", "exec"), {})

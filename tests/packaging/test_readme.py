"""What the README tells people to type."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("code", SNIPPETS, ids=["api", "one_fleet", "many_fleets", "view", "bound"])
def test_every_snippet_runs(code):
    exec(compile(code, "README.md", "exec"), {})


def test_every_make_target_named_exists():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"`?make (\w+)`?\s", README):
        if target != "and":
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target

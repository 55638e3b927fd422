"""A real browser without a window, where the machine has one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with playwright.sync_playwright() as driver:
        try:  # without a path: the one that `playwright install chromium` brought
            chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"needs chromium on the path or in CHROMIUM: {error.message[:80]}")
        yield chromium
        chromium.close()


def opened(browser: Any, page: Path, **settings: Any) -> tuple[Any, list[str]]:
    """Open a page without network; errors of its scripts are collected as they happen."""
    context = browser.new_context(offline=True, **settings)
    tab, errors = context.new_page(), []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
    tab.goto(page.as_uri())
    return tab, errors

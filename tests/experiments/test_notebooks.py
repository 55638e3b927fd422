"""Every notebook runs from top to bottom, is short, and ships as it ran."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbformat")

FOLDER = Path(__file__).parents[2] / "experiments" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_CELLS = 10
LIMIT_S = 120


def test_all_notebooks_are_here():
    assert [file.stem[:2] for file in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_short_and_holds_what_it_showed(file):
    cells = nbformat.read(file, 4).cells
    assert len(cells) <= MAX_CELLS
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_notebook_runs(file, tmp_path):
    client = pytest.importorskip("nbclient", reason="needs nbclient")
    notebook = nbformat.read(file, 4)
    settings = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(notebook, timeout=LIMIT_S, resources=settings).execute()

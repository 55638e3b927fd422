"""Writes the page: data, style, script and the drawing library in one file."""

from __future__ import annotations

from pathlib import Path

from plotly.offline import get_plotlyjs

from experiments import pages
from experiments.html.payload import payload
from experiments.results import Results

TEMPLATE = Path(__file__).with_name("report.html")


def write_page(results: Results, file: Path) -> None:
    """Write the report of a comparison as one HTML file that needs no network.

    Parameters
    ----------
    results : Results
    file : Path
        About 5 MB, most of it plotly.js.
    """
    data, library = pages.embedded(payload(results)), get_plotlyjs()
    text = pages.page(TEMPLATE, title=_title(results), plotly=library, data=data)
    pages.write_text(file, text)


def _title(results: Results) -> str:
    names = list(results.cards)
    return f"{names[0] if len(names) == 1 else f'{len(names)} cards'}, {results.days}"

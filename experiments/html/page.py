"""Writes the page: data, style, script and the drawing library in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from experiments.html.payload import payload
from experiments.records import write_atomic
from experiments.results import Results

HERE = Path(__file__).parent


def write_page(results: Results, file: Path) -> None:
    """Write the report of a comparison as one HTML file that needs no network.

    Parameters
    ----------
    results : Results
    file : Path
        About 5 MB, most of it plotly.js.
    """
    text = render("report.html", title=_title(results), data=payload(results))
    write_atomic(file, lambda path: path.write_text(text, "utf-8"))


def render(template: str, title: str, data: dict[str, Any]) -> str:
    """Fill a template of this folder with its style, its script, the library and the data."""
    jinja = Environment(
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    stem = Path(template).stem
    return jinja.get_template(template).render(
        title=title,
        style=(HERE / f"{stem}.css").read_text("utf-8"),
        script=(HERE / f"{stem}.js").read_text("utf-8"),
        plotly=get_plotlyjs(),
        data=_embedded(data),
    )


def _embedded(data: dict[str, Any]) -> str:
    """JSON that may stand inside a script element, whatever names are in it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _title(results: Results) -> str:
    names = list(results.cards)
    return f"{names[0] if len(names) == 1 else f'{len(names)} cards'}, {results.days}"

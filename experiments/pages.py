"""What all pages share: templates, data inside a script element, one file in one go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.records import write_atomic


def fill(template: Path, **values: Any) -> str:
    """Fill a template of Jinja; what is not given is an error.

    Parameters
    ----------
    template : Path
        Of `NAME.html` or `NAME.md`; values are escaped in HTML alone.
    **values
        Names in the template.
    """
    jinja = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        autoescape=template.suffix == ".html",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return jinja.get_template(template.name).render(**values)


def page(template: Path, **values: Any) -> str:
    """Fill `NAME.html` with the style `NAME.css` and the script `NAME.js` beside it."""
    style, script = (template.with_suffix(end).read_text("utf-8") for end in (".css", ".js"))
    return fill(template, style=style, script=script, **values)


def embedded(data: Mapping[str, Any]) -> str:
    """JSON that may stand inside a script element, whatever names are in it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def write_text(file: Path, text: str) -> None:
    """Write a page whole or not at all."""
    write_atomic(file, lambda path: path.write_text(text, "utf-8"))

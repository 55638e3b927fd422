"""Writes the report: Markdown, page and figures, every number of it worked out."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from experiments import pages
from experiments.plots.viability import plot_funnel, plot_ledger
from experiments.records import write_atomic
from experiments.viability.figures import Viability, gw_at_night, stages
from experiments.viability.scenes import NUM_CARS, OPT_IN
from experiments.viability.verdict import verdict

HERE = Path(__file__).parent
TABLES = {  # of the report: column -> head
    "power": {
        "scene": "fleet",
        "stage": "stage",
        "mean": "mean",
        "low": "lowest hour",
        "high": "highest hour",
    },
    "money": {
        "scene": "fleet",
        "policy": "policy",
        "usd": "USD per car-month",
        "usd_low": "95 % from",
        "usd_high": "to",
        "bound": "bound",
        "score": "score",
    },
    "break_even": {
        "scene": "fleet",
        "on_duty_h_per_month": "hours on duty a month",
        "utilisation": "utilisation",
        "break_even_utilisation": "break-even utilisation",
        "pay_usd_per_month": "owner paid a month",
        "break_even_usd_per_month": "break-even pay a month",
        "break_even_usd_per_on_duty_h": "break-even pay per hour on duty",
    },
    "energy": {
        "scene": "fleet",
        "policy": "policy",
        "kwh": "kWh/Mtok",
        "datacentre_kwh": "data centre",
        "co2_g": "gCO2/Mtok",
        "datacentre_co2_g": "data centre ",
    },
    "estimates": {
        "scene": "fleet",
        "quantity": "quantity",
        "ours": "ours",
        "estimate": "estimate",
        "ratio": "ratio",
        "section": "section",
        "why": "why they differ",
    },
}


def tables(found: Viability) -> dict[str, pd.DataFrame]:
    """Lay out every table of the report, numbers as they are."""
    out = {
        name: getattr(found, name)[list(heads)].rename(columns=heads)
        for name, heads in TABLES.items()
    }
    ledger = found.ledger.rename(columns={"scene": "fleet"})
    lines = [name for name in ledger if not (ledger[name] == 0).all()]
    return out | {"ledger": ledger[lines]}


def funnel_figure(found: Viability) -> Figure:
    """Draw the funnel of every fleet."""
    figure = Figure(figsize=(12, 6.6), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True)
    for ax, (name, scene) in zip(axes.T.flat, found.scenes.items(), strict=True):
        part = found.funnel[found.funnel["scene"] == name].set_index("hour")
        title = f"{scene.hardware}, {scene.chip_w:.0f} W; habits {scene.habits}"
        plot_funnel(ax, stages(part) * scene.nameplate_gw, title)
    figure.suptitle(
        f"{NUM_CARS / 1e6:.0f} million cars on a weekday, local time", x=0.01, ha="left"
    )
    return figure


def ledger_figure(found: Viability) -> Figure:
    """Draw the cost of a million tokens, car against data centre."""
    figure = Figure(figsize=(9, 1.4 + 0.5 * len(found.ledger)), layout="constrained")
    plot_ledger(figure.add_subplot(), found.ledger)
    return figure


def write(found: Viability, out: Path, page: Path | None = None) -> None:
    """Write viability.md with its two figures, and viability.html, into a folder.

    Parameters
    ----------
    found : Viability
    out : Path
    page : Path, optional
        Also write the Markdown there, with the figures in `figures` beside it.
    """
    figures = {"viability_funnel": funnel_figure(found), "viability_ledger": ledger_figure(found)}
    pngs = {name: _png(figure) for name, figure in figures.items()}
    inline = {n: f"data:image/png;base64,{base64.b64encode(p).decode()}" for n, p in pngs.items()}
    pages.write_text(out / "viability.html", render(found, "viability.html", inline))
    _with_figures(found, out / "viability.md", "", pngs)
    if page is not None:
        _with_figures(found, page, "figures/", pngs)


def _with_figures(found: Viability, page: Path, under: str, pngs: dict[str, bytes]) -> None:
    for name, png in pngs.items():
        _bytes_file(page.parent / under / f"{name}.png", png)
    files = {name: f"{under}{name}.png" for name in pngs}
    pages.write_text(page, render(found, "viability.md", files))


def _bytes_file(path: Path, content: bytes) -> None:
    write_atomic(path, lambda file: file.write_bytes(content))


def render(found: Viability, template: str, pictures: dict[str, str]) -> str:
    """Fill one of the two templates."""
    base = next(iter(found.scenes.values())).config
    form = html_table if template.endswith("html") else markdown_table
    return pages.fill(
        HERE / template,
        verdict=verdict(found),
        tables={name: form(frame) for name, frame in tables(found).items()},
        pictures=pictures,
        load=base.demand.load,
        trusted=base.demand.trusted_only_share,
        dc_usd_per_kwh=base.datacentre.electricity_usd_per_kwh,
        days=found.days,
        cars=base.num_cars,
        opt_in=OPT_IN,
        night=gw_at_night(found, "ai5_paid"),
    )


def markdown_table(frame: pd.DataFrame) -> str:
    """Lay out a frame as a table of Markdown."""
    head = [str(name).replace("_", " ") for name in frame]
    lines = [head, ["---"] * len(head)]
    lines += [[_text(value) for value in row] for row in frame.itertuples(index=False)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def html_table(frame: pd.DataFrame) -> str:
    """Lay out a frame as a table of HTML."""
    shown = frame.map(_text).rename(columns=lambda name: str(name).replace("_", " "))
    text: str = shown.to_html(index=False, border=0, escape=True)
    return text


def _text(value: object) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.3g}"
    return str(value)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=130, format="png")
    return buffer.getvalue()

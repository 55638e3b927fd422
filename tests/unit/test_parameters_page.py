"""docs/parameters.md states what the code uses: settings, constants and shipped tables."""

from __future__ import annotations

import ast
import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from fleet_env.config import EnvConfig
from fleet_env.config_world import RegionConfig, ShockConfig, ShocksConfig
from fleet_env.data import read_table
from fleet_env.dynamics.ageing import LAWS
from fleet_env.generators.shocks import KINDS
from fleet_env.scenarios import scenario
from fleet_env.types import LFP, NCA
from fleet_env.uncertain import UNCERTAIN

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "parameters.md").read_text("utf-8")
MODULES = [
    *sorted(
        f"{folder}.{path.stem}"
        for folder in ("dynamics", "generators")
        for path in (ROOT / "fleet_env" / folder).glob("[!_]*.py")
    ),
    "regions",
]
ORIGINS = {"measured", "cited", "computed", "fitted", "est", "design"}

Table = list[list[str]]


def tables(page: str) -> list[Table]:
    """Rows of cells of every table, heading first, the dashed line left out."""
    found: list[Table] = []
    for block in re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.split("\n")]
        found.append([row for row in rows[:-1] if set("".join(row)) != {"-"}])
    return found


def code(cell: str) -> str:
    """Return the text of a cell that is nothing but code, else an empty one."""
    match = re.fullmatch(r"`([^`]+)`", cell)
    return match[1] if match else ""


def literal(text: str) -> Any:
    """Value of a cell: a Python literal or the quotient of two."""
    value, *divisor = (ast.literal_eval(part) for part in text.split(" / "))
    return value / divisor[0] if divisor else value


def settings(config: object, prefix: str = "") -> dict[str, Any]:
    """Collect all settings of a card by `section.field`, sections of sections too.

    The defaults of a region count as `regions.*`.
    """
    found: dict[str, Any] = {}
    for f in fields(config):  # type: ignore[arg-type]
        name, value = prefix + f.name, getattr(config, f.name)
        if is_dataclass(value):
            found |= settings(value, f"{name}.")
            continue
        found[name] = value
        if name == "regions":
            found |= settings(RegionConfig(), "regions.*.")
    return found


def module(name: str) -> ModuleType:
    return import_module(name if name.startswith("experiments.") else f"fleet_env.{name}")


TABLES = tables(PAGE)
(SHOCKS,) = (table for table in TABLES if code(table[0][0]) == "shocks")
NAMED = [
    *((code(row[0]), row[1]) for table in TABLES for row in table[1:] if table[0][0] == "name"),
    *(
        (f"shocks.{row[0]}.{field}", value)
        for row in SHOCKS[1:]
        for field, value in zip(SHOCKS[0][1:], row[1:], strict=True)
    ),
]
SETTINGS = settings(EnvConfig())
CONSTANTS = [
    (name, value)
    for name, value in NAMED
    if name.rpartition(".")[0] in MODULES or name.startswith("experiments.")
]
CARDS = [row for table in TABLES for row in table[1:] if table[0][0] == "card"]
SHIPPED = {code(table[0][0]): table for table in TABLES if code(table[0][0]).endswith(".csv")}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_on_the_page_once_with_its_default(name: str) -> None:
    stated = [value for key, value in NAMED if key == name]
    assert len(stated) == 1, f"{name} has {len(stated)} rows in docs/parameters.md, expected one"
    value = literal(stated[0])
    assert value == SETTINGS[name]
    assert isinstance(value, bool) == isinstance(SETTINGS[name], bool)


def test_settings_reach_into_sections_of_sections() -> None:
    shocks = {f"shocks.{kind}.{f.name}" for kind in KINDS for f in fields(ShockConfig)}
    assert {name for name in SETTINGS if name.startswith("shocks.")} == {*shocks, "shocks.holidays"}
    assert {"regions", "regions.*.share", "regions.*.delivery_usd_per_kwh"} <= set(SETTINGS)
    assert SETTINGS["randomise"] == {}
    assert not any(is_dataclass(value) for value in SETTINGS.values())


def test_shocks_of_the_page_are_those_of_the_code() -> None:
    sections = [f.name for f in fields(ShocksConfig) if f.name != "holidays"]
    assert [row[0] for row in SHOCKS[1:]] == sections
    assert SHOCKS[0][1:] == [f.name for f in fields(ShockConfig)]
    (sources,) = (table for table in TABLES if table[0][0] == "shock")
    assert [row[0] for row in sources[1:]] == sections


@pytest.mark.parametrize("row", CARDS, ids=lambda row: ".".join(map(code, row[:2])))
def test_settings_of_cards_are_those_of_the_cards(row: list[str]) -> None:
    value: Any = scenario(code(row[0]))
    for part in code(row[1]).split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    assert literal(row[2]) == value


def test_every_number_says_where_it_comes_from() -> None:
    """A kind of the list in every row, and a source unless it is a choice or an estimate."""
    rated = [table for table in TABLES if "kind" in table[0][1:] and "source" in table[0]]
    assert len(rated) > 15
    for table in rated:
        for row in table[1:]:
            cells = dict(zip(table[0], row, strict=True))
            origins = re.split(r"[,;] ", re.sub(r" \(\w+\)", "", cells["kind"]))
            assert set(origins) <= ORIGINS, row
            assert cells["source"] or set(origins) <= {"est", "design"}, row


def test_uncertain_parameters_stay_within_the_ranges_of_the_page() -> None:
    drawn = yaml.safe_load((ROOT / "conf" / "randomise" / "uncertain.yaml").read_text("utf-8"))
    assert set(drawn) == set(UNCERTAIN)
    ranges = {code(row[0]): row[3] for t in TABLES for row in t[1:] if "range" in t[0][3:4]}
    for name, (low, high) in drawn.items():
        least, most = map(float, ranges[f"{UNCERTAIN[name]}.{name}"].split("-"))
        assert least <= low < high <= most, name


def test_every_name_on_the_page_exists() -> None:
    """No setting that was renamed or dropped lives on."""
    tables_named = {"network_broadband.csv"}
    known = {*SETTINGS, *(name for name, _ in CONSTANTS), *tables_named}
    prose = {"`eta_bw` of every row of section 1a", "`eta_c` of every row of section 1a"}
    rows = [row[0] for table in TABLES for row in table[1:] if table[0][0] == "name"]
    assert [cell for cell in rows if code(cell) not in known and cell not in prose] == []


@pytest.mark.parametrize(("name", "value"), CONSTANTS)
def test_constants_are_those_of_the_code(name: str, value: str) -> None:
    owner, _, constant = name.rpartition(".")
    assert literal(value) == getattr(module(owner), constant)
    assert [key for key, _ in NAMED].count(name) == 1


@pytest.mark.parametrize("name", MODULES)
def test_every_constant_with_a_decimal_point_is_on_the_page(name: str) -> None:
    """Whole numbers are counts and codes: they may stay off the page."""
    tree = ast.parse(Path(str(module(name).__file__)).read_text("utf-8"))
    decimal = [
        f"{name}.{constant}"
        for constant in vars(module(name))
        if re.fullmatch("_?[A-Z][A-Z0-9_]*", constant)
        and _is_decimal(getattr(module(name), constant))
        and not _imported(tree, constant)
    ]
    assert set(decimal) <= {key for key, _ in CONSTANTS}


def _is_decimal(value: object) -> bool:
    """Whether a constant is a number with a decimal point or a tuple of such numbers."""
    numbers = value if isinstance(value, tuple) and value else (value,)
    return all(type(number) is float for number in numbers)


def _imported(tree: ast.Module, constant: str) -> bool:
    return any(
        alias.name == constant
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    )


def test_the_laws_of_ageing() -> None:
    (table,) = (table for table in TABLES if code(table[0][0]) == "dynamics.ageing.LAWS")
    assert [table[0][1], table[0][2]] == ["LFP", "NCA"]
    for row in table[1:]:
        for chemistry, cell in ((LFP, row[1]), (NCA, row[2])):
            assert literal(cell) == getattr(LAWS[chemistry], row[0])
    constants = [f.name for f in fields(LAWS[LFP]) if f.name != "stress_is_potential"]
    assert [row[0] for row in table[1:]] == constants


@pytest.mark.parametrize("file", SHIPPED)
def test_tables_are_those_shipped(file: str) -> None:
    head, *rows = SHIPPED[file]
    shipped = read_table(file)
    key = next(iter(shipped))
    columns = [shipped[name].tolist() for name in (key, *head[1:])]
    is_text = [isinstance(column[0], str) for column in columns]
    stated = {
        tuple(c if text else float(c) for c, text in zip(row, is_text, strict=True)) for row in rows
    }
    keys = {row[0] for row in stated}
    assert stated == {row for row in zip(*columns, strict=True) if row[0] in keys}
    if file != "tariffs.csv":  # of which the page repeats the default one only
        assert keys == set(columns[0])
        assert {key, *head[1:]} == set(shipped)


def test_the_parser_finds_what_the_page_holds() -> None:
    assert len(CONSTANTS) > 75
    assert len(CARDS) > 5
    assert set(SHIPPED) == {
        "accelerators.csv",
        "models.csv",
        "vehicles_classes.csv",
        "chargers.csv",
        "obc_efficiency.csv",
        "tariffs.csv",
    }


def test_sections_that_comments_cite_exist() -> None:
    headings = set(re.findall(r"^## (\w+)\.", PAGE, re.MULTILINE))
    cited: set[str] = set()
    for path in (ROOT / "fleet_env").rglob("*.*"):
        if path.suffix in {".py", ".csv"}:
            cited |= set(re.findall(r"domain(?:\.md)? (\d[a-d]?)", path.read_text("utf-8")))
    assert cited
    assert cited <= headings

"""Read checked columns of a CSV file; every fault names file, line, column, value and the fix."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

import numpy as np
from numpy.typing import NDArray

from fleet_env.types import IntArray

_CHUNK_ROWS = 65_536


class TraceError(ValueError):
    """A trace file that cannot be used; the message names file, line, column, value and fix."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and the range beyond which a number can only be a mistake of unit or sign."""

    name: str
    low: float = 0.0
    high: float = 0.0
    unit: str = ""  # "" for a column of text
    fix: str = "correct the value or its unit"
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Checked columns of one file."""

    path: Path
    lines: IntArray  # line in the file of each row
    numbers: dict[str, NDArray[np.float64]]
    texts: dict[str, NDArray[np.str_]]
    notes: dict[str, tuple[int, str]]  # "# name: value" above the header: line, value

    def fault(self, row: int, column: str, expected: str, fix: str) -> TraceError:
        """Error about the cell of a row, for the caller to raise."""
        cell = self.texts[column][row] if column in self.texts else self.numbers[column][row]
        value = cell if isinstance(cell, str) else f"{cell:.12g}"
        return _fault(self.path, int(self.lines[row]), column, value, expected, fix)

    def note(self, name: str, high: int) -> tuple[int, ...] | None:
        """Whole numbers of a note above the header, None where there is no such note."""
        if name not in self.notes:
            return None
        line, text = self.notes[name]
        cells = [cell.strip() for cell in text.split(",")]
        if not all(cell.isdecimal() and int(cell) <= high for cell in cells):
            expected = f"whole numbers from 0 to {high}, with commas between them"
            raise _fault(self.path, line, name, text, expected, "correct the line")
        return tuple(int(cell) for cell in cells)


def _fault(path: Path, line: int, column: str, value: str, expected: str, fix: str) -> TraceError:
    return TraceError(
        f"{path}:{line} column '{column}' = '{value}': expected {expected}, fix: {fix}"
    )


def find_file(folder: Path, pattern: str) -> Path:
    """Find the one file of a folder that fits the pattern.

    Raises
    ------
    TraceError
        If there is none or more than one.
    """
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        there = ", ".join(sorted(p.name for p in folder.glob("*.csv*"))) or "no .csv file"
        raise TraceError(
            f"{folder}: {len(found)} files {pattern} (there: {there}): expected one, "
            "fix: check the folder and the region"
        )
    return found[0]


def read_header(path: str | Path) -> list[str]:
    """Read the names of the columns of a file."""
    with _opened(Path(path)) as stream:
        return _header(Path(path), stream)[0]


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a text file; what the file system and the codecs complain about is a `TraceError`."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:  # utf-8-sig: spreadsheets put a byte order mark before the first name
        with cast("TextIO", opener(path, "rt", encoding="utf-8-sig", newline="")) as stream:
            yield stream
    except UnicodeDecodeError as error:
        raise TraceError(
            f"{path}:{_undecodable_line(path)}: byte {error.object[error.start]:#04x}: "
            "expected UTF-8 text, fix: save the file as UTF-8"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(
            f"{path}: damaged gzip data ({error}): expected a whole file, fix: fetch it again"
        ) from error
    except (OSError, csv.Error) as error:
        raise TraceError(
            f"{path}: {error}: expected a readable CSV file, fix: check the path and the file"
        ) from error


def _undecodable_line(path: Path) -> int:
    opener = gzip.open if path.suffix == ".gz" else open
    with cast("BinaryIO", opener(path, "rb")) as stream:
        text = stream.read()
    good = text.decode("utf-8", errors="surrogateescape")
    first = next(i for i, letter in enumerate(good) if "\udc80" <= letter <= "\udcff")
    return good.count("\n", 0, first) + 1


def _header(path: Path, stream: TextIO) -> tuple[list[str], int, dict[str, tuple[int, str]]]:
    """Return the column names, the line they stand in, and the notes above them."""
    notes: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(stream, start=1):
        if not line.startswith("#"):
            return [name.strip() for name in next(csv.reader([line]))], number, notes
        name, colon, value = line[1:].partition(":")
        if colon:
            notes[name.strip()] = (number, value.strip())
    raise TraceError(f"{path}: no header line: expected a CSV file with rows, fix: fetch it again")


def read_columns(path: Path, columns: Sequence[Column]) -> Table:
    """Read the wanted columns of a file, in chunks, and check every cell.

    Parameters
    ----------
    path : Path
        A ``.csv`` or ``.csv.gz`` file; lines of ``#`` may stand above the header, blank lines
        are skipped, further columns are ignored.
    columns : sequence of Column

    Returns
    -------
    Table

    Raises
    ------
    TraceError
        At the first fault.
    """
    with _opened(path) as stream:
        names, header_line, notes = _header(path, stream)
        wanted = [c for c in columns if c.name in names or not c.optional]
        for column in wanted:
            if column.name not in names:
                expected = f"a column of this name (there: {', '.join(names)})"
                raise _fault(path, header_line, column.name, "", expected, "add or rename it")
        reader = csv.reader(stream)
        rows = ((header_line + reader.line_num, row) for row in reader if row)
        chunks = []
        while chunk := list(islice(rows, _CHUNK_ROWS)):
            chunks.append(_check_chunk(path, names, wanted, chunk))
    if not chunks:
        raise TraceError(f"{path}: no rows: expected at least one, fix: fetch the file again")
    joined = {c.name: np.concatenate([cells[c.name] for _, cells in chunks]) for c in wanted}
    return Table(
        path=path,
        lines=np.concatenate([lines for lines, _ in chunks]),
        numbers={c.name: joined[c.name] for c in wanted if c.unit},
        texts={c.name: joined[c.name] for c in wanted if not c.unit},
        notes=notes,
    )


def _check_chunk(
    path: Path, names: list[str], columns: Sequence[Column], rows: list[tuple[int, list[str]]]
) -> tuple[IntArray, dict[str, NDArray[Any]]]:
    """Turn numbered rows of text into line numbers and one checked array per column."""
    for line, row in rows:
        if len(row) != len(names):
            expected = f"{len(names)} cells as in the header"
            fix = "complete the row, or fetch the file again if it ends here"
            raise _fault(path, line, names[-1], f"row of {len(row)} cells", expected, fix)
    lines = np.array([line for line, _ in rows])
    arrays: dict[str, NDArray[Any]] = {}
    for column in columns:
        place = names.index(column.name)
        cells = [row[place] for _, row in rows]
        arrays[column.name] = (
            _numbers(path, column, lines, cells) if column.unit else np.array(cells)
        )
    return lines, arrays


def _numbers(path: Path, column: Column, lines: IntArray, cells: list[str]) -> NDArray[np.float64]:
    expected = f"a number from {column.low:g} to {column.high:g} [{column.unit}]"
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = np.array([_float_or_nan(cell) for cell in cells])
    ok = (values >= column.low) & (values <= column.high)  # False for NaN
    if not ok.all():
        row = int(np.argmin(ok))
        raise _fault(path, int(lines[row]), column.name, cells[row], expected, column.fix)
    return values


def _float_or_nan(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan

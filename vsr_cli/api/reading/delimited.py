"""Delimited tables (CSV, TSV) from other programs; errors name the line and the remedy."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ...errors import VsrError
from ...files.names import nfc, shown
from .text_files import open_text, refuse_unreadable, undecodable

DELIMITERS = (",", ";", "\t", "|")
LONGEST_CELL = 16 * 2**20
"""Characters."""
MOST_LINES = 2000
"""Maximum number of lines of a row; more mean an unclosed quote."""
SEPARATOR = re.compile("sep=(.)", re.IGNORECASE)
"""A first line in which spreadsheets declare the delimiter."""
QUOTES = "put the whole text in quotes, and double each quote in it"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """The requested cells of a row, without surrounding white space; "" if there is none."""

    line: int
    """The number of the row's last line in the file."""
    cells: Mapping[str, str]
    """By the keys of `columns`."""
    problem: str | None
    """Why the cells are unreliable, if they are; those before the error may be correct."""


def read_table(
    path: Path,
    columns: Mapping[str, str],
    *,
    delimiter: str | None = None,
    hint: Callable[[str], str] = lambda name: "",
    is_row: Callable[[Mapping[str, str]], bool] | None = None,
) -> Iterator[TableRow]:
    """Yield the rows of a table with a header, one at a time.

    `columns` maps keys of `TableRow.cells` to the headers of the requested columns. Case and white space of headers
    are ignored unless that is ambiguous. The default of `delimiter` is the tab for .tsv and the comma otherwise, unless
    the first line is "sep=;" or only another delimiter finds the columns. The file is in UTF-8, or in UTF-16 with a
    BOM, and may be compressed by gzip.

    With `is_row`, which decides whether cells are certainly those of a row, rows with an unclosed quote are detected.

    Raises VsrError if the file cannot be read, is not a table, or lacks a column; `hint` returns how the user names
    another one.
    """
    where = shown(str(path))
    with refuse_unreadable(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise VsrError(f"{where}: is a pipe or a device, which cannot be read twice; save it to a file first")
    try:
        with refuse_unreadable(path), open_text(path, newline="") as file:
            lines = _Lines(file)
            chosen, width, indices = _header(lines, where, columns, delimiter, usual=_usual(path), hint=hint)

            def picked(cells: list[str]) -> dict[str, str]:
                return {name: cells[at].strip() if at < len(cells) else "" for name, at in indices.items()}

            def is_whole(cells: list[str]) -> bool:
                return is_row is not None and len(cells) == width and is_row(picked(cells))

            while record := _record(lines, chosen):
                if swallowed := _swallowed(record, chosen, is_whole):
                    record = swallowed
                    lines.put_back(record.taken[1:])
                problem = record.problem
                if problem is None and len(record.cells) > width:
                    problem = "has more cells than there are columns; put texts in quotes"
                if any(cell.strip() for cell in record.cells):
                    yield TableRow(line=lines.number, cells=picked(record.cells), problem=problem)
    except UnicodeDecodeError as error:
        raise VsrError(f"{where}: {undecodable(path)}") from error
    except ValueError as error:
        raise VsrError(f"{where}: cannot be read as a table ({error}); save it as CSV in UTF-8") from error


def _usual(path: Path) -> str:
    return "\t" if ".tsv" in (suffix.lower() for suffix in path.suffixes) else ","


def _header(
    lines: _Lines,
    where: str,
    columns: Mapping[str, str],
    given: str | None,
    *,
    usual: str,
    hint: Callable[[str], str],
) -> tuple[str, int, dict[str, int]]:
    """Read the header. Return the delimiter, the number of columns, and the indices of the requested ones."""
    header = _Record([], None, [])
    for delimiter in (given,) if given else dict.fromkeys((usual, *DELIMITERS)):
        record = _record(lines, delimiter) or header
        if not given and (declared := SEPARATOR.fullmatch("".join(record.taken).strip("\r\n"))):
            return _header(lines, where, columns, declared[1], usual=usual, hint=hint)
        if indices := _column_indices(record.cells, columns):
            return delimiter, len(record.cells), indices
        if not header.taken:
            header = record  # by the usual delimiter, for error messages
        lines.put_back(record.taken)
    if any("\0" in line for line in header.taken):
        raise VsrError(f"{where}: contains zeros, like UTF-16 without a BOM; save it as CSV in UTF-8")
    raise VsrError(_lacking(where, header.cells, columns, hint=hint))


class _Lines:
    """The lines of a file, with a counter and a way to put lines back."""

    def __init__(self, file: Iterator[str]) -> None:
        self._file = file
        self._back: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._file)
        self.number += 1
        return line

    def put_back(self, lines: list[str]) -> None:
        self._back += reversed(lines)
        self.number -= len(lines)


@dataclass(frozen=True)
class _Record:
    """A row as it is in the file."""

    cells: list[str]
    problem: str | None
    taken: list[str]
    """Its lines."""


def _record(lines: _Lines, delimiter: str) -> _Record | None:
    """Read the next row that is not blank; None at the end.

    A misplaced or unclosed quote affects only the line in which its row begins.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))  # the default refuses cells of 128 KiB
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        return None
    taken = [first]

    def following() -> Iterator[str]:
        yield first
        for line in lines:
            taken.append(line)
            if len(taken) > MOST_LINES:
                return
            yield line

    try:
        return _Record(next(csv.reader(following(), delimiter=delimiter, strict=True)), None, taken)
    except csv.Error as error:
        lines.put_back(taken[1:])
        problem = f"its quotes do not match ({error}); {QUOTES}"
        if "field limit" in str(error):
            problem = f"a cell has over {LONGEST_CELL // 2**20} million characters; name images by their paths"
        return _Record(_cells(first, delimiter), problem, [first])


def _swallowed(record: _Record, delimiter: str, is_row: Callable[[list[str]], bool]) -> _Record | None:
    """Return a row without its further lines if one of them is a row itself, as after an unclosed quote."""
    if record.problem or not any(is_row(_cells(line, delimiter)) for line in record.taken[1:]):
        return None
    return _Record(_cells(record.taken[0], delimiter), f"a quote is not closed; {QUOTES}", record.taken)


def _cells(line: str, delimiter: str) -> list[str]:
    """Split one line, even if its quotes are malformed."""
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)


def _key(name: str) -> str:
    return " ".join(nfc(name).split()).casefold()


def _column_indices(header: list[str], columns: Mapping[str, str]) -> dict[str, int] | None:
    """Return the index of each requested column; None if one is missing or ambiguous."""
    exact = [" ".join(nfc(name).split()) for name in header]
    folded = [name.casefold() for name in exact]
    indices: dict[str, int] = {}
    for name, column in columns.items():
        for names, wanted in ((exact, " ".join(nfc(column).split())), (folded, _key(column))):
            if names.count(wanted) == 1:
                indices[name] = names.index(wanted)
                break
        else:
            return None
    return indices


def _lacking(where: str, header: list[str], columns: Mapping[str, str], *, hint: Callable[[str], str]) -> str:
    names = [" ".join(name.split()) for name in header]
    keys = list(map(_key, names))
    for column in columns.values():
        if keys.count(_key(column)) > 1:
            return f"{where}: two columns are called {column!r}; rename one"
    missing = {name: column for name, column in columns.items() if _key(column) not in keys}
    return f"{where}: {describe_missing_columns(missing, names, hint=hint)}"


def describe_missing_columns(missing: Mapping[str, str], known: Sequence[str], *, hint: Callable[[str], str]) -> str:
    """Return one line on columns that a table lacks, with similar names of its own columns.

    `missing` maps what a column is requested as to its name; `hint` returns how the user names another column.
    """
    lines = []
    for name, column in missing.items():
        close = get_close_matches(column, known, n=3, cutoff=0.5)
        lines.append(f"no column {column!r}" + (f"; did you mean {' or '.join(close)}?" if close else "") + hint(name))
    return f"{'; '.join(lines)}; known: {', '.join(known)[:200] or 'none'}"

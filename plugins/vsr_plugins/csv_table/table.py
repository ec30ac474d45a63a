"""Reads the rows of a table, and puts those of a story in order."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from vsr_cli.api import VsrError

from . import CsvOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The cells of a row that are asked for, without surrounding white space; "" where there is none."""

    line: int
    """The number of the row's last line in the file."""
    story: str
    image: str
    text: str
    order: str
    group: str
    split: str
    has_extra_cells: bool


def read_rows(path: Path, options: CsvOptions) -> Iterator[Row]:
    """Yield the rows of a table in UTF-8, with or without a mark.

    Raises VsrError if it cannot be read, is no such table, or lacks a column.
    """
    delimiter = options.delimiter or ("\t" if path.suffix.lower() == ".tsv" else ",")
    where = shown(str(path))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter=delimiter, strict=True)
            columns = [name.strip() for name in rows.fieldnames or ()]
            rows.fieldnames = columns
            for option in ("story", "image", "text", "order", "group", "split"):
                _check_column(where, getattr(options, option), columns, option)

            for cells in rows:

                def cell(column: str | None, cells: dict[str, str | None] = cells) -> str:
                    # A short row gives None for the cells that it lacks.
                    return (cells[column] or "").strip() if column is not None else ""

                yield Row(
                    line=rows.line_num,
                    story=cell(options.story),
                    image=cell(options.image),
                    text=cell(options.text).replace("\r\n", "\n").replace("\r", "\n"),
                    order=cell(options.order),
                    group=cell(options.group),
                    split=cell(options.split),
                    has_extra_cells=None in cells,
                )
    except OSError as error:
        raise VsrError(f"{where}: the file cannot be read ({error.strerror}); check its permissions") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise VsrError(f"{where}: not a table in UTF-8 ({error}); save it as CSV in UTF-8, texts in quotes") from error


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Sort rows by their order: as numbers if all are, else naturally ("p2" before "p10")."""
    try:
        numbers = [float(row.order) for row in rows]
    except ValueError:
        numbers = [math.nan]
    if all(map(math.isfinite, numbers)):
        return [row for _, row in sorted(zip(numbers, rows, strict=True), key=lambda pair: pair[0])]
    return sorted(rows, key=lambda row: _natural(row.order))


def shown(name: str) -> str:
    """Give a name with "?" for bytes that are no UTF-8, which Python holds as lone surrogates."""
    return name.encode(errors="replace").decode()


def _natural(text: str) -> list[str | tuple[int, str]]:
    # Text and digits take turns, text first, so one never meets the other. Digits without zeros in front compare
    # by length first: int() refuses some thousands of them.
    parts = re.split(r"([0-9]+)", text.casefold())
    digits = [part.lstrip("0") for part in parts]
    return [(len(digits[i]), digits[i]) if i % 2 else part for i, part in enumerate(parts)]


def _check_column(where: str, column: str | None, columns: list[str], option: str) -> None:
    if column is None:
        return
    if columns.count(column) == 1:
        return
    if column in columns:
        raise VsrError(f"{where}: two columns are called {column!r}; rename one")
    close = get_close_matches(column, columns, n=3, cutoff=0.5)
    known = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(columns)[:200] or 'none'}"
    raise VsrError(f"{where}: no column {column!r}; {known} (--set dataset.{option}=COLUMN)")

"""Rows of a table, and their order within a story."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vsr_cli.api import find_file, natural, nfc, read_table, tidy_text

from . import CsvOptions

COLUMNS = ("story", "image", "text", "order", "group", "split")
NO_TEXTS = frozenset({"nan", "NaN", "<NA>", "null", "NULL", "None", "#N/A"})
"""Values of cells that programs write for a missing text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The cells of a row that are asked for, without surrounding whitespace; "" where there is none."""

    line: int
    """The number of the row's last line in the file."""
    story: str
    image: str
    text: str
    order: str
    group: str
    split: str
    problem: str | None
    """Why the image and the text cannot be relied upon, if they cannot."""


def read_rows(path: Path, options: CsvOptions) -> Iterator[Row]:
    """Yield the rows of a table. Raises VsrError if it cannot be read, is no such table, or lacks a column."""
    columns = {name: column for name in COLUMNS if (column := getattr(options, name)) is not None}
    folder = path.parent.resolve()

    def is_row(cells: Mapping[str, str]) -> bool:
        return bool(cells["story"]) and isinstance(find_file(folder, cells["image"]), Path)

    def hint(name: str) -> str:
        return f" (--set dataset.{name}=COLUMN)"

    for row in read_table(path, columns, delimiter=options.delimiter, hint=hint, is_row=is_row):
        cells = {name: row.cells.get(name, "") for name in COLUMNS}
        cells |= {name: nfc(cells[name]) for name in ("story", "group")}
        text = tidy_text(cells.pop("text"))
        yield Row(line=row.line, text="" if text in NO_TEXTS else text, problem=row.problem, **cells)


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Sort rows by their order: as numbers if all are, else naturally ("p2" before "p10")."""
    try:
        numbers = [float(row.order) for row in rows]
    except ValueError:
        numbers = [math.nan]
    if all(map(math.isfinite, numbers)):
        return [row for _, row in sorted(zip(numbers, rows, strict=True), key=lambda pair: pair[0])]
    return sorted(rows, key=lambda row: natural(row.order)[0])

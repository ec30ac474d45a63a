"""The dataset `csv`: stories from a table with one frame per row, next to its images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vsr_cli.api import (
    Dataset,
    Frame,
    NoFile,
    Note,
    Rejected,
    Story,
    find_file,
    natural,
    nfc,
    own_name,
    read_table,
    shown,
    source_file,
    tidy_text,
)

from . import CsvOptions

COLUMNS = ("story", "image", "text", "order", "group", "split")
NO_TEXTS = frozenset({"nan", "NaN", "<NA>", "null", "NULL", "None", "#N/A"})
"""Values of cells that programs write for a missing text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The requested cells of a row, without surrounding whitespace; "" if there is none."""

    line: int
    """The number of the row's last line in the file."""
    story: str
    image: str
    text: str
    order: str
    group: str
    split: str
    problem: str | None
    """Why the image and the text are unreliable, if they are."""


def read_rows(path: Path, options: CsvOptions) -> Iterator[Row]:
    """Yield the rows of a table. Raises VsrError if it cannot be read, is no such table, or lacks a column."""
    columns = {name: column for name in COLUMNS if (column := getattr(options, name)) is not None}
    folder = path.parent.resolve()

    def is_row(cells: Mapping[str, str]) -> bool:
        return bool(cells["story"]) and isinstance(find_file(folder, cells["image"]), Path)

    def hint(name: str) -> str:
        return f" (--set dataset.{name}=COLUMN)"

    for row in read_table(path, columns, hint=hint, is_row=is_row):
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


SPLITS = ("train", "validation", "test")


def build(options: CsvOptions) -> Dataset:
    """Return the dataset. Nothing is read yet."""
    return CsvDataset(options)


class CsvDataset:
    """Stories from a table. The source is the file; paths of images are relative to its folder.

    Rows of one story need not be adjacent, so the table's strings are held in memory; images are not. Codes
    of the notes: missing_image, missing_text, outside_folder, extra_cells, bad_quotes, duplicate_order, unknown_split;
    of what is rejected: missing_story, bad_quotes (a row), missing_order, two_groups, two_splits.
    """

    def __init__(self, options: CsvOptions) -> None:
        self.options = options

    def read(self, source: str | None) -> Iterator[Story | Rejected]:
        """Yield rows that name no story as rejected, then the stories in the order of their first rows.

        No file outside the table's folder is ever read. Raises VsrError if the source is no table that can be read
        or it lacks a column.
        """
        path = _file(source)
        stories: dict[str, list[Row]] = {}
        rejected = []
        for row in read_rows(path, self.options):
            if row.story:
                stories.setdefault(row.story, []).append(row)
            else:
                where = f"{shown(str(path))}:{row.line}"
                detail = row.problem or f"the row has nothing in the column {self.options.story!r}; name its story"
                rejected.append(
                    Rejected(where=where, code="bad_quotes" if row.problem else "missing_story", detail=detail)
                )
        return _stories(path, rejected, stories, ordered=self.options.order is not None)

    def describe(self, source: str | None) -> Mapping[str, str]:
        """Return the file's name. Reads no story."""
        return {"source": own_name(_file(source))}


def _file(source: str | None) -> Path:
    return source_file(source, dataset="csv", kind=".csv or .tsv", content="one frame per row")


def _stories(
    path: Path, rejected: Sequence[Rejected], stories: Mapping[str, Sequence[Row]], *, ordered: bool
) -> Iterator[Story | Rejected]:
    folder = path.parent.resolve()
    yield from rejected
    for name, rows in stories.items():
        yield _story(name, rows, folder=folder, where=shown(str(path)), ordered=ordered)


def _story(name: str, rows: Sequence[Row], *, folder: Path, where: str, ordered: bool) -> Story | Rejected:
    def refuse(code: str, what: str) -> Rejected:
        return Rejected(where=f"{where}:{rows[0].line}, story {name}", code=code, detail=what)

    groups, splits = ({getattr(row, kind) for row in rows} - {""} for kind in ("group", "split"))
    if len(groups) > 1:
        return refuse("two_groups", f"its rows name groups {_listed(groups)}; leave one")
    if len(splits) > 1:
        return refuse("two_splits", f"its rows name splits {_listed(splits)}; leave one")
    notes: list[Note] = []
    split = next(iter(splits), None)
    if split is not None and split not in SPLITS:
        notes.append(Note(code="unknown_split", detail=f"{split[:80]!r} is none of {', '.join(SPLITS)}: vsr splits"))
        split = None
    if ordered:
        if blank := next((row for row in rows if not row.order), None):
            return refuse("missing_order", f"line {blank.line} has no order; set the order of every row of the story")
        if len({row.order for row in rows}) < len(rows):
            notes.append(
                Note(
                    code="duplicate_order",
                    detail="two rows have the same position: they stay in the order of the table",
                )
            )
        rows = in_order(rows)
    frames = tuple(_frame(folder, row, index, notes) for index, row in enumerate(rows))
    return Story(id=name, frames=frames, group=next(iter(groups), None), split=split, notes=tuple(notes))


def _listed(values: set[str]) -> str:
    names = sorted(values)
    return ", ".join(value[:40] for value in names[:3]) + (", …" if len(names) > 3 else "")


def _frame(folder: Path, row: Row, index: int, notes: list[Note]) -> Frame:
    def note(code: str, what: str) -> None:
        notes.append(Note(code=code, detail=f"line {row.line}: {what}", frame=index))

    if row.problem:
        # Cells after the error may belong to other columns, so the frame has neither image nor text.
        note("extra_cells" if "more cells" in row.problem else "bad_quotes", row.problem)
        return Frame(image=None, text=None)
    if not row.text:
        note("missing_text", "has no text")
    found = find_file(folder, row.image) if row.image else NoFile("names no image")
    if isinstance(found, NoFile):
        note("outside_folder" if found.outside else "missing_image", found.why)
    image = None if isinstance(found, NoFile) else found
    return Frame(image=image, text=row.text or None)

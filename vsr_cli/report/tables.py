"""Tables that adapt to the width of the terminal: columns are dropped by rank, words wrap, numbers never break."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.styled import Styled
from rich.table import Table
from rich.text import Text

from ..escaping import visible

GAP = 2
LEAST = 14
"""The least width of a wrapped column of words, in terminal cells."""

MANY = 200
"""Above so many rows, rich takes seconds for a table."""

Cell = str | Text


@dataclass(frozen=True)
class Column:
    """A column: its title and cells. Columns of words are left-aligned, columns of numbers right-aligned."""

    title: Cell
    cells: Sequence[Cell]
    rank: int = 0
    """In a narrow table, columns of the highest rank are dropped first; rank 0 is never dropped."""
    justify: Literal["left", "right"] = "right"
    wraps: int = 0
    """The least width of a column of sentences, which wraps before any column is dropped; 0 for other columns."""

    @cached_property
    def width(self) -> int:
        """Its width in terminal cells without wrapping."""
        return max(map(_cell_width, (self.title, *self.cells)))

    @property
    def least(self) -> int:
        """Its least width: numbers never break, words may wrap."""
        if self.justify == "right":
            return self.width
        return min(self.width, max(self.wraps or LEAST, _text(self.title).cell_len))


def fitting_table(columns: Sequence[Column], *, width: int, styles: Sequence[str] = ()) -> RenderableType:
    """Return a table that fits a width in terminal cells; `styles` are those of the rows.

    Columns of sentences wrap, then columns are dropped by rank, then columns of words wrap. If that is still too wide,
    each row takes several lines: its first cell, and below it the others, each after its title.
    """
    fitted = list(columns)
    while _total_width(column.least if column.wraps else column.width for column in fitted) > width:
        rank = max(column.rank for column in fitted)
        if rank == 0:
            break
        fitted.remove([column for column in fitted if column.rank == rank][-1])
    if _total_width(column.least for column in fitted) > width:
        return _stacked(columns, width=width, styles=styles)
    widths = _widths(fitted, width)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    for column, wide in zip(fitted, widths, strict=True):
        # As wide as its widest cell, nothing of it wraps.
        table.add_column(_text(column.title), justify=column.justify, overflow="fold", width=wide)
    table.show_header = any(column.title for column in fitted)
    if len(fitted[0].cells) > MANY and not styles and all(map(_is_plain, fitted, widths)):
        return Group(*([table] if table.show_header else []), _plain_rows(fitted, widths))
    for number, cells in enumerate(zip(*(column.cells for column in fitted), strict=True)):
        table.add_row(*map(_text, cells), style=_style(styles, number))
    return table


def _plain_rows(columns: Sequence[Column], widths: Sequence[int]) -> Segments:
    """Return rows without styles and wrapped cells, as a table of rich lays them out, in a twentieth of its time."""
    aligned = [
        [_padded(str(cell), width, column.justify) for cell in column.cells]
        for column, width in zip(columns, widths, strict=True)
    ]
    return Segments([Segment((" " * GAP).join(cells)) for cells in zip(*aligned, strict=True)], new_lines=True)


def _is_plain(column: Column, width: int) -> bool:
    return column.width <= width and all(isinstance(cell, str) for cell in column.cells)


def _padded(cell: str, width: int, justify: str) -> str:
    shown = visible(cell)
    space = " " * (width - cell_len(shown))
    return space + shown if justify == "right" else shown + space


def _cell_width(cell: Cell) -> int:
    if isinstance(cell, str):
        return cell_len(visible(cell))  # always one line
    return max(map(cell_len, cell.plain.splitlines()), default=0)


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Return the width of each column: its least, then what it needs, sentences last and evenly."""
    widths = [column.least for column in columns]
    spare = width - _total_width(widths)
    for at, column in enumerate(columns):
        if not column.wraps:
            more = min(column.width - widths[at], spare)
            widths[at], spare = widths[at] + more, spare - more
    while spare and (short := [at for at, column in enumerate(columns) if widths[at] < column.width]):
        neediest = max(short, key=lambda at: columns[at].width / widths[at])
        widths[neediest], spare = widths[neediest] + 1, spare - 1
    return widths


def blocks(names: Column, columns: Sequence[Column], *, width: int) -> list[list[Column]]:
    """Split a wide table into tables that fit a width, each with the column of names."""
    parts = [[names]]
    for column in columns:
        if len(parts[-1]) > 1 and _total_width(each.width for each in (*parts[-1], column)) > width:
            parts.append([names])
        parts[-1].append(column)
    return parts


def _total_width(widths: Iterable[int]) -> int:
    """Return the width of a table with columns of these widths."""
    return sum(width + GAP for width in widths) - GAP


def _stacked(columns: Sequence[Column], *, width: int, styles: Sequence[str]) -> Group:
    """Show each row as its first cell and, below it, the others after their titles, as many per line as fit."""
    first, *others = [column for column in columns if column.title or any(map(str, column.cells))]
    shown: list[RenderableType] = []
    for number, head in enumerate(first.cells):
        lines: list[Text] = []
        for column in others:
            cell = _text(column.cells[number])
            if not cell.plain.strip():
                continue
            title = "".join(_text(column.title).plain.splitlines())
            pair = _text(f"{title}: " if title else "").append_text(Text(" ").join(cell.split()))
            if lines and lines[-1].cell_len + GAP + pair.cell_len <= width - GAP:
                lines[-1].append(" " * GAP).append_text(pair)
            else:
                lines.append(pair)
        name = _text(head)
        for line in (name, *lines):
            line.overflow = "fold"
        shown.append(Styled(Group(name, *(Padding.indent(line, GAP) for line in lines)), _style(styles, number)))
    return Group(*shown)


def _text(cell: Cell) -> Text:
    return cell.copy() if isinstance(cell, Text) else Text(visible(cell))


def _style(styles: Sequence[str], number: int) -> str:
    return styles[number] if number < len(styles) else ""

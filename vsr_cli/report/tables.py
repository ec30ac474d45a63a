"""Tables that stay readable on a narrow terminal: what matters least is left out, words wrap, numbers are never cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.styled import Styled
from rich.table import Table
from rich.text import Text

from ..escaping import visible

GAP = 2
LEAST = 14
"""Cells of a terminal that a column of words keeps at least when it wraps."""

Cell = str | Text


@dataclass(frozen=True)
class Column:
    """A column and the cells below its title. A column of words stands at the left, one of numbers at the right."""

    title: str
    cells: Sequence[Cell]
    rank: int = 0
    """Where there is little room, the column of the highest rank goes first; those of rank 0 stay."""
    justify: Literal["left", "right"] = "right"
    wraps: int = 0
    """Of a column of sentences, which wrap before any column is left out: how many cells it keeps at least."""

    @property
    def width(self) -> int:
        """How many cells of a terminal it takes unwrapped."""
        lines = [line for cell in (self.title, *self.cells) for line in _text(cell).plain.splitlines()]
        return max(map(cell_len, lines), default=0)

    @property
    def least(self) -> int:
        """How many it takes at least: a number is never cut, words may wrap."""
        if self.justify == "right":
            return self.width
        return min(self.width, max(self.wraps or LEAST, cell_len(self.title)))


def fitting_table(columns: Sequence[Column], *, width: int, styles: Sequence[str] = ()) -> RenderableType:
    """Make a table that fits a width in cells; `styles` are the rows', plain where there is none.

    Columns of sentences wrap, then columns are left out by rank, then those of words wrap. Where even that is too wide,
    each row takes several lines: its first cell, and below it the others after their titles.
    """
    kept = list(columns)
    while _together(column.least if column.wraps else column.width for column in kept) > width:
        rank = max(column.rank for column in kept)
        if rank == 0:
            break
        kept.remove([column for column in kept if column.rank == rank][-1])
    if _together(column.least for column in kept) > width:
        return _stacked(columns, width=width, styles=styles)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    for column, wide in zip(kept, _widths(kept, width), strict=True):
        # As wide as its widest cell, nothing of it wraps.
        table.add_column(_text(column.title), justify=column.justify, overflow="fold", width=wide)
    for number, cells in enumerate(zip(*(column.cells for column in kept), strict=True)):
        table.add_row(*map(_text, cells), style=_style(styles, number))
    table.show_header = any(column.title for column in kept)
    return table


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Return how wide each column is: its least, and of what is left as much as it needs, sentences last and alike."""
    widths = [column.least for column in columns]
    spare = width - _together(widths)
    for at, column in enumerate(columns):
        if not column.wraps:
            more = min(column.width - widths[at], spare)
            widths[at], spare = widths[at] + more, spare - more
    while spare and (short := [at for at, column in enumerate(columns) if widths[at] < column.width]):
        neediest = max(short, key=lambda at: columns[at].width / widths[at])
        widths[neediest], spare = widths[neediest] + 1, spare - 1
    return widths


def blocks(names: Column, columns: Sequence[Column], *, width: int) -> list[list[Column]]:
    """Part the columns of a wide table into as many tables as a width asks for, each with the rows' names."""
    parts = [[names]]
    for column in columns:
        if len(parts[-1]) > 1 and _together(each.width for each in (*parts[-1], column)) > width:
            parts.append([names])
        parts[-1].append(column)
    return parts


def _together(widths: Iterable[int]) -> int:
    """Return the width of columns of these widths beside each other."""
    return sum(width + GAP for width in widths) - GAP


def _stacked(columns: Sequence[Column], *, width: int, styles: Sequence[str]) -> Group:
    """Show each row as its first cell and, below it, the others after their titles, as many to a line as fit."""
    first, *others = [column for column in columns if column.title or any(map(str, column.cells))]
    shown: list[RenderableType] = []
    for number, head in enumerate(first.cells):
        lines: list[Text] = []
        for column in others:
            cell = _text(column.cells[number])
            if not cell.plain.strip():
                continue
            pair = _text(f"{column.title}: " if column.title else "").append_text(Text(" ").join(cell.split()))
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

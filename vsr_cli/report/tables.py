"""A table that fits its terminal: what matters least is left out where there is little room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

GAP = 2


@dataclass(frozen=True)
class Column:
    """A column and the cells below its title."""

    title: str
    cells: Sequence[str]
    rank: int = 0
    """Where there is little room, the column of the highest rank goes first; those of rank 0 stay."""
    justify: Literal["left", "right"] = "right"

    @property
    def width(self) -> int:
        """How many cells of a terminal it takes."""
        return max(cell_len(text) for text in (self.title, *self.cells))


def fitting_table(columns: Sequence[Column], *, width: int, styles: Sequence[str] = ()) -> Table:
    """Make a table of as many columns as fit a width in cells; `styles` are the rows', plain where there is none."""
    kept = list(columns)
    while sum(column.width + GAP for column in kept) - GAP > width:
        rank = max(column.rank for column in kept)
        if rank == 0:
            break  # the table is then folded
        kept.remove([column for column in kept if column.rank == rank][-1])
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    for column in kept:
        table.add_column(column.title, justify=column.justify, overflow="fold")
    for number, cells in enumerate(zip(*(column.cells for column in kept), strict=True)):
        style = styles[number] if number < len(styles) else ""
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table

"""Rows of Markdown tables whose cells may contain the separator `|`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vsr_cli.api import Box

_BAR = re.compile(r"(?<!\\)\|")
_BOX = re.compile(r"[\[(]?\s*" + r"\s*,\s*".join([r"(-?[0-9]{1,9})"] * 4) + r"\s*[\])]?")
_NOTHING = frozenset(["", "-", "–", "—", "n/a", "na", "none", "null", "unknown", "not visible", "not applicable"])
_EMPHASIS = "*`_ "
BOX = "box"
"""The field that holds a box."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A kind of table: the columns that it may have, by the fields that they fill."""

    key: str
    """The column that tells this kind from others, and names what a row is about."""
    key_form: re.Pattern[str] | None
    """What the key looks like. None: any words."""
    columns: Mapping[str, str]

    def is_headed_by(self, cells: Sequence[str]) -> bool:
        """Return whether a header is of this kind, names no column twice and none that is not known."""
        names = [_plain(cell) for cell in cells]
        known = {name.casefold() for name in self.columns}
        return self.key.casefold() in names and len(set(names)) == len(names) and set(names) <= known


@dataclass(frozen=True, kw_only=True)
class Row:
    """The certain values of a row."""

    key: str
    values: dict[str, str | None]
    """Every other field of the table but the box; None where it is empty, absent or uncertain."""
    box: Box | str | None
    """As it stands; words that are no box as they are."""
    uncertain: tuple[str, ...] | None
    """None where the row has as many cells as its header; else the fields that could not be distinguished."""


def split_row(line: str) -> list[str]:
    """Return the stripped cells of a row; an escaped bar is one of its cell's characters."""
    cells = [cell.strip().replace("\\|", "|") for cell in _BAR.split(line)]
    if len(cells) > 1 and not cells[0]:
        del cells[0]
    if len(cells) > 1 and not cells[-1]:
        del cells[-1]
    return cells


def read_row(table: Table, header: Sequence[str], cells: Sequence[str]) -> Row | None:
    """Put a row's cells under its header, or return None where its key or its box are not where they must be.

    A row with more cells than its header has a bar in one of its cells, or in several. Its key and its box are
    known by their form, and part the row: between them, a lone column takes all cells that lie there, joined
    again; as many columns as cells are taken one by one; in any other case no cell there is certain.
    """
    by_name = {name.casefold(): attribute for name, attribute in table.columns.items()}
    fields, key = [by_name[_plain(cell)] for cell in header], table.columns[table.key]
    extra = len(cells) - len(fields)
    if extra < 0:
        return None
    anchors: list[tuple[int, int]] = []
    for column, name in enumerate(fields):
        if name in (key, BOX):
            window = range(column, column + extra + 1)
            fits = [at for at in window if (_is_key(table, cells[at]) if name == key else _is_box(cells[at], extra))]
            if len(fits) != 1:
                return None
            anchors.append((column, fits[0]))
    placed, uncertain = _between(anchors, fields, cells)
    values = {name: placed.get(name) for name in table.columns.values() if name not in (key, BOX)}
    return Row(
        key=(placed[key] or "").strip(_EMPHASIS),
        values=values,
        box=_box(placed.get(BOX)),
        uncertain=uncertain if extra else None,
    )


def _between(
    anchors: list[tuple[int, int]], fields: Sequence[str], cells: Sequence[str]
) -> tuple[dict[str, str | None], tuple[str, ...]]:
    placed: dict[str, str | None] = {}
    uncertain: list[str] = []
    column = at = 0
    for next_column, next_at in [*anchors, (len(fields), len(cells))]:
        names, run = fields[column:next_column], cells[at:next_at]
        if len(names) == len(run):
            placed.update((name, _value(cell)) for name, cell in zip(names, run, strict=True))
        elif len(names) == 1 and run:
            placed[names[0]] = _value(" | ".join(run))
        else:
            uncertain += names
        if next_column < len(fields):
            placed[fields[next_column]] = cells[next_at]
        column, at = next_column + 1, next_at + 1
    return placed, tuple(uncertain)


def _is_key(table: Table, cell: str) -> bool:
    return bool(table.key_form.fullmatch(cell.strip(_EMPHASIS)) if table.key_form else cell.strip(_EMPHASIS))


def _is_box(cell: str, extra: int) -> bool:
    """Return whether a cell is a box; without extra cells, also one that is empty or malformed, but no words."""
    if _BOX.fullmatch(cell):
        return True
    return not extra and (cell.casefold() in _NOTHING or not re.search(r"[^\W\d_]", cell))


def _box(cell: str | None) -> Box | str | None:
    if cell is None or cell.casefold() in _NOTHING:
        return None
    if match := _BOX.fullmatch(cell):
        left, top, right, bottom = (int(value) for value in match.groups())
        return left, top, right, bottom
    return cell


def _value(cell: str) -> str | None:
    return cell or None


def _plain(cell: str) -> str:
    return " ".join(cell.replace("*", " ").split()).casefold()

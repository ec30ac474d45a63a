"""Reads the CSV files that say where stories belong: to which group, or into which split."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from pathlib import Path

from ..errors import VsrError, nearest


def read_groups(path: Path, *, group: str, story: str) -> dict[str, str]:
    """Give the group of each story of a CSV with these columns; rows that lack one of the two cells are passed over.

    Raises VsrError if the file cannot be read, lacks a column, or gives one story two groups.
    """
    groups: dict[str, str] = {}
    for line, name, value in _rows(path, story=story, value=group):
        if name and value and groups.setdefault(name, value) != value:
            raise VsrError(f"{path} line {line}: {name!r} has two groups ({groups[name]!r}, {value!r}); leave one")
    return groups


def read_splits(path: Path, known: Collection[str]) -> dict[str, str]:
    """Give the split of each story of a CSV with the columns story and split.

    Raises VsrError if the file cannot be read, lacks a column, names a split that is not known, or gives one story two.
    """
    splits: dict[str, str] = {}
    for line, name, value in _rows(path, story="story", value="split"):
        where = f"{path} line {line}"
        if not name:
            raise VsrError(f"{where}: names no story for the split {value!r}; name it or remove the line")
        if value not in known:
            raise VsrError(f"{where}: {name!r} is put in a split called {value!r}; {nearest(value, known)}")
        if splits.setdefault(name, value) != value:
            raise VsrError(f"{where}: {name!r} has two splits ({splits[name]}, {value}); leave one")
    return splits


def _rows(path: Path, *, story: str, value: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the story and the value of each row that has either, without surrounding white space."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            names = [" ".join(name.split()) for name in rows.fieldnames or ()]
            rows.fieldnames = names
            for column in (story, value):
                _check_column(path, column, names)
            for row in rows:
                # A short row gives None for the cells that it lacks.
                cells = [(row[column] or "").strip() for column in (story, value)]
                if any(cells):
                    yield rows.line_num, cells[0], cells[1]
    except OSError as error:
        raise VsrError(f"{path}: the CSV cannot be read ({error.strerror}); name one that can") from error
    except (csv.Error, ValueError) as error:
        raise VsrError(f"{path}: not a CSV in UTF-8 ({error}); save it as one, separated by commas") from error


def _check_column(path: Path, column: str, columns: list[str]) -> None:
    if columns.count(column) > 1:
        raise VsrError(f"{path}: two columns are called {column!r}; rename one")
    if column not in columns:
        raise VsrError(f"{path}: no column {column!r}; {nearest(column, columns)}")

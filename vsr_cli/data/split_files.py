"""Reads the CSV files that say where stories belong: to which group, or into which split."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from ..api import nfc, read_table
from ..errors import VsrError, nearest


def read_groups(path: Path, *, group: str, story: str) -> dict[str, str]:
    """Return the group of each story of a CSV with these columns; rows that lack one of the two cells are passed over.

    Raises VsrError if the file cannot be read, lacks a column, or gives one story two groups.
    """
    groups: dict[str, str] = {}
    for line, name, value in _rows(path, story=story, value=group):
        if name and value and groups.setdefault(name, value) != value:
            raise VsrError(f"{path} line {line}: {name!r} has two groups ({groups[name]!r}, {value!r}); leave one")
    return groups


def read_splits(path: Path, known: Collection[str]) -> dict[str, str]:
    """Return the split of each story of a CSV with the columns story and split.

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
    for row in read_table(path, {"story": story, "value": value}):
        if row.problem:
            raise VsrError(f"{path} line {row.line}: {row.problem}")
        name, of_it = nfc(row.cells["story"]), nfc(row.cells["value"])
        if name or of_it:
            yield row.line, name, of_it

"""Reads the CSV that says which stories belong together."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from vsr_cli.api import VsrError


def read_groups(path: Path, *, group: str, story: str) -> Mapping[str, str]:
    """Give the group of each story folder's name; stories with an empty group cell are left out.

    Raises VsrError if the file cannot be read, lacks a column, or gives one story two groups.
    """
    groups: dict[str, str] = {}
    try:
        with path.expanduser().open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            for column in (story, group):
                _check_column(path, column, list(rows.fieldnames or ()))
            for row in rows:
                # A short row gives None for the cells that it lacks.
                name, value = (row[story] or "").strip(), (row[group] or "").strip()
                if not (name and value):
                    continue
                if groups.setdefault(name, value) != value:
                    what = f"{name} has two groups ({groups[name]}, {value})"
                    raise VsrError(f"{path} line {rows.line_num}: {what}; leave one")
    except OSError as error:
        raise VsrError(f"{path}: the group CSV cannot be read ({error.strerror}); check group_csv") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise VsrError(f"{path}: not a CSV in UTF-8 ({error}); save it as one, separated by commas") from error
    return groups


def _check_column(path: Path, column: str, columns: list[str]) -> None:
    if column in columns:
        return
    close = get_close_matches(column, columns, n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(columns) or 'none'}"
    raise VsrError(f"{path}: no column {column!r}; {remedy}")

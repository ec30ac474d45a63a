"""Links in folders that vsr owns: what it writes or deletes there must not reach anything outside."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import VsrError


def refuse_links(folder: Path, names: Iterable[str], *, below: bool = True) -> None:
    """Raise VsrError if one of some entries of a folder, or with `below` anything in them, is a symbolic link.

    `names` are the entries that vsr writes or deletes, such as "history.jsonl" or "tables-*". The folder itself may be
    a link, as may what leads to it. To be called before anything is changed.
    """
    for link in _links(folder, list(names), below=below):
        raise VsrError(
            f"{link}: is a link (to {link.readlink()}), and vsr neither writes nor deletes through links inside its "
            "own folders; put what it leads to in its place, or remove the link"
        )


def _links(folder: Path, patterns: list[str] | None, *, below: bool) -> Iterator[Path]:
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if patterns is not None and not any(fnmatchcase(entry.name, pattern) for pattern in patterns):
                continue
            if entry.is_symlink():
                yield Path(entry.path)
            elif below and entry.is_dir():
                yield from _links(Path(entry.path), None, below=True)

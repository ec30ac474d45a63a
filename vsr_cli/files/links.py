"""Refusal of links and special files in folders that vsr owns: reading and writing must stay in them, and not block."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import VsrError


def refuse_special_file(path: Path) -> None:
    """Raise VsrError if a path is a named pipe, a socket or a device: to open one may block forever."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return  # whoever opens it reports why it cannot be read
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise VsrError(f"{path}: is not a regular file but a pipe, socket or device; remove it, or restore the file")


def read_regular(path: Path) -> bytes:
    """Return a file's content, with few system calls. Raises VsrError as `refuse_special_file` does, and OSError."""
    refuse_special_file(path)
    handle = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(handle).st_size
        return b"".join(iter(lambda: os.read(handle, size + 1), b""))
    finally:
        os.close(handle)


def refuse_links(folder: Path, names: Iterable[str], *, below: bool = True) -> None:
    """Raise VsrError if some entries of a folder, or with `below` anything in them, are links or special files.

    `names` are the entries that vsr writes or deletes, such as "history.jsonl" or "tables-*". The folder itself and its
    parents may be links. Call it before anything is changed.
    """
    for path in _entries(folder, list(names), below=below):
        if path.is_symlink():
            raise VsrError(
                f"{path}: is a link (to {path.readlink()}), and vsr neither writes nor deletes through links inside "
                "its own folders; replace it with a copy of its target, or remove it"
            )
        refuse_special_file(path)


def _entries(folder: Path, patterns: list[str] | None, *, below: bool) -> Iterator[Path]:
    """Yield matching entries that are links or special files, and with `below` those in matching folders."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if patterns is not None and not any(fnmatchcase(entry.name, pattern) for pattern in patterns):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(Path(entry.path), None, below=True) if below else ()
            elif not entry.is_file(follow_symlinks=False):
                yield Path(entry.path)

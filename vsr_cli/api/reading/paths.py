"""Paths in files of a dataset, which are followed only inside its folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

from ...files.names import nfc, shown

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
BASE64 = re.compile(r"[A-Za-z0-9+/\s]{200,}={0,2}\s*")
"""Letters in such a number, and no dot among them, are no path."""
SHOWN = 80
"""Characters of a name that a message repeats."""


@dataclass(frozen=True)
class NoFile:
    """Why a path in a file of a dataset leads to no readable file."""

    why: str
    """The problem and its remedy, in one line."""
    outside: bool = False
    """Whether the path is outside the folder."""


def find_file(folder: Path, name: str) -> Path | NoFile:
    r"""Return the file inside `folder` that a path in a file of a dataset refers to, or why there is none.

    The path is relative to the folder, or an absolute path or file:// address inside it. If it does not exist as it is,
    backslashes are read as separators, and a path that differs only in Unicode composition is accepted.
    """
    name = name.strip()
    what = repr(shown(name[:SHOWN]) + ("…" if len(name) > SHOWN else ""))
    if name[:5].lower() == "data:" or (len(name) > 200 and BASE64.fullmatch(name)):
        return NoFile("is an image in base64, which is not supported; save it as a file and name its path")
    if name[:7].lower() == "file://":
        name = unquote(urlsplit(name).path)
    elif ADDRESS.match(name):
        return NoFile(f"{what} is an address, and nothing is fetched; download it and name the file's path")
    name = _relative(folder, name)
    for candidate in dict.fromkeys((name, name.replace("\\", "/"))):
        composed = _as_spelt(folder, candidate)
        if leads_outside(folder, composed):
            outside = "is outside the folder; copy the file there and write its relative path"
            return NoFile(f"{what} {outside}", outside=True)
        if is_file(folder / composed):
            return folder / composed
    return NoFile(f"{what} is no file")


def leads_outside(folder: Path, name: str) -> bool:
    """Return whether a path in a file of a dataset is outside the folder of the dataset.

    It is if it is absolute or contains "..", on Windows or POSIX, or if a link in it leads out of the folder.
    """
    windows, posix = PureWindowsPath(name), PurePosixPath(name)
    if windows.anchor or posix.anchor or ".." in windows.parts or ".." in posix.parts:
        return True
    try:
        return not (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        return True  # a loop of links, or a name with a NUL: no file of the folder


def is_file(path: Path) -> bool:
    """Whether a path is a regular file; False also for a name that the system takes none by."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False  # a name too long for the system, or with a NUL


def _relative(folder: Path, name: str) -> str:
    """Return an absolute path that lies in the folder as the path from there; any other name as it is."""
    if PurePosixPath(name).is_absolute():
        for root in (folder.absolute(), folder.resolve()):
            if PurePosixPath(name).is_relative_to(root):
                return str(PurePosixPath(name).relative_to(root))
    return name


def _as_spelt(folder: Path, name: str) -> str:
    """Return a relative path with each part spelt as the file system has it, where only the composition differs."""
    if name.isascii() or is_file(folder / name):
        return name
    path, spelt = folder, PurePosixPath()
    for part in PurePosixPath(name).parts:
        found = part
        if not part.isascii() and not os.path.lexists(path / part):
            try:
                found = _spellings(path, path.stat().st_mtime_ns).get(nfc(part), part)
            except (OSError, ValueError):
                return name
        path, spelt = path / found, spelt / found
    return str(spelt)


@lru_cache(maxsize=64)
def _spellings(folder: Path, changed: int) -> dict[str, str]:
    """Return the names in a folder by their composed form; `changed` is when the folder last was."""
    return {nfc(name): name for name in sorted((path.name for path in folder.iterdir()), reverse=True)}

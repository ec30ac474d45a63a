"""Paths that stand in other people's files: followed only inside the folder that they came with."""

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
    """Why a name that a dataset's file gives leads to no file that may be read."""

    why: str
    """What is wrong and what helps, in one line."""
    outside: bool = False
    """Whether it leads out of the folder."""


def find_file(folder: Path, name: str) -> Path | NoFile:
    r"""Return the file inside `folder` that a name in a dataset's file stands for, or why there is none.

    The name is a path relative to the folder, or an absolute path or file:// address that lies in it. Backslashes part
    folders where the name as it is leads nowhere, and one that differs from a file's only in how Unicode is composed
    stands for it.
    """
    name = name.strip()
    what = repr(shown(name[:SHOWN]) + ("…" if len(name) > SHOWN else ""))
    if name[:5].lower() == "data:" or (len(name) > 200 and BASE64.fullmatch(name)):
        return NoFile("is a picture written as base64, which is not read; save it as a file and name its path")
    if name[:7].lower() == "file://":
        name = unquote(urlsplit(name).path)
    elif ADDRESS.match(name):
        return NoFile(f"{what} is an address, and nothing is fetched; download it and name the file's path")
    name = _relative(folder, name)
    for candidate in dict.fromkeys((name, name.replace("\\", "/"))):
        composed = _as_spelt(folder, candidate)
        if leads_outside(folder, composed):
            outside = "leads out of the folder; copy the file there and give its relative path"
            return NoFile(f"{what} {outside}", outside=True)
        if is_file(folder / composed):
            return folder / composed
    return NoFile(f"{what} is no file")


def leads_outside(folder: Path, name: str) -> bool:
    """Whether a name that a dataset's file gives means anything but a path inside the dataset's folder.

    It does if it is absolute or climbs, by the rules of either kind of system, or if a link on its way leads out.
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

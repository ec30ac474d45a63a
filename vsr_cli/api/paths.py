"""Paths that stand in other people's files: followed only inside the folder that they came with."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath


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
    except OSError:
        return False  # a name too long for the system

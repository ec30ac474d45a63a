"""Locks on folders, so that two processes never write to one folder at the same time.

A lock is that of the system (flock) on the folder itself: it ends with its process, even a killed one, and leaves no
file behind. On network file systems without locks, nothing is locked and nothing fails.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import VsrError

PATIENCE = 1.0
"""Seconds before a lock counts as taken, as `is_held` takes one for an instant."""
PAUSE = 0.02
ATTEMPTS = 100
"""Times in a row that a missing folder is created before it counts as one that cannot be, as in /proc."""


@contextmanager
def exclusive_lock(folder: Path, *, busy: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the exclusive lock of a folder. Raises VsrError with the message `busy` if another process holds one.

    The folder is created if it is missing, and removed if it is empty at the end of the block. Its content must be read
    inside the block, not before.
    """
    with _holding(folder, fcntl.LOCK_EX, busy=busy, patience=patience):
        yield


@contextmanager
def shared_lock(folder: Path, *, busy: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold a shared lock of a folder. Raises VsrError with the message `busy` if it is locked exclusively.

    The folder is created and removed as by `exclusive_lock`.
    """
    with _holding(folder, fcntl.LOCK_SH, busy=busy, patience=patience):
        yield


@contextmanager
def _holding(folder: Path, kind: int, *, busy: str, patience: float) -> Iterator[None]:
    with _making(folder):
        handle = _lock(folder, kind, patience=patience, make=True)
        if handle is None:
            raise VsrError(busy)
        try:
            yield
        finally:
            os.close(handle)


@contextmanager
def _making(folder: Path) -> Iterator[None]:
    """Remove at the end of the block those of a folder and its parents that were missing before and are empty."""
    missing = list(itertools.takewhile(lambda path: not path.exists(), [folder, *folder.parents]))
    try:
        yield
    finally:
        with suppress(OSError):
            for path in missing:
                path.rmdir()


@contextmanager
def try_lock(folder: Path) -> Iterator[bool]:
    """Hold the exclusive lock of a folder if no other process holds one. Yield whether it is held; False if missing."""
    try:
        handle = _lock(folder, fcntl.LOCK_EX, patience=0.0, make=False)
    except FileNotFoundError:
        handle = None
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def hold_shared_lock(folder: Path, owner: object, *, patience: float = 60.0) -> None:
    """Hold a shared lock of a folder for the lifetime of `owner`, any object.

    Nothing is held if the folder is missing, or exclusively locked for longer than `patience` seconds.
    """
    try:
        handle = _lock(folder, fcntl.LOCK_SH, patience=patience, make=False)
    except (FileNotFoundError, NotADirectoryError):
        return
    if handle is not None:
        weakref.finalize(owner, os.close, handle)


def is_held(folder: Path) -> bool:
    """Return whether a process holds a lock of a folder; True if that cannot be determined."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks
        return True
    finally:
        os.close(handle)
    return False


def _lock(folder: Path, kind: int, *, patience: float, make: bool) -> int | None:
    """Return an open handle of the locked folder; None if another process holds it for longer than `patience`."""
    until = time.monotonic() + patience
    attempts = 0
    while True:
        try:
            if make:
                folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            attempts += 1
            if make and attempts < ATTEMPTS:
                continue  # another process has removed it again
            raise
        attempts = 0
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            if time.monotonic() >= until:
                return None
            time.sleep(PAUSE)
            continue
        except OSError:  # a file system without locks
            return handle
        if _is_still(handle, folder):
            return handle
        os.close(handle)  # the previous holder has removed or replaced the folder


def _is_still(handle: int, folder: Path) -> bool:
    try:
        found = folder.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(handle)
    return (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino)

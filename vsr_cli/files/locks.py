"""Locks on folders, so that two processes never write to one folder at the same time.

A lock is the system's own (flock) on the folder itself: it goes when its process ends, however that was, and leaves no
file behind. Some network file systems know no locks; there nothing is locked, and nothing fails.
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
"""Seconds to try again before a lock counts as taken: `is_held` takes one for an instant, just to see."""
PAUSE = 0.02


@contextmanager
def alone_in(folder: Path, *, busy: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold a folder's lock, of which there is one. Raises VsrError, saying `busy`, if another process has it.

    The folder is made if it is missing, and removed if nothing has come into it by the end of the block. What is in it
    must be looked at inside the block, not before.
    """
    with _holding(folder, fcntl.LOCK_EX, busy=busy, patience=patience):
        yield


@contextmanager
def beside_others_in(folder: Path, *, busy: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold a folder's lock together with others who do so. Raises VsrError, saying `busy`, if one is `alone_in` it.

    The folder is made and removed as there.
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
    """Remove those of a folder and its parents that are missing now, and still empty at the end of the block."""
    missing = list(itertools.takewhile(lambda path: not path.exists(), [folder, *folder.parents]))
    try:
        yield
    finally:
        with suppress(OSError):
            for path in missing:
                path.rmdir()


@contextmanager
def if_nobody_is_in(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock if nobody else does. Yields whether it is held; False if the folder is missing."""
    try:
        handle = _lock(folder, fcntl.LOCK_EX, patience=0.0, make=False)
    except FileNotFoundError:
        handle = None
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def stay_in(folder: Path, owner: object, *, patience: float = 60.0) -> None:
    """Hold a folder's lock together with others for as long as `owner`, any object, is in use.

    Nothing is held if the folder is missing, or if another process is alone in it for longer than `patience` seconds.
    """
    try:
        handle = _lock(folder, fcntl.LOCK_SH, patience=patience, make=False)
    except (FileNotFoundError, NotADirectoryError):
        return
    if handle is not None:
        weakref.finalize(owner, os.close, handle)


def is_held(folder: Path) -> bool:
    """Whether a process holds a folder's lock; True where that cannot be known."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks
        return True
    finally:
        os.close(handle)
    return False


def _lock(folder: Path, kind: int, *, patience: float, make: bool) -> int | None:
    """Return an open handle of a folder that is locked; None if another process has it for longer than `patience`."""
    until = time.monotonic() + patience
    while True:
        try:
            if make:
                folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            if make and time.monotonic() < until:
                continue  # another process has removed it again
            raise
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
        os.close(handle)  # who had the lock has removed the folder, or put another one in its place


def _is_still(handle: int, folder: Path) -> bool:
    try:
        found = folder.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(handle)
    return (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino)

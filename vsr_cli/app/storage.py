"""The temporary folder of the app, whose size is limited."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

AGE = 24 * 3600
"""Seconds for which an upload or a result is stored."""
LARGEST = 2 << 30
"""Bytes of all of them; the oldest are removed for newer ones."""
PAUSE = 20
"""Seconds between two looks at the folder."""


@contextmanager
def limited_storage(page: Any, folder: Path) -> Iterator[None]:
    """Remove old files from the folder of a page, and return freed memory to the system, while the block runs.

    Gradio's own `delete_cache` knows only an age, and overlooks uploads that were broken off.
    """
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(PAUSE):
            remove_old_files(page, folder)
            return_freed_memory()

    thread = threading.Thread(target=work, name="vsr-app-storage", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def remove_old_files(page: Any, folder: Path, *, age: float = AGE, largest: int = LARGEST) -> None:
    """Remove the files of a page that are older than `age`, and the oldest beyond `largest` bytes."""
    shown: Set[str] = {str(path) for block in page.blocks.values() for path in getattr(block, "keep_in_cache", ())}
    files = sorted(_sizes(folder), reverse=True)
    removed: set[str] = set()
    total = 0
    for changed, path, size in files:
        total += size
        if str(path) in shown or (total <= largest and time.time() - changed <= age):
            continue
        path.unlink(missing_ok=True)
        removed.add(str(path))
        with suppress(OSError):  # it has other files
            path.parent.rmdir()  # Gradio makes a folder for each file
    for known in [page.upload_file_set, *page.temp_file_sets]:
        known.difference_update(removed)


def _sizes(folder: Path) -> Iterator[tuple[float, Path, int]]:
    """Yield the time, the path and the size of each file."""
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue  # moved or removed meanwhile
        if path.is_file():
            yield status.st_mtime, path, status.st_size


def return_freed_memory() -> None:
    """Return what the C library has freed to the system. Does nothing where it is not glibc.

    Each of its arenas, one or more per thread, would hold on to it: 200 MB after a thousand predictions.
    """
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(0)

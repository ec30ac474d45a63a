"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .api import nfc
from .errors import VsrError
from .strict_json import from_json, to_json

LONGEST_NAME = 160
"""Bytes of a name that is made after a story: room for an ending, and for what temporary names add, within 255."""
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names that Windows takes for devices."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the file's place when the block ends well.

    The temporary file is removed when the block ends badly.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{_truncated(path.name, LONGEST_NAME)}.", suffix=path.suffix, dir=path.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp's 0600 would keep a colleague from reading a shared run
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, *, to_disk: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `path` to fill; it takes the folder's place when the block ends well.

    No system call puts one folder in the place of another that is full. So the new one, when it is whole, first takes
    the name under which `whole_folder` looks for it: from that moment it is the one that counts. Then the older one
    goes, and the new one takes its name. A process that is killed at any moment leaves a whole folder, the older or
    the newer. With `to_disk`, a machine that loses its power does so too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _finish_replacing(path)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if to_disk:
            for written in (*temporary.rglob("*"), temporary):
                _flush(written)
        temporary.rename(_newer(path) if path.exists() else path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _finish_replacing(path)
    if to_disk:
        _flush(path.parent)


def whole_folder(path: Path) -> Path:
    """Give the place of a folder that `replacing_folder` writes, which may have been cut short between two names."""
    return _newer(path) if _newer(path).is_dir() else path


def _newer(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _finish_replacing(path: Path) -> None:
    """Put a whole newer folder in the place of the older one, where that has not been done yet."""
    if not _newer(path).is_dir():
        return
    if path.exists():
        older = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
        path.rename(older / path.name)
        _newer(path).rename(path)
        shutil.rmtree(older)
    else:
        _newer(path).rename(path)


@contextmanager
def alone_in(folder: Path, *, busy: str) -> Iterator[None]:
    """Hold a folder's lock, of which there is one. Raises VsrError, saying `busy`, if another process has it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems know no locks
            try:
                # The system takes the lock away however this process ends, so that none is ever left behind.
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise VsrError(busy) from error
        yield
    finally:
        os.close(handle)


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


def _flush(path: Path) -> None:
    """Have what was written to a file or folder reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_name(story: str) -> str:
    """Return the name of a file or folder after a story, with nothing in it that leads away.

    It has at most `LONGEST_NAME` bytes; a longer one is truncated and ends with a digest of the whole, so that two
    stories whose names begin alike stay apart.
    """
    # Marks are letters' accents and vowel signs, which \w does not match.
    letters = (c if c.isalnum() or c in "._-" or unicodedata.category(c)[0] == "M" else " " for c in nfc(story))
    name = "_".join("".join(letters).split()).strip("._")
    if RESERVED.fullmatch(name):
        name = f"_{name}"
    if len(name.encode()) > LONGEST_NAME:
        digest = hashlib.sha256(nfc(story).encode(errors="replace")).hexdigest()[:8]
        name = f"{_truncated(name, LONGEST_NAME - len(digest) - 1)}-{digest}"
    return name or "story"


def _truncated(name: str, most: int) -> str:
    """Return as much of a name as has at most so many bytes in UTF-8."""
    return name.encode(errors="surrogateescape")[:most].decode(errors="ignore")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what safetensors raises when a file cannot be written, such as at a full disk, into one VsrError."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise VsrError(f"{path}: cannot be written ({error}); free some space or write elsewhere with --out") from error


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8; bytes of a name that are not UTF-8 are written as escapes."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    write_text(path, to_json(value, indent=2) + "\n")


def read_json(path: Path, *, what: str) -> Any:
    """Read a JSON file. Raises VsrError, naming `what` it should have been, if there is none or it is not JSON."""
    try:
        return from_json(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise VsrError(f"{path}: there is no such file, so this is not {what}") from error
    except (ValueError, OSError) as error:
        raise VsrError(f"{path}: cannot be read as {what} ({error}); restore it or make it anew") from error

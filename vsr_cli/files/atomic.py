"""Atomic writes: a reader never sees an incomplete file."""

from __future__ import annotations

import codecs
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import VsrError
from ..system_errors import NO_SPACE, SCRATCH, as_os_error, describe_os_error, refuse_system_error
from .links import read_regular
from .names import nfc
from .strict_json import from_json, sealed, to_json, unsealed

TEMPORARY = ".vsr-tmp"
"""Suffix of incomplete files and folders, whose names begin with a dot. Readers ignore such names."""
WAITING = ".new"
"""Suffix of a complete folder that is about to replace an older one."""
FORGOTTEN = 24 * 3600.0
"""Seconds after which incomplete files are removed on a file system without locks."""
_swept: set[str] = set()

LONGEST_NAME = 160
"""Maximum bytes of a file name made from a story id: with a suffix and what temporary names add, below 255."""
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names of devices on Windows."""


@contextmanager
def replacing(path: Path, *, to_disk: bool = False) -> Iterator[Path]:
    """Yield a temporary path with the same file name, which replaces `path` when the block succeeds.

    It is in a temporary folder next to `path`, so that other files of a library are removed too. The folder is removed
    if the block fails, and by a later write next to it if the process was killed. With `to_disk`, a power failure
    leaves the old file or the new one.
    """
    with _temporary_beside(path) as folder:
        temporary = folder / path.name
        yield temporary
        temporary.chmod(0o644)  # some libraries write 0600, so that others could not read a shared run
        if to_disk:
            _flush(temporary)
        temporary.replace(path)
    if to_disk:
        _flush(path.parent)


@contextmanager
def replacing_folder(path: Path, *, to_disk: bool = False) -> Iterator[Path]:
    """Yield a temporary folder next to `path` to fill, which replaces the folder when the block succeeds.

    No system call replaces a folder that is not empty. So the complete new folder first gets the name that
    `whole_folder` looks for, which makes it the valid one. Then the old folder is removed, and the new one is renamed.
    A process that is killed at any moment leaves a complete folder, old or new. With `to_disk`, so does a
    power failure.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _finish_replacing(path)
    with _temporary_beside(path) as folder:
        temporary = folder / "new"
        temporary.mkdir()
        yield temporary
        if to_disk:
            for written in (*temporary.rglob("*"), temporary):
                _flush(written)
        temporary.rename(_newer(path) if path.exists() else path)
    _finish_replacing(path)
    if to_disk:
        _flush(path.parent)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder in the system's folder for temporary files (TMPDIR), removed when the block ends."""
    with _temporary_beside(Path(tempfile.gettempdir()) / SCRATCH) as folder:
        yield folder


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """Yield a locked temporary folder next to `path`, and remove it afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if (parent := str(path.parent.absolute())) not in _swept:
        _swept.add(parent)  # stale folders are from earlier processes, so once is enough
        sweep(path.parent)
    try:
        folder, handle = _locked_folder(path)
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        yield folder
    except OSError as error:
        _name_target(error, folder, path)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked_folder(path: Path) -> tuple[Path, int]:
    start = _truncated(path.name, LONGEST_NAME)  # no system takes names of any length
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{start}.", suffix=TEMPORARY, dir=path.parent))
        try:
            folder.chmod(0o755)
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another process removed it as stale before it was locked
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue  # another process is removing it as stale
        except OSError:
            pass  # some network file systems have no locks
        if folder.exists():
            return folder, handle
        os.close(handle)


def _name_target(error: OSError, folder: Path, path: Path) -> None:
    """Make an error of a write name the target file instead of a temporary one or none."""
    named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    if (named is None and error.errno in NO_SPACE) or (named and Path(named).is_relative_to(folder)):
        error.filename = str(path)
        error.filename2 = None


def is_temporary(path: Path) -> bool:
    """Return whether a name is that of an incomplete file or folder, which readers must ignore."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY)


def is_empty(folder: Path) -> bool:
    """Return whether a folder holds nothing but incomplete files of killed processes."""
    return all(map(is_temporary, folder.iterdir()))


def sweep(folder: Path, *, names: Iterable[str] = ()) -> None:
    """Remove incomplete files of killed processes from a folder, but none that a process is still writing.

    A caller that holds the lock of the folder may pass the `names` of files written there: then all names that start
    with `.NAME.` are removed, except complete folders that are about to replace an older one.
    """
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folder) as entries:
        starts = tuple(f".{name}." for name in names)
        for entry in entries:
            path = Path(entry.path)
            if is_temporary(path) and entry.is_dir(follow_symlinks=False):
                _remove_if_stale(path)
            elif starts and entry.name.startswith(starts) and not entry.name.endswith(WAITING):
                remove(path)


def link_or_copy(source: Path, target: Path) -> None:
    """Make a new file with the content of another one: a hard link, which takes no space, or a copy.

    A copy where the file system has no hard links, or is another one. The folder of `target` is created.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def remove(path: Path) -> None:
    """Remove a file, a folder with its content, or a link but not its target."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_at_once(folder: Path) -> None:
    """Remove a folder atomically: other processes see all of it or nothing."""
    with _temporary_beside(folder) as temporary:
        folder.rename(temporary / "old")


def _remove_if_stale(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return  # removed meanwhile, or of another user
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # its writer is running
        except OSError:  # a file system without locks
            if time.time() - os.fstat(handle).st_mtime < FORGOTTEN:
                return
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def whole_folder(path: Path) -> Path:
    """Return the current path of a folder that `replacing_folder` writes, even if a kill interrupted its renaming."""
    return _newer(path) if _newer(path).is_dir() else path


def _newer(path: Path) -> Path:
    return path.with_name(f".{path.name}{WAITING}")


def _finish_replacing(path: Path) -> None:
    """Complete the replacement of an old folder by a complete new one, if it was interrupted."""
    if not _newer(path).is_dir():
        return
    if path.exists():
        with _temporary_beside(path) as older:
            path.rename(older / "old")
            _newer(path).rename(path)
    else:
        _newer(path).rename(path)


def _flush(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_name(story: str) -> str:
    """Return a safe name of a file or folder for a story id.

    It has at most `LONGEST_NAME` bytes; a longer one is truncated and ends with a digest of the id, so that names stay
    distinct.
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
    """Return the longest prefix of a name with at most `most` bytes in UTF-8."""
    return name.encode(errors="surrogateescape")[:most].decode(errors="ignore")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise VsrError if safetensors cannot write a file, for example on a full disk."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if (reason := as_os_error(error)) is not None:
            raise VsrError(describe_os_error(reason, path)) from error
        raise VsrError(f"{path}: cannot be written ({error}); write to another disk") from error


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8; bytes of a name that are not UTF-8 are written as escapes."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Mapping[str, Any], *, seal: bool = True) -> None:
    """Write a mapping as indented JSON, with a checksum of its content unless vsr never reads it."""
    write_text(path, to_json(sealed(value) if seal else value, indent=2) + "\n")


def read_json(path: Path, *, what: str) -> dict[str, Any]:
    """Read a file of `write_json`.

    Raises VsrError, naming `what` it should be, if it does not exist or its checksum differs.
    """
    try:
        return unsealed(from_json(read_regular(path).removeprefix(codecs.BOM_UTF8)))
    except FileNotFoundError as error:
        raise VsrError(f"{path}: there is no such file, so this is not {what}") from error
    except (ValueError, OSError) as error:
        refuse_system_error(error, path)
        raise VsrError(
            f"{path}: cannot be read as {what}, or is damaged ({error}); restore it or create it again"
        ) from error

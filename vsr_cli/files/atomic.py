"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

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
from .links import refuse_special_file
from .names import nfc
from .strict_json import from_json, sealed, to_json, unsealed

TEMPORARY = ".vsr-tmp"
"""How the name of everything half-written ends; it begins with a dot. No reader looks at such names."""
WAITING = ".new"
"""How the name of a whole folder ends that is about to take an older one's place."""
FORGOTTEN = 24 * 3600.0
"""Seconds after which something half-written is swept where the file system has no locks, which would tell sooner."""
_swept: set[str] = set()

LONGEST_NAME = 160
"""Bytes of a name that is made after a story: room for an ending, and for what temporary names add, within 255."""
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names that Windows takes for devices."""


@contextmanager
def replacing(path: Path, *, to_disk: bool = False) -> Iterator[Path]:
    """Yield a path to write to, of the same file name; it takes the place of `path` when the block ends well.

    It lies in a temporary folder beside `path`, so that what a library leaves beside its own file is gone as well. The
    folder is removed when the block ends badly, and by a later write to the same place if the process was killed. With
    `to_disk`, a machine that loses its power leaves the older file or the newer one.
    """
    with _temporary_beside(path) as folder:
        temporary = folder / path.name
        yield temporary
        temporary.chmod(0o644)  # some libraries write 0600, which would keep a colleague from reading a shared run
        if to_disk:
            _flush(temporary)
        temporary.replace(path)
    if to_disk:
        _flush(path.parent)


@contextmanager
def replacing_folder(path: Path, *, to_disk: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path` to fill; it takes the folder's place when the block ends well.

    No system call puts one folder in the place of another that is full. So the new one, when it is whole, first takes
    the name under which `whole_folder` looks for it: from that moment it is the one that counts. Then the older one
    goes, and the new one takes its name. A process that is killed at any moment leaves a whole folder, the older or
    the newer. With `to_disk`, a machine that loses its power does so too.
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
    """Yield a folder in the system's place for temporary files (TMPDIR); it is removed when the block ends."""
    with _temporary_beside(Path(tempfile.gettempdir()) / SCRATCH) as folder:
        yield folder


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, locked as long as it is in use, and remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if (parent := str(path.parent.absolute())) not in _swept:
        _swept.add(parent)  # what is stale was left by processes before this one, so once is enough
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
            continue  # another process took it for something stale before it was locked
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue  # it does so at this moment
        except OSError:
            pass  # some network file systems know no locks
        if folder.exists():
            return folder, handle
        os.close(handle)


def _name_target(error: OSError, folder: Path, path: Path) -> None:
    """Let an error in writing name the file that was to be written, and not the temporary one or none at all."""
    named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    if (named is None and error.errno in NO_SPACE) or (named and Path(named).is_relative_to(folder)):
        error.filename = str(path)
        error.filename2 = None


def is_temporary(path: Path) -> bool:
    """Whether a name is that of something half-written, which no reader may take for something whole."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY)


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing, or only what a killed process has left half-written."""
    return all(map(is_temporary, folder.iterdir()))


def sweep(folder: Path, *, names: Iterable[str] = ()) -> None:
    """Remove what killed processes have left half-written in a folder, and nothing that a process still writes.

    Where the caller holds the folder's lock, `names` may say which files are written there: whatever is called
    `.NAME.` and something goes, unless it is a whole folder that waits to take its place.
    """
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folder) as entries:
        starts = tuple(f".{name}." for name in names)
        for entry in entries:
            path = Path(entry.path)
            if is_temporary(path) and entry.is_dir(follow_symlinks=False):
                _remove_if_stale(path)
            elif starts and entry.name.startswith(starts) and not entry.name.endswith(WAITING):
                remove(path)


def remove(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or a link but not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_at_once(folder: Path) -> None:
    """Remove a folder in such a way that others see all of it or nothing."""
    with _temporary_beside(folder) as temporary:
        folder.rename(temporary / "old")


def _remove_if_stale(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return  # gone by now, or somebody else's
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # its writer lives
        except OSError:  # a file system without locks
            if time.time() - os.fstat(handle).st_mtime < FORGOTTEN:
                return
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def whole_folder(path: Path) -> Path:
    """Return where a folder that `replacing_folder` writes is; a kill may have left it between two names."""
    return _newer(path) if _newer(path).is_dir() else path


def _newer(path: Path) -> Path:
    return path.with_name(f".{path.name}{WAITING}")


def _finish_replacing(path: Path) -> None:
    """Put a whole newer folder in the place of the older one, where that has not been done yet."""
    if not _newer(path).is_dir():
        return
    if path.exists():
        with _temporary_beside(path) as older:
            path.rename(older / "old")
            _newer(path).rename(path)
    else:
        _newer(path).rename(path)


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
        if (reason := as_os_error(error)) is not None:
            raise VsrError(describe_os_error(reason, path)) from error
        raise VsrError(f"{path}: cannot be written ({error}); write to another disk") from error


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8; bytes of a name that are not UTF-8 are written as escapes."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Mapping[str, Any], *, seal: bool = True) -> None:
    """Write a mapping as indented JSON, with a checksum of its content unless nothing here reads it again."""
    write_text(path, to_json(sealed(value) if seal else value, indent=2) + "\n")


def read_json(path: Path, *, what: str) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises VsrError, naming `what` it should have been, if there is no such file or its content is not what was written.
    """
    refuse_special_file(path)
    try:
        return unsealed(from_json(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError as error:
        raise VsrError(f"{path}: there is no such file, so this is not {what}") from error
    except (ValueError, OSError) as error:
        refuse_system_error(error, path)
        raise VsrError(
            f"{path}: cannot be read as {what}, or is damaged ({error}); restore it or make it anew"
        ) from error

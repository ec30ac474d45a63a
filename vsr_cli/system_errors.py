"""Messages for errors of the operating system: no space, no memory, too many open files, no permission."""

from __future__ import annotations

import errno
import mmap
import os
import re
import tempfile
from pathlib import Path

from .errors import VsrError, one_line
from .files.home import expand_home

CACHE_VARIABLE = "VSR_CACHE"
SCRATCH = "vsr-scratch"
"""Prefix of the names of files and folders of vsr in TMPDIR, after a dot."""
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REMEDY = {
    errno.EMFILE: "raise the limit of open files with 'ulimit -n 65536', then run the command again",
    errno.ENFILE: "this machine has reached its limit of open files; close other programs, then run the command again",
    errno.ENOMEM: "close other programs or use a machine with more memory, then run the command again",
    errno.EACCES: "check the path and its permissions, then run the command again",
    errno.EPERM: "check the path and its permissions, then run the command again",
    errno.EROFS: "the file system is read-only; write to another folder, then run the command again",
    errno.EIO: "the disk or the network reports an error; check it, then run the command again",
    errno.ESTALE: "the network file system has lost the file; mount it again, then run the command again",
    errno.ETIMEDOUT: "the network file system does not answer; check it, then run the command again",
}
"""Remedies of errors that do not depend on the content of a file."""


def cache_folder() -> Path:
    """Return the folder that VSR_CACHE names, or `vsr` in the user's cache folder."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(expand_home(named))
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vsr"


def describe_os_error(error: OSError, path: Path | None = None) -> str:
    """Return one line with the path, reason and remedy of an error; `path` is used if the error names none."""
    known = error.errno in REMEDY or error.errno in NO_SPACE
    reason = os.strerror(error.errno or 0) if known else error.strerror or str(error) or type(error).__name__
    where = Path(os.fsdecode(error.filename)) if error.filename and not isinstance(error.filename, int) else path
    start = f"{where}: " if where is not None else ""
    if error.errno in NO_SPACE:
        return f"{start}{reason}; free some space{_elsewhere(where)}, then run the command again"
    remedy = REMEDY.get(error.errno or 0, REMEDY[errno.EACCES])
    return f"{start}{reason}; {remedy}"


def refuse_system_error(error: BaseException, path: Path) -> None:
    """Raise VsrError if an error in reading a file is one of the system, independent of the content of the file.

    Call it before reporting a file as damaged. Returns for all other errors.
    """
    found = as_os_error(error)
    if found is None:
        try:  # some libraries report that a file is missing, or damaged, when it could not be opened
            with path.open("rb") as file:
                file.read(1)
        except OSError as another:
            found = another
    if found is not None and (found.errno in REMEDY or found.errno in NO_SPACE):
        raise VsrError(describe_os_error(found, path)) from found


def refuse_exhaustion(error: BaseException, path: Path) -> None:
    """Raise VsrError if a file could not be read because this process has no open file or memory left.

    Call it before reporting a problem of that file, which would then be left out. Returns otherwise.
    """
    found = as_os_error(error)
    if found is None or found.errno not in EXHAUSTED:
        return
    if isinstance(error, MemoryError) and memory_is_left():
        return  # a damaged file requests an impossible amount
    raise VsrError(describe_os_error(found, path)) from error


def memory_is_left() -> bool:
    """Return whether enough memory is left to decode a large image."""
    try:
        mmap.mmap(-1, 2**28).close()
    except (OSError, ValueError, MemoryError):
        return False
    return True


def as_os_error(error: BaseException) -> OSError | None:
    """Return an error as an OSError, also if a Rust library or the interpreter reports it differently."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    if isinstance(error, MemoryError):
        return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    if match := re.search(r"\(os error (\d+)\)|\[[Ee]rrno (\d+)\]", str(error)):
        number = int(match[1] or match[2])
        return OSError(number, os.strerror(number))
    return None


OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "storage size calculation overflowed",
)
OUT_OF_THREADS = "can't start new thread"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error reports that memory or the threads of a user are exhausted."""
    message = str(error.args).lower()  # str() of an error class of a plugin may fail
    known = any(words in message for words in (*OUT_OF_MEMORY, OUT_OF_THREADS))
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and known)


def describe_out_of_memory(error: BaseException) -> str:
    """Return one line with the exhausted resource and the remedy."""
    if OUT_OF_THREADS in str(error).lower():
        return "this user may start no further thread; close other programs, or raise the limit with 'ulimit -u'"
    reason = f" ({one_line(error)})" if str(error) else ""
    return (
        f"not enough memory{reason}; close other programs, use a machine with more, or reduce --batch-size or "
        "data.image_size"
    )


def _elsewhere(path: Path | None) -> str:
    """Return the setting that moves the file to another disk, as part of a remedy."""
    if path is not None and path.is_relative_to(cache_folder()):
        return f" there or set {CACHE_VARIABLE} to a folder on another disk"
    if path is not None and path.is_relative_to(tempfile.gettempdir()) and is_scratch(path):
        return " there or set TMPDIR to a folder on another disk"
    return " or write to another disk"


def is_scratch(path: Path) -> bool:
    """Return whether a path in the folder for temporary files was created by vsr, not by the user."""
    parts = path.relative_to(tempfile.gettempdir()).parts
    return not parts or parts[0].lstrip(".").startswith(SCRATCH)

"""Text files from other programs: in UTF-8 or UTF-16, with or without a BOM, compressed or not."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO, cast

from ...errors import VsrError
from ...files.names import shown

MARKS = (
    # The longer ones first: UTF-32's begins with UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
GZIP = b"\x1f\x8b"


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading; decompress it if it is compressed by gzip, whatever its name."""
    with path.open("rb") as file:
        compressed = file.read(len(GZIP)) == GZIP
    return cast("IO[bytes]", gzip.open(path, "rb")) if compressed else path.open("rb")


def open_text(path: Path, *, newline: str | None = None) -> TextIO:
    """Open a text file for reading, in UTF-8 or the encoding of its BOM; decompress it if it is compressed by gzip.

    `newline` is that of `open`. Reading raises UnicodeDecodeError if the file is in another encoding.
    """
    with open_bytes(path) as file:
        start = file.read(4)
    return io.TextIOWrapper(open_bytes(path), encoding=encoding_of(start), newline=newline)


def encoding_of(start: bytes) -> str:
    """Return the encoding of a text by its first four bytes: that of the BOM, otherwise UTF-8."""
    return next((encoding for mark, encoding in MARKS if start.startswith(mark)), "utf-8")


def source_file(source: str | None, *, dataset: str, kind: str, content: str) -> Path:
    """Return the path of a dataset's source that must be a file. Raises VsrError if it is none.

    `kind` names the files that the dataset reads, `content` what they hold, for messages.
    """
    if source is None:
        raise VsrError(f"{dataset}: no source is given; name a {kind} file with {content}")
    path = Path(source)
    if path.is_dir():
        raise VsrError(f"{source}: is a folder; name the {kind} file in it")
    if not path.exists():
        raise VsrError(f"{source}: no such file; name a {kind} file with {content}")
    if not path.is_file():
        raise VsrError(f"{source}: is not a regular file; name a {kind} file")
    return path


@contextmanager
def refuse_unreadable(path: Path) -> Iterator[None]:
    """Raise VsrError, naming the file, for any error of the system or of gzip in the block."""
    where = shown(str(path))
    try:
        yield
    except (EOFError, zlib.error) as error:
        raise VsrError(f"{where}: the file is truncated or damaged; copy or download it again") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise VsrError(f"{where}: the file cannot be read ({reason}); check the file and its permissions") from error


def undecodable(path: Path) -> str:
    """Return a line that names the first byte of a file that is not UTF-8, with the remedy."""
    try:
        with open_bytes(path) as file:
            for number, line in enumerate(file, start=1):
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    byte = line[error.start]
                    legacy = bytes([byte]).decode("cp1252", errors="replace")
                    guess = f", which is {legacy!r} in Windows-1252" if legacy.isalpha() else ""
                    return f"line {number}: byte 0x{byte:02x} is not UTF-8{guess}; save the file as UTF-8"
    except (EOFError, OSError, zlib.error):
        return "is damaged; copy or download it again"
    return "is not UTF-8; save the file as UTF-8"

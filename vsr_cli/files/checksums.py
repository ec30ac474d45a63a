"""Checksums of files, to detect damage and to identify the weights that a result belongs to.

xxh3-128 is as fast as memory, so that verifying a file costs about as much as reading it. It protects against damage,
not against manipulation.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import xxhash

from ..errors import DamagedFile, VsrError
from .atomic import read_json, write_json
from .links import refuse_special_file

CHECKSUMS = "checksums.json"
"""A file with the checksum of every other file in its folder, by name."""
PIECE = 2**20
"""Bytes read at a time."""
_known: dict[tuple[str, int, int, int], str] = {}


def file_checksum(path: Path) -> str:
    """Return the checksum of a file's bytes, "xxh3-128:" and 32 hexadecimal digits.

    A file is read once per process; the result is cached by path, size, mtime and inode. Raises OSError.
    """
    facts = path.stat()
    key = (str(path), facts.st_size, facts.st_mtime_ns, facts.st_ino)
    if key not in _known:
        _known[key] = f"xxh3-128:{_digest(path, facts.st_size)}"
    return _known[key]


def content_checksum(content: bytes) -> str:
    """Return the checksum that a file with this content has."""
    return f"xxh3-128:{xxhash.xxh3_128_hexdigest(content)}"


def _digest(path: Path, size: int) -> str:
    if not size:
        return xxhash.xxh3_128_hexdigest(b"")
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:  # read, not mapped: a mapped file counts as memory of the process
        buffer = memoryview(bytearray(min(size, PIECE)))
        while read := file.readinto(buffer):
            digest.update(buffer[:read])
    return digest.hexdigest()


def verify_file(path: Path, expected: str, *, remedy: str) -> None:
    """Raise DamagedFile, naming the `remedy`, if the checksum of a file differs from the expected one."""
    refuse_special_file(path)
    try:
        found = file_checksum(path)
    except FileNotFoundError as error:
        raise DamagedFile(f"{path}: is missing; {remedy}") from error
    if found != expected:
        raise DamagedFile(f"{path}: is damaged: its checksum differs; {remedy}")


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Write the checksums of some files of a folder into its checksums.json."""
    write_json(folder / CHECKSUMS, {name: file_checksum(folder / name) for name in sorted(names)})


def read_checksums(folder: Path, *, remedy: str) -> dict[str, str]:
    """Read a folder's checksums.json. Raises VsrError, naming the `remedy`, if it is missing or damaged."""
    try:
        found = read_json(folder / CHECKSUMS, what="a list of checksums")
    except VsrError as error:
        raise VsrError(f"{error}; {remedy}") from error
    if not all(isinstance(value, str) for value in found.values()):
        raise VsrError(f"{folder / CHECKSUMS}: is damaged; {remedy}")
    return found

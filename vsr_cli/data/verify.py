"""The full check of prepared data: every file is read, where other commands read those that they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from ..errors import VsrError
from ..files.checksums import read_checksums
from .preparation.chunks import Chunk
from .prepared import CHUNKS, Prepared
from .shards import REMEDY


@dataclass
class Verified:
    """What a full check has found."""

    files: int = 0
    """Read."""
    damaged: list[str] = field(default_factory=list)
    """A line on each file that is missing, or is not what was written."""

    def check(self, *reads: Callable[[], object]) -> None:
        """Call what reads a file each, and note those that raise VsrError."""
        for read in reads:
            self.files += 1
            try:
                read()
            except VsrError as error:
                self.damaged.append(str(error))


def verify_prepared(prepared: Prepared) -> Verified:
    """Read every file that prepared data, whose manifest has been read, consists of."""
    found = Verified(files=1)
    checksums: dict[str, str] = {}
    found.check(lambda: checksums.update(read_checksums(prepared.tables, remedy=REMEDY)))
    for name in checksums:
        found.check(partial(prepared.verified, name))
    found.check(prepared.summary)
    chunks: list[tuple[str, int]] = []
    try:
        chunks += prepared.chunks()
    except VsrError:
        return found  # it is one of the tables, and noted
    for key, _ in chunks:
        chunk = Chunk(prepared.folder / CHUNKS, key)
        found.check(chunk.verify_pictures, partial(list, chunk.records()))
    return found

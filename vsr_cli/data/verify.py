"""The full check of prepared data, which reads every file."""

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
    """The result of a full check."""

    files: int = 0
    """Number of files read."""
    damaged: list[str] = field(default_factory=list)
    """A message for each file that is missing or damaged."""

    def check(self, *reads: Callable[[], object]) -> None:
        """Call functions that read a file each, and record those that raise VsrError."""
        for read in reads:
            self.files += 1
            try:
                read()
            except VsrError as error:
                self.damaged.append(str(error))


def verify_prepared(prepared: Prepared) -> Verified:
    """Read every file of prepared data. The manifest has been read already."""
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
        return found  # recorded above, as it is one of the tables
    for key, _ in chunks:
        chunk = Chunk(prepared.folder / CHUNKS, key)
        found.check(chunk.verify_images, partial(list, chunk.records()))
    return found

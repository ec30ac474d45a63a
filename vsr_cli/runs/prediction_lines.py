"""The lines of predictions.jsonl, each read when it is needed: those of a large split do not fit in memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import VsrError
from ..files.strict_json import from_json
from ..system_errors import refuse_system_error


class PredictionLines(Sequence[dict[str, Any]]):
    """The scored windows of an evaluation, in order, from its file. Raises VsrError, naming the `remedy`, on damage."""

    def __init__(self, path: Path, *, remedy: str) -> None:
        self._path = path
        self._remedy = remedy
        try:
            with path.open("rb") as file:
                # An empty file cannot be mapped.
                self._content: bytes | mmap.mmap = (
                    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
                )
        except OSError as error:
            raise self._unreadable(error) from error
        # Bytes, because text lines also end at characters such as U+2028, which JSON does not escape.
        self._ends = list(self._line_ends())

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: Any) -> Any:
        row = range(len(self))[number]
        start = self._ends[row - 1] if row else 0
        try:
            return from_json(self._content[start : self._ends[row]])
        except ValueError as error:
            raise self._unreadable(error) from error

    def _line_ends(self) -> Iterator[int]:
        end = 0
        while end < len(self._content):
            end = self._content.find(b"\n", end) + 1 or len(self._content)
            yield end

    def _unreadable(self, error: Exception) -> VsrError:
        refuse_system_error(error, self._path)
        return VsrError(f"{self._path}: cannot be read ({error}); {self._remedy}")

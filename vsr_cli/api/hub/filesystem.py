"""The files of a `HubStream` as fsspec has files, which is how `datasets` and pyarrow read from afar."""

from __future__ import annotations

from typing import Any

from fsspec import AbstractFileSystem  # type: ignore[import-untyped]
from fsspec.caching import BaseCache  # type: ignore[import-untyped]
from fsspec.spec import AbstractBufferedFile  # type: ignore[import-untyped]

from .pieces import Cut, pieces
from .refusals import told_in_one_line
from .stream import PROTOCOL, HubStream

AHEAD = 2**20
"""Bytes that a short read brings at least; a longer one brings what it asks for."""


class HubFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """One commit of a dataset, to be read. What is in it is known beforehand, so the hub is asked for bytes alone."""

    protocol = PROTOCOL
    cachable = False  # a kept instance would keep all that it has read alive

    def __init__(self, *, stream: HubStream, **options: Any) -> None:
        super().__init__(**options)
        self.stream = stream
        self._root = self._strip_protocol(stream.url(""))

    def name(self, path: str) -> str:
        """Return the path in the repository that a path stands for."""
        return str(self._strip_protocol(path)).removeprefix(f"{self._root}/")

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Say that a path is a file, and its size. Raises FileNotFoundError for any other."""
        file = self.stream.listing.files.get(self.name(path))
        if file is None:
            raise FileNotFoundError(path)
        return {"name": f"{self._root}/{file.name}", "size": file.size, "type": "file"}

    def find(self, path: str, detail: bool = False, **_: Any) -> Any:
        """List all files under a path, which is what a pattern is held against."""
        top = f"{self._strip_protocol(path)}/"
        paths = [f"{self._root}/{name}" for name in self.stream.names]
        found = {path: self.info(path) for path in paths if path.startswith(top)}
        return found if detail else [*found]

    def _open(self, path: str, mode: str = "rb", **_: Any) -> HubFileReader:
        return HubFileReader(self, path, mode, AHEAD, cache_type="none")


class HubFileReader(AbstractBufferedFile):  # type: ignore[misc]
    """A file that can be read from any place."""

    fs: HubFileSystem

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cache = _Windows(self)

    def _fetch_range(self, start: int, end: int) -> bytes:
        from huggingface_hub.errors import GatedRepoError, HTTPError  # type: ignore[attr-defined]

        stream = self.fs.stream
        file, content = stream.listing.files[self.fs.name(self.path)], bytearray()
        with told_in_one_line(stream.wish):
            try:
                for piece in pieces(file, start=start, end=end, whole_will_do=False):
                    content += piece
            except GatedRepoError:
                raise
            except (HTTPError, OSError) as error:
                raise Cut(file, at=start + len(content)) from error
        return bytes(content)


class _Windows(BaseCache):  # type: ignore[misc]
    """Reads by what the last few short reads have brought, of whichever file.

    pyarrow reads the columns of a row group whole and in no order, and a file's end each time that it is opened.
    fsspec's own caches hold one stretch, which two columns in turn throw away, or cut a long read into many requests.
    """

    def __init__(self, file: HubFileReader) -> None:
        super().__init__(AHEAD, file._fetch_range, file.size)
        self._name, self._windows = file.fs.name(file.path), file.fs.stream.windows

    def _fetch(self, start: int | None, end: int | None) -> bytes:
        first, last = start or 0, self.size if end is None else min(end, self.size)
        if last - first > AHEAD:
            return bytes(self.fetcher(first, last))
        for name, at, content in tuple(self._windows):
            if name == self._name and at <= first and last <= at + len(content):
                return content[first - at : last - at]
        if first >= last:
            return b""
        content = bytes(self.fetcher(first, min(first + AHEAD, self.size)))
        self._windows.append((self._name, first, content))
        return content[: last - first]

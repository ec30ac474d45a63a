"""Where a source's files lie: in a folder, in the hub's cache, or on the hub itself."""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

from vsr_cli.api import VsrError, image_suffixes

from ..hub_source import HubStream

TABLE_SUFFIXES = (".parquet", ".arrow", ".json", ".jsonl", ".ndjson", ".csv", ".tsv")
FILES = [
    "README.md",
    *(f"*{form(end)}" for end in (*TABLE_SUFFIXES, *image_suffixes()) for form in (str.lower, str.upper)),
]
"""What is fetched, and all that is read: never a script, nor anything that unpickles."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a source's files lie."""

    path: Path
    """The folder, or one file."""
    folder: Path
    """What a row's relative paths are relative to."""
    bounds: Path
    """The folder, free of links, that nothing leads out of. (The hub's cache links to files beside a commit's.)"""
    stream: HubStream | None = None
    """Where the bytes come from, if not from the folder, which then is an empty likeness of what is on the hub."""

    def __str__(self) -> str:
        return str(self.path if self.stream is None else self.stream)

    def file(self, cell: str) -> Path:
        """Return the path that a row's cell names. The library names a stream's own images by their addresses."""
        if self.stream is not None:
            cell = cell.removeprefix(self.stream.url(""))
        return self.folder / cell

    def name(self, file: Path) -> str:
        """Return the path in the repository of a file in a stream's likeness."""
        return file.relative_to(self.folder).as_posix()


def local_place(source: str | None, *, streaming: bool) -> Place | None:
    """Return the place that a source names, or None where it is a hub id. Raises VsrError if it is neither."""
    if source is None:
        raise VsrError("hf: no source is given; name a dataset of the hub (owner/name) or a local folder or file")
    path = Path(source)
    if path.exists() and streaming:
        raise VsrError(f"{source}: is local, and read where it is; leave out dataset.streaming")
    if path.is_dir():
        return Place(path=path, folder=path, bounds=path.resolve())
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        return Place(path=path, folder=path.parent, bounds=path.parent.resolve())
    if path.exists():
        raise VsrError(f"{source}: is no file of a known kind; give {', '.join(TABLE_SUFFIXES)}, or a folder of them")
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]*\w", source):
        raise VsrError(f"{source}: no such folder or file, and not a hub id; give one, or a hub id as owner/name")
    return None


def fetched_place(folder: Path) -> Place:
    """Return the place of a commit's folder in the hub's cache."""
    return Place(path=folder, folder=folder, bounds=folder.parent.parent.resolve())


def streamed_place(stream: HubStream) -> Place:
    """Return place of a stream: a folder with its README, and for each other file one of the same name and no bytes.

    From names alone the library tells splits and configurations, by the same rules as for a folder of the files.
    The folder goes when the place does.
    """
    folder = Path(tempfile.mkdtemp(prefix="vsr-stream-")).resolve()
    place = Place(path=folder, folder=folder, bounds=folder, stream=stream)
    weakref.finalize(place, shutil.rmtree, folder, ignore_errors=True)
    for name in stream.names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(stream.read(name) if name == "README.md" else b"")
    return place

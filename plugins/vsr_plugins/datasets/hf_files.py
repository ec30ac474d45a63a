"""The files of the dataset `hf`: where they are, and their rows, with no image decoded."""

from __future__ import annotations

import glob
import logging
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from vsr_cli.api import VsrError, describe_missing_columns, image_suffixes

from .hub_source import HubStream

TABLE_SUFFIXES = (".parquet", ".arrow", ".json", ".jsonl", ".ndjson", ".csv", ".tsv")
FILES = [
    "README.md",
    *(f"*{form(end)}" for end in (*TABLE_SUFFIXES, *image_suffixes()) for form in (str.lower, str.upper)),
]
"""The files that are downloaded and read: no scripts, and no formats that are unpickled."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """The location of the files of a source."""

    path: Path
    """The folder, or one file."""
    folder: Path
    """The folder that relative paths in rows refer to."""
    bounds: Path
    """The resolved folder that all files must be in, which in the cache of the Hub is above the folder of a commit."""
    stream: HubStream | None = None
    """The source of the content of a stream; the folder then has an empty file for each file on the Hub."""

    def __str__(self) -> str:
        return str(self.path if self.stream is None else self.stream)

    def file(self, cell: str) -> Path:
        """Return the path that a row's cell names. The library names a stream's own images by their addresses."""
        if self.stream is not None:
            cell = cell.removeprefix(self.stream.url(""))
        return self.folder / cell

    def name(self, file: Path) -> str:
        """Return the path in the repository of an empty file of a stream."""
        return file.relative_to(self.folder).as_posix()


def local_location(source: str | None, *, streaming: bool) -> Location | None:
    """Return the location that a source names, or None for a Hub id. Raises VsrError if it is neither."""
    if source is None:
        raise VsrError("hf: no source is given; name a dataset of the hub (owner/name) or a local folder or file")
    path = Path(source)
    if path.exists() and streaming:
        raise VsrError(f"{source}: is local, so it is not streamed; leave out dataset.streaming")
    if path.is_dir():
        return Location(path=path, folder=path, bounds=path.resolve())
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        return Location(path=path, folder=path.parent, bounds=path.parent.resolve())
    if path.exists():
        raise VsrError(f"{source}: unsupported format; name {', '.join(TABLE_SUFFIXES)}, or a folder of them")
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]*\w", source):
        raise VsrError(f"{source}: no such folder or file, and not a hub id; name one, or a Hub id as owner/name")
    return None


def fetched_location(folder: Path) -> Location:
    """Return the location of a commit's folder in the hub's cache."""
    return Location(path=folder, folder=folder, bounds=folder.parent.parent.resolve())


def streamed_location(stream: HubStream) -> Location:
    """Return the location of a stream: a folder with its README, and an empty file for each other file.

    The library derives splits and configurations from names only, by the same rules as for a folder of the files.
    The folder is removed together with the location.
    """
    folder = Path(tempfile.mkdtemp(prefix="vsr-stream-")).resolve()
    location = Location(path=folder, folder=folder, bounds=folder, stream=stream)
    weakref.finalize(location, shutil.rmtree, folder, ignore_errors=True)
    for name in stream.names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(stream.read(name) if name == "README.md" else b"")
    return location


ROWS_AT_ONCE = 16
"""Rows of parquet files that are read at once; a row group may hold hundreds of rows of images."""
KNOWN = f"{', '.join(TABLE_SUFFIXES)} or a folder of images with a metadata file"


@contextmanager
def readable(location: Location) -> Iterator[None]:
    """Raise a VsrError for any error of the libraries about unreadable files."""
    import pyarrow as pa
    from datasets.exceptions import DatasetsError
    from datasets.utils import logging as datasets_logging
    from huggingface_hub import logging as hub_logging
    from yaml import YAMLError  # type: ignore[import-untyped]

    # The libraries log an error before they raise it, which would be printed twice, and warn of plain READMEs.
    verbosity = datasets_logging.get_verbosity(), hub_logging.get_verbosity()
    datasets_logging.set_verbosity(logging.CRITICAL)
    hub_logging.set_verbosity(logging.CRITICAL)
    try:
        if location.stream is not None:
            with location.stream.source.errors():
                yield
        else:
            yield
    except (pa.ArrowException, DatasetsError, YAMLError, OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise VsrError(f"{location}: cannot be read as a dataset ({reason}); check its files and `config`") from error
    finally:
        datasets_logging.set_verbosity(verbosity[0])
        hub_logging.set_verbosity(verbosity[1])


def open_splits(
    location: Location, columns: Mapping[str, str], *, config: str | None
) -> dict[str, Iterator[Mapping[str, Any]]]:
    """Return a stream of rows for each split. `columns` maps options to the columns that they name.

    Raises VsrError if the files cannot be read as a dataset, lie elsewhere, or lack a column.
    """
    from pyarrow.dataset import ParquetFragmentScanOptions

    with readable(location):
        _check_card(location)
        builder, files = _builder(location, config)
        _check_files(location, files)
        splits = builder.as_streaming_dataset()
        for split, rows in splits.items():
            _check_columns(location, split, _names(rows), columns)
        wanted = list(dict.fromkeys(columns.values()))
        if all(file.suffix.lower() == ".parquet" for file in files):
            # Read ahead, pyarrow holds on to all of a file that it has read.
            no_read_ahead = ParquetFragmentScanOptions(pre_buffer=False)
            builder, _ = _builder(
                location, config, columns=wanted, batch_size=ROWS_AT_ONCE, fragment_scan_options=no_read_ahead
            )
            splits = builder.as_streaming_dataset()
        streams = {split: _undecoded(rows.select_columns(wanted)) for split, rows in splits.items()}
        return {split: _by_row_group(rows) for split, rows in streams.items()}


def _builder(location: Location, config: str | None, **options: Any) -> tuple[Any, list[Path]]:
    """Return the library's reader of a location, and the files that it will read; those of a stream from the hub."""
    from datasets import load_dataset_builder

    path = str(location.path.absolute())
    if location.path.is_dir():
        if glob.has_magic(path):
            raise VsrError(
                f"{path}: the path holds one of * ? [, which the datasets library takes for a pattern; rename"
            )
        builder = load_dataset_builder(path, config, **options)
    elif config is not None:
        raise VsrError(f"{path}: one file has no configurations; leave out `config`, or name its folder")
    else:
        kind = {".jsonl": "json", ".ndjson": "json", ".tsv": "csv"}.get(
            suffix := location.path.suffix.lower(), suffix[1:]
        )
        # A data file is a pattern: a file named "a[1]" must stand for itself.
        tab = {"sep": "\t"} if suffix == ".tsv" else {}
        builder = load_dataset_builder(kind, data_files=glob.escape(path), **tab, **options)
    found = (builder.config.data_files or {}).values()
    files = [Path(file) for paths in found for file in paths]
    if location.stream is not None:
        for paths in found:
            paths[:] = [location.stream.url(location.name(Path(file))) for file in paths]
    return builder, files


def _check_card(location: Location) -> None:
    """Refuse a README whose configurations name files elsewhere, before the library looks for them."""
    from huggingface_hub import DatasetCard

    if not location.path.is_dir():
        return
    if (location.path / ".huggingface.yaml").exists():
        raise VsrError(f"{location}: holds .huggingface.yaml, which is not read; put its configs into README.md")
    card = location.path / "README.md"
    if card.is_file():
        _check_files(location, [card])
        data = DatasetCard.load(card, ignore_metadata_errors=True).data.to_dict()
        for configuration in data.get("configs") or []:
            for name in _strings([configuration.get(key) for key in ("data_files", "data_dir")]):
                windows, posix = PureWindowsPath(name), PurePosixPath(name)
                climbs = ".." in windows.parts or ".." in posix.parts
                if climbs or windows.anchor or posix.anchor or "://" in name or "::" in name:
                    raise VsrError(
                        f"{location}: its README.md names data elsewhere ({name[:80]}); copy it into the folder"
                    )


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _strings(inner)


def _check_files(location: Location, files: Sequence[Path]) -> None:
    for file in files:
        if not file.resolve().is_relative_to(location.bounds):
            raise VsrError(f"{location}: {file.name} is a link out of the folder; copy the file into it")
        if file.name != "README.md" and file.suffix.lower() not in (*TABLE_SUFFIXES, *image_suffixes()):
            raise VsrError(f"{location}: {file.name} has an unsupported format; use {KNOWN}, unpacked")


def _names(rows: Any) -> list[str]:
    if rows.features is not None:
        return list(rows.features)
    return list(next(iter(rows), {}))


def _check_columns(location: Location, split: str, names: list[str], columns: Mapping[str, str]) -> None:
    if missing := {option: column for option, column in columns.items() if column not in names}:
        line = describe_missing_columns(missing, names, hint=lambda option: f" (--set dataset.{option}=COLUMN)")
        raise VsrError(f"{location}: split {split}: {line}")


def _undecoded(rows: Any) -> Any:
    # Where the library learns the columns' types only as it reads, none is an image.
    return rows if rows.features is None else rows.decode(False)


def _by_row_group(rows: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the rows, file by file and, in parquet, row group by row group.

    Of a whole parquet file, pyarrow's threads read all they can, far ahead of its rows.
    """
    for index in range(rows.num_shards):
        yield from rows.shard(num_shards=rows.num_shards, index=index).reshard()

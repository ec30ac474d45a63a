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


ROWS_AT_ONCE = 16
"""Rows of parquet files that are read at once; a row group may hold hundreds of rows of images."""
KNOWN = f"{', '.join(TABLE_SUFFIXES)} or a folder of pictures with a metadata file"


@contextmanager
def readable(place: Place) -> Iterator[None]:
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
        if place.stream is not None:
            with place.stream.source.errors():
                yield
        else:
            yield
    except (pa.ArrowException, DatasetsError, YAMLError, OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise VsrError(f"{place}: cannot be read as a dataset ({reason}); check its files and `config`") from error
    finally:
        datasets_logging.set_verbosity(verbosity[0])
        hub_logging.set_verbosity(verbosity[1])


def open_splits(
    place: Place, columns: Mapping[str, str], *, config: str | None
) -> dict[str, Iterator[Mapping[str, Any]]]:
    """Return a stream of rows for each split. `columns` maps options to the columns that they name.

    Raises VsrError if the files cannot be read as a dataset, lie elsewhere, or lack a column.
    """
    from pyarrow.dataset import ParquetFragmentScanOptions

    with readable(place):
        _check_card(place)
        builder, files = _builder(place, config)
        _check_files(place, files)
        splits = builder.as_streaming_dataset()
        for split, rows in splits.items():
            _check_columns(place, split, _names(rows), columns)
        wanted = list(dict.fromkeys(columns.values()))
        if all(file.suffix.lower() == ".parquet" for file in files):
            # Read ahead, pyarrow holds on to all of a file that it has read.
            no_read_ahead = ParquetFragmentScanOptions(pre_buffer=False)
            builder, _ = _builder(
                place, config, columns=wanted, batch_size=ROWS_AT_ONCE, fragment_scan_options=no_read_ahead
            )
            splits = builder.as_streaming_dataset()
        streams = {split: _undecoded(rows.select_columns(wanted)) for split, rows in splits.items()}
        return {split: _in_turn(rows) for split, rows in streams.items()}


def _builder(place: Place, config: str | None, **options: Any) -> tuple[Any, list[Path]]:
    """Return the library's reader of a place, and the files that it will read; those of a stream from the hub."""
    from datasets import load_dataset_builder

    path = str(place.path.absolute())
    if place.path.is_dir():
        if glob.has_magic(path):
            raise VsrError(
                f"{path}: the path holds one of * ? [, which the datasets library takes for a pattern; rename"
            )
        builder = load_dataset_builder(path, config, **options)
    elif config is not None:
        raise VsrError(f"{path}: one file has no configurations; leave out `config`, or give its folder")
    else:
        kind = {".jsonl": "json", ".ndjson": "json", ".tsv": "csv"}.get(suffix := place.path.suffix.lower(), suffix[1:])
        # A data file is a pattern: a file named "a[1]" must stand for itself.
        tab = {"sep": "\t"} if suffix == ".tsv" else {}
        builder = load_dataset_builder(kind, data_files=glob.escape(path), **tab, **options)
    found = (builder.config.data_files or {}).values()
    files = [Path(file) for paths in found for file in paths]
    if place.stream is not None:
        for paths in found:
            paths[:] = [place.stream.url(place.name(Path(file))) for file in paths]
    return builder, files


def _check_card(place: Place) -> None:
    """Refuse a README whose configurations name files elsewhere, before the library looks for them."""
    from huggingface_hub import DatasetCard

    if not place.path.is_dir():
        return
    if (place.path / ".huggingface.yaml").exists():
        raise VsrError(f"{place}: holds .huggingface.yaml, which is not read; put its configs into README.md")
    card = place.path / "README.md"
    if card.is_file():
        _check_files(place, [card])
        data = DatasetCard.load(card, ignore_metadata_errors=True).data.to_dict()
        for configuration in data.get("configs") or []:
            for name in _strings([configuration.get(key) for key in ("data_files", "data_dir")]):
                windows, posix = PureWindowsPath(name), PurePosixPath(name)
                climbs = ".." in windows.parts or ".." in posix.parts
                if climbs or windows.anchor or posix.anchor or "://" in name or "::" in name:
                    raise VsrError(
                        f"{place}: its README.md names data elsewhere ({name[:80]}); copy it into the folder"
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


def _check_files(place: Place, files: Sequence[Path]) -> None:
    for file in files:
        if not file.resolve().is_relative_to(place.bounds):
            raise VsrError(f"{place}: {file.name} is a link out of the folder; copy the file into it")
        if file.name != "README.md" and file.suffix.lower() not in (*TABLE_SUFFIXES, *image_suffixes()):
            raise VsrError(f"{place}: {file.name} is of no kind that is read; give {KNOWN}, unpacked")


def _names(rows: Any) -> list[str]:
    if rows.features is not None:
        return list(rows.features)
    return list(next(iter(rows), {}))


def _check_columns(place: Place, split: str, names: list[str], columns: Mapping[str, str]) -> None:
    if missing := {option: column for option, column in columns.items() if column not in names}:
        line = describe_missing_columns(missing, names, hint=lambda option: f" (--set dataset.{option}=COLUMN)")
        raise VsrError(f"{place}: split {split}: {line}")


def _undecoded(rows: Any) -> Any:
    # Where the library learns the columns' types only as it reads, none is an image.
    return rows if rows.features is None else rows.decode(False)


def _in_turn(rows: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the rows, file by file and, in parquet, row group by row group.

    Of a whole parquet file, pyarrow's threads read all they can, far ahead of its rows.
    """
    for index in range(rows.num_shards):
        yield from rows.shard(num_shards=rows.num_shards, index=index).reshard()

"""Streams of rows of a source's files, one per split, without decoding images or writing to disk."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from vsr_cli.api import VsrError, image_suffixes

from .places import TABLE_SUFFIXES, Place

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
    for option, column in columns.items():
        if column not in names:
            close = get_close_matches(column, names, n=3, cutoff=0.5)
            near = f"did you mean {' or '.join(close)}?" if close else f"name one with --set dataset.{option}=COLUMN"
            has = ", ".join(names)[:300] or "none"
            raise VsrError(f"{place}: split {split} has no column {column!r} for {option} (has: {has}); {near}")


def _undecoded(rows: Any) -> Any:
    # Where the library learns the columns' types only as it reads, none is an image.
    return rows if rows.features is None else rows.decode(False)


def _in_turn(rows: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the rows, file by file and, in parquet, row group by row group.

    Of a whole parquet file, pyarrow's threads read all they can, far ahead of its rows.
    """
    for index in range(rows.num_shards):
        yield from rows.shard(num_shards=rows.num_shards, index=index).reshard()

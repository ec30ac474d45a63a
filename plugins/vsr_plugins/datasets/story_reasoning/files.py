"""The parquet files of StoryReasoning, in a folder or on the hub, and their rows."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vsr_cli.api import VsrError

from ..hub_source import HubStream

HUB_ID = "daniel3303/StoryReasoning"
FILES = "data/*.parquet"
LAYOUT = "data/train-*.parquet, data/test-*.parquet"
SPLITS = ("train", "validation", "test")
COLUMNS = ("story_id", "images", "frame_count", "story")
ANALYSIS = "chain_of_thought"
"""A column that may be absent: nothing is trained on it."""
ROWS_AT_ONCE = 16
"""Rows that are read at once: a row holds about 200 kB of images, and a row group a hundred rows."""
BUFFER = 2**20
"""Bytes of a column that are read at once from a file."""


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """One file, of a folder or of a stream."""

    split: str
    name: str
    """Its path; of a stream, in the repository."""
    stream: HubStream | None = None

    def __str__(self) -> str:
        return self.name if self.stream is None else f"{self.stream}: {self.name}"

    def columns(self) -> list[str]:
        """Return the names of the columns to read. Raises VsrError where one lacks, or holds something else."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._readable(), self._open() as file:
            schema = pq.read_schema(file)
        if missing := [name for name in COLUMNS if name not in schema.names]:
            has = ", ".join(schema.names) or "none"
            what = f"lacks the columns {', '.join(missing)} (has {has})"
            raise VsrError(f"{self}: {what}; use the original files of StoryReasoning")
        images = schema.field("images").type
        encoded = None
        if (pa.types.is_list(images) or pa.types.is_large_list(images)) and pa.types.is_struct(images.value_type):
            at = images.value_type.get_field_index("bytes")
            encoded = images.value_type.field(at).type if at >= 0 else None
        if encoded not in (pa.binary(), pa.large_binary(), pa.binary_view()):
            what = f"images is not a list of encoded images ({images})"
            raise VsrError(f"{self}: {what}; use the original files of StoryReasoning")
        return [*COLUMNS, *([ANALYSIS] if ANALYSIS in schema.names else [])]

    def row_count(self) -> int:
        """Return the number of rows, from the metadata of the file. Raises VsrError if it cannot be read."""
        import pyarrow.parquet as pq

        with self._readable(), self._open() as file:
            return int(pq.read_metadata(file).num_rows)

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rows, images encoded. Raises VsrError as soon as one cannot be read."""
        columns = self.columns()
        yield from self._local_rows(columns) if self.stream is None else self._streamed_rows(columns)

    def _local_rows(self, columns: list[str]) -> Iterator[Mapping[str, Any]]:
        """Read one row group after the other; the footer, which lists all of them, is not read again for each."""
        import pyarrow.parquet as pq

        # Read ahead, pyarrow holds on to all of a row group that it has read.
        with self._readable(), pq.ParquetFile(self.name, pre_buffer=False, buffer_size=BUFFER) as file:
            for group in range(file.num_row_groups):
                missing = file.metadata.row_group(group).num_rows
                for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=columns):
                    missing -= len(batch)
                    yield from batch.to_pylist()
                if missing:  # where a page is damaged, pyarrow may end early without an error
                    raise ValueError(f"row group {group} lacks {missing} of its rows")

    def _streamed_rows(self, columns: list[str]) -> Iterator[Mapping[str, Any]]:
        """Read by the datasets library, which fetches no more of a stream than its rows need."""
        from datasets import Image, List, load_dataset
        from datasets.exceptions import DatasetsError
        from pyarrow.dataset import ParquetFragmentScanOptions

        assert self.stream is not None
        with self._readable(DatasetsError):
            table = load_dataset(
                "parquet",
                # A data file is a pattern: a file with "[1]" in its name must stand for itself.
                data_files={self.split: [glob.escape(self.stream.url(self.name))]},
                split=self.split,
                streaming=True,
                trust_remote_code=False,
                columns=columns,
                batch_size=ROWS_AT_ONCE,
                # Read ahead, pyarrow holds on to all of a file that it has read.
                fragment_scan_options=ParquetFragmentScanOptions(pre_buffer=False),
            )
            # A row group after the other: of a whole file, pyarrow's threads read all they can, far ahead of its rows.
            yield from table.reshard().cast_column("images", List(Image(decode=False)))

    def _open(self) -> IO[bytes]:
        return Path(self.name).open("rb") if self.stream is None else self.stream.open(self.name)

    @contextmanager
    def _readable(self, *kinds: type[Exception]) -> Iterator[None]:
        import pyarrow as pa

        if self.stream is not None:
            with self.stream.source.errors():
                yield
            return
        try:
            yield
        except (pa.ArrowException, OSError, ValueError, TypeError, *kinds) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            what = f"unreadable parquet ({reason})"
            raise VsrError(f"{self}: {what}; fetch or copy the file again") from error


def local_folder(source: str | None, *, streaming: bool) -> Path | None:
    """Return the folder that a source names, or None where it is a hub id. Raises VsrError if it is neither."""
    if source is None:
        return None
    folder = Path(source)
    if folder.is_dir():
        if streaming:
            raise VsrError(f"{source}: is a local folder, so it is not streamed; leave out dataset.streaming")
        return folder
    if folder.exists():
        raise VsrError(f"{source}: is a file; name the folder that holds {LAYOUT}")
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]*\w", source):
        raise VsrError(f"{source}: no such folder, and not a hub id; name a folder that holds {LAYOUT}, or {HUB_ID}")
    return None


def files_in(folder: Path) -> list[TableFile]:
    """Return the files of a folder, in the order in which they are read. Raises VsrError where there are none."""
    files = [
        TableFile(split=split, name=str(path))
        for split in SPLITS
        for path in sorted((folder / "data").glob(f"{split}-*.parquet"))
    ]
    if not files:
        raise VsrError(f"{folder}: no parquet files of StoryReasoning; name a folder that holds {LAYOUT}")
    return files


def files_of(stream: HubStream) -> list[TableFile]:
    """Return the files of a stream, in the order in which they are read. Raises VsrError where there are none."""
    files = [
        TableFile(split=split, name=name, stream=stream)
        for split in SPLITS
        for name in sorted(stream.names)
        if re.fullmatch(rf"data/{split}-[^/]*\.parquet", name)
    ]
    if not files:
        raise VsrError(f"{stream}: no parquet files of StoryReasoning; name a dataset that holds {LAYOUT}")
    return files

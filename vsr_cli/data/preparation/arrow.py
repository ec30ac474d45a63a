"""Arrow tables of a prepared folder: their columns (docs/reference/prepared-data.md) and how they are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

ROWS_A_BATCH = 1024
"""How many rows of a table are held before they are written."""


class ArrowRows:
    """Rows on their way into an Arrow stream, a batch at a time."""

    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer = writer
        self._schema = schema
        self._pending: list[dict[str, Any]] = []

    def append(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self._pending.append(row)
        if len(self._pending) == ROWS_A_BATCH:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are held."""
        if self._pending:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._pending, schema=self._schema))
            self._pending = []


@contextmanager
def arrow_writer(path: Path, schema: Any) -> Iterator[Any]:
    """Open an Arrow IPC stream to write tables and batches to."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        yield writer


@contextmanager
def arrow_rows(path: Path, schema: Any) -> Iterator[ArrowRows]:
    """Open an Arrow IPC stream to write rows to; what is held is written when the block ends well."""
    with arrow_writer(path, schema) as writer:
        rows = ArrowRows(writer, schema)
        yield rows
        rows.flush()


ENTITY = pa.struct([("kind", pa.string()), ("ids", pa.list_(pa.string())), ("start", pa.int32()), ("end", pa.int32())])
STORY_SCHEMA = pa.schema(
    [
        ("story", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("dropped", pa.string()),
        ("first_frame", pa.int64()),
        ("frames", pa.int32()),
        ("source_characters", pa.int64()),
        ("analysis", pa.string()),
    ]
)
FRAME_SCHEMA = pa.schema(
    [
        ("story", pa.int64()),
        ("index", pa.int32()),
        ("image_row", pa.int64()),
        ("text_row", pa.int64()),
        ("problem", pa.string()),
        ("entities", pa.list_(ENTITY)),
    ]
)
IMAGE_SCHEMA = pa.schema(
    [
        ("stored_row", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("digest", pa.binary(16)),
        ("hash", pa.uint64()),
    ]
)
TEXT_SCHEMA = pa.schema([("text", pa.string())])
WINDOW_SCHEMA = pa.schema(
    [("story", pa.string()), ("split", pa.string()), ("frames", pa.list_(pa.int64())), ("padded", pa.bool_())]
)

"""The columns of the tables of a prepared folder; docs/reference/prepared-data.md says what they mean."""

from __future__ import annotations

import pyarrow as pa

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

"""The prepared folder: what `vsr prepare` writes and everything after it reads.

    manifest.json       format, source, counts, what was dropped and why, preprocessing, encoders
    images/             distinct images, (H, W, 3) uint8, in safetensors shards
    frames.arrow        one row a frame: story, index, text, image_row, aspect (width/height), text_row, entities
    windows.arrow       one row a window: story, split, the five frames' rows in frames.arrow, padded
    problems.jsonl      every defect found, one JSON object a line
    features/KIND-KEY/  an encoder's frozen features, one row an image or a text

Both tables are Arrow IPC streams: `datasets.Dataset.from_file` opens them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from ..errors import VsrError, nearest
from ..files import read_json
from .shards import Rows, ShardedArray
from .splits import SPLITS
from .windows import WINDOW_FRAMES

FORMAT = 1
DATA = Path("data")

ENTITY = pa.struct([("kind", pa.string()), ("ids", pa.list_(pa.string())), ("start", pa.int32()), ("end", pa.int32())])
FRAME_SCHEMA = pa.schema(
    [
        ("story", pa.string()),
        ("index", pa.int32()),
        ("text", pa.string()),
        ("image_row", pa.int64()),
        ("aspect", pa.float32()),
        ("text_row", pa.int64()),
        ("entities", pa.list_(ENTITY)),
    ]
)
WINDOW_SCHEMA = pa.schema(
    [("story", pa.string()), ("split", pa.string()), ("frames", pa.list_(pa.int64())), ("padded", pa.bool_())]
)


@dataclass(frozen=True)
class Frames:
    """Distinct images and texts, which windows point to by row."""

    images: Rows
    """(n, H, W, 3) uint8."""
    texts: Sequence[str]


@dataclass(frozen=True)
class Windows:
    """Windows as arrays: W windows of F frames, F being five, or four where there is no target."""

    stories: Sequence[str]
    """The story of each window."""
    image_rows: NDArray[np.int64]
    """(W, F) rows of `Frames.images`."""
    text_rows: NDArray[np.int64]
    """(W, F) rows of `Frames.texts`."""
    repeated: NDArray[np.bool_]
    """(W, F): True where a frame only repeats the one before it to fill a short context."""
    starts: NDArray[np.int64]
    """(W,) index in its story of each window's first frame."""

    def __len__(self) -> int:
        return len(self.image_rows)

    def take(self, rows: NDArray[np.int64]) -> Windows:
        """Give a selection of the windows."""
        return Windows(
            [self.stories[row] for row in rows],
            self.image_rows[rows],
            self.text_rows[rows],
            self.repeated[rows],
            self.starts[rows],
        )


@dataclass(frozen=True)
class Prepared:
    """A prepared folder that has been opened."""

    folder: Path
    manifest: dict[str, Any]
    _windows: dict[str, Windows] = field(default_factory=dict, init=False, compare=False)

    @property
    def image_size(self) -> int:
        """H = W of the images, in pixels."""
        return int(self.manifest["data"]["image_size"])

    @property
    def fingerprint(self) -> str:
        """A digest of the images, texts, windows and splits."""
        return str(self.manifest["fingerprint"])

    @cached_property
    def frames(self) -> Frames:
        """The distinct images (mapped) and texts (in memory)."""
        return Frames(ShardedArray(self.folder / "images"), self._first("text_row", "text").to_pylist())

    @cached_property
    def aspects(self) -> NDArray[np.float32]:
        """Width over height of each distinct image before it was squashed."""
        aspects: NDArray[np.float32] = self._first("image_row", "aspect").to_numpy()
        return aspects

    def _first(self, row: str, column: str) -> Any:
        """Give a column of frames.arrow by the rows that another one numbers, -1 being none."""
        table = self._table("frames.arrow")
        rows, first = np.unique(table[row].to_numpy(), return_index=True)
        return table[column].take(first[rows >= 0])

    def windows(self, split: str) -> Windows:
        """Give the windows of a split. Raises VsrError if there is no such split."""
        if split not in SPLITS:
            raise VsrError(f"--split {split}: there is none of this name; {nearest(split, SPLITS)}")
        if split not in self._windows:
            self._windows[split] = self._read_windows(split)
        return self._windows[split]

    def training_texts(self) -> list[str]:
        """Give the distinct texts of the training windows, targets included, in their order."""
        rows = np.unique(self.windows("train").text_rows)
        return [self.frames.texts[row] for row in rows]

    def _read_windows(self, split: str) -> Windows:
        table = self._table("windows.arrow")
        table = table.filter(pa.compute.equal(table["split"], split))
        frames = self._table("frames.arrow")
        image_rows, text_rows = frames["image_row"].to_numpy(), frames["text_row"].to_numpy()
        index = frames["index"].to_numpy()
        rows = table["frames"].combine_chunks().flatten().to_numpy().reshape(len(table), WINDOW_FRAMES)  # (W, 5)
        repeated = np.zeros(rows.shape, dtype=np.bool_)
        repeated[:, 1:] = rows[:, 1:] == rows[:, :-1]
        starts = index[rows[:, 0]].astype(np.int64)
        return Windows(table["story"].to_pylist(), image_rows[rows], text_rows[rows], repeated, starts)

    def _table(self, name: str) -> Any:
        path = self.folder / name
        try:
            with pa.memory_map(str(path)) as source:
                return pa.ipc.open_stream(source).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise VsrError(f"{path}: cannot be read ({error}); prepare the data anew") from error


def open_prepared(folder: Path) -> Prepared:
    """Open a prepared folder. Raises VsrError if it is not one."""
    manifest = read_json(folder / "manifest.json", what="a folder that 'vsr prepare' wrote")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise VsrError(f"{folder}: prepared by another version of vsr; prepare the data anew")
    return Prepared(folder, manifest)


def newest_prepared() -> Path | None:
    """Find the newest prepared folder under data/."""
    manifests = sorted(DATA.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    return manifests[-1].parent if manifests else None

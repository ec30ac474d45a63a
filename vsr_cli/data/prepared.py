"""The prepared folder: what `vsr prepare` writes and later commands read (docs/reference/prepared-data.md).

    manifest.json       format, source, counts, what was dropped and why, preprocessing, encoders; written last
    problems.jsonl      every problem found, one JSON object per line (a copy of the table)
    chunks/             images and records of a few stories each, named by content: see `chunks`
    tables-KEY/         tables made of the chunks, named by a digest of all that they depend on
        stories.arrow   one row per story: story, split, group, dropped (why it is in no split), its frames, analysis
        frames.arrow    one row per frame: story (its row), index, image_row, text_row, problem, entities
        images.arrow    one row per distinct image: the row of its pixels, its size in the source, digest, hash
        texts.arrow     one row per distinct text
        windows.arrow   one row per window: story, split, its frames' rows in frames.arrow, padded
        problems.jsonl  every problem found, one JSON object per line
        chunks.json     the chunks that the rows of images.arrow point into; summary.json: counts
        checksums.json  the checksum of each of these files, verified when a file is opened

The tables are Arrow IPC streams, read through memory maps: `datasets.Dataset.from_file` opens them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from ..api import Entity, nfc
from ..config.choices import Resize
from ..errors import VsrError, nearest
from ..files.atomic import read_json
from ..files.checksums import read_checksums, verify_file
from ..files.locks import hold_shared_lock
from ..files.strict_json import from_json
from ..system_errors import refuse_system_error
from .manifest import MANIFEST, read_finished
from .preparation.chunks import Chunk
from .prepared_types import Frames, ImageFacts, StoredFrame, StoredStory, Texts, Windows
from .shards import REMEDY, ChosenRows, MappedRows
from .splits import SPLITS

CHUNKS, PROBLEMS = "chunks", "problems.jsonl"
OWNED = (MANIFEST, PROBLEMS, CHUNKS, "tables-*", "show")
"""Names of files and folders that vsr writes in a prepared folder."""
CHUNK_LIST, SUMMARY = "chunks.json", "summary.json"
TABLE = "a table of a prepared folder"


@dataclass(frozen=True)
class Prepared:
    """An open prepared folder."""

    folder: Path
    manifest: dict[str, Any]
    _windows: dict[str, Windows] = field(default_factory=dict, init=False, compare=False)
    _tables: dict[str, Any] = field(default_factory=dict, init=False, compare=False)

    @property
    def tables(self) -> Path:
        """The folder of the tables."""
        return self.folder / str(self.manifest["tables"])

    @property
    def image_size(self) -> int:
        """H = W of the images, in pixels."""
        return int(self.manifest["data"]["image_size"])

    @property
    def context_frames(self) -> int:
        """K: the number of frames in each window before its target."""
        return int(self.manifest["data"]["context_frames"])

    @property
    def resize(self) -> Resize:
        """How the images of the source were resized to squares."""
        resize: Resize = self.manifest["data"]["resize"]
        return resize

    @property
    def fingerprint(self) -> str:
        """A digest of the images, texts, windows and splits."""
        return str(self.manifest["fingerprint"])

    @cached_property
    def frames(self) -> Frames:
        """The distinct images and texts, memory-mapped."""
        chunks = [(key, images) for key, images in self.chunks() if images]
        stored = MappedRows(
            [Chunk(self.folder / CHUNKS, key).images for key, _ in chunks],
            [images for _, images in chunks],
            row_shape=(self.image_size, self.image_size, 3),
            dtype=np.uint8,
        )
        rows = self._table("images.arrow")["stored_row"].to_numpy()
        return Frames(ChosenRows(stored, rows), Texts(self._table("texts.arrow")["text"]))

    @cached_property
    def image_facts(self) -> ImageFacts:
        """Sizes, digests and perceptual hashes of the distinct images."""
        table = self._table("images.arrow")
        return ImageFacts(
            width=table["width"].to_numpy(),
            height=table["height"].to_numpy(),
            digest=_digests(table["digest"].combine_chunks()),
            hash=table["hash"].to_numpy(),
        )

    def windows(self, split: str) -> Windows:
        """Return the windows of a split. Raises VsrError if there is no such split."""
        if split not in SPLITS:
            raise VsrError(f"--split {split}: there is no such split; {nearest(split, SPLITS)}")
        if split not in self._windows:
            self._windows[split] = self._read_windows(split)
        return self._windows[split]

    def training_texts(self) -> Sequence[str]:
        """Return the distinct texts of the training windows, targets included, in their order."""
        texts = self.frames.texts
        assert isinstance(texts, Texts)
        return texts.take(np.unique(self.windows("train").text_rows))

    def stories(self) -> Iterator[StoredStory]:
        """Yield all stories that were read, in their order."""
        for batch in self._table("stories.arrow").to_batches():
            for row in batch.to_pylist():
                yield self._stored(row)

    def story(self, name: str) -> StoredStory:
        """Return a story by its id. Raises VsrError, naming similar ids, if there is none."""
        table = self._table("stories.arrow")
        found = table.filter(pa.compute.equal(table["story"], nfc(name)))
        if not len(found):
            near = nearest(name, set(table["story"].to_pylist())) if len(table) <= 10_000 else "check its id"
            raise VsrError(f"{self.folder}: holds no story {name!r}; {near}")
        return self._stored(found.slice(0, 1).to_pylist()[0])

    def problems(self) -> Iterator[dict[str, Any]]:
        """Yield the problems that were found: story, frame (from 0, None: the whole story), code, detail."""
        with self.verified(PROBLEMS).open(encoding="utf-8") as lines:
            for line in lines:
                yield from_json(line)

    def _stored(self, row: dict[str, Any]) -> StoredStory:
        frames = self._table("frames.arrow").slice(row["first_frame"], row["frames"]).to_pylist()
        texts = self.frames.texts
        return StoredStory(
            id=row["story"],
            split=row["split"],
            group=row["group"],
            dropped=row["dropped"],
            source_characters=row["source_characters"],
            analysis=from_json(row["analysis"]) if row["analysis"] else None,
            frames=tuple(
                StoredFrame(
                    index=frame["index"],
                    text=texts[frame["text_row"]] if frame["text_row"] >= 0 else None,
                    text_row=frame["text_row"],
                    image_row=frame["image_row"],
                    entities=tuple(
                        Entity(kind=found["kind"], ids=tuple(found["ids"]), start=found["start"], end=found["end"])
                        for found in frame["entities"]
                    ),
                    problem=frame["problem"],
                )
                for frame in frames
            ),
        )

    def _read_windows(self, split: str) -> Windows:
        table = self._table("windows.arrow")
        table = table.filter(pa.compute.equal(table["split"], split))
        frames = self._table("frames.arrow")
        image_rows, text_rows = frames["image_row"].to_numpy(), frames["text_row"].to_numpy()
        index = frames["index"].to_numpy()
        rows = table["frames"].combine_chunks().flatten().to_numpy()
        rows = rows.reshape(len(table), self.context_frames + 1)
        repeated = np.zeros(rows.shape, dtype=np.bool_)
        repeated[:, 1:] = rows[:, 1:] == rows[:, :-1]
        starts = index[rows[:, 0]].astype(np.int64)
        # One string per story, not per window.
        encoded = table["story"].combine_chunks().dictionary_encode()
        names = encoded.dictionary.to_pylist()
        stories = [names[number] for number in encoded.indices.to_pylist()]
        return Windows(stories, image_rows[rows], text_rows[rows], repeated, starts)

    def _table(self, name: str) -> Any:
        if name not in self._tables:
            path = self.verified(name)
            try:
                with pa.memory_map(str(path)) as source:
                    self._tables[name] = pa.ipc.open_stream(source).read_all()
            except (OSError, pa.ArrowInvalid) as error:
                refuse_system_error(error, path)
                raise VsrError(f"{path}: cannot be read ({error}); {REMEDY}") from error
        return self._tables[name]

    def verified(self, name: str) -> Path:
        """Return the path of a table after verifying its checksum. Raises VsrError if it is damaged or missing."""
        path = self.tables / name
        checksum = read_checksums(self.tables, remedy=REMEDY).get(name)
        if checksum is None:
            raise VsrError(f"{path}: has no checksum; {REMEDY}")
        verify_file(path, checksum, remedy=REMEDY)
        return path

    def summary(self) -> dict[str, Any]:
        """Read the totals of the tables."""
        return read_json(self.tables / SUMMARY, what=TABLE)

    def chunks(self) -> list[tuple[str, int]]:
        """Read the key of each chunk and its number of images."""
        return [(key, images) for key, images in read_json(self.verified(CHUNK_LIST), what=TABLE)["chunks"]]


def _digests(column: Any) -> NDArray[np.uint8]:
    """Return a column of 16 bytes per row as (n, 16), without an object for each row."""
    _, content = column.buffers()
    start = column.offset * 16
    return np.frombuffer(content, np.uint8)[start : start + len(column) * 16].reshape(-1, 16)


def open_prepared(folder: Path) -> Prepared:
    """Open a prepared folder. Raises VsrError if it is not one, or its preparation is not finished.

    While the returned object is in use, 'vsr prepare' removes none of its files.
    """
    prepared = in_use(Prepared(folder, {}))  # before the manifest is read, which may be replaced at any moment
    prepared.manifest.update(read_finished(folder))
    return prepared


def in_use(prepared: Prepared) -> Prepared:
    """Lock the chunks of a prepared folder against removal while the object is in use, and return it."""
    hold_shared_lock(prepared.folder / CHUNKS, prepared)
    return prepared

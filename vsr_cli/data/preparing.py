"""Reading a dataset's stories once, checking them, and writing the prepared folder."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import __version__
from ..api import Dataset, Rejected, Story
from ..config import DataOptions, PrepareConfig
from ..errors import VsrError
from ..files import replacing_folder, write_json
from ..run import now
from .images import ImageProblem, decode_image, digest_image, resize_image
from .prepared import FORMAT, FRAME_SCHEMA, WINDOW_SCHEMA, Prepared, open_prepared
from .shards import ShardWriter
from .splits import SPLITS, Membership, assign_splits, count_splits
from .windows import Window, cut_windows

ROWS_A_BATCH = 1024
"""How many frames are held before they are written to frames.arrow."""


@dataclass(frozen=True)
class Digitised:
    """A story with its images decoded and, for each frame, what keeps it out of a window (None: nothing)."""

    story: Story
    images: list[NDArray[np.uint8] | None]
    aspects: list[float | None]
    """Width over height of each picture before it was squashed."""
    problems: list[str | None]
    details: list[dict[str, Any]]


def digitise(story: Story, image_size: int) -> Digitised:
    """Decode a story's images to (H, W, 3). A frame that lacks a half, or whose image is bad, is marked."""
    images: list[NDArray[np.uint8] | None] = []
    aspects: list[float | None] = []
    problems: list[str | None] = []
    details: list[dict[str, Any]] = [
        {"story": story.id, "frame": note.frame, "code": note.code, "detail": note.detail} for note in story.notes
    ]
    for index, frame in enumerate(story.frames):
        image: NDArray[np.uint8] | None = None
        aspect: float | None = None
        problem = None if frame.text and frame.text.strip() else "missing_text"
        if frame.text and not problem and not _is_unicode(frame.text):
            problem = "unreadable_text"
            why = "the text holds half of a character (a lone surrogate); write it anew as UTF-8"
            details.append({"story": story.id, "frame": index, "code": problem, "detail": why})
        if frame.image is None:
            problem = "missing_image"
        else:
            where = str(frame.image) if isinstance(frame.image, Path) else f"story {story.id}, frame {index + 1}"
            try:
                picture = decode_image(frame.image, where=where, size=image_size)
                image, aspect = resize_image(picture, image_size), picture.width / picture.height
            except ImageProblem as error:
                problem = error.code
                details.append({"story": story.id, "frame": index, "code": error.code, "detail": str(error)})
        images.append(image)
        aspects.append(aspect)
        problems.append(problem)
    return Digitised(story, images, aspects, problems, details)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass
class Tally:
    """What was read, kept and dropped so far."""

    read: int = 0
    dropped_stories: Counter[str] = field(default_factory=Counter)
    dropped_windows: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    frames: int = 0


class _Tables:
    """Gathers distinct images and texts, frames and windows while stories stream by."""

    def __init__(self, folder: Path) -> None:
        self._images = ShardWriter(folder / "images")
        self._image_rows: dict[str, int] = {}
        self._text_rows: dict[str, int] = {}
        self._sink = pa.OSFile(str(folder / "frames.arrow"), "wb")
        self._writer = pa.ipc.new_stream(self._sink, FRAME_SCHEMA)
        self._pending: list[dict[str, Any]] = []
        self._digest = hashlib.sha256()
        self.frames = 0
        self.windows: list[tuple[str, tuple[int, ...], bool]] = []

    def add(self, item: Digitised, windows: Iterable[Window]) -> None:
        first = self.frames
        frames = zip(item.story.frames, item.images, item.aspects, strict=True)
        for index, (frame, image, aspect) in enumerate(frames):
            text = frame.text  # as it is: entities point into it
            if not text or not text.strip() or not _is_unicode(text):
                text = None
            row = {
                "story": item.story.id,
                "index": index,
                "text": text,
                "image_row": self._image_row(image),
                "aspect": aspect,
                "text_row": -1 if text is None else self._text_rows.setdefault(text, len(self._text_rows)),
                "entities": [
                    {"kind": entity.kind, "ids": list(entity.ids), "start": entity.start, "end": entity.end}
                    for entity in frame.entities
                ],
            }
            self._digest.update(json.dumps(row, sort_keys=True).encode())
            self._pending.append(row)
            self.frames += 1
        for window in windows:
            self.windows.append((item.story.id, tuple(first + frame for frame in window.frames), window.padded))
        if len(self._pending) >= ROWS_A_BATCH:
            self._flush()

    def _image_row(self, image: NDArray[np.uint8] | None) -> int:
        if image is None:
            return -1
        digest = digest_image(image)
        self._digest.update(digest.encode())
        row = self._image_rows.setdefault(digest, len(self._image_rows))
        if row == self._images.count:
            self._images.append(image[None])
        return row

    def _flush(self) -> None:
        self._writer.write_batch(pa.RecordBatch.from_pylist(self._pending, schema=FRAME_SCHEMA))
        self._pending = []

    def close(self, folder: Path, split_of: dict[str, str]) -> str:
        """Write what is left and the windows. Give the fingerprint of it all."""
        if self._pending:
            self._flush()
        self._writer.close()
        self._sink.close()
        self._images.close()
        rows = [
            {"story": story, "split": split_of[story], "frames": list(frames), "padded": padded}
            for story, frames, padded in self.windows
        ]
        table = pa.Table.from_pylist(rows, schema=WINDOW_SCHEMA)
        with (
            pa.OSFile(str(folder / "windows.arrow"), "wb") as sink,
            pa.ipc.new_stream(sink, WINDOW_SCHEMA) as writer,
        ):
            writer.write_table(table)
        self._digest.update(json.dumps(rows, sort_keys=True).encode())
        return self._digest.hexdigest()[:32]

    @property
    def images(self) -> int:
        return self._images.count

    @property
    def texts(self) -> int:
        return len(self._text_rows)


def prepare_stories(
    config: PrepareConfig,
    dataset: Dataset,
    source: str | None,
    out: Path,
    *,
    on_story: Callable[[], None] = lambda: None,
) -> Prepared:
    """Read a dataset and write the prepared folder, whole or not at all.

    Raises VsrError if no window is left, or `out` exists and is something else.
    """
    if out.exists() and not _is_prepared(out) and (not out.is_dir() or any(out.iterdir())):
        raise VsrError(f"--out {out}: exists and is not a prepared folder; name another, nothing is overwritten")
    with replacing_folder(out) as folder:
        manifest = _fill(folder, config, dataset, source, on_story)
        write_json(folder / "manifest.json", manifest)
    return Prepared(out, manifest)


def _is_prepared(folder: Path) -> bool:
    try:
        open_prepared(folder)
    except VsrError:
        return False
    return True


def _fill(
    folder: Path, config: PrepareConfig, dataset: Dataset, source: str | None, on_story: Callable[[], None]
) -> dict[str, Any]:
    tally = Tally()
    tables = _Tables(folder)
    members: dict[str, Membership] = {}
    seen: set[str] = set()
    with (folder / "problems.jsonl").open("w", encoding="utf-8", errors="backslashreplace") as problem_lines:

        def report(detail: dict[str, Any]) -> None:
            tally.problems[detail["code"]] += 1
            problem_lines.write(json.dumps(detail, ensure_ascii=False) + "\n")

        limit = config.data.limit or None
        for item in _digitised(itertools.islice(dataset.read(source), limit), config.data):
            tally.read += 1
            on_story()
            if isinstance(item, Rejected):
                tally.dropped_stories[item.code] += 1
                report({"story": item.where, "frame": None, "code": item.code, "detail": item.detail})
                continue
            for detail in item.details:
                report(detail)
            story = item.story
            if story.id in seen:
                tally.dropped_stories["duplicate_story_id"] += 1
                why = "another story has this id"
                report({"story": story.id, "frame": None, "code": "duplicate_story_id", "detail": why})
                continue
            if story.split not in (None, *SPLITS):
                tally.dropped_stories["unknown_split"] += 1
                why = f"the dataset puts it in a split called {story.split!r}; there are {', '.join(SPLITS)}"
                report({"story": story.id, "frame": None, "code": "unknown_split", "detail": why})
                continue
            seen.add(story.id)
            cut = cut_windows(item.problems, window=config.data.window, short=config.data.short)
            if not cut.windows:
                tally.dropped_stories[cut.dropped[0]] += 1
                continue
            tally.dropped_windows.update(cut.dropped)
            members[story.id] = Membership(story.group or story.id, story.split)
            tables.add(item, cut.windows)
    if not tables.windows:
        raise VsrError(_nothing_left(source, tally))
    split_of = assign_splits(members, validation=config.data.validation, test=config.data.test, seed=config.data.seed)
    fingerprint = tables.close(folder, split_of)
    return {
        "format": FORMAT,
        "vsr": __version__,
        "created": now(),
        "fingerprint": fingerprint,
        "preset": config.preset,
        "dataset": config.dataset.record(),
        "source": dict(dataset.describe(source)),
        "data": config.data.model_dump(mode="json"),
        "visual": config.visual.record(),
        "text": config.text.record(),
        "counts": {
            "stories_read": tally.read,
            "stories_kept": count_splits(list(split_of.values())),
            "stories_dropped": dict(tally.dropped_stories),
            "windows_kept": count_splits([split_of[story] for story, _, _ in tables.windows]),
            "windows_dropped": dict(tally.dropped_windows),
            "windows_padded": sum(padded for _, _, padded in tables.windows),
            "groups": len({member.group for member in members.values()}),
            "frames": tables.frames,
            "images": tables.images,
            "texts": tables.texts,
            "problems": dict(tally.problems),
        },
    }


def _nothing_left(source: str | None, tally: Tally) -> str:
    where = source or "the dataset"
    if not tally.read:
        return f"{where}: holds no story; see 'vsr prepare --help' for what a story folder looks like"
    reasons = ", ".join(f"{count} {reason}" for reason, count in tally.dropped_stories.most_common())
    return f"{where}: no story is left of {tally.read} ({reasons}); a window needs five frames with image and text each"


def _digitised(stories: Iterable[Story | Rejected], options: DataOptions) -> Iterator[Digitised | Rejected]:
    """Decode stories on all cores, in order, with a bounded number in flight. Pillow decodes without the GIL."""
    workers = os.cpu_count() or 1
    pending: deque[Future[Digitised] | Rejected] = deque()

    def settle(item: Future[Digitised] | Rejected) -> Digitised | Rejected:
        return item if isinstance(item, Rejected) else item.result()

    with ThreadPoolExecutor(workers) as pool:
        for story in stories:
            pending.append(story if isinstance(story, Rejected) else pool.submit(digitise, story, options.image_size))
            if len(pending) > 2 * workers:
                yield settle(pending.popleft())
        while pending:
            yield settle(pending.popleft())

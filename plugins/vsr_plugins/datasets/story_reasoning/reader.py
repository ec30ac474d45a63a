"""Reader of StoryReasoning, from the hub or from a folder, one row at a time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vsr_cli.api import Dataset, Entity, Frame, Note, Rejected, Story, Survey, own_name

from .. import StoryReasoningOptions
from ..hub_source import HubSource
from .chain_of_thought import parse_analysis
from .files import ANALYSIS, FILES, HUB_ID, LAYOUT, TableFile, files_in, files_of, local_folder
from .markup import parse_story

LICENCE = "CC-BY-ND-4.0"
SIZE = "3552 train and 626 test stories, 52016 frames"
DOWNLOAD = "773 MB"
"""Of the parquet files; it and the numbers of `SIZE` are those of the hub's metadata."""


def build(options: StoryReasoningOptions) -> Dataset:
    """Return the dataset. Nothing is fetched or read yet."""
    return StoryReasoning(options)


class StoryReasoning:
    """Stories of 5 to 22 film stills, with the source's own splits.

    The source is a hub id (fetched once into the Hugging Face cache and read from there, or streamed) or a folder
    that holds `data/train-*.parquet` and `data/test-*.parquet`. Images stay encoded throughout.
    """

    def __init__(self, options: StoryReasoningOptions) -> None:
        self.options = options
        self._sources: dict[str, HubSource] = {}
        """By Hub id: the first answer about a branch is reused, as the branch may change."""

    def read(self, source: str | None) -> Iterator[Story | Rejected]:
        """Yield the stories, train before test, in the files' order.

        Raises VsrError if the hub or the folder cannot be read, or holds other columns. Of a stream, each file's
        columns are looked at only when its turn comes.
        """
        if (folder := self._local(source)) is not None:
            files = files_in(folder)
        elif self.options.streaming:
            return _stories(files_of(self._hub(source).stream()))
        else:
            files = files_in(self._hub(source).download())
        for file in files:
            file.columns()
        return _stories(files)

    def describe(self, source: str | None) -> Mapping[str, str]:
        """Return source, revision, licence, and size; for what is still to come, its amount as download or stream too.

        The revision is the commit that was read, or that the cache holds, or the revision as asked for where
        it holds none. Reads no story and asks no hub.
        """
        # The layout is this dataset's alone, so a copy in a folder stands under the same licence.
        licence = {"licence": LICENCE}
        if (folder := self._local(source)) is not None:
            return {"source": own_name(folder), "revision": "local files"} | licence
        hub_id = source or HUB_ID
        commit = self._hub(source).known_commit()
        facts = {"source": hub_id, "revision": commit or self.options.revision or "main"} | licence
        if hub_id == HUB_ID:
            facts["size"] = SIZE
        if commit is None:
            most = "up to " if self.options.streaming and hub_id == HUB_ID else ""
            amount = DOWNLOAD if hub_id == HUB_ID else "an unknown amount"
            facts["stream" if self.options.streaming else "download"] = most + amount
        return facts

    def survey(self, source: str | None) -> Survey:
        """Return the commit that will be read, and how many rows there are where the files are at hand."""
        if (folder := self._local(source)) is not None:
            return Survey(stories=_rows(files_in(folder)))
        hub = self._hub(source)
        state = hub.resolve_commit()
        cached = None if self.options.streaming else hub.cached()
        return Survey(stories=None if cached is None else _rows(files_in(cached)), state=state)

    def _local(self, source: str | None) -> Path | None:
        return local_folder(source, streaming=self.options.streaming)

    def _hub(self, source: str | None) -> HubSource:
        hub_id, options = source or HUB_ID, self.options
        if hub_id not in self._sources:
            self._sources[hub_id] = HubSource(
                hub_id,
                revision=options.revision,
                patterns=[FILES],
                instead=f"or name a local folder in the hub's layout ({LAYOUT})",
                streaming=options.streaming,
            )
        return self._sources[hub_id]


def _rows(files: Sequence[TableFile]) -> int:
    return sum(file.row_count() for file in files)


def _stories(files: Sequence[TableFile]) -> Iterator[Story | Rejected]:
    seen: dict[str, int] = {}
    for file in files:
        for row in file.rows():
            index = seen[file.split] = seen.get(file.split, -1) + 1
            yield _story(row, split=file.split, where=f"{file.split} row {index}")


def _story(row: Mapping[str, Any], *, split: str, where: str) -> Story | Rejected:
    if not row["story_id"]:
        return Rejected(where=where, code="missing_story_id", detail="the row has no story_id")
    where = f"{split} story {row['story_id']}"
    images = [(image or {}).get("bytes") or None for image in row["images"] or []]
    if not images:
        return Rejected(where=where, code="no_images", detail="the row has no images")
    if not (row["story"] or "").strip():
        return Rejected(where=where, code="no_text", detail="the row's story is empty")
    parsed = parse_story(row["story"], len(images))
    notes = list(parsed.notes)
    if row["frame_count"] != len(images):
        detail = f"frame_count is {row['frame_count']}, and there are {len(images)} images"
        notes.append(Note(code="frame_count_mismatch", detail=detail))
    analysis = None
    if row.get(ANALYSIS):
        thought = parse_analysis(row[ANALYSIS], [image_size(image) if image else None for image in images])
        analysis = thought.analysis
        notes += [*thought.notes, *_unknown_ids(parsed.frames, thought.ids)]
    # A path without bytes is not followed: it could name any file of this machine.
    notes += [
        Note(code="missing_image", detail=f"image {index + 1} has no bytes", frame=index)
        for index, image in enumerate(images)
        if image is None
    ]
    frames = tuple(
        Frame(image=image, text=text, entities=entities)
        for image, (text, entities) in zip(images, parsed.frames, strict=True)
    )
    return Story(
        id=str(row["story_id"]),
        frames=frames,
        split=split,
        notes=tuple(notes),
        analysis=analysis,
        source_characters=len(row["story"]),
    )


def _unknown_ids(frames: Sequence[tuple[str | None, tuple[Entity, ...]]], known: frozenset[str]) -> Iterator[Note]:
    """Report each character and object, once, whom the text names and no table does; places have no table."""
    seen = set(known)
    kinds = {kind for kind in ("char", "obj") if any(name.startswith(kind) for name in known)}
    for index, (_, entities) in enumerate(frames):
        for name in [name for entity in entities for name in entity.ids]:
            if name not in seen and name.rstrip("0123456789") in kinds:
                seen.add(name)
                yield Note(code="unknown_id", detail=f"{name} is in no table", frame=index)


def image_size(image: bytes) -> tuple[int, int] | None:
    """Return width and height from an encoded image's header, None where it is not one. Decodes nothing."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(image)) as header:
            return header.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return None

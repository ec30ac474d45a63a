"""Reads StoryReasoning, from the hub or from a folder, a row at a time."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vsr_cli.api import Dataset, Frame, Note, Rejected, Story, VsrError

from . import StoryReasoningOptions
from .hub import HUB_ID, fetch, fetched_commit
from .markup import parse_story

SPLITS = ("train", "validation", "test")
COLUMNS = ("story_id", "images", "frame_count", "story")
LAYOUT = "data/train-*.parquet and data/test-*.parquet, as on the hub"
ROWS_AT_ONCE = 16
"""A row holds about 200 kB of pictures; a row group, read whole by default, holds hundreds of rows."""


def build(options: StoryReasoningOptions) -> Dataset:
    """Give the dataset. Nothing is fetched or read yet."""
    return StoryReasoning(options)


class StoryReasoning:
    """Stories of 5 to 22 film stills, with the source's own splits.

    The source is a hub id (fetched once into the Hugging Face cache, and read from there) or a folder that
    holds `data/train-*.parquet` and `data/test-*.parquet`. Pictures stay encoded throughout.
    """

    def __init__(self, options: StoryReasoningOptions) -> None:
        self.options = options

    def read(self, source: str | None) -> Iterator[Story | Rejected]:
        """Yield the stories, train before test, in the files' order.

        Raises VsrError if the hub or the folder cannot be read, or holds other columns.
        """
        folder = _local(source)
        if folder is None:
            folder = fetch(source or HUB_ID, revision=self.options.revision)
        files = _parquet_files(folder)
        for paths in files.values():
            for path in paths:
                _check_columns(path)
        return _stories(folder, files)

    def describe(self, source: str | None) -> Mapping[str, str]:
        """Give source, revision (the commit, once fetched), licence and size. Reads no story."""
        if (folder := _local(source)) is not None:
            revision = "local files"
        else:
            revision = fetched_commit(source or HUB_ID, revision=self.options.revision)
        name = folder.resolve().name if folder is not None else source or HUB_ID
        facts = {"source": name, "revision": revision}
        if name == HUB_ID:
            facts["size"] = "3552 train and 626 test stories, 52016 frames, 773 MB of parquet"
        # The layout is this dataset's alone, so a copy in a folder stands under the same licence.
        return facts | {"licence": "CC-BY-ND-4.0"}


def _local(source: str | None) -> Path | None:
    """Give the folder that a source names, or None where it is a hub id."""
    if source is None:
        return None
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise VsrError(f"{source}: is a file; give the folder that holds {LAYOUT}")
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]*\w", source):
        raise VsrError(f"{source}: no such folder, and not a hub id; give a folder that holds {LAYOUT}, or {HUB_ID}")
    return None


def _parquet_files(folder: Path) -> dict[str, list[Path]]:
    files = {split: sorted((folder / "data").glob(f"{split}-*.parquet")) for split in SPLITS}
    found = {split: paths for split, paths in files.items() if paths}
    if not found:
        raise VsrError(f"{folder}: no parquet files of StoryReasoning; give a folder that holds {LAYOUT}")
    return found


def _check_columns(path: Path) -> None:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    if missing := [name for name in COLUMNS if name not in schema.names]:
        has = ", ".join(schema.names) or "none"
        raise VsrError(f"{path}: lacks the columns {', '.join(missing)} (has {has}); give StoryReasoning's own files")
    images = schema.field("images").type
    listed = pa.types.is_list(images) or pa.types.is_large_list(images)
    if not (listed and pa.types.is_struct(images.value_type) and images.value_type.get_field_index("bytes") >= 0):
        raise VsrError(f"{path}: images is not a list of encoded pictures ({images}); give StoryReasoning's own files")


def _unreadable(where: Path, error: Exception) -> VsrError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return VsrError(f"{where}: unreadable parquet ({reason}); fetch or copy the file again")


def _stories(folder: Path, files: Mapping[str, list[Path]]) -> Iterator[Story | Rejected]:
    from datasets import Image, List, load_dataset
    from datasets.exceptions import DatasetsError

    for split, paths in files.items():
        try:
            rows = load_dataset(
                "parquet",
                # A data file is a pattern: a folder named "a[1]" must stand for itself.
                data_files={split: [glob.escape(str(path.absolute())) for path in paths]},
                split=split,
                streaming=True,
                columns=list(COLUMNS),
                batch_size=ROWS_AT_ONCE,
            ).cast_column("images", List(Image(decode=False)))
            for index, row in enumerate(rows):
                yield _story(row, split=split, where=f"{split} row {index}")
        except (pa.ArrowException, DatasetsError, OSError, ValueError, TypeError) as error:
            raise _unreadable(folder / "data", error) from error


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
    return Story(id=str(row["story_id"]), frames=frames, split=split, notes=tuple(notes))

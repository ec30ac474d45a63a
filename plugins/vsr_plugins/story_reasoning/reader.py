"""Reads StoryReasoning, from the hub or from a folder, a row at a time."""

from __future__ import annotations

import glob
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vsr_cli.api import Dataset, Entity, Frame, Note, Rejected, Story, VsrError

from . import StoryReasoningOptions
from .chain_of_thought import parse_analysis
from .hub import HUB_ID, fetch, fetched_commit
from .markup import parse_story

SPLITS = ("train", "validation", "test")
COLUMNS = ("story_id", "images", "frame_count", "story")
ANALYSIS = "chain_of_thought"
"""A column that may be absent: nothing is trained on it."""
LAYOUT = "data/train-*.parquet and data/test-*.parquet, as on the hub"
LICENCE = "CC-BY-ND-4.0"
SIZE = "3552 train and 626 test stories, 52016 frames"
DOWNLOAD = "773 MB"
"""Of the parquet files; it and the numbers of `SIZE` are those of the hub's metadata."""
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
        self._commits: dict[str, str] = {}
        """By hub id, what `read` has read: a branch may move on afterwards."""

    def read(self, source: str | None) -> Iterator[Story | Rejected]:
        """Yield the stories, train before test, in the files' order.

        Raises VsrError if the hub or the folder cannot be read, or holds other columns.
        """
        folder = _local(source)
        if folder is None:
            hub_id = source or HUB_ID
            folder = fetch(hub_id, revision=self.options.revision)
            self._commits[hub_id] = folder.name
        files = _parquet_files(folder)
        schemas = [_checked_columns(path) for paths in files.values() for path in paths]
        columns = [*COLUMNS, ANALYSIS] if all(ANALYSIS in names for names in schemas) else [*COLUMNS]
        return _stories(folder, files, columns)

    def describe(self, source: str | None) -> Mapping[str, str]:
        """Give source, revision, licence, and size; for what is still to be fetched, the download's size too.

        The revision is the commit that was read, or that the cache holds, or the revision as asked for where
        it holds none. Reads no story and asks no hub.
        """
        # The layout is this dataset's alone, so a copy in a folder stands under the same licence.
        licence = {"licence": LICENCE}
        if (folder := _local(source)) is not None:
            return {"source": folder.resolve().name, "revision": "local files"} | licence
        hub_id, revision = source or HUB_ID, self.options.revision
        commit = self._commits.get(hub_id) or fetched_commit(hub_id, revision=revision)
        facts = {"source": hub_id, "revision": commit or revision or "main"} | licence
        if hub_id == HUB_ID:
            facts["size"] = SIZE
        if commit is None:
            facts["download"] = DOWNLOAD if hub_id == HUB_ID else "of unknown size"
        return facts


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


def _checked_columns(path: Path) -> list[str]:
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
    return list(schema.names)


def _unreadable(where: Path, error: Exception) -> VsrError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return VsrError(f"{where}: unreadable parquet ({reason}); fetch or copy the file again")


def _stories(folder: Path, files: Mapping[str, list[Path]], columns: list[str]) -> Iterator[Story | Rejected]:
    from datasets import Image, List, load_dataset
    from datasets.exceptions import DatasetsError
    from pyarrow.dataset import ParquetFragmentScanOptions

    for split, paths in files.items():
        try:
            rows = load_dataset(
                "parquet",
                # A data file is a pattern: a folder named "a[1]" must stand for itself.
                data_files={split: [glob.escape(str(path.absolute())) for path in paths]},
                split=split,
                streaming=True,
                columns=columns,
                batch_size=ROWS_AT_ONCE,
                # Read ahead, pyarrow holds on to all of a file that it has read.
                fragment_scan_options=ParquetFragmentScanOptions(pre_buffer=False),
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
    return Story(id=str(row["story_id"]), frames=frames, split=split, notes=tuple(notes), analysis=analysis)


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
    """Give width and height from an encoded image's header, None where it is not one. Decodes nothing."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(image)) as header:
            return header.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return None

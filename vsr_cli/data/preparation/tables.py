"""Tables from chunks: stories and their splits, windows, distinct images and texts.

The chunks are read twice, one story at a time: first to determine splits and rows, then to write. In between, only a
few numbers per frame are held in memory.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...config.schema import DataOptions
from ...files.atomic import write_json
from ...files.checksums import write_checksums
from ...files.strict_json import to_json
from ..duplicates import distinct
from ..prepared import CHUNK_LIST, PROBLEMS
from ..splits import SPLITS, Membership, assign_splits, count_splits
from ..windows import Cut, cut_windows
from .arrow import (
    FRAME_SCHEMA,
    IMAGE_SCHEMA,
    STORY_SCHEMA,
    TEXT_SCHEMA,
    WINDOW_SCHEMA,
    arrow_rows,
    arrow_writer,
)
from .chunks import Chunk, StoredImages, stored_images

SPLITS_OF_THE_SOURCE = ("auto", "official")
"""The ways of splitting to which the source's own splits matter."""


@dataclass
class _Survey:
    """The result of the first pass. Stories that could be read are numbered in order."""

    read: int = 0
    names: set[str] = field(default_factory=set)
    dropped: dict[int, str] = field(default_factory=dict)
    """The reason why a story is in no split, by its number."""
    rejected: Counter[str] = field(default_factory=Counter)
    members: dict[str, Membership] = field(default_factory=dict)
    dropped_windows: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    text_digests: bytearray = field(default_factory=bytearray)
    """16 bytes per text, in the order of the frames."""


def write_tables(
    folder: Path,
    chunks: Sequence[Chunk],
    options: DataOptions,
    groups: Mapping[str, str] | None,
    assigned: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write all tables into an empty folder. Return the fingerprint and the counts, possibly without any window.

    `groups` maps stories to groups, and replaces the groups of the source. `assigned` maps stories to splits, and
    replaces the split options; other stories are in no split. Raises VsrError if these stories cannot be split as
    requested.
    """
    images = stored_images(chunks)
    with (folder / PROBLEMS).open("w", encoding="utf-8") as lines:
        survey = _survey(chunks, options, groups, lines)
        split_of = _assigned(survey, assigned) if assigned is not None else assign_splits(survey.members, options)
        fingerprint, counts = _write(folder, chunks, options, survey, split_of, images)
    images_table = {
        "stored_row": images.first,
        "width": images.size[images.first, 0],
        "height": images.size[images.first, 1],
        "digest": _bytes_column(images.digest[images.first]),
        "hash": images.hash[images.first],
    }
    with arrow_writer(folder / "images.arrow", IMAGE_SCHEMA) as writer:
        writer.write_table(pa.table(images_table, schema=IMAGE_SCHEMA))
    listed = [[chunk.key, count] for chunk, count in zip(chunks, images.counts, strict=True)]
    write_json(folder / CHUNK_LIST, {"chunks": listed})
    write_checksums(folder, sorted(path.name for path in folder.iterdir()))
    return {"fingerprint": fingerprint, "counts": counts | {"images": len(images.first)}}


def _bytes_column(digests: NDArray[np.uint8]) -> Any:
    """Return digests (n, 16) as a column, without an object for each."""
    return pa.Array.from_buffers(pa.binary(16), len(digests), [None, pa.py_buffer(np.ascontiguousarray(digests))])


def _assigned(survey: _Survey, splits: Mapping[str, str]) -> dict[str, str | None]:
    assert splits.keys() <= survey.members.keys(), "a story is assigned that has no window"
    return {story: splits.get(story) for story in survey.members}


def reasons_of(counts: Mapping[str, Any]) -> str:
    """Return the reasons why stories were dropped, with counts, as a text."""
    dropped = sorted(counts["stories_dropped"].items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {reason}" for reason, count in dropped)


def _survey(chunks: Sequence[Chunk], options: DataOptions, groups: Mapping[str, str] | None, lines: Any) -> _Survey:
    survey = _Survey()
    number = 0

    def report(story: str, problem: Mapping[str, Any]) -> None:
        survey.problems[problem["code"]] += 1
        lines.write(to_json({"story": story, **problem}) + "\n")

    for chunk in chunks:
        for record in chunk.records():
            survey.read += 1
            if rejected := record.get("rejected"):
                survey.rejected[rejected["code"]] += 1
                report(rejected["where"], {"frame": None, "code": rejected["code"], "detail": rejected["detail"]})
                continue
            name = record["id"]
            for problem in record["problems"]:
                report(name, problem)
            for frame in record["frames"]:
                if frame["text"] is not None:
                    survey.text_digests += hashlib.sha256(frame["text"].encode()).digest()[:16]
            cut = _cut(record, options)
            reason, why = _reason(record, cut, survey, options)
            if reason:
                survey.dropped[number] = reason
                if why:
                    report(name, {"frame": None, "code": reason, "detail": why})
            else:
                survey.dropped_windows.update(cut.dropped)
                survey.members[name] = Membership(_group(record, groups, report), record["split"])
            survey.names.add(name)
            number += 1
    return survey


def _cut(record: Mapping[str, Any], options: DataOptions) -> Cut:
    return cut_windows(
        [frame["problem"] for frame in record["frames"]],
        context_frames=options.context_frames,
        window=options.window,
        short_stories=options.short_stories,
    )


def _reason(
    record: Mapping[str, Any], cut: Cut, survey: _Survey, options: DataOptions
) -> tuple[str | None, str | None]:
    """Return why a story is dropped, if it is, and a message if no problem has reported it yet."""
    if record["id"] in survey.names:
        return "duplicate_story_id", "another story has this id"
    if record["split"] not in (None, *SPLITS) and options.split in SPLITS_OF_THE_SOURCE:
        why = f"the dataset puts it in a split called {record['split']!r}; there are {', '.join(SPLITS)}"
        return "unknown_split", why
    return (None, None) if cut.windows else (cut.dropped[0], None)


def _group(record: Mapping[str, Any], groups: Mapping[str, str] | None, report: Any) -> str:
    name = str(record["id"])
    if groups is None:
        return str(record["group"] or name)
    if name not in groups:
        why = f"the group CSV has no group for {name}, which becomes a group of its own"
        report(name, {"frame": None, "code": "no_group", "detail": why})
    return groups.get(name, name)


def _write(
    folder: Path,
    chunks: Sequence[Chunk],
    options: DataOptions,
    survey: _Survey,
    split_of: Mapping[str, str | None],
    images: StoredImages,
) -> tuple[str, dict[str, Any]]:
    text_rows, _ = distinct(np.frombuffer(survey.text_digests, np.uint8).reshape(-1, 16))
    fingerprint = hashlib.sha256()
    dropped = survey.rejected.copy()
    windows: Counter[str] = Counter()
    padded = frames = texts = read_texts = number = 0
    with (
        arrow_rows(folder / "stories.arrow", STORY_SCHEMA) as stories_table,
        arrow_rows(folder / "frames.arrow", FRAME_SCHEMA) as frames_table,
        arrow_rows(folder / "texts.arrow", TEXT_SCHEMA) as texts_table,
        arrow_rows(folder / "windows.arrow", WINDOW_SCHEMA) as windows_table,
    ):
        for chunk, offset in zip(chunks, images.offsets, strict=True):
            for record in chunk.records():
                if "rejected" in record:
                    continue
                name, reason = record["id"], survey.dropped.get(number)
                split = None if reason else split_of[name]
                reason = reason or (None if split else "not_in_split_file")
                dropped.update([reason] if reason else [])
                rows = []
                for index, frame in enumerate(record["frames"]):
                    text_row = -1
                    if frame["text"] is not None:
                        text_row = int(text_rows[read_texts])
                        read_texts += 1
                        if text_row == texts:
                            texts_table.append({"text": frame["text"]})
                            texts += 1
                    stored = frame["image"]
                    rows.append(
                        {
                            "story": number,
                            "index": index,
                            "image_row": -1 if stored is None else int(images.row_of[offset + stored]),
                            "text_row": text_row,
                            "problem": frame["problem"],
                            "entities": [dict(zip(ENTITY_KEYS, entity, strict=True)) for entity in frame["entities"]],
                        }
                    )
                    frames_table.append(rows[-1])
                cut = _cut(record, options)
                for window in cut.windows if split else ():
                    at = [frames + frame for frame in window.frames]
                    windows_table.append({"story": name, "split": split, "frames": at, "padded": window.padded})
                    windows[str(split)] += 1
                    padded += window.padded
                if split:
                    _digest(fingerprint, record, split, cut, images.digest, offset)
                stories_table.append(_story_row(record, split, reason, frames, survey))
                frames += len(rows)
                number += 1
    counts = {
        "stories_read": survey.read,
        "stories_kept": count_splits([split for split in split_of.values() if split]),
        "stories_dropped": dict(dropped),
        "windows_kept": {split: windows[split] for split in SPLITS},
        "windows_dropped": dict(survey.dropped_windows),
        "windows_padded": padded,
        "groups": len({survey.members[story].group for story, split in split_of.items() if split}),
        "frames": frames,
        "texts": texts,
        "problems": dict(survey.problems),
    }
    return fingerprint.hexdigest()[:32], counts


ENTITY_KEYS = ("kind", "ids", "start", "end")


def _story_row(
    record: Mapping[str, Any], split: str | None, reason: str | None, first_frame: int, survey: _Survey
) -> dict[str, Any]:
    member = survey.members.get(record["id"])
    return {
        "story": record["id"],
        "split": split,
        "group": member.group if member else record["group"] or record["id"],
        "dropped": reason,
        "first_frame": first_frame,
        "frames": len(record["frames"]),
        "source_characters": record["source_characters"],
        "analysis": to_json(record["analysis"]) if record["analysis"] else None,
    }


def _digest(
    fingerprint: Any,
    record: Mapping[str, Any],
    split: str,
    cut: Cut,
    image_digests: NDArray[np.uint8],
    offset: int,
) -> None:
    """Add to the fingerprint all of a story that training and scores depend on, which excludes where it is stored."""
    content = {
        "story": record["id"],
        "split": split,
        "texts": [frame["text"] for frame in record["frames"]],
        "entities": [frame["entities"] for frame in record["frames"]],
        "images": [
            None if frame["image"] is None else image_digests[offset + frame["image"]].tobytes().hex()
            for frame in record["frames"]
        ],
        "windows": [[*window.frames, window.padded] for window in cut.windows],
    }
    fingerprint.update(to_json(content, sort_keys=True).encode())

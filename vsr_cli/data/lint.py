"""Problems of prepared data: those reported while stories were read, and those found by comparing all stories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..quantities import counted
from .duplicates import NEAR, near_duplicates
from .prepared import Prepared
from .prepared_types import StoredStory, Windows
from .splits import SPLITS
from .windows import cut_windows

FrameId = tuple[str, int]
"""A story id, and the index of a frame in the story."""


@dataclass(frozen=True)
class Problem:
    """One problem of a frame or a story."""

    code: str
    story: str
    """The id of the story, or its location if it could not be read."""
    frame: int | None
    """Index from 0; None for the whole story."""
    detail: str

    @property
    def severity(self) -> Severity:
        """The severity of its code."""
        return defect_of(self.code).severity

    def record(self) -> dict[str, str | int | None]:
        """Return it as in JSON."""
        return {
            "code": self.code,
            "severity": self.severity,
            "story": self.story,
            "frame": self.frame,
            "detail": self.detail,
        }


def lint(prepared: Prepared) -> Iterator[Problem]:
    """Yield every problem of prepared data; first those found while it was read, in the order of the stories.

    Reads no image: images are compared by their stored digests and hashes.
    """
    reported: set[tuple[str, int | str]] = set()
    for found in prepared.problems():
        problem = Problem(found["code"], found["story"], found["frame"], found["detail"])
        if problem.severity == "error":
            reported.add(_subject(problem))
        yield problem
    split_of_group: dict[str, str] = {}
    for story in prepared.stories():
        yield from (
            problem for problem in _left_out(story, prepared.manifest["data"]) if _subject(problem) not in reported
        )
        if story.split:
            yield from _repeated(story)
            split = split_of_group.setdefault(story.group, story.split)
            if split != story.split:
                yield Problem("group_in_two_splits", story.id, None, f"group {story.group} is in {split} too")
    for split in SPLITS:
        yield from _targets_in_context(prepared.windows(split))
    for other, split in combinations(SPLITS, 2):
        yield from _shared_images(prepared, split, other)


def target_in_context(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each window whether its target is also in its context, (W,), from rows (W, F) of images or texts."""
    found: NDArray[np.bool_] = (rows[:, :-1] == rows[:, -1:]).any(axis=1)
    return found


def _subject(problem: Problem) -> tuple[str, int | str]:
    """Return a key by which each frame, and each code of a whole story, is reported once."""
    return problem.story, problem.code if problem.frame is None else problem.frame


def _left_out(story: StoredStory, options: Mapping[str, Any]) -> Iterator[Problem]:
    """Report which frames of a story are in no window, and why."""
    problems = [frame.problem for frame in story.frames]
    lacking = 0
    for index, problem in enumerate(problems):
        if problem:
            lacking += 1
            yield Problem(problem, story.id, index, f"frame {index + 1} has no {problem.removeprefix('missing_')}")
    if story.dropped is None:
        dropped = cut_windows(
            problems,
            context_frames=options["context_frames"],
            window=options["window"],
            short_stories=options["short_stories"],
        ).dropped
        if dropped:
            detail = f"{counted(len(dropped), 'window')}, for {lacking} of its {len(problems)} frames"
            yield Problem("windows_dropped", story.id, None, detail)
    elif story.dropped in problems:
        yield Problem(
            "story_dropped", story.id, None, f"{lacking} of its {len(problems)} frames lack an image or a text"
        )
    else:
        yield Problem(story.dropped, story.id, None, f"it is left out, with its {counted(len(problems), 'frame')}")


def _repeated(story: StoredStory) -> Iterator[Problem]:
    images: dict[int, int] = {}
    texts: dict[int, int] = {}
    for frame in story.frames:
        for what, row, seen in (("image", frame.image_row, images), ("text", frame.text_row, texts)):
            first = seen.setdefault(row, frame.index)
            if row >= 0 and first != frame.index:
                yield Problem(f"repeated_{what}", story.id, frame.index, f"its {what} is that of frame {first + 1}")


def _targets_in_context(windows: Windows) -> Iterator[Problem]:
    frames = _frame_indices(windows)
    for what, rows in (("image", windows.image_rows), ("text", windows.text_rows)):
        for window in np.flatnonzero(target_in_context(rows)).tolist():
            at = int(np.flatnonzero(rows[window] == rows[window, -1])[0])
            target, source = int(frames[window, -1]), int(frames[window, at])
            detail = f"the {what} to predict is that of frame {source + 1}, in its context"
            yield Problem(f"target_{what}_in_context", windows.stories[window], target, detail)


def _shared_images(prepared: Prepared, split: str, other: str) -> Iterator[Problem]:
    """Report each image of a split that is also in another split, or a near-duplicate of one there."""
    frames, others = _first_frames(prepared.windows(split)), _first_frames(prepared.windows(other))
    rows, other_rows = (np.array(sorted(found), dtype=np.int64) for found in (frames, others))
    hashes = prepared.image_facts.hash
    pairs: dict[int, list[tuple[int, int]]] = {}
    for left, right in near_duplicates(hashes[rows], hashes[other_rows], distance=NEAR).tolist():
        row, like = int(rows[left]), int(other_rows[right])
        differing = -1 if row == like else int(np.bitwise_count(hashes[row] ^ hashes[like]))
        pairs.setdefault(row, []).append((differing, like))
    for row, found in pairs.items():
        (story, frame), (differing, like) = frames[row], min(found)
        like_story, like_frame = others[like]
        near = differing >= 0
        code, relation = (
            ("near_duplicate_across_splits", "resembles") if near else ("duplicate_across_splits", "equals")
        )
        more = f", and resembles {len(found) - 1} more" if len(found) > 1 else ""
        detail = f"its image, in {split}, {relation} that of {like_story}, frame {like_frame + 1}, in {other}{more}"
        yield Problem(code, story, frame, detail)


def _first_frames(windows: Windows) -> dict[int, FrameId]:
    """Return the first frame that shows each image of some windows."""
    rows, first = np.unique(windows.image_rows, return_index=True)
    at, frames = first // windows.image_rows.shape[1], _frame_indices(windows).reshape(-1)[first]
    return {
        row: (windows.stories[window], frame)
        for row, window, frame in zip(rows.tolist(), at.tolist(), frames.tolist(), strict=True)
    }


def _frame_indices(windows: Windows) -> NDArray[np.int64]:
    """Return the index in its story of each frame of each window, (W, F)."""
    indices: NDArray[np.int64] = windows.starts[:, None] + (~windows.repeated).cumsum(axis=1) - 1
    return indices


Severity = Literal["error", "warning", "note"]
SEVERITIES: dict[Severity, str] = {
    "error": "`vsr prepare` leaves out a story, a frame or a text",
    "warning": "`vsr prepare` accepts the data; something was repaired, or should be checked",
    "note": "for information; what is trained on and scored is not affected",
}
"""From the most to the least severe, with the meaning of each. Errors alone make `vsr data lint` exit with code 1."""


@dataclass(frozen=True)
class Defect:
    """A kind of problem."""

    severity: Severity
    meaning: str
    """Description; remedy."""


_MEANINGS: dict[Severity, dict[str, str]] = {
    "error": {
        "bad_annotation": "an entry of the annotations has the wrong structure; use the file as published",
        "bad_json_line": "a line is not a story; write {'id': …, 'frames': [{'image': …, 'text': …}]} in one line",
        "bad_order": "the positions of the photos are not consecutive; number them without gaps",
        "bad_quotes": "a row has unmatched quotes, and is left out; put texts in quotes, and double those in it",
        "bad_story_json": "a story.json is not a story; write {'frames': [{'image': …, 'text': …}]} as JSON",
        "duplicate_story_id": "two stories have the same id, and the second is left out; make the ids unique",
        "empty_text": "a frame has an empty text, so the frame is in no window; write the text, or remove the frame",
        "extra_cells": "a row has more cells than there are columns, and is left out; put texts in quotes",
        "image_too_large": "an image has too many pixels to be decoded; resize it",
        "length_mismatch": "a story has different numbers of images and texts; export the data again",
        "line_too_long": "a line exceeds the length limit; write one story per line, with images as paths",
        "missing_image": "a frame has no image, so it is in no window; add the file, or remove the frame",
        "missing_order": "a row has no position in its story; set the order of every row",
        "missing_segment": "a story's text skips a frame, so the frame is in no window; check that it is complete",
        "missing_story": "a row names no story; fill in its cell",
        "missing_story_id": "a row names no story; fill in its cell",
        "missing_text": "a frame has no text, so it is in no window; write the text, or remove the frame",
        "no_frames": "a story has no frames; add pairs of an image and a text",
        "no_images": "a story has no images; download or export the data again",
        "no_pairs": "a story has no pair of an image and a text; use the same stem for both, as in 01.jpg and 01.txt",
        "no_text": "a story has no text; download or export the data again",
        "not_lists": "a cell that should list images or texts does not; name another column, or use layout=frames",
        "outside_folder": "an image is outside the folder of the data, and is not read; copy it there",
        "outside_story": "a file is outside the folder of its story, and is not read; copy it there",
        "scattered_story": "rows of a story follow those of others, and are left out; sort the rows by story",
        "segment_out_of_range": "a text of an image that does not exist is left out; check for missing images",
        "story_dropped": "a story has no complete window, and is left out; fix the frames that are listed with it",
        "story_too_short": "a story is too short for a window, and is left out; add frames, or use --short-stories pad",
        "text_outside_segment": "text before or between segments is left out; move it into a segment",
        "truncated_image": "an image file is truncated; copy or download it again",
        "two_albums": "the photos of a story are of two albums, which could fall into two splits; use one",
        "two_groups": "the rows of a story name two groups; use one",
        "two_splits": "the rows of a story name two splits; use one",
        "unknown_split": "the split of a story is none of train, validation and test; rename it",
        "unreadable_folder": "a folder cannot be read; check its permissions",
        "unreadable_image": "a file is damaged or no supported image; replace it with a JPEG, PNG or WebP file",
        "unreadable_text": "a text cannot be read; check the file, and save it as UTF-8",
        "unsupported_image": "an image has an unsupported format; convert it to JPEG or PNG",
        "unsupported_text": "a text has an unsupported format; save it as plain text, .txt",
        "wrong_encoding": "a text is not in UTF-8; save it as UTF-8",
    },
    "warning": {
        "analysis_out_of_range": "a description of an image that does not exist is left out; check for missing images",
        "box_out_of_range": "a bounding box exceeds its image: clipped, or left out if nothing remains; correct it",
        "duplicate_across_splits": "an image is in two splits, and is not scored as a target; group its stories",
        "duplicate_analysis": "an image is described twice: merged; check whether one describes another image",
        "duplicate_image": "two image files have the same stem: the first is used; remove the other",
        "duplicate_order": "two frames have the same position: they stay in the order of the source; renumber them",
        "duplicate_segment": "two segments have the same number: joined in order; check their numbers",
        "duplicate_text": "two text files have the same stem: the first is used; remove the other",
        "empty_entity": "a tag without text is left out; check for a missing word",
        "frame_count_mismatch": "a story states another number of images than it has; check for missing images",
        "group_in_two_splits": "the source has a group in two splits; use --split group, or correct its splits",
        "mismatched_close": "the closing tag is of another kind: the tagged words end there; correct the closing tag",
        "missing_number": "the numbers of the frames of a story have a gap; check for missing files, or renumber them",
        "near_duplicate_across_splits": "similar images are in two splits; if they show the same, group their stories",
        "no_group": "the group file does not list a story, which becomes a group of its own; add a line",
        "repeated_image": "two frames of a story have the same image; check whether one should have another",
        "repeated_text": "two frames of a story have the same text; check whether one should have another",
        "shifted_row": "a table row has too many cells: only unambiguous ones are used; look for a bar within a cell",
        "stray_file": "a file without a number among numbered pairs is left out; number it if it is a frame",
        "target_image_in_context": "the target image of a window is in its context: trained on, not scored; check why",
        "target_text_in_context": "the target text of a window is in its context: trained on, not scored; check why",
        "unclosed_entity": "a tag is not closed: the tagged words extend to the end of the segment; close it",
        "unclosed_segment": "a segment is not closed: it extends to the next; check whether the text is truncated",
        "unknown_attribute": "an attribute of a tag that is not an id is left out; correct it",
        "unknown_id": "a tag refers to an id that is in no table; correct the id, or add the row",
        "unnumbered_pair": "a pair without a number among numbered ones is read in the order of names; number it",
        "unknown_table": "a table with unknown headings is left out; correct them",
        "unreadable_box": "a bounding box that is not four valid numbers is left out; correct it",
        "unreadable_row": "a row that does not fit its table is left out; correct its cells",
    },
    "note": {
        "missing_analysis": "an image has no description; no action needed, as descriptions are not used in training",
        "missing_tables": "no image of a story has a description; no action needed, as they are not used in training",
        "not_in_split_file": "the split file does not list a story, which is left out; add a line to include it",
        "old_form": "a tag has a bounding box, as in an older format of the data: left out; no action needed",
        "windows_dropped": "some windows of a story are left out, as frames lack an image or a text; fix those frames",
    },
}

DEFECTS: dict[str, Defect] = {
    code: Defect(severity, meaning) for severity, meanings in _MEANINGS.items() for code, meaning in meanings.items()
}
"""By code; docs/mkdocs/hooks.py makes a page of them."""

UNKNOWN = Defect("warning", "a code of a plugin; see the documentation of the plugin")


def defect_of(code: str) -> Defect:
    """Return the severity and meaning of a code."""
    return DEFECTS.get(code, UNKNOWN)

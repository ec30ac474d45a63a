"""Checking prepared data: what was reported while it was read, and what only the whole of it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .duplicates import near_duplicates
from .prepared import Prepared
from .prepared_types import StoredStory, Windows
from .splits import SPLITS
from .windows import cut_windows

NEAR = 4
"""In how many of their 64 bits the perceptual hashes of images may differ that are called alike. In 241 image books
(2,404 images) all 30 pairs of two books up to 4 show one drawing; from 6 on, most show nothing in common.
"""

Place = tuple[str, int]
"""A story, and a frame's index in it."""


@dataclass(frozen=True)
class Problem:
    """One problem at one place."""

    code: str
    story: str
    """Its id; of a story that could not be read, where it is."""
    frame: int | None
    """Index from 0; None: the whole story."""
    detail: str

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return defect_of(self.code).severity

    def record(self) -> dict[str, str | int | None]:
        """Return it as JSON has it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "story": self.story,
            "frame": self.frame,
            "detail": self.detail,
        }


def lint(prepared: Prepared) -> Iterator[Problem]:
    """Yield every problem of prepared data: those that were found as it was read first, in the order of the stories.

    Reads the tables and no image: images are compared by the digests and hashes that are kept of them.
    """
    told: set[tuple[str, int | str]] = set()
    for found in prepared.problems():
        problem = Problem(found["code"], found["story"], found["frame"], found["detail"])
        if problem.severity == "error":
            told.add(_subject(problem))
        yield problem
    split_of_group: dict[str, str] = {}
    for story in prepared.stories():
        yield from (problem for problem in _lost(story, prepared.manifest["data"]) if _subject(problem) not in told)
        if story.split:
            yield from _repeated(story)
            split = split_of_group.setdefault(story.group, story.split)
            if split != story.split:
                yield Problem("group_in_two_splits", story.id, None, f"group {story.group} is in {split} too")
    for split in SPLITS:
        yield from _targets_in_context(prepared.windows(split))
    for other, split in combinations(SPLITS, 2):
        yield from _alike(prepared, split, other)


def target_in_context(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for windows, by the rows (W, F) of their frames' images or texts, whether the last is among the others."""
    found: NDArray[np.bool_] = (rows[:, :-1] == rows[:, -1:]).any(axis=1)
    return found


def _subject(problem: Problem) -> tuple[str, int | str]:
    """Return what a problem is about: one frame, whatever is wrong with it, or one thing about a whole story."""
    return problem.story, problem.code if problem.frame is None else problem.frame


def _lost(story: StoredStory, options: Mapping[str, Any]) -> Iterator[Problem]:
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
            detail = f"{len(dropped)} windows, for {lacking} of its {len(problems)} frames"
            yield Problem("windows_dropped", story.id, None, detail)
    elif story.dropped in problems:
        yield Problem("story_dropped", story.id, None, f"{lacking} of its {len(problems)} frames lack a half")
    else:
        yield Problem(story.dropped, story.id, None, f"it is left out, with its {len(problems)} frames")


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


def _alike(prepared: Prepared, split: str, other: str) -> Iterator[Problem]:
    """Report each image of a split that is also in another split, or a near-duplicate of one there."""
    places, others = _places(prepared.windows(split)), _places(prepared.windows(other))
    rows, other_rows = (np.array(sorted(found), dtype=np.int64) for found in (places, others))
    hashes = prepared.image_facts.hash
    near: dict[int, list[tuple[int, int]]] = {}
    for left, right in near_duplicates(hashes[rows], hashes[other_rows], distance=NEAR).tolist():
        row, like = int(rows[left]), int(other_rows[right])
        differing = -1 if row == like else int(np.bitwise_count(hashes[row] ^ hashes[like]))
        near.setdefault(row, []).append((differing, like))
    for row, found in near.items():
        (story, frame), (differing, like) = places[row], min(found)
        like_story, like_frame = others[like]
        code, so = ("near_duplicate_across_splits", "is like") if differing >= 0 else ("duplicate_across_splits", "is")
        more = f", and like {len(found) - 1} more" if len(found) > 1 else ""
        detail = f"its picture, in {split}, {so} that of {like_story}, frame {like_frame + 1}, in {other}{more}"
        yield Problem(code, story, frame, detail)


def _places(windows: Windows) -> dict[int, Place]:
    """Return for each image of some windows the first place where it stands."""
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
    "error": "a story, a frame or a text is lost, or a score would be wrong",
    "warning": "something was repaired, or should be looked at",
    "note": "good to know; nothing that is trained on or scored is touched",
}
"""From bad to harmless, with what each means."""


@dataclass(frozen=True)
class Defect:
    """A kind of problem."""

    severity: Severity
    meaning: str
    """What it is; what to do."""


_MEANINGS: dict[Severity, dict[str, str]] = {
    "error": {
        "bad_annotation": "an entry of the annotations has another form than it should; take the file as published",
        "bad_json_line": "a line is no story; write {'id': …, 'frames': [{'image': …, 'text': …}]} as JSON in one line",
        "bad_order": "the photos' places do not follow one after the other; number them without gaps",
        "bad_quotes": "a row's quotes do not match, and it is left out; put its text in quotes, quotes in it twice",
        "bad_story_json": "a story.json is no story; write {'frames': [{'image': …, 'text': …}]} as JSON",
        "duplicate_across_splits": "one picture is in two splits, so a score on it misleads; group its stories",
        "duplicate_story_id": "two stories have one id, and the second is left out; give each its own",
        "empty_text": "a frame's text is empty, so the frame is in no window; write the text, or remove the frame",
        "extra_cells": "a row has more cells than there are columns, and is left out; put texts in quotes",
        "group_in_two_splits": "one group is in two splits; split by group, or correct the source's own splits",
        "image_too_large": "a picture has too many pixels to be decoded; scale it down",
        "length_mismatch": "a story has not as many images as texts, so pairs may be wrong; export the data again",
        "line_too_long": "a line is too long to be a story; write one story a line, with pictures as paths",
        "missing_image": "a frame has no image, so it is in no window; put the file there, or remove the frame",
        "missing_order": "a row does not say its place in its story; give every row one",
        "missing_segment": "a story's text skips a frame, so the frame is in no window; see if the text is whole",
        "missing_story": "a row names no story; fill in its cell",
        "missing_story_id": "a row names no story; fill in its cell",
        "missing_text": "a frame has no text, so it is in no window; write the text, or remove the frame",
        "no_frames": "a story has no frames; give it pairs of an image and a text",
        "no_images": "a story has no images; fetch or export the data again",
        "no_pairs": "a story has no image and text that belong together; name them alike, as 01.jpg and 01.txt",
        "no_text": "a story has no text at all; fetch or export the data again",
        "not_lists": "a cell that should list images or texts does not; name another column, or use layout=frames",
        "outside_folder": "an image lies outside the data's folder, and is not read; copy it there",
        "outside_story": "a file lies outside its story's folder, and is not read; copy it there",
        "scattered_story": "rows of a story come after those of others, and are left out; sort the rows by story",
        "segment_out_of_range": "a text speaks of an image that is not there, and is left out; see what is missing",
        "story_dropped": "no window of a story is left, so all of it is lost; mend the frames that are named beside it",
        "story_too_short": "a story has too few frames for a window, and is left out; add some, or use --short pad",
        "text_outside_segment": "text stands before or between segments, and is left out; move it into one",
        "truncated_image": "a picture's file breaks off early; copy or download it again",
        "two_albums": "a story's photos are of two albums, which could part across splits; leave one",
        "two_groups": "a story's rows name two groups; leave one",
        "two_splits": "a story's rows name two splits; leave one",
        "unknown_split": "a story's split is none of train, validation and test; rename it",
        "unreadable_folder": "a folder cannot be read; check its permissions",
        "unreadable_image": "a file is no picture of a known kind, or damaged; replace it by a JPEG, PNG or WebP file",
        "unreadable_text": "a text cannot be read; check the file, and save it as UTF-8",
        "unsupported_image": "an image is of a kind that is not read; convert it to JPEG or PNG",
        "unsupported_text": "a text is of a kind that is not read; save it as plain text, .txt",
        "wrong_encoding": "a text is not in UTF-8; save it as UTF-8",
    },
    "warning": {
        "analysis_out_of_range": "an image that is not there is described: left out; see if images are missing",
        "box_out_of_range": "a box leaves its image: clipped, or left out where nothing remains; correct it",
        "duplicate_analysis": "an image is described twice: joined; see if one is another image's",
        "duplicate_image": "two image files have one stem: the first is taken; remove the other",
        "duplicate_order": "two frames have one place: they keep the source's order; number them anew",
        "duplicate_segment": "two segments have one number: joined in order; see if one should have another",
        "duplicate_text": "two text files have one stem: the first is taken; remove the other",
        "empty_entity": "a tag stands around no text: left out; see if a word is missing",
        "frame_count_mismatch": "a story says that it has another number of images; see if some are missing",
        "mismatched_close": "a tag is closed by another kind's: the tagged words end there; correct the closing tag",
        "missing_number": "the numbers of a story's frames have a gap; see if files are missing, or number them anew",
        "near_duplicate_across_splits": "pictures of two splits look alike; if they are one, group their stories",
        "no_group": "the file of groups does not name a story: it is a group of its own; add its line",
        "repeated_image": "two frames of a story have one picture; see if one should have another",
        "repeated_text": "two frames of a story have one text; see if one should have another",
        "shifted_row": "a table's row has too many cells: what is certain is kept; look for a bar within a cell",
        "stray_file": "a file among numbered pairs is named otherwise: left out; number it if it is a frame",
        "target_image_in_context": "a window's target picture is among its inputs: trained on, never scored; see why",
        "target_text_in_context": "a window's target text is among its inputs: trained on, never scored; see why",
        "unclosed_entity": "a tag is never closed: the tagged words run to the segment's end; close it",
        "unclosed_segment": "a segment is never closed: it runs to the next; see if the text breaks off early",
        "unknown_attribute": "a tag holds something that is no id: left out; see what it should have been",
        "unknown_id": "a tag names somebody or something that no table describes; correct the id, or add the row",
        "unnumbered_pair": "a pair among numbered ones has no number: read in the order of names; number it",
        "unknown_table": "a table has none of the known headings: left out; correct them",
        "unreadable_box": "a box is not four numbers that make one: left out; correct it",
        "unreadable_row": "a row does not fit its table: left out; correct its cells",
    },
    "note": {
        "missing_analysis": "an image is not described; nothing to do, as nothing is trained on descriptions",
        "missing_tables": "no image of a story is described; nothing to do, as nothing is trained on descriptions",
        "not_in_split_file": "the split file does not name a story, which is left out; add its line if it should be in",
        "old_form": "a tag carries a box, as in an older form of the data: left out; nothing to do",
        "windows_dropped": "some windows of a story are left out for frames that lack a half; mend those frames",
    },
}

DEFECTS: dict[str, Defect] = {
    code: Defect(severity, meaning) for severity, meanings in _MEANINGS.items() for code, meaning in meanings.items()
}
"""By code, as docs/mkdocs/hooks.py lists them."""

UNKNOWN = Defect("warning", "a plugin reports it by a code that vsr does not know; see the plugin's documentation")


def defect_of(code: str) -> Defect:
    """Return what is known of a code."""
    return DEFECTS.get(code, UNKNOWN)

"""Checking prepared data: what was reported while it was read, and what only the whole of it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .defects import Severity, defect_of
from .duplicates import near_duplicates
from .prepared import Prepared, StoredStory, Windows
from .splits import SPLITS
from .windows import cut_windows

NEAR = 4
"""In how many of their 64 bits the perceptual hashes of pictures may differ that are called alike. In 241 picture books
(2,404 pictures) all 30 pairs of two books up to 4 show one drawing; from 6 on, most show nothing in common.
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

    Reads the tables and no picture: pictures are compared by the digests and hashes that are kept of them.
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
    """Say of windows, by the rows (W, F) of their frames' pictures or texts, whether the last is among the others."""
    found: NDArray[np.bool_] = (rows[:, :-1] == rows[:, -1:]).any(axis=1)
    return found


def _subject(problem: Problem) -> tuple[str, int | str]:
    """Return what a problem is about: one frame, whatever is wrong with it, or one thing about a whole story."""
    return problem.story, problem.code if problem.frame is None else problem.frame


def _lost(story: StoredStory, options: Mapping[str, Any]) -> Iterator[Problem]:
    """Tell what of a story is in no window, and why."""
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
    """Tell of each picture of a split that is one of another split, or like one."""
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
    """Return for each picture of some windows the first place where it stands."""
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

"""The leakage audit before scoring: windows whose target is among their inputs or was seen in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.duplicates import NEAR, near_duplicates, same_pixels, thumbnail
from ..data.lint import target_in_context
from ..data.prepared import Prepared
from ..data.prepared_types import Windows
from .normalize import clean_text

AT_ONCE = 256
"""Targets that are compared with all seen images at a time."""
THUMBNAILS = 2048
"""Of seen images, held in memory: 24 MiB."""
LEARNED_FROM = ("train", "validation")
"""The splits that shaped a model: its weights, and the choice of the best epoch."""


@dataclass(frozen=True)
class Leak:
    """A window that is left out, and why."""

    story: str
    start: int
    reasons: tuple[str, ...]
    detail: str
    """Where else the target is; empty where the reason says it."""

    def record(self) -> dict[str, Any]:
        """Return it as in JSON."""
        return {"story": self.story, "start": self.start, "reasons": list(self.reasons), "detail": self.detail}


@dataclass(frozen=True)
class Audit:
    """Which windows are scored, and why the others are left out."""

    scored: NDArray[np.int64]
    """The rows of the windows that are scored."""
    counts: Mapping[str, int]
    """The number of windows by reason; a window may have several."""
    leaks: Sequence[Leak]

    def record(self) -> dict[str, int]:
        """Return the counts by name, and last the number of windows that are left out."""
        return {**self.counts, "left_out": len(self.leaks)}


def audit(prepared: Prepared, split: str, *, training: Prepared | None) -> Audit:
    """Find the windows of a split whose target is among their inputs or was seen in training, and padded ones.

    `training` is the training data (None: not available for comparison). A target was seen if its story is in the
    training or validation split there, or a near duplicate of its image: by hash (`NEAR`) and pixels (`same_pixels`).
    """
    windows = prepared.windows(split)
    found = dict(leaks_within(windows, prepared.frames.texts))
    details: dict[int, str] = {}
    # In the train split every target was seen; `held_out` in the result says so.
    learned = [name for name in LEARNED_FROM if name != split] if training is not None and split != "train" else []
    in_training, alike = np.zeros(len(windows), np.bool_), np.zeros(len(windows), np.bool_)
    for name in learned:
        assert training is not None
        seen = training.windows(name)
        in_training |= np.isin(np.asarray(windows.stories, dtype=object), sorted(set(seen.stories)))
        for window, story in _near_duplicates(prepared, windows, training, seen).items():
            alike[window] = True
            details.setdefault(window, f"its image is a near duplicate of one of {story}, in {name}")
    found |= {"story_in_training": in_training, "near_duplicate_across_splits": alike}
    left_out = np.logical_or.reduce(list(found.values()))
    return Audit(
        scored=np.flatnonzero(~left_out),
        counts={reason: int(hit.sum()) for reason, hit in found.items()},
        leaks=[
            Leak(
                windows.stories[window],
                int(windows.starts[window]),
                tuple(reason for reason, hit in found.items() if hit[window]),
                details.get(window, ""),
            )
            for window in np.flatnonzero(left_out).tolist()
        ],
    )


def leaks_within(windows: Windows, texts: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Return by reason which windows have the target's text or image among their inputs, or are padded: (W,) each.

    Texts are compared normalized, so that a text and the same without its tags are equal.
    """
    rows, back = np.unique(windows.text_rows, return_inverse=True)
    forms: dict[str, int] = {}
    numbers = np.array([forms.setdefault(clean_text(texts[row]), len(forms)) for row in rows.tolist()], np.int64)
    return {
        "target_text_in_context": target_in_context(numbers[back.reshape(windows.text_rows.shape)]),
        "target_image_in_context": target_in_context(windows.image_rows),
        "padded": np.logical_or.reduce(windows.repeated, axis=1),
    }


def _near_duplicates(prepared: Prepared, windows: Windows, other: Prepared, seen: Windows) -> dict[int, str]:
    """Return the windows whose target image is a near duplicate of a seen one, each with a story that has it."""
    targets, window_of = np.unique(windows.image_rows[:, -1], return_inverse=True)
    rows, first = np.unique(seen.image_rows, return_index=True)
    ours, theirs = prepared.image_facts.hash[targets], other.image_facts.hash[rows]
    seen_thumbnail = lru_cache(THUMBNAILS)(partial(_thumbnail, other))
    like: dict[int, str] = {}
    for start in range(0, len(targets), AT_ONCE):  # of drawings that share a backdrop, each has hundreds of pairs
        for target, pairs in _by_target(near_duplicates(ours[start : start + AT_ONCE], theirs, distance=NEAR), start):
            own = _thumbnail(prepared, int(targets[target]))
            same = (at for at in pairs.tolist() if same_pixels(own, seen_thumbnail(int(rows[at]))))
            if (at := next(same, None)) is not None:
                like[target] = seen.stories[int(first[at]) // seen.image_rows.shape[1]]
    return {window: like[target] for window, target in enumerate(window_of.tolist()) if target in like}


def _by_target(pairs: NDArray[np.int64], start: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each target of sorted pairs (n, 2), counted from `start`, with all that it is paired with."""
    targets, first = np.unique(pairs[:, 0], return_index=True)
    if len(pairs):
        yield from zip((targets + start).tolist(), np.split(pairs[:, 1], first[1:]), strict=True)


def _thumbnail(prepared: Prepared, row: int) -> NDArray[np.float32]:
    return thumbnail(prepared.frames.images.gather(np.array([row]))[0])

"""The leakage audit before scoring: windows whose target is among their inputs or was seen in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.duplicates import NEAR, near_duplicates, same_pixels, thumbnail
from ..data.lint import target_in_context
from ..data.prepared import Prepared
from ..data.prepared_types import Windows
from .normalize import clean_text

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
    pairs = near_duplicates(prepared.image_facts.hash[targets], other.image_facts.hash[rows], distance=NEAR)
    ours, theirs = _thumbnails(prepared, targets[pairs[:, 0]]), _thumbnails(other, rows[pairs[:, 1]])
    like: dict[int, str] = {}
    for target, at in pairs.tolist():
        if target not in like and same_pixels(ours[int(targets[target])], theirs[int(rows[at])]):
            like[target] = seen.stories[int(first[at]) // seen.image_rows.shape[1]]
    return {window: like[target] for window, target in enumerate(window_of.tolist()) if target in like}


def _thumbnails(prepared: Prepared, rows: NDArray[np.int64]) -> dict[int, NDArray[np.float32]]:
    return {row: thumbnail(prepared.frames.images.gather(np.array([row]))[0]) for row in np.unique(rows).tolist()}

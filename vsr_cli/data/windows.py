"""Windows: runs of K context frames and the target frame after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Window:
    """The indices of K + 1 frames of a story; the last one is the target."""

    frames: tuple[int, ...]
    padded: bool = False
    """Whether its context repeats a frame because the story is short."""


@dataclass(frozen=True)
class Cut:
    """The windows of one story, and the reason for each one that was dropped."""

    windows: tuple[Window, ...]
    dropped: tuple[str, ...]


def cut_windows(
    problems: Sequence[str | None],
    *,
    context_frames: int,
    window: Literal["first", "sliding", "last"],
    short_stories: Literal["drop", "pad"],
) -> Cut:
    """Cut a story into windows. `problems` has the problem of each frame (None: it has an image and a text).

    Every frame of a window has an image and a text. A story with fewer than K + 1 frames is dropped, or with
    `short_stories="pad"` becomes one window: its last frame is the target, and the frame before it is repeated until
    the context has K frames. So the target is never in its own context.
    """
    candidates = _candidates(len(problems), context_frames, window=window, short_stories=short_stories)
    if not candidates:
        return Cut((), ("story_too_short",))
    windows: list[Window] = []
    dropped: list[str] = []
    for candidate in candidates:
        reason = next((problems[frame] for frame in candidate.frames if problems[frame]), None)
        if reason is None:
            windows.append(candidate)
        else:
            dropped.append(reason)
    return Cut(tuple(windows), tuple(dropped))


def _candidates(count: int, context_frames: int, *, window: str, short_stories: str) -> list[Window]:
    last_start = count - context_frames - 1
    if last_start >= 0:
        starts = {"first": [0], "last": [last_start], "sliding": list(range(last_start + 1))}[window]
        return [Window(tuple(range(start, start + context_frames + 1))) for start in starts]
    if short_stories == "drop" or count < 2:
        return []
    return [Window((*repeat_last(range(count - 1), context_frames), count - 1), padded=True)]


def repeat_last(frames: Sequence[int], length: int) -> tuple[int, ...]:
    """Repeat the last of some frames until there are `length` of them."""
    assert 1 <= len(frames) <= length
    return (*frames, *[frames[-1]] * (length - len(frames)))
